//! Lines that stages dropped, by reason, under Promtail's metric names.

use std::collections::BTreeMap;
use std::fmt::Write;

use parking_lot::Mutex;

/// Label values counted; beyond it they are added to one that says so.
const MAX_LABEL_VALUES: usize = 10_000;

/// Counters of dropped lines, shared by all pipelines of a process.
#[derive(Debug, Default)]
pub(crate) struct DropCounters {
    by_reason: Mutex<BTreeMap<String, u64>>,
    by_label: Mutex<BTreeMap<(String, String), u64>>,
}

impl DropCounters {
    pub(crate) fn dropped(&self, reason: &str) {
        let mut counts = self.by_reason.lock();
        match counts.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(counts.insert(reason.to_owned(), 1)),
        }
    }

    pub(crate) fn dropped_by_label(&self, name: &str, value: &str) {
        let mut counts = self.by_label.lock();
        let key = (name.to_owned(), value.to_owned());
        let is_full = counts.len() >= MAX_LABEL_VALUES && !counts.contains_key(&key);
        *counts.entry(if is_full { (name.to_owned(), "__others__".to_owned()) } else { key }).or_default() += 1;
    }

    /// Appends the counters in the text format of Prometheus.
    pub(crate) fn render(&self, out: &mut String) {
        out.push_str("# HELP logentry_dropped_lines_total Lines dropped by pipeline stages\n# TYPE logentry_dropped_lines_total counter\n");
        for (reason, count) in self.by_reason.lock().iter() {
            sample(out, "logentry_dropped_lines_total", &[("reason", reason)], *count);
        }
        out.push_str("# HELP logentry_dropped_lines_by_label_total Lines dropped by limits per label value\n");
        out.push_str("# TYPE logentry_dropped_lines_by_label_total counter\n");
        for ((name, value), count) in self.by_label.lock().iter() {
            sample(out, "logentry_dropped_lines_by_label_total", &[("label_name", name), ("label_value", value)], *count);
        }
    }
}

/// Appends one sample; values of labels are escaped.
pub(crate) fn sample<'a>(out: &mut String, name: &str, labels: &[(&'a str, &'a str)], value: impl std::fmt::Display) {
    out.push_str(name);
    if !labels.is_empty() {
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let separator = if index == 0 { '{' } else { ',' };
            write!(out, "{separator}{label}=\"{text}\"").expect("writing to a string cannot fail");
        }
        out.push('}');
    }
    writeln!(out, " {value}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rendered_with_their_labels() {
        let counters = DropCounters::default();
        counters.dropped("drop_stage");
        counters.dropped("drop_stage");
        counters.dropped_by_label("app", "a\"b");
        let mut text = String::new();
        counters.render(&mut text);
        assert!(text.contains("logentry_dropped_lines_total{reason=\"drop_stage\"} 2\n"), "{text}");
        assert!(text.contains("logentry_dropped_lines_by_label_total{label_name=\"app\",label_value=\"a\\\"b\"} 1\n"), "{text}");
    }
}
