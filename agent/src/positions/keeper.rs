//! When positions are written: the table shared by all, and the task that makes it durable.
//!
//! Written every ten seconds when changed, within a second after a file is finished, before a push that rests on a new decision (one write
//! for all that wait), and at the end. A refusing disk is counted and logged, never fatal: those who wait go on. Each write is of all files, and where
//! there are thousands of new ones most pushes rest on decisions: so writes take a part of the time only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::store::PositionsStore;
use super::table::{PositionsTable, Revision};
use crate::metrics::Metrics;

const WRITE_INTERVAL: Duration = Duration::from_secs(10);
const WRITE_SOON: Duration = Duration::from_secs(1);
/// After a write nothing is written for so many times as long as it took,
const PAUSE_AFTER_WRITE: u32 = 4;
/// and not for longer than this.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The table and the ways to ask for a write.
#[derive(Debug, Clone)]
pub(crate) struct SharedPositions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<PositionsTable>,
    /// The highest revision somebody waits for.
    wanted: watch::Sender<Revision>,
    /// The highest revision that was written, or that the disk refused.
    settled: watch::Sender<Revision>,
    soon: Notify,
}

impl SharedPositions {
    pub(crate) fn new(table: PositionsTable) -> Self {
        let shared =
            Shared { table: Mutex::new(table), wanted: watch::Sender::default(), settled: watch::Sender::default(), soon: Notify::new() };
        Self(Arc::new(shared))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PositionsTable> {
        self.0.table.lock()
    }

    /// Returns when `revision` is on disk, or the disk refused it.
    pub(crate) async fn ensure_durable(&self, revision: Revision) {
        let mut settled = self.0.settled.subscribe();
        if *settled.borrow_and_update() >= revision {
            return;
        }
        self.0.wanted.send_if_modified(|wanted| {
            let is_higher = revision > *wanted;
            *wanted = revision.max(*wanted);
            is_higher
        });
        // The keeper outlives the senders; should it be gone, nothing can become durable any more.
        if settled.wait_for(|settled| *settled >= revision).await.is_err() {
            tracing::warn!("positions are no longer written");
        }
    }

    /// Asks for a write within a second.
    pub(crate) fn write_soon(&self) {
        self.0.soon.notify_one();
    }
}

/// Writes positions until `stop`, then once more: those of every client where its store is. Entries of files that are gone stay for `vanished_kept`.
/// Returns the stores.
pub(crate) async fn keep(
    shared: SharedPositions,
    stores: Vec<PositionsStore>,
    vanished_kept: Duration,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Vec<PositionsStore> {
    Keeper::new(shared, stores, vanished_kept, metrics).run(&stop).await
}

struct Keeper {
    shared: SharedPositions,
    wanted: watch::Receiver<Revision>,
    /// Of each client by its place. Absent only while a write has them.
    stores: Vec<PositionsStore>,
    metrics: Arc<Metrics>,
    written: Revision,
    vanished_kept: Duration,
    next_look_for_vanished: tokio::time::Instant,
    next_write: tokio::time::Instant,
}

impl Keeper {
    fn new(shared: SharedPositions, stores: Vec<PositionsStore>, vanished_kept: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            wanted: shared.0.wanted.subscribe(),
            shared,
            stores,
            metrics,
            written: Revision::default(),
            vanished_kept,
            next_look_for_vanished: tokio::time::Instant::now() + WRITE_INTERVAL,
            next_write: tokio::time::Instant::now(),
        }
    }

    async fn run(mut self, stop: &CancellationToken) -> Vec<PositionsStore> {
        while !stop.is_cancelled() {
            self.step(stop).await;
        }
        self.write().await;
        self.stores
    }

    async fn step(&mut self, stop: &CancellationToken) {
        self.forget_vanished();
        // Somebody may have waited since before this task looked for the first time.
        if *self.wanted.borrow_and_update() > *self.shared.0.settled.borrow() {
            self.write_in_turn(stop).await;
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = self.wanted.changed() => {}
            () = self.shared.0.soon.notified() => self.wait_a_moment(stop).await,
            () = tokio::time::sleep(WRITE_INTERVAL) => {}
        }
        let is_wanted = *self.wanted.borrow_and_update() > *self.shared.0.settled.borrow();
        if is_wanted || self.shared.lock().revision() > self.written {
            self.write_in_turn(stop).await;
        }
    }

    /// Gathers what else comes within a second, unless somebody waits for a write.
    async fn wait_a_moment(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = self.wanted.changed() => {}
            () = tokio::time::sleep(WRITE_SOON) => {}
        }
    }

    /// Every few seconds, however much else is to be done.
    fn forget_vanished(&mut self) {
        let now = tokio::time::Instant::now();
        if now < self.next_look_for_vanished {
            return;
        }
        self.next_look_for_vanished = now + WRITE_INTERVAL;
        if let Some(horizon) = Instant::now().checked_sub(self.vanished_kept) {
            self.shared.lock().forget_vanished(horizon);
        }
    }

    /// At `stop` somebody else writes.
    async fn write_in_turn(&mut self, stop: &CancellationToken) {
        if stop.run_until_cancelled(tokio::time::sleep_until(self.next_write)).await.is_none() {
            return;
        }
        let began = tokio::time::Instant::now();
        self.write().await;
        self.next_write = tokio::time::Instant::now() + (began.elapsed() * PAUSE_AFTER_WRITE).min(MAX_PAUSE);
    }

    async fn write(&mut self) {
        let (snapshots, revision) = {
            let table = self.shared.lock();
            let snapshots: Vec<_> = (0..self.stores.len()).map(|place| table.snapshot(place)).collect();
            (snapshots, table.revision())
        };
        let mut stores = std::mem::take(&mut self.stores);
        let written = tokio::task::spawn_blocking(move || {
            #[cfg(feature = "planted-faults")]
            tailwater_planted::Fault::KeeperPanics.panics_at(2);
            let results: Vec<_> = stores.iter_mut().zip(&snapshots).map(|(store, positions)| store.write(positions)).collect();
            (stores, results)
        })
        .await;
        match written {
            Ok((stores, results)) => {
                self.stores = stores;
                if results.iter().all(Result::is_ok) {
                    self.written = revision;
                }
                for error in results.into_iter().filter_map(Result::err) {
                    self.metrics.positions_write_errors.inc();
                    tracing::warn!(error = %error, "cannot write positions; they stay in memory");
                }
            }
            // Without the stores nothing could be written any more: the agent ends, and goes on from what is on disk.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        self.shared.0.settled.send_replace(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::table::tests::file_entry;
    use crate::positions::table::{InstanceEntry, Mark, Positions};

    const KEPT: Duration = Duration::from_secs(600);

    fn decide(shared: &SharedPositions) -> Revision {
        let entry = InstanceEntry { label_sets: Default::default(), first_stamp: 1, revision: 0 };
        shared.lock().decide_instance(file_entry("c", 0).instance, entry.into())
    }

    #[tokio::test]
    async fn a_decision_is_on_disk_when_ensure_durable_returns() {
        let directory = tempfile::tempdir().unwrap();
        let shared = SharedPositions::new(PositionsTable::default());
        let stop = CancellationToken::new();
        let (store, ..) = PositionsStore::open(directory.path());
        let task = tokio::spawn(keep(shared.clone(), vec![store], KEPT, Metrics::new(), stop.clone()));
        let revision = decide(&shared);
        shared.ensure_durable(revision).await;
        assert_eq!(PositionsStore::open(directory.path()).1.instances.len(), 1);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_are_gone_are_forgotten_also_while_writes_are_asked_for_all_the_time() {
        let directory = tempfile::tempdir().unwrap();
        let shared = SharedPositions::new(PositionsTable::default());
        let file = shared.lock().new_file();
        shared.lock().acknowledge(0, &Mark { file, entry: file_entry("gone", 10) });
        shared.lock().vanished(file, Instant::now());
        let (store, ..) = PositionsStore::open(directory.path());
        let keeper = Keeper::new(shared.clone(), vec![store], Duration::ZERO, Metrics::new());
        let stop = CancellationToken::new();
        let task = tokio::spawn(async move { keeper.run(&stop).await });
        for _ in 0..8 {
            shared.write_soon();
            tokio::time::sleep(WRITE_INTERVAL / 4).await;
        }
        assert_eq!(shared.lock().snapshot(0).files.len(), 0);
        task.abort();
    }

    #[tokio::test]
    async fn a_refusing_disk_lets_those_who_wait_go_on_and_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (store, ..) = PositionsStore::open(&directory.path().join("gone"));
        let shared = SharedPositions::new(PositionsTable::default());
        let stop = CancellationToken::new();
        let metrics = Metrics::new();
        let task = tokio::spawn(keep(shared.clone(), vec![store], KEPT, metrics.clone(), stop.clone()));
        let revision = decide(&shared);
        shared.ensure_durable(revision).await;
        assert!(metrics.positions_write_errors.get() > 0);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn writes_of_many_files_leave_time_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let files = (0..3000).map(|number| file_entry(&number.to_string(), 1).into()).collect();
        let shared = SharedPositions::new(PositionsTable::load([&Positions { files, ..Positions::default() }]));
        let mut keeper = Keeper::new(shared.clone(), vec![PositionsStore::open(directory.path()).0], KEPT, Metrics::new());
        let stop = CancellationToken::new();
        for _ in 0..3 {
            let due = keeper.next_write;
            shared.0.wanted.send_replace(decide(&shared));
            keeper.step(&stop).await;
            let now = tokio::time::Instant::now();
            assert!(now >= due && keeper.next_write > now);
        }
    }

    #[tokio::test]
    async fn the_last_state_is_written_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let (store, positions, _) = PositionsStore::open(directory.path());
        assert_eq!(positions, Positions::default());
        let shared = SharedPositions::new(PositionsTable::default());
        decide(&shared);
        let stop = CancellationToken::new();
        stop.cancel();
        keep(shared, vec![store], KEPT, Metrics::new(), stop).await;
        assert_eq!(PositionsStore::open(directory.path()).1.instances.len(), 1);
    }
}
