//! The agent as a `promtail.yaml` says: one pass over the files for each client, with positions of its own.
//!
//! The passes run as [`crate::passes`] says. The first one counts the pipelines' metrics; all share the watches of pods.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Discovery};
use crate::config::{Config, RunMode};
use crate::enrich::kubernetes;
use crate::handle::{AgentHandle, StartError};
use crate::journal::JournalJobs;
use crate::metrics::Metrics;
use crate::passes::{self, Surface};
use crate::pipeline::TokenBucket;
use crate::promtail::client::PromtailClient;
use crate::promtail::jobs::Job;
use crate::promtail::kubernetes::{KnownPods, watch};
use crate::promtail::old_positions::OldPositions;
use crate::promtail::{PromtailConfig, old_positions};
use crate::push::receiver::Receiver;
use crate::reload::Continuing;
use crate::starting::{OpenedPositions, events_client, receiver, take_data_dir};
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
    pub(crate) fn journal(&self) -> JournalJobs {
        JournalJobs { jobs: self.jobs.clone(), limits: Arc::clone(&self.limits), old_cursors: self.old_positions.cursors.clone() }
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
    let everything = CancellationToken::new();
    let pods = watch_pods(promtail, &metrics, &everything).await?;
    let mut passes = Vec::new();
    // What is only shown is shown once.
    let clients = if config.run_mode == RunMode::Ship { promtail.clients.len() } else { 1 };
    for (index, client) in promtail.clients.iter().enumerate().take(clients) {
        let (config, receiver) = of_client(&config, promtail, client, index)?;
        let positions = OpenedPositions::open(&config, lock.as_ref().is_some_and(|data_dir| data_dir.was_used));
        let plan = TargetPlan {
            jobs: jobs(promtail, index),
            pods: pods.clone(),
            hostname: promtail.hostname.clone(),
            limits: Arc::new(StageLimits { inspects: config.run_mode == RunMode::Inspect, ..limits(promtail, client, index, &metrics) }),
            old_positions: if positions.is_new { old_positions.clone() } else { OldPositions::default() },
        };
        let events = if index == 0 { events_client(&config, &metrics).await? } else { None };
        passes.push(
            Agent::new(config, Discovery::Targets(Box::new(plan)), receiver, positions, (&client.name, continuing.clone()))
                .with_events(events),
        );
    }
    let surface = Surface::bind(&config)?;
    let listen = surface.as_ref().and_then(Surface::address);
    let supervisor = tokio::spawn(async move {
        let _lock = lock;
        let result = passes::run_all(passes, surface, None, shutdown).await;
        everything.cancel();
        result
    });
    Ok(AgentHandle { metrics, listen, supervisor })
}

/// The configuration of one pass, with what the file says about the client.
fn of_client(config: &Config, promtail: &PromtailConfig, client: &PromtailClient, index: usize) -> Result<(Config, Receiver), StartError> {
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
        std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
    }
    let receiver = receiver(&config)?;
    Ok((config, receiver))
}

/// What of a longer line is read.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Lines are counted by the first pass alone.
fn jobs(promtail: &PromtailConfig, index: usize) -> Vec<Arc<Job>> {
    if index == 0 {
        return promtail.jobs.clone();
    }
    let silent = |job: &Arc<Job>| Arc::new(Job { pipeline: job.pipeline.without_metrics(), ..Job::clone(job) });
    promtail.jobs.iter().map(silent).collect()
}

fn limits(promtail: &PromtailConfig, client: &PromtailClient, index: usize, metrics: &Arc<Metrics>) -> StageLimits {
    let rate = promtail.limits.read_rate;
    StageLimits {
        counters: if index == 0 { Arc::clone(&promtail.counters) } else { Arc::default() },
        metrics: Arc::clone(metrics),
        max_line_size: promtail.limits.max_line_size,
        truncates: promtail.limits.truncates,
        max_streams: promtail.limits.max_streams,
        streams: Mutex::default(),
        read_rate: rate.map(|rate| (Mutex::new(TokenBucket::new(rate.rate, rate.burst, Instant::now())), rate.drops)),
        external_labels: client.external_labels.clone(),
        inspects: false,
    }
}

/// Begins a watch for every selection of pods that the jobs ask for.
async fn watch_pods(promtail: &PromtailConfig, metrics: &Arc<Metrics>, stop: &CancellationToken) -> Result<Pods, StartError> {
    let mut pods: Pods = HashMap::new();
    let mut watched: Vec<(crate::promtail::jobs::PodDiscovery, Arc<RwLock<KnownPods>>)> = Vec::new();
    for (job_index, job) in promtail.jobs.iter().enumerate() {
        for (index, discovery) in job.pods.iter().enumerate() {
            let selection = crate::promtail::jobs::PodDiscovery { namespaces: Vec::new(), ..discovery.clone() };
            if let Some((_, known)) = watched.iter().find(|(other, _)| *other == selection) {
                pods.insert((job_index, index), Arc::clone(known));
                continue;
            }
            let client = kubernetes::connect(discovery.access.clone(), metrics).await?;
            let known: Arc<RwLock<KnownPods>> = Arc::default();
            let node_name = promtail.hostname.clone();
            tokio::spawn(watch(client, selection.clone(), node_name, Arc::clone(&known), Arc::clone(metrics), stop.clone()));
            pods.insert((job_index, index), Arc::clone(&known));
            watched.push((selection, known));
        }
    }
    Ok(pods)
}
