//! A block of rows as it is stored: compressed if that is shorter, with a checksum that ties it to its place and to its index.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use crate::error::BlockError;
use crate::layout::{BlockId, ClassLayout};
use crate::rows;

/// What stands behind each block.
pub(crate) const CHECKSUM_BYTES: usize = 4;

/// Fast, and nearly as small as any: what there is to save is the fill.
const COMPRESSION_LEVEL: i32 = 1;

/// The longest there is: rows of ids are chance, and a shorter repetition costs more than its bytes do by themselves (2.5 % of a plane).
const LEAST_MATCH: u32 = 7;

/// For [`compressed`].
pub(crate) fn compressor() -> Compressor<'static> {
    let mut compressor = Compressor::new(COMPRESSION_LEVEL).expect("the level is one that there is");
    compressor.set_parameter(CParameter::MinMatch(LEAST_MATCH)).expect("zstd takes 3 to 7");
    compressor
}

/// Padded rows of a block as stored: packed, and compressed unless that saves nothing.
pub(crate) fn compressed(compressor: &mut Compressor<'_>, class: &ClassLayout, rows: Vec<u8>) -> Vec<u8> {
    let rows = rows::packed(&rows, class.row_bytes(), class.row_bits);
    let mut compressed = compressor.compress(&rows).expect("compressing fails for want of memory alone");
    // An index has thousands of blocks, and room for the worst case would make each larger than its rows.
    compressed.shrink_to_fit();
    if compressed.len() < rows.len() { compressed } else { rows }
}

/// Of a block as stored, without it.
pub(crate) fn checksum(header_checksum: u32, block: BlockId, body: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(header_checksum, &block.0.to_le_bytes());
    crc32c::crc32c_append(place, body)
}

/// The rows of a block from what is stored of it with its checksum.
pub(crate) fn open(header_checksum: u32, block: BlockId, stored: &[u8], class: &ClassLayout) -> Result<Vec<u8>, BlockError> {
    let Some((body, expected)) = stored.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(BlockError::Length { block, expected: CHECKSUM_BYTES, actual: stored.len() });
    };
    let (expected, actual) = (u32::from_le_bytes(*expected), checksum(header_checksum, block, body));
    if expected != actual {
        return Err(BlockError::Checksum { block, expected, actual });
    }
    let length = class.block_bytes();
    decompressed(body, length).ok_or(BlockError::Content { block, expected: length })
}

thread_local! {
    /// A context for each thread that opens blocks: making one costs more than a block.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompressed(body: &[u8], length: usize) -> Option<Vec<u8>> {
    if body.len() == length {
        return Some(body.to_vec());
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let context = match kept {
            Some(context) => context,
            None => kept.insert(Decompressor::new().ok()?),
        };
        context.decompress(body, length).ok().filter(|rows| rows.len() == length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_tied_to_its_place_and_its_index() {
        let sums = [(1, 0), (1, 1), (2, 0)].map(|(header, block)| checksum(header, BlockId(block), b"rows"));
        assert!(sums[0] != sums[1] && sums[0] != sums[2] && sums[1] != sums[2]);
    }
}
