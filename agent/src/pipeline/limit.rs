//! `limit`: at most so many lines a second; more are dropped, or reading pauses. The buckets are shared by all files of a job.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::Outcome;
use super::context::StageContext;
use super::entry::Entry;
use super::settings::Settings;
use super::token_bucket::TokenBucket;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const REASON: &str = "ratelimit_drop_stage";
const MIN_DISTINCT_LABELS: usize = 10_000;

#[derive(Debug, Clone)]
pub(crate) struct Limit {
    rate: f64,
    burst: f64,
    drops: bool,
    by_label: Option<String>,
    max_distinct: usize,
    buckets: Arc<Mutex<Buckets>>,
}

#[derive(Debug)]
struct Buckets {
    one: TokenBucket,
    by_value: HashMap<String, TokenBucket>,
}

impl Limit {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("limit", node, report)?.weakly_typed();
        let line = settings.line();
        let rate = settings.number("rate").unwrap_or(0.0);
        let burst = settings.number("burst").unwrap_or(0.0).trunc();
        if rate <= 0.0 || burst <= 0.0 {
            settings.wrong(line, "`rate` and `burst` must be greater than 0");
        }
        let drops = settings.boolean("drop").unwrap_or(false);
        let by_label = settings.text("by_label_name").filter(|name| !name.is_empty());
        if by_label.is_some() && !drops {
            settings.wrong(line, "`by_label_name` needs `drop: true`");
        }
        let max_distinct = settings.integer("max_distinct_labels").and_then(|labels| usize::try_from(labels).ok()).unwrap_or(0);
        if max_distinct != 0 && max_distinct < MIN_DISTINCT_LABELS {
            settings.report().note(line, format!("limit stage: `max_distinct_labels` is at least {MIN_DISTINCT_LABELS}"));
        }
        let one = TokenBucket::new(rate, burst, Instant::now());
        settings.finish().then(|| Self {
            rate,
            burst,
            drops,
            by_label,
            max_distinct: max_distinct.max(MIN_DISTINCT_LABELS),
            buckets: Arc::new(Mutex::new(Buckets { one, by_value: HashMap::new() })),
        })
    }

    pub(crate) fn apply(&self, entry: &Entry, context: &mut StageContext<'_>) -> Outcome {
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        if let Some(name) = &self.by_label {
            let Some(value) = entry.labels.get(name) else { return Outcome::Keep };
            if buckets.by_value.len() >= self.max_distinct && !buckets.by_value.contains_key(value) {
                buckets.by_value.clear();
            }
            let bucket = buckets.by_value.entry(value.clone()).or_insert_with(|| TokenBucket::new(self.rate, self.burst, now));
            if bucket.allow(now) {
                return Outcome::Keep;
            }
            context.counters.dropped_by_label(name, value);
            return Outcome::Gone;
        }
        if !self.drops {
            let wait = buckets.one.reserve(now);
            context.pause_for(wait);
            return Outcome::Keep;
        }
        if buckets.one.allow(now) {
            return Outcome::Keep;
        }
        context.counters.dropped(REASON);
        Outcome::Gone
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{Harness, problems, run_lines};

    #[test]
    fn beyond_the_burst_lines_are_dropped_by_label_or_in_all() {
        assert_eq!(run_lines("- limit: {rate: 0.0001, burst: 2, drop: true}", &["1", "2", "3"]).len(), 2);
        let stages =
            "- regex: {expression: '^(?P<k>\\w)'}\n- labels: {k: }\n- limit: {rate: 0.0001, burst: 1, drop: true, by_label_name: k}";
        let kept: Vec<String> = run_lines(stages, &["a1", "b1", "a2", "?"]).into_iter().map(|entry| entry.line).collect();
        assert_eq!(kept, ["a1", "b1", "?"]);
    }

    #[test]
    fn without_drop_reading_pauses() {
        let mut harness = Harness::new("- limit: {rate: 0.5, burst: 1}");
        harness.feed("1");
        assert_eq!(harness.pause.as_secs(), 0);
        harness.feed("2");
        assert!(harness.pause.as_secs() >= 1);
        assert_eq!(harness.out.len(), 2);
    }

    #[test]
    fn wrong_settings_are_named() {
        for config in ["{burst: 3}", "{rate: 1, burst: 3, by_label_name: a}", "{rate: x, burst: 1}"] {
            assert!(problems(&format!("- limit: {config}"))[0].contains("limit stage"), "{config}");
        }
    }
}
