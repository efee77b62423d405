//! Rows of bits one behind the other, which may begin within a byte.

/// The first `row_bits` bits of each row of `row_bytes`; the last byte is filled up with zeros.
pub(crate) fn packed(padded: &[u8], row_bytes: usize, row_bits: usize) -> Vec<u8> {
    let mut packed = vec![0; (padded.len() / row_bytes * row_bits).div_ceil(8) + 1];
    let mut at = 0;
    for row in padded.chunks_exact(row_bytes) {
        for (index, byte) in row.iter().enumerate() {
            // What a row's last byte is filled up with is zero, so the next row may be laid over it.
            let wide = (u16::from(*byte) << (at % 8)).to_le_bytes();
            packed[at / 8] |= wide[0];
            packed[at / 8 + 1] |= wide[1];
            at += (row_bits - index * 8).min(8);
        }
    }
    packed.pop();
    packed
}

/// Eight bits from bit `at` on, the first one lowest; zeros behind the end.
pub(crate) fn eight_at(rows: &[u8], at: usize) -> u8 {
    let byte = |index: usize| rows.get(index).copied().unwrap_or_default();
    (u16::from_le_bytes([byte(at / 8), byte(at / 8 + 1)]) >> (at % 8)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_take_no_bit_more_than_they_hold(row_bits in 1_usize..40, count in 1_usize..20, seed in any::<u64>()) {
            let row_bytes = row_bits.div_ceil(8);
            let bit = |row: usize, column: usize| (seed.rotate_left((row * 7 + column * 13) as u32) & 1) as u8;
            let mut padded = vec![0; count * row_bytes];
            for (row, column) in (0..count * row_bits).map(|index| (index / row_bits, index % row_bits)) {
                padded[row * row_bytes + column / 8] |= bit(row, column) << (column % 8);
            }
            let packed = packed(&padded, row_bytes, row_bits);
            prop_assert_eq!(packed.len(), (count * row_bits).div_ceil(8));
            for at in 0..count * row_bits {
                let expected = (at..count * row_bits).take(8).rev().fold(0, |bits, at| bits << 1 | bit(at / row_bits, at % row_bits));
                prop_assert_eq!(eight_at(&packed, at), expected);
            }
        }
    }

    #[test]
    fn whole_bytes_stay_as_they_are() {
        assert_eq!(packed(&[1, 2, 3, 4], 2, 16), [1, 2, 3, 4]);
        assert_eq!([0, 8, 24, 32].map(|at| eight_at(&[1, 2, 3, 4], at)), [1, 2, 4, 0]);
    }
}
