//! Parquet's RLE/bit-packing hybrid: dictionary indices and levels.
//!
//! ```text
//! data = { varint(count << 1) value in whole bytes | varint(groups << 1 | 1) groups of 8 values, LSB first }
//! ```
//! Values come and go as runs (value, count), since most columns here are constant over long stretches.

use prost::encoding::{decode_varint, encode_varint};

/// Why encoded values were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("run-length encoded values are malformed")]
pub(crate) struct HybridError;

/// Runs at least this long are written as runs.
const SHORTEST_RUN: usize = 8;

/// Most groups of a bit-packed stretch.
const MOST_GROUPS: usize = 63;

/// Bits that hold every number up to `largest`.
pub(crate) fn width_of(largest: u32) -> u8 {
    (32 - largest.leading_zeros()) as u8
}

/// Appends runs of values of `width` bits.
pub(crate) fn encode(runs: impl Iterator<Item = (u32, usize)>, width: u8, out: &mut Vec<u8>) {
    let mut encoder = Encoder { width, out, loose: Vec::with_capacity(8 * MOST_GROUPS) };
    let mut pending: Option<(u32, usize)> = None;
    for (value, count) in runs {
        pending = match pending {
            Some((same, so_far)) if same == value => Some((value, so_far + count)),
            Some((other, length)) => {
                encoder.run(other, length);
                Some((value, count))
            }
            None => Some((value, count)),
        };
    }
    if let Some((value, length)) = pending {
        encoder.run(value, length);
    }
    encoder.flush_loose();
}

struct Encoder<'a> {
    width: u8,
    out: &'a mut Vec<u8>,
    /// Values that wait to be bit-packed.
    loose: Vec<u32>,
}

impl Encoder<'_> {
    fn run(&mut self, value: u32, mut count: usize) {
        // Loose values fill a whole group first: only the last group may be padded.
        let missing = self.loose.len().next_multiple_of(8) - self.loose.len();
        if count < missing + SHORTEST_RUN {
            return self.loosen(value, count);
        }
        self.loosen(value, missing);
        count -= missing;
        self.flush_loose();
        encode_varint((count as u64) << 1, self.out);
        self.out.extend_from_slice(&value.to_le_bytes()[..usize::from(self.width).div_ceil(8)]);
    }

    fn loosen(&mut self, value: u32, count: usize) {
        for _ in 0..count {
            self.loose.push(value);
            if self.loose.len() == 8 * MOST_GROUPS {
                self.flush_loose();
            }
        }
    }

    fn flush_loose(&mut self) {
        if self.loose.is_empty() {
            return;
        }
        let groups = self.loose.len().div_ceil(8);
        encode_varint((groups as u64) << 1 | 1, self.out);
        self.loose.resize(groups * 8, 0);
        let (mut pending, mut bits) = (0u64, 0);
        for &value in &self.loose {
            pending |= u64::from(value) << bits;
            bits += u32::from(self.width);
            while bits >= 8 {
                self.out.push(pending as u8);
                pending >>= 8;
                bits -= 8;
            }
        }
        self.loose.clear();
    }
}

/// Reads `count` values of `width` bits as runs; refuses data that ends before them.
pub(crate) fn decode(mut bytes: &[u8], width: u8, count: usize, mut each: impl FnMut(u32, usize)) -> Result<(), HybridError> {
    if width > 32 {
        return Err(HybridError);
    }
    let mut left = count;
    while left > 0 {
        let header = decode_varint(&mut bytes).map_err(|_| HybridError)?;
        if header & 1 == 0 {
            let length = usize::try_from(header >> 1).map_err(|_| HybridError)?.min(left);
            let (value, rest) = bytes.split_at_checked(usize::from(width).div_ceil(8)).ok_or(HybridError)?;
            bytes = rest;
            let mut word = [0; 4];
            word[..value.len()].copy_from_slice(value);
            if length == 0 {
                return Err(HybridError);
            }
            each(u32::from_le_bytes(word), length);
            left -= length;
            continue;
        }
        let groups = usize::try_from(header >> 1).ok().filter(|groups| *groups > 0).ok_or(HybridError)?;
        let packed = groups.checked_mul(usize::from(width)).ok_or(HybridError)?;
        let (packed, rest) = bytes.split_at_checked(packed).ok_or(HybridError)?;
        bytes = rest;
        let values = groups.saturating_mul(8).min(left);
        unpack(packed, width, values, &mut each);
        left -= values;
    }
    Ok(())
}

fn unpack(packed: &[u8], width: u8, count: usize, each: &mut impl FnMut(u32, usize)) {
    let mask = (1u64 << width) - 1;
    let (mut pending, mut bits, mut next) = (0u64, 0u32, packed.iter());
    let mut run: Option<(u32, usize)> = None;
    for _ in 0..count {
        while bits < u32::from(width) {
            pending |= u64::from(next.next().copied().unwrap_or_default()) << bits;
            bits += 8;
        }
        let value = (pending & mask) as u32;
        pending >>= width;
        bits -= u32::from(width);
        run = match run {
            Some((same, length)) if same == value => Some((value, length + 1)),
            Some((other, length)) => {
                each(other, length);
                Some((value, 1))
            }
            None => Some((value, 1)),
        };
    }
    if let Some((value, length)) = run {
        each(value, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expand(runs: &[(u32, usize)]) -> Vec<u32> {
        runs.iter().flat_map(|&(value, count)| std::iter::repeat_n(value, count)).collect()
    }

    proptest! {
        #[test]
        fn runs_come_back(largest in prop_oneof![Just(0u32), 1u32..9, Just(u32::MAX)], runs in proptest::collection::vec((any::<u32>(), prop_oneof![1usize..4, 1usize..700]), 0..40)) {
            let runs: Vec<(u32, usize)> = runs.into_iter().map(|(value, count)| (if largest == u32::MAX { value } else { value % (largest + 1) }, count)).collect();
            let expected = expand(&runs);
            let mut bytes = Vec::new();
            encode(runs.into_iter(), width_of(largest), &mut bytes);
            let mut read = Vec::new();
            prop_assert_eq!(decode(&bytes, width_of(largest), expected.len(), |value, count| read.push((value, count))), Ok(()));
            prop_assert_eq!(expand(&read), expected);
        }

        #[test]
        fn any_bytes_are_refused_or_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), width in 0u8..40, count in 0usize..500) {
            let mut seen = 0;
            if decode(&bytes, width, count, |_, length| seen += length).is_ok() {
                prop_assert_eq!(seen, count);
            }
        }
    }

    #[test]
    fn a_constant_column_takes_a_few_bytes() {
        let mut bytes = Vec::new();
        encode([(3, 1_000_000)].into_iter(), 2, &mut bytes);
        assert_eq!(bytes, [0x80, 0x89, 0x7a, 3]);
    }
}
