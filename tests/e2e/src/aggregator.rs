//! The aggregator, as the cluster runs it: `serve` on a store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::{Api, metric};
use crate::deadline::eventually;
use crate::ports;
use crate::process::{Invocation, Process, Usage};
use crate::programs;
use crate::s3::S3Server;

/// More than ten times what the start takes.
pub const START_LIMIT: Duration = Duration::from_secs(90);
/// More than the ten seconds it may take to stop.
pub const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A replica that can be killed and started again on the same port and store.
#[derive(Debug)]
pub struct Aggregator {
    process: Process,
    invocation: Invocation,
    folder: PathBuf,
    port: u16,
    /// Of the processes that were killed.
    past_processor_seconds: f64,
    past_peak_bytes: u64,
}

impl Aggregator {
    /// On a folder of this machine.
    pub async fn on_folder(folder: &Path, data: &Path) -> Result<Self> {
        let port = ports::free()?;
        Self::start(folder, port, serve(port, folder_flags(data).chain(quick_compaction()))?).await
    }

    /// On an S3 server.
    pub async fn on_s3(folder: &Path, server: &S3Server) -> Result<Self> {
        let port = ports::free()?;
        let mut invocation = serve(port, server.flags().into_iter().chain(quick_compaction()))?;
        invocation.variables = server.variables();
        Self::start(folder, port, invocation).await
    }

    /// Starts `invocation`, which listens on `port`, and waits until it is ready.
    pub async fn start(folder: &Path, port: u16, invocation: Invocation) -> Result<Self> {
        let process = Process::start("aggregator", &invocation, folder)?;
        let mut aggregator = Self { process, invocation, folder: folder.to_owned(), port, past_processor_seconds: 0.0, past_peak_bytes: 0 };
        aggregator.ready().await?;
        Ok(aggregator)
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its API, past the gateway.
    pub fn api(&self) -> Result<Api> {
        Api::new(&format!("http://{}", self.address()))
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn kill_now(&mut self) -> Result<()> {
        let used = self.process.usage()?;
        self.past_processor_seconds += used.processor_seconds;
        self.past_peak_bytes = self.past_peak_bytes.max(used.peak_bytes);
        self.process.kill_now()
    }

    /// Starts it again after a kill, without waiting.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = Process::start("aggregator", &self.invocation, &self.folder)?;
        Ok(())
    }

    pub async fn ready(&mut self) -> Result<()> {
        let api = self.api()?;
        let ready = eventually("the aggregator is ready", START_LIMIT, || api.ready()).await;
        self.process.require_running()?;
        ready
    }

    /// Waits until every segment was folded and every merge that is due was made.
    pub async fn compacted(&self, limit: Duration) -> Result<()> {
        self.zero(&["tailwater_segments_uncompacted", "tailwater_compaction_pending_bytes"], limit).await
    }

    /// Waits until every segment was folded.
    pub async fn segments_folded(&self, limit: Duration) -> Result<()> {
        self.zero(&["tailwater_segments_uncompacted"], limit).await
    }

    async fn zero(&self, metrics: &[&str], limit: Duration) -> Result<()> {
        eventually("everything is compacted", limit, || async {
            for name in metrics {
                let value = self.metric(name).await?;
                ensure!(value == 0.0, "{name} is {value}");
            }
            Ok(())
        })
        .await
    }

    /// See [`metric`]; an error if it has none of this name.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let value = metric(&format!("http://{}", self.address()), name).await?;
        value.with_context(|| format!("metric `{name}` is missing"))
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP_LIMIT).await
    }

    /// Of all its processes.
    pub fn usage(&self) -> Result<Usage> {
        let used = self.process.usage()?;
        Ok(Usage {
            processor_seconds: used.processor_seconds + self.past_processor_seconds,
            peak_bytes: used.peak_bytes.max(self.past_peak_bytes),
            resident_bytes: used.resident_bytes,
        })
    }
}

/// Compaction every few seconds, so that it is at work in every drill.
fn quick_compaction() -> impl Iterator<Item = String> {
    ["--compaction-compact-after", "2s", "--compaction-settle", "3s", "--compaction-retire-after", "30s"].map(str::to_owned).into_iter()
}

/// `serve` on a free port and a folder.
pub fn folder_invocation(data: &Path) -> Result<(u16, Invocation)> {
    let port = ports::free()?;
    Ok((port, serve(port, folder_flags(data))?))
}

fn folder_flags(data: &Path) -> impl Iterator<Item = String> {
    let flags = ["--storage-type", "filesystem", "--storage-filesystem-path"].map(str::to_owned);
    flags.into_iter().chain([data.display().to_string()])
}

/// `serve` with flags.
pub fn serve(port: u16, flags: impl IntoIterator<Item = String>) -> Result<Invocation> {
    let listen = ["serve".to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")];
    Ok(Invocation::new(programs::ours("tailwater-aggregator")?, listen.into_iter().chain(flags)))
}

/// Whether its configuration has a key of this name; a program refuses flags and variables it does not know.
pub fn knows_key(invocation: &Invocation, name: &str) -> Result<bool> {
    let output =
        Command::new(&invocation.program).args(["serve", "--print-config"]).output().context("cannot ask for the configuration")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.lines().any(|line| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))))
}
