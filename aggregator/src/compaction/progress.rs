//! Whether compaction gets on: when it last had nothing that failed.

use std::sync::atomic::{AtomicI64, Ordering};

/// Shared by the thread of background work and the metrics.
#[derive(Debug, Default)]
pub struct CompactionProgress {
    /// Nanoseconds since the epoch; 0: not yet.
    last_success: AtomicI64,
}

impl CompactionProgress {
    /// All that was due was done, or is being done, and nothing fails. `now` in nanoseconds.
    pub(super) fn succeeded(&self, now: i64) {
        self.last_success.store(now, Ordering::Relaxed);
    }

    pub(super) fn last_success_seconds(&self) -> f64 {
        self.last_success.load(Ordering::Relaxed) as f64 / 1e9
    }
}
