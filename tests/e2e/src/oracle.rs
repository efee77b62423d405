//! Compares what queries answer with the manifest of a tree: every number must be equal.
//!
//! Total lines and bytes, lines and bytes of every stream, lines with every planted needle, the pods and containers there
//! are, and the lines of one stream listed in order of time. One entry missing, double, altered or mislabelled
//! changes at least one of these numbers.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use tailwater_podwriter::{Manifest, StreamCount};

use crate::api::Api;

/// Around the stamps of the tree: the agent moves a stamp by some nanoseconds to make them grow.
const MARGIN_SECONDS: i64 = 2;
const NANOSECONDS: i64 = 1_000_000_000;
/// A stream with more lines is not listed.
const LONGEST_LISTING: u64 = 50_000;

/// What was compared and what was not equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub compared: usize,
    pub differences: Vec<String>,
}

impl Verdict {
    pub fn is_exact(&self) -> bool {
        self.differences.is_empty()
    }

    /// Fails with all differences.
    pub fn require_exact(&self) -> Result<()> {
        ensure!(self.compared > 0, "nothing was compared");
        ensure!(self.is_exact(), "answers differ from the manifest:\n  {}", self.differences.join("\n  "));
        Ok(())
    }

    fn equal(&mut self, what: &str, expected: u64, found: u64) {
        self.compared += 1;
        if found < expected {
            self.differences.push(format!("{what}: {found} of {expected}, {} missing", expected - found));
        } else if found > expected {
            self.differences.push(format!("{what}: {found} instead of {expected}, {} too many", found - expected));
        }
    }

    fn same(&mut self, what: &str, expected: &BTreeSet<String>, found: &BTreeSet<String>) {
        self.compared += 1;
        if found != expected {
            self.differences.push(format!("{what}: {found:?} instead of {expected:?}"));
        }
    }
}

/// The time that covers a tree, as a range ending at a time.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: i64,
    end: i64,
}

impl Window {
    fn of(manifest: &Manifest) -> Self {
        let start = (manifest.first_stamp.0 / NANOSECONDS - MARGIN_SECONDS) * NANOSECONDS;
        let end = (manifest.last_stamp.0 / NANOSECONDS + MARGIN_SECONDS) * NANOSECONDS;
        Self { start, end }
    }

    fn seconds(self) -> i64 {
        (self.end - self.start) / NANOSECONDS
    }
}

/// Asks `api` for everything the manifest knows.
pub async fn compare(api: &Api, manifest: &Manifest) -> Result<Verdict> {
    let window = Window::of(manifest);
    let mut verdict = Verdict::default();
    let seconds = window.seconds();
    for (function, expected, unit) in [("count_over_time", manifest.lines, "lines"), ("bytes_over_time", manifest.text_bytes, "bytes")] {
        let query = format!("sum({function}({{namespace=~\".+\"}}[{seconds}s]))");
        verdict.equal(&format!("all {unit}"), expected, api.number(&query, window.end).await?);
        compare_streams(api, manifest, window, (function, unit), &mut verdict).await?;
    }
    for needle in &manifest.needles {
        let query = format!("sum(count_over_time({{namespace=~\".+\"}} |= `{}` [{seconds}s]))", needle.text);
        let found = api.number(&query, window.end).await?;
        verdict.equal(&format!("lines with {} `{}`", needle.class.as_str(), needle.text), needle.lines, found);
    }
    for (name, value) in LABELS {
        let expected = manifest.streams.iter().map(|stream| value(stream).to_owned()).collect();
        let found = api.label_values(name, window.start, window.end).await?.into_iter().collect();
        verdict.same(&format!("values of `{name}`"), &expected, &found);
    }
    compare_listing(api, manifest, window, &mut verdict).await?;
    Ok(verdict)
}

/// Lines that all queries count together, for watching a run.
pub async fn counted_lines(api: &Api, manifest: &Manifest) -> Result<u64> {
    let window = Window::of(manifest);
    api.number(&format!("sum(count_over_time({{namespace=~\".+\"}}[{}s]))", window.seconds()), window.end).await
}

type Value = fn(&StreamCount) -> &str;

/// Labels whose values follow from the tree.
const LABELS: [(&str, Value); 4] = [
    ("namespace", |stream| &stream.namespace),
    ("pod", |stream| &stream.pod),
    ("container", |stream| &stream.container),
    ("stream", |stream| stream.stream.as_str()),
];

async fn compare_streams(
    api: &Api,
    manifest: &Manifest,
    window: Window,
    (function, unit): (&str, &str),
    verdict: &mut Verdict,
) -> Result<()> {
    let names = LABELS.map(|(name, _)| name).join(", ");
    let query = format!("sum by ({names}) ({function}({{namespace=~\".+\"}}[{}s]))", window.seconds());
    let mut found = BTreeMap::new();
    for sample in api.instant(&query, window.end).await? {
        let key = LABELS.map(|(name, _)| sample.labels.get(name).cloned().unwrap_or_default());
        found.insert(key, sample.value as u64);
    }
    let mut expected: BTreeMap<[String; 4], u64> = BTreeMap::new();
    for stream in &manifest.streams {
        let amount = if unit == "lines" { stream.lines } else { stream.text_bytes };
        *expected.entry(LABELS.map(|(_, value)| value(stream).to_owned())).or_default() += amount;
    }
    for (key, amount) in &expected {
        verdict.equal(&format!("{unit} of {}", key.join("/")), *amount, found.remove(key).unwrap_or_default());
    }
    for (key, amount) in found {
        verdict.differences.push(format!("{amount} {unit} of {}, which the tree does not have", key.join("/")));
    }
    Ok(())
}

/// Lists the longest stream that is not too long.
async fn compare_listing(api: &Api, manifest: &Manifest, window: Window, verdict: &mut Verdict) -> Result<()> {
    let listed = manifest.streams.iter().filter(|stream| stream.lines <= LONGEST_LISTING).max_by_key(|stream| stream.lines);
    let stream = listed.context("every stream is too long to be listed")?;
    let matchers = LABELS.map(|(name, value)| format!("{name}=\"{}\"", value(stream))).join(", ");
    let lines = api.lines(&format!("{{{matchers}}}"), window.start, window.end).await?;
    verdict.equal(&format!("listed lines of {{{matchers}}}"), stream.lines, lines.len() as u64);
    let bytes: u64 = lines.iter().map(|entry| entry.line.len() as u64).sum();
    verdict.equal(&format!("listed bytes of {{{matchers}}}"), stream.text_bytes, bytes);
    let stamps: BTreeSet<i64> = lines.iter().map(|entry| entry.timestamp).collect();
    verdict.equal(&format!("distinct stamps of {{{matchers}}}"), stream.lines, stamps.len() as u64);
    Ok(())
}
