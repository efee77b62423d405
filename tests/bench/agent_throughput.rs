//! How much the agent does with one second of CPU, and how much memory it takes for it.
//!
//! `cargo bench -p tailwater-agent --bench agent_throughput -- TREE` runs the agent over a tree of CRI logs against a sink in another process
//! that answers 204 at once and counts afterwards what it got, and prints lines per CPU second (user and system of this process), the ratio of compression,
//! peak memory, and two yardsticks over the same bytes in the same run: finding the newlines, and compressing. A line that does not arrive fails it. With `TREE cri` the same tree is read as a `promtail.yaml` with the one stage `cri`
//! says, for comparison. With `memory` it makes trees by itself and prints how much memory they take. Without TREE it only says how it is called.

mod agent_memory;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use nix::sys::resource::{UsageWho, getrusage};
use parking_lot::Mutex;
use tailwater_agent::config::MetadataSource;
use tailwater_agent::{Config, start};
use tokio_util::sync::CancellationToken;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[allow(unsafe_code, reason = "the allocator finds its settings by this name, which nothing else has")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8; 60] = tailwater_agent::ALLOCATOR_SETTINGS;

const CHUNK_BYTES: usize = 256 << 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("--sink") => serve_sink(),
        Some("memory") => agent_memory::measure(arguments.iter().any(|argument| argument == "--save")),
        Some(tree) => measure(Path::new(tree), arguments.get(1).is_some_and(|way| way == "cri")),
        None => {
            println!("skipped: give a tree of CRI logs, `cargo bench -p tailwater-agent --bench agent_throughput -- TREE`");
            Ok(())
        }
    }
}

/// What reading the tree takes at least.
struct Yardstick {
    bytes: u64,
    lines: u64,
    cpu: Duration,
}

fn measure(tree: &Path, is_promtail: bool) -> Result<()> {
    let mut files = Vec::new();
    collect_files(tree, &mut files)?;
    let newlines = walk(&files, |chunk| memchr::memchr_iter(b'\n', chunk).count() as u64)?;
    println!("tree: {} files, {:.1} MB, {} records", files.len(), newlines.bytes as f64 / 1e6, newlines.lines);

    let Outcome { read, sent, elapsed, cpu, peak, received } = run_agent(tree, newlines.lines, is_promtail)?;
    let seconds = cpu.as_secs_f64();
    println!("agent: {read} records read, {sent} lines acknowledged in {:.2} s, {seconds:.2} CPU s", elapsed.as_secs_f64());
    println!("sink: {} lines received, requests compressed to {:.3} of their size", received.lines, received.ratio());
    ensure!(received.lines == sent, "{sent} lines were acknowledged and {} received", received.lines);
    println!("agent: {:.0} lines and {:.0} MB per CPU second", sent as f64 / seconds, newlines.bytes as f64 / 1e6 / seconds);
    println!("agent: peak memory {:.1} MiB", peak as f64 / 1024.0);

    let mut encoder = snap::raw::Encoder::new();
    let mut compressed = vec![0; snap::raw::max_compress_len(CHUNK_BYTES)];
    let snappy = walk(&files, |chunk| encoder.compress(chunk, &mut compressed).map_or(0, |length| length as u64))?;
    for (name, yardstick) in [("read and find newlines", &newlines), ("read and compress (snappy)", &snappy)] {
        let cpu = yardstick.cpu.as_secs_f64();
        println!("yardstick: {name}: {cpu:.2} CPU s; the agent takes {:.1} times that", seconds / cpu);
    }
    Ok(())
}

/// What a run of the agent came to.
struct Outcome {
    /// Records.
    read: u64,
    /// Lines acknowledged.
    sent: u64,
    elapsed: Duration,
    cpu: Duration,
    /// Memory, in KiB.
    peak: u64,
    received: Received,
}

/// What the sink got.
#[derive(Debug, Default, Clone, Copy)]
struct Received {
    lines: u64,
    compressed: u64,
    bytes: u64,
}

impl Received {
    fn ratio(self) -> f64 {
        self.compressed as f64 / self.bytes.max(1) as f64
    }

    fn add(&mut self, body: &[u8]) -> Result<()> {
        let mut request = Vec::new();
        tailwater_proto::snappy::decompress(body, 64 << 20, &mut request)?;
        for stream in tailwater_proto::read::streams(&request) {
            for entry in stream?.entries() {
                entry?;
                self.lines += 1;
            }
        }
        self.compressed += body.len() as u64;
        self.bytes += request.len() as u64;
        Ok(())
    }
}

/// Runs the agent until everything is acknowledged.
fn run_agent(tree: &Path, records: u64, is_promtail: bool) -> Result<Outcome> {
    let mut sink = Sink::spawn()?;
    let data = std::env::temp_dir().join(format!("agent-throughput-{}", std::process::id()));
    let mut config = Config {
        pods_dir: tree.to_owned(),
        data_dir: data.clone(),
        listen: None,
        metadata_source: MetadataSource::None,
        ..Config::default()
    };
    config.client.url = format!("http://{}/loki/api/v1/push", sink.address()?);
    config.node_name = "bench".to_owned();
    if is_promtail {
        let file = std::env::temp_dir().join(format!("agent-throughput-{}.yaml", std::process::id()));
        let text = format!(
            "clients: [{{url: '{}'}}]\npositions: {{filename: {}/none.yaml}}\nscrape_configs:\n- job_name: bench\n  pipeline_stages: [{{cri: {{}}}}]\n  \
             static_configs: [{{labels: {{namespace: n, __path__: '{}/**/*.log'}}}}]\n",
            config.client.url,
            data.display(),
            tree.display()
        );
        std::fs::write(&file, text)?;
        let (promtail, report) = tailwater_agent::promtail::load(&file, false, |_| None)?;
        std::fs::remove_file(&file)?;
        config.promtail = Some(promtail.with_context(|| report.to_string())?.into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (began, cpu_before) = (Instant::now(), cpu_time()?);
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let agent = start(config, shutdown.clone()).await?;
        let mut ended = Instant::now();
        let mut acknowledged = 0;
        // Pieces are joined, so fewer lines than records are acknowledged: the end is when no more come.
        while agent.metrics().lines_read < records || ended.elapsed() < Duration::from_millis(500) {
            let now = agent.metrics().lines_acknowledged;
            if now != acknowledged {
                (acknowledged, ended) = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cpu = cpu_time()? - cpu_before;
        let metrics = agent.metrics();
        shutdown.cancel();
        agent.join().await?;
        let (read, sent) = (metrics.lines_read, metrics.lines_acknowledged);
        anyhow::Ok(Outcome { read, sent, elapsed: ended - began, cpu, peak: peak_kib()?, received: sink.received()? })
    });
    std::fs::remove_dir_all(&data).context("cannot remove the data directory of the run")?;
    result
}

fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(Duration::from_secs_f64(seconds(usage.user_time()) + seconds(usage.system_time())))
}

/// The process's own peak; `ru_maxrss` would tell that of the program that started it.
fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot list `{}`", directory.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect_files(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Reads all files in chunks; sums what `count` says of each.
fn walk(files: &[PathBuf], mut count: impl FnMut(&[u8]) -> u64) -> Result<Yardstick> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut yardstick = Yardstick { bytes: 0, lines: 0, cpu: cpu_time()? };
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            yardstick.bytes += length as u64;
            yardstick.lines += count(&buffer[..length]);
        }
    }
    yardstick.cpu = cpu_time()? - yardstick.cpu;
    Ok(yardstick)
}

/// A receiver in a process of its own, so that its work is not counted.
struct Sink {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Sink {
    fn spawn() -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).arg("--sink").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("the sink's output is piped")?);
        Ok(Self { child, output })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn address(&mut self) -> Result<String> {
        self.line()
    }

    /// Ends its input, upon which it counts what it got.
    fn received(&mut self) -> Result<Received> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next().context("the sink ended without a count")?.context("the sink's count is no number");
        Ok(Received { lines: next()?, compressed: next()?, bytes: next()? })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("the sink had ended before");
        }
    }
}

fn serve_sink() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let ready = || async { ([("x-tailwater-version", "bench")], "ready") };
        // Kept as they came, to be counted when the agent has ended: counting would take its processor.
        let bodies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let kept = Arc::clone(&bodies);
        let push = move |body: Bytes| {
            kept.lock().push(body);
            async { StatusCode::NO_CONTENT }
        };
        std::thread::spawn(move || count_at_end(&bodies));
        let limit = axum::extract::DefaultBodyLimit::disable();
        let router = Router::new().route("/ready", get(ready)).route("/loki/api/v1/push", post(push)).layer(limit);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

/// Once the input ends, prints what was received.
fn count_at_end(bodies: &Mutex<Vec<Bytes>>) {
    let end = std::io::stdin().read_to_end(&mut Vec::new());
    let mut received = Received::default();
    let counted = end.map_err(anyhow::Error::from).and_then(|_| bodies.lock().iter().try_for_each(|body| received.add(body)));
    match counted {
        Ok(()) => println!("{} {} {}", received.lines, received.compressed, received.bytes),
        Err(error) => println!("a request cannot be read: {error}"),
    }
}
