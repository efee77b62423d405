//! Start, the parts running together, and the order of stopping.
//!
//! Start: lock, positions, port, receiver; each failure is one clear error. Readers begin at once to find and hold files, and read them when the receiver has said
//! whether it is tailwater.
//! Stop: readers stop reading and hand over what they have; lanes send it until the shutdown timeout; then positions are written. What was not
//! acknowledged by then is not committed, and is read again at the next start. A part that fails ends the whole.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as CommandReceiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle as ThreadHandle;

use parking_lot::RwLock;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::batch::builder::{BatchBuilder, BatchLimits};
use crate::budget::Budget;
use crate::config::{Config, RunMode};
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
use crate::observe::pass::PassView;
use crate::passes;
use crate::passes::member::Member;
use crate::positions::keeper::{self, SharedPositions};
use crate::positions::meeting::Meeting;
use crate::positions::table::{Positions, PositionsTable};
use crate::promtail_agent::{self, TargetPlan};
use crate::push::announce;
use crate::push::laggards::Laggards;
use crate::push::lane::{self, Lane, LaneSender};
use crate::push::outgoing::Outgoing;
use crate::readers::{IN_FLIGHT, PAUSE_TIMEOUT, Readers, ReadingEnd, RunningLane, Totals, reader_count, spawn_thread};
use crate::reload::{Continuing, Ending};
use crate::starting::{docker_root, install_crypto};
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
#[derive(Clone)]
pub(crate) enum Discovery {
    /// The tree of pod logs.
    Pods { root: PathBuf },
    /// The jobs of `scrape_configs`.
    Targets(Arc<TargetPlan>),
}

impl Discovery {
    /// Whether the same lines with the same labels come of both.
    pub(crate) fn finds_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pods { root }, Self::Pods { root: other }) => root == other,
            (Self::Targets(plan), Self::Targets(other)) => plan.limits.external_labels == other.limits.external_labels,
            _ => false,
        }
    }
}

/// One pass over the files, for one client or several that are in step.
pub(crate) struct Agent {
    /// As the first of them has it, with the part of all that the process may take.
    config: Config,
    discovery: Discovery,
    /// Whether anything is acknowledged.
    is_new: bool,
    members: Vec<Member>,
    positions: SharedPositions,
    metrics: Arc<Metrics>,
    news: PodNews,
    ending: Ending,
    is_first_scan_done: Arc<AtomicBool>,
    /// Passes before it have looked at all files for all its clients.
    have_looked: bool,
    /// Open files of those who read before, and for those who do after it.
    handover: Handover,
    /// Up to where files are read, if not to their ends.
    meeting: Option<Arc<Meeting>>,
    /// Whether all its clients answered when somebody looked last.
    all_answer: Arc<AtomicBool>,
}

/// A pass that has ended.
pub(crate) struct Ended {
    /// For whom it was, with what they have acknowledged.
    pub(crate) members: Vec<Member>,
    pub(crate) end: Result<ReadingEnd, AgentError>,
    /// Everything that was read is acknowledged.
    pub(crate) is_settled: bool,
}

impl Agent {
    /// For members that are in step; `of` all members.
    pub(crate) fn new(mut members: Vec<Member>, of: usize, continuing: &Continuing) -> Self {
        let first = &members[0];
        let (mut config, discovery, is_new) = (first.config.clone(), first.discovery.clone(), first.positions.loaded.files.is_empty());
        passes::share_limits(&mut config, members.len(), of);
        let positions = PositionsTable::load(members.iter().map(|member| &member.positions.loaded));
        // The table has them; of old entries nothing is kept.
        members.iter_mut().for_each(|member| member.positions.loaded = Positions::default());
        Self {
            config,
            discovery,
            is_new,
            positions: SharedPositions::new(positions),
            metrics: Arc::clone(&continuing.metrics),
            news: continuing.news.clone(),
            ending: continuing.ending.clone(),
            is_first_scan_done: Arc::default(),
            have_looked: members.iter().all(|member| member.has_looked),
            handover: Handover::together(members.iter().map(|member| continuing.handover(&member.name))),
            meeting: None,
            all_answer: Arc::default(),
            members,
        }
    }

    /// The same for a pass that only reads until its clients meet others.
    pub(crate) fn up_to(self, meeting: Arc<Meeting>) -> Self {
        Self { meeting: Some(meeting), ..self }
    }

    pub(crate) fn positions(&self) -> &SharedPositions {
        &self.positions
    }

    pub(crate) fn all_answer(&self) -> &Arc<AtomicBool> {
        &self.all_answer
    }

    fn first(&self) -> &Member {
        &self.members[0]
    }

    /// What is shown of it.
    pub(crate) fn views(&self) -> Vec<PassView> {
        let view = |(place, member): (usize, &Member)| PassView {
            member: member.name.clone(),
            positions: self.positions.clone(),
            place,
            blocked: Arc::clone(&member.blocked),
            is_first_scan_done: Arc::clone(&self.is_first_scan_done),
            has_looked: member.has_looked,
            host: member.receiver.labels.host.clone(),
            client: member.receiver.client,
            name: member.config.client.name.clone().unwrap_or_else(|| member.receiver.labels.host.clone()),
        };
        self.members.iter().enumerate().map(view).collect()
    }

    /// Runs until `stop`, or until a client lags. `cache` holds what the Kubernetes API tells of pods; absent without one. Other passes come after it unless
    /// `shutdown` came.
    pub(crate) async fn run(mut self, cache: Option<Arc<RwLock<PodCache>>>, stop: CancellationToken, shutdown: CancellationToken) -> Ended {
        let keeper_stop = CancellationToken::new();
        let vanished_kept = self.config.timing.vanished_kept;
        let stores = self.members.iter_mut().filter_map(|member| member.positions.store.take()).collect();
        let keeping = keeper::keep(self.positions.clone(), stores, vanished_kept, Arc::clone(&self.metrics), keeper_stop.clone());
        let kept = tokio::spawn(keeping);
        let enricher = self.enricher(cache);
        let announced = Arc::clone(&enricher.sends_metadata);
        let mut is_settled = false;
        let mut end = match self.spawn_readers(Arc::new(enricher), vec![kept.abort_handle()]) {
            Ok(mut readers) => {
                let ended = self.watch_over(&mut readers, &announced, &stop).await;
                let timeout = self.config.shutdown_timeout;
                match &ended {
                    Ok(ReadingEnd::Lag(laggards)) => readers.stop_for(laggards, timeout).await,
                    Ok(ReadingEnd::Shutdown) if !shutdown.is_cancelled() => {
                        is_settled = readers.stop(timeout.min(PAUSE_TIMEOUT), &self.ending).await;
                    }
                    _ => is_settled = readers.stop(timeout, &self.ending).await,
                }
                ended
            }
            Err(error) => Err(AgentError::Part(error.to_string())),
        };
        keeper_stop.cancel();
        match kept.await {
            Ok(stores) => self.members.iter_mut().zip(stores).for_each(|(member, store)| member.positions.store = Some(store)),
            Err(error) if end.is_ok() => end = Err(AgentError::Part(error.to_string())),
            Err(_) => {}
        }
        for (place, member) in self.members.iter_mut().enumerate() {
            member.positions.loaded = self.positions.lock().snapshot(place);
            member.has_looked |= self.is_first_scan_done.load(Ordering::Acquire);
        }
        Ended { members: self.members, end, is_settled }
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
            sends_metadata: Arc::clone(&self.first().sends_metadata),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Returns when `shutdown` comes, a client lags or a part ends. A receiver that is asked what it takes may not be up yet: files are found and held open
    /// meanwhile, and read as soon as it has answered.
    async fn watch_over(
        &mut self,
        readers: &mut Readers,
        announced: &OnceLock<bool>,
        shutdown: &CancellationToken,
    ) -> Result<ReadingEnd, AgentError> {
        let sends_metadata = match announced.get() {
            Some(sends) => *sends,
            None => tokio::select! {
                ended = readers.watch_over(shutdown) => return ended,
                is_tailwater = announce::is_tailwater(&self.first().receiver) => *announced.get_or_init(|| is_tailwater),
            },
        };
        self.spawn_events(sends_metadata, readers);
        readers.watch_over(shutdown).await
    }

    fn spawn_readers(&self, enricher: Arc<Enricher>, needed: Vec<AbortHandle>) -> Result<Readers, StartError> {
        let count = reader_count(self.config.readers);
        let mut readers = Readers {
            stop: Arc::default(),
            threads: Vec::new(),
            lanes: Vec::new(),
            laggards: Laggards::among(self.members.iter().map(|member| Arc::clone(&member.receiver.limited)), Arc::clone(&self.all_answer)),
            events: Default::default(),
            doubts: self.members.iter().map(|_| Arc::default()).collect(),
            needed,
        };
        let mut handles = Vec::new();
        let totals = Totals { streams: StreamLimit::new(self.config.max_streams), ..Totals::default() };
        for index in 0..count {
            let (sender, commands) = sync_channel(COMMAND_QUEUE);
            let handle = WorkerHandle(sender);
            let lane = self.spawn_lanes(&handle, (IN_FLIGHT / count).max(1), self.members.len(), &mut readers);
            let worker = self.worker(commands, lane, &enricher, &readers.stop, &totals);
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
            is_begun_anew: self.have_looked,
        };
        readers.threads.push(self.spawn_scanner(scanning, enricher.cache.clone())?);
        if let Discovery::Targets(plan) = &self.discovery {
            self.spawn_journal(plan.journal(self.is_new), &enricher, &mut readers)?;
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
                    old_offsets: if self.is_new { plan.old_positions.offsets.clone() } else { Default::default() },
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
        let lane = self.spawn_lanes(&WorkerHandle(sender), 1, self.members.len(), readers);
        let reader = JournalReader {
            jobs,
            commands,
            outgoing: self.outgoing(lane),
            metrics: Arc::clone(&self.metrics),
            positions: self.positions.clone(),
            rules: self.line_rules(),
            sends_metadata: Arc::clone(&enricher.sends_metadata),
            meeting: self.meeting.clone(),
            poll: self.config.timing.poll_max,
            stop: Arc::clone(&readers.stop),
        };
        readers.threads.push(spawn_thread("journal".to_owned(), move || reader.run())?);
        Ok(())
    }

    /// Sends Kubernetes' events to the first client, if it is to get them.
    fn spawn_events(&self, sends_metadata: bool, readers: &mut Readers) {
        let Some(client) = self.first().events.clone() else { return };
        // Nobody waits to be told that the lane has room.
        let (sender, _) = sync_channel(1);
        let lane = self.spawn_lanes(&WorkerHandle(sender), 1, 1, readers);
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

    /// Lanes to the first `receivers` members, each with so much room.
    fn spawn_lanes(&self, reader: &WorkerHandle, room: usize, receivers: usize, readers: &mut Readers) -> LaneSender {
        let (sender, lanes) = lane::channel(room, receivers);
        for (place, (batches, member)) in lanes.into_iter().zip(&self.members).enumerate() {
            let lane = Lane {
                receiver: member.receiver.clone(),
                place,
                positions: self.positions.clone(),
                metrics: Arc::clone(&self.metrics),
                blocked: Arc::clone(&member.blocked),
                reader: reader.clone(),
                doubts: Arc::clone(&readers.doubts[place]),
            };
            readers.laggards.add_lane(place, batches.load());
            readers.lanes.push(RunningLane { place, task: tokio::spawn(lane.run(batches)) });
        }
        sender
    }

    fn worker(
        &self,
        commands: CommandReceiver<Command>,
        lane: LaneSender,
        enricher: &Arc<Enricher>,
        stop: &Arc<AtomicBool>,
        totals: &Totals,
    ) -> Worker {
        let config = &self.config;
        Worker {
            commands,
            outgoing: self.outgoing(lane),
            limited: self.members.iter().map(|member| Arc::clone(&member.receiver.limited)).collect(),
            metrics: Arc::clone(&self.metrics),
            positions: self.positions.clone(),
            enricher: Arc::clone(enricher),
            rules: self.line_rules(),
            stages: self.container_stages(),
            timing: config.timing.clone(),
            is_full_reread: self.first().positions.is_full_reread,
            not_before: self.first().positions.not_before,
            stop: Arc::clone(stop),
            clients: self.members.iter().map(|member| member.receiver.client).collect(),
            max_open_files: (config.max_open_files / reader_count(config.readers)).max(1),
            held_bytes: Arc::clone(&totals.held_bytes),
            max_held_bytes: config.deleted_hold_bytes,
            all_containers: Arc::clone(&totals.containers),
            streams: totals.streams.clone(),
            pending_bytes: Arc::clone(&totals.pending_bytes),
            max_pending_bytes: self.budget().pending,
            meeting: self.meeting.clone(),
            docker_root: docker_root(config),
            handover: self.handover.clone(),
        }
    }

    fn outgoing(&self, lane: LaneSender) -> Outgoing {
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
