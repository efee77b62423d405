//! `metrics`: numbers about lines, served at `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use super::custom_metrics::{Change, CustomMetrics, MetricKind};
use super::entry::{Entry, Value};
use super::settings::Settings;
use crate::promtail::reader::go_duration;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const DEFAULT_PREFIX: &str = "promtail_custom_";
const DEFAULT_MAX_IDLE: Duration = Duration::from_secs(300);
/// Bounds of a histogram that gives none.
const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone)]
pub(crate) struct MetricsStage {
    metrics: Vec<Metric>,
    registry: Arc<CustomMetrics>,
}

#[derive(Debug, Clone)]
struct Metric {
    name: String,
    source: String,
    /// Only lines of which the value has this text.
    value: Option<String>,
    /// Every line counts, with or without a value.
    matches_all: bool,
    counts_bytes: bool,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Increase,
    Decrease,
    Add,
    Subtract,
    Set,
    Observe,
}

impl MetricsStage {
    pub(crate) fn from_config(node: &Node, registry: &Arc<CustomMetrics>, report: &mut Report) -> Option<Self> {
        let Some(pairs) = node.mapping().filter(|pairs| !pairs.is_empty()) else {
            report.error(node.line, "metrics stage: expected names with metrics");
            return None;
        };
        let metrics: Vec<Option<Metric>> =
            pairs.iter().map(|(name, metric)| read_metric(name.raw_text().unwrap_or("?"), metric, registry, report)).collect();
        let metrics: Option<Vec<Metric>> = metrics.into_iter().collect();
        metrics.map(|metrics| Self { metrics, registry: Arc::clone(registry) })
    }

    pub(crate) fn apply(&self, entry: &Entry) {
        for metric in &self.metrics {
            if let Some(change) = metric.change(entry) {
                self.registry.change(&metric.name, &entry.labels, change);
            }
        }
    }
}

impl Metric {
    fn change(&self, entry: &Entry) -> Option<Change> {
        if self.matches_all {
            #[allow(clippy::cast_precision_loss, reason = "lines are far shorter than 2^53")]
            let amount = if self.counts_bytes { entry.line.len() as f64 } else { 1.0 };
            return Some(Change::Add(amount));
        }
        let value = entry.extracted.get(&self.source)?;
        if self.value.as_ref().is_some_and(|wanted| value.text().as_deref() != Some(wanted)) {
            return None;
        }
        match self.action {
            Action::Increase => Some(Change::Add(1.0)),
            Action::Decrease => Some(Change::Add(-1.0)),
            Action::Add => number(&value).map(Change::Add),
            Action::Subtract => number(&value).map(|number| Change::Add(-number)),
            Action::Set => number(&value).map(Change::Set),
            Action::Observe => number(&value).map(Change::Observe),
        }
    }
}

/// A number, or the seconds of a duration.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => None,
        Value::Number(number) => Some(*number),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        #[allow(clippy::cast_precision_loss, reason = "a metric is a float")]
        Value::Text(text) => text.parse().ok().or_else(|| go_duration(text).map(|nanos| nanos as f64 / 1e9)),
    }
}

fn read_metric(name: &str, node: &Node, registry: &Arc<CustomMetrics>, report: &mut Report) -> Option<Metric> {
    let stage = format!("metrics: `{name}` in metrics");
    let mut settings = Settings::of(&stage, node, report)?;
    let line = settings.line();
    let kind_name = settings.text("type").unwrap_or_default().to_lowercase();
    let kind = match kind_name.as_str() {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        _ => {
            settings.wrong(line, format!("unknown type `{kind_name}`; it can be counter, gauge or histogram"));
            return None;
        }
    };
    let help = settings.text("description").unwrap_or_default();
    let source = settings.text("source").unwrap_or_else(|| name.to_owned());
    let prefix = settings.text("prefix").filter(|prefix| !prefix.is_empty()).unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
    let max_idle = settings.duration("max_idle_duration").unwrap_or(DEFAULT_MAX_IDLE);
    if max_idle < Duration::from_secs(1) {
        settings.wrong(line, "`max_idle_duration` must be at least 1s");
    }
    let config = settings.take("config");
    if !settings.finish() {
        return None;
    }
    let empty = Node { line, content: crate::promtail::yaml::Content::Mapping(Vec::new()) };
    let (metric, buckets) = read_details(&stage, kind, config.unwrap_or(&empty), report)?;
    let name = format!("{prefix}{name}");
    registry.register(&name, kind, &help, &buckets, max_idle);
    Some(Metric { name, source, ..metric })
}

/// What stands below `config`, and the bounds of a histogram.
fn read_details(stage: &str, kind: MetricKind, node: &Node, report: &mut Report) -> Option<(Metric, Vec<f64>)> {
    let mut settings = Settings::of(stage, node, report)?;
    let line = settings.line();
    let value = settings.text("value");
    let mut buckets = Vec::new();
    let (mut matches_all, mut counts_bytes) = (false, false);
    let mut action = Some(Action::Observe);
    if kind == MetricKind::Histogram {
        buckets = settings.numbers("buckets").filter(|buckets| !buckets.is_empty()).unwrap_or_else(|| DEFAULT_BUCKETS.to_vec());
        if !buckets.is_sorted_by(|a, b| a < b) {
            settings.wrong(line, "`buckets` must increase");
        }
    } else {
        let name = settings.text("action").unwrap_or_default().to_lowercase();
        action = match (kind, name.as_str()) {
            (_, "inc") => Some(Action::Increase),
            (_, "add") => Some(Action::Add),
            (MetricKind::Gauge, "dec") => Some(Action::Decrease),
            (MetricKind::Gauge, "sub") => Some(Action::Subtract),
            (MetricKind::Gauge, "set") => Some(Action::Set),
            _ => None,
        };
        if action.is_none() {
            settings.wrong(line, format!("`action` is `{name}`, which a metric of this type does not have"));
        }
    }
    if kind == MetricKind::Counter {
        matches_all = settings.boolean("match_all").unwrap_or(false);
        counts_bytes = settings.boolean("count_entry_bytes").unwrap_or(false);
        if matches_all && value.is_some() {
            settings.wrong(line, "`match_all` and `value` cannot stand together");
        }
        if counts_bytes && !(matches_all && action == Some(Action::Add)) {
            settings.wrong(line, "`count_entry_bytes` needs `match_all: true` and `action: add`");
        }
    }
    let is_right = settings.finish();
    let action = action.filter(|_| is_right)?;
    Some((Metric { name: String::new(), source: String::new(), value, matches_all, counts_bytes, action }, buckets))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{Harness, problems};

    #[test]
    fn lines_are_counted_by_value_and_by_bytes() {
        let mut harness = Harness::new(
            "- regex: {expression: 'v=(?P<v>\\S*)'}\n- metrics:\n    v_inc: {type: Counter, source: v, config: {action: inc, value: '5'}}\n    v: {type: Gauge, config: {action: add}}\n    bytes: {type: Counter, prefix: my_, config: {action: add, match_all: true, count_entry_bytes: true}}\n    h: {type: Histogram, source: v, config: {buckets: [1, 10]}}",
        );
        ["v=5", "v=1m30s", "v=x", "ä"].iter().for_each(|line| harness.feed(line));
        let text = harness.metrics();
        for line in [
            "promtail_custom_v_inc{job=\"t\"} 1\n",
            "promtail_custom_v{job=\"t\"} 95\n",
            "my_bytes{job=\"t\"} 15\n",
            "promtail_custom_h_count{job=\"t\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (config, part) in [
            ("{type: Summary, config: {action: inc}}", "summary"),
            ("{type: Counter, config: {match_all: true}}", "metrics"),
            ("{type: Counter, config: {action: dec}}", "dec"),
            ("{type: Counter, config: {action: inc, match_all: true, value: x}}", "match_all"),
            ("{type: Counter, config: {action: add, count_entry_bytes: true}}", "count_entry_bytes"),
            ("{type: Gauge, config: {action: mul}}", "mul"),
            ("{type: Histogram, config: {buckets: [2, 1]}}", "buckets"),
        ] {
            let found = problems(&format!("- metrics: {{a: {config}}}"));
            assert!(found[0].contains("metrics") && found[0].contains(part), "{config}: {found:?}");
        }
    }
}
