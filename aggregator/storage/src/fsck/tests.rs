//! Whatever is damaged is named; what is whole is not; a manifest made anew shows the same lines.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use ulid::Ulid;

use super::*;
use crate::entry::StreamLabels;
use crate::manifest::{Change, ManifestLog, Tombstone, TombstoneId, encode_request};
use crate::pairs::Pairs;
use crate::small_store::{Entry, SmallStore, tenant, truth};
use crate::store::Day;

async fn report(world: &SmallStore) -> Report {
    check(&world.store, None, |_| ()).await.expect("reads")
}

fn keys(report: &Report, severity: Severity) -> Vec<&str> {
    report.findings.iter().filter(|finding| finding.severity == severity).map(|finding| finding.key.as_str()).collect()
}

/// Two data files, one of them made of two folds, and two segments of which one is folded.
async fn small() -> SmallStore {
    let mut world = SmallStore::new().await;
    for round in 0..2u8 {
        let entries: Vec<Entry> = (0..40).map(|at| (at as u8 % 5, i64::from(round) * 50 + at, at as u8 % 7, at as u8 % 3)).collect();
        world.flush("W", &entries).await;
        world.compact(false).await;
    }
    world.flush("W", &[(0, 500, 1, 1), (1, 501, 2, 2)]).await;
    let key = paths::segment("W", 0);
    world.delete(&key).await;
    world
}

fn runner() -> TestRunner {
    TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn drawn(runner: &mut TestRunner, range: std::ops::Range<usize>) -> usize {
    range.new_tree(runner).expect("a number").current()
}

/// Flips a thousand bits of a part of an object and cuts it a thousand times there; each must be found.
async fn assert_all_damage_is_found(world: &SmallStore, key: &str, part: std::ops::Range<usize>) {
    let whole = world.bytes(key).await;
    assert_eq!(keys(&report(world).await, Severity::Damage), [""; 0]);
    let mut runner = runner();
    for _ in 0..1000 {
        let bit = drawn(&mut runner, part.start * 8..part.end * 8);
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        world.overwrite(key, flipped).await;
        assert!(keys(&report(world).await, Severity::Damage).contains(&key), "bit {bit} of {key}");
        let cut = drawn(&mut runner, part.clone());
        world.overwrite(key, whole.slice(..cut)).await;
        assert!(keys(&report(world).await, Severity::Damage).contains(&key), "{key} cut at {cut}");
    }
    world.overwrite(key, whole).await;
    assert!(report(world).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flipped_bits_and_truncations_of_a_segment_are_found() {
    let world = small().await;
    let key = paths::segment("W", 2);
    let length = world.bytes(&key).await.len();
    assert_all_damage_is_found(&world, &key, 0..length).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flipped_bits_and_truncations_of_a_data_file_are_found() {
    let world = small().await;
    let key = world.catalog.manifest(&tenant()).files().next().expect("one").key(&tenant());
    let length = world.bytes(&key).await.len();
    assert_all_damage_is_found(&world, &key, 0..length).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flipped_bits_and_truncations_of_a_text_index_are_found() {
    let world = small().await;
    let manifest = world.catalog.manifest(&tenant());
    let file = manifest.files().next().expect("one");
    let index = file.index.expect("it has an index");
    assert_all_damage_is_found(&world, &file.key(&tenant()), index.offset as usize..(index.offset + index.length) as usize).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flipped_bits_and_truncations_of_manifest_versions_are_found() {
    let world = small().await;
    let versions = world.listed(&paths::manifests(&tenant())).await;
    assert!(versions.len() >= 2);
    for object in [versions.first(), versions.last()].into_iter().flatten() {
        assert_all_damage_is_found(&world, &object.key, 0..object.size as usize).await;
    }
}

#[tokio::test]
async fn a_whole_store_is_clean_and_everything_in_it_was_read() {
    let world = small().await;
    let report = report(&world).await;
    assert!(report.is_clean(), "{report:?}");
    let manifest = world.catalog.manifest(&tenant());
    let rows: u64 = manifest.files().map(|file| file.rows).sum();
    // And the segment that is folded as well as the one that is not.
    assert_eq!((report.rows, report.files), (rows + 40 + 2, manifest.files().len() as u64 + 2));
    assert_eq!(keys(&report, Severity::Note), [paths::segment("W", 1)]);
    assert_eq!(report.objects, world.listed("v1").await.len() as u64);
    assert_eq!(report.leaks, 0);
}

#[tokio::test]
async fn what_is_missing_is_damage() {
    let mut world = small().await;
    world.flush("W", &[(2, 600, 1, 1)]).await;
    let lost = world.catalog.manifest(&tenant()).files().next().expect("one").key(&tenant());
    world.delete(&lost).await;
    let segment = paths::segment("W", 2);
    world.delete(&segment).await;
    let found = report(&world).await;
    assert_eq!(keys(&found, Severity::Damage), [segment.as_str(), lost.as_str()]);

    // The lowest of a writer: nobody folded it.
    let world = small().await;
    world.delete(&paths::segment("W", 1)).await;
    assert!(report(&world).await.is_clean());
    let mut world = small().await;
    world.flush("W", &[(2, 600, 1, 1)]).await;
    world.delete(&paths::segment("W", 1)).await;
    world.delete(&paths::segment("W", 2)).await;
    assert_eq!(keys(&report(&world).await, Severity::Damage), [paths::segment("W", 2)]);
}

#[tokio::test]
async fn versions_that_are_missing_or_do_not_follow_each_other_are_damage() {
    let world = small().await;
    let versions = world.listed(&paths::manifests(&tenant())).await;
    let (first, last) = (&versions[0].key, &versions[versions.len() - 1].key);
    let whole = world.bytes(first).await;
    world.delete(first).await;
    let found = report(&world).await;
    assert!(keys(&found, Severity::Damage).contains(&last.as_str()), "its base is gone: {found:?}");

    world.overwrite(first, whole).await;
    let (third, log) = (paths::manifest(&tenant(), 3), ManifestLog::new(world.store.clone(), tenant(), "x", world.clock()));
    let request = Tombstone::requested(TombstoneId(Ulid(9)), "{}", 0, 1, 0);
    log.commit(|_| Ok(Change::AddTombstone(request.clone()))).await.expect("commits");
    log.commit(|_| Ok(Change::CancelTombstone(request.id))).await.expect("commits");
    assert!(report(&world).await.is_clean());
    world.delete(&third).await;
    assert_eq!(keys(&report(&world).await, Severity::Damage), [third]);
}

#[tokio::test]
async fn what_lies_there_in_vain_is_a_leak() {
    let world = small().await;
    let file = world.catalog.manifest(&tenant()).files().next().expect("one").clone();
    let orphan = paths::data_file(&tenant(), file.day, file.level, Ulid(77));
    world.overwrite(&orphan, world.bytes(&file.key(&tenant())).await).await;
    world.overwrite("v1/t/data/notes.txt", "x").await;
    let request = Tombstone::requested(TombstoneId(Ulid(5)), "{a=\"b\"}", 1, 2, 3);
    let forgotten = paths::tombstone(&tenant(), request.id.0);
    world.overwrite(&forgotten, encode_request(&request)).await;
    let found = report(&world).await;
    let mut expected = [orphan.as_str(), "v1/t/data/notes.txt", forgotten.as_str()];
    expected.sort_unstable();
    assert_eq!((keys(&found, Severity::Leak), found.is_clean()), (expected.to_vec(), true));
}

#[tokio::test]
async fn a_file_under_another_name_and_one_that_the_manifest_tells_otherwise_are_damage() {
    let world = small().await;
    let manifest = world.catalog.manifest(&tenant());
    let (first, second) = (manifest.files().next().expect("one"), manifest.files().last().expect("two"));
    assert_ne!(first.id, second.id);
    // A whole file of ours, in the place of another.
    world.overwrite(&first.key(&tenant()), world.bytes(&second.key(&tenant())).await).await;
    let found = report(&world).await;
    assert!(keys(&found, Severity::Damage).contains(&first.key(&tenant()).as_str()), "{found:?}");
    let other = paths::data_file(&tenant(), Day::of(0), 2, Ulid(78));
    world.overwrite(&other, world.bytes(&second.key(&tenant())).await).await;
    assert!(keys(&report(&world).await, Severity::Damage).contains(&other.as_str()), "its level is another one");
    world.overwrite(&paths::segment("V", 0), world.bytes(&paths::segment("W", 2)).await).await;
    assert!(keys(&report(&world).await, Severity::Damage).contains(&paths::segment("V", 0).as_str()));
    world.overwrite(paths::CLUSTER, "{").await;
    assert!(keys(&report(&world).await, Severity::Damage).contains(&paths::CLUSTER));
}

#[tokio::test]
async fn progress_ends_with_everything_done() {
    let world = small().await;
    let told = Mutex::new(Vec::new());
    check(&world.store, None, |progress| told.lock().push(progress)).await.expect("reads");
    let told = told.into_inner();
    let last = told.last().expect("some");
    assert_eq!((last.done, last.bytes_done), (last.total, last.bytes_total));
    assert_eq!(told.len() as u64, last.total);
}

async fn rebuilt(world: &SmallStore, skip_damaged: bool) -> Result<Rebuilt, RebuildError> {
    rebuild(&world.store, &tenant(), "fsck", world.clock(), &RebuildOptions { skip_damaged }, |_| ()).await
}

#[tokio::test]
async fn a_damaged_file_stops_a_rebuild_unless_it_may_be_skipped() {
    let world = small().await;
    let before = world.seen().await;
    let version = world.catalog.manifest(&tenant()).version();
    // The older one, whose segment is gone: files made within a millisecond are in no order.
    let lost = world.catalog.manifest(&tenant()).files().min_by_key(|file| file.arrived).expect("one").clone();
    let key = lost.key(&tenant());
    let mut damaged = world.bytes(&key).await.to_vec();
    damaged[30] ^= 4;
    world.overwrite(&key, damaged).await;
    let refused = rebuilt(&world, false).await.expect_err("damaged").to_string();
    assert!(refused.contains(&key) && refused.contains("--skip-damaged"), "{refused}");
    assert_eq!(world.listed(&paths::manifests(&tenant())).await.len() as u64, version);
    let done = rebuilt(&world, true).await.expect("goes on");
    assert_eq!(done.skipped.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), [key.as_str()]);
    // Segment 1 is visible again; it has none of the lines that were lost.
    assert_eq!(world.seen().await.len(), before.len() - lost.rows as usize);
}

#[tokio::test]
async fn delete_requests_and_other_tenants_survive_a_rebuild() {
    let mut world = small().await;
    let request = Tombstone::requested(TombstoneId(Ulid(5)), "{a=\"b\"}", 1, 2, 3);
    world.overwrite(&paths::tombstone(&tenant(), request.id.0), encode_request(&request)).await;
    let other = crate::entry::PushBatch {
        tenant: TenantId::new("other"),
        streams: vec![{
            let mut stream =
                crate::entry::StreamEntries::new(std::sync::Arc::new(StreamLabels::new(Pairs::from_pairs([("a", "b")]), None)));
            let handle = stream.intern(crate::entry::Metadata::default());
            stream.push(1, "line", handle);
            stream
        }],
    };
    world.flush_of("W", &[other]).await;
    for object in world.listed(&paths::manifests(&tenant())).await {
        world.delete(&object.key).await;
    }
    let done = rebuilt(&world, false).await.expect("rebuilds");
    assert_eq!((done.requests, done.version), (1, 1));
    let log = ManifestLog::new(world.store.clone(), tenant(), "x", world.clock());
    assert_eq!(log.load().await.expect("reads").tombstones().next().map(|kept| kept.query.clone()), Some(request.query));
    let nothing = rebuild(&world.store, &TenantId::new("other"), "x", world.clock(), &RebuildOptions::default(), |_| ()).await;
    assert!(matches!(nothing, Err(RebuildError::NothingThere { .. })), "{nothing:?}");
}

/// How the manifest is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Nothing,
    Newest,
    NewestFlipped,
    Every,
    AllButTheNewest,
}

async fn lose(world: &SmallStore, loss: Loss) {
    let versions = world.listed(&paths::manifests(&tenant())).await;
    let keys: Vec<&str> = versions.iter().map(|object| object.key.as_str()).collect();
    let Some((newest, older)) = keys.split_last() else { return };
    match loss {
        Loss::Nothing => {}
        Loss::Newest => world.delete(newest).await,
        Loss::NewestFlipped => {
            let mut bytes = world.bytes(newest).await.to_vec();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            world.overwrite(newest, Bytes::from(bytes)).await;
        }
        Loss::Every | Loss::AllButTheNewest => {
            for key in older {
                world.delete(key).await;
            }
            if matches!(loss, Loss::Every) {
                world.delete(newest).await;
            }
        }
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    // Around midnight, so that days are cut.
    (0u8..4, 86_392i64..86_408, 0u8..3, 0u8..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_rebuilt_manifest_shows_the_same_lines(
        rounds in proptest::collection::vec((proptest::collection::vec(proptest::collection::vec(entry(), 0..12), 1..4), any::<bool>()), 1..5),
        loss in prop_oneof![Just(Loss::Nothing), Just(Loss::Newest), Just(Loss::NewestFlipped), Just(Loss::Every), Just(Loss::AllButTheNewest)],
        segments_are_gone in any::<bool>(), with_orphan in any::<bool>(), again in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = SmallStore::new().await;
            for (flushes, merges) in &rounds {
                for (number, entries) in flushes.iter().enumerate() {
                    world.flush(if number % 2 == 0 { "V" } else { "W" }, entries).await;
                }
                // Nothing is ever deleted here: all generations of a file lie side by side.
                world.compact(*merges).await;
            }
            let all: Vec<Entry> = rounds.iter().flat_map(|(flushes, _)| flushes).flatten().copied().collect();
            let truth = truth(all);
            prop_assert_eq!(world.seen().await, truth.clone());
            let manifest = world.catalog.manifest(&tenant());
            if segments_are_gone {
                for object in world.listed(paths::SEGMENTS).await {
                    world.delete(&object.key).await;
                }
            }
            if with_orphan && let Some(file) = manifest.files().next() {
                let orphan = paths::data_file(&tenant(), file.day, 1, Ulid::new());
                let copy = world.bytes(&file.key(&tenant())).await;
                // Under its own level, or it would not be what its name says.
                if file.level == 1 {
                    world.overwrite(&orphan, copy).await;
                }
            }
            if truth.is_empty() {
                return Ok(());
            }
            lose(&world, loss).await;
            for _ in 0..1 + usize::from(again) {
                let done = rebuilt(&world, false).await.expect("rebuilds");
                prop_assert_eq!(world.seen().await, truth.clone(), "{:?}", done);
                // Not only because repetitions are left out at read: no line is in two files.
                prop_assert_eq!(done.rows, truth.len() as u64, "{:?}", done);
                let found = report(&world).await;
                prop_assert!(found.is_clean() || !matches!(loss, Loss::Nothing | Loss::Every), "{:?}", found);
                prop_assert_eq!(found.leaks, 0, "{:?}", found);
                if again {
                    lose(&world, Loss::Every).await;
                }
            }
            if again {
                rebuilt(&world, false).await.expect("rebuilds");
            }
            // The program goes on: what comes later is folded and merged with it.
            let later: Vec<Entry> = vec![(0, 86_400, 1, 1), (3, 86_401, 2, 0)];
            world.now.fetch_add(1, Ordering::Relaxed);
            let mut fresh = world.reopened();
            fresh.flush("LATER", &later).await;
            fresh.compact(true).await;
            let expected = crate::small_store::truth(rounds.iter().flat_map(|(flushes, _)| flushes).flatten().copied().chain(later));
            prop_assert_eq!(fresh.seen().await, expected);
            Ok(())
        })?;
    }
}
