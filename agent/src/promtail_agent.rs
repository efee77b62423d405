//! The agent as a `promtail.yaml` says: clients with positions of their own, and the jobs whose files are read for them.
//!
//! The passes run as [`crate::passes`] says. The first client's counts the pipelines' metrics; all share the watches of pods. What `scrape_configs` of the native
//! configuration name is read in the same way ([`native_plan`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::Discovery;
use crate::config::{Config, LongLine, RunMode, ScrapeConfigs};
use crate::enrich::kubernetes;
use crate::handle::{AgentHandle, StartError};
use crate::journal::JournalJobs;
use crate::metrics::Metrics;
use crate::passes::Surface;
use crate::passes::member::Member;
use crate::passes::running::Passes;
use crate::pipeline::TokenBucket;
use crate::promtail::client::PromtailClient;
use crate::promtail::jobs::{Job, PodDiscovery};
use crate::promtail::kubernetes::{KnownPods, watch};
use crate::promtail::old_positions::OldPositions;
use crate::promtail::{PromtailConfig, old_positions};
use crate::push::receiver::Receiver;
use crate::reload::Continuing;
use crate::starting::{events_client, receiver, take_data_dir};
use crate::tail::overlong::Overlong;
use crate::tail::stages::StageLimits;

/// What one pass looks for.
pub(crate) struct TargetPlan {
    pub(crate) jobs: Vec<Arc<Job>>,
    pub(crate) pods: Pods,
    pub(crate) hostname: String,
    pub(crate) limits: Arc<StageLimits>,
    pub(crate) old_positions: OldPositions,
}

impl TargetPlan {
    /// `is_new`: there are no positions but those of a Promtail.
    pub(crate) fn journal(&self, is_new: bool) -> JournalJobs {
        let old_cursors = if is_new { self.old_positions.cursors.clone() } else { Default::default() };
        JournalJobs { jobs: self.jobs.clone(), limits: Arc::clone(&self.limits), old_cursors }
    }
}

/// Known pods by job and discovery of that job.
pub(crate) type Pods = HashMap<(usize, usize), Arc<RwLock<KnownPods>>>;

pub(crate) async fn start(
    config: Config,
    promtail: &Arc<PromtailConfig>,
    continuing: Continuing,
    shutdown: CancellationToken,
) -> Result<AgentHandle, StartError> {
    let lock = take_data_dir(&config, &shutdown).await?;
    let old_positions = old_positions::read(&promtail.positions_file, promtail.ignores_invalid_positions)?;
    let metrics = Arc::clone(&continuing.metrics);
    let (everything, mut watches) = (CancellationToken::new(), JoinSet::new());
    let pods =
        watch_pods(&promtail.scrape, (&promtail.hostname, config.timing.watch_spread), (&metrics, &everything), &mut watches).await?;
    let was_used = lock.as_ref().is_some_and(|data_dir| data_dir.was_used);
    let started = SystemTime::now();
    let mut members = Vec::new();
    // What is only shown is shown once.
    let clients = if config.run_mode == RunMode::Ship { promtail.clients.len() } else { 1 };
    for (index, client) in promtail.clients.iter().enumerate().take(clients) {
        let (config, receiver) = of_client(&config, promtail, (client, index))?;
        let plan = TargetPlan {
            jobs: jobs(&promtail.scrape, index),
            pods: pods.clone(),
            hostname: promtail.hostname.clone(),
            limits: Arc::new(StageLimits { inspects: config.run_mode == RunMode::Inspect, ..limits(promtail, client, index, &metrics) }),
            old_positions: old_positions.clone(),
        };
        let events = if index == 0 { events_client(&config, &metrics).await? } else { None };
        let found = (Discovery::Targets(Arc::new(plan)), receiver);
        let mut member = Member::open(client.name.clone(), config, found, (was_used, started))?;
        member.events = events;
        members.push(member);
    }
    let surface = Surface::bind(&config, pods, &continuing.sockets)?;
    let listen = surface.as_ref().and_then(Surface::address);
    let supervisor = tokio::spawn(async move {
        let _lock = lock;
        let result = Passes::run(members, surface, (None, watches), continuing, shutdown).await;
        everything.cancel();
        result
    });
    Ok(AgentHandle { metrics, listen, supervisor })
}

/// The configuration with what the file says about the client of that number.
fn of_client(
    config: &Config,
    promtail: &PromtailConfig,
    (client, index): (&PromtailClient, usize),
) -> Result<(Config, Receiver), StartError> {
    let mut config = config.clone();
    config.client = client.config.clone();
    config.max_line_size = MAX_LINE_BYTES;
    config.timing.scan_interval = promtail.timing.scan_interval;
    if let Some(poll) = promtail.timing.poll_min {
        config.timing.poll_min = poll;
    }
    if let Some(poll) = promtail.timing.poll_max {
        config.timing.poll_max = poll.max(config.timing.poll_min);
    }
    if index > 0 && config.run_mode == RunMode::Ship {
        config.data_dir = config.data_dir.join(format!("client-{}", client.name.replace('/', "_")));
    }
    let receiver = receiver(&config, index)?;
    Ok((config, receiver))
}

/// What of a longer line is read.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Lines are counted by the first pass alone.
fn jobs(scrape: &ScrapeConfigs, index: usize) -> Vec<Arc<Job>> {
    if index == 0 { scrape.jobs.clone() } else { scrape.uncounted_jobs() }
}

/// What the pass for the client of that number looks for, by `scrape_configs` of the native configuration.
pub(crate) fn native_plan(config: &Config, scrape: &ScrapeConfigs, pods: Pods, index: usize, metrics: &Arc<Metrics>) -> TargetPlan {
    let limits = StageLimits {
        counters: if index == 0 { Arc::clone(&scrape.counters) } else { Arc::default() },
        metrics: Arc::clone(metrics),
        max_line_size: config.max_line_size,
        overlong: Overlong::Native(config.long_line),
        max_streams: config.max_streams,
        streams: Mutex::default(),
        read_rate: None,
        external_labels: config.external_labels.clone(),
        inspects: config.run_mode == RunMode::Inspect,
    };
    let (hostname, old_positions) = (config.node_name.clone(), OldPositions::default());
    TargetPlan { jobs: jobs(scrape, index), pods, hostname, limits: Arc::new(limits), old_positions }
}

/// The configuration of such a pass: stages see lines before those are shortened.
pub(crate) fn of_targets(config: Config) -> Config {
    Config { max_line_size: MAX_LINE_BYTES.max(config.max_line_size), ..config }
}

fn limits(promtail: &PromtailConfig, client: &PromtailClient, index: usize, metrics: &Arc<Metrics>) -> StageLimits {
    let rate = promtail.limits.read_rate;
    StageLimits {
        counters: if index == 0 { Arc::clone(&promtail.scrape.counters) } else { Arc::default() },
        metrics: Arc::clone(metrics),
        max_line_size: promtail.limits.max_line_size,
        overlong: if promtail.limits.truncates { Overlong::Cut } else { Overlong::Native(LongLine::Drop) },
        max_streams: promtail.limits.max_streams,
        streams: Mutex::default(),
        read_rate: rate.map(|rate| (Mutex::new(TokenBucket::new(rate.rate, rate.burst, Instant::now())), rate.drops)),
        external_labels: client.external_labels.clone(),
        inspects: false,
    }
}

/// Begins a watch for every selection of pods that the jobs ask for.
pub(crate) async fn watch_pods(
    scrape: &ScrapeConfigs,
    (hostname, spread): (&str, Duration),
    (metrics, stop): (&Arc<Metrics>, &CancellationToken),
    watches: &mut JoinSet<()>,
) -> Result<Pods, StartError> {
    let mut pods: Pods = HashMap::new();
    let mut watched: Vec<(PodDiscovery, Arc<RwLock<KnownPods>>)> = Vec::new();
    for (job_index, job) in scrape.jobs.iter().enumerate() {
        for (index, discovery) in job.pods.iter().enumerate() {
            let selection = PodDiscovery { namespaces: Vec::new(), ..discovery.clone() };
            if let Some((_, known)) = watched.iter().find(|(other, _)| *other == selection) {
                pods.insert((job_index, index), Arc::clone(known));
                continue;
            }
            let client = kubernetes::connect(discovery.access.clone(), metrics).await?;
            let known: Arc<RwLock<KnownPods>> = Arc::default();
            let node_name = hostname.to_owned();
            watches.spawn(watch(client, selection.clone(), node_name, Arc::clone(&known), (Arc::clone(metrics), spread), stop.clone()));
            pods.insert((job_index, index), Arc::clone(&known));
            watched.push((selection, known));
        }
    }
    Ok(pods)
}
