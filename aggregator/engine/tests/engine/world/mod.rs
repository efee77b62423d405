//! A small world of logs: entries in segments, and the same entries as a plain list to reckon with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tailwater_engine::Engine;
use tailwater_engine::access::{Access, AllowedNamespaces, Grant};
use tailwater_engine::answer::{LogAnswer, LogEntry, LogStream, MetricAnswer, MetricValue};
use tailwater_engine::request::{Direction, EqualStamps, LogRequest, MetricRequest, QueryLimits};
use tailwater_logql::ast::Expr;
use tailwater_storage::catalog::{CacheBudget, Catalog};
use tailwater_storage::compact::{CompactionOptions, Compactor, FoldWhen, NothingErased};
use tailwater_storage::entry::{Metadata, PushBatch, StreamEntries, StreamLabels, TenantId};
use tailwater_storage::file::read::SegmentName;
use tailwater_storage::manifest::{self, RetireDelays};
use tailwater_storage::pairs::Pairs;
use tailwater_storage::segment::encode::encode;
use tailwater_storage::segment::rows::SegmentRows;
use tailwater_storage::store::{Store, paths};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) namespace: String,
    pub(crate) app: String,
    pub(crate) timestamp: i64,
    pub(crate) line: String,
    pub(crate) trace: Option<String>,
}

impl Entry {
    pub(crate) fn new(namespace: &str, app: &str, timestamp: i64, line: &str) -> Self {
        Self { namespace: namespace.into(), app: app.into(), timestamp, line: line.into(), trace: None }
    }
}

/// An engine over segments: each list of entries is one, every other one of another writer.
pub(crate) async fn engine(segments: &[Vec<Entry>]) -> Engine {
    Engine::new(catalog(segments, true).await, 64 << 20).expect("starts")
}

/// A catalog of segments, with the rows of every other one in memory or all in the store.
pub(crate) async fn catalog(segments: &[Vec<Entry>], in_memory: bool) -> Arc<Catalog> {
    let mut world = Growing::default();
    for (number, entries) in segments.iter().enumerate() {
        world.add(push(entries), number % 2 == 0 && in_memory).await;
    }
    world.discovered().await
}

/// A catalog that segments are added to.
pub(crate) struct Growing {
    bucket: Arc<InMemory>,
    store: Store,
    pub(crate) catalog: Arc<Catalog>,
    next_sequence: BTreeMap<&'static str, u64>,
    flushes: i64,
}

impl Default for Growing {
    fn default() -> Self {
        let bucket = Arc::new(InMemory::new());
        let store = Store::new(bucket.clone(), "");
        let catalog = empty_catalog(&store);
        Self { bucket, store, catalog, next_sequence: BTreeMap::new(), flushes: 0 }
    }
}

impl Growing {
    /// Stores a push as a segment: of this process, with its rows in memory, or of another writer.
    pub(crate) async fn add(&mut self, push: PushBatch, is_own: bool) {
        let rows = SegmentRows::from_pushes(&[push]);
        if rows.rows() == 0 {
            return;
        }
        let writer = if is_own { "OWN" } else { "OTHER" };
        let next = self.next_sequence.entry(writer).or_default();
        let name = SegmentName { writer: writer.into(), sequence: *next, flushed: self.flushes };
        *next += 1;
        self.flushes += 1;
        let (bytes, footer) = encode(&name, &rows).expect("encodes");
        let size = bytes.len() as u64;
        self.store.create(&paths::segment(writer, name.sequence), bytes, Duration::from_secs(1)).await.expect("stores");
        if is_own {
            self.catalog.publish(&name, size, footer, rows);
        }
    }

    /// The catalog, after it looked for what others stored.
    pub(crate) async fn discovered(&self) -> Arc<Catalog> {
        self.catalog.discover(|_, _| ()).await.expect("lists");
        self.catalog.clone()
    }

    /// What a process sees that starts now.
    pub(crate) async fn reopened(&self) -> Arc<Catalog> {
        let catalog = empty_catalog(&self.store);
        catalog.discover(|_, _| ()).await.expect("lists");
        catalog
    }

    /// Another process folds and merges what is stored, and deletes at once what it replaced.
    pub(crate) async fn compacted_elsewhere(&self) {
        let other = self.reopened().await;
        let options = CompactionOptions { fold_after: Duration::ZERO, merge_files: 2, ..CompactionOptions::default() };
        let compactor = Compactor::new(other.clone(), options, Arc::new(|| 1_000));
        let erasure = || Arc::new(NothingErased { as_of: 0 });
        while compactor.fold(&tenant(), erasure(), FoldWhen::AtOnce).await.expect("folds").is_some() {}
        while compactor.merge(&tenant(), erasure(), |_| true).await.expect("merges").is_some() {}
        let log = other.manifest_log(&tenant());
        let at_once = RetireDelays { compacted: Duration::ZERO, dropped: Duration::ZERO };
        manifest::clean_retired(&log, i64::MAX, &at_once, |_| ()).await.expect("deletes");
        other.delete_folded_segments(0, Duration::ZERO).await.expect("notes them");
        other.delete_folded_segments(i64::MAX, Duration::ZERO).await.expect("deletes");
    }

    /// Keys of objects with rows, in their order.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let listed: Vec<_> = self.bucket.list(None).map_ok(|object| object.location.to_string()).try_collect().await.expect("lists");
        listed.into_iter().filter(|key| key.ends_with(".parquet")).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Flips a bit of an object; `at` is a part of its length, below 1.
    pub(crate) async fn damage(&self, key: &str, at: f64) {
        let path = Path::from(key);
        let mut bytes = self.bucket.get(&path).await.expect("is there").bytes().await.expect("reads").to_vec();
        let place = (bytes.len() as f64 * at) as usize;
        bytes[place] ^= 1 << (place % 8);
        self.bucket.put(&path, bytes.into()).await.expect("stores");
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.bucket.delete(&Path::from(key)).await.expect("is there");
    }
}

fn empty_catalog(store: &Store) -> Arc<Catalog> {
    let budget = CacheBudget { recent_rows: 64 << 20, footers: 4 << 20, index: 4 << 20 };
    Arc::new(Catalog::new(store.clone(), budget, "test", Arc::new(|| 0)))
}

/// Folds everything that a catalog shows into data files, which have text indexes.
pub(crate) async fn fold(catalog: &Arc<Catalog>) {
    let compactor = Compactor::new(catalog.clone(), CompactionOptions::default(), Arc::new(|| 1_000));
    while compactor.fold(&tenant(), Arc::new(NothingErased { as_of: 0 }), FoldWhen::AtOnce).await.expect("folds").is_some() {}
    assert_eq!(catalog.segment_count(), 0, "nothing is left in segments");
}

pub(crate) fn push(entries: &[Entry]) -> PushBatch {
    let mut streams: BTreeMap<(&str, &str), StreamEntries> = BTreeMap::new();
    for entry in entries {
        let stream = streams.entry((&entry.namespace, &entry.app)).or_insert_with(|| {
            let labels = Pairs::from_pairs([("namespace", &entry.namespace), ("app", &entry.app)]);
            StreamEntries::new(Arc::new(StreamLabels::new(labels, None)))
        });
        let pushed = entry.trace.iter().map(|trace| ("trace_id", trace.as_str()));
        let handle = stream.intern(Metadata { pushed: Pairs::from_pairs(pushed), derived: Pairs::default() });
        stream.push(entry.timestamp, &entry.line, handle);
    }
    PushBatch { tenant: tenant(), streams: streams.into_values().collect() }
}

/// Every entry once.
pub(crate) fn distinct(segments: &[Vec<Entry>]) -> BTreeSet<Entry> {
    segments.iter().flatten().cloned().collect()
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

/// (labels, timestamp, value) of every point.
pub(crate) fn points(answer: &MetricAnswer) -> Vec<(String, i64, f64)> {
    match &answer.value {
        MetricValue::Scalar(value) => vec![("scalar".into(), 0, *value)],
        MetricValue::Series(series) => series
            .iter()
            .flat_map(|series| series.points.iter().map(|point| (series.labels.to_string(), point.timestamp, point.value)))
            .collect(),
    }
}

/// (labels, timestamp, line) of every entry.
pub(crate) fn entries(answer: &LogAnswer) -> Vec<(String, i64, String)> {
    let stream = |stream: &LogStream| -> Vec<_> {
        let entry = |entry: &LogEntry| (stream.labels.to_string(), entry.timestamp, String::from_utf8_lossy(&entry.line).into_owned());
        stream.entries.iter().map(entry).collect()
    };
    answer.streams.iter().flat_map(stream).collect()
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("t")
}

pub(crate) fn everything() -> Access {
    Access::new(tenant(), AllowedNamespaces::All)
}

pub(crate) fn only(namespaces: &[&str]) -> Access {
    let grants = namespaces.iter().map(|name| ((*name).to_owned(), Grant::whole()));
    Access::new(tenant(), AllowedNamespaces::Only(grants.collect()))
}

pub(crate) fn limits() -> QueryLimits {
    QueryLimits { max_series: 500, partial_series: false, timeout: Duration::from_secs(60), strict_loki: false }
}

pub(crate) fn log_request(query: &str, start: i64, end: i64, limit: usize, direction: Direction) -> LogRequest {
    match tailwater_logql::parse(query).expect("parses") {
        Expr::Log(expr) => {
            LogRequest { expr, start, end, limit, direction, interval: 0, categorize: false, equal_stamps: EqualStamps::AsLoki }
        }
        Expr::Metric(_) => panic!("`{query}` is no log query"),
    }
}

pub(crate) fn metric_request(query: &str, start: i64, end: i64, step: i64) -> MetricRequest {
    match tailwater_logql::parse(query).expect("parses") {
        Expr::Metric(expr) => MetricRequest { expr, start, end, step },
        Expr::Log(_) => panic!("`{query}` is no metric query"),
    }
}
