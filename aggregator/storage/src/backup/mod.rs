//! Copies of a store that others can be made from, while servers work on it.
//!
//! ```text
//! backup folder or bucket
//!   v1/…                   objects under the names they have in the store; all backups share them, since objects never change
//!   backups/<ulid>.json    one backup: its objects and their sizes, which manifest versions are its newest, under a checksum
//! ```
//! Invariants:
//! 1. A record is written last, so a backup that has one is whole; one that was cut off is gone on with by the next.
//! 2. Segments are listed before manifests are read: what a commit folds in between is in a data file that the manifest names. So everything
//!    that was acknowledged before a backup began is in it.
//! 3. If an object goes away meanwhile, a commit has replaced it: it is planned anew, and what was copied stays copied.
//! 4. A store is restored into an empty place (or one that holds a part of the same backup), manifests last and the newest version of each tenant at the end.
//!
//! Nothing is deleted in the store, and in the backup only by `prune`.

mod copy;
mod plan;
mod prune;
mod record;
mod run;
#[cfg(test)]
mod tests;

pub use prune::{Keep, Pruned, prune};
pub use record::{BackupRecord, BackupTenant, records};
pub use run::{BackupCreated, BackupProgress, create, restore, verify};

use crate::cluster::ClusterError;
use crate::error::ReadError;
use crate::manifest::LoadError;
use crate::store::CreateError;

/// Why a backup cannot be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Manifest(#[from] LoadError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("the store has no `v1/cluster.json`: it was never served")]
    NoCluster,
    #[error("`{key}` at the backup is another object than the store's: give each store a backup place of its own")]
    OtherStore { key: String },
    #[error("`{key}` goes away faster than it can be copied; make a backup when there is less to do, or raise `compaction.retire_after`")]
    Moving { key: String },
    #[error("the backup's object `{key}` is missing or has another size; verify the other backups and take one that is whole")]
    Incomplete { key: String },
    #[error("`{key}` is there and not of this backup: restore into an empty bucket, prefix or folder")]
    NotEmpty { key: String },
    #[error("`{key}` is no record of a backup: {reason}")]
    Record { key: String, reason: String },
}
