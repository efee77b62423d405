//! `demo`: the whole way of a line on one machine, in one process, with nothing installed.
//!
//! ```text
//! writer (as a container runtime writes) → DIR/pods → agent → HTTP → aggregator → DIR/store
//! ```
//! With `--pods-dir` the agent tails that tree and nothing is written into it. A second start goes on with the data of the first.
//! Stopping runs against the flow: first the writer, then the agent (which sends what it has read), then the aggregator.

mod guide;
mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tailwater_agent::{AgentError, AgentHandle, StartError};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, LogFormat, LogLevel};
use crate::demo::writer::{LiveWriter, WriterError};
use crate::logging;
use crate::server::{Grace, ServeError, Server};
use crate::signals;

/// How often the demo says where it is.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Between two looks for the first stored line.
const FIRST_LINE_POLL: Duration = Duration::from_millis(20);

/// What `demo` was told.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoOptions {
    /// Holds everything: the store, the agent's positions, the written logs.
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// Tail this tree and write nothing.
    pub pods_dir: Option<PathBuf>,
    pub lines_per_second: f64,
}

/// Why there is no demo. Display is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot use the folder `{path}`: {source}; choose another one with --data")]
    Data { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    AgentStart(#[from] StartError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(std::io::Error),
}

/// Runs until Ctrl-C.
pub async fn run(options: DemoOptions) -> Result<(), DemoError> {
    let started = Instant::now();
    let stop = signals::stop().map_err(DemoError::Signals)?;
    std::fs::create_dir_all(&options.data).map_err(|source| DemoError::Data { path: options.data.clone(), source })?;
    let server = Server::start(aggregator_config(&options), logging::start(LogLevel::Warn, LogFormat::Logfmt)).await?;
    let address = server.address();
    let (stop_server, stop_agent) = (CancellationToken::new(), CancellationToken::new());
    let serving = tokio::spawn(server.run(stop_server.clone(), Grace::ALONE));
    let outcome = tail(&options, address, started, &stop, &stop_agent).await;
    stop_server.cancel();
    match serving.await {
        Ok(served) => outcome.and(served.map_err(DemoError::from)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Writes and tails until `stop`; everything read was sent when it returns.
async fn tail(
    options: &DemoOptions,
    address: SocketAddr,
    started: Instant,
    stop: &CancellationToken,
    stop_agent: &CancellationToken,
) -> Result<(), DemoError> {
    let (pods_dir, mut writer) = match &options.pods_dir {
        Some(pods_dir) => (pods_dir.clone(), None),
        None => {
            let pods_dir = options.data.join("pods");
            let writer = LiveWriter::start(&pods_dir, options.lines_per_second)?;
            (pods_dir, Some(writer))
        }
    };
    let agent = tailwater_agent::start(agent_config(options, pods_dir, address), stop_agent.clone()).await?;
    print!("{}", guide::text(address, options, writer.is_some()));
    report(&agent, started, stop).await;
    println!("\nstopping: the agent sends what it has read, the aggregator stores what waits …");
    let written = writer.take().map_or(Ok(()), LiveWriter::stop);
    stop_agent.cancel();
    let acknowledged = agent.metrics();
    agent.join().await?;
    written?;
    println!("stopped; {} lines were stored in this run. The same command goes on from here.", acknowledged.lines_acknowledged);
    Ok(())
}

/// Tells of the first stored line, then every few seconds how many there are, until `stop`.
async fn report(agent: &AgentHandle, started: Instant, stop: &CancellationToken) {
    let mut said_first = false;
    let mut last = (Instant::now(), 0);
    loop {
        let pause = if said_first { STATUS_INTERVAL } else { FIRST_LINE_POLL };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let stored = agent.metrics().lines_acknowledged;
        if !said_first && stored > 0 {
            said_first = true;
            println!("first lines stored and answerable {:.1} s after the start", started.elapsed().as_secs_f64());
        } else if said_first {
            let rate = (stored - last.1) as f64 / last.0.elapsed().as_secs_f64();
            println!("{stored} lines stored so far, {rate:.0} a second");
        }
        last = (Instant::now(), stored);
    }
}

fn aggregator_config(options: &DemoOptions) -> Config {
    let mut config = Config { listen: options.listen, ..Config::default() };
    config.storage.filesystem.path = options.data.join("store");
    config
}

fn agent_config(options: &DemoOptions, pods_dir: PathBuf, address: SocketAddr) -> tailwater_agent::Config {
    let node_name = std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
    tailwater_agent::Config {
        data_dir: options.data.join("agent"),
        pods_dir,
        listen: None,
        node_name: if node_name.is_empty() { "localhost".to_owned() } else { node_name },
        client: tailwater_agent::config::ClientConfig::new(format!("http://{address}/loki/api/v1/push")),
        ..tailwater_agent::Config::default()
    }
}
