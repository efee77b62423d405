//! A cache on disk beside a real S3 server: a restart finds it, damage to it or its loss costs time and never an answer.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tailwater_e2e::aggregator::{Aggregator, serve};
use tailwater_e2e::api::Api;
use tailwater_e2e::chain::files_below;
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::ports;
use tailwater_e2e::s3::S3Server;

const START: i64 = 1_767_225_600_000_000_000;
const SECOND: i64 = 1_000_000_000;
const LINES: usize = 30_000;
/// One line in so many holds the needle.
const NEEDLE_EVERY: usize = 500;
/// More than ten times what some megabytes take.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(180);

fn line(number: usize) -> String {
    let word = if number.is_multiple_of(NEEDLE_EVERY) { "needle" } else { "hay" };
    let noise = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{word} number={number} noise={noise:016x}{:016x}", noise.rotate_left(17) ^ number as u64)
}

async fn push(api: &Api) -> Result<()> {
    let lines: Vec<(i64, String)> = (0..LINES).map(|number| (START + number as i64 * SECOND / 100, line(number))).collect();
    for some in lines.chunks(2_000) {
        let some: Vec<(i64, &str)> = some.iter().map(|(stamp, line)| (*stamp, line.as_str())).collect();
        api.push_lines(&[("namespace", "cache"), ("app", "a")], &some).await?;
    }
    Ok(())
}

/// Questions that read lines: a count of the needle, and the lines that hold it.
async fn ask(api: &Api) -> Result<()> {
    let (from, to) = (START - SECOND, START + 600 * SECOND);
    let counted = api.number(r#"sum(count_over_time({app="a"} |= `needle` [20m]))"#, to).await?;
    ensure!(counted == (LINES / NEEDLE_EVERY) as u64, "{counted} needles are counted instead of {}", LINES / NEEDLE_EVERY);
    let listed: Vec<String> = api.lines(r#"{app="a"} |= `needle`"#, from, to).await?.into_iter().map(|entry| entry.line).collect();
    let expected: Vec<String> = (0..LINES).step_by(NEEDLE_EVERY).map(line).collect();
    ensure!(listed == expected, "{} lines are listed instead of {}", listed.len(), expected.len());
    Ok(())
}

/// A new process, whose memory knows nothing; its answers are right.
async fn ask_anew(aggregator: &mut Aggregator) -> Result<()> {
    aggregator.kill_now()?;
    aggregator.start_again()?;
    aggregator.ready().await?;
    ask(&aggregator.api()?).await
}

/// Turns a byte in the middle of every file around.
fn damage(folder: &Path) -> Result<usize> {
    let files = files_below(folder)?;
    for file in &files {
        let mut bytes = fs::read(file)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x55;
        }
        fs::write(file, bytes)?;
    }
    Ok(files.len())
}

async fn cached(folder: Folder) -> Result<()> {
    let server = S3Server::weed(folder.path()).await?;
    let cache = folder.below("cache")?;
    let port = ports::free()?;
    let own =
        ["--cache-dir", &cache.display().to_string(), "--cache-disk-bytes", "64MiB", "--compaction-compact-after", "1s"].map(str::to_owned);
    let mut invocation = serve(port, server.flags().into_iter().chain(own))?;
    invocation.variables = server.variables();
    let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
    push(&aggregator.api()?).await?;
    aggregator.segments_folded(BACKGROUND_LIMIT).await?;

    ask_anew(&mut aggregator).await?;
    eventually("blocks are written to the disk", BACKGROUND_LIMIT, || async {
        let written = aggregator.metric("tailwater_disk_cache_bytes").await?;
        ensure!(written > 0.0, "nothing is cached");
        Ok(())
    })
    .await?;
    let from_store = aggregator.metric("tailwater_store_read_bytes_total").await?;

    ask_anew(&mut aggregator).await?;
    let (hits, read) =
        (aggregator.metric("tailwater_disk_cache_hits_total").await?, aggregator.metric("tailwater_store_read_bytes_total").await?);
    ensure!(hits > 0.0, "nothing was read from the cache of the process before");
    ensure!(read < from_store, "{read} bytes were read from the store with a cache, {from_store} without");

    aggregator.kill_now()?;
    let files = damage(&cache)?;
    ensure!(files > 0, "the cache has no file");
    aggregator.start_again()?;
    aggregator.ready().await?;
    ask(&aggregator.api()?).await?;
    let damaged = aggregator.metric("tailwater_disk_cache_damaged_total").await?;
    ensure!(damaged > 0.0, "{files} damaged files were not noticed");

    aggregator.kill_now()?;
    fs::remove_dir_all(&cache)?;
    aggregator.start_again()?;
    aggregator.ready().await?;
    ask(&aggregator.api()?).await?;
    ensure!(aggregator.metric("tailwater_disk_cache_misses_total").await? > 0.0, "a cache that is gone was read");
    report(&format!(
        "disk cache: {hits} blocks from disk after a restart, {read} instead of {from_store} bytes from the store, {damaged} damaged of {files}"
    ));
    aggregator.stop().await
}

#[test]
fn a_cache_on_disk_outlives_the_process_and_never_changes_an_answer() {
    drill("disk-cache", cached);
}
