//! Counts what a query looked at, across its partitions.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::answer::Statistics;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
    kept: AtomicU64,
}

impl Counters {
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
