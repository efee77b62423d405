//! A segment: the entries of one flush, of all tenants, as one Parquet object.
//!
//! ```text
//! "PAR1"
//! row group 0, 1, …     one tenant each, at most 64 MiB of lines, rows by (stream_id, ts, arrival)
//!   tenant stream_id ts namespace pod container app node_name stream labels namespace_uid metadata line line_hash
//! tw.crc                CRC-32C (u32 LE) of each page as stored: row groups, columns, pages in order, dictionary page first
//! page indexes, footer  key/value metadata: tw.writer tw.seq tw.flushed tw.min_ts tw.max_ts tw.streams tw.crc.* tw.footer_crc
//! "PAR1"
//! ```
//! Invariants: one (stream, entry) at most once; lines are valid UTF-8; a page of the line column holds 1 MiB of text or one
//! longer line; every stored byte is covered by a checksum (pages by tw.crc, tw.crc and the footer by keys of the footer, which
//! count as zeros in their own sum). Damage is a named [`crate::error::SegmentError`], never a wrong line.
//! Pure: bytes in, bytes out.

mod chunk;
pub mod columns;
mod delta;
mod footer;
mod pages;
pub mod read;
pub mod rows;
pub mod schema;
pub mod streams;
pub mod write;
