//! Start, the parts running together, and the order of stopping.
//!
//! Start: lock, positions, port, receiver; each failure is one clear error. Readers begin at once to find and hold files, and read them when the receiver has said
//! whether it is tailwater.
//! Stop: readers stop reading and hand over what they have; lanes send it until the shutdown timeout; then positions are written. What was not
//! acknowledged by then is not committed, and is read again at the next start. A part that fails ends the whole.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver as CommandReceiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle as ThreadHandle;

use parking_lot::RwLock;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::admin::tls::TlsListener;
use crate::admin::{self, AdminState};
use crate::batch::builder::{BatchBuilder, BatchLimits};
use crate::budget::Budget;
use crate::config::{Config, MetadataMode, RunMode};
use crate::discover::pod_news::PodNews;
use crate::discover::scanner::Scanner;
use crate::discover::scanning::Scanning;
use crate::discover::target_scanner::TargetScanner;
use crate::enrich::Enricher;
use crate::enrich::pods::PodCache;
use crate::events::EventSource;
use crate::handle::{AgentError, AgentHandle, StartError};
use crate::journal::{JournalJobs, JournalReader};
use crate::metrics::Metrics;
use crate::observe::buffer;
use crate::observe::pass::PassView;
use crate::passes::{self, Surface};
use crate::positions::keeper::{self, SharedPositions};
use crate::positions::store::PositionsStore;
use crate::promtail_agent::{self, TargetPlan};
use crate::push::announce;
use crate::push::lane::{self, BlockedState, Lane, LaneBatches};
use crate::push::outgoing::Outgoing;
use crate::push::receiver::Receiver;
use crate::readers::{IN_FLIGHT, Readers, Totals, reader_count, spawn_thread};
use crate::reload::{Continuing, Ending, ReloadRequests};
use crate::starting::{OpenedPositions, docker_root, install_crypto};
use crate::tail::container_stages::ContainerStages;
use crate::tail::handover::Handover;
use crate::tail::records::LineRules;
use crate::tail::stream_limit::StreamLimit;
use crate::tail::worker::{Command, Worker, WorkerHandle};

/// Commands a worker has not taken yet.
const COMMAND_QUEUE: usize = 1024;

/// Starts the agent in the current tokio runtime; it runs until `shutdown` is cancelled.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<AgentHandle, StartError> {
    start_with(config, Continuing::new(), shutdown).await
}

/// The same with what goes on over a change of configuration.
pub(crate) async fn start_with(config: Config, continuing: Continuing, shutdown: CancellationToken) -> Result<AgentHandle, StartError> {
    install_crypto();
    if let Some(promtail) = config.promtail.clone() {
        return promtail_agent::start(config, &promtail, continuing, shutdown).await;
    }
    passes::start(config, continuing, shutdown).await
}

/// How files are found.
pub(crate) enum Discovery {
    /// The tree of pod logs.
    Pods { root: PathBuf },
    /// The jobs of `scrape_configs`.
    Targets(Box<TargetPlan>),
}

/// One pass over the files, for one receiver.
pub(crate) struct Agent {
    config: Config,
    discovery: Discovery,
    receiver: Receiver,
    positions: SharedPositions,
    store: Option<PositionsStore>,
    metrics: Arc<Metrics>,
    /// To send Kubernetes' events.
    events: Option<kube::Client>,
    news: PodNews,
    reload: Option<ReloadRequests>,
    ending: Ending,
    blocked: Arc<BlockedState>,
    is_first_scan_done: Arc<AtomicBool>,
    is_full_reread: bool,
    /// Lines of pods stamped before it are not read.
    not_before: Option<i64>,
    /// Open files of before a reload, and for after one.
    handover: Handover,
}

impl Agent {
    /// `pass` names this pass over the files among several; it goes on over a reload.
    pub(crate) fn new(
        config: Config,
        discovery: Discovery,
        receiver: Receiver,
        positions: OpenedPositions,
        (pass, continuing): (&str, Continuing),
    ) -> Self {
        Self {
            config,
            discovery,
            receiver,
            positions: positions.table,
            store: Some(positions.store),
            handover: continuing.handover(pass),
            metrics: continuing.metrics,
            events: None,
            news: continuing.news,
            reload: continuing.reload,
            ending: continuing.ending,
            blocked: Arc::default(),
            is_first_scan_done: Arc::default(),
            is_full_reread: positions.is_full_reread,
            not_before: positions.not_before,
        }
    }

    /// The same with Kubernetes' events, if there is a client for them.
    pub(crate) fn with_events(self, events: Option<kube::Client>) -> Self {
        Self { events, ..self }
    }

    /// What is shown of it.
    pub(crate) fn view(&self) -> PassView {
        PassView {
            positions: self.positions.clone(),
            blocked: Arc::clone(&self.blocked),
            is_first_scan_done: Arc::clone(&self.is_first_scan_done),
            host: self.receiver.labels.host.clone(),
            client: self.receiver.client,
            name: self.config.client.name.clone().unwrap_or_else(|| self.receiver.labels.host.clone()),
        }
    }

    /// Runs until `shutdown`. `cache` holds what the Kubernetes API tells of pods; absent without one.
    pub(crate) async fn run(
        mut self,
        surface: Option<Surface>,
        cache: Option<Arc<RwLock<PodCache>>>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        let Some(store) = self.store.take() else { return Ok(()) };
        let background = CancellationToken::new();
        let keeper_stop = CancellationToken::new();
        let vanished_kept = self.config.timing.vanished_kept;
        let keeping = keeper::keep(self.positions.clone(), store, vanished_kept, Arc::clone(&self.metrics), keeper_stop.clone());
        let kept = tokio::spawn(keeping);
        let served = self.serve(surface, cache.clone(), background.clone());
        let measured = served.is_some().then(|| tokio::spawn(buffer::watch(Arc::clone(&self.metrics), background.clone())));
        let enricher = self.enricher(cache);
        let announced = Arc::clone(&enricher.sends_metadata);
        let mut result = match self.spawn_readers(Arc::new(enricher), vec![kept.abort_handle()]) {
            Ok(mut readers) => {
                let ended = self.watch_over(&mut readers, &announced, &shutdown).await;
                readers.stop(self.config.shutdown_timeout, &self.ending).await;
                ended
            }
            Err(error) => Err(AgentError::Part(error.to_string())),
        };
        keeper_stop.cancel();
        background.cancel();
        for task in [Some(kept), served, measured].into_iter().flatten() {
            if let Err(error) = task.await
                && result.is_ok()
            {
                result = Err(AgentError::Part(error.to_string()));
            }
        }
        result
    }

    fn enricher(&self, cache: Option<Arc<RwLock<PodCache>>>) -> Enricher {
        let config = &self.config;
        Enricher {
            cache,
            wait: config.metadata_wait,
            node_name: config.node_name.clone(),
            external_labels: config.external_labels.clone(),
            selection: config.selection.clone(),
            choice: config.label_choice.clone(),
            limits: config.label_limits,
            fields: config.metadata_fields.clone(),
            pods_dir: config.pods_dir.clone(),
            sends_metadata: Arc::new(self.sends_metadata().map_or_else(OnceLock::new, OnceLock::from)),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Returns when `shutdown` comes or a part ends. A receiver that is asked what it takes may not be up yet: files are found and held open
    /// meanwhile, and read as soon as it has answered.
    async fn watch_over(
        &mut self,
        readers: &mut Readers,
        announced: &OnceLock<bool>,
        shutdown: &CancellationToken,
    ) -> Result<(), AgentError> {
        let sends_metadata = match announced.get() {
            Some(sends) => *sends,
            None => tokio::select! {
                ended = readers.watch_over(shutdown) => return ended,
                is_tailwater = announce::is_tailwater(&self.receiver) => *announced.get_or_init(|| is_tailwater),
            },
        };
        self.spawn_events(sends_metadata, readers);
        readers.watch_over(shutdown).await
    }

    fn serve(&self, surface: Option<Surface>, cache: Option<Arc<RwLock<PodCache>>>, stop: CancellationToken) -> Option<JoinHandle<()>> {
        let Surface { listener, config, pods, passes } = surface?;
        let state =
            AdminState { config: Arc::new(config), metrics: Arc::clone(&self.metrics), passes, cache, pods, reload: self.reload.clone() };
        let tls = state.config.promtail.as_ref().and_then(|promtail| promtail.server_tls()).cloned();
        Some(tokio::spawn(async move {
            let serving = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                match tls {
                    Some(tls) => axum::serve(TlsListener::new(listener, tls), admin::router(state)).await,
                    None => axum::serve(listener, admin::router(state)).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                result = serving => if let Err(error) = result {
                    tracing::error!(error = %error, "the HTTP server ended");
                },
            }
        }))
    }

    /// Whether structured metadata is sent; `None` if the receiver is to be asked.
    fn sends_metadata(&self) -> Option<bool> {
        // The stages of a `promtail.yaml` say what is sent.
        if self.config.promtail.is_some() {
            return Some(false);
        }
        match self.config.metadata {
            // Nobody is asked in a run that sends nothing.
            MetadataMode::Auto if self.receiver.prints => Some(false),
            MetadataMode::Auto => None,
            MetadataMode::Standard => Some(true),
            MetadataMode::None => Some(false),
        }
    }

    fn spawn_readers(&self, enricher: Arc<Enricher>, needed: Vec<AbortHandle>) -> Result<Readers, StartError> {
        let count = reader_count(self.config.readers);
        let mut readers = Readers {
            stop: Arc::default(),
            threads: Vec::new(),
            lanes: Vec::new(),
            events: Default::default(),
            doubts: Arc::default(),
            needed,
        };
        let mut handles = Vec::new();
        let totals = Totals { streams: StreamLimit::new(self.config.max_streams), ..Totals::default() };
        for index in 0..count {
            let (sender, commands) = sync_channel(COMMAND_QUEUE);
            let handle = WorkerHandle(sender);
            let (lane_sender, batches) = lane::channel((IN_FLIGHT / count).max(1));
            self.spawn_lane(handle.clone(), batches, &mut readers);
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
            handover: self.handover.clone(),
        };
        readers.threads.push(self.spawn_scanner(scanning, enricher.cache.clone())?);
        if let Discovery::Targets(plan) = &self.discovery {
            self.spawn_journal(plan.journal(), &enricher, &mut readers)?;
        }
        Ok(readers)
    }

    fn spawn_scanner(&self, scanning: Scanning, pods: Option<Arc<RwLock<PodCache>>>) -> Result<ThreadHandle<()>, StartError> {
        match &self.discovery {
            Discovery::Pods { root } => {
                let docker_root = docker_root(&self.config);
                let news = self.news.clone();
                let (selection, metadata_wait) = (self.config.selection.clone(), self.config.metadata_wait);
                let scanner = Scanner { root: root.clone(), selection, pods, metadata_wait, docker_root, news, scanning };
                spawn_thread("scanner".to_owned(), move || scanner.run())
            }
            Discovery::Targets(plan) => {
                let scanner = TargetScanner {
                    jobs: plan.jobs.clone(),
                    pods: plan.pods.clone(),
                    hostname: plan.hostname.clone(),
                    limits: Arc::clone(&plan.limits),
                    docker_root: docker_root(&self.config),
                    old_offsets: plan.old_positions.offsets.clone(),
                    scanning,
                };
                spawn_thread("target-scanner".to_owned(), move || scanner.run())
            }
        }
    }

    /// Reads the journal, if a job asks for it.
    fn spawn_journal(&self, jobs: JournalJobs, enricher: &Enricher, readers: &mut Readers) -> Result<(), StartError> {
        if !jobs.are_any() {
            return Ok(());
        }
        let (sender, commands) = sync_channel(COMMAND_QUEUE);
        let (lane, batches) = lane::channel(1);
        self.spawn_lane(WorkerHandle(sender), batches, readers);
        let reader = JournalReader {
            jobs,
            commands,
            outgoing: self.outgoing(lane),
            metrics: Arc::clone(&self.metrics),
            positions: self.positions.clone(),
            rules: self.line_rules(),
            sends_metadata: Arc::clone(&enricher.sends_metadata),
            poll: self.config.timing.poll_max,
            stop: Arc::clone(&readers.stop),
        };
        readers.threads.push(spawn_thread("journal".to_owned(), move || reader.run())?);
        Ok(())
    }

    /// Sends Kubernetes' events, if there is a client for them.
    fn spawn_events(&mut self, sends_metadata: bool, readers: &mut Readers) {
        let Some(client) = self.events.take() else { return };
        // Nobody waits to be told that the lane has room.
        let (sender, _) = sync_channel(1);
        let (lane, batches) = lane::channel(1);
        self.spawn_lane(WorkerHandle(sender), batches, readers);
        let source = EventSource {
            client,
            identity: self.config.node_name.clone(),
            external_labels: self.config.external_labels.clone(),
            sends_metadata,
            batch: BatchBuilder::new(self.batch_limits()),
            lane,
            batch_wait: self.config.client.batchwait,
            lease_duration: self.config.timing.lease_duration,
            positions: self.positions.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let stop = readers.events.0.clone();
        readers.events.1 = Some(tokio::spawn(source.run(stop)));
    }

    fn spawn_lane(&self, reader: WorkerHandle, batches: LaneBatches, readers: &mut Readers) {
        let lane = Lane {
            receiver: self.receiver.clone(),
            positions: self.positions.clone(),
            metrics: Arc::clone(&self.metrics),
            blocked: Arc::clone(&self.blocked),
            reader,
            doubts: Arc::clone(&readers.doubts),
        };
        readers.lanes.push(tokio::spawn(lane.run(batches)));
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
        Worker {
            commands,
            outgoing: self.outgoing(lane),
            limited: Arc::clone(&self.receiver.limited),
            metrics: Arc::clone(&self.metrics),
            positions: self.positions.clone(),
            enricher: Arc::clone(enricher),
            rules: self.line_rules(),
            stages: self.container_stages(),
            timing: config.timing.clone(),
            is_full_reread: self.is_full_reread,
            not_before: self.not_before,
            stop: Arc::clone(stop),
            client: self.receiver.client,
            max_open_files: (config.max_open_files / reader_count(config.readers)).max(1),
            held_bytes: Arc::clone(&totals.held_bytes),
            max_held_bytes: config.deleted_hold_bytes,
            all_containers: Arc::clone(&totals.containers),
            streams: totals.streams.clone(),
            pending_bytes: Arc::clone(&totals.pending_bytes),
            max_pending_bytes: self.budget().pending,
            docker_root: docker_root(config),
            handover: self.handover.clone(),
        }
    }

    fn outgoing(&self, lane: lane::LaneSender) -> Outgoing {
        Outgoing::new(BatchBuilder::new(self.batch_limits()), lane, self.config.client.batchwait)
    }

    fn budget(&self) -> Budget {
        let config = &self.config;
        let budget = Budget::of(config.memory_limit, reader_count(config.readers), config.client.batchsize);
        // A `promtail.yaml` means its batches as they are.
        if config.promtail.is_some() { Budget { batch: config.client.batchsize, ..budget } } else { budget }
    }

    fn batch_limits(&self) -> BatchLimits {
        let config = &self.config;
        // What stages send is valid already and does not expand.
        let expansion = if matches!(self.discovery, Discovery::Targets(_)) { 3 } else { 1 };
        BatchLimits { batch_bytes: self.budget().batch, max_line_bytes: config.max_line_size / expansion }
    }

    fn container_stages(&self) -> Arc<ContainerStages> {
        let config = &self.config;
        let stages = config.pipeline_stages.as_ref();
        let counters = stages.map(|stages| Arc::clone(&stages.counters)).unwrap_or_default();
        let inspects = config.run_mode == RunMode::Inspect;
        Arc::new(ContainerStages {
            pipeline: stages.map(|stages| stages.pipeline.clone()).unwrap_or_default(),
            auto_multiline: config.auto_multiline.clone(),
            max_line_size: config.max_line_size,
            limits: ContainerStages::limits(counters, &self.metrics, (config.max_line_size, config.long_line), inspects),
        })
    }

    fn line_rules(&self) -> LineRules {
        let config = &self.config;
        LineRules {
            max_line_bytes: config.max_line_size,
            max_record_bytes: config.max_record_bytes,
            format: config.format,
            long_line: config.long_line,
            unparsed: config.unparsed,
            rate: config.rate,
        }
    }
}
