//! Lines of a page in two steps: the text of a page is two zstd frames, and whoever goes through many pages at once holds one of them for each.

use arrow::buffer::{Buffer, OffsetBuffer};
use bytes::Bytes;

use crate::error::FileError;
use crate::file::decode::damaged;
use crate::file::delta;
use crate::file::partial_lines::{PartialError, frames};
use crate::file::schema::Leaf;

/// The lines of a page that begin in the first half of its text, and what the others are made of.
#[derive(Debug)]
pub(crate) struct HalvedLines {
    /// Of all rows (rows + 1), into the whole text.
    pub(crate) offsets: OffsetBuffer<i32>,
    /// So many rows are wholly within the first half.
    pub(crate) rows: usize,
    /// Their text.
    pub(crate) text: Buffer,
    pub(crate) second: SecondHalf,
}

/// The text of the other rows, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct SecondHalf {
    /// How the first line begins, if the halves were cut within it.
    beginning: Vec<u8>,
    frame: Bytes,
    length: usize,
}

impl HalvedLines {
    /// `None`: the page is not stored in halves. `whole`: bytes of the page, decompressed.
    pub(super) fn of(body: &Bytes, whole: usize, rows: usize) -> Result<Option<Self>, PartialError> {
        let [(0, 0), (first, text_at), (second, cut)] = frames(body)[..] else { return Ok(None) };
        let Some(length) = whole.checked_sub(cut) else { return Err(PartialError::Long) };
        let (offsets, lengths_end) = delta::decode_lengths(&decompressed(&body[..first], text_at)?, rows)?;
        if lengths_end != text_at || text_at + offsets[rows] as usize != whole {
            return Err(PartialError::Lengths);
        }
        let text = decompressed(&body[first..second], cut - text_at)?;
        let rows = offsets.partition_point(|end| *end as usize <= text.len()) - 1;
        let beginning = text[offsets[rows] as usize..].to_vec();
        let second = SecondHalf { beginning, frame: body.slice(second..), length };
        Ok(Some(Self { offsets: OffsetBuffer::new(offsets.into()), rows, text: text.into(), second }))
    }
}

impl SecondHalf {
    pub(crate) fn text(&self) -> Result<Buffer, FileError> {
        let rest = decompressed(&self.frame, self.length).map_err(|error| damaged(Leaf::Line, error))?;
        let mut text = self.beginning.clone();
        text.extend_from_slice(&rest);
        Ok(text.into())
    }
}

fn decompressed(frame: &[u8], length: usize) -> Result<Vec<u8>, PartialError> {
    let plain = super::decode::decompressed(frame, length)?;
    if plain.len() == length { Ok(plain) } else { Err(PartialError::Early) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(parts: &[&[u8]]) -> Bytes {
        parts.iter().flat_map(|part| zstd::bulk::compress(part, 1).expect("compresses")).collect::<Vec<u8>>().into()
    }

    /// The lengths of lines as a page has them, and their text.
    fn page(lines: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        let mut lengths = Vec::new();
        delta::encode(&lines.iter().map(|line| line.len() as i64).collect::<Vec<_>>(), &mut lengths);
        (lengths, lines.concat())
    }

    proptest! {
        #[test]
        fn both_halves_give_all_lines_wherever_the_cut_is(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 1..30), cut in 0.0..=1.0f64,
        ) {
            let (lengths, text) = page(&lines);
            let cut = (text.len() as f64 * cut) as usize;
            let body = framed(&[&lengths, &text[..cut], &text[cut..]]);
            let halved = HalvedLines::of(&body, lengths.len() + text.len(), lines.len()).expect("reads").expect("has halves");
            let offset = |row: usize| halved.offsets[row] as usize;
            let second = halved.second.text().expect("reads");
            for (row, line) in lines.iter().enumerate() {
                let found = match row < halved.rows {
                    true => &halved.text[offset(row)..offset(row + 1)],
                    false => &second[offset(row) - offset(halved.rows)..offset(row + 1) - offset(halved.rows)],
                };
                prop_assert_eq!(found, line.as_slice());
            }
            prop_assert!(halved.rows == lines.len() || offset(halved.rows + 1) > cut);
        }
    }

    #[test]
    fn what_is_not_in_halves_or_does_not_add_up_is_told() {
        let (lengths, text) = page(&[b"one".to_vec(), b"two".to_vec()]);
        let whole = lengths.len() + text.len();
        for parts in [&[&[&lengths[..], &text].concat()[..]][..], &[&lengths, &text]] {
            assert!(HalvedLines::of(&framed(parts), whole, 2).expect("reads").is_none());
        }
        let body = framed(&[&lengths, &text[..4], &text[4..]]);
        assert!(HalvedLines::of(&body, whole, 2).expect("reads").is_some());
        assert!(HalvedLines::of(&body, whole + 1, 2).is_err());
        assert!(HalvedLines::of(&body, whole, 1).is_err());
        let cut = body.slice(..body.len() - 1);
        assert!(HalvedLines::of(&cut, whole, 2).map_or(true, |halved| halved.is_none_or(|halved| halved.second.text().is_err())));
    }
}
