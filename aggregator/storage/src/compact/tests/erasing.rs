//! What retention and delete requests name is never seen, everything else always, whatever was folded, merged, dropped and rewritten when.

use std::collections::BTreeMap;

use ulid::Ulid;

use super::*;
use crate::compact::retention::RetentionEdges;
use crate::manifest::{Change, DataFile, FileId, FilePart, RetireReason, Tombstone};
use crate::store::Day;

/// A file of one row, for decisions.
pub(in crate::compact) fn data_file(number: u64) -> DataFile {
    let part = FilePart { offset: 4, length: 1 };
    DataFile {
        id: FileId(Ulid(u128::from(number))),
        day: Day::of(0),
        level: 1,
        size: 10,
        min_timestamp: 0,
        max_timestamp: 0,
        rows: 1,
        raw_bytes: 5,
        row_groups: 1,
        footer_length: 3,
        streams: part,
        index: None,
        created: 0,
        arrived: 0,
        as_of: 0,
    }
}

/// How long a request may be withdrawn.
const CANCEL: i64 = 4 * SECOND;

/// How long lines of each stream are kept; `None`: for ever. The world begins 10 days after 1970, its entries are 9 days old.
const KEPT: [Option<i64>; 4] = [Some(9 * DAY + 8 * SECOND), None, Some(9 * DAY - 2 * SECOND), None];

fn keep_from(stream: &str, now: i64) -> i64 {
    let kept = stream.parse::<usize>().ok().and_then(|stream| KEPT[stream]);
    kept.map_or(i64::MIN, |kept| now - kept)
}

fn edges(now: i64) -> RetentionEdges {
    RetentionEdges { all_dead_before: i64::MIN, all_kept_from: now - (9 * DAY - 2 * SECOND) }
}

/// A request's query here: stream and line, `*` for all.
fn names(query: &str) -> (&str, Option<u8>) {
    let (stream, line) = query.split_once(' ').expect("two words");
    (stream, line.parse().ok())
}

/// Retention and some requests at one time.
struct Rules {
    now: i64,
    requests: Vec<Arc<Tombstone>>,
    as_of: u64,
}

impl Rules {
    /// All that a reader keeps to.
    fn of_reader(world: &World) -> Self {
        let requests = world.catalog.manifest(&tenant()).tombstones().cloned().collect();
        Self { now: world.now(), requests, as_of: u64::MAX }
    }

    /// What compaction may erase.
    fn of_compaction(world: &World) -> Arc<dyn Erasure> {
        let (manifest, now) = (world.catalog.manifest(&tenant()), world.now());
        let RequestsToErase { requests, as_of } =
            requests_to_erase(manifest.tombstones(), manifest.version(), |tombstone| now - tombstone.created >= CANCEL);
        Arc::new(Self { now, requests, as_of })
    }
}

impl Erasure for Rules {
    fn of_stream(&self, labels: &Pairs) -> StreamErasure {
        let stream = labels.get("app").expect("every stream here has one");
        let range = |tombstone: &Arc<Tombstone>| {
            let (of, line) = names(&tombstone.query);
            let lines = line.map(|line| -> LinePredicate { Arc::new(move |text| text == super::text(line).as_bytes()) });
            (of == "*" || of == stream).then_some(DeletedRange { request: tombstone.id, start: tombstone.start, end: tombstone.end, lines })
        };
        StreamErasure { keep_from: keep_from(stream, self.now), deleted: self.requests.iter().filter_map(range).collect() }
    }

    fn as_of(&self) -> u64 {
        self.as_of
    }
}

#[derive(Debug, Clone)]
enum Step {
    Flush { is_own: bool, entries: Vec<Entry> },
    Delete { stream: Option<u8>, line: Option<u8>, start: i64, length: i64 },
    Cancel { which: usize },
    Advance { seconds: i64 },
    Fold,
    Merge,
    Expire,
    Erase,
}

fn step() -> impl Strategy<Value = Step> {
    let of = |below: u8| proptest::option::of(0..below);
    prop_oneof![
        4 => (any::<bool>(), proptest::collection::vec(entry(), 1..10)).prop_map(|(is_own, entries)| Step::Flush { is_own, entries }),
        2 => (of(4), of(3), 86_388i64..86_412, 0i64..12)
            .prop_map(|(stream, line, start, length)| Step::Delete { stream, line, start, length }),
        1 => (0usize..4).prop_map(|which| Step::Cancel { which }),
        2 => (1i64..6).prop_map(|seconds| Step::Advance { seconds }),
        2 => Just(Step::Fold),
        2 => Just(Step::Merge),
        2 => Just(Step::Expire),
        2 => Just(Step::Erase),
    ]
}

/// What happened, naively: every entry that was flushed, every request that stands.
#[derive(Default)]
struct Model {
    entries: BTreeSet<Entry>,
    requests: BTreeMap<TombstoneId, Tombstone>,
}

impl Model {
    fn visible(&self, now: i64) -> Vec<Seen> {
        let is_deleted = |(stream, second, line, _): &Entry, request: &Tombstone| {
            let (of, meant) = names(&request.query);
            let stamp = second * SECOND;
            (of == "*" || of == stream.to_string())
                && meant.is_none_or(|meant| meant == *line)
                && (request.start..=request.end).contains(&stamp)
        };
        let is_visible = |entry: &Entry| {
            entry.1 * SECOND >= keep_from(&entry.0.to_string(), now) && !self.requests.values().any(|request| is_deleted(entry, request))
        };
        truth(self.entries.iter().filter(|entry| is_visible(entry)).copied())
    }
}

impl World {
    fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    /// What a reader sees, in any order.
    async fn visible(&self, catalog: &Catalog) -> Vec<Seen> {
        let rules = Rules::of_reader(self);
        let by_id: BTreeMap<u64, StreamErasure> =
            (0..4).map(|stream| (labels(stream).id().0, rules.of_stream(labels(stream).stored()))).collect();
        let (rows, _) = seen(catalog).await;
        sorted(rows.into_iter().filter(|(id, stamp, line, _)| by_id[id].keeps(*stamp, line.as_bytes())).collect())
    }

    async fn delete(&self, query: &str, start: i64, end: i64) -> TombstoneId {
        let request = Tombstone::requested(TombstoneId(Ulid::new()), query, start, end, self.now());
        self.catalog.commit(&tenant(), |_| Ok(Change::AddTombstone(request.clone()))).await.expect("commits");
        request.id
    }
}

async fn take(world: &mut World, model: &mut Model, step: &Step) {
    let options = CompactionOptions { settle: Duration::ZERO, ..options() };
    let (compactor, rules) = (world.compactor(&world.catalog, options), Rules::of_compaction(world));
    match step {
        Step::Flush { is_own, entries } => {
            world.flush(if *is_own { "OWN" } else { "OTHER" }, *is_own, entries).await;
            world.catalog.discover(|_, _| ()).await.expect("lists");
            model.entries.extend(entries.iter().copied());
        }
        Step::Delete { stream, line, start, length } => {
            let word = |number: &Option<u8>| number.map_or("*".to_owned(), |number| number.to_string());
            let query = format!("{} {}", word(stream), word(line));
            let (start, end) = (start * SECOND, (start + length) * SECOND);
            let id = world.delete(&query, start, end).await;
            model.requests.insert(id, Tombstone::requested(id, &query, start, end, world.now()));
        }
        Step::Cancel { which } => {
            let now = world.now();
            // Requests that came before another keep its pace; those of one time here are withdrawn together with none that is erased.
            let first_young =
                model.requests.values().filter(|request| now - request.created < CANCEL).nth(*which).map(|request| request.id);
            if let Some(id) = first_young {
                world.catalog.commit(&tenant(), |_| Ok(Change::CancelTombstone(id))).await.expect("not processed yet");
                model.requests.remove(&id);
            }
        }
        Step::Advance { seconds } => drop(world.now.fetch_add(seconds * SECOND, Ordering::Relaxed)),
        Step::Fold => drop(compactor.fold(&tenant(), rules, FoldWhen::AtOnce).await.expect("folds")),
        Step::Merge => drop(compactor.merge(&tenant(), rules, |_| true).await.expect("merges")),
        Step::Expire => drop(compactor.expire(&tenant(), edges(world.now()), rules).await.expect("expires")),
        Step::Erase => drop(compactor.erase(&tenant(), rules).await.expect("erases")),
    }
}

/// Lets everything become due and does all there is to do.
async fn settle(world: &mut World, model: &mut Model) {
    world.now.fetch_add(CANCEL, Ordering::Relaxed);
    let options = CompactionOptions { settle: Duration::ZERO, ..options() };
    let compactor = world.compactor(&world.catalog, options);
    while compactor.fold(&tenant(), Rules::of_compaction(world), FoldWhen::AtOnce).await.expect("folds").is_some() {}
    while compactor.expire(&tenant(), edges(world.now()), Rules::of_compaction(world)).await.expect("expires").is_some() {}
    while compactor.erase(&tenant(), Rules::of_compaction(world)).await.expect("erases").is_some() {}
    let manifest = world.catalog.manifest(&tenant());
    assert!(manifest.tombstones().all(|tombstone| tombstone.processed_at.is_some()), "a request was left over");
    assert_eq!(manifest.tombstones().len(), model.requests.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn what_is_named_is_never_seen_and_nothing_else_vanishes(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (mut world, mut model) = (World::new(), Model::default());
            for step in &steps {
                take(&mut world, &mut model, step).await;
                prop_assert_eq!(world.visible(&world.catalog).await, model.visible(world.now()), "after {:?}", step);
            }
            settle(&mut world, &mut model).await;
            prop_assert_eq!(world.visible(&world.catalog).await, model.visible(world.now()));
            // Now that requests are processed, the files themselves hold nothing of them.
            let rules = Rules::of_reader(&world);
            for (id, stamp, line, _) in seen(&world.catalog).await.0 {
                let stream = (0..4).find(|stream| labels(*stream).id().0 == id).expect("one of them");
                let of_stream = rules.of_stream(labels(stream).stored());
                prop_assert!(!of_stream.deleted.iter().any(|range| range.names(stamp, line.as_bytes())), "{} {} {}", stream, stamp, line);
            }
            let fresh = World::process(&world.store, &world.now);
            fresh.discover(|_, _| ()).await.expect("lists");
            prop_assert_eq!(world.visible(&fresh).await, model.visible(world.now()));
            Ok(())
        })?;
    }
}

/// A world with one folded file a stream-second, of stream 1, `seconds` long.
async fn folded(entries: &[Entry]) -> (World, Compactor) {
    let mut world = World::new();
    world.flush("W", true, entries).await;
    let compactor = world.compactor(&world.catalog, CompactionOptions::default());
    compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds");
    (world, compactor)
}

fn reasons(world: &World) -> Vec<RetireReason> {
    world.catalog.manifest(&tenant()).retired().map(|retired| retired.reason).collect()
}

#[tokio::test]
async fn a_file_wholly_past_its_retention_is_dropped_without_being_read() {
    let (world, compactor) = folded(&[(0, 86_390, 1, 0), (0, 86_391, 1, 0)]).await;
    world.now.fetch_add(60 * SECOND, Ordering::Relaxed);
    let read = world.catalog.read_bytes();
    let now = world.now();
    let expired = compactor.expire(&tenant(), edges(now), Rules::of_compaction(&world)).await.expect("expires").expect("it is past");
    assert_eq!((expired.dropped, expired.rewritten, expired.remaining), (1, 0, 0));
    // The footer alone, if that.
    assert!(world.catalog.read_bytes() - read <= crate::file::read::TAIL_GUESS, "{}", world.catalog.read_bytes() - read);
    assert_eq!((reasons(&world), world.catalog.manifest(&tenant()).files().len()), (vec![RetireReason::Retention], 0));
    assert_eq!(compactor.expire(&tenant(), edges(now), Rules::of_compaction(&world)).await.expect("expires"), None);
    assert_eq!(compactor.retention_counters().dropped_files.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_file_partly_past_its_retention_is_rewritten_once() {
    let (world, compactor) = folded(&[(0, 86_390, 1, 0), (0, 86_399, 1, 0), (1, 86_390, 1, 0)]).await;
    let rules = || Rules::of_compaction(&world);
    let expired = compactor.expire(&tenant(), edges(world.now()), rules()).await.expect("expires");
    assert_eq!(expired, None, "less than a quarter is past");
    world.now.fetch_add(6 * SECOND, Ordering::Relaxed);
    let expired = compactor.expire(&tenant(), edges(world.now()), rules()).await.expect("expires").expect("it is past");
    assert_eq!((expired.dropped, expired.rewritten), (0, 1));
    assert_eq!(compactor.expire(&tenant(), edges(world.now()), rules()).await.expect("expires"), None);
    let manifest = world.catalog.manifest(&tenant());
    assert_eq!(manifest.files().map(|file| (file.rows, file.level)).collect::<Vec<_>>(), [(2, 1)]);
}

#[tokio::test]
async fn a_request_for_lines_that_no_file_holds_is_processed_without_a_rewrite() {
    let (world, compactor) = folded(&[(1, 86_390, 1, 0), (1, 86_391, 1, 0), (3, 86_390, 2, 0)]).await;
    let id = world.delete("1 2", 0, DAY).await;
    assert_eq!(compactor.erase(&tenant(), Rules::of_compaction(&world)).await.expect("waits"), None, "it may still be withdrawn");
    world.now.fetch_add(CANCEL, Ordering::Relaxed);
    let done = compactor.erase(&tenant(), Rules::of_compaction(&world)).await.expect("erases");
    assert_eq!((done, reasons(&world)), (Some(Erased::Processed { request: id }), vec![]));
}

#[tokio::test]
async fn a_request_rewrites_what_it_names_in_part_and_drops_what_it_names_whole() {
    let (world, compactor) = folded(&[(1, 86_390, 1, 0), (1, 86_391, 2, 0), (3, 86_410, 2, 0)]).await;
    // Two days, so two files.
    assert_eq!(world.catalog.manifest(&tenant()).files().len(), 2);
    let id = world.delete("* 2", 0, 2 * DAY).await;
    let whole = world.delete("3 *", 0, 2 * DAY).await;
    world.now.fetch_add(CANCEL, Ordering::Relaxed);
    let percent = || {
        let manifest = world.catalog.manifest(&tenant());
        manifest.tombstone(id).map(|request| compactor.erased_percent(&manifest, request))
    };
    let (mut processed, mut percents) = (Vec::new(), vec![percent()]);
    while let Some(done) = compactor.erase(&tenant(), Rules::of_compaction(&world)).await.expect("erases") {
        percents.push(percent());
        if let Erased::Processed { request } = done {
            processed.push(request);
        }
    }
    assert_eq!(processed, [id, whole]);
    // Which of the files comes first is not certain.
    assert!(percents.is_sorted() && percents.iter().flatten().filter(|percent| **percent == 100).count() == 2, "{percents:?}");
    assert_eq!((percents.first(), percents.last()), (Some(&Some(0)), Some(&Some(100))));
    assert_eq!(reasons(&world), [RetireReason::Deleted, RetireReason::Deleted]);
    assert_eq!(sorted(seen(&world.catalog).await.0), truth([(1, 86_390, 1, 0)]));
    let counters = compactor.retention_counters();
    assert_eq!((counters.rewritten_files.load(Ordering::Relaxed), counters.dropped_files.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_request_waits_for_the_fold_of_segments_that_hold_what_it_names() {
    let (mut world, compactor) = folded(&[(1, 86_390, 1, 0)]).await;
    let id = world.delete("3 *", 0, DAY).await;
    world.now.fetch_add(CANCEL, Ordering::Relaxed);
    world.flush("W", true, &[(3, 86_390, 1, 0)]).await;
    assert_eq!(compactor.erase(&tenant(), Rules::of_compaction(&world)).await.expect("waits"), None);
    compactor.fold(&tenant(), Rules::of_compaction(&world), FoldWhen::AtOnce).await.expect("folds");
    assert_eq!(compactor.erase(&tenant(), Rules::of_compaction(&world)).await.expect("erases"), Some(Erased::Processed { request: id }));
    assert_eq!(sorted(seen(&world.catalog).await.0), truth([(1, 86_390, 1, 0)]));
}

#[tokio::test]
async fn files_dropped_for_their_size_are_gone_and_those_gone_already_are_passed_over() {
    let (world, compactor) = folded(&[(1, 86_390, 1, 0), (3, 86_410, 2, 0)]).await;
    let manifest = world.catalog.manifest(&tenant());
    let budget = manifest.files().map(|file| file.size).max().unwrap_or(0);
    let ids: Vec<FileId> = over_budget(manifest.files().map(|file| ((), file.as_ref())), budget).into_iter().map(|((), id)| id).collect();
    assert_eq!(compactor.drop_for_size(&tenant(), &ids).await.expect("drops"), 1);
    assert_eq!(compactor.drop_for_size(&tenant(), &ids).await.expect("passes over"), 0);
    assert_eq!(sorted(seen(&world.catalog).await.0), truth([(3, 86_410, 2, 0)]));
}
