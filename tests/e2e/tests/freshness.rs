//! From `write()` in a container to the answer of a query.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tailwater_e2e::chain::{Chain, Hops, Store};
use tailwater_e2e::deadline::eventually_every;
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::random::Random;
use tailwater_podwriter::UnixNanoseconds;

const LINES: usize = 50;
const LIMIT: Duration = Duration::from_secs(60);
/// Between two questions; the figures are longer than the truth by half of it.
const PAUSE: Duration = Duration::from_millis(10);

async fn freshness(folder: Folder) -> Result<()> {
    let mut random = Random::of_this_run();
    let pods = folder.below("pods")?;
    let container = pods.join("fresh_writer-0_0a1b2c3d-0000-4000-8000-000000000001/app");
    fs::create_dir_all(&container)?;
    let mut log = OpenOptions::new().append(true).create(true).open(container.join("0.log"))?;
    let chain = Chain::start(&folder, Store::S3, Hops::None).await?;
    let _agent = chain.agent(&pods).await?;
    let api = chain.api()?;
    let mut spans = Vec::new();
    // The first line warms up: it is the first of its stream in every program.
    for index in 0..=LINES {
        // Lines come at any phase of the agent's and the aggregator's intervals.
        tokio::time::sleep(random.duration(Duration::ZERO, Duration::from_millis(300))).await;
        let stamp = jiff::Timestamp::now();
        let written = Instant::now();
        log.write_all(format!("{stamp} stdout F line={index} of the freshness drill\n").as_bytes())?;
        let query = format!("sum(count_over_time({{namespace=\"fresh\"}} |= `line={index} ` [10m]))");
        eventually_every("the line is answered", LIMIT, PAUSE, || async {
            let found = api.number(&query, UnixNanoseconds::now().0).await?;
            ensure!(found == 1, "{found} lines");
            Ok(())
        })
        .await?;
        if index > 0 {
            spans.push(written.elapsed());
        }
    }
    spans.sort();
    let of = |share: f64| spans[((spans.len() - 1) as f64 * share).round() as usize].as_millis();
    report(&format!("freshness, write() to answer over {LINES} lines: p50 {} ms, p99 {} ms, longest {} ms", of(0.5), of(0.99), of(1.0)));
    let all = api.number("sum(count_over_time({namespace=\"fresh\"}[1h]))", UnixNanoseconds::now().0).await?;
    ensure!(all == LINES as u64 + 1, "{all} lines of {}", LINES + 1);
    Ok(())
}

#[test]
fn every_line_is_answered_soon_after_it_was_written() {
    drill("freshness", freshness);
}
