//! The rows of the table: what was measured, in its unit, and its ratio to a yardstick of the same run.

use crate::ask::{Answered, Verdict};
use crate::load::Pushed;
use crate::stored::Stored;
use crate::truth::Truth;
use crate::yardsticks::{Took, Yardsticks};

const MEBIBYTE: f64 = 1048576.0;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub key: String,
    pub name: String,
    pub unit: &'static str,
    /// Nothing where the program refused.
    pub value: Option<f64>,
    /// The largest, where the value is a median.
    pub largest: Option<f64>,
    /// How many times the yardstick, and which.
    pub ratio: Option<(f64, &'static str)>,
    /// What else is worth saying.
    pub note: String,
    pub verdict: Verdict,
}

impl Figure {
    fn new(key: &str, name: &str, unit: &'static str, value: f64) -> Self {
        let (key, name) = (key.to_owned(), name.to_owned());
        Self { key, name, unit, value: Some(value), largest: None, ratio: None, note: String::new(), verdict: Verdict::Right }
    }

    fn times(mut self, yardstick: f64, name: &'static str) -> Self {
        self.ratio = self.value.filter(|_| yardstick > 0.0).map(|value| (value / yardstick, name));
        self
    }

    fn noted(mut self, note: String) -> Self {
        self.note = note;
        self
    }
}

/// What was seen of the process from start to quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ingested {
    pub pushed: Pushed,
    /// Processor seconds until the last 2xx without folds of what was durable already, those of the folds, and of all until everything was quiet.
    pub until_durable: f64,
    pub folding_meanwhile: f64,
    pub until_quiet: f64,
    /// Peak memory at the same moments.
    pub peak_at_durable: u64,
    pub peak_at_quiet: u64,
}

/// What was seen after the restart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restarted {
    pub ready_seconds: f64,
    pub idle_bytes: u64,
    pub peak_queries: u64,
}

pub(crate) fn of_yardsticks(yardsticks: &Yardsticks) -> Vec<Figure> {
    let row = |key: &str, name: &str, took: Took| {
        let note = format!("{:.3} s/GB wall", took.wall_seconds);
        Figure::new(key, name, "CPU s/GB", took.processor_seconds).noted(note)
    };
    let mut rows = vec![
        row("zstd", "zstd -1 --single-thread", yardsticks.zstd),
        Figure::new("zstd_ratio", "its bytes a byte", "B/B", yardsticks.zstd_ratio),
        row("unzstd", "zstd -dc", yardsticks.unzstd),
    ];
    rows.extend(yardsticks.search.map(|took| row("rg", "rg -c of an absent uuid", took)));
    rows.extend(yardsticks.unzstd_and_search.map(|took| row("unzstd_rg", "zstd -dc | rg -c of it", took)));
    rows
}

pub(crate) fn of_ingestion(seen: &Ingested, truth: &Truth, yardsticks: &Yardsticks) -> Vec<Figure> {
    let gigabytes = truth.line_bytes as f64 / 1e9;
    let (pushed, zstd) = (seen.pushed, yardsticks.zstd.processor_seconds);
    let wall = pushed.wall.as_secs_f64();
    let megabytes_a_second = gigabytes * 1e3 / wall;
    let note =
        format!("{wall:.1} s wall, {megabytes_a_second:.0} MB/s, {} requests, {} of them repeated", pushed.requests, pushed.repeated);
    let mebibytes = |bytes: u64| bytes as f64 / MEBIBYTE;
    vec![
        Figure::new("push", "push to durable", "CPU s/GB", seen.until_durable / gigabytes).times(zstd, "zstd -1").noted(note),
        Figure::new(
            "push_and_folds",
            "with the folds that ran meanwhile",
            "CPU s/GB",
            (seen.until_durable + seen.folding_meanwhile) / gigabytes,
        )
        .times(zstd, "zstd -1"),
        Figure::new("push_and_background", "with background work", "CPU s/GB", seen.until_quiet / gigabytes).times(zstd, "zstd -1"),
        Figure::new("peak_ingest", "peak memory, ingest", "MiB", mebibytes(seen.peak_at_durable)),
        Figure::new("peak_background", "peak memory, with background work", "MiB", mebibytes(seen.peak_at_quiet)),
    ]
}

pub(crate) fn of_store(stored: Stored, truth: &Truth, yardsticks: &Yardsticks) -> Figure {
    let bytes_a_byte = stored.bytes as f64 / truth.line_bytes as f64;
    Figure::new("stored", "stored bytes per raw byte", "B/B", bytes_a_byte).times(yardsticks.zstd_ratio, "zstd -1").noted(format!(
        "{} objects, {:.1} MB",
        stored.objects,
        stored.bytes as f64 / 1e6
    ))
}

pub(crate) fn of_restart(seen: &Restarted) -> Vec<Figure> {
    vec![
        Figure::new("ready", "restart to ready", "ms", seen.ready_seconds * 1e3),
        Figure::new("idle", "idle memory after restart", "MiB", seen.idle_bytes as f64 / MEBIBYTE),
        Figure::new("peak_queries", "peak memory, queries", "MiB", seen.peak_queries as f64 / MEBIBYTE),
    ]
}

pub(crate) fn of_answers(answers: &[Answered], truth: &Truth, yardsticks: &Yardsticks) -> Vec<Figure> {
    // What a search through the same bytes takes.
    let search = yardsticks.search.map_or(0.0, |took| took.wall_seconds * truth.line_bytes as f64 / 1e6);
    let mut rows: Vec<Figure> = answers.iter().map(|answered| of_answer(answered, search)).collect();
    if let Some(read) = answers.iter().find(|answered| answered.key == "last_lines").and_then(|answered| answered.read_bytes) {
        rows.push(Figure::new("last_lines_read", "read for the last 100 lines", "MiB", read / MEBIBYTE));
    }
    let scan = answers.iter().find(|answered| answered.key == "scan" && answered.processor_seconds > 0.0);
    if let Some(scan) = scan {
        let speed = truth.line_bytes as f64 / 1e9 / scan.processor_seconds;
        let search = yardsticks.search.filter(|took| took.processor_seconds > 0.0).map_or(0.0, |took| 1.0 / took.processor_seconds);
        rows.push(Figure::new("scan_speed", "raw lines scanned by one core", "GB/s", speed).times(search, "rg"));
    }
    rows
}

fn of_answer(answered: &Answered, search: f64) -> Figure {
    let bytes = |name: &str, bytes: Option<f64>| bytes.map(|bytes| format!("{name} {:.2} MB", bytes / 1e6));
    let mut notes = vec![format!("{:.0} CPU ms", answered.processor_seconds * 1e3)];
    notes.extend(bytes("read", answered.read_bytes));
    notes.extend(bytes("went through", answered.processed_bytes));
    let mut figure = Figure::new(answered.key, answered.name, "ms", answered.median().unwrap_or_default());
    figure.value = answered.median();
    figure.largest = answered.longest();
    figure.verdict = answered.verdict.clone();
    let note = if figure.value.is_some() { notes.join(", ") } else { String::new() };
    figure.times(search, "rg").noted(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_needs_a_value_and_a_yardstick() {
        let figure = Figure::new("push", "push to durable", "CPU s/GB", 12.0);
        assert_eq!(figure.clone().times(4.0, "zstd -1").ratio, Some((3.0, "zstd -1")));
        assert_eq!(figure.clone().times(0.0, "rg").ratio, None);
        assert_eq!(Figure { value: None, ..figure }.times(4.0, "rg").ratio, None);
    }
}
