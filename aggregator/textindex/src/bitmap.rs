//! Bits in words, and folding: bits 2i and 2i+1 become bit i.
//!
//! Folding a plane keeps the top bits of each gram's place, so one probe of the smaller plane answers for it.

use crate::fill::FillLimit;

const EVEN: u64 = 0x5555_5555_5555_5555;

/// A plane as stored: as small as its limit allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FoldedPlane {
    Bits(Vec<u64>),
    /// Too full at full size to tell anything.
    AlwaysMaybe,
}

/// Folds while the fill stays at or below the limit, down to one word.
pub(crate) fn fold(full: &[u64], limit: FillLimit) -> FoldedPlane {
    let ones = full.iter().map(|word| u64::from(word.count_ones())).sum();
    if !limit.allows(ones, bits(full)) {
        return FoldedPlane::AlwaysMaybe;
    }
    let mut folded = Vec::new();
    loop {
        let current = if folded.is_empty() { full } else { &folded };
        if current.len() == 1 || !limit.allows(ones_when_folded(current), bits(current) / 2) {
            break;
        }
        folded = halved(current);
    }
    FoldedPlane::Bits(if folded.is_empty() { full.to_vec() } else { folded })
}

fn bits(words: &[u64]) -> u64 {
    words.len() as u64 * 64
}

fn ones_when_folded(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(((word | word >> 1) & EVEN).count_ones())).sum()
}

fn halved(words: &[u64]) -> Vec<u64> {
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().map(|[low, high]| gather_pairs(*low) | gather_pairs(*high) << 32).collect()
}

/// Bit i is set where bit 2i or 2i+1 was; the upper half is empty.
fn gather_pairs(word: u64) -> u64 {
    let mut word = (word | word >> 1) & EVEN;
    word = (word | word >> 1) & 0x3333_3333_3333_3333;
    word = (word | word >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    word = (word | word >> 4) & 0x00ff_00ff_00ff_00ff;
    word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    (word | word >> 16) & 0x0000_0000_ffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::FillLimits;
    use proptest::prelude::*;

    fn is_set(words: &[u64], bit: usize) -> bool {
        words[bit / 64] >> (bit % 64) & 1 == 1
    }

    proptest! {
        #[test]
        fn a_folded_bit_is_set_where_one_of_its_two_was(words in proptest::collection::vec(any::<u64>(), 4)) {
            let folded = halved(&words);
            prop_assert_eq!(folded.len(), 2);
            for bit in 0..128 {
                prop_assert_eq!(is_set(&folded, bit), is_set(&words, 2 * bit) || is_set(&words, 2 * bit + 1));
            }
            let ones: u64 = folded.iter().map(|word| u64::from(word.count_ones())).sum();
            prop_assert_eq!(ones_when_folded(&words), ones);
        }
    }

    #[test]
    fn planes_are_folded_as_far_as_the_limit_allows() {
        let limit = FillLimits::default().text;
        assert_eq!(fold(&[0; 32], limit), FoldedPlane::Bits(vec![0]));
        assert_eq!(fold(&[u64::MAX, 0], limit), FoldedPlane::Bits(vec![0xffff_ffff]));
        assert_eq!(fold(&[EVEN, 0, EVEN, 0], limit), FoldedPlane::Bits(vec![0x0000_ffff_0000_ffff]));
        assert_eq!(fold(&[EVEN; 4], limit), FoldedPlane::Bits(vec![EVEN; 4]));
        assert_eq!(fold(&[EVEN | 2; 4], limit), FoldedPlane::AlwaysMaybe);
    }
}
