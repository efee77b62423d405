//! Several receivers: each has positions of its own, and those that are in step are read for in one pass over the files. What `scrape_configs` name besides
//! pods has passes of its own.
//!
//! Clients are in step that are sent the same bytes ([`member`]). One that does not keep up goes on by itself ([`running`]), so that a client that is slow or
//! down holds up nobody. The passes share what the Kubernetes API tells; one that fails ends all. In the native configuration [`start`] makes the members, for
//! a `promtail.yaml` [`crate::promtail_agent`] does.

mod joining;
pub(crate) mod member;
pub(crate) mod running;
mod surface;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::agent::Discovery;
use crate::config::{ClientConfig, Config, MetadataSource, RunMode};
use crate::enrich::kubelet;
use crate::enrich::kubernetes::{self, Watching};
use crate::enrich::pods::PodCache;
use crate::handle::{AgentHandle, StartError};
use crate::metrics::Metrics;
use crate::promtail_agent::{self, Pods};
use crate::readers::allowed_open_files;
use crate::reload::Continuing;
use crate::starting::{events_client, receiver, take_data_dir};
use member::Member;
use running::Passes;
pub(crate) use surface::Surface;

/// Where the positions of what `scrape_configs` name are, below those of pods.
pub(crate) const SCRAPE_CONFIGS: &str = "scrape-configs";

/// Starts the agent in its native configuration.
pub(crate) async fn start(config: Config, continuing: Continuing, shutdown: CancellationToken) -> Result<AgentHandle, StartError> {
    let root = config.reads_pods.then(|| pods_root(&config)).transpose()?;
    let clients = clients(&config);
    let receivers = clients.iter().enumerate().map(|(index, (_, config))| receiver(config, index)).collect::<Result<Vec<_>, _>>()?;
    let lock = take_data_dir(&config, &shutdown).await?;
    let metrics = Arc::clone(&continuing.metrics);
    let kubernetes = if root.is_some() { connect(&config, &metrics).await? } else { None };
    let events = events_client(&config, &metrics).await?;
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
    let started = SystemTime::now();
    let mut members = Vec::new();
    for (index, ((name, config), receiver)) in clients.into_iter().zip(receivers).enumerate() {
        // Of a client that is new an agent never ran there.
        let was_used = if name.is_empty() { was_used } else { config.data_dir.exists() };
        if let Some(root) = &root {
            let found = (Discovery::Pods { root: root.clone() }, receiver.clone());
            members.push(Member::open(name.clone(), config.clone(), found, (was_used, started))?);
        }
        if let Some(native) = config.scrape_configs.clone() {
            let plan = promtail_agent::native_plan(&config, &native.scrape, pods.clone(), index, &metrics);
            let (mut config, mut was_used) = (promtail_agent::of_targets(config), was_used);
            if root.is_some() {
                config.data_dir.push(SCRAPE_CONFIGS);
                was_used = config.data_dir.exists();
            }
            let found = (Discovery::Targets(Arc::new(plan)), receiver);
            members.push(Member::open(format!("{name}/{SCRAPE_CONFIGS}"), config, found, (was_used, started))?);
        }
    }
    if let Some(first) = members.first_mut() {
        first.events = events;
    }
    let cache = kubernetes.map(|client| watch(client, &config, continuing.clone(), &watching, &mut watches));
    let supervisor = tokio::spawn(async move {
        let _lock = lock;
        let result = Passes::run(members, surface, (cache, watches), continuing, shutdown).await;
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

/// The clients' names and configurations.
fn clients(config: &Config) -> Vec<(String, Config)> {
    // What is only shown is shown once.
    let count = if config.run_mode == RunMode::Ship { 1 + config.more_clients.len() } else { 1 };
    let clients = std::iter::once(&config.client).chain(&config.more_clients).take(count).enumerate();
    let of_client = |(index, client)| {
        let mut of_client = of_client(config, client);
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

/// The configuration with one of its clients.
fn of_client(config: &Config, client: &ClientConfig) -> Config {
    let mut config = Config { client: client.clone(), more_clients: Vec::new(), ..config.clone() };
    config.external_labels.extend(client.external_labels.clone());
    config
}

/// Leaves to a pass for so many members `of` all its part of what the process may take: each opens the files by itself.
pub(crate) fn share_limits(config: &mut Config, members: usize, of: usize) {
    let of = of.max(1);
    config.max_open_files = (allowed_open_files(config.max_open_files) * members / of).max(1);
    config.deleted_hold_bytes = config.deleted_hold_bytes / of as u64 * members as u64;
    config.memory_limit = config.memory_limit / of * members;
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
    fn each_client_has_a_directory_of_its_own() {
        let mut config = Config { more_clients: vec![ClientConfig::new("http://b"), ClientConfig::new("http://c")], ..Config::default() };
        config.external_labels.insert("cluster".to_owned(), "c1".to_owned());
        config.client.external_labels.insert("to".to_owned(), "a".to_owned());
        config.more_clients[1].name = Some("the/archive".to_owned());
        let directories = |config: &Config| -> Vec<String> {
            clients(config).iter().map(|(_, config)| config.data_dir.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        let before = directories(&config);
        assert_eq!((before[0].as_str(), before[2].as_str()), ("tailwater-agent", "client-the_archive"));
        let each = clients(&config);
        assert_eq!(each.iter().map(|(_, config)| config.external_labels.len()).collect::<Vec<_>>(), [2, 1, 1]);
        let shown = clients(&Config { run_mode: RunMode::DryRun, ..config.clone() });
        assert_eq!(shown.len(), 1, "what is only shown is shown once");
        config.more_clients.reverse();
        assert_eq!(directories(&config), [&*before[0], &*before[2], &*before[1]], "positions go with their client");
    }

    #[test]
    fn each_pass_has_its_part_of_what_the_process_may_take() {
        let whole = Config::default();
        let open_files = allowed_open_files(whole.max_open_files);
        for members in [1, 2] {
            let mut config = whole.clone();
            share_limits(&mut config, members, 3);
            assert_eq!((config.max_open_files, config.deleted_hold_bytes), (open_files * members / 3, (1 << 30) / 3 * members as u64));
            assert_eq!(config.memory_limit, (32 << 20) / 3 * members);
        }
    }
}
