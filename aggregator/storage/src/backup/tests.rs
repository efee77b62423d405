//! A restored store shows what was acknowledged when its backup began, whatever happened meanwhile and after.

use std::sync::Arc;

use object_store::memory::InMemory;
use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};

use super::*;
use crate::fsck::{self, Severity};
use crate::small_store::{Entry, SmallStore, truth};
use crate::store::{Store, paths};
use ulid::Ulid;

fn entries(round: u8) -> Vec<Entry> {
    (0..30).map(|at| (at as u8 % 5, i64::from(round) * 100 + at, at as u8 % 7, at as u8 % 3)).collect()
}

fn empty_place() -> Store {
    Store::new(Arc::new(InMemory::new()), "backup")
}

/// Data files, retired ones, and segments that are folded and that are not.
async fn world() -> SmallStore {
    let mut world = SmallStore::new().await;
    for round in 0..3 {
        world.flush("W", &entries(round)).await;
        world.compact(false).await;
    }
    world.flush("W", &entries(3)).await;
    world.flush("X", &entries(4)).await;
    world
}

async fn back_up(world: &SmallStore, place: &Store, number: u64) -> BackupCreated {
    create(&world.store, place, Ulid::from_parts(number, 0), 7, |_| ()).await.expect("backs up")
}

/// What a process sees on a store that was made from a backup, which must be whole.
async fn restored(place: &Store, record: &BackupRecord) -> SmallStore {
    let mut world = SmallStore::new().await;
    let objects = Arc::new(InMemory::new());
    world.store = Store::new(objects.clone(), "p");
    world.objects = objects;
    restore(place, record, &world.store, |_| ()).await.expect("restores");
    let report = fsck::check(&world.store, None, |_| ()).await.expect("reads");
    assert!(report.is_clean(), "{:?}", report.findings);
    world
}

#[tokio::test(start_paused = true)]
async fn each_backup_brings_back_its_own_moment() {
    let (mut world, place) = (world().await, empty_place());
    let first = back_up(&world, &place, 1).await;
    assert_eq!(first.copied, first.record.objects.len() as u64);
    world.flush("W", &entries(5)).await;
    world.compact(true).await;
    let second = back_up(&world, &place, 2).await;
    assert!(second.copied < second.record.objects.len() as u64, "segments are there already");
    assert_eq!(back_up(&world, &place, 3).await.copied, 0, "nothing is new");
    assert_eq!(records(&place).await.expect("reads").len(), 3);
    for (created, rounds) in [(first, 0..5), (second, 0..6)] {
        let report = verify(&place, &created.record, |_| ()).await.expect("reads");
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(restored(&place, &created.record).await.seen().await, truth(rounds.flat_map(entries)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_goes_on() {
    let (world, place) = (world().await, empty_place());
    let mut world = restored(&place, &back_up(&world, &place, 1).await.record).await;
    world = world.reopened();
    world.flush("Y", &entries(6)).await;
    world.compact(true).await;
    assert_eq!(world.seen().await, truth((0..5).chain([6]).flat_map(entries)));
}

#[tokio::test(start_paused = true)]
async fn what_goes_away_while_it_is_copied_is_planned_anew() {
    let (world, place) = (world().await, empty_place());
    let faults = FaultStore::new(world.objects.clone());
    let source = Store::new(Arc::new(faults.clone()), "p");
    faults.script(Rule::new(Operation::Get, Fault::Refused(Answer::NotFound)).on("/data/").times(2));
    let created = create(&source, &place, Ulid::from_parts(1, 0), 7, |_| ()).await.expect("backs up");
    assert_eq!(restored(&place, &created.record).await.seen().await, truth((0..5).flat_map(entries)));
    faults.script(Rule::new(Operation::Get, Fault::Refused(Answer::NotFound)).on("/seg/").always());
    let failed = create(&source, &empty_place(), Ulid::from_parts(2, 0), 7, |_| ()).await;
    assert!(matches!(failed, Err(BackupError::Moving { .. })), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backup_or_a_restore_that_was_cut_off_is_gone_on_with() {
    let (world, place) = (world().await, Arc::new(InMemory::new()));
    let faults = FaultStore::new(place.clone());
    let cut = Store::new(Arc::new(faults.clone()), "backup");
    faults.script(Rule::new(Operation::Put, Fault::Refused(Answer::Denied)).skip(4).always());
    create(&world.store, &cut, Ulid::from_parts(1, 0), 7, |_| ()).await.expect_err("is cut off");
    let whole = Store::new(place, "backup");
    assert_eq!(records(&whole).await.expect("reads"), []);
    let created = back_up(&world, &whole, 2).await;
    assert!(created.copied < created.record.objects.len() as u64);

    let target = Arc::new(InMemory::new());
    let faults = FaultStore::new(target.clone());
    faults.script(Rule::new(Operation::Put, Fault::Refused(Answer::Denied)).on("/manifest/").always());
    restore(&whole, &created.record, &Store::new(Arc::new(faults), "p"), |_| ()).await.expect_err("is cut off");
    let target = Store::new(target, "p");
    assert!(
        target
            .list_after(paths::TENANTS, None)
            .await
            .expect("lists")
            .iter()
            .all(|object| paths::manifest_version_of(&object.key).is_none())
    );
    let done = restore(&whole, &created.record, &target, |_| ()).await.expect("restores");
    assert!(done.copied < done.done && done.done == done.total, "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn stores_and_backups_are_not_mixed() {
    let (world, place) = (world().await, empty_place());
    let record = back_up(&world, &place, 1).await.record;
    let other = SmallStore::new().await;
    let failed = create(&other.store, &place, Ulid::from_parts(2, 0), 7, |_| ()).await;
    assert!(matches!(failed, Err(BackupError::OtherStore { .. })), "{failed:?}");
    let failed = restore(&place, &record, &other.store, |_| ()).await;
    assert!(matches!(failed, Err(BackupError::NotEmpty { .. })), "{failed:?}");
    let failed = create(&empty_place(), &place, Ulid::from_parts(2, 0), 7, |_| ()).await;
    assert!(matches!(failed, Err(BackupError::NoCluster)), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn damage_of_a_backup_is_found() {
    let world = world().await;
    let objects = Arc::new(InMemory::new());
    let place = Store::new(objects.clone(), "p");
    let record = create(&world.store, &place, Ulid::from_parts(1, 0), 7, |_| ()).await.expect("backs up").record;
    let mut copy = SmallStore::new().await;
    (copy.objects, copy.store) = (objects, place.clone());
    let key = record.objects.keys().find(|key| key.contains("/data/")).expect("a data file");
    let whole = copy.bytes(key).await;
    let mut flipped = whole.to_vec();
    flipped[40] ^= 4;
    copy.overwrite(key, flipped).await;
    let report = verify(&place, &record, |_| ()).await.expect("reads");
    assert!(report.findings.iter().any(|finding| finding.severity == Severity::Damage && finding.key == *key), "{:?}", report.findings);
    copy.delete(key).await;
    let failed = verify(&place, &record, |_| ()).await;
    assert!(matches!(failed, Err(BackupError::Incomplete { .. })), "{failed:?}");
    let failed = restore(&place, &record, &empty_place(), |_| ()).await;
    assert!(matches!(failed, Err(BackupError::Incomplete { .. })), "{failed:?}");
}

/// Keys of everything at a place.
async fn keys(place: &Store, folder: &str) -> Vec<String> {
    place.list_after(folder, None).await.expect("lists").into_iter().map(|object| object.key).collect()
}

fn keep(newest: usize) -> Keep {
    Keep { newest: newest.try_into().expect("some"), since: None }
}

#[tokio::test(start_paused = true)]
async fn old_backups_go_with_what_only_they_need() {
    let (mut world, place) = (world().await, empty_place());
    let first = back_up(&world, &place, 1).await.record;
    world.flush("W", &entries(5)).await;
    world.compact(true).await;
    let second = back_up(&world, &place, 2).await.record;
    let third = back_up(&world, &place, 3).await.record;
    assert_eq!(prune(&place, keep(3)).await.expect("prunes"), Pruned { kept: 3, ..Pruned::default() });
    let since = Keep { since: Some(7), ..keep(1) };
    assert_eq!(prune(&place, since).await.expect("prunes").kept, 3, "all of them are young enough");
    let done = prune(&place, Keep { since: Some(8), ..keep(2) }).await.expect("prunes");
    let only_first: Vec<_> = first.objects.iter().filter(|(key, _)| !second.objects.contains_key(*key)).collect();
    assert!(!only_first.is_empty(), "segments were folded");
    let bytes = only_first.iter().map(|(_, size)| *size).sum();
    assert_eq!(done, Pruned { backups: vec![first.id.clone()], objects: only_first.len() as u64, bytes, kept: 2 });
    assert_eq!(keys(&place, paths::TENANTS).await, second.objects.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&place, "pruned").await, [""; 0]);
    assert_eq!(records(&place).await.expect("reads"), [second.clone(), third]);
    assert_eq!(restored(&place, &second).await.seen().await, truth((0..6).flat_map(entries)));
    assert_eq!(prune(&place, keep(1)).await.expect("prunes").objects, 0, "the newest needs them all");
}

#[tokio::test(start_paused = true)]
async fn a_prune_that_was_cut_off_leaves_whole_backups_and_is_gone_on_with() {
    let (mut world, objects) = (world().await, Arc::new(InMemory::new()));
    let place = Store::new(objects.clone(), "backup");
    back_up(&world, &place, 1).await;
    world.flush("W", &entries(5)).await;
    world.compact(true).await;
    let newest = back_up(&world, &place, 2).await.record;
    let faults = FaultStore::new(objects);
    faults.script(Rule::new(Operation::Delete, Fault::Refused(Answer::Denied)).skip(3).always());
    prune(&Store::new(Arc::new(faults), "backup"), keep(1)).await.expect_err("is cut off");
    assert_eq!(records(&place).await.expect("reads"), std::slice::from_ref(&newest));
    assert_eq!(keys(&place, "pruned").await.len(), 1);
    let again = prune(&place, keep(1)).await.expect("prunes");
    assert!(again.backups.is_empty() && again.objects > 0, "{again:?}");
    assert_eq!(keys(&place, paths::TENANTS).await, newest.objects.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&place, "pruned").await, [""; 0]);
}
