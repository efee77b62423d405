//! A running agent as its caller sees it, and why there is none.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::enrich::kubernetes::ConnectError;
use crate::metrics::Metrics;
use crate::promtail::old_positions::OldPositionsError;
use crate::push::receiver::ReceiverError;

/// Why the agent does not start. One line each, saying what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no directory `{path}` to tail; create it, or set `pods_dir`")]
    PodsDir { path: PathBuf },
    #[error("cannot use data directory `{path}`; make it writable for this user, or set `data_dir`: {source}")]
    DataDir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("told to stop while data directory `{path}` was in use by another agent")]
    Locked { path: PathBuf },
    #[error("cannot listen on `{address}`; free the port, or set `listen`: {source}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot set up the receiver: {0}")]
    Receiver(#[from] ReceiverError),
    #[error("cannot set up the Kubernetes API: {0}")]
    Kubernetes(#[from] ConnectError),
    #[error(transparent)]
    OldPositions(#[from] OldPositionsError),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a running agent ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("a part of the agent failed: {0}")]
    Part(String),
}

/// What the agent counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsSnapshot {
    /// Records read from files; lines split by the runtime count as several.
    pub lines_read: u64,
    pub bytes_read: u64,
    /// Lines the receiver acknowledged.
    pub lines_acknowledged: u64,
    pub bytes_acknowledged: u64,
    /// Lines deliberately not delivered.
    pub lines_dropped: u64,
    /// Files of which bytes may be missing.
    pub possible_losses: u64,
    /// Requests sent and not answered at this moment.
    pub pushes_in_flight: u64,
}

/// A running agent.
#[derive(Debug)]
pub struct AgentHandle {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) supervisor: JoinHandle<Result<(), AgentError>>,
}

impl AgentHandle {
    pub fn metrics(&self) -> MetricsSnapshot {
        let metrics = &self.metrics;
        MetricsSnapshot {
            lines_read: metrics.lines_read.get(),
            bytes_read: metrics.bytes_read.get(),
            lines_acknowledged: metrics.lines_acknowledged.get(),
            bytes_acknowledged: metrics.bytes_acknowledged.get(),
            lines_dropped: metrics.all_dropped_lines(),
            possible_losses: metrics.possible_losses(),
            pushes_in_flight: metrics.pushes_in_flight.get().try_into().unwrap_or_default(),
        }
    }

    /// All metrics in the text format of Prometheus.
    pub fn render_metrics(&self) -> String {
        self.metrics.render()
    }

    /// Where `/ready` and `/metrics` are served.
    pub fn listen_address(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Waits for the end, which the token given to [`start`] brings.
    pub async fn join(self) -> Result<(), AgentError> {
        match self.supervisor.await {
            Ok(result) => result,
            Err(error) => Err(AgentError::Part(error.to_string())),
        }
    }
}
