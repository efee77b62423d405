//! Eight bytes of a text looked at together: where the first is that is of interest. For short texts, this costs less than a call of a search.

/// The eight bytes at `at`, the first in the lowest bits; `None` where fewer are left.
pub(crate) fn at(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks bytes below `limit` (at most 128) by their highest bits. Exact up to the first: what it borrows can mark only bytes behind it, so
/// that marks may be joined.
pub(crate) const fn below(bytes: u64, limit: u8) -> u64 {
    bytes.wrapping_sub(repeated(limit)) & !bytes & repeated(0x80)
}

/// The same for bytes that are `byte`.
pub(crate) const fn equal(bytes: u64, byte: u8) -> u64 {
    below(bytes ^ repeated(byte), 1)
}

/// The end of what stands before the first byte at or after `from` that `marks` marks, looking at sixteen bytes at a time as long as there are so
/// many: `Err` with where to go on if it is not among them.
pub(crate) fn find(text: &[u8], mut from: usize, marks: impl Fn(u64) -> u64) -> Result<usize, usize> {
    // Two at once: how often a loop runs is then mostly the same, which a processor foresees.
    while let (Some(low), Some(high)) = (at(text, from), at(text, from + 8)) {
        let (low, high) = (marks(low), marks(high));
        if low | high != 0 {
            return Ok(from + if low != 0 { first(low) } else { 8 + first(high) });
        }
        from += 16;
    }
    if let Some(bytes) = at(text, from) {
        let marked = marks(bytes);
        from += first(marked);
        if marked != 0 {
            return Ok(from);
        }
    }
    Err(from)
}

/// Which of the eight bytes carries the first mark; 8 without any.
pub(crate) const fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_mark_is_exact(bytes in any::<[u8; 8]>(), byte in any::<u8>(), limit in 0u8..=128) {
            let word = u64::from_le_bytes(bytes);
            let place = |is: &dyn Fn(u8) -> bool| bytes.iter().position(|byte| is(*byte)).unwrap_or(8);
            prop_assert_eq!(first(below(word, limit)), place(&|at| at < limit));
            prop_assert_eq!(first(equal(word, byte)), place(&|at| at == byte));
            prop_assert_eq!(first(below(word, limit) | equal(word, byte)), place(&|at| at < limit || at == byte));
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_stands() {
        for length in 0..40 {
            for place in 0..length {
                let mut text = vec![b'a'; length];
                text[place] = b'=';
                let found = find(&text, 0, |bytes| equal(bytes, b'='));
                assert!(
                    found == Ok(place) || matches!(found, Err(end) if end <= place && length - end < 8),
                    "{place} of {length}: {found:?}"
                );
            }
            assert_eq!(find(&vec![b'a'; length], 0, |bytes| equal(bytes, b'=')), Err(length / 8 * 8));
        }
    }

    #[test]
    fn fewer_than_eight_bytes_are_none() {
        assert_eq!(at(b"12345678", 0), Some(u64::from_le_bytes(*b"12345678")));
        assert_eq!((at(b"12345678", 1), at(b"1", 2)), (None, None));
    }
}
