//! What the partitions of a query share: counts of what they looked at, and whether anybody still waits for the answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use datafusion_common::{DataFusionError, Result};

use crate::answer::Statistics;
use crate::error::QueryError;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
    kept: AtomicU64,
    is_over: AtomicBool,
}

impl Counters {
    /// The query has timed out, or its client is gone.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits any more. Loops over rows ask for each, as a single page may take longer than a query may.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// An error once nobody waits any more.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_over() { Err(DataFusionError::External(Box::new(QueryError::Timeout))) } else { Ok(()) }
    }

    pub(crate) fn add_scanned(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_kept(&self, rows: u64) {
        self.kept.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self, segments: usize, execution_seconds: f64, entries_returned: u64) -> Statistics {
        Statistics {
            bytes_processed: self.bytes.load(Ordering::Relaxed),
            lines_processed: self.rows.load(Ordering::Relaxed),
            lines_after_filter: self.kept.load(Ordering::Relaxed),
            entries_returned,
            segments: segments as u64,
            execution_seconds,
        }
    }
}
