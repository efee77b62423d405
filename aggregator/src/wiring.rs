//! Puts the parts together, in the order in which a line meets them: store, catalog, ingest, engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailwater_engine::{Engine, EngineOptions, QueryError, SpillFolder};
use tailwater_storage::catalog::{CacheBudget, Catalog};
use tailwater_storage::cluster::{Cluster, ClusterError};
use tailwater_storage::compact::CompactionOptions;
use tailwater_storage::error::ReadError;
use tailwater_storage::manifest::RetireDelays;
use tailwater_storage::store::{self, DiskCache, OpenError, ProbeError, S3Encryption, S3Options, Store, StoreOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::authorizer::Authorizer;
use crate::access::client::{self, ConnectError};
use crate::access::expiring::Lifetimes;
use crate::access::metrics::ReviewMetrics;
use crate::access::review::Reviewer;
use crate::access::signature::AccessSigner;
use crate::clock::Clock;
use crate::compaction::{BackgroundWork, WorkOptions};
use crate::config::{AuthMode, Config, S3, StorageKind};
use crate::ingest::buffer::{IngestOptions, Ingester};
use crate::lifecycle::StoreContact;
use crate::memory;
use crate::peers::{self, PeerAddresses, Peers};
use crate::retention::{PolicyError, RetentionOptions, RetentionRules};
use crate::tls::TlsMetrics;

/// Shares of the memory limit, in percent.
const INGEST_SHARE: usize = 25;
const QUERY_SHARE: usize = 35;

/// Caches: share in percent, and what is enough however much memory there is.
const RECENT_ROWS: (usize, usize) = (10, 96 << 20);
const FOOTERS: (usize, usize) = (7, 128 << 20);
const INDEX: (usize, usize) = (10, 256 << 20);
const RESULTS: (usize, usize) = (3, 64 << 20);

/// How often long work at the start tells where it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The running parts behind the HTTP surface.
pub struct Parts {
    pub catalog: Arc<Catalog>,
    pub ingester: Ingester,
    pub engine: Engine,
    pub compaction: BackgroundWork,
    pub retention: Arc<RetentionRules>,
    pub peers: Peers,
    /// Of the server's certificate, if it has one.
    pub(crate) tls_metrics: TlsMetrics,
    pub store_contact: StoreContact,
    pub access: AccessParts,
    background: TaskTracker,
    stopping: CancellationToken,
}

/// What decisions about access are made with.
pub struct AccessParts {
    pub signer: AccessSigner,
    /// With `auth.mode: kubernetes`.
    pub authorizer: Option<Authorizer>,
    pub metrics: ReviewMetrics,
}

impl AccessParts {
    /// Nothing is asked of the Kubernetes API yet: that it is away must not keep pushes from being stored.
    async fn new(config: &Config, cluster: &Cluster) -> Result<Self, ConnectError> {
        let metrics = ReviewMetrics::default();
        let authorizer = match config.auth.mode {
            AuthMode::None => None,
            AuthMode::Kubernetes => {
                let client = client::connect(&config.auth.kubeconfig).await?;
                Some(Authorizer::new(Reviewer::new(client, metrics.clone()), Lifetimes::default()))
            }
        };
        Ok(Self { signer: AccessSigner::new(cluster.peer_key()), authorizer, metrics })
    }
}

/// Why the program cannot start on this store.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    #[error("cannot read what is stored: {0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Engine(#[from] QueryError),
    #[error(transparent)]
    Retention(#[from] PolicyError),
    #[error("cannot start the thread of background work: {0}")]
    Thread(std::io::Error),
}

impl Parts {
    /// Opens the store, checks it, finds what is in it, and starts the tasks behind it.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, WiringError> {
        let options = store_options(config);
        store::clear_unfinished(&options)?;
        let store = with_disk_cache(store::open(&options, &config.storage.prefix)?, config);
        store.probe().await?;
        let cluster = Cluster::open(&store, config.storage.format_version).await?;
        let access = AccessParts::new(config, &cluster).await?;
        let memory = usize::try_from(memory::limit(config.memory_limit)).unwrap_or(usize::MAX);
        let budget = CacheBudget {
            recent_rows: bounded_share(memory, RECENT_ROWS),
            footers: bounded_share(memory, FOOTERS),
            index: bounded_share(memory, INDEX),
        };
        let peers = Peers::new(&ulid::Ulid::new().to_string());
        let ticks = clock.clone();
        let manifest_clock: tailwater_storage::manifest::Clock = Arc::new(move || ticks.now());
        let catalog = Arc::new(Catalog::new(store, budget, peers.own(), manifest_clock.clone()));
        let found = discover_all(&catalog).await?;
        tracing::info!(cluster = %cluster.cluster_id, segments = found, "store opened");
        let options = IngestOptions {
            flush_interval: config.flush_interval.duration(),
            segment_bytes: config.segment_bytes.as_usize(),
            ack_timeout: config.ack_timeout.duration(),
            budget_bytes: share(memory, INGEST_SHARE),
        };
        let ingester = Ingester::start(catalog.clone(), clock, options);
        let options = EngineOptions {
            text_index: config.query.text_index,
            result_bytes: bounded_share(memory, RESULTS),
            spill: spill_folder(config),
            ..EngineOptions::new(share(memory, QUERY_SHARE))
        };
        let engine = Engine::with_options(catalog.clone(), options)?;
        let (background, stopping) = (TaskTracker::new(), CancellationToken::new());
        let store_contact = StoreContact::default();
        let interval = config.discover_interval.duration();
        background.spawn(keep_discovering(catalog.clone(), interval, store_contact.clone(), stopping.clone()));
        background.spawn(peers::keep_watching(peers.clone(), PeerAddresses::of(config), stopping.clone()));
        background.close();
        let options = RetentionOptions { cancel_period: config.retention.cancel_period.duration(), strict_loki: config.strict_loki };
        let retention = Arc::new(RetentionRules::new(catalog.clone(), config.tenant_limits(), options)?);
        let compaction = BackgroundWork::start(catalog.clone(), retention.clone(), peers.clone(), work_options(config), manifest_clock);
        let compaction = compaction.map_err(WiringError::Thread)?;
        let tls_metrics = TlsMetrics::default();
        Ok(Self { catalog, ingester, engine, compaction, retention, peers, tls_metrics, store_contact, access, background, stopping })
    }

    /// Stores what waits and ends the tasks. To be called once no more requests come.
    pub async fn stop(&mut self) {
        self.ingester.stop().await;
        self.stopping.cancel();
        self.compaction.stop().await;
        self.background.wait().await;
    }
}

pub(crate) fn work_options(config: &Config) -> WorkOptions {
    let compaction = &config.compaction;
    let defaults = CompactionOptions::default();
    WorkOptions {
        compaction: CompactionOptions {
            fold_bytes: compaction.fold_bytes.as_u64(),
            fold_after: compaction.compact_after.duration(),
            settle: compaction.settle.duration(),
            final_level: i32::try_from(compaction.final_level).unwrap_or(defaults.final_level),
            ..defaults
        },
        size_budget: config.retention.size_budget.as_u64(),
        retire: RetireDelays { compacted: compaction.retire_after.duration(), ..RetireDelays::for_query_timeout(Duration::ZERO) },
    }
}

pub(crate) fn store_options(config: &Config) -> StoreOptions {
    let storage = &config.storage;
    match storage.kind {
        StorageKind::Filesystem => StoreOptions::Folder { path: storage.filesystem.path.clone() },
        StorageKind::S3 => StoreOptions::S3(s3_options(&storage.s3)),
    }
}

pub(crate) fn s3_options(s3: &S3) -> S3Options {
    let encryption = S3Encryption { algorithm: s3.sse.clone(), kms_key_id: s3.kms_key_id.clone() };
    S3Options {
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        force_path_style: s3.force_path_style,
        insecure: s3.insecure,
        encryption: (!encryption.algorithm.is_empty()).then_some(encryption),
        credentials_dir: s3.credentials_dir().map(Path::to_owned),
    }
}

/// The store with a cache on disk, if it is remote and there is a folder for that.
fn with_disk_cache(store: Store, config: &Config) -> Store {
    let (folder, bytes) = (&config.cache.dir, config.cache.disk_bytes.as_u64());
    if folder.as_os_str().is_empty() || bytes == 0 || config.storage.kind != StorageKind::S3 {
        return store;
    }
    match DiskCache::open(folder, bytes) {
        Ok(cache) => store.with_disk_cache(cache),
        // What a cache saves is time: nothing depends on it.
        Err(error) => {
            tracing::warn!(%error, "objects are not cached on disk");
            store
        }
    }
}

/// Where queries go on that need more memory than there is. What an earlier process left there is of no use.
fn spill_folder(config: &Config) -> Option<SpillFolder> {
    if config.cache.dir.as_os_str().is_empty() {
        return None;
    }
    let path = config.cache.dir.join("spill");
    match std::fs::remove_dir_all(&path).or_else(not_found_is_fine).and_then(|()| std::fs::create_dir_all(&path)) {
        Ok(()) => Some(SpillFolder { path, bytes: config.cache.disk_bytes.as_u64() }),
        Err(error) => {
            tracing::warn!(%error, folder = %path.display(), "queries that need more memory than there is end in an error");
            None
        }
    }
}

fn not_found_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

async fn discover_all(catalog: &Catalog) -> Result<usize, ReadError> {
    let told = parking_lot::Mutex::new(Instant::now());
    catalog
        .discover(|done, total| {
            let mut told = told.lock();
            if told.elapsed() >= PROGRESS_INTERVAL {
                *told = Instant::now();
                tracing::info!(done, total, "reading the footers of stored segments");
            }
        })
        .await
}

/// Looks for segments of other replicas.
async fn keep_discovering(catalog: Arc<Catalog>, interval: Duration, contact: StoreContact, stopping: CancellationToken) {
    let mut is_failing = false;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let found = catalog.discover(|_, _| ()).await;
        if found.is_ok() {
            contact.answered();
        }
        match found {
            Ok(_) if is_failing => {
                is_failing = false;
                tracing::info!("the store can be listed again");
            }
            Ok(_) => {}
            // One line for the change of state, not one for each attempt.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "cannot list the store; segments of other replicas appear late");
            }
            Err(_) => {}
        }
    }
}

/// A share of the memory in percent, bounded.
fn bounded_share(memory: usize, (percent, most): (usize, usize)) -> usize {
    share(memory, percent).min(most)
}

fn share(memory: usize, percent: usize) -> usize {
    memory / 100 * percent
}
