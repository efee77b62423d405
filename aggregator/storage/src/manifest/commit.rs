//! Committing: exactly one author gets a number, and knows whether it was him.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::error::ReadError;
use crate::manifest::change::{Change, Conflict, Stamp};
use crate::manifest::envelope::ManifestError;
use crate::manifest::log::{Known, LoadError, ManifestLog};
use crate::manifest::message;
use crate::manifest::state::{CommitId, DataFile, ManifestState};
use crate::store::retry::Attempts;
use crate::store::{Contended, paths};

/// How long a commit goes on against a failing store or many rivals.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one put goes on before the version is read to see what became of it.
const PUT_PATIENCE: Duration = Duration::from_secs(15);

/// How long a predecessor that is not shown is looked for: a store may lag.
const LOOK: Duration = Duration::from_secs(3);

/// Added files looked at at once.
const FILES_AT_ONCE: usize = 16;

/// Why a commit did not happen, or is not known to have happened.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It does not fit what others committed. It is not in the history.
    #[error("manifest of tenant `{tenant}`: {conflict}")]
    Conflict { tenant: String, conflict: Conflict },
    /// It may be in the history, now or later. Its objects are left to the sweep of orphans.
    #[error("cannot tell whether version {version} of the manifest of tenant `{tenant}` was committed: {reason}")]
    Unknown { tenant: String, version: u64, reason: String },
    /// Its number had been deleted while this process stood still. Its objects are left to the sweep of orphans.
    #[error("version {version} of the manifest of tenant `{tenant}` was made behind its successors: this process had stood still too long")]
    Fenced { tenant: String, version: u64 },
    /// Nothing was committed.
    #[error("others were faster with {attempts} versions of the manifest of tenant `{tenant}` in a row")]
    Outrun { tenant: String, attempts: u32 },
    /// Nothing was committed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nothing was committed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing was committed.
    #[error("the manifest of tenant `{tenant}` cannot be written: {source}")]
    Encode { tenant: String, source: ManifestError },
    /// Nothing was committed.
    #[error("cannot draw random bytes for a commit id: {0}")]
    Random(getrandom::Error),
}

/// Who got a number.
pub(super) enum Winner {
    We,
    Other(Known),
}

impl ManifestLog {
    /// Commits what `change` makes of the newest version, as often as others are faster. The state after it is returned; the
    /// newest one, unchanged, where `change` says [`Change::Nothing`].
    pub async fn commit(&self, change: impl Fn(&ManifestState) -> Result<Change, Conflict>) -> Result<Arc<ManifestState>, CommitError> {
        let deadline = Instant::now() + PATIENCE;
        let mut attempts = 0;
        loop {
            let newest = self.newest().await?;
            let change = change(&newest.state).map_err(|conflict| self.conflict(conflict))?;
            if change == Change::Nothing {
                return Ok(newest.state);
            }
            let next = newest.state.next(&change, self.stamp()?).map_err(|conflict| self.conflict(conflict))?;
            self.check_added(&change).await?;
            let bytes = self.encode(&next, &newest.base)?;
            match self.put(next.version, next.commit, bytes, &newest).await? {
                Winner::We => {
                    self.check_predecessor(&newest.state, &next).await?;
                    let done = Known::after(&newest, next);
                    self.learn(done.clone());
                    return Ok(done.state);
                }
                // Read by its number: a listing that lags would show the old one again.
                Winner::Other(found) => self.learn(found),
            };
            attempts += 1;
            if Instant::now() >= deadline {
                return Err(CommitError::Outrun { tenant: self.tenant.to_string(), attempts });
            }
        }
    }

    pub(super) fn stamp(&self) -> Result<Stamp, CommitError> {
        let mut commit = CommitId::default();
        getrandom::fill(&mut commit.0).map_err(CommitError::Random)?;
        Ok(Stamp { commit, author: self.author.clone(), time: (self.clock)() })
    }

    pub(super) fn encode(&self, state: &ManifestState, base: &ManifestState) -> Result<Bytes, CommitError> {
        let bytes = message::encode(state, base).map_err(|source| CommitError::Encode { tenant: self.tenant.to_string(), source })?;
        Ok(bytes.into())
    }

    fn conflict(&self, conflict: Conflict) -> CommitError {
        CommitError::Conflict { tenant: self.tenant.to_string(), conflict }
    }

    /// Every added file must be in the store, now that the version which the change was checked against is read. Were it swept before
    /// that version, it is gone here; were it condemned in that version, the change did not pass; if it is condemned later, that
    /// takes the number which this commit wants. So a committer that stalled cannot list a file that was swept meanwhile.
    async fn check_added(&self, change: &Change) -> Result<(), CommitError> {
        let check = |file: DataFile| async move {
            let found = self.store.size(&file.key(&self.tenant)).await?;
            if found == Some(file.size) {
                return Ok(());
            }
            Err(self.conflict(Conflict::FileMissing { file: file.id, expected: file.size, found }))
        };
        futures::stream::iter(change.added().to_vec()).map(check).buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    /// Puts the same bytes until it is certain who has the number: an attempt without an answer may land at any time, so nothing
    /// else is proposed before.
    pub(super) async fn put(&self, version: u64, commit: CommitId, bytes: Bytes, near: &Known) -> Result<Winner, CommitError> {
        let key = paths::manifest(&self.tenant, version);
        let mut attempts = Attempts::until(PATIENCE);
        loop {
            let outcome = self.store.create_contended(&key, bytes.clone(), PUT_PATIENCE).await;
            let reason = match outcome {
                Contended::Stored => return Ok(Winner::We),
                Contended::Taken => "the store says that it exists, but does not show it".to_owned(),
                Contended::Unknown { reason } => reason,
            };
            let reason = match self.read(version, near).await {
                Ok(Some(found)) if found.state.commit == commit => return Ok(Winner::We),
                Ok(Some(found)) => return Ok(Winner::Other(found)),
                Ok(None) => reason,
                Err(error) => error.to_string(),
            };
            if !attempts.wait().await {
                return Err(CommitError::Unknown { tenant: self.tenant.to_string(), version, reason });
            }
        }
    }

    /// Versions are deleted ascending, so if n is there, n+1 was no deleted number when it was created. The commit id is compared as well: n may
    /// itself be a deleted number that another process which had stood still made again.
    async fn check_predecessor(&self, before: &ManifestState, next: &ManifestState) -> Result<(), CommitError> {
        let fenced = || CommitError::Fenced { tenant: self.tenant.to_string(), version: next.version };
        let unknown = |error: &dyn std::fmt::Display| CommitError::Unknown {
            tenant: self.tenant.to_string(),
            version: next.version,
            reason: format!("it was created, but the version before it cannot be read: {error}"),
        };
        if before.version == 0 {
            return self.check_first(next).await;
        }
        let mut attempts = Attempts::until(LOOK);
        loop {
            match self.header(before.version).await {
                Ok(Some(found)) if found.commit == before.commit => return Ok(()),
                Ok(Some(_)) => return Err(fenced()),
                Ok(None) if !attempts.wait().await => return Err(fenced()),
                Ok(None) => {}
                Err(error) => return Err(unknown(&error)),
            }
        }
    }

    /// The first version has no predecessor that could be missing: its successor, if there is one, must be made from it.
    async fn check_first(&self, next: &ManifestState) -> Result<(), CommitError> {
        let unknown = |error: &dyn std::fmt::Display| CommitError::Unknown {
            tenant: self.tenant.to_string(),
            version: next.version,
            reason: format!("it was created, but what follows it cannot be read: {error}"),
        };
        let listed = self.listed_after(next.version).await.map_err(|error| unknown(&error))?;
        let Some((lowest, _)) = listed.first() else { return Ok(()) };
        let header = self.header(*lowest).await.map_err(|error| unknown(&error))?;
        match header {
            Some(header) if header.version == next.version + 1 && header.parent == next.commit => Ok(()),
            _ => Err(CommitError::Fenced { tenant: self.tenant.to_string(), version: next.version }),
        }
    }
}
