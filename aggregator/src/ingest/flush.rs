//! The flusher: takes the open buffer, makes a segment of it, stores it under a name never used, and only then says yes.
//!
//! One PUT is in flight at a time; meanwhile the next buffer fills, so a slow store makes larger segments, not more waiting. After a
//! flush that failed the writer's name is given up: whether its segment lies in the store is unknown, and a name has one content.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tailwater_storage::catalog::Catalog;
use tailwater_storage::entry::PushBatch;
use tailwater_storage::file::read::SegmentName;
use tailwater_storage::segment::encode::encode;
use tailwater_storage::segment::rows::SegmentRows;
use tailwater_storage::store::{Created, paths};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ingest::buffer::{OpenBuffer, PushFailed, Shared};

/// The flush interval stretches to the time of a PUT, up to this.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);

/// A store gets at least this long, however old the oldest entry is.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Flusher {
    shared: Arc<Shared>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
    writer: Writer,
    last_put: Duration,
}

/// The name under which segments are written now.
struct Writer {
    ulid: String,
    next: u64,
    last_flushed: i64,
}

impl Writer {
    fn new() -> Self {
        Self { ulid: ulid::Ulid::new().to_string(), next: 0, last_flushed: i64::MIN }
    }

    /// Names never go back in time, whatever the clock does.
    fn name(&mut self, now: i64) -> SegmentName {
        self.last_flushed = now.max(self.last_flushed.saturating_add(1));
        SegmentName { writer: self.ulid.clone(), sequence: self.next, flushed: self.last_flushed }
    }
}

/// What one flush takes out of the buffer.
struct Taken {
    pushes: Vec<PushBatch>,
    waiting: Vec<oneshot::Sender<Result<(), PushFailed>>>,
    since: Instant,
    heap_bytes: usize,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, catalog: Arc<Catalog>, clock: Arc<dyn Clock>, stopping: CancellationToken) -> Self {
        Self { shared, catalog, clock, stopping, writer: Writer::new(), last_put: Duration::ZERO }
    }

    /// Flushes until it is told to stop; what waits then is flushed as well.
    pub(super) async fn run(mut self) {
        loop {
            let is_last = self.wait_until_due().await;
            if let Some(taken) = self.take(is_last) {
                self.flush(taken).await;
            }
            if is_last {
                return;
            }
        }
    }

    /// Waits until the buffer is to be flushed; true if it is the last time.
    async fn wait_until_due(&self) -> bool {
        loop {
            let changed = self.shared.changed.notified();
            let due = self.due();
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return true,
                () = changed => {}
                () = until(due) => return false,
            }
            if self.due().is_some_and(|due| due <= Instant::now()) {
                return false;
            }
        }
    }

    /// When the open buffer is to be flushed; `None` while it is empty.
    fn due(&self) -> Option<Instant> {
        let open = self.shared.open.lock();
        let since = open.since?;
        if open.is_due || open.line_bytes >= self.shared.options.segment_bytes {
            return Some(since);
        }
        let interval = self.shared.options.flush_interval;
        Some(since + interval.max(self.last_put.min(LONGEST_INTERVAL)))
    }

    /// Empties the buffer; after the last time it takes no more pushes.
    fn take(&self, is_last: bool) -> Option<Taken> {
        let mut shared = self.shared.open.lock();
        let open = std::mem::replace(&mut *shared, OpenBuffer { is_closed: is_last, ..OpenBuffer::default() });
        self.shared.flushing_bytes.store(open.heap_bytes, Ordering::Relaxed);
        Some(Taken { pushes: open.pushes, waiting: open.waiting, since: open.since?, heap_bytes: open.heap_bytes })
    }

    async fn flush(&mut self, taken: Taken) {
        let Taken { pushes, waiting, since, heap_bytes } = taken;
        #[cfg(feature = "planted-faults")]
        let waiting = acknowledged_early(waiting).await;
        let outcome = if pushes.is_empty() { Ok(()) } else { self.store(pushes, since).await };
        if let Err(error) = &outcome {
            self.writer = Writer::new();
            self.shared.metrics.failed();
            tracing::warn!(%error, bytes = heap_bytes, "a segment was not stored; its pushes are answered 503");
        }
        self.shared.last_flush_failed.store(outcome.is_err(), Ordering::Relaxed);
        self.shared.flushing_bytes.store(0, Ordering::Relaxed);
        for tell in waiting {
            // A client that went away is not told.
            drop(tell.send(outcome.clone()));
        }
    }

    /// Encodes, stores and publishes one segment.
    async fn store(&mut self, pushes: Vec<PushBatch>, since: Instant) -> Result<(), PushFailed> {
        let name = self.writer.name(self.clock.now());
        let encoding = name.clone();
        let encoded = tokio::task::spawn_blocking(move || {
            let rows = SegmentRows::from_pushes(&pushes);
            drop(pushes);
            encode(&encoding, &rows).map(|(bytes, footer)| (rows, bytes, footer))
        });
        let (rows, bytes, footer) = match encoded.await {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(error)) => return Err(unavailable(format!("cannot encode the segment: {error}"))),
            Err(error) => return Err(unavailable(format!("cannot encode the segment: {error}"))),
        };
        let patience = self.shared.options.ack_timeout.saturating_sub(since.elapsed()).max(LEAST_PATIENCE);
        let (size, started) = (bytes.len() as u64, Instant::now());
        let created = self.catalog.store().create(&paths::segment(&name.writer, name.sequence), bytes, patience).await;
        self.last_put = started.elapsed();
        match created {
            Ok(Created::Stored) => {}
            Ok(Created::Taken) => {
                return Err(unavailable(format!("another object has the name of segment {} of {}", name.sequence, name.writer)));
            }
            Err(error) => return Err(unavailable(error.to_string())),
        }
        self.shared.metrics.stored(size, self.last_put.as_secs_f64(), rows.duplicates);
        self.writer.next += 1;
        self.shared.subscriptions.publish(rows, |rows| self.catalog.publish(&name, size, footer, rows));
        Ok(())
    }
}

#[cfg(feature = "planted-faults")]
async fn acknowledged_early(waiting: Vec<oneshot::Sender<Result<(), PushFailed>>>) -> Vec<oneshot::Sender<Result<(), PushFailed>>> {
    if !tailwater_planted::Fault::AckBeforePut.is_planted() {
        return waiting;
    }
    for tell in waiting {
        drop(tell.send(Ok(())));
    }
    // The moment between answer and PUT is made long, so that a kill meets it whatever the store's speed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Vec::new()
}

fn unavailable(reason: String) -> PushFailed {
    PushFailed::Unavailable { reason, retry_after: RETRY_AFTER }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::ingest::buffer::{IngestOptions, Ingester};
    use object_store::memory::InMemory;
    use tailwater_storage::catalog::CacheBudget;
    use tailwater_storage::entry::{Metadata, StreamEntries, StreamLabels, TenantId};
    use tailwater_storage::pairs::Pairs;
    use tailwater_storage::store::Store;
    use tailwater_storage::tolerance::Tolerance;

    fn push(stamp: i64) -> PushBatch {
        let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::from_pairs([("app", "a")]), None)));
        let handle = stream.intern(Metadata::default());
        stream.push(stamp, "a line of some length", handle);
        PushBatch { tenant: TenantId::new("t"), streams: vec![stream] }
    }

    fn options() -> IngestOptions {
        IngestOptions {
            flush_interval: Duration::from_millis(100),
            segment_bytes: 1 << 20,
            ack_timeout: Duration::from_secs(8),
            budget_bytes: 1 << 20,
        }
    }

    fn ingester(options: IngestOptions) -> (Ingester, Arc<Catalog>) {
        let catalog = catalog_of(Store::new(Arc::new(InMemory::new()), ""));
        (Ingester::start(catalog.clone(), Arc::new(SystemClock), options), catalog)
    }

    fn catalog_of(store: Store) -> Arc<Catalog> {
        let budget = CacheBudget { recent_rows: 1 << 20, footers: 1 << 20, index: 1 << 20 };
        Arc::new(Catalog::new(store, budget, "test", Arc::new(|| 0)))
    }

    async fn stored_rows(catalog: &Catalog) -> usize {
        let fresh = catalog_of(catalog.store().clone());
        fresh.discover(|_, _| ()).await.expect("lists");
        let snapshot = fresh.snapshot(&TenantId::new("t"), &[(i64::MIN, i64::MAX)], &Tolerance::default()).await.expect("reads");
        snapshot.iter().map(|part| part.table().rows()).sum()
    }

    #[tokio::test]
    async fn pushes_that_come_together_share_a_segment_and_are_durable_when_answered() {
        let (ingester, catalog) = ingester(options());
        let (first, second) = tokio::join!(ingester.push(push(1)), ingester.push(push(2)));
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!(stored_rows(&catalog).await, 2);
        assert_eq!(catalog.segment_count(), 1);
        assert_eq!(ingester.metrics().segments_stored(), 1);
    }

    #[tokio::test]
    async fn a_full_buffer_does_not_wait_for_the_interval() {
        let (ingester, catalog) = ingester(IngestOptions { segment_bytes: 1, flush_interval: Duration::from_secs(3600), ..options() });
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), ingester.push(push(1))).await, Ok(Ok(())));
        assert_eq!(stored_rows(&catalog).await, 1);
    }

    #[tokio::test]
    async fn stopping_stores_what_waits() {
        let (ingester, catalog) = ingester(IngestOptions { flush_interval: Duration::from_secs(3600), ..options() });
        let waiting = tokio::spawn({
            let ingester = ingester.clone();
            async move { ingester.push(push(1)).await }
        });
        while ingester.held_bytes() == 0 {
            tokio::task::yield_now().await;
        }
        ingester.stop().await;
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        assert_eq!(stored_rows(&catalog).await, 1);
    }

    #[tokio::test]
    async fn a_flush_on_demand_answers_when_all_is_stored() {
        let (ingester, catalog) = ingester(IngestOptions { flush_interval: Duration::from_secs(3600), ..options() });
        let pushing = tokio::spawn({
            let ingester = ingester.clone();
            async move { ingester.push(push(1)).await }
        });
        while ingester.held_bytes() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ingester.flush().await, Ok(()));
        assert_eq!(stored_rows(&catalog).await, 1);
        assert_eq!(pushing.await.expect("no panic"), Ok(()));
        assert_eq!(ingester.flush().await, Ok(()));
    }

    #[tokio::test]
    async fn over_the_budget_is_refused_and_nothing_of_it_is_kept() {
        let (ingester, _) = ingester(IngestOptions { budget_bytes: 1, flush_interval: Duration::from_secs(3600), ..options() });
        let first = tokio::spawn({
            let ingester = ingester.clone();
            async move { ingester.push(push(1)).await }
        });
        while ingester.held_bytes() == 0 {
            tokio::task::yield_now().await;
        }
        let held = ingester.held_bytes();
        assert!(matches!(ingester.push(push(2)).await, Err(PushFailed::OverBudget { budget: 1, .. })));
        assert_eq!(ingester.held_bytes(), held);
        ingester.stop().await;
        assert_eq!(first.await.expect("no panic"), Ok(()));
    }

    #[tokio::test]
    async fn a_store_that_fails_is_told_and_the_writer_name_given_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = tailwater_storage::store::open(&tailwater_storage::store::StoreOptions::Folder { path: folder.path().to_owned() }, "");
        let catalog = catalog_of(store.expect("opens"));
        let impatient = IngestOptions { ack_timeout: Duration::from_secs(1), ..options() };
        let ingester = Ingester::start(catalog.clone(), Arc::new(SystemClock), impatient);
        assert_eq!(ingester.push(push(1)).await, Ok(()));
        // The folder of segments turns into a file: nothing can be stored below it.
        let segments = folder.path().join("v1").join("seg");
        std::fs::rename(&segments, folder.path().join("aside")).expect("renames");
        std::fs::write(&segments, b"").expect("writes");
        assert!(matches!(ingester.push(push(2)).await, Err(PushFailed::Unavailable { .. })));
        assert!(!ingester.is_storing());
        std::fs::remove_file(&segments).expect("removes");
        std::fs::rename(folder.path().join("aside"), &segments).expect("renames");
        assert_eq!(ingester.push(push(2)).await, Ok(()));
        assert!(ingester.is_storing());
        assert_eq!(std::fs::read_dir(&segments).expect("reads").count(), 2);
        assert_eq!(stored_rows(&catalog).await, 2);
    }
}
