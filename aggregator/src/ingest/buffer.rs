//! The open buffer: where pushes meet to share a segment, and where each waits until it is durable.
//!
//! Invariants: a push is answered `Ok` only after the segment that holds it was stored and published; memory is bounded by the ingest
//! budget (open buffer and the one being flushed together); entries of a push whose client went away are stored all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::entry::PushBatch;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::ingest::flush::Flusher;
use crate::ingest::flush_metrics::FlushMetrics;
use crate::ingest::subscription::Subscriptions;

/// When a segment is written and how long that may take.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// After the first entry that waits.
    pub flush_interval: Duration,
    /// Bytes of lines that make a segment at once.
    pub segment_bytes: usize,
    /// From the first entry that waits to the end of all attempts.
    pub ack_timeout: Duration,
    /// Memory of pushes that are not durable yet.
    pub budget_bytes: usize,
}

/// Why a push was not stored, as far as is known: it may have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushFailed {
    #[error("the store did not confirm the entries in time ({reason}); send them again")]
    Unavailable { reason: String, retry_after: Duration },
    #[error("too many bytes wait to be stored ({held} held, the budget is {budget}); send them again later")]
    OverBudget { held: usize, budget: usize, retry_after: Duration },
}

/// What waits for the next segment.
#[derive(Debug, Default)]
pub(super) struct OpenBuffer {
    pub(super) pushes: Vec<PushBatch>,
    pub(super) waiting: Vec<oneshot::Sender<Result<(), PushFailed>>>,
    pub(super) line_bytes: usize,
    pub(super) heap_bytes: usize,
    /// When the first of it came.
    pub(super) since: Option<Instant>,
    /// Somebody asked for a flush, or the process stops.
    pub(super) is_due: bool,
    /// The flusher has ended: nobody would store or answer what came now.
    pub(super) is_closed: bool,
}

/// What the buffer and its flusher share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) open: Mutex<OpenBuffer>,
    /// Told when the buffer has its first entry, is full, or is due.
    pub(super) changed: Notify,
    /// Heap bytes of pushes that are being encoded and stored.
    pub(super) flushing_bytes: AtomicUsize,
    pub(super) options: IngestOptions,
    pub(super) last_flush_failed: AtomicBool,
    pub(super) metrics: FlushMetrics,
    pub(super) subscriptions: Arc<Subscriptions>,
}

/// Takes pushes and makes them durable. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingester {
    shared: Arc<Shared>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Ingester {
    /// Starts the flusher.
    pub fn start(catalog: Arc<Catalog>, clock: Arc<dyn Clock>, options: IngestOptions) -> Self {
        let shared = Arc::new(Shared {
            open: Mutex::default(),
            changed: Notify::new(),
            flushing_bytes: AtomicUsize::new(0),
            options,
            last_flush_failed: AtomicBool::new(false),
            metrics: FlushMetrics::default(),
            subscriptions: Arc::default(),
        });
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(Flusher::new(shared.clone(), catalog, clock, stopping.clone()).run());
        tasks.close();
        Self { shared, stopping, tasks }
    }

    /// Joins the open buffer and waits until it is stored.
    pub async fn push(&self, batch: PushBatch) -> Result<(), PushFailed> {
        if batch.entries() == 0 {
            return Ok(());
        }
        let stored = {
            let mut open = self.shared.open.lock();
            if open.is_closed {
                return Err(stopping());
            }
            let (held, added) = (open.heap_bytes + self.shared.flushing_bytes.load(Ordering::Relaxed), batch.heap_bytes());
            let budget = self.shared.options.budget_bytes;
            // A push that is over the budget by itself gets its chance while nothing else waits.
            if held > 0 && held + added > budget {
                return Err(PushFailed::OverBudget { held, budget, retry_after: Duration::from_secs(1) });
            }
            open.since.get_or_insert_with(Instant::now);
            open.line_bytes += batch.line_bytes();
            open.heap_bytes += added;
            open.pushes.push(batch);
            open.join()
        };
        self.shared.changed.notify_one();
        outcome(stored).await
    }

    /// Stores what waits, now; returns when it is durable.
    pub async fn flush(&self) -> Result<(), PushFailed> {
        let stored = {
            let mut open = self.shared.open.lock();
            if open.pushes.is_empty() && self.shared.flushing_bytes.load(Ordering::Relaxed) == 0 {
                return Ok(());
            }
            open.since.get_or_insert_with(Instant::now);
            open.is_due = true;
            open.join()
        };
        self.shared.changed.notify_one();
        outcome(stored).await
    }

    /// Flushes, then ends the flusher. Pushes that come later are refused.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.wait().await;
    }

    /// Whether the last segment was stored.
    pub fn is_storing(&self) -> bool {
        !self.shared.last_flush_failed.load(Ordering::Relaxed)
    }

    pub fn metrics(&self) -> &FlushMetrics {
        &self.shared.metrics
    }

    /// Where to follow what is stored from now on.
    pub fn subscriptions(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.shared.subscriptions)
    }

    /// Age of the oldest entry that is not stored.
    pub fn oldest_waiting(&self) -> Duration {
        self.shared.open.lock().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Memory of pushes that are not durable yet, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.shared.open.lock().heap_bytes + self.shared.flushing_bytes.load(Ordering::Relaxed)
    }
}

impl OpenBuffer {
    fn join(&mut self) -> oneshot::Receiver<Result<(), PushFailed>> {
        let (tell, told) = oneshot::channel();
        self.waiting.push(tell);
        told
    }
}

async fn outcome(stored: oneshot::Receiver<Result<(), PushFailed>>) -> Result<(), PushFailed> {
    stored.await.unwrap_or_else(|_| Err(stopping()))
}

fn stopping() -> PushFailed {
    PushFailed::Unavailable { reason: "the program is stopping".to_owned(), retry_after: Duration::from_secs(1) }
}
