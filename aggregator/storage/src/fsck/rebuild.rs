//! Makes a manifest anew from what the data files themselves say.
//!
//! ```text
//! data/ → every file verified ─┬─ damaged: refused, or (if asked for) given up by name
//!                              └─ whole → without what is known to be retired → reconciled (no line twice) → snapshot of the highest number
//! ```
//! Files that older versions say are retired are left out; when there is no version that says so, their rows are found to be in others and they
//! are left out for that. Watermarks are taken over only from a manifest that can be read whole: without them segments are visible again, and their
//! lines count once all the same. Nothing is deleted here: what is not taken over stays for a day.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use serde::Serialize;

use crate::catalog::{CacheBudget, Catalog};
use crate::compact::{CompactError, Reconciled, reconcile};
use crate::entry::TenantId;
use crate::error::ReadError;
use crate::fsck::file::{Described, FileVerdict};
use crate::fsck::inventory::{Inventory, TenantObjects};
use crate::fsck::manifests::Versions;
use crate::fsck::requests::Requests;
use crate::fsck::{AT_ONCE, FsckProgress, verdict};
use crate::manifest::{Clock, CommitError, DataFile, FileId, ManifestLog, RebuiltContents, RetireReason, Retired, Tombstone};
use crate::store::{Store, paths};

/// Footers of the files of one day.
const CACHES: CacheBudget = CacheBudget { recent_rows: 0, footers: 64 << 20, index: 1 << 20 };

/// How a manifest is made anew.
#[derive(Debug, Clone, Default)]
pub struct RebuildOptions {
    /// Go on without files that cannot be read; otherwise they are an error.
    pub skip_damaged: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    pub tenant: String,
    /// Of the manifest.
    pub version: u64,
    /// Live files now, and their rows.
    pub files: u64,
    pub rows: u64,
    /// Files that were merged into others because they repeated rows.
    pub merged: u64,
    /// Files that were left out because other ones have all of their rows.
    pub redundant: u64,
    pub requests: u64,
    /// Objects that were given up, and why.
    pub skipped: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("tenant `{tenant}` has neither data files nor a manifest: nothing was changed")]
    NothingThere { tenant: TenantId },
    #[error(
        "{count} objects of tenant `{tenant}` are damaged or missing, first `{key}`: {reason}; nothing was changed; `--skip-damaged` goes on without them"
    )]
    Damaged { tenant: TenantId, count: usize, key: String, reason: String },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Compact(#[from] CompactError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Makes the manifest of one tenant anew, signed by `author`. No program may work on the store meanwhile.
pub async fn rebuild(
    store: &Store,
    tenant: &TenantId,
    author: &str,
    clock: Clock,
    options: &RebuildOptions,
    progress: impl Fn(FsckProgress) + Send + Sync,
) -> Result<Rebuilt, RebuildError> {
    let mut inventory = Inventory::list(store, Some(std::slice::from_ref(tenant))).await?;
    let objects = inventory.tenants.remove(tenant).unwrap_or_default();
    if objects.data.is_empty() && objects.manifests.is_empty() {
        return Err(RebuildError::NothingThere { tenant: tenant.clone() });
    }
    let told = Told { state: Mutex::new(expected(&objects)), tell: progress };
    let found = Found::read(store, tenant, &objects, &told).await?;
    if let Some((key, reason)) = found.damaged.first()
        && !options.skip_damaged
    {
        let (tenant, count) = (tenant.clone(), found.damaged.len());
        return Err(RebuildError::Damaged { tenant, count, key: key.clone(), reason: reason.clone() });
    }
    let files = found.candidates();
    let catalog = Arc::new(Catalog::new(store.clone(), CACHES, author, clock.clone()));
    let settled = |file: &DataFile| told.done(file.size);
    let reconciled = reconcile(&catalog, tenant, &files, clock(), &settled).await?;
    let contents = found.contents(&reconciled, clock());
    let (requests, files) = (contents.tombstones.len() as u64, contents.files.len() as u64);
    let rows = contents.files.iter().map(|file| file.rows).sum();
    let state = ManifestLog::new(store.clone(), tenant.clone(), author, clock).rebuild(contents).await?;
    Ok(Rebuilt {
        tenant: tenant.to_string(),
        version: state.version(),
        files,
        rows,
        merged: reconciled.merged.len() as u64,
        redundant: reconciled.redundant.len() as u64,
        requests,
        skipped: found.damaged,
    })
}

/// Every file is read twice: verified, then compared.
fn expected(objects: &TenantObjects) -> FsckProgress {
    let bytes: u64 = objects.data.iter().map(|object| object.size).sum();
    FsckProgress { total: 2 * objects.data.len() as u64, bytes_total: 2 * bytes, ..FsckProgress::default() }
}

struct Told<F> {
    state: Mutex<FsckProgress>,
    tell: F,
}

impl<F: Fn(FsckProgress)> Told<F> {
    fn done(&self, bytes: u64) {
        let now = {
            let mut state = self.state.lock();
            state.done += 1;
            state.bytes_done += bytes;
            *state
        };
        (self.tell)(now);
    }
}

/// What a tenant has, apart from what its manifest says.
struct Found {
    versions: Versions,
    requests: Requests,
    whole: BTreeMap<FileId, DataFile>,
    /// Damaged ones that have at least a name.
    given_up: Vec<Retired>,
    /// Keys of what is damaged or missing, and why.
    damaged: Vec<(String, String)>,
}

impl Found {
    async fn read<F: Fn(FsckProgress)>(
        store: &Store,
        tenant: &TenantId,
        objects: &TenantObjects,
        told: &Told<F>,
    ) -> Result<Self, ReadError> {
        let versions = Versions::read(store, tenant).await?;
        let requests = Requests::read(store, &objects.requests).await?;
        let mut found = Self { versions, requests, whole: BTreeMap::new(), given_up: Vec::new(), damaged: Vec::new() };
        let checks = objects.data.iter().map(|object| verdict(store.clone(), Some(tenant.clone()), object.clone()));
        let mut checks = futures::stream::iter(checks).buffer_unordered(AT_ONCE);
        while let Some((_, object, verdict)) = checks.next().await {
            told.done(object.size);
            found.take(&object.key, object.size, verdict);
        }
        found.find_missing(tenant);
        if found.versions.newest.is_none() {
            found.damaged.extend(found.requests.faults.iter().cloned());
        }
        found.damaged.sort();
        Ok(found)
    }

    fn take(&mut self, key: &str, size: u64, mut verdict: FileVerdict) {
        if verdict.is_gone {
            return;
        }
        match verdict.described.take() {
            Some(Described::Data(file)) if verdict.faults.is_empty() => drop(self.whole.insert(file.id, *file)),
            _ => {
                if let Some((day, level, id)) = paths::data_file_of(key) {
                    let reason = RetireReason::Deleted;
                    self.given_up.push(Retired { id: FileId(id), day, level, size, retired_at: 0, reason });
                }
                if self.is_needed(key) {
                    let reason = verdict.faults.into_iter().next().unwrap_or_else(|| "it is not what its name says".to_owned());
                    self.damaged.push((key.to_owned(), reason));
                }
            }
        }
    }

    /// A damaged file that was to be deleted anyway is no loss.
    fn is_needed(&self, key: &str) -> bool {
        paths::data_file_of(key).is_none_or(|(_, _, id)| !self.versions.retired.contains_key(&FileId(id)))
    }

    /// Files that the newest readable version says are live and that are not there.
    fn find_missing(&mut self, tenant: &TenantId) {
        let known = self.versions.newest.iter().flat_map(|state| state.files());
        let is_there = |id: &FileId| self.whole.contains_key(id) || self.given_up.iter().any(|file| file.id == *id);
        let missing = known.filter(|file| !is_there(&file.id)).map(|file| (file.key(tenant), "it is missing".to_owned()));
        self.damaged.extend(missing.collect::<Vec<_>>());
    }

    /// The files that the new manifest is made of. What compaction replaced is needed only where what it was replaced by may be lost.
    fn candidates(&self) -> Vec<Arc<DataFile>> {
        let is_left_out = |id: &FileId| match self.versions.retired.get(id).map(|retired| retired.reason) {
            None => false,
            Some(RetireReason::Compacted) => self.damaged.is_empty(),
            Some(RetireReason::Retention | RetireReason::Deleted | RetireReason::Orphan) => true,
        };
        self.whole.values().filter(|file| !is_left_out(&file.id)).map(|file| Arc::new(file.clone())).collect()
    }

    fn contents(&self, reconciled: &Reconciled, now: i64) -> RebuiltContents {
        let live: HashSet<FileId> = reconciled.files.iter().map(|file| file.id).collect();
        let left_out = reconciled.redundant.iter().chain(&reconciled.merged).filter_map(|id| self.whole.get(id));
        let left_out = left_out.map(|file| {
            let DataFile { id, day, level, size, .. } = *file;
            Retired { id, day, level, size, retired_at: now, reason: RetireReason::Deleted }
        });
        let given_up = self.given_up.iter().map(|file| Retired { retired_at: now, ..*file });
        let there: HashSet<FileId> = self.whole.keys().copied().collect();
        let before = self.versions.retired.values().filter(|retired| there.contains(&retired.id)).copied();
        let retired: BTreeMap<FileId, Retired> = before
            .chain(given_up)
            .chain(left_out)
            .filter(|retired| !live.contains(&retired.id))
            .map(|retired| (retired.id, retired))
            .collect();
        let newest = self.versions.newest.as_ref().filter(|_| self.damaged.is_empty());
        RebuiltContents {
            files: reconciled.files.clone(),
            tombstones: self.tombstones(),
            watermarks: newest.map(|state| state.watermarks().clone()).unwrap_or_default(),
            retired: retired.into_values().collect(),
        }
    }

    /// The manifest counts while it can be read; otherwise every request that anything tells of.
    fn tombstones(&self) -> Vec<Tombstone> {
        if let Some(newest) = &self.versions.newest {
            return newest.tombstones().map(|tombstone| tombstone.as_ref().clone()).collect();
        }
        let mut all = self.requests.read.clone();
        for known in self.versions.readable.iter().flat_map(|state| state.tombstones()) {
            all.entry(known.id).or_insert_with(|| known.as_ref().clone());
        }
        all.into_values().collect()
    }
}
