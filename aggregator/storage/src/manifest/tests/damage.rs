//! Damage is told, never read over; and after the manifest is lost it can be rebuilt.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tailwater_faultstore::{Fault, Operation, Rule};

use super::*;
use crate::manifest::message;

/// A store whose versions 1 (snapshot) and 2 (delta) list something of every kind; their bytes and states.
async fn versions() -> Vec<(Bytes, Arc<ManifestState>)> {
    let world = World::new();
    let log = world.log("a");
    let (first, second) = (world.upload(1, 5).await, world.upload(2, 6).await);
    let tombstone = Tombstone::requested(TombstoneId(Ulid(5)), "{a=\"b\"}", 1, 2, 3);
    let third = world.upload(3, 7).await;
    commit(&log, fold("W", None, 4, vec![first.clone(), second])).await.expect("no rival");
    commit(&log, Change::AddTombstone(tombstone)).await.expect("no rival");
    commit(&log, replace(&[&first], vec![third], &[])).await.expect("no rival");
    let mut read = Vec::new();
    for version in [1, 3] {
        let bytes = world.bucket.get(&paths::manifest(&tenant(), version)).await.expect("no fault").expect("there");
        let near = log.newest().await.expect("no fault");
        read.push((bytes, log.read(version, &near).await.expect("no fault").expect("there").state));
    }
    read
}

fn read(bytes: &[u8], state: &ManifestState, base: &ManifestState) -> Result<ManifestState, ManifestError> {
    message::open(bytes, &tenant(), state.version())?.on(base)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flipped_bits_and_truncations_are_all_detected() {
    let versions = versions().await;
    let base = versions[0].1.clone();
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for (bytes, state) in &versions {
        assert_eq!(&read(bytes, state, &base).expect("whole"), state.as_ref());
        for _ in 0..1000 {
            let bit = (0..bytes.len() * 8).new_tree(&mut runner).expect("a number").current();
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, state, &base).is_err(), "bit {bit}");
            let cut = (0..bytes.len()).new_tree(&mut runner).expect("a number").current();
            assert!(read(&bytes[..cut], state, &base).is_err(), "cut at {cut}");
        }
        let longer = [bytes.as_ref(), b"x"].concat();
        assert!(matches!(read(&longer, state, &base), Err(ManifestError::Length { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn versions_in_the_wrong_place_or_on_the_wrong_base_are_detected() {
    let versions = versions().await;
    let (bytes, state) = &versions[1];
    assert_eq!(message::open(bytes, &tenant(), 7).err(), Some(ManifestError::Misplaced { found: 3, tenant: "t".into() }));
    let other = message::open(bytes, &TenantId::new("u"), 3).err();
    assert_eq!(other, Some(ManifestError::Misplaced { found: 3, tenant: "t".into() }));
    let again = ManifestState { commit: CommitId([9; 16]), ..versions[0].1.as_ref().clone() };
    assert!(matches!(read(bytes, state, &again), Err(ManifestError::BaseMissing { version: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_read_again_and_damage_in_the_store_is_named() {
    let world = World::new();
    let log = world.log("a");
    commit(&log, fold("W", None, 0, vec![])).await.expect("no rival");
    world.faults.script(Rule::new(Operation::Get, Fault::Flip(1000)).on("manifest").times(2));
    assert_eq!(world.log("b").load().await.expect("whole at last"), log.known());

    let key = paths::manifest(&tenant(), 2);
    world
        .bucket
        .create(&key, Bytes::from_static(b"no manifest at all, but long enough to hold the header of one, which has 88 bytes"), PATIENCE)
        .await
        .expect("no fault");
    let error = world.log("c").load().await.expect_err("damaged").to_string();
    assert!(error.contains(&key), "{error}");
    let error = commit(&log, fold("W", Some(0), 1, vec![])).await.expect_err("damaged").to_string();
    assert!(error.contains(&key), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_rebuilt_manifest_overrules_damaged_and_lost_versions() {
    let world = World::new();
    let log = world.log("a");
    let kept = world.upload(1, 5).await;
    commit(&log, fold("W", None, 0, vec![kept.clone()])).await.expect("no rival");
    commit(&log, fold("W", Some(0), 1, vec![])).await.expect("no rival");
    world.bucket.delete(&paths::manifest(&tenant(), 1)).await.expect("no fault");
    let error = world.log("b").load().await.expect_err("its base is gone").to_string();
    assert!(error.contains("fsck"), "{error}");
    world.bucket.create(&paths::manifest(&tenant(), 7), Bytes::from_static(b"garbage"), PATIENCE).await.expect("no fault");

    let tombstone = Tombstone { processed_at: Some(3), added: 1, ..Tombstone::requested(TombstoneId(Ulid(5)), "{a=\"b\"}", NOW, NOW, 3) };
    let contents =
        RebuiltContents { files: vec![DataFile { as_of: 500, ..kept.clone() }], tombstones: vec![tombstone], ..Default::default() };
    let rebuilt = world.log("fsck").rebuild(contents).await.expect("rebuilds");
    assert_eq!((rebuilt.version(), rebuilt.base(), rebuilt.files().len()), (8, None, 1));
    let request = rebuilt.tombstones().next().expect("kept").clone();
    assert!(request.processed_at.is_none() && request.concerns(rebuilt.file(kept.id).expect("kept")));
    assert_eq!(world.truth().await, rebuilt);
    let next = commit(&world.log("b"), fold("W", None, 5, vec![])).await.expect("goes on");
    assert_eq!((next.version(), next.base().map(|base| base.version), next.parent()), (9, Some(8), rebuilt.commit_id()));
    assert_eq!(world.truth().await, next);
}

proptest! {
    #[test]
    fn any_message_is_an_error_or_a_state(random in proptest::collection::vec(any::<u8>(), 0..400)) {
        let header = Header { version: 1, commit: CommitId::default(), parent: CommitId::default(), base: None };
        let of_tenant = [b"\x0a\x01t".as_slice(), &random].concat();
        let sealed = envelope::seal(&header, &of_tenant).expect("seals");
        let opened = message::open(&sealed, &tenant(), 1);
        if let Ok(state) = opened.and_then(|opened| opened.on(&ManifestState::empty(tenant()))) {
            prop_assert_eq!((state.version(), state.tenant()), (1, &tenant()));
        }
    }
}
