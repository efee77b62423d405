//! How much memory the agent takes: `cargo bench -p tailwater-agent --bench agent_throughput -- memory [--save]`.
//!
//! The program itself reads trees of pod logs that are made here, against the sink of this benchmark, until nothing is left to do. Printed: the most memory
//! it had, and what it holds at rest, with and without the pages of files (its own program first), beside the result in `results/agent-memory.json`.
//! `--save` writes that. A line that does not arrive fails the run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Sink;

/// Files, bytes of each, and how much memory there may be at most, in MiB.
const TREES: [(usize, usize, f64); 2] = [(200, 1 << 20, 20.0), (10_000, 20_000, 64.0)];
const LIMIT: Duration = Duration::from_secs(120);
/// So long its processor time stands still when nothing is left to do.
const STILL: Duration = Duration::from_secs(2);

/// In MiB; bytes of a file at rest.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figures {
    peak: f64,
    own_at_rest: f64,
    pages_of_files: f64,
    own_bytes_a_file: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Results {
    machine: BTreeMap<String, String>,
    /// By number of files.
    files: BTreeMap<usize, Figures>,
}

pub(crate) fn measure(saves: bool) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bench/results/agent-memory.json");
    let before: Option<Results> = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut results = Results { machine: machine()?, files: BTreeMap::new() };
    println!("  files  peak MiB  target          last peak  own at rest  bytes a file  pages of files");
    for (files, bytes, target) in TREES {
        let figures = run(files, bytes)?;
        let verdict = if figures.peak <= target { "" } else { "MISSED" };
        let last =
            before.as_ref().and_then(|before| before.files.get(&files)).map_or_else(|| "-".to_owned(), |last| format!("{:.1}", last.peak));
        println!(
            "{files:>7}  {:>8.1}  {target:>6.1}  {verdict:<6}  {last:>9}  {:>11.1}  {:>12}  {:>14.1}",
            figures.peak, figures.own_at_rest, figures.own_bytes_a_file, figures.pages_of_files
        );
        results.files.insert(files, figures);
    }
    if saves {
        fs::write(&path, serde_json::to_string_pretty(&results)? + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

fn run(files: usize, bytes: usize) -> Result<Figures> {
    let folder = std::env::temp_dir().join(format!("agent-memory-{}", std::process::id()));
    let lines = make_tree(&folder.join("pods"), files, bytes)?;
    let mut sink = Sink::spawn()?;
    let program = Program::start(&folder, &sink.address()?)?;
    program.wait_until_still()?;
    let status = program.status()?;
    let number = |name: &str| status.get(name).copied().with_context(|| format!("no {name} in its status"));
    let (peak, own, pages) = (number("VmHWM")?, number("RssAnon")?, number("RssFile")?);
    drop(program);
    let received = sink.received()?;
    fs::remove_dir_all(&folder)?;
    ensure!(received.lines == lines, "{lines} lines were written and {} received", received.lines);
    let mib = |kib: u64| (kib as f64 / 102.4).round() / 10.0;
    Ok(Figures { peak: mib(peak), own_at_rest: mib(own), pages_of_files: mib(pages), own_bytes_a_file: own * 1024 / files as u64 })
}

/// Makes `files` containers of about so many `bytes` each. Returns the number of lines.
fn make_tree(root: &Path, files: usize, bytes: usize) -> Result<u64> {
    let mut lines = 0;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for number in 0..files {
        let directory = root.join(format!("shop_web-5d4f8b6c9d-{number:05}_6732493d-d1e5-4e8b-9214-{number:012}/app"));
        fs::create_dir_all(&directory)?;
        let mut file = BufWriter::new(File::create(directory.join("0.log"))?);
        let mut written = 0;
        while written < bytes {
            let (second, nanos) = (lines % 60, lines % 1_000_000_000);
            let line = format!(
                "2026-11-21T09:00:{second:02}.{nanos:09}Z stdout F {{\"level\":\"info\",\"msg\":\"request served\",\"path\":\"/cart/{:x}\",\"took_ms\":{},\"trace\":\"{:016x}\"}}\n",
                next() % 4096,
                next() % 1000,
                next()
            );
            file.write_all(line.as_bytes())?;
            written += line.len();
            lines += 1;
        }
        file.flush()?;
    }
    Ok(lines)
}

/// The agent's program at work.
struct Program(Child);

impl Program {
    fn start(folder: &Path, receiver: &str) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command.arg("--pods-dir").arg(folder.join("pods")).arg("--data-dir").arg(folder.join("data"));
        command.args(["--listen", "none", "--node-name", "bench", "--push-url", &format!("http://{receiver}/loki/api/v1/push")]);
        command.env_remove("KUBERNETES_SERVICE_HOST").stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    fn file(&self, name: &str) -> Result<String> {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.0.id()));
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }

    /// Sizes in KiB by name.
    fn status(&self) -> Result<BTreeMap<String, u64>> {
        let sizes = self.file("status")?;
        let size = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().strip_suffix(" kB")?.parse().ok()?))
        };
        Ok(sizes.lines().filter_map(size).collect())
    }

    /// Processor time it used, in ticks, and so a sign of whether anything is left to do. Quiet files take a tick now and then.
    fn ticks(&self) -> Result<u64> {
        let stat = self.file("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |index: usize| -> Result<u64> { Ok(fields.get(index).context("a field is missing")?.parse()?) };
        Ok(field(11)? + field(12)?)
    }

    fn wait_until_still(&self) -> Result<()> {
        const NEARLY_NOTHING: u64 = 10;
        let deadline = Instant::now() + LIMIT;
        loop {
            let before = self.ticks()?;
            std::thread::sleep(STILL);
            if self.ticks()? - before <= NEARLY_NOTHING {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it is still at work after {} s", LIMIT.as_secs());
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {
            eprintln!("the agent had ended before");
        }
    }
}

fn machine() -> Result<BTreeMap<String, String>> {
    let of = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let processors = of("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    let commit = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output()?;
    let facts = [
        ("date", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("commit", String::from_utf8_lossy(&commit.stdout).trim().to_owned()),
        ("processor", model.unwrap_or_default()),
        ("cores", std::thread::available_parallelism()?.to_string()),
        ("kernel", of("/proc/sys/kernel/osrelease")),
    ];
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
