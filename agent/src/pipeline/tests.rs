//! Lines through pipelines, for the tests of the stages.

use std::sync::Arc;
use std::time::Duration;

use super::build::{Surroundings, stages};
use super::context::{StageContext, StampState};
use super::counters::DropCounters;
use super::entry::Entry;
use super::{CustomMetrics, Pipeline};
use crate::promtail::report::Report;
use crate::promtail::yaml;
use crate::relabel::Labels;

pub(crate) struct Harness {
    pipeline: Pipeline,
    stamps: StampState,
    counters: DropCounters,
    metrics: Arc<CustomMetrics>,
    labels: Arc<Labels>,
    pub(crate) out: Vec<Entry>,
    pub(crate) pause: Duration,
    fed: u64,
}

impl Harness {
    pub(crate) fn new(text: &str) -> Self {
        let metrics = Arc::new(CustomMetrics::default());
        let mut report = Report::default();
        let stages = stages(&yaml::parse(text).unwrap(), &mut Surroundings::new(Arc::clone(&metrics)), &mut report);
        let stages = stages.unwrap_or_else(|| panic!("{text}: {report}"));
        assert_eq!(report.errors, [], "{text}");
        Self {
            pipeline: Pipeline::new(stages),
            stamps: StampState::default(),
            counters: DropCounters::default(),
            metrics,
            labels: Arc::new(Labels::from([("job".to_owned(), "t".to_owned())])),
            out: Vec::new(),
            pause: Duration::ZERO,
            fed: 0,
        }
    }

    fn with_context(&mut self, run: impl FnOnce(&mut Pipeline, &mut StageContext<'_>, &mut Vec<Entry>)) {
        let mut context = StageContext {
            stamps: &mut self.stamps,
            counters: &self.counters,
            origin: 0,
            learned: Vec::new(),
            offset: self.fed,
            file_key: 7,
            now: 1000,
            pause: Duration::ZERO,
            clock_steps: 0,
            inspects: false,
        };
        run(&mut self.pipeline, &mut context, &mut self.out);
        self.pause = context.pause;
    }

    pub(crate) fn feed(&mut self, line: &str) {
        let entry = Entry::new(&self.labels, line.to_owned(), self.fed);
        self.with_context(|pipeline, context, out| pipeline.process(entry, context, out));
        self.fed += 1;
    }

    pub(crate) fn flush_all(&mut self) {
        let mut keys = Vec::new();
        self.pipeline.held_keys(&mut keys);
        self.with_context(|pipeline, context, out| keys.into_iter().for_each(|key| pipeline.flush(key, context, out)));
    }

    /// First and last line of everything held.
    pub(crate) fn held(&self) -> Vec<(u64, u64)> {
        let mut held = Vec::new();
        self.pipeline.held(&mut held);
        held.into_iter().map(|origin| (origin.first, origin.last)).collect()
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        self.metrics.render(&mut text);
        text
    }
}

/// What comes out of `lines`, without ending blocks.
pub(crate) fn run_lines(stages: &str, lines: &[&str]) -> Vec<Entry> {
    let mut harness = Harness::new(stages);
    lines.iter().for_each(|line| harness.feed(line));
    harness.out
}

/// What is wrong with stages.
pub(crate) fn problems(text: &str) -> Vec<String> {
    let mut report = Report::default();
    stages(&yaml::parse(text).unwrap(), &mut Surroundings::new(Arc::default()), &mut report);
    report.errors.into_iter().map(|finding| finding.text).collect()
}

#[test]
fn stages_after_a_block_see_it_whole_and_nested_stages_hold_too() {
    let stages = "- match:\n    selector: '{job=\"t\"}'\n    stages:\n    - multiline: {firstline: '^\\S'}\n- regex: {expression: '(?s)^(?P<a>\\w+).*(?P<z>\\w)$'}\n- labels: {a: , z: }";
    let mut harness = Harness::new(stages);
    ["one", "  b", "two"].iter().for_each(|line| harness.feed(line));
    assert_eq!(harness.held(), [(2, 2)]);
    harness.flush_all();
    let seen: Vec<_> =
        harness.out.iter().map(|entry| (entry.line.as_str(), entry.labels["a"].as_str(), entry.labels["z"].as_str())).collect();
    assert_eq!(seen, [("one\n  b", "one", "b"), ("two", "tw", "o")]);
}

#[test]
fn unknown_stages_and_forms_are_reported_with_their_lines() {
    let mut report = Report::default();
    stages(
        &yaml::parse("- jsonn: {}\n- cri\n- cri: {}\n  docker: {}\n- geoip: {db: x}\n").unwrap(),
        &mut Surroundings::new(Arc::default()),
        &mut report,
    );
    let lines: Vec<usize> = report.errors.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [1, 2, 3, 5]);
}
