//! The file of one block: a head of fixed length, then the bytes of the object.
//!
//! ```text
//! "TWBLOCK1" · name of the object, 16 · number of the block, 8 · length of the data, 4 · kind, 4 · CRC-32C of each 64 KiB of data, 16 × 4
//! · CRC-32C of all that, 4 · zeros to 128 · data
//! ```
//! Numbers are little-endian. The head names the object, so that a file under a wrong name is no hit; data is verified piece by piece, so
//! that a short read needs no more than the pieces that it touches.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// Bytes of an object in a block; the last block of an object is shorter.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;

/// Bytes of data under one checksum.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = BLOCK_BYTES as usize / PIECE_BYTES;

pub(super) const HEAD_BYTES: usize = 128;
const MAGIC: &[u8; 8] = b"TWBLOCK1";
const CHECKED: usize = 8 + 16 + 8 + 4 + 4 + 4 * PIECES;

/// A block of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BlockId {
    /// Of the object's key: the first bytes of its SHA-256.
    object: [u8; 16],
    pub(super) number: u64,
}

/// What is read from a block; what is kept longest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Content {
    /// Footers and planes of text indexes.
    Index,
    /// Pages of rows.
    Rows,
}

impl BlockId {
    pub(super) fn new(key: &str, number: u64) -> Self {
        let digest = Sha256::digest(key.as_bytes());
        let mut object = [0; 16];
        object.copy_from_slice(&digest[..16]);
        Self { object, number }
    }

    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        let object: String = self.object.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{object}-{:x}.block", self.number)
    }

    /// The block of a file name, if it is one.
    pub(super) fn of_file_name(name: &str) -> Option<Self> {
        let (object, number) = name.strip_suffix(".block")?.split_once('-')?;
        let mut id = Self { object: [0; 16], number: u64::from_str_radix(number, 16).ok()? };
        for (place, byte) in id.object.iter_mut().enumerate() {
            *byte = u8::from_str_radix(object.get(2 * place..2 * place + 2)?, 16).ok()?;
        }
        (id.file_name() == name).then_some(id)
    }
}

/// The file of a block.
pub(super) fn encode(id: &BlockId, content: Content, data: &[u8]) -> Vec<u8> {
    debug_assert!(data.len() <= BLOCK_BYTES as usize, "a block is no longer than that");
    let mut file = Vec::with_capacity(HEAD_BYTES + data.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&id.object);
    file.extend_from_slice(&id.number.to_le_bytes());
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(&(content as u32).to_le_bytes());
    for piece in 0..PIECES {
        let piece = data.get(piece * PIECE_BYTES..).unwrap_or_default();
        let checksum = crc32c::crc32c(&piece[..piece.len().min(PIECE_BYTES)]);
        file.extend_from_slice(&checksum.to_le_bytes());
    }
    file.extend_from_slice(&crc32c::crc32c(&file).to_le_bytes());
    file.resize(HEAD_BYTES, 0);
    file.extend_from_slice(data);
    file
}

/// What the head of a block's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) content: Content,
    checksums: [u32; PIECES],
}

impl Head {
    /// `None`: this is not the intact head of that block.
    pub(super) fn parse(head: &[u8; HEAD_BYTES], id: &BlockId) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let names_block = head[8..24] == id.object && head[24..32] == id.number.to_le_bytes();
        if head[..8] != *MAGIC || !names_block || crc32c::crc32c(&head[..CHECKED]) != number(CHECKED) {
            return None;
        }
        let content = match number(36) {
            0 => Content::Index,
            1 => Content::Rows,
            _ => return None,
        };
        let length = number(32) as usize;
        let mut checksums = [0; PIECES];
        checksums.iter_mut().enumerate().for_each(|(piece, checksum)| *checksum = number(40 + 4 * piece));
        (length <= BLOCK_BYTES as usize).then_some(Self { length, content, checksums })
    }

    /// The whole pieces that hold some bytes of the data; `None` if the data ends before.
    pub(super) fn pieces_of(&self, wanted: &Range<usize>) -> Option<Range<usize>> {
        let end = wanted.end.div_ceil(PIECE_BYTES) * PIECE_BYTES;
        (wanted.start <= wanted.end && wanted.end <= self.length).then(|| wanted.start / PIECE_BYTES * PIECE_BYTES..end.min(self.length))
    }

    /// Whether whole pieces that begin at `start` are intact.
    pub(super) fn is_intact(&self, start: usize, pieces: &[u8]) -> bool {
        let numbered = pieces.chunks(PIECE_BYTES).enumerate();
        numbered.into_iter().all(|(place, piece)| self.checksums.get(start / PIECE_BYTES + place) == Some(&crc32c::crc32c(piece)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(file: &[u8], id: &BlockId, wanted: Range<usize>) -> Option<Vec<u8>> {
        let head = Head::parse(file.first_chunk()?, id)?;
        let pieces = head.pieces_of(&wanted)?;
        let read = file.get(HEAD_BYTES + pieces.start..HEAD_BYTES + pieces.end)?;
        head.is_intact(pieces.start, read).then(|| read[wanted.start - pieces.start..wanted.end - pieces.start].to_vec())
    }

    #[test]
    fn names_are_read_back() {
        let id = BlockId::new("v1/t/data/2026-01-15/1-x.parquet", 0x1f);
        assert_eq!(BlockId::of_file_name(&id.file_name()), Some(id));
        for name in ["", "x", "00-1.block", "README", &id.file_name().to_uppercase(), &id.file_name().replace("-1f", "-01f")] {
            assert_eq!(BlockId::of_file_name(name), None, "{name}");
        }
        assert_ne!(id, BlockId::new("v1/t/data/2026-01-15/1-y.parquet", 0x1f));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bytes_are_read_back_or_nothing_is(
            length in prop_oneof![0usize..300, 60_000usize..140_000], start: prop::sample::Index, end: prop::sample::Index,
            damage in proptest::option::of((any::<prop::sample::Index>(), 0u8..8)), cut: Option<prop::sample::Index>,
        ) {
            let data: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
            let (start, end) = (start.index(length + 1), end.index(length + 1));
            let wanted = start.min(end)..start.max(end);
            let id = BlockId::new("key", 3);
            let whole = encode(&id, Content::Rows, &data);
            prop_assert_eq!(read(&whole, &id, wanted.clone()), Some(data[wanted.clone()].to_vec()));
            prop_assert_eq!(read(&whole, &BlockId::new("key", 4), wanted.clone()), None);
            prop_assert_eq!(read(&whole, &id, 0..length + 1), None);
            let mut file = whole.clone();
            if let Some((place, bit)) = damage {
                let place = place.index(file.len());
                file[place] ^= 1 << bit;
            }
            if let Some(cut) = cut {
                file.truncate(cut.index(file.len()));
            }
            let found = read(&file, &id, wanted.clone());
            prop_assert!(found.is_none() || found == Some(data[wanted].to_vec()));
        }
    }
}
