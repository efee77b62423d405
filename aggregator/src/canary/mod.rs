//! `tailwater-aggregator canary`: writes a numbered line each second where a pod's logs go, looks for it where people look, and counts what is lost.
//!
//! ```text
//! mark.rs: canary=RUN number=N ─ standard output → agent → gateway → aggregator
//! ledger.rs: what was written and found ←─ reader.rs: query_range through the gateway     metrics.rs → /metrics
//! ```
//! A query that fails tells nothing and is counted; a line counts as missing only when later ones have been found (see `ledger`). While
//! [`MOST_WAITING`] lines are waited for, no further one is written.

mod ledger;
mod mark;
mod metrics;
mod reader;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::canary::ledger::Ledger;
use crate::canary::mark::Mark;
use crate::canary::metrics::CanaryMetrics;
use crate::canary::reader::Reader;
use crate::metrics::Metrics;

pub use reader::ReaderError;

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(1);
/// Lines that are waited for at most: an hour of them.
const MOST_WAITING: usize = 3600;

/// What the command is started with.
#[derive(Debug, Clone)]
pub struct CanaryOptions {
    /// Where to read: URL of a gateway or aggregator.
    pub url: String,
    /// Of `/metrics` and `/live`.
    pub address: SocketAddr,
    /// LogQL selector of the stream that its output becomes.
    pub selector: String,
    pub tenant: Option<String>,
    /// Files, read before every query.
    pub bearer_token: Option<PathBuf>,
    pub username: Option<PathBuf>,
    pub password: Option<PathBuf>,
    /// PEM file of the authority that signed the gateway's certificate.
    pub authority: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error("cannot listen on `{address}`: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the selector `{selector}` is none: {reason}")]
    Selector { selector: String, reason: String },
    #[error("cannot write a line: {0}")]
    Write(std::io::Error),
    #[error("the HTTP server failed: {0}")]
    Serve(std::io::Error),
}

/// Writes and reads until it is stopped.
pub async fn run(options: CanaryOptions, stop: CancellationToken) -> Result<(), CanaryError> {
    let reason =
        |error: tailwater_logql::ParseError| CanaryError::Selector { selector: options.selector.clone(), reason: error.to_string() };
    tailwater_logql::parse(&options.selector).map_err(reason)?;
    let registry = Arc::new(Metrics::default());
    let metrics = CanaryMetrics::default();
    metrics.register(&registry);
    let failed = |source| CanaryError::Listen { address: options.address, source };
    let listener = TcpListener::bind(options.address).await.map_err(failed)?;
    tracing::info!(address = %listener.local_addr().map_err(failed)?, "listening");
    let router = Router::new().route("/live", get(async || "ok")).route("/metrics", get(async move || registry.text()));
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let canary = Canary::new(&options, metrics)?;
    tokio::select! {
        served = serving.into_future() => served.map_err(CanaryError::Serve),
        ended = canary.sing() => ended,
        () = stop.cancelled() => Ok(()),
    }
}

struct Canary {
    mark: Mark,
    ledger: Ledger,
    reader: Reader,
    metrics: CanaryMetrics,
    began: Instant,
}

impl Canary {
    fn new(options: &CanaryOptions, metrics: CanaryMetrics) -> Result<Self, ReaderError> {
        let mark = Mark::new(Ulid::new());
        let reader = Reader::new(options, mark.query(&options.selector))?;
        Ok(Self { mark, ledger: Ledger::default(), reader, metrics, began: Instant::now() })
    }

    async fn sing(mut self) -> Result<(), CanaryError> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.ledger.waiting() < MOST_WAITING {
                self.write().map_err(CanaryError::Write)?;
            }
            self.look().await;
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let number = self.ledger.write(self.began.elapsed());
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", self.mark.line(number))?;
        output.flush()?;
        self.metrics.wrote();
        Ok(())
    }

    async fn look(&mut self) {
        let Some(oldest) = self.ledger.oldest() else { return };
        let answer = self.reader.read(self.began.elapsed().saturating_sub(oldest)).await;
        self.metrics.asked(answer.is_ok());
        match answer {
            Ok(answer) => {
                let findings = self.ledger.read(&self.mark.numbers(&answer), self.began.elapsed());
                self.metrics.found(&findings);
            }
            Err(error) => tracing::warn!(%error, "its lines cannot be looked for"),
        }
    }
}
