//! Sets the bits of all grams of many rows: the hot loop of building an index.
//!
//! Works on runs of whole rows, in passes over a few kilobytes that stay in the first cache: lower case; which bytes are id bytes, a bit
//! for each; from these at once for 64 bytes where grams of either kind begin; then one load, one multiplication and one bit a gram. Rows
//! are cut by striking out the beginnings of grams that would reach over an end, after the fact.

use crate::gram::{ID_GRAM, Plane, TEXT_GRAM, is_id_byte};
use crate::parameters::{IndexParameters, PLACE_SHIFT};

/// Bytes handled together; a longer row makes a longer run.
const RUN: usize = 8 * 1024;
/// Bytes whose bits make a word.
const GROUP: usize = 64;
/// Bytes behind a group, so that eight can be loaded anywhere.
const PADDING: usize = 8;

const ID_WORDS: usize = 1 << 14;
const TEXT_WORDS: usize = 1 << 11;

const ID_MASK: u64 = (1 << (8 * ID_GRAM)) - 1;
/// Bits of the product that text leaves unused: it counts modulo 2^61.
const TEXT_UNUSED: u32 = 3;

/// Both planes at full size, and the buffers of a run. About 150 KiB, kept between granules.
#[derive(Debug)]
pub(crate) struct Marker {
    multiplier: u64,
    text_words: Box<[u64; TEXT_WORDS]>,
    id_words: Box<[u64; ID_WORDS]>,
    lower: Vec<u8>,
    /// Ends of rows in `lower`.
    ends: Vec<usize>,
    /// Which bytes of `lower` are id bytes.
    id_bytes: Vec<u64>,
    /// Where grams of text and of ids begin.
    texts: Vec<u64>,
    ids: Vec<u64>,
}

impl Marker {
    pub(crate) fn new(parameters: &IndexParameters) -> Marker {
        Marker {
            multiplier: parameters.multiplier,
            text_words: Box::new([0; TEXT_WORDS]),
            id_words: Box::new([0; ID_WORDS]),
            lower: Vec::new(),
            ends: Vec::new(),
            id_bytes: Vec::new(),
            texts: Vec::new(),
            ids: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.text_words.fill(0);
        self.id_words.fill(0);
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
        self.lower.resize(self.lower.len().next_multiple_of(GROUP) + PADDING, 0);
        self.classify();
        for &end in &self.ends {
            strike_out(&mut self.texts, end, TEXT_GRAM);
            strike_out(&mut self.ids, end, ID_GRAM);
        }
        self.mark();
        self.lower.clear();
        self.ends.clear();
    }

    fn classify(&mut self) {
        let (groups, _) = self.lower.as_chunks::<GROUP>();
        self.id_bytes.clear();
        self.id_bytes.extend(groups.iter().map(id_bits));
        self.id_bytes.push(0);
        self.texts.clear();
        self.ids.clear();
        for [own, next] in self.id_bytes.array_windows() {
            let behind = |by: u32| own >> by | next << (u64::BITS - by);
            let four = own & behind(1) & behind(2) & behind(3);
            self.ids.push(four);
            self.texts.push(!four);
        }
        // Behind the last row.
        let end = self.ends.last().copied().unwrap_or_default();
        (end..self.texts.len() * GROUP).for_each(|at| self.texts[at / GROUP] &= !(1 << (at % GROUP)));
    }

    /// One loop: to compute the places first and set the bits later is slower by a tenth, and to look before setting by
    /// a quarter (measured).
    fn mark(&mut self) {
        for (group, (texts, ids)) in self.texts.iter().zip(&self.ids).enumerate() {
            let bytes = &self.lower[group * GROUP..][..GROUP + PADDING];
            let bytes: &[u8; GROUP + PADDING] = bytes.try_into().expect("the slice has this length");
            let (mut texts, mut ids) = (*texts, *ids);
            while texts != 0 {
                let at = texts.trailing_zeros() as usize % GROUP;
                texts &= texts - 1;
                let gram = u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
                let bit = gram.wrapping_mul(self.multiplier << TEXT_UNUSED) >> (PLACE_SHIFT + TEXT_UNUSED);
                self.text_words[(bit >> 6) as usize] |= 1 << (bit & 63);
            }
            while ids != 0 {
                let at = ids.trailing_zeros() as usize % GROUP;
                ids &= ids - 1;
                let eight = bytes[at..at + 8].try_into().expect("the slice has this length");
                let bit = (u64::from_le_bytes(eight) & ID_MASK).wrapping_mul(self.multiplier) >> PLACE_SHIFT;
                self.id_words[(bit >> 6) as usize] |= 1 << (bit & 63);
            }
        }
    }

    /// The plane at full size; rows have to be flushed.
    pub(crate) fn plane(&self, plane: Plane) -> &[u64] {
        match plane {
            Plane::Text => self.text_words.as_slice(),
            Plane::Id => self.id_words.as_slice(),
        }
    }
}

/// Which bytes are id bytes, the first one lowest.
fn id_bits(group: &[u8; GROUP]) -> u64 {
    /// Of eight bytes that are 0 or 1 gathers the low bits in the top byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let flags = group.map(|byte| u8::from(is_id_byte(byte)));
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().rev().fold(0, |bits, eight| bits << 8 | u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56)
}

/// Takes away the grams that begin before a row's end and would reach beyond it. What this touches of a row before is
/// struck out by that row's own end anyway.
fn strike_out(beginnings: &mut [u64], end: usize, gram: usize) {
    for at in end.saturating_sub(gram - 1)..end {
        beginnings[at / GROUP] &= !(1 << (at % GROUP));
    }
}

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
