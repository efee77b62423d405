//! Objects in `data/` that nobody names: outputs of compactions that lost, were killed, or do not know how they ended.

use std::collections::HashSet;
use std::time::Duration;

use crate::manifest::change::Change;
use crate::manifest::clean::{CleanError, CleanProgress, Cleaned, delete_and_forget};
use crate::manifest::due::is_past;
use crate::manifest::log::{LoadError, ManifestLog};
use crate::manifest::state::{FileId, ManifestState, RetireReason, Retired};
use crate::store::{ListedObject, paths};

/// Listed data files of at least `age` (by the store's clock) that are not among `named`. Objects that are no data files are left alone.
pub fn orphans_due(listed: &[ListedObject], named: &HashSet<FileId>, now: i64, age: Duration) -> Vec<Retired> {
    let orphan = |object: &ListedObject| {
        let (day, level, id) = paths::data_file_of(&object.key)?;
        let is_due = is_past(object.modified, age, now) && !named.contains(&FileId(id));
        let retired = Retired { id: FileId(id), day, level, size: object.size, retired_at: now, reason: RetireReason::Orphan };
        is_due.then_some(retired)
    };
    listed.iter().filter_map(orphan).collect()
}

/// Deletes objects in `data/` of at least `age` that no version which was the newest within that time names. They are condemned by a commit
/// first: from then on no committer that stalled can add them.
pub async fn sweep_orphans(log: &ManifestLog, now: i64, age: Duration, progress: impl Fn(CleanProgress)) -> Result<Cleaned, CleanError> {
    // Listed before versions are read, so that what is committed in between is named.
    let listed = log.store().list_after(&paths::data_files(log.tenant()), None).await?;
    let candidates = orphans_due(&listed, &HashSet::new(), now, age);
    if candidates.is_empty() {
        return Ok(Cleaned::default());
    }
    let named = named_since(log, now, age).await?;
    #[cfg(feature = "planted-faults")]
    let named = if tailwater_planted::Fault::SweepForgetsReaders.is_planted() { HashSet::new() } else { named };
    // Without any version nothing tells what is named: the manifest may be lost, and can be rebuilt from these objects.
    if log.known().version == 0 {
        return Ok(Cleaned::default());
    }
    let orphans = orphans_due(&listed, &named, now, age);
    log.commit(|state| {
        let unknown: Vec<Retired> = orphans.iter().filter(|orphan| !state.names(orphan.id)).copied().collect();
        Ok(if unknown.is_empty() { Change::Nothing } else { Change::CondemnOrphans(unknown) })
    })
    .await?;
    // Only those that are condemned: one of them may have been added after all.
    let state = log.load().await?;
    let condemned = |orphan: &Retired| state.retired.get(&orphan.id).filter(|retired| retired.reason == RetireReason::Orphan).copied();
    let due: Vec<Retired> = orphans.iter().filter_map(condemned).collect();
    delete_and_forget(log, &due, progress).await
}

/// Files that any version names which was the newest at some time within `age`.
async fn named_since(log: &ManifestLog, now: i64, age: Duration) -> Result<HashSet<FileId>, LoadError> {
    let mut near = log.newest().await?;
    let mut named = HashSet::new();
    collect(&near.state, &mut named);
    let listed = log.listed_after(0).await?;
    let young = listed.iter().position(|(_, object)| !is_past(object.modified, age, now)).unwrap_or(listed.len());
    for (version, _) in &listed[young.saturating_sub(1)..] {
        // One that is gone meanwhile was older than any that is pinned.
        if let Some(found) = log.read(*version, &near).await? {
            collect(&found.state, &mut named);
            near = found;
        }
    }
    Ok(named)
}

fn collect(state: &ManifestState, named: &mut HashSet<FileId>) {
    named.extend(state.files.keys().chain(state.retired.keys()));
}
