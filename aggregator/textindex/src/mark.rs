//! Sets the bits of all grams of many rows: the hot loop of building an index.
//!
//! Works on runs of whole rows, in three passes over a few kilobytes that stay in the first cache: lower case, kind
//! of gram at each byte (as bytes, which vectorises), then one load, one multiplication and one bit a byte, with no
//! branch. Rows are cut by striking out the kinds of grams that would reach over an end, after the fact.

use crate::gram::{ID_GRAM, Plane, TEXT_GRAM, is_id_byte};
use crate::parameters::{IndexParameters, PLACE_SHIFT};

/// Bytes handled together; a longer row makes a longer run.
const RUN: usize = 8 * 1024;
/// Bytes behind a run, so that eight can be loaded anywhere.
const PADDING: usize = 8;

const NO_GRAM: u8 = 0;
const TEXT: u8 = 1;
/// Twice [`TEXT`], so that a gram's kind is computed and no longer an id by one `&`.
const ID: u8 = 2;

const ID_WORDS: usize = 1 << 14;
const TEXT_WORDS: usize = 1 << 11;
const TEXT_WORD: usize = ID_WORDS;
/// Takes the bits of positions without a gram.
const JUNK_WORD: usize = TEXT_WORD + TEXT_WORDS;
/// A power of two, so that a masked index needs no check.
const WORDS: usize = 2 * ID_WORDS;

/// How a kind of gram is cut from eight bytes and placed.
#[derive(Clone, Copy)]
struct Placing {
    gram_mask: u64,
    place_mask: u32,
    first_bit: u32,
}

const PLACINGS: [Placing; 4] = {
    let none = Placing { gram_mask: 0, place_mask: 0, first_bit: (JUNK_WORD as u32) << 6 };
    let text = Placing { gram_mask: (1 << (8 * TEXT_GRAM)) - 1, place_mask: (1 << 17) - 1, first_bit: (TEXT_WORD as u32) << 6 };
    let id = Placing { gram_mask: (1 << (8 * ID_GRAM)) - 1, place_mask: (1 << 20) - 1, first_bit: 0 };
    [none, text, id, none]
};

/// Both planes at full size, and the buffers of a run. About 300 KiB, kept between granules.
#[derive(Debug)]
pub(crate) struct Marker {
    multiplier: u64,
    words: Box<[u64; WORDS]>,
    lower: Vec<u8>,
    is_id: Vec<u8>,
    /// One for each byte, with [`ID_GRAM`] in front for ends near the start.
    kinds: Vec<u8>,
    ends: Vec<usize>,
}

impl Marker {
    pub(crate) fn new(parameters: &IndexParameters) -> Marker {
        let words: Box<[u64]> = vec![0; WORDS].into_boxed_slice();
        Marker {
            multiplier: parameters.multiplier,
            words: words.try_into().expect("the slice was made with this length"),
            lower: Vec::new(),
            is_id: Vec::new(),
            kinds: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.words[..=JUNK_WORD].fill(0);
    }

    /// Adds rows that lie one after the other; `ends` are their ends in `text`, ascending, the last one its length.
    pub(crate) fn add_rows(&mut self, text: &[u8], ends: impl Iterator<Item = usize>) {
        let mut start = self.lower.len();
        let mut taken = 0;
        for end in ends {
            self.ends.push(start + end - taken);
            if start + end - taken >= RUN {
                self.take(&text[taken..end]);
                self.flush();
                (start, taken) = (0, end);
            }
        }
        self.take(&text[taken..]);
    }

    fn take(&mut self, text: &[u8]) {
        self.lower.extend(text.iter().map(u8::to_ascii_lowercase));
    }

    /// Marks the grams of the rows that wait for their run to be full.
    pub(crate) fn flush(&mut self) {
        self.classify();
        for &end in &self.ends {
            strike_out(&mut self.kinds, end);
        }
        self.mark();
        self.lower.clear();
        self.ends.clear();
    }

    fn classify(&mut self) {
        let length = self.lower.len();
        self.is_id.clear();
        self.is_id.extend(self.lower.iter().map(|byte| u8::from(is_id_byte(*byte))));
        self.is_id.resize(length + TEXT_GRAM, 0);
        self.kinds.clear();
        self.kinds.resize(ID_GRAM + length, NO_GRAM);
        let shifted = |by: usize| &self.is_id[by..by + length];
        let four = shifted(0).iter().zip(shifted(1)).zip(shifted(2)).zip(shifted(3));
        for (kind, (((first, second), third), fourth)) in self.kinds[ID_GRAM..].iter_mut().zip(four) {
            *kind = TEXT + (first & second & third & fourth);
        }
    }

    /// One loop: to compute the places first and set the bits later is slower by a tenth, and to look before setting by
    /// a quarter (measured).
    fn mark(&mut self) {
        self.lower.resize(self.lower.len() + PADDING, 0);
        for (bytes, kind) in self.lower.array_windows::<8>().zip(&self.kinds[ID_GRAM..]) {
            let placing = PLACINGS[usize::from(*kind & 3)];
            let gram = u64::from_le_bytes(*bytes) & placing.gram_mask;
            let place = (gram.wrapping_mul(self.multiplier) >> PLACE_SHIFT) as u32 & placing.place_mask;
            let bit = place | placing.first_bit;
            self.words[(bit >> 6) as usize & (WORDS - 1)] |= 1 << (bit & 63);
        }
    }

    /// The plane at full size; rows have to be flushed.
    pub(crate) fn plane(&self, plane: Plane) -> &[u64] {
        match plane {
            Plane::Text => &self.words[TEXT_WORD..TEXT_WORD + TEXT_WORDS],
            Plane::Id => &self.words[..ID_WORDS],
        }
    }
}

/// Takes away the grams that begin before a row's end and would reach beyond it. What this touches of a row before is
/// struck out by that row's own end anyway.
fn strike_out(kinds: &mut [u8], end: usize) {
    let before: &mut [u8; ID_GRAM] = (&mut kinds[end..end + ID_GRAM]).try_into().expect("the slice has this length");
    for kind in &mut before[1..3] {
        *kind &= TEXT;
    }
    before[3..].fill(NO_GRAM);
}

const _: () = assert!(ID == TEXT + 1 && ID & TEXT == 0);
const _: () = assert!(JUNK_WORD < WORDS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gram::grams;
    use proptest::prelude::*;

    fn naive(rows: &[Vec<u8>], plane: Plane) -> Vec<u64> {
        let parameters = IndexParameters::default();
        let mut words = vec![0; plane.full_bits() / 64];
        for (_, gram) in rows.iter().flat_map(|row| grams(row)).filter(|(_, gram)| gram.plane == plane) {
            let place = parameters.place(gram) as usize;
            words[place / 64] |= 1 << (place % 64);
        }
        words
    }

    fn marked(marker: &mut Marker, runs: &[&[Vec<u8>]]) {
        marker.clear();
        for rows in runs {
            let mut end = 0;
            let ends: Vec<usize> = rows.iter().map(|row| (end += row.len(), end).1).collect();
            marker.add_rows(&rows.concat(), ends.into_iter());
        }
        marker.flush();
    }

    fn row() -> impl Strategy<Value = Vec<u8>> {
        let short = "[-a-gA-G0-9.:xé \n]{0,12}".prop_map(String::into_bytes);
        prop_oneof![8 => short, 1 => proptest::collection::vec(any::<u8>(), 0..200), 1 => "[0-9A-F]{3000,9000}".prop_map(String::into_bytes)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn exactly_the_grams_of_the_rule_are_set(rows in proptest::collection::vec(row(), 0..40), cut in 0_usize..40) {
            let (first, second) = rows.split_at(cut.min(rows.len()));
            let mut marker = Marker::new(&IndexParameters::default());
            marked(&mut marker, &[&rows]);
            marked(&mut marker, &[first, second]);
            for plane in Plane::ALL {
                prop_assert!(marker.plane(plane) == naive(&rows, plane), "{:?}", plane);
            }
        }
    }

    #[test]
    fn a_gram_never_crosses_a_row() {
        let mut marker = Marker::new(&IndexParameters::default());
        let rows: Vec<Vec<u8>> = ["ab", "", "cd", "efa", "bcdea", "x", "yz"].map(|row| row.as_bytes().to_vec()).to_vec();
        marked(&mut marker, &[&rows]);
        for plane in Plane::ALL {
            assert!(marker.plane(plane).iter().all(|word| *word == 0), "{plane:?}");
        }
    }
}
