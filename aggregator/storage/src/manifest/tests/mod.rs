//! The log against faults, rivals and clean-ups. All time is paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use tailwater_faultstore::FaultStore;
use ulid::Ulid;

use super::*;
use crate::entry::TenantId;
use crate::store::{Day, Store, paths};

mod cleaning;
mod committing;
mod damage;
mod history;
mod states;

const NOW: i64 = 1_700_000_000_000_000_000;
const DAY: i64 = 86_400_000_000_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// One bucket, seen through faults by the logs and without them by the test.
struct World {
    faults: FaultStore,
    /// Through the faults.
    store: Store,
    /// Past the faults.
    bucket: Store,
    clock: Arc<AtomicI64>,
}

impl World {
    fn new() -> Self {
        let inner = Arc::new(InMemory::new());
        let faults = FaultStore::new(inner.clone());
        Self {
            store: Store::new(Arc::new(faults.clone()), "p"),
            bucket: Store::new(inner, "p"),
            faults,
            clock: Arc::new(AtomicI64::new(NOW)),
        }
    }

    fn log_on(&self, store: &Store, author: &str) -> ManifestLog {
        let clock = self.clock.clone();
        ManifestLog::new(store.clone(), tenant(), author, Arc::new(move || clock.load(Ordering::Relaxed)))
    }

    /// Through the faults.
    fn log(&self, author: &str) -> ManifestLog {
        self.log_on(&self.store, author)
    }

    /// The truth, read afresh.
    async fn truth(&self) -> Arc<ManifestState> {
        self.log_on(&self.bucket, "reader").load().await.expect("no fault")
    }

    /// Uploads a data file of `rows` rows.
    async fn upload(&self, id: u128, rows: u64) -> DataFile {
        let file = file(id, rows);
        let key = file.key(&tenant());
        self.bucket.create(&key, body(&file), PATIENCE).await.expect("no fault");
        file
    }

    async fn has(&self, file: &DataFile) -> bool {
        self.bucket.size(&file.key(&tenant())).await.expect("no fault").is_some()
    }

    async fn versions(&self) -> Vec<u64> {
        let listed = self.bucket.list_after(&paths::manifests(&tenant()), None).await.expect("no fault");
        listed.iter().filter_map(|object| paths::manifest_version_of(&object.key)).collect()
    }
}

fn tenant() -> TenantId {
    TenantId::new("t")
}

fn body(file: &DataFile) -> Bytes {
    vec![7; usize::try_from(file.size).expect("small")].into()
}

fn id(number: u128) -> FileId {
    FileId(Ulid(number))
}

fn file(number: u128, rows: u64) -> DataFile {
    DataFile {
        id: id(number),
        day: Day::of(NOW),
        level: 1,
        size: 10 + rows % 7,
        min_timestamp: NOW,
        max_timestamp: NOW + 1000,
        rows,
        raw_bytes: rows * 100,
        row_groups: 1,
        footer_length: 4,
        streams: FilePart { offset: 2, length: 2 },
        index: rows.is_multiple_of(2).then_some(FilePart { offset: 4, length: 2 }),
        created: NOW - 5,
        arrived: NOW - 60,
        as_of: 0,
    }
}

fn fold(writer: &str, from: Option<u64>, to: u64, add: Vec<DataFile>) -> Change {
    Change::FoldSegments(SegmentFold { writers: vec![WriterFold { writer: writer.to_owned(), from, to }], add, relied_on: Vec::new() })
}

fn replace(remove: &[&DataFile], add: Vec<DataFile>, relied_on: &[&DataFile]) -> Change {
    let ids = |files: &[&DataFile]| files.iter().map(|file| file.id).collect();
    Change::ReplaceFiles(FileReplacement { remove: ids(remove), reason: RetireReason::Compacted, add, relied_on: ids(relied_on) })
}

/// Commits a change that does not depend on the state.
async fn commit(log: &ManifestLog, change: Change) -> Result<Arc<ManifestState>, CommitError> {
    log.commit(|_| Ok(change.clone())).await
}

fn conflict(outcome: Result<Arc<ManifestState>, CommitError>) -> Conflict {
    match outcome {
        Err(CommitError::Conflict { conflict, .. }) => conflict,
        other => panic!("a conflict was due, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_it_can_be_spawned() {
    fn spawnable<T: Send>(_: T) {}
    let world = World::new();
    let log = world.log("a");
    let delays = RetireDelays::for_query_timeout(PATIENCE);
    spawnable(log.load());
    spawnable(commit(&log, Change::Nothing));
    spawnable(log.rebuild(RebuiltContents::default()));
    spawnable(clean_versions(&log, NOW, PATIENCE, |_| ()));
    spawnable(clean_retired(&log, NOW, &delays, |_| ()));
    spawnable(clean_segments(&world.store, "W", &[], |_| ()));
    spawnable(drop_idle_writers(&log, NOW, PATIENCE));
    spawnable(sweep_orphans(&log, NOW, PATIENCE, |_| ()));
}
