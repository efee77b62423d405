//! Parquet's DELTA_BINARY_PACKED integers, and with them DELTA_LENGTH_BYTE_ARRAY pages.
//!
//! ```text
//! header = varint(block size) varint(miniblocks a block) varint(values) zigzag(first value)
//! block  = zigzag(least delta) width[miniblocks] miniblock…      widths in bits, values LSB first
//! page of lines = DELTA_BINARY_PACKED(lengths) bytes of all lines
//! ```
//! Ours because the crate's encoders are not public. Decoding refuses anything that does not add up.

use prost::encoding::{decode_varint, encode_varint};

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// Appends `values` in DELTA_BINARY_PACKED.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) {
    encode_varint(BLOCK as u64, out);
    encode_varint(MINIBLOCKS as u64, out);
    encode_varint(values.len() as u64, out);
    let Some((&first, rest)) = values.split_first() else {
        encode_varint(0, out);
        return;
    };
    encode_varint(zigzag(first), out);
    let mut previous = first;
    let mut deltas = [0i64; BLOCK];
    for block in rest.chunks(BLOCK) {
        for (delta, &value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(previous);
            previous = value;
        }
        encode_block(&deltas[..block.len()], out);
    }
}

fn encode_block(deltas: &[i64], out: &mut Vec<u8>) {
    let least = deltas.iter().copied().min().expect("a block holds at least one delta");
    encode_varint(zigzag(least), out);
    let widths_at = out.len();
    out.extend_from_slice(&[0; MINIBLOCKS]);
    for (index, miniblock) in deltas.chunks(MINIBLOCK).enumerate() {
        let mut adjusted = [0u64; MINIBLOCK];
        for (slot, &delta) in adjusted.iter_mut().zip(miniblock) {
            *slot = delta.wrapping_sub(least).cast_unsigned();
        }
        let widest = adjusted.iter().fold(0, |all, value| all | value);
        let width = (64 - widest.leading_zeros()) as u8;
        out[widths_at + index] = width;
        pack(&adjusted, usize::from(width), out);
    }
}

fn pack(values: &[u64; MINIBLOCK], width: usize, out: &mut Vec<u8>) {
    let mut pending: u128 = 0;
    let mut bits = 0;
    for &value in values {
        pending |= u128::from(value) << bits;
        bits += width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    debug_assert_eq!(bits, 0, "32 values of any width fill whole bytes");
}

/// Why encoded integers were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeltaError {
    #[error("delta-encoded values end early")]
    Short,
    #[error("delta-encoded header is malformed")]
    Header,
    #[error("delta-encoded values are out of range")]
    Range,
}

/// Decodes `expected` values; returns them and the bytes that follow.
pub(crate) fn decode(bytes: &[u8], expected: usize) -> Result<(Vec<i64>, &[u8]), DeltaError> {
    let mut input = Input { bytes };
    let block = input.varint()?;
    let miniblocks = input.varint()?;
    let count = input.varint()?;
    let first = unzigzag(input.varint()?);
    let well_formed = count == expected as u64
        && (1..=64).contains(&miniblocks)
        && block <= 1 << 16
        && block > 0
        && block.is_multiple_of(miniblocks * 32);
    if !well_formed {
        return Err(DeltaError::Header);
    }
    let miniblock_values = (block / miniblocks) as usize;
    let mut values = Vec::with_capacity(expected);
    if expected == 0 {
        return Ok((values, input.bytes));
    }
    values.push(first);
    let mut previous = first;
    while values.len() < expected {
        let least = unzigzag(input.varint()?);
        let widths = input.take(miniblocks as usize)?;
        for &width in widths {
            if values.len() == expected {
                break;
            }
            if width > 64 {
                return Err(DeltaError::Header);
            }
            let wanted = miniblock_values.min(expected - values.len());
            let packed = input.take(miniblock_values * usize::from(width) / 8)?;
            unpack(packed, usize::from(width), wanted, |adjusted| {
                previous = previous.wrapping_add(least).wrapping_add(adjusted.cast_signed());
                values.push(previous);
            });
        }
    }
    Ok((values, input.bytes))
}

fn unpack(packed: &[u8], width: usize, count: usize, mut each: impl FnMut(u64)) {
    if width == 0 {
        (0..count).for_each(|_| each(0));
        return;
    }
    let mask = u64::MAX >> (64 - width);
    for index in 0..count {
        let bit = index * width;
        let (byte, shift) = (bit / 8, bit % 8);
        let rest = &packed[byte..];
        let word = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut end = [0; 8];
            end[..rest.len()].copy_from_slice(rest);
            end
        });
        let mut value = u64::from_le_bytes(word) >> shift;
        if shift + width > 64 {
            value |= u64::from(rest[8]) << (64 - shift);
        }
        each(value & mask);
    }
}

/// Appends a DELTA_LENGTH_BYTE_ARRAY page: the lengths between consecutive `offsets`, then `text`.
pub(crate) fn encode_byte_arrays(offsets: &[i32], text: &[u8], out: &mut Vec<u8>) {
    let lengths: Vec<i64> = offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])).collect();
    encode(&lengths, out);
    out.extend_from_slice(text);
}

/// Splits a DELTA_LENGTH_BYTE_ARRAY page of `rows` values into offsets (rows + 1, from 0) and the text they cut.
pub(crate) fn decode_byte_arrays(page: &[u8], rows: usize) -> Result<(Vec<i32>, &[u8]), DeltaError> {
    let (offsets, text_at) = decode_lengths(page, rows)?;
    let text = &page[text_at..];
    if offsets[rows] as usize != text.len() {
        return Err(DeltaError::Range);
    }
    Ok((offsets, text))
}

/// The offsets (rows + 1, from 0) of a DELTA_LENGTH_BYTE_ARRAY page of which the beginning is there, and where its text begins.
pub(crate) fn decode_lengths(page: &[u8], rows: usize) -> Result<(Vec<i32>, usize), DeltaError> {
    let (lengths, text) = decode(page, rows)?;
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut end = 0i32;
    offsets.push(0);
    for length in lengths {
        let length = i32::try_from(length).ok().filter(|length| *length >= 0).ok_or(DeltaError::Range)?;
        end = end.checked_add(length).ok_or(DeltaError::Range)?;
        offsets.push(end);
    }
    Ok((offsets, page.len() - text.len()))
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn varint(&mut self) -> Result<u64, DeltaError> {
        decode_varint(&mut self.bytes).map_err(|_| DeltaError::Short)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DeltaError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DeltaError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_round_trip(values in proptest::collection::vec(prop_oneof![any::<i64>(), -100i64..100], 0..600), tail in proptest::collection::vec(any::<u8>(), 0..5)) {
            let mut bytes = Vec::new();
            encode(&values, &mut bytes);
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(decode(&bytes, values.len()), Ok((values, tail.as_slice())));
        }

        #[test]
        fn lines_round_trip(lines in proptest::collection::vec(".{0,40}", 0..300)) {
            let mut offsets = vec![0i32];
            offsets.extend(lines.iter().scan(0, |end, line| { *end += line.len() as i32; Some(*end) }));
            let text = lines.concat();
            let mut page = Vec::new();
            encode_byte_arrays(&offsets, text.as_bytes(), &mut page);
            prop_assert_eq!(decode_byte_arrays(&page, lines.len()), Ok((offsets, text.as_bytes())));
        }

        #[test]
        fn any_bytes_are_refused_or_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), rows in 0usize..300) {
            drop(decode_byte_arrays(&bytes, rows));
        }
    }

    #[test]
    fn another_writers_block_size_is_read() {
        // Block of 256 in 8 miniblocks, three values 1, 3, 5: least delta 2, all widths 0.
        let bytes = [0x80, 0x02, 0x08, 0x03, 0x02, 0x04, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&bytes, 3), Ok((vec![1, 3, 5], [].as_slice())));
    }
}
