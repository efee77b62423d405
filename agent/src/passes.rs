//! Several receivers: one pass over the files for each, with positions of its own; and one more for each over what `scrape_configs` name besides pods.
//!
//! A client that is slow or down so never holds up another. The first pass serves HTTP and sends events; the passes share what the Kubernetes API tells. A
//! pass that fails ends all. In the native configuration [`start`] makes the passes, for a `promtail.yaml` [`crate::promtail_agent`] does.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::agent::{Agent, Discovery};
use crate::config::{ClientConfig, Config, MetadataSource, RunMode};
use crate::enrich::kubelet;
use crate::enrich::kubernetes::{self, Watching};
use crate::enrich::pods::PodCache;
use crate::handle::{AgentError, AgentHandle, StartError};
use crate::metrics::Metrics;
use crate::observe::pass::PassView;
use crate::promtail_agent::{self, Pods};
use crate::push::receiver::Receiver;
use crate::readers::allowed_open_files;
use crate::reload::Continuing;
use crate::sockets::Sockets;
use crate::starting::{OpenedPositions, events_client, receiver, take_data_dir};

/// Where the positions of what `scrape_configs` name are, below those of pods.
pub(crate) const SCRAPE_CONFIGS: &str = "scrape-configs";

/// Where HTTP is served, and the configuration that it shows: of all clients.
pub(crate) struct Surface {
    pub(crate) listener: TcpListener,
    pub(crate) config: Config,
    /// Those that jobs ask for.
    pub(crate) pods: Pods,
    /// All of them, once they are made.
    pub(crate) passes: Arc<[PassView]>,
}

impl Surface {
    /// `None` if nothing is to be served.
    pub(crate) fn bind(config: &Config, pods: Pods, sockets: &Sockets) -> Result<Option<Self>, StartError> {
        let listener = config.served_at().map(|address| sockets.listener(address)).transpose()?;
        Ok(listener.map(|listener| Self { listener, config: config.clone(), pods, passes: Arc::default() }))
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

/// Starts the agent in its native configuration.
pub(crate) async fn start(config: Config, continuing: Continuing, shutdown: CancellationToken) -> Result<AgentHandle, StartError> {
    let root = config.reads_pods.then(|| pods_root(&config)).transpose()?;
    let clients = clients(&config);
    let receivers = clients.iter().enumerate().map(|(index, (_, config))| receiver(config, index)).collect::<Result<Vec<_>, _>>()?;
    let lock = take_data_dir(&config, &shutdown).await?;
    let metrics = Arc::clone(&continuing.metrics);
    let kubernetes = if root.is_some() { connect(&config, &metrics).await? } else { None };
    let mut events = events_client(&config, &metrics).await?;
    let (watching, mut watches) = (CancellationToken::new(), JoinSet::new());
    let pods = match &config.scrape_configs {
        Some(native) => {
            let node = (config.node_name.as_str(), config.timing.watch_spread);
            promtail_agent::watch_pods(&native.scrape, node, (&metrics, &watching), &mut watches).await?
        }
        None => Pods::default(),
    };
    let surface = Surface::bind(&config, pods.clone(), &continuing.sockets)?;
    let listen = surface.as_ref().and_then(Surface::address);
    let was_used = lock.as_ref().is_some_and(|data_dir| data_dir.was_used);
    let mut passes = Vec::new();
    for (index, ((name, config), receiver)) in clients.into_iter().zip(receivers).enumerate() {
        // Of a client that is new an agent never ran there.
        let was_used = if name.is_empty() { was_used } else { config.data_dir.exists() };
        if let Some(root) = &root {
            let discovery = Discovery::Pods { root: root.clone() };
            passes
                .push(pass(config.clone(), discovery, receiver.clone(), was_used, (&name, continuing.clone()))?.with_events(events.take()));
        }
        if let Some(native) = config.scrape_configs.clone() {
            let plan = promtail_agent::native_plan(&config, &native.scrape, pods.clone(), index, &metrics);
            let (mut config, mut was_used) = (promtail_agent::of_targets(config), was_used);
            if root.is_some() {
                config.data_dir.push(SCRAPE_CONFIGS);
                was_used = config.data_dir.exists();
            }
            let name = format!("{name}/{SCRAPE_CONFIGS}");
            let pass = pass(config, Discovery::Targets(Box::new(plan)), receiver, was_used, (&name, continuing.clone()))?;
            passes.push(pass.with_events(events.take()));
        }
    }
    let cache = kubernetes.map(|client| watch(client, &config, continuing, &watching, &mut watches));
    let supervisor = tokio::spawn(async move {
        let _lock = lock;
        let result = run_all(passes, surface, cache, watches, shutdown).await;
        watching.cancel();
        result
    });
    Ok(AgentHandle { metrics, listen, supervisor })
}

/// The tree of pod logs.
fn pods_root(config: &Config) -> Result<PathBuf, StartError> {
    let root = config.pods_dir.canonicalize().ok().filter(|path| path.is_dir());
    root.ok_or_else(|| StartError::PodsDir { path: config.pods_dir.clone() })
}

/// A pass with its positions, in the data directory that its configuration names.
fn pass(config: Config, discovery: Discovery, receiver: Receiver, was_used: bool, named: (&str, Continuing)) -> Result<Agent, StartError> {
    if config.run_mode == RunMode::Ship {
        std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
    }
    let positions = OpenedPositions::open(&config, was_used);
    Ok(Agent::new(config, discovery, receiver, positions, named))
}

/// Runs all passes until `shutdown`, or until one fails, or one of the `watches` of the Kubernetes API does.
pub(crate) async fn run_all(
    passes: Vec<Agent>,
    mut surface: Option<Surface>,
    cache: Option<Arc<RwLock<PodCache>>>,
    mut watches: JoinSet<()>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let mut running = JoinSet::new();
    let stop = shutdown.child_token();
    if let Some(surface) = &mut surface {
        surface.passes = passes.iter().map(Agent::view).collect();
    }
    for pass in passes {
        running.spawn(pass.run(surface.take(), cache.clone(), stop.clone()));
    }
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = running.join_next() => match ended {
                Some(ended) => ended.unwrap_or_else(|error| Err(AgentError::Part(error.to_string()))),
                None => return result,
            },
            Some(_) = watches.join_next() => Err(AgentError::Part("its watch of the kubernetes api ended unexpectedly".to_owned())),
        };
        if ended.is_err() {
            result = ended;
            stop.cancel();
        }
    }
}

/// What a client's positions are named after; `None` if they are in the data directory itself, as those of an only client without a name are. Nothing in
/// it depends on the place of others in the list, so that none takes up another's positions when the list changes.
pub(crate) fn positions_name(client: &ClientConfig, is_first: bool) -> Option<String> {
    match &client.name {
        Some(name) => Some(name.replace('/', "_")),
        None if is_first => None,
        None => {
            let tenant = client.tenant_id.as_deref().unwrap_or_default();
            Some(format!("{:016x}", xxh3_64(format!("{}\n{tenant}", client.url).as_bytes())))
        }
    }
}

/// The passes' names and configurations.
fn clients(config: &Config) -> Vec<(String, Config)> {
    // What is only shown is shown once.
    let count = if config.run_mode == RunMode::Ship { 1 + config.more_clients.len() } else { 1 };
    let kinds = usize::from(config.reads_pods) + usize::from(config.scrape_configs.is_some());
    let clients = std::iter::once(&config.client).chain(&config.more_clients).take(count).enumerate();
    let of_client = |(index, client)| {
        let mut of_client = of_client(config, client, count * kinds);
        let name = positions_name(client, index == 0);
        if index > 0 {
            of_client.pipeline_stages = config.pipeline_stages.as_ref().map(|stages| Arc::new(stages.uncounted()));
        }
        if let Some(name) = &name {
            of_client.data_dir = config.data_dir.join(format!("client-{name}"));
        }
        (name.unwrap_or_default(), of_client)
    };
    clients.map(of_client).collect()
}

/// The configuration of a pass for a client, of `count` passes in all.
fn of_client(config: &Config, client: &ClientConfig, count: usize) -> Config {
    let mut config = Config { client: client.clone(), more_clients: Vec::new(), ..config.clone() };
    config.external_labels.extend(client.external_labels.clone());
    share_limits(&mut config, count);
    config
}

/// Leaves to one of `count` passes its part of what the process may take: each opens the files by itself.
pub(crate) fn share_limits(config: &mut Config, count: usize) {
    let count = count.max(1);
    config.max_open_files = (allowed_open_files(config.max_open_files) / count).max(1);
    config.deleted_hold_bytes /= count as u64;
    config.memory_limit /= count;
}

/// A client of the Kubernetes API, if there is one to ask.
async fn connect(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<kube::Client>, StartError> {
    let access = match (config.metadata_source, &config.kubeconfig) {
        (MetadataSource::None, _) => return Ok(None),
        (_, None) if !config.in_cluster => return Ok(None),
        (_, kubeconfig) => kubeconfig.clone(),
    };
    Ok(Some(kubernetes::connect(access, metrics).await?))
}

/// Keeps what is known of pods and namespaces up to date until `stop`.
fn watch(
    client: kube::Client,
    config: &Config,
    continuing: Continuing,
    stop: &CancellationToken,
    watches: &mut JoinSet<()>,
) -> Arc<RwLock<PodCache>> {
    let cache = Arc::new(RwLock::new(PodCache::new(config.timing.deleted_pod_kept)));
    let watching = Watching {
        node_name: config.node_name.clone(),
        annotations: config.annotations.clone(),
        kept_annotations: config.label_choice.pod_annotations.clone(),
        kept_namespace_labels: config.label_choice.namespace_labels.clone(),
        cache: Arc::clone(&cache),
        news: continuing.news,
        spread: config.timing.watch_spread,
        metrics: continuing.metrics,
    };
    watches.spawn(kubernetes::watch_namespaces(client.clone(), watching.clone(), stop.clone()));
    if config.metadata_source == MetadataSource::Kubelet {
        watches.spawn(kubelet::poll(config.kubelet.clone(), watching, config.timing.kubelet_interval, stop.clone()));
    } else {
        watches.spawn(kubernetes::watch_pods(client, watching, stop.clone()));
    }
    cache
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_a_directory_of_its_own_and_a_part_of_what_all_may_take() {
        let mut config = Config { more_clients: vec![ClientConfig::new("http://b"), ClientConfig::new("http://c")], ..Config::default() };
        config.external_labels.insert("cluster".to_owned(), "c1".to_owned());
        config.client.external_labels.insert("to".to_owned(), "a".to_owned());
        config.more_clients[1].name = Some("the/archive".to_owned());
        let directories = |config: &Config| -> Vec<String> {
            clients(config).iter().map(|(_, config)| config.data_dir.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        let before = directories(&config);
        assert_eq!((before[0].as_str(), before[2].as_str()), ("tailwater-agent", "client-the_archive"));
        let passes = clients(&config);
        assert_eq!(passes.iter().map(|(_, config)| config.external_labels.len()).collect::<Vec<_>>(), [2, 1, 1]);
        let open_files = allowed_open_files(4096) / 3;
        assert!(passes.iter().all(|(_, config)| config.max_open_files == open_files && config.deleted_hold_bytes == (1 << 30) / 3));
        assert!(passes.iter().all(|(_, config)| config.memory_limit == (32 << 20) / 3));
        let shown = clients(&Config { run_mode: RunMode::DryRun, ..config.clone() });
        assert_eq!(shown.len(), 1, "what is only shown is shown once");
        config.more_clients.reverse();
        assert_eq!(directories(&config), [&*before[0], &*before[2], &*before[1]], "positions go with their client");
    }
}
