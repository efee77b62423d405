//! Configuration: one typed struct, its defaults, and the keys under which it is written.
//!
//! [`keys`] is the table of keys: each one is a key of `agent.yaml`, a flag and a variable, set through one function, so that all three take the
//! same values. [`load`] brings the sources together, flag over variable over file over default, and lists all errors at once.

mod client_keys;
pub mod keys;
pub mod load;
mod metadata_keys;
mod pipeline_stages;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::config::pipeline_stages::PipelineStages;
pub use crate::discover::selection::{Containers, Selection};
pub use crate::enrich::choice::LabelChoice;
pub use crate::enrich::fields::MetadataField;
pub use crate::enrich::kubelet::KubeletAccess;
pub use crate::enrich::limits::LabelLimits;
pub use crate::enrich::wishes::AllowedAnnotations;
pub use crate::own_log::LogFormat;
pub use crate::parse::format::RecordFormat;
pub use crate::positions::first_start::InitialLookback;
pub use crate::promtail::{NativeScrapeConfigs, PromtailConfig, ScrapeConfigs};
pub use crate::push::backoff::BackoffBounds;
pub use crate::push::oauth2::OAuth2;
pub use crate::push::receiver::{ClientConfig, OnClientError, Secret};
pub use crate::push::tls::{TlsFiles, TlsVersion};
pub use crate::settings::Timing;
pub use crate::tail::rate::RateLimit;
pub use crate::tail::records::{LongLine, Unparsed};

/// Whether structured metadata is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataMode {
    /// To a receiver that announces itself as tailwater.
    Auto,
    /// To any receiver.
    Standard,
    None,
}

/// What becomes of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// They are sent, and positions move.
    Ship,
    /// They are printed; positions stay, nothing is sent or served.
    DryRun,
    /// The same, and every stage tells what it does.
    Inspect,
}

/// Where labels beyond the path come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataSource {
    /// The Kubernetes API, when in a cluster or with a kubeconfig.
    Auto,
    /// Pods by the node's own kubelet, namespaces by the API.
    Kubelet,
    /// The path alone.
    None,
}

/// Everything the agent is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Positions and lock; the only place that is written to.
    pub data_dir: PathBuf,
    /// The tree of pod logs.
    pub pods_dir: PathBuf,
    /// Whether it is read; `scrape_configs` may be all there is.
    pub reads_pods: bool,
    /// Docker's own directory, into which links of that tree may lead.
    pub docker_root: PathBuf,
    /// Where `/ready`, `/metrics` and the like are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Of the program's own log; the library does not use it.
    pub log_level: String,
    pub log_format: LogFormat,
    /// Value of the label `node_name`, and which pods are watched.
    pub node_name: String,
    pub metadata: MetadataMode,
    /// Metadata beyond the standard set, where any is sent.
    pub metadata_fields: Vec<MetadataField>,
    pub metadata_source: MetadataSource,
    pub kubelet: KubeletAccess,
    /// How long lines of an unknown pod wait for its metadata.
    pub metadata_wait: Duration,
    /// Which containers are read.
    pub selection: Selection,
    /// Of pods and namespaces: which are honoured.
    pub annotations: AllowedAnnotations,
    /// Outside a cluster: how to reach its API.
    pub kubeconfig: Option<PathBuf>,
    /// Labels added to every stream.
    pub external_labels: BTreeMap<String, String>,
    /// Which of the others streams have.
    pub label_choice: LabelChoice,
    pub label_limits: LabelLimits,
    /// Streams of this process; 0: without limit.
    pub max_streams: usize,
    /// What the first start on a data directory reads.
    pub initial_lookback: InitialLookback,
    /// Bytes of a line, its pieces joined.
    pub max_line_size: usize,
    pub long_line: LongLine,
    /// Bytes of one physical line.
    pub max_record_bytes: usize,
    pub unparsed: Unparsed,
    pub format: RecordFormat,
    /// Containers whose stack traces are joined to one line each.
    pub auto_multiline: Containers,
    /// What lines of containers go through.
    pub pipeline_stages: Option<Arc<PipelineStages>>,
    /// Files and journals to read besides pods, as a `promtail.yaml` names them.
    pub scrape_configs: Option<Arc<NativeScrapeConfigs>>,
    /// Of each container.
    pub rate: RateLimit,
    /// Bytes of memory, divided among batches, pending lines and the rest.
    pub memory_limit: usize,
    /// Log files held open; lowered to what the system allows.
    pub max_open_files: usize,
    /// Bytes of deleted files held open until they are read.
    pub deleted_hold_bytes: u64,
    pub client: ClientConfig,
    /// Further receivers of the same lines, each with positions of its own.
    pub more_clients: Vec<ClientConfig>,
    /// How long the end may take.
    pub shutdown_timeout: Duration,
    /// Reader threads; 0: one for each processor, at most 4.
    pub readers: usize,
    /// Whether to run inside the cluster whose variables are in the environment.
    pub in_cluster: bool,
    pub timing: Timing,
    /// Whether `/reload` and a changed file bring a new configuration.
    pub enable_reload: bool,
    pub run_mode: RunMode,
    /// Whether events of the Kubernetes API are read, by one agent of the cluster.
    pub events: bool,
    /// A `promtail.yaml` that says what to read and where to push; then the keys above that do so have no effect.
    pub promtail: Option<Arc<PromtailConfig>>,
}

impl Config {
    /// Whether the tree of pod logs is read as it is.
    pub(crate) fn reads_pods(&self) -> bool {
        self.promtail.is_none() && self.reads_pods
    }

    /// Where HTTP is served; nowhere while lines are only shown.
    pub(crate) fn served_at(&self) -> Option<SocketAddr> {
        self.listen.filter(|_| self.run_mode == RunMode::Ship)
    }

    /// What is scraped as Promtail does it, and what this host is called there.
    pub(crate) fn scraped(&self) -> Option<(&ScrapeConfigs, &str)> {
        match (&self.promtail, &self.scrape_configs) {
            (Some(promtail), _) => Some((&promtail.scrape, &promtail.hostname)),
            (None, Some(native)) => Some((&native.scrape, &self.node_name)),
            (None, None) => None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/tailwater-agent"),
            pods_dir: PathBuf::from("/var/log/pods"),
            reads_pods: true,
            docker_root: PathBuf::from("/var/lib/docker"),
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 3101))),
            log_level: "info".to_owned(),
            log_format: LogFormat::default(),
            node_name: String::new(),
            metadata: MetadataMode::Auto,
            metadata_fields: Vec::new(),
            metadata_source: MetadataSource::Auto,
            kubelet: KubeletAccess::of_node("localhost"),
            metadata_wait: Duration::from_secs(5),
            selection: Selection::default(),
            annotations: AllowedAnnotations::All,
            kubeconfig: None,
            external_labels: BTreeMap::new(),
            label_choice: LabelChoice::default(),
            label_limits: LabelLimits::default(),
            max_streams: 0,
            initial_lookback: InitialLookback::All,
            max_line_size: 256 << 10,
            long_line: LongLine::Truncate,
            max_record_bytes: 16 << 20,
            unparsed: Unparsed::Keep,
            format: RecordFormat::Auto,
            auto_multiline: Containers::default(),
            pipeline_stages: None,
            scrape_configs: None,
            rate: RateLimit::default(),
            memory_limit: 32 << 20,
            max_open_files: 4096,
            deleted_hold_bytes: 1 << 30,
            client: ClientConfig::new(""),
            more_clients: Vec::new(),
            shutdown_timeout: Duration::from_secs(10),
            readers: 0,
            in_cluster: false,
            timing: Timing::default(),
            enable_reload: false,
            run_mode: RunMode::Ship,
            events: false,
            promtail: None,
        }
    }
}
