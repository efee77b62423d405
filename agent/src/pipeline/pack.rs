//! `pack`: labels and the line become one JSON object, which is the new line; those labels are taken away.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::go_json::write_text;
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

/// Holds the line itself.
const ENTRY_KEY: &str = "_entry";

#[derive(Debug, Clone)]
pub(crate) struct Pack {
    labels: Vec<String>,
    /// Whether the stamp becomes the time of reading.
    restamps: bool,
}

impl Pack {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("pack", node, report)?.weakly_typed();
        let labels = settings.texts("labels").unwrap_or_default();
        let restamps = settings.boolean("ingest_timestamp").unwrap_or(true);
        settings.finish().then_some(Self { labels, restamps })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let mut packed = BTreeMap::new();
        // Labels are extracted at the beginning of a pipeline; one that is set by the way and extracted nowhere stays.
        for name in &self.labels {
            if let Some(value) = entry.extracted.text(name).map(std::borrow::Cow::into_owned) {
                packed.insert(name.as_str(), value);
                entry.remove_label(name);
            }
        }
        let mut line = String::from("{");
        for (name, value) in &packed {
            write_text(name, &mut line);
            line.push(':');
            write_text(value, &mut line);
            line.push(',');
        }
        write_text(ENTRY_KEY, &mut line);
        line.push(':');
        write_text(&entry.line, &mut line);
        line.push('}');
        entry.line = line;
        if self.restamps {
            entry.timestamp = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn labels_and_values_are_packed_before_the_line() {
        let entry = run_lines("- regex: {expression: '(?P<x>.*)'}\n- pack: {labels: [x, job, none]}", &["<\"a\">"]).remove(0);
        let text = "{\"job\":\"t\",\"x\":\"\\u003c\\\"a\\\"\\u003e\",\"_entry\":\"\\u003c\\\"a\\\"\\u003e\"}";
        assert_eq!((entry.line.as_str(), entry.labels.is_empty()), (text, true));
    }

    #[test]
    fn a_label_that_was_not_extracted_stays() {
        let entry = run_lines(
            "- static_labels: {env: prod}\n- labels: {gone: job}\n- pack: {labels: [env, gone], ingest_timestamp: 'false'}",
            &["x"],
        )
        .remove(0);
        assert_eq!((entry.line.as_str(), entry.labels.len()), ("{\"_entry\":\"x\"}", 3));
        let entry = run_lines("- pack: {labels: job}", &["x"]).remove(0);
        assert_eq!((entry.line.as_str(), entry.labels.is_empty()), ("{\"job\":\"t\",\"_entry\":\"x\"}", true));
    }
}
