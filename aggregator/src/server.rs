//! The server: bound, wired, answering, and stopped in an order that loses nothing.
//!
//! Stopping: `/ready` says 503; requests are served while endpoints settle; the open buffer is flushed, which
//! acknowledges what waits; no new connections; running requests get what is left of [`Grace::total`]; the parts end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::serve::{Listener, ListenerExt};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::access::control::LabelIndex;
use crate::access::{self, AccessControl, guard};
use crate::cache_metrics;
use crate::cli::ConfigSource;
use crate::clock::{Clock, SystemClock};
use crate::compaction;
use crate::config::Config;
use crate::duplicate_metrics;
use crate::http;
use crate::http::admin::AdminState;
use crate::http::delete::DeleteState;
use crate::http::push::{PushParts, PushState};
use crate::http::query::ReadState;
use crate::http::read_header::ReadHeader;
use crate::http::rules::RuleState;
use crate::http::status::StatusState;
use crate::http::tail::TailState;
use crate::ingest::flush_metrics;
use crate::lifecycle::Lifecycle;
use crate::logging::LogLevelControl;
use crate::memory;
use crate::metrics::Metrics;
use crate::panics;
use crate::query_metrics;
use crate::reload::LimitsReload;
use crate::retention;
use crate::tls::{self, Greeting, KnownClients, Peer, TlsError, TlsFiles, TlsListener, TlsMetrics};
use crate::wiring::{Parts, WiringError};

/// Why there is no server. Display is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on `{address}`: the address is in use; stop the other program or set `listen` to another one")]
    AddressInUse { address: SocketAddr },
    #[error("cannot listen on `{address}`: {source}; set `listen` to an address of this machine")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Wiring(#[from] WiringError),
    #[error("{0}; look at `tls.certificate`, `tls.key` and `tls.client_ca`")]
    Tls(#[from] TlsError),
    #[error("`peers` are asked by plain HTTP, which none of them answers with `tls.certificate`: list their https:// addresses")]
    PlainPeers,
    #[error("the HTTP server failed: {0}")]
    Http(std::io::Error),
}

/// How long stopping may take.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// Requests are still served so long, until nobody sends more.
    pub settle: Duration,
    /// All of it.
    pub total: Duration,
}

impl Grace {
    /// Behind a Service, whose endpoints take a while to notice.
    pub const CLUSTER: Grace = Grace { settle: Duration::from_secs(3), total: Duration::from_secs(10) };
    /// Alone on a machine.
    pub const ALONE: Grace = Grace { settle: Duration::ZERO, total: Duration::from_secs(10) };
}

/// Share of the memory limit for requests that are received and decoded, in percent.
const PUSH_SHARE: u64 = 10;

/// Bound and ready to answer.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    parts: Parts,
    lifecycle: Lifecycle,
    /// `None`: plain HTTP.
    tls: Option<Https>,
}

/// HTTPS, and who is answered.
struct Https {
    files: TlsFiles,
    /// Authorities of clients; `None`: everybody is.
    clients: Option<PathBuf>,
}

impl Server {
    /// Binds the address, opens the store and puts the endpoints together.
    pub async fn start(config: Config, log_level: LogLevelControl) -> Result<Self, ServeError> {
        let (listener, address) = bind(config.listen).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let clients = config.tls.client_authorities().map(Path::to_owned);
        let tls = config.tls.files().map(|files| Https { files, clients });
        if tls.is_some() && config.peers.iter().any(|peer| !peer.starts_with("https://")) {
            return Err(ServeError::PlainPeers);
        }
        let parts = Parts::start(&config, Arc::clone(&clock)).await?;
        if let Some(Https { files, clients }) = &tls {
            let clients = clients.as_deref().map(KnownClients::of_file).transpose()?;
            files.server(clients.as_ref(), &parts.tls_metrics)?;
        }
        let lifecycle = Lifecycle::default();
        let router = endpoints(config, clock, log_level, &parts, lifecycle.clone());
        Ok(Self { listener, address, router, parts, lifecycle, tls })
    }

    /// Where it listens, with the port that was chosen if none was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes over the limits of another configuration; everything else of it needs a restart.
    pub fn limits_reload(&self, source: ConfigSource, started_with: Config) -> LimitsReload {
        LimitsReload::new(source, started_with, Arc::clone(&self.parts.retention))
    }

    /// Answers until `stop` is cancelled, then stops in order.
    pub async fn run(mut self, stop: CancellationToken, grace: Grace) -> Result<(), ServeError> {
        let closing = CancellationToken::new();
        let mut serving = match self.tls.take() {
            None => serve(without_delay(self.listener), self.router, closing.clone()),
            Some(https) => {
                let metrics = self.parts.tls_metrics.clone();
                serve_tls(self.listener, https, metrics, self.router, closing.clone()).map_err(ServeError::Http)?
            }
        };
        tracing::info!(address = %self.address, "listening");
        tokio::select! {
            ended = &mut serving => return ended.map_err(ServeError::Http),
            () = stop.cancelled() => {}
        }
        tracing::info!("stopping");
        let deadline = Instant::now() + grace.total;
        self.lifecycle.stop();
        let settling = async {
            sleep(grace.settle).await;
            if let Err(error) = self.parts.ingester.flush().await {
                tracing::warn!(%error, "the last entries were not stored and are not acknowledged");
            }
        };
        tokio::select! {
            ended = &mut serving => return ended.map_err(ServeError::Http),
            _ = timeout_at(deadline, settling) => {}
        }
        closing.cancel();
        if timeout_at(deadline, &mut serving).await.is_err() {
            tracing::warn!("requests were still running and are cut off");
        }
        self.parts.stop().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Answers until `closing` is cancelled and what runs then has ended.
fn serve<L>(listener: L, router: Router, closing: CancellationToken) -> BoxFuture<'static, std::io::Result<()>>
where
    L: Listener<Addr: std::fmt::Debug>,
{
    // A router by itself is copied, all routes of it, for each connection.
    axum::serve(listener, router.into_make_service()).with_graceful_shutdown(closing.cancelled_owned()).into_future().boxed()
}

/// The same by HTTPS. Where clients are known, each that is not is refused, also while their authorities cannot be read.
fn serve_tls(
    listener: TcpListener,
    Https { files, clients }: Https,
    metrics: TlsMetrics,
    router: Router,
    closing: CancellationToken,
) -> std::io::Result<BoxFuture<'static, std::io::Result<()>>> {
    let router = if clients.is_some() { router.layer(from_fn(tls::known_only)) } else { router };
    let known = move || {
        let known = KnownClients::of_file(clients.as_deref()?);
        known.inspect_err(|error| tracing::warn!(%error, "no client is known")).ok()
    };
    let listener = TlsListener::start(listener, Greeting { files, clients: Arc::new(known), metrics })?;
    let service = router.into_make_service_with_connect_info::<Peer>();
    Ok(axum::serve(listener, service).with_graceful_shutdown(closing.cancelled_owned()).into_future().boxed())
}

fn without_delay(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listen_error = |source: std::io::Error| match source.kind() {
        ErrorKind::AddrInUse => ServeError::AddressInUse { address },
        _ => ServeError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok((listener, bound))
}

/// Every endpoint, with what it works with.
pub(crate) fn endpoints(config: Config, clock: Arc<dyn Clock>, log_level: LogLevelControl, parts: &Parts, lifecycle: Lifecycle) -> Router {
    let metrics = Arc::new(Metrics::default());
    flush_metrics::register(&parts.ingester, &metrics);
    query_metrics::register(&parts.engine, &metrics);
    cache_metrics::register(&parts.catalog, &parts.engine, &metrics);
    duplicate_metrics::register(&parts.ingester, parts.compaction.compactor(), &parts.catalog, &metrics);
    panics::register(&metrics);
    if config.tls.is_on() {
        parts.tls_metrics.register(&metrics);
    }
    let quota = config.storage.quota_bytes.as_u64();
    compaction::register(&parts.catalog, &parts.compaction, &parts.peers, &clock, quota, &metrics);
    retention::register(&parts.catalog, parts.compaction.compactor(), parts.compaction.retention(), &metrics);
    let limits = parts.retention.limits().clone();
    let memory = memory::limit(config.memory_limit);
    let push = PushState::new(PushParts {
        tenancy: config.tenancy.clone(),
        limits: limits.clone(),
        is_strict: config.strict_loki,
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        budget_bytes: usize::try_from(memory / 100 * PUSH_SHARE).unwrap_or(usize::MAX),
        ingester: parts.ingester.clone(),
    });
    let read = ReadState {
        tenancy: Arc::new(config.tenancy.clone()),
        limits: limits.clone(),
        is_strict: config.strict_loki,
        clock,
        engine: parts.engine.clone(),
        retention: parts.retention.clone(),
    };
    parts.access.metrics.register(&metrics);
    let control = AccessControl {
        signer: parts.access.signer.clone(),
        authorizer: parts.access.authorizer.clone(),
        index: LabelIndex { engine: parts.engine.clone(), tenancy: read.tenancy.clone() },
        clock: Arc::clone(&read.clock),
    };
    let rules = RuleState { tenancy: read.tenancy.clone(), is_strict: config.strict_loki };
    let delete = DeleteState { read: read.clone(), catalog: parts.catalog.clone(), compactor: parts.compaction.compactor().clone() };
    let tail = TailState::new(read.clone(), parts.ingester.subscriptions(), lifecycle.clone());
    let admin =
        AdminState { lifecycle, ingester: parts.ingester.clone(), store_contact: parts.store_contact.clone(), peers: parts.peers.clone() };
    let status = StatusState { config: Arc::new(config), limits, metrics: Arc::clone(&metrics), log_level };
    let families = [
        http::push::routes(push),
        http::query::routes(read.clone()),
        http::labels::routes(read.clone()),
        http::series::routes(read.clone()),
        http::patterns::routes(read.clone()),
        http::stats::routes(read.clone()),
        http::volume::routes(read.clone()),
        http::legacy::routes(read.clone()),
        http::rules::routes(rules),
        http::detected::routes(read),
        http::delete::routes(delete),
        http::tail::routes(tail),
        http::status::routes(status),
        http::admin::routes(admin),
        access::endpoint::routes(control.clone()),
    ];
    let read_header = ReadHeader::new(parts.catalog.clone());
    // Nothing is done for anybody before it is known what they may read.
    http::router(families.map(|family| guard::wrap(read_header.heeded_by(family), control.clone())), metrics)
}
