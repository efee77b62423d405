//! `labels`, `labeldrop`, `labelallow`, `static_labels`: which labels an entry has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::Entry;
use super::settings::{Settings, sources_of, text_of};
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;
use crate::relabel::{Labels, is_label_name};

/// Extracted values become labels.
#[derive(Debug, Clone)]
pub(crate) struct SetLabels {
    sources: BTreeMap<String, String>,
}

impl SetLabels {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        if node.is_null() {
            return Some(Self { sources: BTreeMap::new() });
        }
        let sources = named_sources("labels", node, report)?;
        Some(Self { sources })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        for (name, source) in &self.sources {
            if let Some(text) = entry.extracted.text(source) {
                let text = text.into_owned();
                entry.set_label(name, text);
            }
        }
    }
}

/// Names that may be labels with their sources.
pub(super) fn named_sources(stage: &str, node: &Node, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let Some(sources) = sources_of(node).filter(|sources| !sources.is_empty()) else {
        report.error(node.line, format!("{stage} stage: expected label names with the names of extracted values"));
        return None;
    };
    if let Some(wrong) = sources.keys().find(|name| !is_label_name(name)) {
        report.error(node.line, format!("{stage} stage: `{wrong}` is no label name"));
        return None;
    }
    Some(sources)
}

/// Labels are taken away.
#[derive(Debug, Clone)]
pub(crate) struct DropLabels {
    names: Vec<String>,
}

impl DropLabels {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        names("labeldrop", node, report).map(|names| Self { names })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        self.names.iter().for_each(|name| entry.remove_label(name));
    }
}

/// Only these labels stay.
#[derive(Debug, Clone)]
pub(crate) struct AllowLabels {
    names: Vec<String>,
}

impl AllowLabels {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        names("labelallow", node, report).map(|names| Self { names })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        if !entry.labels.keys().all(|name| self.names.contains(name)) {
            Arc::make_mut(&mut entry.labels).retain(|name, _| self.names.contains(name));
        }
    }
}

/// The labels in a list that must not be empty.
fn names(stage: &str, node: &Node, report: &mut Report) -> Option<Vec<String>> {
    let names: Option<Vec<String>> = node.sequence().and_then(|items| items.iter().map(text_of).collect());
    let names = names.filter(|names| !names.is_empty());
    if names.is_none() {
        report.error(node.line, format!("{stage} stage: expected a list of label names"));
    }
    names
}

/// Labels are set to fixed values; they do not become extracted values.
#[derive(Debug, Clone)]
pub(crate) struct StaticLabels {
    labels: Labels,
}

impl StaticLabels {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let settings = Settings::of("static_labels", node, report)?;
        drop(settings);
        let mut labels = Labels::new();
        for (name, value) in node.mapping().unwrap_or_default() {
            let text = if value.is_null() { Some(String::new()) } else { text_of(value) };
            match (text_of(name).filter(|name| is_label_name(name)), text) {
                (Some(name), Some(text)) => drop(labels.insert(name, text)),
                (None, _) => {
                    let name_text = name.raw_text().unwrap_or("?");
                    report.error(name.line, format!("static_labels stage: `{name_text}` is no label name"));
                    return None;
                }
                (Some(name), None) => {
                    report.error(value.line, format!("static_labels stage: the value of `{name}` must be text; put it in quotes"));
                    return None;
                }
            }
        }
        if node.mapping().is_none_or(<[_]>::is_empty) {
            report.error(node.line, "static_labels stage: expected label names with values");
            return None;
        }
        labels.retain(|_, value| !value.is_empty());
        Some(Self { labels })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        for (name, value) in &self.labels {
            entry.set_label(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{problems, run_lines};

    fn labels_after(stages: &str, line: &str) -> String {
        let entry = run_lines(stages, &[line]).remove(0);
        entry.labels.iter().map(|(name, value)| format!("{name}={value};")).collect()
    }

    #[test]
    fn labels_are_set_taken_away_and_kept() {
        let regex = "- regex: {expression: '^(?P<a>\\S*) (?P<b>\\S+)'}\n";
        for (stages, expected) in [
            ("- labels: {a: , c: b, d: none}", "a=;c=y;job=t;"),
            ("- labels: {a: , b: }\n- labeldrop: [b, none]", "a=;job=t;"),
            ("- labels: {a: , b: }\n- labelallow: [b]", "b=y;"),
            ("- static_labels: {b: fixed, x: , z: ''}\n- labels: {copy: b}", "b=fixed;copy=y;job=t;"),
            ("- labels:", "job=t;"),
        ] {
            assert_eq!(labels_after(&format!("{regex}{stages}"), " y"), expected, "{stages}");
        }
    }

    #[test]
    fn wrong_names_are_reported() {
        for (stages, part) in [
            ("- labels: {a-b: }", "`a-b`"),
            ("- labels: {n: }", "labels stage"),
            ("- labelallow: []", "labelallow"),
            ("- labeldrop:", "labeldrop"),
            ("- static_labels: {a: 1}", "quotes"),
            ("- static_labels:", "static_labels"),
        ] {
            assert!(problems(stages)[0].contains(part), "{stages}");
        }
    }
}
