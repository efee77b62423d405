//! CPU of the aggregator from push to durable, as a multiple of `zstd -1` over the same lines in the same run.
//!
//! ```text
//! cargo bench -p tailwater-e2e --bench push_durable -- [BYTES]      default 500m; a tree of the podwriter, agent → aggregator → folder
//! ```
//! CPU seconds are of the whole aggregator process (`/proc`), user and system; of zstd, of the thread that compresses.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tailwater_e2e::agent::Agent;
use tailwater_e2e::aggregator::Aggregator;
use tailwater_e2e::chain::{files_below, tree_options, write_tree};

const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    // `cargo bench` adds `--bench`; cargo's test run starts benches too, without it.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let megabytes = arguments.iter().find_map(|argument| argument.trim_end_matches('m').parse::<u64>().ok()).unwrap_or(500);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(megabytes << 20))
}

async fn run(bytes: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (pods, data, logs) = (folder.path().join("pods"), folder.path().join("store"), folder.path().join("logs"));
    fs::create_dir_all(&data)?;
    fs::create_dir_all(&logs)?;
    let manifest = write_tree(&tree_options(&pods, 1, bytes))?;
    let mut aggregator = Aggregator::on_folder(&logs, &data).await?;
    aggregator.ready().await?;
    let before = aggregator.usage()?.processor_seconds;
    let mut agent = Agent::start(&logs, &pods, &format!("http://{}/loki/api/v1/push", aggregator.address())).await?;
    agent.acknowledged(manifest.file_bytes, PATIENCE).await?;
    let used = aggregator.usage()?;
    let gigabytes = manifest.text_bytes as f64 / 1e9;
    let ours = (used.processor_seconds - before) / gigabytes;
    let (zstd, ratio) = zstd_seconds(&pods)?;
    let zstd = zstd / gigabytes;
    println!("{} lines, {:.0} MB of text", manifest.lines, gigabytes * 1e3);
    println!("zstd -1                {zstd:6.2} CPU s/GB, {ratio:.3} bytes a byte");
    println!(
        "push to durable        {ours:6.2} CPU s/GB = {:.1} × zstd -1; peak {:.0} MiB",
        ours / zstd,
        used.peak_bytes as f64 / 1048576.0
    );
    println!("stored, not compacted  {:.3} bytes a byte", folder_bytes(&data)? as f64 / manifest.text_bytes as f64);
    agent.stop().await?;
    aggregator.stop().await
}

/// CPU seconds to compress the text of all lines, and compressed bytes a byte.
fn zstd_seconds(pods: &Path) -> Result<(f64, f64)> {
    let mut text = Vec::new();
    for file in files_below(pods)? {
        for record in fs::read(&file)?.split(|byte| *byte == b'\n').filter(|record| !record.is_empty()) {
            // Time, stream and tag stand before the text.
            text.extend_from_slice(record.splitn(4, |byte| *byte == b' ').nth(3).unwrap_or_default());
            text.push(b'\n');
        }
    }
    let before = thread_seconds()?;
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1)?;
    encoder.write_all(&text)?;
    let compressed = encoder.finish()?;
    Ok((thread_seconds()? - before, compressed.len() as f64 / text.len() as f64))
}

/// What this thread spent on a processor so far.
fn thread_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().context("schedstat is empty")?.parse()?;
    Ok(nanoseconds / 1e9)
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    files_below(folder)?.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
}
