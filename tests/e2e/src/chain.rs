//! A line's whole way, put together: store, aggregator, gateway, agent, with the hops a drill asks for in between.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tailwater_podwriter::{BatchOptions, Manifest, TreeOptions, generate};

use crate::agent::Agent;
use crate::aggregator::Aggregator;
use crate::api::Api;
use crate::drill::{Folder, report};
use crate::faulty_proxy::{Fault, FaultyProxy};
use crate::gateway::Gateway;
use crate::in_flight::InFlightProxy;
use crate::oracle::{self, Verdict};
use crate::s3::S3Server;

/// How long the agent may go without an acknowledgement: it backs off for seconds after a failure.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Where the aggregator stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Folder,
    S3,
}

/// What stands between gateway and aggregator, and between agent and gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    None,
    /// Proxies that count pushes in flight, on both sides of the gateway.
    Counted,
    /// A broken hop behind the gateway.
    Faulty(Fault),
}

/// Everything but the agent, which a drill starts when its tree is there.
#[derive(Debug)]
pub struct Chain {
    pub aggregator: Aggregator,
    pub gateway: Gateway,
    /// In front of the gateway and of the aggregator.
    pub counted: Option<(InFlightProxy, InFlightProxy)>,
    pub faulty: Option<FaultyProxy>,
    folder: PathBuf,
    // Dropped last: the others still talk to it.
    _store: Option<S3Server>,
}

impl Chain {
    pub async fn start(folder: &Folder, store: Store, hops: Hops) -> Result<Self> {
        let path = folder.path().to_owned();
        let (server, aggregator) = match store {
            Store::Folder => (None, Aggregator::on_folder(&path, &folder.below("store")?).await?),
            Store::S3 => {
                let server = S3Server::weed(&path).await?;
                let aggregator = Aggregator::on_s3(&path, &server).await?;
                (Some(server), aggregator)
            }
        };
        let (gateway, counted, faulty) = match hops {
            Hops::None => (Gateway::start(&path, &aggregator.address()).await?, None, None),
            Hops::Counted => {
                let behind = InFlightProxy::start(&aggregator.address()).await?;
                let gateway = Gateway::start(&path, &behind.address()).await?;
                let before = InFlightProxy::start(&gateway.address()).await?;
                (gateway, Some((before, behind)), None)
            }
            Hops::Faulty(fault) => {
                let proxy = FaultyProxy::start(&aggregator.address(), fault).await?;
                (Gateway::start(&path, &proxy.address()).await?, None, Some(proxy))
            }
        };
        Ok(Self { aggregator, gateway, counted, faulty, folder: path, _store: server })
    }

    /// An agent that tails `pods` and pushes to the chain's front.
    pub async fn agent(&self, pods: &Path) -> Result<Agent> {
        let front = self.counted.as_ref().map_or_else(|| self.gateway.address(), |(before, _)| before.address());
        Agent::start(&self.folder, pods, &format!("http://{front}/loki/api/v1/push")).await
    }

    /// Queries through the gateway.
    pub fn api(&self) -> Result<Api> {
        self.gateway.api()
    }

    /// Compares all answers, asked through the gateway, with the manifest; prints how long that took.
    pub async fn compare(&self, manifest: &Manifest) -> Result<Verdict> {
        let started = Instant::now();
        let verdict = oracle::compare(&self.api()?, manifest).await?;
        println!("{} numbers compared in {:.1} s", verdict.compared, started.elapsed().as_secs_f64());
        Ok(verdict)
    }
}

/// A tree of `bytes` with rotation, pieces, both streams and needles.
pub fn tree_options(pods: &Path, seed: u64, bytes: u64) -> BatchOptions {
    // A few dozen rotations, whatever the size.
    let rotate_bytes = (bytes / 128).clamp(64 << 10, 4 << 20);
    BatchOptions::new(TreeOptions { rotate_bytes, ..TreeOptions::new(pods, seed) }, bytes)
}

/// Writes a tree and says what is in it.
pub fn write_tree(options: &BatchOptions) -> Result<Manifest> {
    let started = Instant::now();
    let manifest = generate(options).context("cannot write the tree")?;
    describe(&manifest, started.elapsed());
    Ok(manifest)
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Writes a tree beside the drill.
pub fn write_tree_beside(options: BatchOptions) -> JoinHandle<Result<Manifest>> {
    std::thread::spawn(move || write_tree(&options))
}

fn describe(manifest: &Manifest, took: Duration) {
    println!(
        "tree: {} lines in {} streams, {:.1} MB of files, {} rotations ({} cut a line), {} records that are pieces, {} equal stamps, \
         {} repeated lines, {} needles, written in {:.1} s",
        manifest.lines,
        manifest.streams.len(),
        manifest.file_bytes as f64 / 1e6,
        manifest.rotations,
        manifest.cut_rotations,
        manifest.pieces,
        manifest.equal_stamps,
        manifest.repeated_lines,
        manifest.needles.len(),
        took.as_secs_f64()
    );
}

/// Prints what a run cost.
pub fn report_run(name: &str, manifest: &Manifest, took: Duration, agent: &Agent, aggregator: &Aggregator) -> Result<()> {
    let (agent, aggregator) = (agent.usage()?, aggregator.usage()?);
    let (lines, megabytes, seconds) = (manifest.lines as f64, manifest.file_bytes as f64 / 1e6, took.as_secs_f64());
    report(&format!(
        "{name}: {lines} lines, {megabytes:.1} MB in {seconds:.1} s: {:.0} lines/s, {:.1} MB/s; agent {:.2} CPU s ({:.0} lines a CPU s), \
         peak {:.1} MiB; aggregator {:.2} CPU s ({:.0} lines a CPU s), peak {:.1} MiB",
        lines / seconds,
        megabytes / seconds,
        agent.processor_seconds,
        lines / agent.processor_seconds.max(0.01),
        agent.peak_bytes as f64 / 1048576.0,
        aggregator.processor_seconds,
        lines / aggregator.processor_seconds.max(0.01),
        aggregator.peak_bytes as f64 / 1048576.0,
    ));
    Ok(())
}
