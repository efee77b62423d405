//! Why an index, a block or a page of lines was refused.

use thiserror::Error;

use crate::layout::BlockId;

/// The header is of no use: take every granule for "maybe".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("text index header has {actual} bytes of {needed}: read more of the object")]
    Short { needed: usize, actual: usize },
    #[error("not a text index: it begins with {found:02x?}")]
    Magic { found: [u8; 4] },
    #[error("text index version {version} is unknown: a newer program wrote it")]
    UnknownVersion { version: u32 },
    #[error("text index header is damaged: its checksum is {actual:08x}, not {expected:08x}")]
    Checksum { expected: u32, actual: u32 },
    #[error("text index header contradicts itself: {what}")]
    Inconsistent { what: &'static str },
}

/// A block is of no use: take what it covers for "maybe".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    #[error("text index has no block {block}")]
    Unknown { block: BlockId },
    #[error("text index block {block} has {actual} bytes instead of {expected}")]
    Length { block: BlockId, expected: usize, actual: usize },
    #[error("text index block {block} is damaged: its checksum is {actual:08x}, not {expected:08x}")]
    Checksum { block: BlockId, expected: u32, actual: u32 },
    #[error("text index block {block} is damaged: it does not decompress to {expected} bytes")]
    Content { block: BlockId, expected: usize },
}

/// The offsets of a page do not describe rows of its text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinesError {
    #[error("offsets of lines are not in ascending order")]
    Unordered,
    #[error("offsets of lines run from {first} to {last} in a text of {length} bytes")]
    OutOfText { first: i32, last: i32, length: usize },
}
