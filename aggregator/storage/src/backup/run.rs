//! Making, checking and restoring a backup.

use std::collections::BTreeMap;

use ulid::Ulid;

use crate::backup::copy::copy_missing;
use crate::backup::plan::Plan;
use crate::backup::{BackupError, BackupRecord};
use crate::fsck::{self, FsckProgress, Report};
use crate::store::{Created, ListedObject, Store, paths};

/// How often a backup is planned anew because something went away.
const PLANS: usize = 10;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// How far a copy is. What was there already counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackupProgress {
    pub done: u64,
    pub total: u64,
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub copied: u64,
    pub bytes_copied: u64,
    /// Of these, what the store copied by itself.
    pub bytes_by_store: u64,
}

impl BackupProgress {
    pub(super) fn take(&mut self, bytes: u64) {
        self.done += 1;
        self.bytes_done += bytes;
    }
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct BackupCreated {
    pub record: BackupRecord,
    /// Objects and bytes that were not there before.
    pub copied: u64,
    pub bytes_copied: u64,
    /// Of these, what the store copied by itself.
    pub bytes_by_store: u64,
}

/// Copies what `place` does not have yet, and records the backup. `now`: nanoseconds since the epoch.
pub async fn create(
    source: &Store,
    place: &Store,
    id: Ulid,
    now: i64,
    mut show: impl FnMut(BackupProgress),
) -> Result<BackupCreated, BackupError> {
    check_same_store(source, place).await?;
    let mut present = sizes(place.list_after(paths::TENANTS, None).await?);
    let (mut copied, mut bytes_copied, mut bytes_by_store) = (0, 0, 0);
    let mut gone = String::new();
    for _ in 0..PLANS {
        let plan = Plan::of(source).await?;
        let mut last = BackupProgress::default();
        let mut noted = |at| {
            last = at;
            show(at);
        };
        let outcome = copy_missing(source, place, &plan.objects, &mut present, &mut noted).await?;
        copied += last.copied;
        bytes_copied += last.bytes_copied;
        bytes_by_store += last.bytes_by_store;
        match outcome {
            Some(key) => gone = key,
            None => {
                let record = BackupRecord::new(id, now, plan);
                if place.create(&record.key(), record.encode(), PATIENCE).await? == Created::Taken {
                    return Err(BackupError::OtherStore { key: record.key() });
                }
                return Ok(BackupCreated { record, copied, bytes_copied, bytes_by_store });
            }
        }
    }
    Err(BackupError::Moving { key: gone })
}

/// Objects of two stores may have one name only if it is one store.
async fn check_same_store(source: &Store, place: &Store) -> Result<(), BackupError> {
    let own = source.get(paths::CLUSTER).await?.ok_or(BackupError::NoCluster)?;
    match place.get(paths::CLUSTER).await? {
        Some(there) if there != own => Err(BackupError::OtherStore { key: paths::CLUSTER.to_owned() }),
        _ => Ok(()),
    }
}

/// Reads every checksum of a backup, as `fsck` does of a store.
pub async fn verify(place: &Store, record: &BackupRecord, show: impl Fn(FsckProgress)) -> Result<Report, BackupError> {
    let present = sizes(place.list_after(paths::TENANTS, None).await?);
    if let Some(key) = record.objects.iter().find_map(|(key, size)| (present.get(key) != Some(size)).then_some(key)) {
        return Err(BackupError::Incomplete { key: key.clone() });
    }
    Ok(fsck::check(&place.only(record.objects.keys().cloned()), None, show).await?)
}

/// Copies a backup into an empty store; one that was cut off is gone on with.
pub async fn restore(
    place: &Store,
    record: &BackupRecord,
    target: &Store,
    mut show: impl FnMut(BackupProgress),
) -> Result<BackupProgress, BackupError> {
    let mut present = sizes(target.list_after(paths::TENANTS, None).await?);
    present.retain(|key, _| !key.starts_with(paths::PROBES));
    if let Some((key, _)) = present.iter().find(|(key, size)| record.objects.get(*key) != Some(size)) {
        return Err(BackupError::NotEmpty { key: key.clone() });
    }
    // Every store has one of this name and size.
    if let Some(there) = target.get(paths::CLUSTER).await?
        && place.get(paths::CLUSTER).await? != Some(there)
    {
        return Err(BackupError::NotEmpty { key: paths::CLUSTER.to_owned() });
    }
    let (manifests, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        record.objects.clone().into_iter().partition(|(key, _)| paths::manifest_version_of(key).is_some());
    let (mut whole, mut base) = (BackupProgress::default(), BackupProgress::default());
    let total = BackupProgress { total: record.objects.len() as u64, bytes_total: record.bytes(), ..BackupProgress::default() };
    // Of one tenant's versions the newest is the last: one at a time, in the order of their names.
    for objects in std::iter::once(others).chain(manifests.into_iter().map(|one| BTreeMap::from([one]))) {
        let mut noted = |at| {
            whole = base.and(at, total);
            show(whole);
        };
        if let Some(key) = copy_missing(place, target, &objects, &mut present, &mut noted).await? {
            return Err(BackupError::Incomplete { key });
        }
        base = whole;
    }
    Ok(whole)
}

impl BackupProgress {
    /// After `self`, `at` of the next objects.
    fn and(self, at: Self, total: Self) -> Self {
        Self {
            done: self.done + at.done,
            bytes_done: self.bytes_done + at.bytes_done,
            copied: self.copied + at.copied,
            bytes_copied: self.bytes_copied + at.bytes_copied,
            bytes_by_store: self.bytes_by_store + at.bytes_by_store,
            ..total
        }
    }
}

fn sizes(listed: Vec<ListedObject>) -> BTreeMap<String, u64> {
    listed.into_iter().map(|object| (object.key, object.size)).collect()
}
