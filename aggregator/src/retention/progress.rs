//! How far retention and deletion are, for metrics.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct RetentionProgress {
    /// When everything that was due had last been done (ns); 0: never yet.
    last_success: AtomicI64,
    /// Files of all tenants that are still to be rewritten for their age.
    pending_files: AtomicU64,
    is_held: AtomicBool,
}

impl RetentionProgress {
    pub(super) fn succeeded(&self, now: i64) {
        self.last_success.store(now, Ordering::Relaxed);
    }

    pub(super) fn pending(&self, files: usize) {
        self.pending_files.store(files as u64, Ordering::Relaxed);
    }

    /// Returns whether that is news.
    pub(super) fn held(&self, is_held: bool) -> bool {
        self.is_held.swap(is_held, Ordering::Relaxed) != is_held
    }

    pub(super) fn last_success_seconds(&self) -> f64 {
        self.last_success.load(Ordering::Relaxed) as f64 / 1e9
    }

    pub(super) fn pending_files(&self) -> u64 {
        self.pending_files.load(Ordering::Relaxed)
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }
}
