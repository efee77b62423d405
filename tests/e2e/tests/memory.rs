//! A store far larger than the memory it is queried with: every kind of question is answered rightly, and the process stays below its limit.
//!
//! `TAILWATER_E2E_STORE_BYTES` says how large (default 100 MB; `tests/run --all`: 5 GB). What is right follows from the lines' numbers.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tailwater_e2e::aggregator::{Aggregator, folder_invocation};
use tailwater_e2e::api::Api;
use tailwater_e2e::drill::{Folder, drill, parse_size, report};

const START: i64 = 1_767_225_600_000_000_000;
const SECOND: i64 = 1_000_000_000;
const MEMORY_LIMIT: u64 = 256 << 20;
const STORE_BYTES: u64 = 100_000_000;
/// About, of a line.
const LINE_BYTES: u64 = 400;
const STREAMS: u64 = 24;
/// Lines of one push.
const PUSHED: usize = 2_000;
/// All lines are within these seconds.
const SPAN: i64 = 6 * 3600;
/// One line in so many holds the common needle.
const NEEDLE_EVERY: u64 = 1_000;
/// More than ten times what the rest of compaction takes.
const COMPACTION_LIMIT: Duration = Duration::from_secs(900);

/// The lines by their numbers.
#[derive(Debug, Clone, Copy)]
struct Lines {
    count: u64,
}

impl Lines {
    fn stamp(self, number: u64) -> i64 {
        START + (i128::from(number) * i128::from(SPAN * SECOND) / i128::from(self.count)) as i64
    }

    fn app(number: u64) -> u64 {
        number % STREAMS
    }

    /// Like no part of the noise.
    fn trace(number: u64) -> u64 {
        mixed(!number)
    }

    fn duration(number: u64) -> u64 {
        number * 7919 % 1_000
    }

    /// One entry in three is JSON, the others logfmt.
    fn text(number: u64) -> String {
        let level = if number.is_multiple_of(50) { "ERROR" } else { "info" };
        let needle = if number.is_multiple_of(NEEDLE_EVERY) { "needle-in-hay" } else { "hay" };
        let (trace, duration) = (Self::trace(number), Self::duration(number));
        let noise: String = (1..=18).map(|part| format!("{:016x}", mixed(number << 5 | part))).collect();
        match number % 3 {
            0 => format!(
                r#"{{"level":"{level}","trace_id":"{trace:016x}","duration_ms":{duration},"msg":"{needle} {number}","noise":"{noise}"}}"#
            ),
            _ => format!(r#"level={level} trace_id={trace:016x} duration_ms={duration} msg="{needle} {number}" noise={noise}"#),
        }
    }

    fn numbers(self, is_meant: impl Fn(u64) -> bool) -> u64 {
        (0..self.count).filter(|number| is_meant(*number)).count() as u64
    }

    /// Pushes all of them, stream by stream within each stretch of time.
    async fn push(self, api: &Api) -> Result<u64> {
        let mut bytes = 0;
        let mut first = 0;
        while first < self.count {
            let end = (first + PUSHED as u64 * STREAMS).min(self.count);
            for app in 0..STREAMS {
                let lines: Vec<(i64, String)> = (first..end)
                    .filter(|number| Self::app(*number) == app)
                    .map(|number| (self.stamp(number), Self::text(number)))
                    .collect();
                bytes += lines.iter().map(|(_, line)| line.len() as u64).sum::<u64>();
                let lines: Vec<(i64, &str)> = lines.iter().map(|(stamp, line)| (*stamp, line.as_str())).collect();
                let app = format!("app-{app:02}");
                api.push_lines(&[("namespace", "memory"), ("app", &app), ("pod", "p-0")], &lines).await?;
            }
            first = end;
        }
        Ok(bytes)
    }
}

/// Digits that look random (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn store_bytes() -> u64 {
    env::var("TAILWATER_E2E_STORE_BYTES").ok().and_then(|text| parse_size(&text)).unwrap_or(STORE_BYTES)
}

/// The sum of all values of a range query.
async fn sum_of_steps(api: &Api, query: &str, step: i64) -> Result<f64> {
    let (start, end, step) = ((START + SECOND).to_string(), (START + SPAN * SECOND).to_string(), step.to_string());
    let parameters = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
    let reply = api.get("/loki/api/v1/query_range", &parameters).await?;
    ensure!(reply.status == 200, "`{query}` is answered with {}: {}", reply.status, reply.text);
    let answer: Value = serde_json::from_str(&reply.text)?;
    let series = answer["data"]["result"].as_array().context("the answer has no result")?;
    let values = series.iter().flat_map(|series| series["values"].as_array().into_iter().flatten());
    Ok(values.filter_map(|value| value[1].as_str()?.parse::<f64>().ok()).sum())
}

/// Questions that make a series of each line, and may be refused for their memory.
const SERIES_OF_LINES: [&str; 2] = ["series of every line", "lines of json"];

async fn ask_everything(api: &Api, lines: Lines) -> Result<()> {
    let end = START + SPAN * SECOND;
    let window = format!("[{}s]", SPAN + 1);
    let json = lines.numbers(|number| number % 3 == 0);
    for (what, query, expected) in [
        ("all lines", format!(r#"sum(count_over_time({{namespace="memory"}} {window}))"#), lines.count),
        ("a needle", format!(r#"sum(count_over_time({{namespace="memory"}} |= "{:016x}" {window}))"#, Lines::trace(lines.count / 2)), 1),
        (
            "a common string",
            format!(r#"sum(count_over_time({{namespace="memory"}} |= "needle-in-hay" {window}))"#),
            lines.numbers(|number| number % NEEDLE_EVERY == 0),
        ),
        ("no index", format!(r#"sum(count_over_time({{namespace="memory"}} |~ "m.g" {window}))"#), lines.count),
        (
            "errors, whatever the case",
            format!(r#"sum(count_over_time({{namespace="memory"}} |~ "(?i)error" {window}))"#),
            lines.numbers(|number| number % 50 == 0),
        ),
        (
            "logfmt by level",
            format!(r#"sum by (level) (count_over_time({{namespace="memory"}} | logfmt | level="ERROR" {window}))"#),
            lines.numbers(|number| number % 50 == 0 && number % 3 > 0),
        ),
        (
            "the greatest of json",
            format!(r#"max(quantile_over_time(1, {{namespace="memory"}} | json | __error__="" | unwrap duration_ms {window}) by (app))"#),
            (0..lines.count).filter(|number| number % 3 == 0).map(Lines::duration).max().unwrap_or(0),
        ),
        (
            "series of every line",
            format!(r#"sum(count by (trace_id) (count_over_time({{namespace="memory"}} | json | __error__="" {window})))"#),
            json,
        ),
        (
            "lines of json",
            format!(r#"count(sum by (trace_id) (count_over_time({{namespace="memory"}} | json | __error__="" {window})))"#),
            json,
        ),
    ] {
        let found = match api.number(&query, end).await {
            Ok(found) => found,
            // As many series as lines need more than there is once the store is large enough; the answer is the limit's text then.
            Err(error) if SERIES_OF_LINES.contains(&what) && error.to_string().contains("maximum memory of queries") => {
                println!("{what}: the limit was reached");
                continue;
            }
            Err(error) => return Err(error.context(format!("asking for {what}"))),
        };
        ensure!(found == expected, "{what}: `{query}` gives {found} instead of {expected}");
    }
    let rates = sum_of_steps(api, r#"sum by (app) (count_over_time({namespace="memory"}[1m]))"#, 60).await?;
    let first_window = lines.numbers(|number| lines.stamp(number) <= START + SPAN * SECOND) as f64;
    ensure!((rates - first_window).abs() <= lines.count as f64 / 100.0, "the steps hold {rates} lines instead of about {first_window}");
    let newest: Vec<i64> = (lines.count - 100..lines.count).map(|number| lines.stamp(number)).collect();
    let last = last_lines(api, 100).await?;
    ensure!(last == newest, "the last hundred lines are others");
    let many = last_lines(api, 5_000).await?;
    ensure!(many.len() == 5_000 && many.is_sorted(), "{} of the last 5,000 lines", many.len());
    Ok(())
}

/// Stamps of the newest lines, ascending.
async fn last_lines(api: &Api, limit: u64) -> Result<Vec<i64>> {
    let (start, end, limit) = (START.to_string(), (START + SPAN * SECOND).to_string(), limit.to_string());
    let parameters = [("query", r#"{namespace="memory"}"#), ("start", &start), ("end", &end), ("limit", &limit), ("direction", "backward")];
    let reply = api.get("/loki/api/v1/query_range", &parameters).await?;
    ensure!(reply.status == 200, "the last lines are answered with {}: {}", reply.status, reply.text);
    let answer: Value = serde_json::from_str(&reply.text)?;
    let streams = answer["data"]["result"].as_array().context("the answer has no result")?;
    let values = streams.iter().flat_map(|stream| stream["values"].as_array().into_iter().flatten());
    let mut stamps: Vec<i64> = values.filter_map(|value| value[0].as_str()?.parse().ok()).collect();
    stamps.sort_unstable();
    Ok(stamps)
}

#[test]
fn a_store_far_larger_than_memory_answers_every_kind_of_question() {
    drill("memory", |folder: Folder| async move {
        let (port, invocation) = folder_invocation(&folder.below("store")?)?;
        let invocation = invocation
            // Three quarters of a container are given out: these are to be all that is held.
            .with_variable("TAILWATER_MEMORY_LIMIT", &(MEMORY_LIMIT / 3 * 4).to_string())
            .with_variable("TAILWATER_CACHE_DIR", &folder.below("cache")?.display().to_string())
            .with_variable("TAILWATER_COMPACTION_COMPACT_AFTER", "2s");
        let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
        let lines = Lines { count: store_bytes() / LINE_BYTES };
        let bytes = lines.push(&aggregator.api()?).await?;
        aggregator.compacted(COMPACTION_LIMIT).await?;
        let stored = aggregator.usage()?;
        ask_everything(&aggregator.api()?, lines).await?;
        let asked = aggregator.usage()?;
        report(&format!(
            "memory: {} MB of lines, limit {} MiB; peak {} MiB while they were stored, {} MiB in all; {} MiB at the end",
            bytes / 1_000_000,
            MEMORY_LIMIT >> 20,
            stored.peak_bytes >> 20,
            asked.peak_bytes >> 20,
            asked.resident_bytes >> 20,
        ));
        ensure!(asked.peak_bytes < MEMORY_LIMIT, "{} bytes were held at the peak, the limit is {MEMORY_LIMIT}", asked.peak_bytes);
        aggregator.stop().await
    });
}
