//! The leaf of every plan: rows of selected streams, out of memory or the store, as record batches.

mod exec;
mod rows;
mod search;

pub(crate) use exec::LogScanExec;
pub(crate) use search::Needles;
