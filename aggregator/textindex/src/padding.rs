//! Rows of bits without the bits that fill up their last byte, and with them again.

/// The first `columns` bits of each row, one row behind the other; the last byte is filled up with zeros.
pub(crate) fn without(rows: &[u8], row_bytes: usize, columns: usize) -> Vec<u8> {
    let mut packed = vec![0; length_without(rows.len(), row_bytes, columns) + 1];
    let mut at = 0;
    for row in rows.chunks_exact(row_bytes) {
        for (index, byte) in row.iter().enumerate() {
            // What a row's last byte is filled up with is zero, so the next row may be laid over it.
            let wide = (u16::from(*byte) << (at % 8)).to_le_bytes();
            packed[at / 8] |= wide[0];
            packed[at / 8 + 1] |= wide[1];
            at += (columns - index * 8).min(8);
        }
    }
    packed.pop();
    packed
}

/// Bytes of `padded` bytes of rows without their padding.
pub(crate) fn length_without(padded: usize, row_bytes: usize, columns: usize) -> usize {
    (padded / row_bytes * columns).div_ceil(8)
}

/// The padded rows, `padded` bytes.
pub(crate) fn with(packed: &[u8], padded: usize, row_bytes: usize, columns: usize) -> Vec<u8> {
    let byte_at = |at: usize| packed.get(at).copied().unwrap_or_default();
    let (mut rows, mut at) = (Vec::with_capacity(padded), 0);
    for _ in 0..padded / row_bytes {
        for index in 0..row_bytes {
            let bits = (columns - index * 8).min(8);
            let wide = u16::from_le_bytes([byte_at(at / 8), byte_at(at / 8 + 1)]) >> (at % 8);
            rows.push(wide as u8 & u8::MAX >> (8 - bits));
            at += bits;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back_and_take_no_bit_more_than_they_hold(columns in 1_usize..40, count in 1_usize..20, seed in any::<u64>()) {
            let row_bytes = columns.div_ceil(8);
            let bit = |row: usize, column: usize| seed.rotate_left((row * 7 + column * 13) as u32) & 1;
            let mut rows = vec![0; count * row_bytes];
            for (row, column) in (0..count * columns).map(|index| (index / columns, index % columns)) {
                rows[row * row_bytes + column / 8] |= (bit(row, column) as u8) << (column % 8);
            }
            let packed = without(&rows, row_bytes, columns);
            prop_assert_eq!(packed.len(), length_without(rows.len(), row_bytes, columns));
            for (index, at) in (0..count * columns).enumerate() {
                prop_assert_eq!(u64::from(packed[at / 8] >> (at % 8) & 1), bit(index / columns, index % columns));
            }
            prop_assert_eq!(with(&packed, rows.len(), row_bytes, columns), rows);
        }
    }

    #[test]
    fn whole_bytes_stay_as_they_are() {
        assert_eq!(without(&[1, 2, 3, 4], 2, 16), [1, 2, 3, 4]);
        assert_eq!(with(&[1, 2, 3, 4], 4, 2, 16), [1, 2, 3, 4]);
    }
}
