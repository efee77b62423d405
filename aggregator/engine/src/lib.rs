//! Answers questions: LogQL trees become DataFusion plans over our own scan leaf.
//!
//! ```text
//! request + access → plan (streams, segments, row ranges) → LogScanExec → PipelineExec → RangeAggregateExec → answer
//! ```
//! [`Access`] is part of every plan: there is no way to build one without saying whose data it may touch.

pub mod access;
pub mod answer;
pub mod error;
pub mod request;

pub use access::Access;
pub use error::QueryError;
