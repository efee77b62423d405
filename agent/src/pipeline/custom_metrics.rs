//! Metrics that `metrics` stages make of lines: counters, gauges and histograms by label set.
//!
//! Shared by all pipelines of a process; two stages of one name count together. A label set to which nothing was added for `max_idle_duration` goes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::counters::sample;
use crate::relabel::Labels;

/// Label sets of one metric; further ones are not counted.
const MAX_SERIES: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    Add(f64),
    Set(f64),
    Observe(f64),
}

#[derive(Debug, Default)]
pub(crate) struct CustomMetrics {
    families: Mutex<BTreeMap<String, Family>>,
}

#[derive(Debug)]
struct Family {
    kind: MetricKind,
    help: String,
    buckets: Vec<f64>,
    max_idle: Duration,
    series: BTreeMap<Labels, Series>,
}

#[derive(Debug)]
struct Series {
    value: f64,
    /// Of a histogram: observations up to each bound, and all of them.
    counts: Vec<u64>,
    count: u64,
    last_change: Instant,
}

impl CustomMetrics {
    /// Makes a metric known; one that is known already stays as it is.
    pub(crate) fn register(&self, name: &str, kind: MetricKind, help: &str, buckets: &[f64], max_idle: Duration) {
        let family = || Family { kind, help: help.to_owned(), buckets: buckets.to_vec(), max_idle, series: BTreeMap::new() };
        self.families.lock().entry(name.to_owned()).or_insert_with(family);
    }

    /// Changes the series of `labels`; those that begin with two underscores do not count.
    pub(crate) fn change(&self, name: &str, labels: &Labels, change: Change) {
        let mut families = self.families.lock();
        let Some(family) = families.get_mut(name) else { return };
        let labels: Labels = labels.iter().filter(|(name, _)| !name.starts_with("__")).map(|(n, v)| (n.clone(), v.clone())).collect();
        if family.series.len() >= MAX_SERIES && !family.series.contains_key(&labels) {
            return;
        }
        let buckets = family.buckets.len();
        let new = || Series { value: 0.0, counts: vec![0; buckets], count: 0, last_change: Instant::now() };
        let series = family.series.entry(labels).or_insert_with(new);
        series.last_change = Instant::now();
        match change {
            Change::Add(value) => series.value += value,
            Change::Set(value) => series.value = value,
            Change::Observe(value) => {
                series.value += value;
                series.count += 1;
                for (bound, count) in family.buckets.iter().zip(&mut series.counts) {
                    *count += u64::from(value <= *bound);
                }
            }
        }
    }

    /// Appends all metrics in the text format of Prometheus, and lets go of idle series.
    pub(crate) fn render(&self, out: &mut String) {
        let now = Instant::now();
        for (name, family) in self.families.lock().iter_mut() {
            let max_idle = family.max_idle;
            family.series.retain(|_, series| now.saturating_duration_since(series.last_change) < max_idle);
            let kind = match family.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a string cannot fail");
            for (labels, series) in &family.series {
                let pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                match family.kind {
                    MetricKind::Counter | MetricKind::Gauge => sample(out, name, &pairs, series.value),
                    MetricKind::Histogram => render_histogram(out, name, &pairs, family, series),
                }
            }
        }
    }
}

fn render_histogram(out: &mut String, name: &str, labels: &[(&str, &str)], family: &Family, series: &Series) {
    let bounds: Vec<String> = family.buckets.iter().map(f64::to_string).collect();
    let infinity = [("+Inf", series.count)];
    let counts = bounds.iter().map(String::as_str).zip(series.counts.iter().copied());
    for (bound, count) in counts.chain(infinity) {
        let mut with_bound = labels.to_vec();
        with_bound.push(("le", bound));
        sample(out, &format!("{name}_bucket"), &with_bound, count);
    }
    sample(out, &format!("{name}_sum"), labels, series.value);
    sample(out, &format!("{name}_count"), labels, series.count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_rendered_and_idle_ones_go() {
        let metrics = CustomMetrics::default();
        metrics.register("h", MetricKind::Histogram, "a\nb", &[1.0, 2.5], Duration::from_secs(300));
        metrics.register("idle", MetricKind::Counter, "", &[], Duration::ZERO);
        let labels = Labels::from([("a".to_owned(), "x".to_owned()), ("__hidden".to_owned(), "y".to_owned())]);
        metrics.change("h", &labels, Change::Observe(2.0));
        metrics.change("idle", &labels, Change::Add(1.0));
        let mut text = String::new();
        metrics.render(&mut text);
        for line in [
            "# HELP h a\\nb",
            "h_bucket{a=\"x\",le=\"1\"} 0",
            "h_bucket{a=\"x\",le=\"2.5\"} 1",
            "h_bucket{a=\"x\",le=\"+Inf\"} 1",
            "h_sum{a=\"x\"} 2",
            "h_count{a=\"x\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("idle{"), "{text}");
    }
}
