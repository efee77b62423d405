//! What is due, and that deleting it harms nobody.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tailwater_faultstore::{Answer, Fault, Operation, Rule};

use super::*;

const DELAYS: RetireDelays = RetireDelays { compacted: Duration::from_secs(300), dropped: Duration::from_secs(86_400) };
const SECOND: i64 = 1_000_000_000;
const AGE: Duration = Duration::from_secs(86_400);

fn listed(versions: &[(u64, i64)]) -> Vec<ListedVersion> {
    versions.iter().map(|(version, modified)| ListedVersion { version: *version, size: 1, modified: *modified }).collect()
}

fn numbers(due: &[ListedVersion]) -> Vec<u64> {
    due.iter().map(|listed| listed.version).collect()
}

#[test]
fn delays_follow_the_longest_query() {
    assert_eq!(RetireDelays::for_query_timeout(Duration::from_secs(60)), DELAYS);
    assert_eq!(RetireDelays::for_query_timeout(Duration::from_secs(600)).compacted, Duration::from_secs(1200));
}

#[test]
fn old_versions_go_up_to_the_base_of_the_lowest_that_stays() {
    let keep = Duration::from_secs(100);
    let old = |version| (version, 0);
    let young = |version| (version, 950 * SECOND);
    let now = 1000 * SECOND;
    let versions = listed(&[old(62), old(63), old(64), old(65), young(66), young(67)]);
    assert_eq!(first_kept(&versions, now, keep), Some(66));
    assert_eq!(numbers(&versions_due(&versions, 64)), [62, 63]);
    assert_eq!(first_kept(&listed(&[old(62), old(63)]), now, keep), Some(63), "the newest stays, however old");
    assert_eq!(first_kept(&[], now, keep), None);
    // A ghost, made again below the others, stays until it is old, and so does all above it.
    assert_eq!(first_kept(&listed(&[young(5), old(64), old(65)]), now, keep), Some(5));
    assert_eq!(first_kept(&versions, i64::MIN, keep), Some(62), "a clock that went back deletes nothing");
}

#[test]
fn writers_are_dropped_when_nothing_of_them_could_show_again() {
    let mut state = ManifestState::empty(tenant());
    for (writer, committed_at) in [("idle", 0), ("ghost", 0), ("ahead", 0), ("busy", 50 * SECOND)] {
        state.watermarks.insert(writer.to_owned(), Watermark { sequence: 7, committed_at });
    }
    let lowest = BTreeMap::from([("ghost".to_owned(), 7), ("ahead".to_owned(), 8)]);
    let due = writers_due(&state, &lowest, 100 * SECOND, Duration::from_secs(100));
    assert_eq!(due, [("ahead".to_owned(), 7), ("idle".to_owned(), 7)]);
}

#[test]
fn requests_filter_until_their_lines_would_be_refused() {
    let mut state = ManifestState::empty(tenant());
    for (number, processed_at) in [(1, Some(0)), (2, None), (3, Some(8 * DAY))] {
        let tombstone = Tombstone { processed_at, ..Tombstone::requested(TombstoneId(Ulid(number)), "{a=\"b\"}", 0, DAY, 0) };
        state.tombstones.insert(tombstone.id, Arc::new(tombstone));
    }
    let week = Some(7 * AGE);
    assert!(tombstones_due(&state, 9 * DAY - 1, week).is_empty());
    assert_eq!(tombstones_due(&state, 9 * DAY, week), [TombstoneId(Ulid(1)), TombstoneId(Ulid(3))]);
    assert!(tombstones_due(&state, i64::MAX, None).is_empty(), "without a limit lines of any age are taken");
}

#[tokio::test(start_paused = true)]
async fn retired_objects_stay_for_pinned_readers_then_go_and_are_forgotten() {
    let world = World::new();
    let log = world.log("a");
    let (first, second, third) = (world.upload(1, 5).await, world.upload(2, 5).await, world.upload(3, 5).await);
    commit(&log, fold("W", None, 4, vec![first.clone(), second.clone()])).await.expect("no rival");
    commit(&log, replace(&[&first], vec![third], &[])).await.expect("no rival");
    let drop = FileReplacement { remove: vec![second.id], reason: RetireReason::Retention, add: vec![], relied_on: vec![] };
    commit(&log, Change::ReplaceFiles(drop)).await.expect("no rival");

    let nothing = clean_retired(&log, NOW + 300 * SECOND - 1, &DELAYS, |_| ()).await.expect("no fault");
    assert_eq!(nothing, Cleaned::default());
    let seen = Mutex::new(Vec::new());
    let cleaned = clean_retired(&log, NOW + 300 * SECOND, &DELAYS, |progress| seen.lock().expect("one thread").push(progress)).await;
    let one = Cleaned { objects: 1, bytes: first.size };
    assert_eq!(cleaned.expect("no fault"), one);
    assert_eq!(seen.into_inner().expect("one thread"), [CleanProgress { done: one, total: 1 }]);
    assert!(!world.has(&first).await && world.has(&second).await);
    assert_eq!(world.truth().await.retired().map(|retired| retired.id).collect::<Vec<_>>(), [second.id]);

    // Two replicas clean up at once; deletes fail now and then.
    world.faults.script(Rule::new(Operation::Delete, Fault::Done(Answer::Timeout)).times(2));
    let other = world.log("b");
    let later = NOW + DAY;
    let (one, two) = tokio::join!(clean_retired(&log, later, &DELAYS, |_| ()), clean_retired(&other, later, &DELAYS, |_| ()));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert!(!world.has(&second).await);
    assert_eq!(world.truth().await.retired().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn versions_are_deleted_ascending_and_what_stays_can_be_read() {
    let world = World::new();
    let log = world.log("a");
    for number in 0..70_u64 {
        commit(&log, fold("W", number.checked_sub(1), number, vec![])).await.expect("no rival");
    }
    assert_eq!(clean_versions(&log, NOW, AGE, |_| ()).await.expect("no fault"), Cleaned::default(), "all are young");
    // The third delete has no effect: what lies above stays, too.
    world.faults.script(Rule::new(Operation::Delete, Fault::Slow(Duration::ZERO)).on("manifest").times(2));
    world.faults.script(Rule::new(Operation::Delete, Fault::Refused(Answer::Denied)).on("manifest"));
    assert!(clean_versions(&log, i64::MAX, AGE, |_| ()).await.is_err());
    assert_eq!(world.versions().await.first(), Some(&3));
    let cleaned = clean_versions(&log, i64::MAX, AGE, |_| ()).await.expect("no fault");
    assert_eq!(cleaned.objects, 61);
    assert_eq!(world.versions().await, (64..=70).collect::<Vec<u64>>());
    assert_eq!(&world.truth().await, &log.known());
    commit(&log, fold("W", Some(69), 70, vec![])).await.expect("goes on");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_hides_a_lower_number_stops_the_clean_up() {
    let world = World::new();
    for sequence in [0, 1, 2] {
        world.store.create(&paths::segment("W", sequence), Bytes::from_static(b"seg"), PATIENCE).await.expect("no fault");
    }
    let error = clean_segments(&world.store, "W", &[(1, 3), (2, 3)], |_| ()).await.expect_err("0 is there");
    assert!(matches!(&error, CleanError::StillThere { key } if *key == paths::segment("W", 0)), "{error}");
    let cleaned = clean_segments(&world.store, "W", &[(0, 3), (1, 3)], |_| ()).await.expect("no fault");
    assert_eq!(cleaned, Cleaned { objects: 2, bytes: 6 });
    assert_eq!(clean_segments(&world.store, "W", &[(2, 3)], |_| ()).await.expect("1 is gone").objects, 1);
}

#[tokio::test(start_paused = true)]
async fn idle_writers_are_dropped_once_their_segments_are_gone() {
    let world = World::new();
    let log = world.log("a");
    for writer in ["V", "W"] {
        commit(&log, fold(writer, None, 4, vec![])).await.expect("no rival");
    }
    world.bucket.create(&paths::segment("W", 4), Bytes::from_static(b"seg"), PATIENCE).await.expect("no fault");
    assert_eq!(drop_idle_writers(&log, NOW + DAY - 1, AGE).await.expect("no fault"), 0);
    assert_eq!(drop_idle_writers(&log, NOW + DAY, AGE).await.expect("no fault"), 1);
    assert_eq!(world.truth().await.watermarks().keys().collect::<Vec<_>>(), ["W"]);
    world.bucket.delete(&paths::segment("W", 4)).await.expect("no fault");
    assert_eq!(drop_idle_writers(&log, NOW + DAY, AGE).await.expect("no fault"), 1);
    assert_eq!(drop_idle_writers(&log, NOW + DAY, AGE).await.expect("no fault"), 0);
}

/// By the clock of the store in memory, which is the machine's.
async fn time_of_store(world: &World, file: &DataFile) -> i64 {
    let listed = world.bucket.list_after(&paths::data_files(&tenant()), None).await.expect("no fault");
    listed.iter().find(|object| object.key == file.key(&tenant())).expect("listed").modified
}

#[tokio::test(start_paused = true)]
async fn objects_that_nobody_names_are_swept_when_they_are_old() {
    let world = World::new();
    let log = world.log("a");
    let (live, input, orphan) = (world.upload(1, 5).await, world.upload(2, 5).await, world.upload(3, 5).await);
    commit(&log, fold("W", None, 4, vec![live.clone(), input.clone()])).await.expect("no rival");
    commit(&log, replace(&[&input], vec![], &[])).await.expect("no rival");
    let foreign = format!("{}/README", paths::data_files(&tenant()));
    world.bucket.create(&foreign, Bytes::from_static(b"x"), PATIENCE).await.expect("no fault");

    let stored = time_of_store(&world, &orphan).await;
    assert_eq!(sweep_orphans(&log, stored + DAY - 1, AGE, |_| ()).await.expect("no fault"), Cleaned::default());
    let swept = sweep_orphans(&log, stored + 2 * DAY, AGE, |_| ()).await.expect("no fault");
    assert_eq!(swept, Cleaned { objects: 1, bytes: orphan.size });
    assert!(world.has(&live).await && world.has(&input).await && !world.has(&orphan).await);
    assert!(world.bucket.size(&foreign).await.expect("no fault").is_some());
    assert!(!world.truth().await.names(orphan.id));
    assert_eq!(sweep_orphans(&log, stored + 2 * DAY, AGE, |_| ()).await.expect("no fault"), Cleaned::default());
}

#[tokio::test(start_paused = true)]
async fn what_a_version_of_the_last_day_names_is_no_orphan() {
    let world = World::new();
    let log = world.log("a");
    let file = world.upload(1, 5).await;
    commit(&log, fold("W", None, 4, vec![file.clone()])).await.expect("no rival");
    // The newest version does not know it any more, a reader of the one before may.
    log.rebuild(RebuiltContents::default()).await.expect("rebuilds");
    let stored = time_of_store(&world, &file).await;
    let versions = world.bucket.list_after(&paths::manifests(&tenant()), None).await.expect("no fault");
    let [before, rebuilt] = [0, 1].map(|at: usize| versions[at].modified);
    assert!(stored < before && before < rebuilt, "{stored} {before} {rebuilt}");
    // Both versions young; the first old, but the newest until less than a day ago; both old.
    for (now, objects) in [(stored + DAY, 0), (before + DAY, 0), (rebuilt + DAY - 1, 0), (rebuilt + DAY, 1)] {
        assert_eq!(sweep_orphans(&log, now, AGE, |_| ()).await.expect("no fault").objects, objects, "{now}");
    }
}

/// Whichever version is damaged, or the base or all of them are lost: nothing that any of them names is deleted.
#[tokio::test(start_paused = true)]
async fn without_an_intact_manifest_nothing_is_swept() {
    for lost in [vec![1], vec![2], vec![1, 2]] {
        let world = World::new();
        let log = world.log("a");
        let files = [world.upload(1, 5).await, world.upload(2, 5).await];
        commit(&log, fold("W", None, 4, vec![files[0].clone()])).await.expect("no rival");
        commit(&log, fold("W", Some(4), 5, vec![files[1].clone()])).await.expect("no rival");
        let later = time_of_store(&world, &files[1]).await + 9 * DAY;
        for is_gone in [false, true] {
            if is_gone && lost == [2] {
                // Then the first is the newest.
                continue;
            }
            for version in &lost {
                let key = paths::manifest(&tenant(), *version);
                world.bucket.delete(&key).await.expect("no fault");
                if !is_gone {
                    world.bucket.create(&key, Bytes::from_static(b"damaged"), PATIENCE).await.expect("no fault");
                }
            }
            // One that starts now, and one that has known the manifest before.
            for log in [&world.log("new"), &log] {
                let swept = sweep_orphans(log, later, AGE, |_| ()).await;
                assert!(swept.is_err() || swept.is_ok_and(|swept| swept == Cleaned::default()), "{lost:?}, gone: {is_gone}");
                for file in &files {
                    assert!(world.has(file).await, "{lost:?}, gone: {is_gone}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_stalled_while_his_output_was_swept_cannot_list_it() {
    for sweeps in [true, false] {
        let world = World::new();
        let log = world.log("a");
        commit(&log, fold("V", None, 0, vec![])).await.expect("no rival");
        let output = world.upload(1, 5).await;
        let stored = time_of_store(&world, &output).await;
        // Between looking for its output and putting its version it stands still.
        world.faults.script(Rule::new(Operation::Put, Fault::Slow(Duration::from_secs(10))).on("00002.pb"));
        let stalled = world.log("stalled");
        let committing = async { commit(&stalled, fold("W", None, 4, vec![output.clone()])).await };
        let sweeping = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let sweeper = world.log_on(&world.bucket, "sweeper");
            if sweeps {
                sweep_orphans(&sweeper, stored + DAY, AGE, |_| ()).await.expect("no fault");
                assert!(!world.has(&output).await);
            }
        };
        let (outcome, ()) = tokio::join!(committing, sweeping);
        if sweeps {
            assert_eq!(conflict(outcome), Conflict::FileMissing { file: output.id, expected: output.size, found: None });
            assert_eq!(world.truth().await.files().len(), 0);
        } else {
            assert_eq!(outcome.expect("nobody came between").files().len(), 1);
        }
    }
}
