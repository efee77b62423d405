//! How far the piece of compaction under way is: for metrics at any time, and in the log every few seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::entry::TenantId;

/// How often it is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Bytes of lines of the piece under way, and how many of them are dealt with; zeros while there is none.
#[derive(Debug, Default)]
pub struct CompactionWork {
    total: AtomicU64,
    done: AtomicU64,
}

impl CompactionWork {
    /// (done, total)
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Begins a piece of so many bytes of lines, which ends when it is dropped. There is one at a time.
    pub(super) fn begin(self: &Arc<Self>, what: &'static str, tenant: &TenantId, total: u64) -> Arc<Piece> {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        let now = Instant::now();
        Arc::new(Piece { work: self.clone(), what, tenant: tenant.clone(), begun: now, told: Mutex::new(now) })
    }
}

/// A piece under way.
#[derive(Debug)]
pub(crate) struct Piece {
    work: Arc<CompactionWork>,
    what: &'static str,
    tenant: TenantId,
    begun: Instant,
    told: Mutex<Instant>,
}

impl Piece {
    /// So many more bytes of lines are dealt with.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some(Told { done, total, seconds_left }) = self.advance_at(bytes, Instant::now()) {
            tracing::info!(tenant = %self.tenant, done_bytes = done, total_bytes = total, seconds_left, "{}", self.what);
        }
    }

    /// What is to be told, if it is time.
    fn advance_at(&self, bytes: u64, now: Instant) -> Option<Told> {
        let done = self.work.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut told = self.told.lock();
        if now.duration_since(*told) < TELL_EVERY {
            return None;
        }
        *told = now;
        let total = self.work.total.load(Ordering::Relaxed);
        let left = total.saturating_sub(done) as f64 / done.max(1) as f64;
        Some(Told { done, total, seconds_left: (now.duration_since(self.begun).as_secs_f64() * left).ceil() as u64 })
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.work.total.store(0, Ordering::Relaxed);
        self.work.done.store(0, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    done: u64,
    total: u64,
    seconds_left: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_piece_is_told_every_few_seconds_with_the_time_that_is_left() {
        let work = Arc::<CompactionWork>::default();
        let piece = work.begin("merging", &TenantId::new("t"), 1000);
        let at = |seconds| piece.begun + Duration::from_secs(seconds);
        assert_eq!(piece.advance_at(100, at(9)), None);
        assert_eq!(piece.advance_at(100, at(10)), Some(Told { done: 200, total: 1000, seconds_left: 40 }));
        assert_eq!(piece.advance_at(100, at(19)), None);
        assert_eq!(piece.advance_at(500, at(20)), Some(Told { done: 800, total: 1000, seconds_left: 5 }));
        // A line that stands in two inputs counts in both, and what was estimated may be less than all.
        assert_eq!(piece.advance_at(300, at(40)), Some(Told { done: 1100, total: 1000, seconds_left: 0 }));
        assert_eq!(work.bytes(), (1100, 1000));
        drop(piece);
        assert_eq!(work.bytes(), (0, 0));
    }
}
