//! Every entry once and in order, whatever was folded and merged when; harmless races; bounded reads.

pub(in crate::compact) mod erasing;
mod halves;
mod in_turn;
mod whole_pages;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;

use super::*;
use crate::catalog::{CacheBudget, Catalog, Snapshot};
use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels, TenantId};
use crate::file::columns::Wanted;
use crate::file::read::SegmentName;
use crate::identity::repetitions;
use crate::manifest::TombstoneId;
use crate::pairs::Pairs;
use crate::segment::encode::encode;
use crate::segment::rows::SegmentRows;
use crate::store::{Day, Store, paths};
use crate::tolerance::Tolerance;
use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Random};
use tailwater_textindex::Probe;

/// Stream, stamp in seconds, line, metadata.
type Entry = (u8, i64, u8, u8);

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

fn tenant() -> TenantId {
    TenantId::new("t")
}

fn labels(stream: u8) -> StreamLabels {
    // The order of ids is not that of namespaces.
    StreamLabels::new(Pairs::from_pairs([("namespace", format!("n{}", stream % 2)), ("app", stream.to_string())]), None)
}

fn text(line: u8) -> String {
    format!("line {line} with the text needle-{line}-end")
}

fn metadata(number: u8) -> Pairs {
    if number == 0 {
        Pairs::default()
    } else {
        Pairs::from_pairs([("m", format!("meta{number}")), ("namespace_uid", format!("u{number}"))])
    }
}

fn push(entries: &[Entry]) -> PushBatch {
    let mut streams: std::collections::BTreeMap<u8, StreamEntries> = std::collections::BTreeMap::new();
    for &(stream, stamp, line, set) in entries {
        let stream = streams.entry(stream).or_insert_with(|| StreamEntries::new(Arc::new(labels(stream))));
        let handle = stream.intern(Metadata { pushed: metadata(set), derived: Pairs::default() });
        stream.push(stamp * SECOND, &text(line), handle);
    }
    PushBatch { tenant: tenant(), streams: streams.into_values().collect() }
}

/// A store, one process on it, and a clock.
struct World {
    store: Store,
    catalog: Arc<Catalog>,
    now: Arc<AtomicI64>,
    next: std::collections::BTreeMap<String, u64>,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(InMemory::new()))
    }

    fn on(objects: Arc<dyn ObjectStore>) -> Self {
        let store = Store::new(objects, "");
        let now = Arc::new(AtomicI64::new(10 * DAY));
        Self { catalog: Self::process(&store, &now), store, now, next: Default::default() }
    }

    fn process(store: &Store, now: &Arc<AtomicI64>) -> Arc<Catalog> {
        let budget = CacheBudget { recent_rows: 1 << 20, footers: 1 << 20, index: 1 << 20 };
        let now = now.clone();
        Arc::new(Catalog::new(store.clone(), budget, "test", Arc::new(move || now.load(Ordering::Relaxed))))
    }

    /// Stores a segment; `is_own`: by the process whose catalog this is.
    async fn flush(&mut self, writer: &str, is_own: bool, entries: &[Entry]) {
        self.store(writer, is_own, SegmentRows::from_pushes(&[push(entries)])).await;
    }

    async fn store(&mut self, writer: &str, is_own: bool, rows: SegmentRows) {
        if rows.rows() == 0 {
            return;
        }
        let sequence = self.next.entry(writer.to_owned()).or_default();
        let flushed = self.now.fetch_add(1, Ordering::Relaxed);
        let name = SegmentName { writer: writer.into(), sequence: *sequence, flushed };
        *sequence += 1;
        let (bytes, footer) = encode(&name, &rows).expect("encodes");
        let size = bytes.len() as u64;
        self.store.create(&paths::segment(writer, name.sequence), bytes, Duration::from_secs(1)).await.expect("stores");
        if is_own {
            self.catalog.publish(&name, size, footer, rows);
        }
    }

    fn compactor(&self, catalog: &Arc<Catalog>, options: CompactionOptions) -> Compactor {
        let now = self.now.clone();
        Compactor::new(catalog.clone(), options, Arc::new(move || now.load(Ordering::Relaxed)))
    }

    async fn compact(&self, options: &CompactionOptions) -> Vec<Work> {
        let compactor = self.compactor(&self.catalog, options.clone());
        let mut done = Vec::new();
        while let Some(work) = compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds") {
            done.push(work);
        }
        self.now.fetch_add(2 * DAY, Ordering::Relaxed);
        while let Some(work) = compactor.merge(&tenant(), nothing(), |_| true).await.expect("merges") {
            done.push(work);
        }
        done
    }
}

fn nothing() -> Arc<dyn Erasure> {
    Arc::new(NothingErased { as_of: 0 })
}

/// Small enough that tests meet every edge.
fn options() -> CompactionOptions {
    CompactionOptions { fold_bytes: 400, merge_files: 3, ..CompactionOptions::default() }
}

type Seen = (u64, i64, String, Pairs);

/// What a query would see, in the order of parts.
async fn seen(catalog: &Catalog) -> (Vec<Seen>, Snapshot) {
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
                assert!(span.min_timestamp <= stamps[at] && stamps[at] <= span.max_timestamp);
                if repeated.of(index).binary_search(&(row as u32)).is_err() {
                    let line = String::from_utf8(lines.line(at).to_vec()).expect("text");
                    rows.push((span.id.0, stamps[at], line, sets.row(at).clone()));
                }
            }
        }
    }
    (rows, snapshot)
}

fn truth(entries: impl IntoIterator<Item = Entry>) -> Vec<Seen> {
    let distinct: BTreeSet<Entry> = entries.into_iter().collect();
    let mut rows: Vec<Seen> =
        distinct.into_iter().map(|(stream, stamp, line, set)| (labels(stream).id().0, stamp * SECOND, text(line), metadata(set))).collect();
    rows.sort();
    rows
}

fn sorted(mut rows: Vec<Seen>) -> Vec<Seen> {
    rows.sort();
    rows
}

/// Rows of each stream ascend, and streams stand in the order of a data file.
fn assert_in_order(snapshot: &Snapshot) {
    for part in snapshot.iter().filter(|part| !part.file().is_segment()) {
        let keys: Vec<_> = part
            .table()
            .streams
            .iter()
            .map(|span| (span.labels.namespace().map(str::to_owned), span.labels.get("app").map(str::to_owned), span.id))
            .collect();
        assert!(keys.is_sorted(), "{keys:?}");
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    // Around midnight, so that days are cut.
    (0u8..4, 86_390i64..86_410, 0u8..3, 0u8..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn compaction_changes_no_answer(
        rounds in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(entry(), 0..12), 1..5), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            let all: Vec<Entry> = rounds.iter().flatten().flatten().copied().collect();
            for round in &rounds {
                for (number, entries) in round.iter().enumerate() {
                    // Of two writers: one in this process, one elsewhere.
                    world.flush(if number % 2 == 0 { "OWN" } else { "OTHER" }, number % 2 == 0, entries).await;
                }
                world.catalog.discover(|_, _| ()).await.expect("lists");
                let before = seen(&world.catalog).await.0;
                world.compact(&options()).await;
                let (after, snapshot) = seen(&world.catalog).await;
                assert_in_order(&snapshot);
                prop_assert_eq!(sorted(after), sorted(before));
            }
            let truth = truth(all);
            prop_assert_eq!(sorted(seen(&world.catalog).await.0), truth.clone());
            let (stored, _) = seen(&world.catalog).await;
            prop_assert_eq!(stored.len(), truth.len());
            // Another process sees the same, from the store alone.
            let fresh = World::process(&world.store, &world.now);
            fresh.discover(|_, _| ()).await.expect("lists");
            prop_assert_eq!(sorted(seen(&fresh).await.0), truth);
            Ok(())
        })?;
    }
}

/// What stores and networks do.
fn weather(seed: u64) -> Random {
    let (done, refused) = (Fault::Done, Fault::Refused);
    Random::new(seed)
        .with(Operation::Put, 80, done(Answer::Timeout))
        .with(Operation::Put, 40, done(Answer::Exists))
        .with(Operation::Put, 60, refused(Answer::SlowDown))
        .with(Operation::Put, 40, refused(Answer::Conflict))
        .with(Operation::Part, 60, refused(Answer::Reset))
        .with(Operation::Complete, 80, done(Answer::Timeout))
        .with(Operation::Complete, 80, refused(Answer::ServerError))
        .with(Operation::Get, 40, Fault::Flip(0))
        .with(Operation::Get, 40, Fault::Short(3))
        .with(Operation::Get, 40, refused(Answer::ServerError))
        .with(Operation::List, 40, refused(Answer::SlowDown))
        .with(Operation::Head, 40, refused(Answer::Timeout))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_store_that_fails_costs_time_and_no_line(
        rounds in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(entry(), 1..12), 1..5), 1..4), seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
            let mut world = World::on(faults.clone());
            let mut all: Vec<Entry> = Vec::new();
            for (number, round) in rounds.iter().enumerate() {
                for (writer, entries) in round.iter().enumerate() {
                    world.flush(if writer % 2 == 0 { "OWN" } else { "OTHER" }, writer % 2 == 0, entries).await;
                    all.extend(entries);
                }
                world.catalog.discover(|_, _| ()).await.expect("lists");
                faults.random(weather(seed.wrapping_add(number as u64)));
                let compactor = world.compactor(&world.catalog, options());
                for _ in 0..6 {
                    // Whatever comes of it: inputs stay visible until a commit is certain.
                    drop(compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await);
                    world.now.fetch_add(DAY, Ordering::Relaxed);
                    drop(compactor.merge(&tenant(), nothing(), |_| true).await);
                }
                faults.heal();
                world.catalog.refresh(&tenant()).await.expect("reads");
                let (rows, _) = seen(&world.catalog).await;
                prop_assert_eq!(sorted(rows), truth(all.clone()));
            }
            world.compact(&options()).await;
            let (rows, snapshot) = seen(&world.catalog).await;
            assert_in_order(&snapshot);
            prop_assert_eq!(sorted(rows), truth(all));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn beside_a_merge_half_as_much_is_folded_and_no_more_at_once() {
    let mut world = World::new();
    let raw = |segments: &[Arc<crate::catalog::Part>]| segments.iter().map(|part| part.table().bytes()).sum::<u64>();
    for round in 0..4 {
        world.flush("W", true, &[(0, round, 1, 0)]).await;
    }
    let waiting = raw(&world.catalog.segments(&tenant()));
    let compactor = world.compactor(&world.catalog, CompactionOptions { fold_bytes: waiting + 1, ..CompactionOptions::default() });
    assert_eq!(compactor.fold(&tenant(), nothing(), FoldWhen::Due).await.expect("looks"), None);
    let work = compactor.fold(&tenant(), nothing(), FoldWhen::BesideMerge).await.expect("folds").expect("half waits");
    assert_eq!((work.inputs, work.raw_bytes), (2, waiting / 2));
    assert_eq!(compactor.fold(&tenant(), nothing(), FoldWhen::BesideMerge).await.expect("folds").map(|work| work.inputs), Some(2));
    assert_eq!(compactor.fold(&tenant(), nothing(), FoldWhen::BesideMerge).await.expect("looks"), None);
}

#[tokio::test]
async fn folded_rows_are_in_data_files_once_and_segments_are_hidden() {
    let mut world = World::new();
    for round in 0..6 {
        world.flush("W", true, &[(0, round, 1, 0), (1, round, 1, 1), (0, 3, 2, 0)]).await;
    }
    let done = world.compact(&CompactionOptions::default()).await;
    assert_eq!((done.len(), done[0].inputs, done[0].duplicates), (2, 6, 5), "{done:?}");
    assert_eq!((done[1].level, done[1].inputs), (2, 1), "the day is over: its only file becomes final");
    let (rows, snapshot) = seen(&world.catalog).await;
    assert_eq!((rows.len(), snapshot.len()), (13, 1));
    assert_eq!(world.catalog.segment_count(), 0);
    assert_eq!(world.catalog.recent_bytes(), 0);
    assert_eq!(world.catalog.manifest(&tenant()).watermark("W").map(|mark| mark.sequence), Some(5));
}

#[tokio::test]
async fn a_line_sent_again_after_its_fold_is_left_out_and_relies_on_the_file_that_has_it() {
    let mut world = World::new();
    world.flush("W", true, &[(0, 1, 1, 0), (0, 9, 1, 0)]).await;
    world.compact(&CompactionOptions::default()).await;
    world.flush("W", true, &[(0, 1, 1, 0), (0, 5, 1, 0)]).await;
    assert_eq!(seen(&world.catalog).await.0.len(), 3);
    let done = world.compact(&CompactionOptions { settle: Duration::MAX, ..CompactionOptions::default() }).await;
    assert_eq!(done[0].duplicates, 1);
    assert_eq!(seen(&world.catalog).await.0.len(), 3);
    let rows: u64 = world.catalog.manifest(&tenant()).files().map(|file| file.rows).sum();
    assert_eq!(rows, 3);
}

#[tokio::test]
async fn a_damaged_file_keeps_no_other_day_from_being_merged() {
    let bucket = Arc::new(InMemory::new());
    let mut world = World::on(bucket.clone());
    let only_folds = CompactionOptions { settle: Duration::MAX, ..CompactionOptions::default() };
    for round in 0..2 {
        for day in 0..2 {
            world.flush("W", true, &[(0, day * 86_400 + round, 1, 0)]).await;
            world.compact(&only_folds).await;
        }
    }
    let manifest = world.catalog.manifest(&tenant());
    let first_day: Vec<_> = manifest.files().filter(|file| file.day == Day::of(0)).collect();
    assert_eq!((manifest.files().count(), first_day.len()), (4, 2));
    let key = first_day[0].key(&tenant());
    let whole = world.store.get(&key).await.expect("reads").expect("is there");
    let restore = |bytes: bytes::Bytes| {
        let (bucket, path) = (bucket.clone(), object_store::path::Path::from(key.clone()));
        async move { drop(bucket.put(&path, bytes.into()).await.expect("stores")) }
    };
    restore(vec![0; whole.len()].into()).await;

    let process = World::process(&world.store, &world.now);
    process.refresh(&tenant()).await.expect("reads");
    let compactor = world.compactor(&process, CompactionOptions::default());
    let other_days = compactor.merge(&tenant(), nothing(), |day| day > Day::of(DAY)).await;
    assert!(other_days.expect("nothing is read").is_none(), "these days are another's");
    let error = compactor.merge(&tenant(), nothing(), |_| true).await.expect_err("the first day is tried first");
    assert!(error.to_string().contains(&key), "{error}");
    // What is left of the first day, then the second.
    for inputs in [1, 2] {
        let work = compactor.merge(&tenant(), nothing(), |_| true).await.expect("can be read").expect("is due");
        assert_eq!((work.inputs, work.level), (inputs, 2));
    }
    assert!(compactor.merge(&tenant(), nothing(), |_| true).await.expect("nothing fails").is_none());

    restore(whole).await;
    world.now.fetch_add(3601 * SECOND, Ordering::Relaxed);
    let work = compactor.merge(&tenant(), nothing(), |_| true).await.expect("it is whole again").expect("is due");
    assert_eq!((work.inputs, process.manifest(&tenant()).files().count()), (2, 2));
}

#[tokio::test]
async fn of_two_compactors_with_the_same_inputs_one_commits() {
    let mut world = World::new();
    for round in 0..4 {
        world.flush("W", true, &[(0, round, 1, 0)]).await;
    }
    let other = World::process(&world.store, &world.now);
    other.discover(|_, _| ()).await.expect("lists");
    let (here, there) =
        (world.compactor(&world.catalog, CompactionOptions::default()), world.compactor(&other, CompactionOptions::default()));
    let tenant = tenant();
    let (one, two) = tokio::join!(here.fold(&tenant, nothing(), FoldWhen::AtOnce), there.fold(&tenant, nothing(), FoldWhen::AtOnce));
    let (one, two) = (one.expect("folds"), two.expect("finds that nothing is left"));
    assert!(one.is_some() != two.is_some(), "{one:?} {two:?}");
    for catalog in [&world.catalog, &other] {
        catalog.refresh(&tenant).await.expect("reads");
        assert_eq!(seen(catalog).await.0.len(), 4);
    }
}

/// Neither knows the other's writer: what both were sent is in two segments.
#[tokio::test]
async fn of_two_compactors_with_other_writers_the_second_compares_with_what_the_first_made() {
    let mut world = World::new();
    world.flush("V", false, &[(0, 1, 1, 0), (0, 2, 1, 0)]).await;
    let other = World::process(&world.store, &world.now);
    other.discover(|_, _| ()).await.expect("lists");
    world.flush("W", true, &[(0, 1, 1, 0), (0, 3, 1, 0)]).await;
    let (here, there) =
        (world.compactor(&world.catalog, CompactionOptions::default()), world.compactor(&other, CompactionOptions::default()));
    let tenant = tenant();
    here.fold(&tenant, nothing(), FoldWhen::AtOnce).await.expect("folds").expect("has a segment");
    let work = there.fold(&tenant, nothing(), FoldWhen::AtOnce).await.expect("folds").expect("has a segment");
    assert_eq!(work.duplicates, 1, "what the first made is compared with, though it came meanwhile");
    let manifest = other.manifest(&tenant);
    assert_eq!(manifest.files().map(|file| file.rows).sum::<u64>(), 3, "the common entry is stored once");
    assert_eq!(seen(&other).await.0.len(), 3);
}

#[tokio::test]
async fn the_text_index_of_a_data_file_excludes_pages_and_finds_metadata() {
    let mut world = World::new();
    let entries: Vec<Entry> = (0..200).map(|second| (0, second, (second % 3) as u8, (second % 3) as u8)).collect();
    world.flush("W", true, &entries).await;
    world.compact(&CompactionOptions::default()).await;
    let (_, snapshot) = seen(&world.catalog).await;
    let file = snapshot[0].file().clone();
    let count = async |text: &str| world.catalog.maybe_pages(&file, &Probe::text(text)).await.expect("reads").map(|pages| pages.count());
    assert_eq!(count("needle-2-end").await, Some(1));
    assert_eq!(count("needle-7-end").await, Some(0));
    assert_eq!(count("meta2").await, Some(1));
    assert_eq!(count("meta7").await, Some(0));
    assert_eq!(count("end").await, Some(1), "too short to tell");
}

#[tokio::test]
async fn what_is_erased_is_gone_for_good() {
    struct Erased;
    impl Erasure for Erased {
        fn of_stream(&self, labels: &Pairs) -> StreamErasure {
            let lines: LinePredicate = Arc::new(|line| line.ends_with(b"needle-1-end"));
            match labels.get("app") {
                Some("0") => StreamErasure { keep_from: 3 * SECOND, deleted: Vec::new() },
                _ => StreamErasure {
                    keep_from: i64::MIN,
                    deleted: vec![DeletedRange {
                        request: TombstoneId(ulid::Ulid::nil()),
                        start: 2 * SECOND,
                        end: 4 * SECOND,
                        lines: Some(lines),
                    }],
                },
            }
        }

        fn as_of(&self) -> u64 {
            0
        }
    }
    let mut world = World::new();
    let entries: Vec<Entry> = (0..2).flat_map(|stream| (0..6).map(move |second| (stream, second, (second % 2) as u8, 0))).collect();
    world.flush("W", true, &entries).await;
    let compactor = world.compactor(&world.catalog, CompactionOptions::default());
    compactor.fold(&tenant(), Arc::new(Erased), FoldWhen::AtOnce).await.expect("folds");
    let kept = entries.into_iter().filter(|(stream, second, line, _)| match stream {
        0 => *second >= 3,
        _ => !((2..=4).contains(second) && *line == 1),
    });
    assert_eq!(sorted(seen(&world.catalog).await.0), truth(kept));
    assert_eq!(compactor.counters().erased_rows.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn pages_and_row_groups_are_cut_by_their_bytes() {
    let mut world = World::new();
    let mut stream = StreamEntries::new(Arc::new(labels(0)));
    let handle = stream.intern(Metadata::default());
    for row in 0..80i64 {
        // One line of 3 MiB among lines of 100 kB.
        let length = if row == 40 { 3 << 20 } else { 100_000 };
        stream.push(row * SECOND, &"x".repeat(length), handle);
    }
    world.store("W", true, SegmentRows::from_pushes(&[PushBatch { tenant: tenant(), streams: vec![stream] }])).await;
    world.compact(&CompactionOptions::default()).await;
    let (rows, snapshot) = seen(&world.catalog).await;
    assert_eq!(rows.len(), 80);
    let pages = snapshot[0].pages();
    let lengths: Vec<usize> = (0..pages.len()).map(|page| pages.rows(page).len()).collect();
    assert_eq!(lengths, [10, 10, 10, 10, 1, 10, 10, 10, 9]);
}
