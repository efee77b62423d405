//! Limits that change while the process runs: the file of the configuration is read again on SIGHUP, and when what it says is different.
//!
//! A file that cannot be read or is wrong changes nothing; that is told once, until it is right again. Of keys that need a restart it is told
//! that they do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ConfigSource;
use crate::config::Config;
use crate::retention::RetentionRules;

/// How often the file is looked at; Loki does so too.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Reads a configuration again and takes over its limits.
pub struct LimitsReload {
    source: ConfigSource,
    /// What is in force.
    config: Config,
    rules: Arc<RetentionRules>,
    /// The file when it was read last.
    text: Option<Vec<u8>>,
}

impl LimitsReload {
    /// `config`: what the process was started with, from the same source.
    pub fn new(source: ConfigSource, config: Config, rules: Arc<RetentionRules>) -> Self {
        let text = source.file.as_deref().and_then(text_of);
        Self { source, config, rules, text }
    }

    /// Looks until the process ends. Without a file there is nothing to look at, and SIGHUP is only survived.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            let is_asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
            };
            let Some(file) = self.source.file.clone() else { continue };
            let text = tokio::task::spawn_blocking(move || text_of(&file)).await.unwrap_or_default();
            if is_asked || text != self.text {
                self.text = text;
                self.reload();
            }
        }
    }

    /// Takes over what the source says now; `false` if it is wrong.
    pub fn reload(&mut self) -> bool {
        let merged = match self.source.load() {
            Ok(merged) => merged,
            Err(error) => {
                tracing::warn!(%error, "the configuration cannot be read again, limits stay as they are");
                return false;
            }
        };
        let Config { limits, overrides, .. } = merged.config.clone();
        if let Err(error) = self.rules.replace_limits(limits, overrides) {
            tracing::warn!(%error, "the configuration cannot be used, limits stay as they are");
            return false;
        }
        if merged.config == self.config {
            tracing::info!("limits read again: nothing is different");
            return true;
        }
        let with_limits_of =
            |config: &Config, other: &Config| Config { limits: other.limits.clone(), overrides: other.overrides.clone(), ..config.clone() };
        if with_limits_of(&merged.config, &self.config) != self.config {
            tracing::warn!("the configuration differs in more than limits; for that, restart");
        }
        self.config = with_limits_of(&self.config, &merged.config);
        tracing::info!(tenants = self.config.overrides.len(), "limits read again");
        true
    }
}

fn text_of(file: &Path) -> Option<Vec<u8>> {
    std::fs::read(file).ok()
}
