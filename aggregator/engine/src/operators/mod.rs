//! LogQL's operators over record batches.
//!
//! ```text
//! entries   pipeline (samples, entries)          rows of the scan become entries or samples
//! series    range_aggregate over windows/        samples become points: (series, step, value)
//! points    vector_aggregate, ranking, scalar_operation, vector_operation, set_operation, label_replace, vector_literal, variant
//! ```

mod arithmetic;
pub(crate) mod entries;
pub(crate) mod exec;
pub(crate) mod grid;
pub(crate) mod label_replace;
pub(crate) mod matching;
pub(crate) mod pipeline;
pub(crate) mod points;
pub(crate) mod range_aggregate;
pub(crate) mod ranking;
pub(crate) mod samples;
pub(crate) mod scalar_operation;
pub(crate) mod series;
pub(crate) mod set_operation;
mod table;
pub(crate) mod variant;
pub(crate) mod vector_aggregate;
pub(crate) mod vector_literal;
pub(crate) mod vector_operation;
pub(crate) mod windows;
