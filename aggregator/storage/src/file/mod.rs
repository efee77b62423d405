//! The one file format, of segments and of compacted data files: Parquet that any reader opens, with parts of ours before the footer.
//!
//! ```text
//! "PAR1"
//! row group 0, 1, …     one tenant each, at most 64 MiB of lines
//!   (tenant) stream_id ts namespace pod container app node_name stream labels namespace_uid metadata line (line_hash)
//! tw.index tw.streams tw.crc      text index, stream table, sums of pages (parts.rs)
//! page indexes, footer            key/value metadata: what the file is, where its parts lie, sums
//! "PAR1"
//! ```
//! `(…)`: segments only. Invariants: rows of a stream are contiguous in a row group and ascend by stamp; one (stream, entry) at most once;
//! lines are valid UTF-8; the columns that queries read (stamps, metadata, lines, hashes) are cut into pages at the same rows,
//! so that page p of a row group is one thing: 1 MiB of text or one longer line; every stored byte is covered by a checksum.
//! Damage is a named [`crate::error::FileError`], never a wrong line. Pure: bytes in, bytes out.

mod chunk;
pub mod columns;
pub(crate) mod decode;
mod delta;
pub(crate) mod halves;
mod hybrid;
mod label_columns;
mod metadata_columns;
mod page_header;
pub mod pages;
mod partial_lines;
pub(crate) mod parts;
mod pieces;
pub mod read;
pub mod rows;
pub mod schema;
pub mod stream_table;
pub(crate) mod stream_table_builder;
mod tally;
pub mod write;

#[cfg(test)]
mod tests;
