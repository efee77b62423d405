//! Snappy blocks, size-checked: what a block says of itself is checked before a byte is allocated.

use bytes::Bytes;

/// Why a block was not decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    #[error("snappy: corrupt input")]
    Corrupt,
    #[error("snappy: declared size of {declared} bytes exceeds the limit of {limit} bytes")]
    TooLarge { declared: u64, limit: usize },
}

/// A block cannot expand more than this many times: its densest element copies 64 bytes with 3.
const MAX_EXPANSION: usize = 22;

/// Decompresses one block (not the framed format) of at most `limit` bytes into `out`, replacing what it held.
pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), SnappyError> {
    let declared = snap::raw::decompress_len(block).map_err(|error| match error {
        snap::Error::TooBig { given, .. } => SnappyError::TooLarge { declared: given, limit },
        _ => SnappyError::Corrupt,
    })?;
    if declared > limit {
        return Err(SnappyError::TooLarge { declared: declared as u64, limit });
    }
    if declared > block.len().saturating_mul(MAX_EXPANSION) {
        return Err(SnappyError::Corrupt);
    }
    out.clear();
    out.resize(declared, 0);
    let written = snap::raw::Decoder::new().decompress(block, out).map_err(|_| SnappyError::Corrupt)?;
    out.truncate(written);
    Ok(())
}

/// Compresses `input` as one block into `out`, replacing what it held.
pub fn compress(encoder: &mut snap::raw::Encoder, input: &[u8], out: &mut Vec<u8>) {
    out.resize(snap::raw::max_compress_len(input.len()), 0);
    let written = encoder.compress(input, out).expect("the buffer has the size the encoder asks for");
    out.truncate(written);
}

/// Bytes that the encoder compresses on their own: no element of a block refers back beyond them.
const PIECE_BYTES: usize = 64 << 10;

/// Room in front of a block for its length, which is known at its end.
const LENGTH_ROOM: usize = 5;

/// Makes blocks of bytes as they come, so that what is compressed is never held as a whole. The same bytes as of [`compress`].
pub struct BlockWriter {
    encoder: snap::raw::Encoder,
    /// Not compressed yet.
    piece: Vec<u8>,
    scratch: Vec<u8>,
    /// Behind room for its length; empty before the first bytes.
    block: Vec<u8>,
    /// Bytes before compression.
    length: usize,
    /// What the next block will likely take.
    expected: usize,
}

impl Default for BlockWriter {
    fn default() -> Self {
        Self { encoder: snap::raw::Encoder::new(), piece: Vec::new(), scratch: Vec::new(), block: Vec::new(), length: 0, expected: 0 }
    }
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").field("block", &self.block.len()).field("piece", &self.piece.len()).finish_non_exhaustive()
    }
}

impl BlockWriter {
    pub fn write(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            if self.piece.is_empty() && bytes.len() >= PIECE_BYTES {
                let (piece, rest) = bytes.split_at(PIECE_BYTES);
                append(&mut self.encoder, piece, &mut self.scratch, begun(&mut self.block, self.expected));
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(part);
            bytes = rest;
            if self.piece.len() == PIECE_BYTES {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        append(&mut self.encoder, &self.piece, &mut self.scratch, begun(&mut self.block, self.expected));
        self.piece.clear();
    }

    /// The block of all that was written since the last one; no bytes if nothing was.
    pub fn finish(&mut self) -> Bytes {
        if self.length == 0 {
            return Bytes::new();
        }
        if !self.piece.is_empty() {
            self.end_piece();
        }
        let mut head = Vec::with_capacity(LENGTH_ROOM);
        prost::encoding::encode_varint(std::mem::take(&mut self.length) as u64, &mut head);
        let mut block = std::mem::take(&mut self.block);
        let start = LENGTH_ROOM - head.len();
        block[start..LENGTH_ROOM].copy_from_slice(&head);
        self.expected = block.len() + block.len() / 8;
        block.shrink_to_fit();
        Bytes::from(block).slice(start..)
    }
}

/// `block` with room for its length.
fn begun(block: &mut Vec<u8>, expected: usize) -> &mut Vec<u8> {
    if block.is_empty() {
        block.reserve_exact(expected.max(LENGTH_ROOM));
        block.resize(LENGTH_ROOM, 0);
    }
    block
}

/// Appends the elements of `piece`.
fn append(encoder: &mut snap::raw::Encoder, piece: &[u8], scratch: &mut Vec<u8>, block: &mut Vec<u8>) {
    let most = snap::raw::max_compress_len(piece.len());
    if scratch.len() < most {
        scratch.resize(most, 0);
    }
    let written = encoder.compress(piece, scratch).expect("the buffer has the size the encoder asks for");
    // The length that each block begins with stands in front of the whole one.
    block.extend_from_slice(&scratch[prost::encoding::encoded_len_varint(piece.len() as u64)..written]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_declared_size_of_4_gib_allocates_nothing() {
        let mut out = Vec::new();
        let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert_eq!(decompress(&block, 64 << 20, &mut out), Err(SnappyError::TooLarge { declared: u64::from(u32::MAX), limit: 64 << 20 }));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn a_size_no_block_of_that_length_can_reach_is_corrupt() {
        let mut out = Vec::new();
        assert_eq!(decompress(&[0xff, 0xff, 0xff, 0x1f], 64 << 20, &mut out), Err(SnappyError::Corrupt));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn the_densest_block_still_passes() {
        let input = vec![7; 4 << 20];
        let (mut block, mut out) = (Vec::new(), Vec::new());
        compress(&mut snap::raw::Encoder::new(), &input, &mut block);
        assert_eq!(decompress(&block, input.len(), &mut out), Ok(()));
        assert_eq!(out, input);
    }

    proptest! {
        #[test]
        fn round_trip(input in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (mut block, mut out) = (Vec::new(), Vec::new());
            compress(&mut snap::raw::Encoder::new(), &input, &mut block);
            prop_assert_eq!(decompress(&block, input.len(), &mut out), Ok(()));
            prop_assert_eq!(out, input);
        }

        #[test]
        fn a_block_made_of_pieces_is_the_same_block(
            parts in proptest::collection::vec(prop_oneof![5 => 0..300usize, 2 => 30_000..200_000usize, 1 => Just(PIECE_BYTES)], 0..8),
            seed in any::<u64>(),
        ) {
            let mut state = seed;
            let text: Vec<u8> = (0..parts.iter().sum()).map(|at: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if at % 50 < 30 { b'a' + (at % 7) as u8 } else { (state >> 56) as u8 }
            }).collect();
            let mut whole = Vec::new();
            compress(&mut snap::raw::Encoder::new(), &text, &mut whole);
            let mut writer = BlockWriter::default();
            for _ in 0..2 {
                let mut rest = &*text;
                for part in &parts {
                    let (now, later) = rest.split_at(*part);
                    writer.write(now);
                    rest = later;
                }
                // Nothing written is no block.
                prop_assert_eq!(&*writer.finish(), if text.is_empty() { &[][..] } else { &*whole });
            }
        }

        #[test]
        fn any_bytes_are_refused_or_taken_without_panic(block in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decompress(&block, 1 << 20, &mut Vec::new()));
        }
    }
}
