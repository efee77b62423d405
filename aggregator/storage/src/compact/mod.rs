//! Compaction: segments become data files, small data files become large ones; each entry once, in one order, with a text index.
//!
//! ```text
//! plan → sources (segments from memory or the store, data files) → merge, stream by stream → writer (a file a day) → manifest commit
//! ```
//! Retention and delete requests leave rows out on the way, and have the files rewritten that nothing else touches:
//! ```text
//! manifest, stream tables → retention | deletion | budget (decisions) → eraser → writer → manifest commit
//! ```
//! Rows are ordered by (namespace, app, container, stream, stamp), so that similar text shares pages. Memory is bounded: a page of each input
//! that has begun, one row group compressed, the text index of one file. Whatever fails, inputs stay visible and outputs that were not committed are swept.

mod budget;
mod compactor;
mod deletion;
mod eraser;
pub(crate) mod erasure;
pub(crate) mod error;
pub(crate) mod merge;
pub(crate) mod output;
mod plan;
mod progress;
mod reconcile;
mod retention;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod streams;
pub(crate) mod whole_pages;
mod writer;

pub use budget::over_budget;
pub use compactor::{CompactionCounters, Compactor, Work};
pub use deletion::{RequestsToErase, requests_to_erase};
pub use eraser::{Erased, Expired, RetentionCounters};
pub use erasure::{DeletedRange, Erasure, LinePredicate, NothingErased, StreamErasure};
pub use error::CompactError;
pub use plan::{CompactionOptions, FoldWhen};
pub use progress::CompactionWork;
pub(crate) use reconcile::{Reconciled, reconcile};
pub use retention::RetentionEdges;

#[cfg(test)]
mod tests;
