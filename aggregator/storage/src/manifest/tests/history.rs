//! Many committers, many faults: what they believe is what is there.
//!
//! Each row of a file stands for one segment that was folded, so at every version the rows of the live files are as many as the watermarks say.

use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;
use tailwater_faultstore::{Answer, Fault, Operation, Random};

use super::*;

const WRITERS: [&str; 3] = ["A", "B", "C"];

/// A small generator of its own, so that a seed tells everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

fn storm(seed: u64) -> Random {
    let done = |answer| Fault::Done(answer);
    let refused = |answer| Fault::Refused(answer);
    Random::new(seed)
        .with(Operation::Put, 60, done(Answer::Timeout))
        .with(Operation::Put, 40, done(Answer::Exists))
        .with(Operation::Put, 40, done(Answer::ServerError))
        .with(Operation::Put, 60, refused(Answer::Timeout))
        .with(Operation::Put, 60, refused(Answer::Conflict))
        .with(Operation::Put, 40, refused(Answer::Exists))
        .with(Operation::Put, 40, refused(Answer::Never))
        .with(Operation::Put, 60, Fault::Held(Answer::Reset))
        .with(Operation::Put, 60, Fault::Slow(Duration::from_secs(3)))
        .with(Operation::Get, 40, refused(Answer::SlowDown))
        .with(Operation::Get, 40, Fault::Flip(0))
        .with(Operation::Get, 40, Fault::Short(3))
        .with(Operation::Get, 30, refused(Answer::NotFound))
        .with(Operation::Get, 30, Fault::Slow(Duration::from_secs(1)))
        .with(Operation::Head, 40, refused(Answer::Reset))
        .with(Operation::Head, 20, refused(Answer::NotFound))
        .with(Operation::List, 50, refused(Answer::ServerError))
        .with(Operation::List, 50, Fault::Slow(Duration::from_secs(2)))
        .with(Operation::Delete, 50, done(Answer::Timeout))
        .with(Operation::Delete, 50, refused(Answer::Timeout))
}

/// What a committer was told.
#[derive(Debug, Default)]
struct Told {
    done: Vec<Arc<ManifestState>>,
    refused: usize,
    unknown: usize,
    failed: usize,
}

impl Told {
    fn hear(&mut self, outcome: Result<Arc<ManifestState>, CommitError>) {
        match outcome {
            Ok(state) => self.done.push(state),
            Err(CommitError::Conflict { .. }) => self.refused += 1,
            Err(CommitError::Unknown { .. } | CommitError::Fenced { .. }) => self.unknown += 1,
            Err(CommitError::Load(_) | CommitError::Read(_) | CommitError::Outrun { .. }) => self.failed += 1,
            Err(error) => panic!("not a matter of the store: {error}"),
        }
    }
}

/// Decides on what it knows, which may be old, and commits that.
async fn committer(world: Rc<World>, number: u64, seed: u64, commits: usize) -> Told {
    let log = world.log(&format!("committer {number}"));
    let mut dice = Dice(seed ^ (number << 32));
    let mut told = Told::default();
    for round in 0..commits {
        let output = u128::from(number) * 10_000 + round as u128 + 1;
        let Ok(known) = (if dice.roll(3) == 0 { Ok(log.known()) } else { log.load().await }) else { continue };
        let change = match dice.roll(5) {
            0 | 1 => a_fold(&world, &known, &mut dice, output).await,
            2 | 3 => a_merge(&world, &known, &mut dice, output).await,
            _ => {
                let requested = Tombstone::requested(TombstoneId(Ulid(output)), "{a=\"b\"}", NOW, NOW, NOW);
                Change::AddTombstone(requested)
            }
        };
        told.hear(commit(&log, change).await);
        if dice.roll(4) == 0 {
            world.faults.release_held().await;
        }
    }
    told
}

async fn a_fold(world: &World, known: &ManifestState, dice: &mut Dice, output: u128) -> Change {
    let writer = WRITERS[dice.roll(3)];
    let from = known.watermark(writer).map(|watermark| watermark.sequence);
    let segments = 1 + dice.roll(3) as u64;
    let to = from.map_or(segments - 1, |from| from + segments);
    let made = world.upload(output, segments).await;
    fold(writer, from, to, vec![made])
}

async fn a_merge(world: &World, known: &ManifestState, dice: &mut Dice, output: u128) -> Change {
    let files: Vec<&Arc<DataFile>> = known.files().collect();
    if files.len() < 2 {
        return Change::Nothing;
    }
    let at = dice.roll(files.len() - 1);
    let inputs: Vec<&DataFile> = files[at..(at + 2 + dice.roll(3)).min(files.len())].iter().map(|file| file.as_ref()).collect();
    let relied_on: Vec<&DataFile> = files[..at].iter().take(dice.roll(2)).map(|file| file.as_ref()).collect();
    let made = world.upload(output, inputs.iter().map(|file| file.rows).sum()).await;
    replace(&inputs, vec![made], &relied_on)
}

/// What holds at every version.
fn assert_sound(state: &ManifestState) {
    let rows: u64 = state.files().map(|file| file.rows).sum();
    let folded: u64 = state.watermarks().values().map(|watermark| watermark.sequence + 1).sum();
    assert_eq!(rows, folded, "version {}", state.version());
}

fn assert_follows(before: &ManifestState, after: &ManifestState) {
    assert_eq!((after.version(), after.parent()), (before.version() + 1, before.commit_id()));
    for (writer, watermark) in before.watermarks() {
        assert!(after.watermark(writer).is_some_and(|later| later.sequence >= watermark.sequence), "{writer} went back");
    }
    let lost = before.files().find(|file| !after.names(file.id));
    assert!(lost.is_none(), "{lost:?} is neither live nor retired at {}", after.version());
    let again = after.files().find(|file| before.retired().any(|retired| retired.id == file.id));
    assert!(again.is_none(), "{again:?} is live again");
}

/// A first version that every listing shows: only what is made through the faults can be hidden.
async fn found(world: &World) {
    let made = world.upload(9_999_999, 1).await;
    commit(&world.log_on(&world.bucket, "founder"), fold("A", None, 0, vec![made])).await.expect("no fault yet");
}

/// Runs `committers`, at once, then lets everything land.
fn run(seed: u64, lag: usize, committers: u64, commits: usize, beside: impl AsyncFn(Rc<World>)) -> (Rc<World>, Vec<Told>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let world = Rc::new(World::new());
    let told = runtime.block_on(async {
        found(&world).await;
        world.faults.random(storm(seed));
        world.faults.lag_listings(lag);
        let all = futures::future::join_all((0..committers).map(|number| committer(world.clone(), number + 1, seed, commits)));
        let told = tokio::select! {
            told = all => told,
            () = async { loop { beside(world.clone()).await } } => unreachable!("it goes on"),
        };
        world.faults.heal();
        world.faults.release_held().await;
        told
    });
    (world, told)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime").block_on(future)
}

async fn all_versions(world: &World) -> Vec<Arc<ManifestState>> {
    let log = world.log_on(&world.bucket, "historian");
    let newest = log.newest().await.expect("no fault");
    let mut states = Vec::new();
    for version in world.versions().await {
        states.push(log.read(version, &newest).await.expect("no fault").expect("there").state);
    }
    states
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn what_committers_believe_is_in_the_one_history_once(seed in any::<u64>()) {
        let (world, told) = run(seed, usize::try_from(seed % 4).expect("small"), 5, 12, async |_| tokio::time::sleep(Duration::from_secs(60)).await);
        let history = wait(all_versions(&world));
        assert_sound(&history[0]);
        for pair in history.windows(2) {
            assert_sound(&pair[1]);
            assert_follows(&pair[0], &pair[1]);
        }
        let ids: BTreeSet<[u8; 16]> = history.iter().map(|state| state.commit_id().0).collect();
        prop_assert_eq!(ids.len(), history.len());
        // (A committer that had nothing to do is told the newest version, be it whose it may.)
        for state in told.iter().flat_map(|told| &told.done) {
            let at = usize::try_from(state.version()).expect("small") - 1;
            prop_assert_eq!(history.get(at), Some(state));
        }
        prop_assert!(world.faults.counts().faults() > 20 && history.len() > 5, "{} faults, {} versions", world.faults.counts().faults(), history.len());
    }

    #[test]
    fn no_commit_is_lost_while_versions_and_files_are_cleaned_up(seed in any::<u64>()) {
        // Everything is due at once, so that stalls of seconds are as long as those of a week. Listings do not lag by so long.
        let clean = async |world: Rc<World>| {
            let log = world.log_on(&world.bucket, "cleaner");
            tokio::time::sleep(Duration::from_secs(2)).await;
            clean_versions(&log, i64::MAX, Duration::ZERO, |_| ()).await.expect("no fault");
            let delays = RetireDelays { compacted: Duration::ZERO, dropped: Duration::ZERO };
            clean_retired(&log, i64::MAX, &delays, |_| ()).await.expect("no fault");
        };
        let (world, told) = run(seed, 0, 5, 30, clean);
        let newest = wait(world.truth());
        assert_sound(&newest);
        let mut believed: Vec<&Arc<ManifestState>> = told.iter().flat_map(|told| &told.done).collect();
        believed.sort_by_key(|state| state.version());
        for pair in believed.windows(2) {
            if pair[0].version() == pair[1].version() {
                prop_assert_eq!(pair[0].commit_id(), pair[1].commit_id(), "two histories");
            }
            if pair[0].version() + 1 == pair[1].version() {
                prop_assert_eq!(pair[0].commit_id(), pair[1].parent());
            }
            for (writer, watermark) in pair[0].watermarks() {
                prop_assert!(pair[1].watermark(writer).is_some_and(|later| later.sequence >= watermark.sequence));
            }
        }
        for state in believed {
            assert_sound(state);
            for (writer, watermark) in state.watermarks() {
                prop_assert!(newest.watermark(writer).is_some_and(|later| later.sequence >= watermark.sequence));
            }
            // Requests are never withdrawn here, so one that was reported as made must be there.
            prop_assert!(state.tombstones().all(|request| newest.tombstone(request.id).is_some()));
        }
        for file in newest.files() {
            prop_assert!(wait(world.has(file)), "{} is listed, but its object is gone", file.id);
        }
    }
}
