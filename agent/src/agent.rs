//! Start, the parts running together, and the order of stopping.
//!
//! Start: lock, positions, port, receiver; each failure is one clear error. The readers begin when the receiver has said whether it is tailwater.
//! Stop: readers stop reading and hand over what they have; lanes send it until the shutdown timeout; then positions are written. What was not
//! acknowledged by then is not committed, and is read again at the next start. A part that fails ends the whole.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as CommandReceiver, sync_channel};
use std::thread::JoinHandle as ThreadHandle;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminState};
use crate::batch::builder::{BatchBuilder, BatchLimits};
use crate::config::{Config, MetadataMode, MetadataSource, RunMode};
use crate::discover::scanner::Scanner;
use crate::discover::scanning::Scanning;
use crate::discover::target_scanner::TargetScanner;
use crate::enrich::Enricher;
use crate::enrich::kubernetes::{self, ConnectError};
use crate::enrich::pods::PodCache;
use crate::metrics::Metrics;
use crate::positions::keeper::{self, SharedPositions};
use crate::positions::lock::{DataDirLock, LockError};
use crate::positions::rewind;
use crate::positions::store::{LoadedFrom, PositionsStore};
use crate::positions::table::PositionsTable;
use crate::promtail::old_positions::OldPositionsError;
use crate::promtail_agent::{self, Pods, TargetPlan};
use crate::push::announce;
use crate::push::lane::{self, BlockedState, Lane, LaneBatches};
use crate::push::receiver::{Receiver, ReceiverError};
use crate::reload::{Continuing, ReloadRequests};
use crate::tail::records::LineRules;
use crate::tail::worker::{Command, Worker, WorkerHandle};

/// Commands a worker has not taken yet.
const COMMAND_QUEUE: usize = 1024;
/// Batches closed and not acknowledged, all lanes together.
const IN_FLIGHT: usize = 4;
const MAX_READERS: usize = 4;
/// Between two attempts to take a data directory that another agent has.
const LOCK_WAIT: Duration = Duration::from_millis(250);

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

/// Starts the agent in the current tokio runtime; it runs until `shutdown` is cancelled.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<AgentHandle, StartError> {
    start_with(config, Continuing::new(), shutdown).await
}

/// The same with what goes on over a change of configuration.
pub(crate) async fn start_with(mut config: Config, continuing: Continuing, shutdown: CancellationToken) -> Result<AgentHandle, StartError> {
    install_crypto();
    if config.run_mode != RunMode::Ship {
        config.listen = None;
    }
    if let Some(promtail) = config.promtail.clone() {
        return promtail_agent::start(config, &promtail, continuing, shutdown).await;
    }
    let root = config.pods_dir.canonicalize().ok().filter(|path| path.is_dir());
    let root = root.ok_or_else(|| StartError::PodsDir { path: config.pods_dir.clone() })?;
    let receiver = receiver(&config)?;
    let lock = take_data_dir(&config, &shutdown).await?;
    let listener = config.listen.map(bind).transpose()?;
    let listen = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let kubernetes = match (config.metadata_source, &config.kubeconfig) {
        (MetadataSource::Auto, Some(path)) => Some(kubernetes::connect(Some(path.clone())).await?),
        (MetadataSource::Auto, None) if config.in_cluster => Some(kubernetes::connect(None).await?),
        _ => None,
    };
    let metrics = Arc::clone(&continuing.metrics);
    let positions = OpenedPositions::open(&config, lock.as_ref().is_some_and(|data_dir| data_dir.was_used));
    let agent = Agent::new(config, Discovery::Pods { root }, receiver, positions, continuing);
    let supervisor = tokio::spawn(async move {
        let _lock = lock;
        agent.run(listener, kubernetes, shutdown).await
    });
    Ok(AgentHandle { metrics, listen, supervisor })
}

/// Both HTTP clients take the process's default.
pub(crate) fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() && rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("another part of the process installed a provider first");
    }
}

/// Where lines go: to the client, or to the standard output.
pub(crate) fn receiver(config: &Config) -> Result<Receiver, StartError> {
    let mut receiver = Receiver::new(config.client.clone())?;
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

pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let fail = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// How files are found.
pub(crate) enum Discovery {
    /// The tree of pod logs.
    Pods { root: PathBuf },
    /// The jobs of a `promtail.yaml`.
    Targets(Box<TargetPlan>),
}

/// Positions as they were found, and where they are kept.
pub(crate) struct OpenedPositions {
    store: PositionsStore,
    table: SharedPositions,
    pub(crate) is_new: bool,
    is_full_reread: bool,
}

impl OpenedPositions {
    /// `was_used`: an agent ran on this directory before, so that positions that are not there were lost.
    pub(crate) fn open(config: &Config, was_used: bool) -> Self {
        let directory = &config.data_dir;
        let (store, mut loaded, source) = PositionsStore::open(directory);
        let mut store = if config.run_mode == RunMode::Ship { store } else { store.without_writing() };
        if config.run_mode == RunMode::Ship && rewind::obey(directory, &mut loaded) {
            match store.write(&loaded) {
                Ok(()) => rewind::settle(directory),
                Err(error) => tracing::warn!(error = %error, "cannot write positions; the request to rewind stays"),
            }
        }
        let is_new = loaded.files.is_empty();
        let is_full_reread = source == LoadedFrom::Damaged || (source == LoadedFrom::Nothing && was_used);
        Self { store, table: SharedPositions::new(PositionsTable::load(loaded)), is_new, is_full_reread }
    }
}

/// One pass over the files, for one receiver.
pub(crate) struct Agent {
    config: Config,
    discovery: Discovery,
    receiver: Receiver,
    positions: SharedPositions,
    store: Option<PositionsStore>,
    metrics: Arc<Metrics>,
    reload: Option<ReloadRequests>,
    blocked: Arc<BlockedState>,
    is_first_scan_done: Arc<AtomicBool>,
    is_full_reread: bool,
}

/// What all readers count together.
#[derive(Debug, Default)]
struct Totals {
    open_files: Arc<AtomicI64>,
    pending_bytes: Arc<AtomicUsize>,
    held_bytes: Arc<AtomicU64>,
    containers: Arc<AtomicUsize>,
}

/// Threads and lanes, and how to stop them.
struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<ThreadHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn new(
        config: Config,
        discovery: Discovery,
        receiver: Receiver,
        positions: OpenedPositions,
        continuing: Continuing,
    ) -> Self {
        Self {
            config,
            discovery,
            receiver,
            positions: positions.table,
            store: Some(positions.store),
            metrics: continuing.metrics,
            reload: continuing.reload,
            blocked: Arc::default(),
            is_first_scan_done: Arc::default(),
            is_full_reread: positions.is_full_reread,
        }
    }

    pub(crate) async fn run(
        mut self,
        listener: Option<TcpListener>,
        kubernetes: Option<kube::Client>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        let Some(store) = self.store.take() else { return Ok(()) };
        let background = CancellationToken::new();
        let keeper_stop = CancellationToken::new();
        let kept = tokio::spawn(keeper::keep(self.positions.clone(), store, Arc::clone(&self.metrics), keeper_stop.clone()));
        let cache = kubernetes.map(|client| {
            let cache = Arc::new(RwLock::default());
            let watch =
                kubernetes::watch(client, self.config.node_name.clone(), Arc::clone(&cache), Arc::clone(&self.metrics), background.clone());
            tokio::spawn(watch);
            cache
        });
        let served = self.serve(listener, cache.clone(), background.clone());
        let mut result = Ok(());
        let sends_metadata = tokio::select! {
            () = shutdown.cancelled() => None,
            sends = self.sends_metadata() => Some(sends),
        };
        if let Some(sends_metadata) = sends_metadata {
            let enricher = Enricher {
                cache,
                wait: self.config.metadata_wait,
                node_name: self.config.node_name.clone(),
                external_labels: self.config.external_labels.clone(),
                sends_metadata,
                metrics: Arc::clone(&self.metrics),
            };
            match self.spawn_readers(Arc::new(enricher)) {
                Ok(mut readers) => {
                    result = readers.watch_over(&shutdown).await;
                    readers.stop(self.config.shutdown_timeout).await;
                }
                Err(error) => result = Err(AgentError::Part(error.to_string())),
            }
        }
        keeper_stop.cancel();
        background.cancel();
        for task in [Some(kept), served].into_iter().flatten() {
            if let Err(error) = task.await {
                result = Err(AgentError::Part(error.to_string()));
            }
        }
        result
    }

    fn serve(
        &self,
        listener: Option<TcpListener>,
        cache: Option<Arc<RwLock<PodCache>>>,
        stop: CancellationToken,
    ) -> Option<JoinHandle<()>> {
        let state = AdminState {
            config: Arc::new(self.config.clone()),
            metrics: Arc::clone(&self.metrics),
            positions: self.positions.clone(),
            blocked: Arc::clone(&self.blocked),
            is_first_scan_done: Arc::clone(&self.is_first_scan_done),
            cache,
            pods: match &self.discovery {
                Discovery::Pods { .. } => Pods::default(),
                Discovery::Targets(plan) => plan.pods.clone(),
            },
            reload: self.reload.clone(),
        };
        let listener = listener?;
        Some(tokio::spawn(async move {
            let serving = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, admin::router(state)).await
            };
            tokio::select! {
                () = stop.cancelled() => {}
                result = serving => if let Err(error) = result {
                    tracing::error!(error = %error, "the HTTP server ended");
                },
            }
        }))
    }

    async fn sends_metadata(&self) -> bool {
        // The stages of a `promtail.yaml` say what is sent.
        if self.config.promtail.is_some() {
            return false;
        }
        match self.config.metadata {
            // Nobody is asked in a run that sends nothing.
            MetadataMode::Auto if self.receiver.prints => false,
            MetadataMode::Auto => announce::is_tailwater(&self.receiver).await,
            MetadataMode::Standard => true,
            MetadataMode::None => false,
        }
    }

    fn spawn_readers(&self, enricher: Arc<Enricher>) -> Result<Readers, StartError> {
        let count = reader_count(self.config.readers);
        let mut readers = Readers { stop: Arc::default(), threads: Vec::new(), lanes: Vec::new() };
        let mut handles = Vec::new();
        let totals = Totals::default();
        for index in 0..count {
            let (sender, commands) = sync_channel(COMMAND_QUEUE);
            let handle = WorkerHandle(sender);
            // One batch is being sent in each lane; the rest waits in it.
            let (lane_sender, batches) = lane::channel((IN_FLIGHT / count).saturating_sub(1).max(1));
            readers.lanes.push(self.spawn_lane(handle.clone(), batches));
            let worker = self.worker(commands, lane_sender, &enricher, &readers.stop, &totals);
            readers.threads.push(spawn_thread(format!("reader-{index}"), move || worker.run())?);
            handles.push(handle);
        }
        let scanning = Scanning {
            workers: handles,
            positions: self.positions.clone(),
            metrics: Arc::clone(&self.metrics),
            timing: self.config.timing.clone(),
            is_first_scan_done: Arc::clone(&self.is_first_scan_done),
            stop: Arc::clone(&readers.stop),
        };
        readers.threads.push(self.spawn_scanner(scanning)?);
        Ok(readers)
    }

    fn spawn_scanner(&self, scanning: Scanning) -> Result<ThreadHandle<()>, StartError> {
        match &self.discovery {
            Discovery::Pods { root } => {
                let scanner = Scanner { root: root.clone(), scanning };
                spawn_thread("scanner".to_owned(), move || scanner.run())
            }
            Discovery::Targets(plan) => {
                let scanner = TargetScanner {
                    jobs: plan.jobs.clone(),
                    pods: plan.pods.clone(),
                    hostname: plan.hostname.clone(),
                    limits: Arc::clone(&plan.limits),
                    old_offsets: plan.old_offsets.clone(),
                    scanning,
                };
                spawn_thread("target-scanner".to_owned(), move || scanner.run())
            }
        }
    }

    fn spawn_lane(&self, reader: WorkerHandle, batches: LaneBatches) -> JoinHandle<()> {
        let lane = Lane {
            receiver: self.receiver.clone(),
            positions: self.positions.clone(),
            metrics: Arc::clone(&self.metrics),
            blocked: Arc::clone(&self.blocked),
            reader,
        };
        tokio::spawn(lane.run(batches))
    }

    fn worker(
        &self,
        commands: CommandReceiver<Command>,
        lane: lane::LaneSender,
        enricher: &Arc<Enricher>,
        stop: &Arc<AtomicBool>,
        totals: &Totals,
    ) -> Worker {
        let config = &self.config;
        // What stages send is valid already and does not expand.
        let expansion = if config.promtail.is_some() { 3 } else { 1 };
        let limits = BatchLimits { batch_bytes: config.client.batchsize, max_line_bytes: config.max_line_size / expansion };
        Worker {
            commands,
            lane,
            batch: BatchBuilder::new(limits),
            metrics: Arc::clone(&self.metrics),
            positions: self.positions.clone(),
            enricher: Arc::clone(enricher),
            rules: LineRules {
                max_line_bytes: config.max_line_size,
                max_record_bytes: config.max_record_bytes,
                long_line: config.long_line,
                unparsed: config.unparsed,
                rate: config.rate,
            },
            timing: config.timing.clone(),
            batch_wait: config.client.batchwait,
            is_full_reread: self.is_full_reread,
            stop: Arc::clone(stop),
            open_files: Arc::clone(&totals.open_files),
            max_open_files: (allowed_open_files(config.max_open_files) / reader_count(config.readers)).max(1),
            held_bytes: Arc::clone(&totals.held_bytes),
            max_held_bytes: config.deleted_hold_bytes,
            all_containers: Arc::clone(&totals.containers),
            pending_bytes: Arc::clone(&totals.pending_bytes),
        }
    }
}

impl Readers {
    /// Returns when `shutdown` comes, or with an error when a thread or lane ends before.
    async fn watch_over(&mut self, shutdown: &CancellationToken) -> Result<(), AgentError> {
        const LOOK_EVERY: Duration = Duration::from_millis(200);
        while !shutdown.is_cancelled() {
            if self.threads.iter().any(ThreadHandle::is_finished) || self.lanes.iter().any(JoinHandle::is_finished) {
                return Err(AgentError::Part("a reader ended unexpectedly".to_owned()));
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(())
    }

    /// Stops reading, sends what was read until `timeout`, then lets go.
    async fn stop(mut self, timeout: Duration) {
        self.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + timeout;
        for lane in &mut self.lanes {
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, &mut *lane).await.is_err() {
                tracing::warn!("not everything was sent before the end; it is read again at the next start");
                lane.abort();
            }
        }
        // With the lanes gone the readers wait for nothing.
        let joined = tokio::task::spawn_blocking(move || self.threads.into_iter().filter_map(|thread| thread.join().err()).count()).await;
        match joined {
            Ok(0) => {}
            failed => tracing::error!(?failed, "threads ended by a panic"),
        }
    }
}

fn spawn_thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<ThreadHandle<()>, StartError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)
}

/// What is configured, or four fifths of what the system lets this process open.
fn allowed_open_files(configured: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    configured.min(usize::try_from(limit / 5 * 4).unwrap_or(usize::MAX))
}

fn reader_count(configured: usize) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    if configured > 0 { configured } else { processors().min(MAX_READERS) }
}
