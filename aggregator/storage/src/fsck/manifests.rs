//! Reads every version of a tenant's manifest: each by itself, and each as the one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::TenantId;
use crate::error::ReadError;
use crate::fsck::report::Report;
use crate::manifest::{CommitId, FileId, LoadError, ManifestLog, ManifestState, Retired};
use crate::store::{Store, paths};

const ADVICE: &str = "restore the object from a copy; if the newest version cannot be read, `fsck --rebuild` makes a new one";

/// What the versions tell together.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// `None`: there is none, or it cannot be read.
    pub(super) newest: Option<Arc<ManifestState>>,
    /// The newest that can be read; older than the newest one, or the same.
    pub(super) readable: Option<Arc<ManifestState>>,
    /// Whether there is any version, readable or not.
    pub(super) are_there: bool,
    /// Files that any readable version says are retired and no later one says are live.
    pub(super) retired: BTreeMap<FileId, Retired>,
    /// The key of each version that cannot be read or does not follow the one before it, and why.
    pub(super) faults: Vec<(String, String)>,
}

impl Versions {
    pub(super) async fn read(store: &Store, tenant: &TenantId) -> Result<Self, ReadError> {
        // Nothing is committed through it.
        let log = ManifestLog::new(store.clone(), tenant.clone(), "fsck", Arc::new(|| 0));
        let mut versions = Self::default();
        let mut before: Option<(u64, Option<CommitId>)> = None;
        log.inspect(|object, version, outcome| {
            versions.are_there = true;
            if let Some((last, commit)) = before {
                versions.follow(tenant, (last, commit), version, outcome.as_ref().ok().copied());
            }
            before = Some((version, outcome.as_ref().ok().map(|state| state.commit_id())));
            versions.newest = None;
            match outcome {
                Ok(state) => versions.take(state),
                Err(LoadError::Damaged { source, .. }) => versions.faults.push((object.key.clone(), source.to_string())),
                Err(error) => versions.faults.push((object.key.clone(), error.to_string())),
            }
        })
        .await?;
        Ok(versions)
    }

    fn take(&mut self, state: &Arc<ManifestState>) {
        self.retired.extend(state.retired().map(|retired| (retired.id, *retired)));
        self.retired.retain(|id, _| state.file(*id).is_none());
        self.newest = Some(state.clone());
        self.readable = Some(state.clone());
    }

    /// Whether a version comes after the one that is listed before it.
    fn follow(&mut self, tenant: &TenantId, (last, commit): (u64, Option<CommitId>), version: u64, state: Option<&Arc<ManifestState>>) {
        let is_rebuilt = state.is_some_and(|state| state.parent() == CommitId::default());
        if is_rebuilt {
            return;
        }
        if version != last + 1 {
            let missing = paths::manifest(tenant, last + 1);
            self.faults.push((missing, format!("versions {} to {} are missing", last + 1, version - 1)));
        } else if let (Some(commit), Some(state)) = (commit, state)
            && state.parent() != commit
        {
            self.faults
                .push((paths::manifest(tenant, version), format!("it was made from another version {last} than the one that is there")));
        }
    }

    pub(super) fn report(&self, report: &mut Report) {
        self.faults.iter().for_each(|(key, fault)| report.damage(key, fault, ADVICE));
    }
}
