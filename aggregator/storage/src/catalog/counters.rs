//! Counts for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What text indexes were asked and said.
#[derive(Debug, Default)]
pub struct IndexCounters {
    asked: AtomicU64,
    excluded: AtomicU64,
    missing_blocks: AtomicU64,
    damaged: AtomicU64,
}

impl IndexCounters {
    pub(super) fn asked(&self, asked: u32, excluded: u32, missing_blocks: u32) {
        self.asked.fetch_add(asked.into(), Ordering::Relaxed);
        self.excluded.fetch_add(excluded.into(), Ordering::Relaxed);
        self.missing_blocks.fetch_add(missing_blocks.into(), Ordering::Relaxed);
    }

    pub(super) fn damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// Pages that were asked about.
    pub fn pages_asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Pages that certainly did not hold what was asked for.
    pub fn pages_excluded(&self) -> u64 {
        self.excluded.load(Ordering::Relaxed)
    }

    /// Looks that went without a block because it was damaged.
    pub fn blocks_missing(&self) -> u64 {
        self.missing_blocks.load(Ordering::Relaxed)
    }

    /// Indexes and blocks found damaged or of an unknown version.
    pub fn damaged_parts(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }
}
