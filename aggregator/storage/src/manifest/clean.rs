//! Deleting what is due. Each step may be cut off anywhere and begun again: objects go before the entries that name them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use crate::error::ReadError;
use crate::manifest::change::Change;
use crate::manifest::commit::CommitError;
use crate::manifest::due::{self, ListedVersion, RetireDelays};
use crate::manifest::log::{LoadError, ManifestLog};
use crate::manifest::state::{FileId, Retired};
use crate::store::{Store, paths};

/// Objects deleted at once, where order does not matter.
const AT_ONCE: usize = 8;

/// Files that one commit forgets, so that a long clean-up that is cut off has not gone for nothing.
const FORGOTTEN_AT_ONCE: usize = 256;

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    pub objects: u64,
    pub bytes: u64,
}

impl Cleaned {
    fn count(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// How far a clean-up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanProgress {
    pub done: Cleaned,
    /// Objects to delete in all.
    pub total: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// Ascending order would be broken by going on.
    #[error("object `{key}` is still there after it was deleted, or lies below one that is to go: the store lags, try again later")]
    StillThere { key: String },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Deletes versions older than `keep` that no younger one builds on, ascending, each seen to be gone before the next.
pub async fn clean_versions(log: &ManifestLog, now: i64, keep: Duration, progress: impl Fn(CleanProgress)) -> Result<Cleaned, CleanError> {
    let listed = log.listed_after(0).await?;
    let listed: Vec<ListedVersion> =
        listed.into_iter().map(|(version, object)| ListedVersion { version, size: object.size, modified: object.modified }).collect();
    let Some(kept) = due::first_kept(&listed, now, keep) else { return Ok(Cleaned::default()) };
    // Gone already: another process cleans up as well.
    let Some(header) = log.header(kept).await? else { return Ok(Cleaned::default()) };
    let due = due::versions_due(&listed, header.base.map_or(kept, |base| base.version));
    let objects: Vec<(String, u64)> = due.iter().map(|listed| (paths::manifest(log.tenant(), listed.version), listed.size)).collect();
    let below = |at: usize| {
        let version = due[at].version - 1;
        let follows = at > 0 && due[at - 1].version == version;
        (version > 0 && !follows).then(|| paths::manifest(log.tenant(), version))
    };
    delete_ascending(log.store(), &objects, below, progress).await
}

/// Deletes a writer's segments (numbers ascending, with their sizes), each seen to be gone
/// before the next.
pub async fn clean_segments(
    store: &Store,
    writer: &str,
    due: &[(u64, u64)],
    progress: impl Fn(CleanProgress),
) -> Result<Cleaned, CleanError> {
    let objects: Vec<(String, u64)> = due.iter().map(|(sequence, size)| (paths::segment(writer, *sequence), *size)).collect();
    let below = |at: usize| {
        let sequence = due[at].0.checked_sub(1)?;
        let follows = at > 0 && due[at - 1].0 == sequence;
        (!follows).then(|| paths::segment(writer, sequence))
    };
    delete_ascending(store, &objects, below, progress).await
}

/// `below`: the key that must not exist before the object at this place goes, where it is not the object before.
async fn delete_ascending(
    store: &Store,
    objects: &[(String, u64)],
    below: impl Fn(usize) -> Option<String>,
    progress: impl Fn(CleanProgress),
) -> Result<Cleaned, CleanError> {
    let mut done = Cleaned::default();
    for (at, (key, size)) in objects.iter().enumerate() {
        // A listing may lag and not show the number below.
        if let Some(key) = below(at)
            && store.size(&key).await?.is_some()
        {
            return Err(CleanError::StillThere { key });
        }
        store.delete(key).await?;
        if store.size(key).await?.is_some() {
            return Err(CleanError::StillThere { key: key.clone() });
        }
        done.count(*size);
        progress(CleanProgress { done, total: objects.len() as u64 });
    }
    Ok(done)
}

/// Deletes the objects of retired files whose time has come, then forgets them.
pub async fn clean_retired(
    log: &ManifestLog,
    now: i64,
    delays: &RetireDelays,
    progress: impl Fn(CleanProgress),
) -> Result<Cleaned, CleanError> {
    let due = due::retired_due(log.load().await?.as_ref(), now, delays);
    delete_and_forget(log, &due, progress).await
}

pub(super) async fn delete_and_forget(log: &ManifestLog, due: &[Retired], progress: impl Fn(CleanProgress)) -> Result<Cleaned, CleanError> {
    let mut done = Cleaned::default();
    for some in due.chunks(FORGOTTEN_AT_ONCE) {
        let delete = |retired: Retired| async move {
            let key = retired.key(log.tenant());
            log.store().delete(&key).await?;
            match log.store().size(&key).await? {
                None => Ok(retired.size),
                Some(_) => Err(CleanError::StillThere { key }),
            }
        };
        let mut deleting = futures::stream::iter(some.iter().copied().map(delete)).buffer_unordered(AT_ONCE);
        while let Some(size) = deleting.try_next().await? {
            done.count(size);
            progress(CleanProgress { done, total: due.len() as u64 });
        }
        let gone: Vec<FileId> = some.iter().map(|retired| retired.id).collect();
        log.commit(|state| {
            let known: Vec<FileId> = gone.iter().filter(|id| state.retired.contains_key(id)).copied().collect();
            Ok(if known.is_empty() { Change::Nothing } else { Change::ForgetRetired(known) })
        })
        .await?;
    }
    Ok(done)
}

/// Drops the watermarks of writers that folded nothing for `idle` and have no segment left at or below it; returns how many.
pub async fn drop_idle_writers(log: &ManifestLog, now: i64, idle: Duration) -> Result<usize, CleanError> {
    let state = log.load().await?;
    let candidates = due::writers_due(&state, &BTreeMap::new(), now, idle);
    let mut lowest = BTreeMap::new();
    for (writer, _) in candidates {
        let listed = log.store().list_after(&paths::writer(&writer), None).await?;
        if let Some(sequence) = listed.iter().find_map(|object| paths::sequence_of(&object.key)) {
            lowest.insert(writer, sequence);
        }
    }
    let dropped = due::writers_due(&state, &lowest, now, idle);
    log.commit(|state| {
        let unmoved =
            |(writer, sequence): &&(String, u64)| state.watermark(writer).is_some_and(|watermark| watermark.sequence == *sequence);
        let still: Vec<(String, u64)> = dropped.iter().filter(unmoved).cloned().collect();
        Ok(if still.is_empty() { Change::Nothing } else { Change::DropWriters(still) })
    })
    .await?;
    Ok(dropped.len())
}
