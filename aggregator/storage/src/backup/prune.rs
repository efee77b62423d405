//! Old backups are taken away, with the objects that no other backup needs.
//!
//! ```text
//! pruned/<ulid>.json   the record of a backup that is being taken away: no backup any more, its objects may be gone
//! ```
//! The record is put aside, then taken out of the list, then its objects are deleted, then what was put aside: a run that was cut off leaves
//! no backup that is not whole, and the next run ends what it began. Backups may be made meanwhile: a store's objects are there from their creation to
//! their deletion without a gap, so what a new backup relies on is in the newest one too, which always stays.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::backup::record::{self, BACKUPS, PRUNED};
use crate::backup::{BackupError, BackupRecord};
use crate::store::{Store, paths};

const PATIENCE: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 16;

/// Which backups stay: those that either rule keeps, and the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many, the newest ones.
    pub newest: NonZeroUsize,
    /// Those that began at or after this (ns since the epoch).
    pub since: Option<i64>,
}

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups, oldest first.
    pub backups: Vec<String>,
    pub objects: u64,
    pub bytes: u64,
    /// Backups that are left.
    pub kept: usize,
}

/// Takes away what is not to be kept.
pub async fn prune(place: &Store, keep: Keep) -> Result<Pruned, BackupError> {
    let records = record::records(place).await?;
    let kept_from = records.len().saturating_sub(keep.newest.get());
    let (old, kept): (Vec<_>, Vec<_>) = records.into_iter().enumerate().partition(|(at, record)| *at < kept_from && !keep.keeps(record));
    let kept: Vec<BackupRecord> = kept.into_iter().map(|(_, record)| record).collect();
    let mut done = Pruned { kept: kept.len(), ..Pruned::default() };
    for (_, record) in &old {
        put_aside(place, record).await?;
        done.backups.push(record.id.clone());
    }
    // Those of this run, and of one that was cut off.
    let aside = record::of_folder(place, PRUNED).await?;
    let needed: BTreeSet<&str> = kept.iter().flat_map(|record| record.objects.keys().map(String::as_str)).collect();
    let there: BTreeSet<String> = place.list_after(paths::TENANTS, None).await?.into_iter().map(|object| object.key).collect();
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    for record in &aside {
        for (key, size) in &record.objects {
            if !needed.contains(key.as_str()) && there.contains(key) && gone.insert(key) {
                done.objects += 1;
                done.bytes += size;
            }
        }
    }
    Store::for_each(gone, AT_ONCE, |key| place.delete(key)).await?;
    for record in &aside {
        place.delete(&record.key_in(PRUNED)).await?;
    }
    Ok(done)
}

impl Keep {
    fn keeps(&self, record: &BackupRecord) -> bool {
        self.since.is_some_and(|since| record.begun >= since)
    }
}

/// From here on it is no backup.
async fn put_aside(place: &Store, record: &BackupRecord) -> Result<(), BackupError> {
    // One that is there already is of a run that was cut off.
    place.create(&record.key_in(PRUNED), record.encode(), PATIENCE).await?;
    Ok(place.delete(&record.key_in(BACKUPS)).await?)
}
