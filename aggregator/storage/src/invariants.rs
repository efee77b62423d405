//! Checks at borders that cost next to nothing. What they look at holds unless there is a mistake of ours: one that fails is counted, told in the log,
//! and what it was about is not stored.

use std::sync::atomic::{AtomicU64, Ordering};

static VIOLATIONS: AtomicU64 = AtomicU64::new(0);

/// How many failed since the start of the process.
pub fn violations() -> u64 {
    VIOLATIONS.load(Ordering::Relaxed)
}

/// Counts and tells one that failed.
pub(crate) fn violated(what: &str) {
    VIOLATIONS.fetch_add(1, Ordering::Relaxed);
    tracing::error!(what, "an invariant does not hold: this is a bug");
}
