//! Lines out of a store and into one, as files that anybody reads: for hand-over and backfill.
//!
//! ```text
//! export:  manifest, segments → day by day: merge (each entry once) → streams and times that are wanted → NDJSON | Parquet
//! import:  NDJSON | Parquet → records → derived labels and levels → PushBatch, PushBatch, … → the ordinary way of a push
//! ```
//! One entry in NDJSON, a line each: `{"ts":"<ns>","labels":{…},"metadata":{…},"line":"…"}`. Labels are those that were pushed: a derived
//! `service_name` is derived again at import, so that the stream stays the same one. What was exported and is imported again changes nothing.
//! Memory is bounded both ways: some pages of the files of one day, and one batch.

mod batches;
mod error;
mod export;
mod json_lines;
mod parquet_export;
mod parquet_import;
mod pushed_labels;
mod record;

pub use batches::{Batches, Derive, Refusal, Tally};
pub use error::{ExportError, ImportError};
pub use export::{ExportProgress, ExportSelection, Exported, ExportedRows, JsonLinesWriter, RowWriter, StreamPredicate, export};
pub use json_lines::JsonLines;
pub use parquet_export::ParquetWriter;
pub use parquet_import::{ParquetRows, is_parquet};
pub use record::{ImportedEntry, Record, Records};

#[cfg(test)]
mod tests;
