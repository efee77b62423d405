//! Committing: exactly one author gets a number, and knows whether it was him.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::error::ReadError;
use crate::manifest::change::{Change, Conflict, Stamp};
use crate::manifest::envelope::{Header, ManifestError};
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

/// Before a listing is asked again for what it did not show.
const RELIST: Duration = Duration::from_secs(2);

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
    #[error(
        "none of {attempts} attempts got a number of the manifest of tenant `{tenant}`: others were faster, or the store does not list the newest versions"
    )]
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
        while Instant::now() < deadline {
            let newest = self.newest().await?;
            let change = change(&newest.state).map_err(|conflict| self.conflict(conflict))?;
            if change == Change::Nothing {
                return Ok(newest.state);
            }
            let next = newest.state.next(&change, self.stamp()?).map_err(|conflict| self.conflict(conflict))?;
            self.check_added(&change).await?;
            let bytes = self.encode(&next, &newest.base)?;
            match self.put(next.version, next.commit, bytes, &newest).await? {
                Winner::We => return self.confirm(&newest, next).await,
                // Taken over by its number: a listing that lags would show the old version again.
                Winner::Other(found) if self.is_in_history(&newest.state, &found.state).await? => drop(self.learn(found)),
                // It was made at a deleted number, and so would ours have been: only a listing shows the way back.
                Winner::Other(_) => tokio::time::sleep(RELIST).await,
            }
            attempts += 1;
        }
        Err(CommitError::Outrun { tenant: self.tenant.to_string(), attempts })
    }

    /// A created version counts only if its number was not a deleted one.
    async fn confirm(&self, before: &Known, next: ManifestState) -> Result<Arc<ManifestState>, CommitError> {
        let (tenant, version) = (self.tenant.to_string(), next.version);
        match self.is_in_history(&before.state, &next).await {
            Ok(true) => {
                let done = Known::after(before, next);
                self.learn(done.clone());
                Ok(done.state)
            }
            Ok(false) => Err(CommitError::Fenced { tenant, version }),
            Err(error) => {
                let reason = format!("it was created, but the version before it cannot be read: {error}");
                Err(CommitError::Unknown { tenant, version, reason })
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

    /// Whether `next`, which has the number after `before`'s and is in the store, is no version that was made behind its successors, at a number that
    /// was deleted. Two things tell, and both must hold.
    ///
    /// Versions are deleted ascending, so if n is there, n+1 was no deleted number when it was created; this needs no listing. But n may itself be a
    /// deleted number made again: by a process that had stood still (its commit id is another), or by a put of n that landed late (it is the same).
    /// Therefore what is listed above n+1 counts too: the newest version is never deleted, so above a deleted number there is one, and
    /// the lowest of them was not made from `next`.
    async fn is_in_history(&self, before: &ManifestState, next: &ManifestState) -> Result<bool, LoadError> {
        Ok(self.is_there(before).await? && self.is_followed(next).await?)
    }

    async fn is_there(&self, before: &ManifestState) -> Result<bool, LoadError> {
        if before.version == 0 {
            return Ok(true);
        }
        let mut attempts = Attempts::until(LOOK);
        loop {
            match self.header(before.version).await? {
                Some(found) => return Ok(found.commit == before.commit),
                None if !attempts.wait().await => return Ok(false),
                None => {}
            }
        }
    }

    /// Whether nothing is listed above `next`, or its successor.
    async fn is_followed(&self, next: &ManifestState) -> Result<bool, LoadError> {
        let listed = self.listed_after(next.version).await?;
        let Some((lowest, _)) = listed.first() else { return Ok(true) };
        let follows = |header: Header| header.version == next.version + 1 && header.parent == next.commit;
        Ok(self.header(*lowest).await?.is_some_and(follows))
    }
}
