//! LogQL's operators over record batches.

pub(crate) mod counters;
pub(crate) mod entries;
pub(crate) mod grid;
pub(crate) mod pipeline;
pub(crate) mod range_aggregate;
pub(crate) mod samples;
pub(crate) mod series;
pub(crate) mod vector_aggregate;
