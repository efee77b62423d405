//! Commands that work on a store by themselves, while no server does: `fsck`, `export`, `import`; and `backup`, which may work beside servers.
//!
//! ```text
//! arguments → the configuration of `serve` → store → tailwater_storage::{fsck, transfer, backup} → report on standard output
//!                                                            progress on standard error: a bar on a terminal, a line every 5 s elsewhere
//! ```
//! Nothing is changed but by `import`, by `fsck --rebuild` and by `backup restore`; nothing is ever deleted here.

pub mod arguments;
mod backup;
mod derive;
mod export;
mod from_loki;
mod fsck;
mod import;
mod opened;
mod progress;

use std::io;

use tailwater_storage::backup::BackupError;
use tailwater_storage::cluster::ClusterError;
use tailwater_storage::compact::CompactError;
use tailwater_storage::error::ReadError;
use tailwater_storage::fsck::RebuildError;
use tailwater_storage::store::{OpenError, ProbeError};
use tailwater_storage::transfer::{ExportError, ImportError};

use crate::config::load::LoadError;
use crate::ingest::buffer::PushFailed;
use crate::retention::PolicyError;

pub use arguments::{BackupAction, BackupOptions, ExportOptions, FsckOptions, ImportInput, ImportOptions, LokiSource};
pub use backup::backup;
pub use export::export;
pub use fsck::{Verdict, fsck};
pub use import::import;

/// Why a command could not be carried out. Display is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error(transparent)]
    Config(#[from] LoadError),
    #[error("there is no store in folder `{folder}`: set `storage.filesystem.path`")]
    NoFolder { folder: String },
    #[error("the store has no object under `v1/`: check `storage.prefix` and where the store is")]
    EmptyStore,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("cannot read the store: {0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Retention(#[from] PolicyError),
    #[error("`{text}` is no stream selector: {reason}")]
    Selector { text: String, reason: String },
    #[error("`{text}` given to --{flag} is {reason}")]
    Time { flag: &'static str, text: String, reason: String },
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("{imported} entries are stored; {source}; once it is put right, import the whole input again: nothing is stored twice")]
    Import { imported: u64, source: ImportError },
    #[error("{imported} entries are stored; {source}; import the whole input again: nothing is stored twice")]
    Push { imported: u64, source: PushFailed },
    #[error("cannot fold segments into data files: {0}; what was imported so far is stored, and importing it again stores nothing twice")]
    Fold(CompactError),
    #[error("cannot open `{path}`: {source}")]
    File { path: String, source: io::Error },
    #[error("cannot ask the Loki: {0}")]
    Loki(String),
    #[error("Parquet cannot be read from standard input: name a file")]
    ParquetInput,
    #[error("`{url}` is no place for backups: give /folder, s3://bucket/prefix, or https://server/bucket/prefix of an S3 server")]
    BackupPlace { url: String },
    #[error("there is no backup at `{place}`: make one with `backup create`")]
    NoBackup { place: String },
    #[error("there is no backup `{id}` at `{place}`: `backup list` tells which there are")]
    UnknownBackup { id: String, place: String },
    #[error(transparent)]
    Backup(Box<BackupError>),
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
    #[error("reading the input failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}
