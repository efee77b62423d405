//! The agent, as a node runs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::api::{get_text, metric};
use crate::deadline::eventually;
use crate::ports;
use crate::process::{Invocation, Process, Usage};
use crate::programs;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// An agent that can be killed and started again with its positions.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    invocation: Invocation,
    folder: PathBuf,
    port: u16,
    past_processor_seconds: f64,
    past_peak_bytes: u64,
}

impl Agent {
    /// Tails `pods` and pushes to `push_url`; positions are kept in `data` below `folder`.
    pub async fn start(folder: &Path, pods: &Path, push_url: &str) -> Result<Self> {
        let port = ports::free()?;
        let data = folder.join("agent-data");
        std::fs::create_dir_all(&data)?;
        let (pods, data, listen) = (pods.display().to_string(), data.display().to_string(), format!("127.0.0.1:{port}"));
        let arguments = ["--pods-dir", &pods, "--data-dir", &data, "--push-url", push_url, "--listen", &listen];
        let invocation = Invocation::new(programs::ours("tailwater-agent")?, arguments).with_variable("NODE_NAME", "e2e-node");
        let process = Process::start("agent", &invocation, folder)?;
        let mut agent = Self { process, invocation, folder: folder.to_owned(), port, past_processor_seconds: 0.0, past_peak_bytes: 0 };
        agent.ready().await?;
        Ok(agent)
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
        self.process = Process::start("agent", &self.invocation, &self.folder)?;
        Ok(())
    }

    /// Its HTTP server answers, whatever it says about the receiver.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/live", self.port);
        let ready = eventually("the agent answers", START_LIMIT, || get_text(&url)).await;
        self.process.require_running()?;
        ready.map(drop)
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP_LIMIT).await
    }

    pub fn usage(&self) -> Result<Usage> {
        let used = self.process.usage()?;
        Ok(Usage {
            processor_seconds: used.processor_seconds + self.past_processor_seconds,
            peak_bytes: used.peak_bytes.max(self.past_peak_bytes),
            resident_bytes: used.resident_bytes,
        })
    }

    /// Bytes of its files whose lines the receiver has acknowledged, over all starts of the agent.
    pub async fn acknowledged_bytes(&self) -> Result<u64> {
        let targets: Value = serde_json::from_str(&get_text(&format!("http://127.0.0.1:{}/targets", self.port)).await?)?;
        let files = targets["files"].as_array().context("`/targets` lists no files")?;
        Ok(files.iter().filter_map(|file| file["acknowledged_offset"].as_u64()).sum())
    }

    /// Waits until everything in files of together `bytes` is acknowledged. Fails after `patience` without progress.
    pub async fn acknowledged(&mut self, bytes: u64, patience: Duration) -> Result<()> {
        let mut done = self.acknowledged_bytes().await?;
        while done < bytes {
            let agent = &*self;
            let more = eventually("more lines are acknowledged", patience, || async {
                let now = agent.acknowledged_bytes().await?;
                ensure!(now > done, "{done} of {bytes} bytes are");
                Ok(now)
            });
            done = more.await?;
            self.process.require_running()?;
        }
        Ok(())
    }

    /// A counter of its metrics; 0 if it is not there.
    pub async fn counter(&self, name: &str) -> Result<u64> {
        let value = metric(&format!("http://127.0.0.1:{}", self.port), name).await?;
        Ok(value.unwrap_or_default() as u64)
    }
}
