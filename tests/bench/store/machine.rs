//! Where and of what a result was measured.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};
use tailwater_e2e::programs::repository;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub date: String,
    /// The checkout's; the programs may be older.
    pub commit: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Programs waiting for a core when the run began, on average over a minute: figures of a busy machine are noise.
    pub load_before: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let memory = field_of("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let folder = repository().display().to_string();
        Self {
            date: told_by("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            commit: told_by("git", &["-C", &folder, "describe", "--always", "--dirty", "--abbrev=12"]),
            processor: field_of("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (memory.unwrap_or_default() / 104_857.6).round() / 10.0,
            kernel: told_by("uname", &["-r"]),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// What a small program says; nothing if it is not there.
fn told_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The first `name: value` of a file.
fn field_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
