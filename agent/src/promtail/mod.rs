//! Promtail's configuration file, as it is: read, checked, every finding with its line.
//!
//! [`load`] gives what the file says and a [`Report`]; an error in the report means that nothing is to be started. [`sections`] and [`jobs`] read the
//! parts, [`targets`] makes targets of jobs, [`kubernetes`] knows the pods of this node.

pub(crate) mod client;
mod convert;
mod expand;
pub(crate) mod file_sd;
mod flags;
pub(crate) mod glob;
pub(crate) mod jobs;
pub(crate) mod journal;
pub(crate) mod kubernetes;
mod locate;
pub(crate) mod old_positions;
pub(crate) mod reader;
pub(crate) mod report;
mod scrape;
mod sections;
mod server_tls;
pub(crate) mod shown;
pub(crate) mod targets;
pub(crate) mod yaml;

pub use flags::{PromtailFlag, promtail_flag};
pub use report::{Finding, Report};
pub use scrape::{NativeScrapeConfigs, ScrapeConfigs};

use std::path::{Path, PathBuf};

use crate::admin::tls::ServerTls;
use crate::own_log::LogFormat;
use client::PromtailClient;
use sections::{Limits, Server};

/// What a `promtail.yaml` says.
#[derive(Debug, Clone)]
pub struct PromtailConfig {
    pub(crate) server: Server,
    pub(crate) clients: Vec<PromtailClient>,
    /// Promtail's own positions, taken over once.
    pub(crate) positions_file: PathBuf,
    pub(crate) ignores_invalid_positions: bool,
    pub(crate) scrape: ScrapeConfigs,
    pub(crate) limits: Limits,
    pub(crate) timing: sections::Pace,
    /// Of this machine, for `__host__` and the pods of this node.
    pub(crate) hostname: String,
    /// The file with its secrets masked.
    shown: String,
}

/// A file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read configuration file `{path}`: {source}")]
pub struct ReadError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Reads `path`. Without a configuration the report says why.
pub fn load(
    path: &Path,
    expands_variables: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Option<PromtailConfig>, Report), ReadError> {
    load_with(path, expands_variables, variable, &[])
}

/// The same with flags of Promtail's command line, by name and value.
pub fn load_with(
    path: &Path,
    expands_variables: bool,
    variable: impl Fn(&str) -> Option<String>,
    flags: &[(String, String)],
) -> Result<(Option<PromtailConfig>, Report), ReadError> {
    let text = read_text(path, expands_variables, &variable)?;
    let hostname = variable("HOSTNAME").filter(|name| !name.is_empty());
    let hostname = hostname.or_else(|| nix::unistd::gethostname().ok()?.into_string().ok()).unwrap_or_default();
    Ok(parse_with(&text, hostname, flags))
}

/// The file at `path` as the text of a native configuration that does the same. The report names what is not carried over, or why there is none.
pub fn convert(
    path: &Path,
    expands_variables: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Option<String>, Report), ReadError> {
    let text = read_text(path, expands_variables, &variable)?;
    Ok(convert_text(&text, String::new()))
}

fn convert_text(text: &str, hostname: String) -> (Option<String>, Report) {
    let (config, mut report) = parse_with(text, hostname, &[]);
    let converted = config.zip(yaml::parse(text).ok()).map(|(config, root)| convert::native(&root, &config, &mut report));
    (converted, report.sorted())
}

fn read_text(path: &Path, expands_variables: bool, variable: impl Fn(&str) -> Option<String>) -> Result<String, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReadError { path: path.to_owned(), source })?;
    Ok(if expands_variables { expand::expand(&text, variable) } else { text })
}

/// Reads the text of a configuration.
#[cfg(test)]
pub(crate) fn parse(text: &str, hostname: String) -> (Option<PromtailConfig>, Report) {
    parse_with(text, hostname, &[])
}

fn parse_with(text: &str, hostname: String, flags: &[(String, String)]) -> (Option<PromtailConfig>, Report) {
    let mut report = Report::default();
    let config = match yaml::parse(text) {
        Ok(mut root) => {
            flags::set(&mut root, flags);
            let config = sections::read(&root, hostname, &mut report);
            locate::locate(&root, &mut report);
            config
        }
        Err(error) => {
            report.error(error.line, error.what);
            None
        }
    };
    let config = config.filter(|_| report.errors.is_empty());
    (config, report.sorted())
}

impl PromtailConfig {
    /// Where to keep positions if nothing else says so: beside Promtail's own.
    pub fn default_data_dir(&self) -> PathBuf {
        self.positions_file.parent().unwrap_or(Path::new("/run/promtail")).join("tailwater-agent")
    }

    /// Where to listen, if at all.
    pub fn listen(&self) -> Option<std::net::SocketAddr> {
        self.server.listen
    }

    pub(crate) fn path_prefix(&self) -> &str {
        &self.server.path_prefix
    }

    /// The file with its secrets masked.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// How what is listened for is encrypted.
    pub(crate) fn server_tls(&self) -> Option<&ServerTls> {
        self.server.tls.as_ref()
    }

    pub(crate) fn shows_metrics(&self) -> bool {
        self.server.shows_metrics
    }

    /// Whether `/reload` and a changed file bring a new configuration.
    pub fn enables_reload(&self) -> bool {
        self.server.enables_reload
    }

    pub(crate) fn log_format(&self) -> LogFormat {
        self.server.log_format
    }

    pub fn log_level(&self) -> &str {
        &self.server.log_level
    }
}

#[cfg(test)]
mod tests;
