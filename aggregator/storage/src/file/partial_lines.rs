//! Lines of a page, of which little more is decompressed than holds them.
//!
//! The body of a page is zstd frames end to end: lengths, then text in parts ([`super::chunk`]); files of older versions have one frame for all of it.
//! Frames that hold nothing of what is wanted are skipped; a frame is decompressed from its beginning, as far as is needed.

use std::cell::Cell;
use std::io;
use std::ops::Range;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use crate::file::delta::{self, DeltaError};

#[derive(Debug, thiserror::Error)]
pub(super) enum PartialError {
    #[error("lengths of lines do not add up")]
    Lengths,
    #[error("a page ends early")]
    Early,
    #[error("a page decompresses to another length than its header says")]
    Long,
    #[error(transparent)]
    Delta(#[from] DeltaError),
    #[error(transparent)]
    Compression(#[from] io::Error),
}

/// Reads forwards: what was passed is not there any more.
pub(super) struct PartialLines<'a> {
    unpacked: Unpacked<'a>,
    /// Of all lines, and where the first one begins.
    pub(super) offsets: Vec<i32>,
    text_at: usize,
}

impl<'a> PartialLines<'a> {
    /// Reads the lengths. `whole`: bytes of the page, decompressed.
    pub(super) fn of(body: &'a [u8], whole: usize, rows: usize) -> Result<Self, PartialError> {
        let mut unpacked = Unpacked::new(body, whole)?;
        // The first of several frames is the lengths.
        let mut target = unpacked.frames.get(1).map_or(rows * 2 + 1024, |(_, plain)| *plain);
        loop {
            match delta::decode_lengths(unpacked.bytes(0..target.min(whole))?, rows) {
                Ok((offsets, text_at)) if text_at + offsets[rows] as usize == whole => return Ok(Self { unpacked, offsets, text_at }),
                Ok(_) => return Err(PartialError::Lengths),
                Err(DeltaError::Short) if target < whole => target = (target * 2).max(1024),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The line of a row, not before that of the row asked for last.
    pub(super) fn line(&mut self, row: usize) -> Result<Vec<u8>, PartialError> {
        let place = self.text_at + self.offsets[row] as usize..self.text_at + self.offsets[row + 1] as usize;
        Ok(self.unpacked.bytes(place)?.to_vec())
    }
}

/// Decompressed bytes of a page, from `start` as far as they were needed.
struct Unpacked<'a> {
    body: &'a [u8],
    whole: usize,
    /// Where frames begin: in the body, and decompressed.
    frames: Vec<(usize, usize)>,
    context: Context,
    rest: &'a [u8],
    start: usize,
    plain: Vec<u8>,
}

impl<'a> Unpacked<'a> {
    fn new(body: &'a [u8], whole: usize) -> Result<Self, PartialError> {
        Ok(Self { body, whole, frames: frames(body), context: Context::new()?, rest: body, start: 0, plain: Vec::new() })
    }

    /// Some bytes, none of them before those asked for last.
    fn bytes(&mut self, range: Range<usize>) -> Result<&[u8], PartialError> {
        self.skip_to(range.start)?;
        self.grow(range.end - self.start)?;
        Ok(&self.plain[range.start - self.start..range.end - self.start])
    }

    /// Leaves out frames that end before `place`.
    fn skip_to(&mut self, place: usize) -> Result<(), PartialError> {
        let frame = self.frames.iter().rfind(|(_, plain)| *plain <= place);
        if let Some((stored, plain)) = frame.filter(|(_, plain)| *plain > self.start + self.plain.len()) {
            self.context.begin()?;
            (self.rest, self.start, self.plain) = (&self.body[*stored..], *plain, Vec::new());
        }
        Ok(())
    }

    /// Decompresses until at least `target` bytes are there.
    fn grow(&mut self, target: usize) -> Result<(), PartialError> {
        // Written is to the end of the capacity.
        self.plain.reserve_exact(target.saturating_sub(self.plain.len()));
        while self.plain.len() < target {
            let from = self.plain.len();
            let mut input = InBuffer::around(self.rest);
            let mut output = OutBuffer::around_pos(&mut self.plain, from);
            self.context.decoder().run(&mut input, &mut output)?;
            let (read, written) = (input.pos(), output.pos() - from);
            self.rest = &self.rest[read..];
            if read == 0 && written == 0 {
                return Err(PartialError::Early);
            }
        }
        if self.start + self.plain.len() > self.whole { Err(PartialError::Long) } else { Ok(()) }
    }
}

/// Where frames begin, as far as they tell their lengths: what is behind is reached through the last one.
pub(super) fn frames(body: &[u8]) -> Vec<(usize, usize)> {
    let (mut frames, mut stored, mut plain) = (Vec::new(), 0, 0);
    while stored < body.len() {
        frames.push((stored, plain));
        let rest = &body[stored..];
        let (Ok(length), Ok(Some(size))) = (find_frame_compressed_size(rest), get_frame_content_size(rest)) else { break };
        stored += length;
        plain = usize::try_from(size).map_or(usize::MAX, |size| plain.saturating_add(size));
    }
    frames
}

thread_local! {
    /// A context for each thread, while it is not in use: making one costs more than a page.
    static KEPT: Cell<Option<Decoder<'static>>> = const { Cell::new(None) };
}

/// Goes back to its thread in the end.
struct Context(Option<Decoder<'static>>);

impl Context {
    fn new() -> io::Result<Self> {
        let mut context = match KEPT.take() {
            Some(kept) => Self(Some(kept)),
            None => Self(Some(Decoder::new()?)),
        };
        context.begin()?;
        Ok(context)
    }

    /// Forgets the frame that it was in.
    fn begin(&mut self) -> io::Result<()> {
        self.decoder().reinit()
    }

    fn decoder(&mut self) -> &mut Decoder<'static> {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        KEPT.set(self.0.take());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How a page was compressed.
    #[derive(Debug, Clone)]
    enum Form {
        /// Frames of up to so many bytes.
        Frames(usize),
        /// One, which does not tell its length.
        Stream,
    }

    fn page(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut offsets = vec![0];
        offsets.extend(lines.iter().scan(0, |end, line| {
            *end += line.len() as i32;
            Some(*end)
        }));
        let mut page = Vec::new();
        delta::encode_byte_arrays(&offsets, &lines.concat(), &mut page);
        page
    }

    fn compressed(page: &[u8], form: &Form) -> Vec<u8> {
        match form {
            Form::Frames(size) => page.chunks(*size).flat_map(|part| zstd::bulk::compress(part, 1).unwrap()).collect(),
            Form::Stream => {
                let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
                io::Write::write_all(&mut encoder, page).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn lines_of(body: &[u8], whole: usize, rows: usize, chosen: &[usize]) -> Result<Vec<Vec<u8>>, PartialError> {
        let mut lines = PartialLines::of(body, whole, rows)?;
        chosen.iter().map(|row| lines.line(*row)).collect()
    }

    proptest! {
        #[test]
        fn chosen_lines_are_those_of_the_page(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 1..40),
            form in prop_oneof![(1_usize..60_000).prop_map(Form::Frames), Just(Form::Stream)],
            chosen in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let page = page(&lines);
            let body = compressed(&page, &form);
            let mut chosen: Vec<usize> = chosen.iter().map(|index| index.index(lines.len())).collect();
            chosen.sort_unstable();
            let expected: Vec<Vec<u8>> = chosen.iter().map(|row| lines[*row].clone()).collect();
            prop_assert_eq!(lines_of(&body, page.len(), lines.len(), &chosen).unwrap(), expected);
            prop_assert!(lines_of(&body, page.len() + 1, lines.len(), &chosen).is_err());
            prop_assert!(lines_of(&body[..body.len() / 2], page.len(), lines.len(), &[lines.len() - 1]).is_err() || lines.last().unwrap().is_empty());
        }
    }

    #[test]
    fn frames_without_a_wanted_line_are_not_decompressed() {
        let lines: Vec<Vec<u8>> = (0..4).map(|line| vec![b'a' + line; 10_000]).collect();
        let page = page(&lines);
        let lengths = page.len() - 40_000;
        let mut frames: Vec<Vec<u8>> = [&page[..lengths], &page[lengths..lengths + 20_000], &page[lengths + 20_000..]]
            .map(|part| zstd::bulk::compress(part, 1).unwrap())
            .into();
        // What is passed over may be anything that has a frame's length.
        let end = frames[1].len() - 1;
        frames[1][end] ^= 0xff;
        let body = frames.concat();
        let chosen = |rows: &[usize]| lines_of(&body, page.len(), 4, rows);
        assert_eq!(chosen(&[2, 3]).unwrap(), lines[2..]);
        assert!(chosen(&[0]).is_err() || chosen(&[1]).is_err() || chosen(&[1]).unwrap() != lines[1..2]);
    }
}
