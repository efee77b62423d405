//! The text index of a data file: which granules (pages of lines) may hold a text, and which certainly do not.
//!
//! ```text
//! lines ──GranuleBuilder──→ GranulePlanes ──IndexBuilder──→ EncodedIndex        (writer)
//! Probe ──IndexHeader::blocks_for──→ blocks ──IndexHeader::probe──→ GranuleSet  (reader)
//! all blocks ──IndexHeader::planes──→ GranulePlanes                             (writer of a file that takes pages over)
//!
//! encoded: prefix 16 B     magic, version, header length, CRC-32C of these
//!          parameters      multiplier, fill limits, number of granules, length of the whole
//!          granule table   18 B each: row group, page, first row, rows, size of text plane, size of id plane
//!          block table     4 B each: length as stored
//!          CRC-32C         of everything before
//!          blocks          rows of bits, up to 16 KiB (of ids without padding), as a zstd frame if that is shorter; then CRC-32C of (header CRC, block number, these)
//! ```
//! Each granule has two planes of bits; each gram of its lines ([`gram`](Gram)) sets one bit of one of them. Planes of
//! one size are stored bit-sliced: bit b of all of them side by side is a *row*, so that a gram is looked up with one
//! short run of bytes for many granules. Planes are far from half full, or hold what most granules do: compressed, rows take two thirds.
//!
//! Invariants: 1. A granule that holds the text of a [`Probe`] is never excluded, wherever the text begins and ends.
//! 2. What is missing (a block, a plane too full to be of use) counts as "maybe". 3. Every bit of an encoded
//! index is under a checksum; damage is a typed error, and the caller then takes every granule for "maybe".
//! Pure: no I/O, no async.

mod bitmap;
mod block;
mod encode;
mod error;
mod extract;
mod fill;
mod gram;
mod granule;
mod granule_set;
mod header;
mod layout;
mod mark;
mod parameters;
mod probe;
mod rows;
mod search;
mod slices;

pub use encode::{EncodedIndex, IndexBuilder};
pub use error::{BlockError, HeaderError, LinesError};
pub use fill::{FillLimit, FillLimits, FillRatioError};
pub use gram::{Gram, Plane, grams};
pub use granule::{GranuleBuilder, GranulePlanes, Lines};
pub use granule_set::GranuleSet;
pub use header::{GranuleLocation, IndexHeader, PREFIX_LENGTH};
pub use layout::BlockId;
pub use parameters::IndexParameters;
pub use probe::Probe;
pub use search::ProbeOutcome;
