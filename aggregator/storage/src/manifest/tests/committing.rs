//! One log, every kind of answer; rivals; processes that stood still.

use tailwater_faultstore::{Answer, Fault, Operation, Rule};

use super::*;

const ANSWERS: [Answer; 7] =
    [Answer::Timeout, Answer::Reset, Answer::ServerError, Answer::SlowDown, Answer::Conflict, Answer::Exists, Answer::Never];

#[tokio::test(start_paused = true)]
async fn versions_follow_each_other_and_a_new_process_reads_them() {
    let world = World::new();
    let log = world.log("a");
    assert_eq!(log.load().await.expect("no fault").version(), 0);
    for number in 0..70 {
        let file = world.upload(u128::from(number) + 1, number).await;
        let state = commit(&log, fold("W", number.checked_sub(1), number, vec![file])).await.expect("no rival");
        assert_eq!(state.version(), number + 1);
    }
    let truth = world.truth().await;
    assert_eq!((truth.as_ref(), truth.files().len(), truth.author()), (log.known().as_ref(), 70, "a"));
    assert_eq!(tenants(&world.store).await.expect("no fault"), [tenant()]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_told_of_newer_versions_only() {
    let world = World::new();
    let (writer, reader) = (world.log("w"), world.log("r"));
    let known = reader.load().await.expect("no fault");
    assert!(reader.refresh(&known).await.expect("no fault").is_none());
    commit(&writer, fold("W", None, 0, vec![])).await.expect("no rival");
    let newer = reader.refresh(&known).await.expect("no fault").expect("newer");
    assert_eq!(newer.version(), 1);
    assert!(reader.refresh(&newer).await.expect("no fault").is_none());
}

#[tokio::test(start_paused = true)]
async fn whatever_a_put_is_answered_the_outcome_is_known() {
    for before in [0, 1] {
        for answer in ANSWERS {
            for fault in [Fault::Done(answer), Fault::Refused(answer)] {
                let world = World::new();
                let log = world.log("a");
                for number in 0..before {
                    commit(&log, fold("V", None, number, vec![])).await.expect("no fault yet");
                }
                world.faults.script(Rule::new(Operation::Put, fault).on("manifest"));
                let state = commit(&log, fold("W", None, 0, vec![])).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
                assert_eq!(state.version(), before + 1, "{fault:?}");
                assert_eq!(&world.truth().await, &state, "{fault:?}");
                assert_eq!(world.versions().await.len() as u64, before + 1, "{fault:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_make_a_rivals_version_ours() {
    for answer in ANSWERS {
        let world = World::new();
        let (slow, rival) = (world.log("slow"), world.log("rival"));
        commit(&rival, fold("V", None, 0, vec![])).await.expect("no rival");
        slow.load().await.expect("no fault");
        commit(&rival, fold("W", None, 0, vec![])).await.expect("no rival");
        // The listing does not show the rival's version: the put meets it, and its answer is lost.
        world.faults.lag_listings(1);
        world.faults.script(Rule::new(Operation::Put, Fault::Refused(answer)).on("manifest"));
        let found = conflict(commit(&slow, fold("W", None, 0, vec![])).await);
        assert_eq!(found, Conflict::WatermarkMoved { writer: "W".into(), expected: None, found: Some(0) }, "{answer:?}");
        assert_eq!(world.truth().await.author(), "rival");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_told_is_reported_as_such_and_may_land_later() {
    let world = World::new();
    let log = world.log("a");
    let file = world.upload(1, 5).await;
    world.faults.script(Rule::new(Operation::Put, Fault::Held(Answer::Timeout)).always());
    let error = commit(&log, fold("W", None, 0, vec![file.clone()])).await.expect_err("nobody knows");
    assert!(matches!(error, CommitError::Unknown { version: 1, .. }), "{error}");
    assert_eq!(world.truth().await.version(), 0);
    world.faults.heal();
    assert_eq!(world.faults.release_held().await, 1, "all held puts are of one name");
    assert_eq!(world.truth().await.files().len(), 1);
    let again = conflict(commit(&log, fold("W", None, 0, vec![file])).await);
    assert_eq!(again, Conflict::WatermarkMoved { writer: "W".into(), expected: None, found: Some(0) });
}

#[tokio::test(start_paused = true)]
async fn objects_that_show_late_are_waited_for() {
    let world = World::new();
    let log = world.log("a");
    commit(&log, fold("W", None, 0, vec![])).await.expect("no fault yet");
    let missing = || Rule::new(Operation::Get, Fault::Refused(Answer::NotFound)).on("manifest").times(3);
    world.faults.script(missing());
    assert_eq!(world.log("b").load().await.expect("shown at last").version(), 1);
    world.faults.script(Rule::new(Operation::Put, Fault::Done(Answer::Timeout)).on("manifest"));
    world.faults.script(missing());
    assert_eq!(commit(&log, fold("W", Some(0), 1, vec![])).await.expect("shown at last").version(), 2);
}

#[tokio::test(start_paused = true)]
async fn listings_that_lag_delay_readers_and_never_break_commits() {
    let world = World::new();
    let (first, second) = (world.log("first"), world.log("second"));
    world.faults.lag_listings(5);
    for number in 0..10_u64 {
        let log = if number % 2 == 0 { &first } else { &second };
        let change = |state: &ManifestState| {
            let from = state.watermark("W").map(|watermark| watermark.sequence);
            Ok(fold("W", from, from.map_or(0, |from| from + 1), vec![]))
        };
        assert_eq!(log.commit(change).await.expect("commits").version(), number + 1);
    }
    let reader = world.log("reader").load().await.expect("no fault");
    assert_eq!((reader.version(), world.truth().await.version()), (5, 10));
}

#[tokio::test(start_paused = true)]
async fn of_two_compactors_with_the_same_inputs_one_wins() {
    let world = World::new();
    let (first, second) = (world.log("first"), world.log("second"));
    let input = world.upload(1, 5).await;
    commit(&first, fold("W", None, 4, vec![input.clone()])).await.expect("no rival");
    let (one, other) = (world.upload(2, 5).await, world.upload(3, 5).await);
    let race = (commit(&first, replace(&[&input], vec![one], &[])), commit(&second, replace(&[&input], vec![other], &[])));
    let (first, second) = tokio::join!(race.0, race.1);
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    assert_eq!(conflict(lost), Conflict::InputGone { file: id(1) });
    let truth = world.truth().await;
    assert_eq!(truth, won.expect("one wins"));
    assert_eq!((truth.files().len(), truth.version()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn of_two_folds_of_the_same_segments_one_wins() {
    let world = World::new();
    let (one, other) = (world.upload(1, 5).await, world.upload(2, 5).await);
    let (first, second) = (world.log("first"), world.log("second"));
    let (first, second) = tokio::join!(commit(&first, fold("W", None, 4, vec![one])), commit(&second, fold("W", None, 4, vec![other])));
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
    let lost = if first.is_ok() { second } else { first };
    assert_eq!(conflict(lost), Conflict::WatermarkMoved { writer: "W".into(), expected: None, found: Some(4) });
    assert_eq!(world.truth().await.files().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_relied_on_each_others_input_one_fails() {
    let world = World::new();
    let (first, second) = (world.log("first"), world.log("second"));
    let (left, right) = (world.upload(1, 5).await, world.upload(2, 5).await);
    commit(&first, fold("W", None, 4, vec![left.clone(), right.clone()])).await.expect("no rival");
    let (from_left, from_right) = (world.upload(3, 4).await, world.upload(4, 4).await);
    let race =
        (commit(&first, replace(&[&left], vec![from_left], &[&right])), commit(&second, replace(&[&right], vec![from_right], &[&left])));
    let (first, second) = tokio::join!(race.0, race.1);
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
    let lost = conflict(if first.is_ok() { second } else { first });
    assert!(matches!(lost, Conflict::ReliedOnGone { .. }), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_wholly_in_the_store_is_not_listed() {
    let world = World::new();
    let log = world.log("a");
    let absent = commit(&log, fold("W", None, 0, vec![file(1, 1)])).await;
    assert_eq!(conflict(absent), Conflict::FileMissing { file: id(1), expected: 11, found: None });
    let uploaded = world.upload(2, 1).await;
    let longer = commit(&log, fold("W", None, 0, vec![DataFile { size: 12, ..uploaded }])).await;
    assert_eq!(conflict(longer), Conflict::FileMissing { file: id(2), expected: 12, found: Some(11) });
    assert!(world.versions().await.is_empty());
}

/// Makes versions up to `count`, then deletes all that need not stay.
async fn live_on(world: &World, count: u64) {
    let log = world.log_on(&world.bucket, "living");
    for _ in 0..count {
        let change = |state: &ManifestState| {
            let from = state.watermark("L").map(|watermark| watermark.sequence);
            Ok(fold("L", from, from.map_or(0, |from| from + 1), vec![]))
        };
        log.commit(change).await.expect("no fault");
    }
    clean_versions(&log, i64::MAX, Duration::from_secs(1), |_| ()).await.expect("no fault");
}

#[tokio::test(start_paused = true)]
async fn who_stood_still_past_the_clean_up_knows_that_he_did_not_commit() {
    for known in [0, 3] {
        let world = World::new();
        let stalled = world.log("stalled");
        if known > 0 {
            live_on(&world, known).await;
        }
        stalled.load().await.expect("no fault");
        // It goes on for an hour between reading and putting, while the others make and delete versions.
        world.faults.script(Rule::new(Operation::Put, Fault::Slow(Duration::from_secs(10))).on("manifest"));
        let stalled = async { commit(&stalled, fold("S", None, 0, vec![])).await };
        let living = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            live_on(&world, 130).await;
            assert!(*world.versions().await.first().expect("some stay") > known + 1, "the stalled one's number is deleted");
        };
        let (outcome, ()) = tokio::join!(stalled, living);
        let error = outcome.expect_err("it is behind");
        assert!(matches!(error, CommitError::Fenced { .. }), "{known}: {error}");
        assert!(world.truth().await.watermark("S").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_made_again_does_not_vouch_for_the_next() {
    let world = World::new();
    live_on(&world, 3).await;
    // Both know version 3. One stalls before putting 4; one makes 4, then stalls before putting 5.
    let (first, second) = (world.log("first"), world.log("second"));
    first.load().await.expect("no fault");
    commit(&second, fold("S", None, 0, vec![])).await.expect("no rival");
    world.faults.lag_listings(1);
    world.faults.script(Rule::new(Operation::Put, Fault::Slow(Duration::from_secs(10))).on("00004.pb"));
    world.faults.script(Rule::new(Operation::Put, Fault::Slow(Duration::from_secs(13))).on("00005.pb"));
    let living = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        live_on(&world, 130).await;
    };
    let of_first = async { commit(&first, fold("F", None, 0, vec![])).await };
    let of_second = async { commit(&second, fold("S", Some(0), 1, vec![])).await };
    let (first, second, ()) = tokio::join!(of_first, of_second, living);
    for outcome in [first, second] {
        let error = outcome.expect_err("it is behind");
        assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    }
    // Both ghosts are there: 5 has a predecessor by number, but not the one it was made from.
    let versions = world.versions().await;
    assert!(versions.starts_with(&[4, 5, 128]), "{versions:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_lands_again_after_it_was_deleted_does_not_vouch_for_the_next() {
    let world = World::new();
    live_on(&world, 3).await;
    let stalled = world.log("stalled");
    // Version 4 is put twice: the first put is lost on the way, the second is done.
    world.faults.script(Rule::new(Operation::Put, Fault::Held(Answer::Timeout)).on("00004.pb"));
    commit(&stalled, fold("S", None, 0, vec![])).await.expect("put again");
    world.faults.script(Rule::new(Operation::Put, Fault::Slow(Duration::from_secs(10))).on("00005.pb"));
    let living = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        live_on(&world, 130).await;
        assert_eq!(world.faults.release_held().await, 1, "4 was deleted, so it lands");
    };
    let (outcome, ()) = tokio::join!(async { commit(&stalled, fold("S", Some(0), 1, vec![])).await }, living);
    let error = outcome.expect_err("it is behind");
    assert!(matches!(error, CommitError::Fenced { version: 5, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_number_made_again_is_not_built_upon() {
    let world = World::new();
    live_on(&world, 3).await;
    let stalled = world.log("stalled");
    stalled.load().await.expect("no fault");
    live_on(&world, 130).await;
    // What lives on was made through the faults' eyes, so that the listing can hide it all.
    let hidden = world.log("hidden");
    for _ in 0..70 {
        let change = |state: &ManifestState| Ok(fold("H", state.watermark("H").map(|found| found.sequence), state.version(), vec![]));
        hidden.commit(change).await.expect("no fault");
    }
    clean_versions(&world.log_on(&world.bucket, "cleaner"), i64::MAX, Duration::from_secs(1), |_| ()).await.expect("no fault");
    world.faults.lag_listings(100);
    let first = commit(&stalled, fold("S", None, 0, vec![])).await.expect_err("4 was deleted");
    assert!(matches!(first, CommitError::Fenced { version: 4, .. }), "{first}");
    let second = commit(&stalled, fold("S", None, 0, vec![])).await.expect_err("4 is no base for 5");
    assert!(matches!(second, CommitError::Outrun { .. }), "{second}");
    world.faults.heal();
    let third = commit(&stalled, fold("S", None, 0, vec![])).await.expect("listed again");
    assert_eq!((third.version(), &world.truth().await), (204, &third));
}
