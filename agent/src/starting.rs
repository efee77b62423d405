//! What an agent needs before it reads: data directory, positions, receiver, clients. Each failure is one clear error.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::config::{Config, RunMode};
use crate::enrich::kubernetes;
use crate::handle::StartError;
use crate::metrics::Metrics;
use crate::positions::first_start;
use crate::positions::lock::{DataDirLock, LockError};
use crate::positions::rewind;
use crate::positions::store::{LoadedFrom, PositionsStore};
use crate::positions::table::Positions;
use crate::push::receiver::Receiver;

/// Between two attempts to take a data directory that another agent has.
const LOCK_WAIT: Duration = Duration::from_millis(250);

/// For Kubernetes' events, if they are to be sent.
pub(crate) async fn events_client(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<kube::Client>, StartError> {
    if !config.events || config.run_mode != RunMode::Ship {
        return Ok(None);
    }
    Ok(Some(kubernetes::connect(config.kubeconfig.clone(), metrics).await?))
}

/// Where docker has its containers' files, if it is there.
pub(crate) fn docker_root(config: &Config) -> Option<PathBuf> {
    config.docker_root.join("containers").canonicalize().ok()
}

/// Both HTTP clients take the process's default.
pub(crate) fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() && rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("another part of the process installed a provider first");
    }
}

/// Where lines go: to the client of this number, or to the standard output.
pub(crate) fn receiver(config: &Config, client: usize) -> Result<Receiver, StartError> {
    let mut receiver = Receiver::new(config.client.clone())?;
    receiver.client = client;
    receiver.prints = config.run_mode != RunMode::Ship;
    Ok(receiver)
}

/// The data directory, held as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    _lock: DataDirLock,
    /// An agent ran on it before.
    pub(crate) was_used: bool,
}

/// Makes the data directory and locks it, once no other agent has it; a run that leaves everything as it is needs neither.
pub(crate) async fn take_data_dir(config: &Config, shutdown: &CancellationToken) -> Result<Option<DataDir>, StartError> {
    if config.run_mode != RunMode::Ship {
        return Ok(None);
    }
    let path = config.data_dir.clone();
    std::fs::create_dir_all(&path).map_err(|source| StartError::DataDir { path: path.clone(), source })?;
    let was_used = DataDirLock::was_taken(&path);
    let mut is_told = false;
    loop {
        match DataDirLock::take(&path) {
            Ok(lock) => return Ok(Some(DataDir { _lock: lock, was_used })),
            Err(LockError::Io { source, .. }) => return Err(StartError::DataDir { path, source }),
            Err(LockError::Held) if !is_told => {
                is_told = true;
                tracing::warn!(path = %path.display(), "data directory is in use by another agent; waiting for its end");
            }
            Err(LockError::Held) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Err(StartError::Locked { path }),
            () = tokio::time::sleep(LOCK_WAIT) => {}
        }
    }
}

/// Positions as they were found, and where they are kept.
pub(crate) struct OpenedPositions {
    /// Absent while a pass has it.
    pub(crate) store: Option<PositionsStore>,
    pub(crate) loaded: Positions,
    pub(crate) is_full_reread: bool,
    /// Lines stamped before it are not read, nanoseconds since the epoch; `None`: all are.
    pub(crate) not_before: Option<i64>,
}

impl OpenedPositions {
    /// `was_used`: an agent ran on this directory before, so that positions that are not there were lost. `started`: for all clients the same.
    pub(crate) fn open(config: &Config, was_used: bool, started: SystemTime) -> Self {
        let directory = &config.data_dir;
        let (store, mut loaded, source) = PositionsStore::open(directory);
        let mut store = if config.run_mode == RunMode::Ship { store } else { store.without_writing() };
        if config.run_mode == RunMode::Ship && rewind::obey(directory, &mut loaded) {
            match store.write(&loaded) {
                Ok(()) => rewind::settle(directory),
                Err(error) => tracing::warn!(error = %error, "cannot write positions; the request to rewind stays"),
            }
        }
        let is_full_reread = source == LoadedFrom::Damaged || (source == LoadedFrom::Nothing && was_used);
        let is_first = source == LoadedFrom::Nothing && !was_used;
        let not_before =
            first_start::not_before(directory, config.initial_lookback, is_first.then_some(started), config.run_mode == RunMode::Ship);
        Self { store: Some(store), loaded, is_full_reread, not_before }
    }
}
