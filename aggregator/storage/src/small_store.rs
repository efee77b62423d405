//! A small store for tests: entries in, segments and data files out, and what a query would see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::catalog::{CacheBudget, Catalog};
use crate::cluster::{Cluster, NEWEST_FORMAT};
use crate::compact::{CompactionOptions, Compactor, FoldWhen, NothingErased};
use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels, TenantId};
use crate::file::columns::Wanted;
use crate::file::read::SegmentName;
use crate::identity::repetitions;
use crate::manifest::Clock;
use crate::pairs::Pairs;
use crate::segment::encode::encode;
use crate::segment::rows::SegmentRows;
use crate::store::{ListedObject, Store, paths};
use crate::tolerance::Tolerance;

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// Stream, stamp in seconds, line, metadata.
pub(crate) type Entry = (u8, i64, u8, u8);

/// Stream id, stamp, line, metadata.
pub(crate) type Seen = (u64, i64, String, Pairs);

pub(crate) fn tenant() -> TenantId {
    TenantId::new("t")
}

pub(crate) fn labels(stream: u8) -> StreamLabels {
    let pairs = [("namespace", format!("n{}", stream % 2)), ("app", stream.to_string()), ("zone", "\"z\"\n".to_owned())];
    // Some have a derived name, some push one.
    match stream % 3 {
        0 => StreamLabels::new(Pairs::from_pairs(pairs), Some("derived")),
        1 => StreamLabels::new(Pairs::from_pairs(pairs).with("service_name", "pushed"), None),
        _ => StreamLabels::new(Pairs::from_pairs(pairs), None),
    }
}

pub(crate) fn text(line: u8) -> String {
    format!("line {line} with \"quotes\", \u{1f30a} and\nanother row, needle-{line}-end")
}

pub(crate) fn metadata(number: u8) -> Pairs {
    if number == 0 {
        Pairs::default()
    } else {
        Pairs::from_pairs([("m", format!("meta{number}")), ("namespace_uid", format!("u{number}"))])
    }
}

fn push(tenant: TenantId, entries: &[Entry]) -> PushBatch {
    let mut streams: BTreeMap<u8, StreamEntries> = BTreeMap::new();
    for &(stream, stamp, line, set) in entries {
        let stream = streams.entry(stream).or_insert_with(|| StreamEntries::new(Arc::new(labels(stream))));
        let handle = stream.intern(Metadata { pushed: metadata(set), derived: Pairs::default() });
        stream.push(stamp * SECOND, &text(line), handle);
    }
    PushBatch { tenant, streams: streams.into_values().collect() }
}

pub(crate) fn truth(entries: impl IntoIterator<Item = Entry>) -> Vec<Seen> {
    let distinct: BTreeSet<Entry> = entries.into_iter().collect();
    let row = |(stream, stamp, line, set): Entry| (labels(stream).id().0, stamp * SECOND, text(line), metadata(set));
    let mut rows: Vec<Seen> = distinct.into_iter().map(row).collect();
    rows.sort();
    rows
}

/// A store, a process on it, and a clock.
pub(crate) struct SmallStore {
    pub(crate) objects: Arc<InMemory>,
    pub(crate) store: Store,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) now: Arc<AtomicI64>,
    next: BTreeMap<String, u64>,
}

impl SmallStore {
    pub(crate) async fn new() -> Self {
        let objects = Arc::new(InMemory::new());
        let store = Store::new(objects.clone(), "p");
        Cluster::open(&store, NEWEST_FORMAT).await.expect("creates");
        let now = Arc::new(AtomicI64::new(10 * DAY));
        Self { catalog: process(&store, &now), objects, store, now, next: BTreeMap::new() }
    }

    /// The same store, with a process that has just started.
    pub(crate) fn reopened(self) -> Self {
        Self { catalog: process(&self.store, &self.now), ..self }
    }

    pub(crate) fn clock(&self) -> Clock {
        clock(&self.now)
    }

    /// Stores a segment of one writer.
    pub(crate) async fn flush(&mut self, writer: &str, entries: &[Entry]) {
        self.flush_of(writer, &[push(tenant(), entries)]).await;
    }

    pub(crate) async fn flush_of(&mut self, writer: &str, pushes: &[PushBatch]) {
        let rows = SegmentRows::from_pushes(pushes);
        if rows.rows() == 0 {
            return;
        }
        let sequence = self.next.entry(writer.to_owned()).or_default();
        let name = SegmentName { writer: writer.into(), sequence: *sequence, flushed: self.now.fetch_add(1, Ordering::Relaxed) };
        *sequence += 1;
        let bytes = encode(&name, &rows).expect("encodes").0;
        self.store.create(&paths::segment(writer, name.sequence), bytes, Duration::from_secs(1)).await.expect("stores");
        self.catalog.discover(|_, _| ()).await.expect("lists");
    }

    /// Folds every segment of the tenant; merges days as well if `merges`.
    pub(crate) async fn compact(&self, merges: bool) {
        let options = CompactionOptions { fold_bytes: 400, merge_files: 3, ..CompactionOptions::default() };
        let compactor = Compactor::new(self.catalog.clone(), options, self.clock());
        let nothing = || Arc::new(NothingErased { as_of: 0 });
        while compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds").is_some() {}
        if merges {
            self.now.fetch_add(2 * DAY, Ordering::Relaxed);
            while compactor.merge(&tenant(), nothing(), |_| true).await.expect("merges").is_some() {}
        }
    }

    pub(crate) async fn listed(&self, folder: &str) -> Vec<ListedObject> {
        self.store.list_after(folder, None).await.expect("lists")
    }

    fn path(key: &str) -> Path {
        Path::from(format!("p/{key}"))
    }

    pub(crate) async fn bytes(&self, key: &str) -> Bytes {
        self.store.get(key).await.expect("reads").expect("it is there")
    }

    /// Does what no program of ours does: changes an object.
    pub(crate) async fn overwrite(&self, key: &str, bytes: impl Into<Bytes>) {
        self.objects.put(&Self::path(key), PutPayload::from(bytes.into())).await.expect("stores");
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.objects.delete(&Self::path(key)).await.expect("deletes");
    }

    /// What a process that has just started sees, sorted.
    pub(crate) async fn seen(&self) -> Vec<Seen> {
        let fresh = process(&self.store, &self.now);
        fresh.discover(|_, _| ()).await.expect("lists");
        seen(&fresh).await
    }
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = now.clone();
    Arc::new(move || now.load(Ordering::Relaxed))
}

fn process(store: &Store, now: &Arc<AtomicI64>) -> Arc<Catalog> {
    let budget = CacheBudget { recent_rows: 1 << 20, footers: 1 << 20, index: 1 << 20 };
    Arc::new(Catalog::new(store.clone(), budget, "test", clock(now)))
}

async fn seen(catalog: &Catalog) -> Vec<Seen> {
    let snapshot = catalog.snapshot(&tenant(), &[(i64::MIN, i64::MAX)], &Tolerance::default()).await.expect("reads");
    let ids: BTreeSet<_> = snapshot.iter().flat_map(|part| part.table().streams.iter().map(|span| span.id)).collect();
    let repeated = repetitions(catalog, &snapshot, ids, (i64::MIN, i64::MAX), &Tolerance::default()).await.expect("reads");
    let all = Wanted { timestamps: true, lines: true, metadata: true, line_hashes: false };
    let mut rows = Vec::new();
    for (index, part) in snapshot.iter().enumerate() {
        let pages = catalog.fetch(part, 0..part.pages().len(), all).await.expect("reads");
        for page in 0..part.pages().len() {
            let (stamps, lines) = (pages.timestamps(page).expect("intact"), pages.lines(page).expect("intact"));
            let sets = pages.metadata(page).expect("intact");
            for (at, row) in part.pages().rows(page).enumerate() {
                let span = part.table().streams.iter().find(|span| span.rows.contains(&row)).expect("every row has a stream");
                if repeated.of(index).binary_search(&(row as u32)).is_err() {
                    let line = String::from_utf8(lines.line(at).to_vec()).expect("text");
                    rows.push((span.id.0, stamps[at], line, sets.row(at).clone()));
                }
            }
        }
    }
    rows.sort();
    rows
}
