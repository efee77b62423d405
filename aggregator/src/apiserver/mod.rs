//! `tailwater-aggregator apiserver`: the reading API as a part of the Kubernetes API, `logs.tailwater.io/v1`, under its users' own names.
//!
//! ```text
//! kube-apiserver ─ client certificate, X-Remote-* ─→ tls → read.rs: identity.rs → access::Authorizer → forward.rs, follow.rs ─→ aggregator
//!                                                    discovery.rs (needs neither store nor aggregator)          X-Tailwater-Access, signed
//! front_proxy.rs watches whose certificate that is · target.rs says which paths there are · status.rs refuses · audit.rs tells of each read
//! pod_log.rs, live_log.rs: a pod's log as text · pods.rs, pod_list.rs: pods that have logs · pod_watch.rs, version.rs: what becomes of them
//! events.rs: Kubernetes' events · selection.rs: selectors · openapi.rs describes all of these · observe.rs counts
//! ```
//! It keeps no data. What it may be asked for is what the aggregator's routes read, confined to the namespaces that the caller may read.

mod audit;
mod discovery;
mod events;
mod follow;
mod forward;
mod front_proxy;
mod identity;
mod key;
mod live_log;
mod observe;
mod openapi;
mod pod_list;
mod pod_log;
mod pod_watch;
mod pods;
mod read;
mod selection;
mod shape;
mod status;
mod target;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::InvalidHeaderValue;
use tailwater_storage::store::{self, OpenError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::authorizer::Authorizer;
use crate::access::client::{self, ConnectError};
use crate::access::expiring::Lifetimes;
use crate::access::metrics::ReviewMetrics;
use crate::access::review::Reviewer;
use crate::apiserver::forward::Upstream;
use crate::apiserver::front_proxy::FrontProxy;
use crate::apiserver::read::ReadState;
use crate::cli::ConfigSource;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::tls::{Greeting, Peer, TlsError, TlsListener, TlsMetrics};
use crate::wiring;

/// How long requests are waited for that run when it is stopped.
const GRACE: Duration = Duration::from_secs(10);

/// What the command is started with.
#[derive(Debug, Clone)]
pub struct ApiserverOptions {
    pub source: ConfigSource,
    pub address: SocketAddr,
    /// URL of the aggregator.
    pub aggregator: String,
    /// A line in the log for each read.
    pub is_audited: bool,
    /// How long answers of the Kubernetes API are used.
    pub lifetimes: Lifetimes,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiserverError {
    #[error("the Kubernetes API asks by HTTPS only: set `tls.certificate` and `tls.key`")]
    NoCertificate,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("cannot listen on `{address}`: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("`tenancy.default` cannot stand in a header: {0}")]
    Tenant(InvalidHeaderValue),
    #[error("cannot make a client for the aggregator: {0}")]
    Client(reqwest::Error),
    #[error("the HTTPS server failed: {0}")]
    Serve(std::io::Error),
}

/// Bound, with its tasks running.
pub struct Apiserver {
    listener: TlsListener,
    address: SocketAddr,
    router: Router,
    stopping: CancellationToken,
    background: TaskTracker,
}

impl Apiserver {
    /// Checks what can be checked without the cluster and the store, which may come later.
    pub async fn start(options: &ApiserverOptions, config: &Config) -> Result<Self, ApiserverError> {
        let metrics = Arc::new(Metrics::default());
        let (tls_metrics, reviews) = (TlsMetrics::default(), ReviewMetrics::default());
        tls_metrics.register(&metrics);
        reviews.register(&metrics);
        let files = config.tls.files().ok_or(ApiserverError::NoCertificate)?;
        files.server(None, &tls_metrics)?;
        let kubernetes = client::connect(&config.auth.kubeconfig).await?;
        let bucket = store::open(&wiring::store_options(config), &config.storage.prefix)?;
        let tenant = HeaderValue::from_str(&config.tenancy.default).map_err(ApiserverError::Tenant)?;
        let aggregator = reqwest::Client::builder().build().map_err(ApiserverError::Client)?;
        let failed = |source| ApiserverError::Listen { address: options.address, source };
        let bound = TcpListener::bind(options.address).await.map_err(failed)?;
        let address = bound.local_addr().map_err(failed)?;
        let (stopping, background) = (CancellationToken::new(), TaskTracker::new());
        let (told, front_proxy) = watch::channel::<Option<FrontProxy>>(None);
        background.spawn(front_proxy::keep_watching(kubernetes.clone(), told, stopping.clone()));
        let (found, signer) = watch::channel(None);
        background.spawn(key::keep_looking(bucket, found, stopping.clone()));
        background.close();
        let state = ReadState {
            authorizer: Authorizer::new(Reviewer::new(kubernetes, reviews), options.lifetimes),
            signer,
            front_proxy: front_proxy.clone(),
            upstream: Upstream::new(aggregator, &options.aggregator, tenant),
            clock: Arc::new(SystemClock),
            is_audited: options.is_audited,
        };
        let clients = Arc::new(move || front_proxy.borrow().as_ref().map(|front_proxy| front_proxy.clients.clone()));
        let greeting = Greeting { files, clients, metrics: tls_metrics };
        let listener = TlsListener::start(bound, greeting).map_err(failed)?;
        Ok(Self { listener, address, router: observe::wrap(read::router(state), metrics), stopping, background })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is stopped; tails that go on then are cut off after [`GRACE`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), ApiserverError> {
        tracing::info!(address = %self.address, "listening");
        let service = self.router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(self.listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut serving = std::pin::pin!(serving.into_future());
        let stopped = tokio::select! {
            ended = &mut serving => ended,
            () = stop.cancelled() => timeout(GRACE, &mut serving).await.unwrap_or(Ok(())),
        };
        self.stopping.cancel();
        self.background.wait().await;
        stopped.map_err(ApiserverError::Serve)
    }
}
