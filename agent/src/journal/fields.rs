//! The fields of an entry as labels and as a line, by Promtail's names for them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::Field;
use crate::pipeline::go_json;
use crate::promtail::journal::JournalConfig;
use crate::relabel::{Labels, Rule, relabel};

const MESSAGE: &str = "MESSAGE";
const PRIORITY: &str = "PRIORITY";
/// Priorities 0 to 7.
const KEYWORDS: [&str; 8] = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];

/// Why an entry makes no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLine {
    /// It is not among those that are asked for.
    NotMatched,
    WithoutMessage,
    /// A rule drops it, or no label is left.
    WithoutLabels,
}

/// The fields by name; of a name that stands there twice the last one counts.
pub(super) fn by_name(fields: &[Arc<Field>]) -> BTreeMap<&str, &str> {
    fields.iter().map(|field| (field.0.as_str(), field.1.as_str())).collect()
}

/// Labels and line of an entry with these fields.
pub(super) fn line(fields: &[Arc<Field>], config: &JournalConfig, rules: &[Rule]) -> Result<(Labels, String), NoLine> {
    if !is_asked_for(fields, &config.matches) {
        return Err(NoLine::NotMatched);
    }
    let fields = by_name(fields);
    let line = if config.is_json { json(&fields) } else { (*fields.get(MESSAGE).ok_or(NoLine::WithoutMessage)?).to_owned() };
    let labels = labels(&fields, config, rules).ok_or(NoLine::WithoutLabels)?;
    Ok((labels, line))
}

/// Values of one field are alternatives; all fields that are named must be there.
fn is_asked_for(fields: &[Arc<Field>], matches: &[(String, String)]) -> bool {
    let has = |name: &str, value: &str| fields.iter().any(|field| field.0 == name && field.1 == value);
    matches.iter().all(|(name, _)| matches.iter().any(|(other, value)| other == name && has(name, value)))
}

fn labels(fields: &BTreeMap<&str, &str>, config: &JournalConfig, rules: &[Rule]) -> Option<Labels> {
    let mut labels = Labels::new();
    for (name, value) in fields {
        labels.insert(format!("__journal_{}", name.to_ascii_lowercase()), (*value).to_owned());
    }
    let priority = fields.get(PRIORITY).and_then(|priority| priority.parse::<usize>().ok());
    if let Some(keyword) = priority.and_then(|priority| KEYWORDS.get(priority)) {
        labels.insert("__journal_priority_keyword".to_owned(), (*keyword).to_owned());
    }
    labels.extend(config.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut labels = relabel(labels, rules)?;
    labels.retain(|name, _| !name.starts_with("__"));
    (!labels.is_empty()).then_some(labels)
}

fn json(fields: &BTreeMap<&str, &str>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        go_json::write_text(name, &mut text);
        text.push(':');
        go_json::write_text(value, &mut text);
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::parse;

    fn fields(pairs: &[(&str, &str)]) -> Vec<Arc<Field>> {
        pairs.iter().map(|(name, value)| Arc::new(((*name).to_owned(), (*value).to_owned()))).collect()
    }

    fn read(journal: &str, pairs: &[(&str, &str)]) -> Result<(Labels, String), NoLine> {
        let text = format!(
            "clients: [{{url: http://h/p}}]\nscrape_configs:\n- job_name: j\n  journal: {journal}\n  relabel_configs:\n  - {{source_labels: [__journal__systemd_unit], target_label: unit}}\n  - {{source_labels: [__journal_priority_keyword], target_label: level}}\n  - {{source_labels: [unit], regex: noisy.service, action: drop}}\n"
        );
        let (config, report) = parse(&text, "me".to_owned());
        let job = Arc::clone(&config.unwrap_or_else(|| panic!("{report}")).scrape.jobs[0]);
        line(&fields(pairs), job.journal.as_ref().unwrap(), &job.relabel)
    }

    const ENTRY: [(&str, &str); 4] = [("_SYSTEMD_UNIT", "a.service"), ("PRIORITY", "3"), ("MESSAGE", "one <two>"), ("_UID", "0")];

    #[test]
    fn fields_become_labels_by_rules_alone() {
        let (labels, line) = read("{labels: {job: systemd}}", &ENTRY).unwrap();
        assert_eq!(line, "one <two>");
        let expected = [("job", "systemd"), ("level", "error"), ("unit", "a.service")];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(read("{}", &[("MESSAGE", "x")]), Err(NoLine::WithoutLabels));
        assert_eq!(read("{labels: {a: b}}", &[("MESSAGE", "x"), ("_SYSTEMD_UNIT", "noisy.service")]), Err(NoLine::WithoutLabels));
        assert_eq!(read("{labels: {a: b}}", &[("_UID", "0")]), Err(NoLine::WithoutMessage));
    }

    #[test]
    fn all_fields_as_json_need_no_message() {
        let (_, line) = read("{json: true, labels: {a: b}}", &ENTRY).unwrap();
        assert_eq!(line, r#"{"MESSAGE":"one \u003ctwo\u003e","PRIORITY":"3","_SYSTEMD_UNIT":"a.service","_UID":"0"}"#);
        assert_eq!(read("{json: true, labels: {a: b}}", &[("_UID", "0")]).unwrap().1, r#"{"_UID":"0"}"#);
    }

    #[test]
    fn matches_of_one_field_are_alternatives_and_of_several_all_hold() {
        for (matches, expected) in [
            ("_UID=0", true),
            ("_UID=1", false),
            ("_UID=0 PRIORITY=3", true),
            ("_UID=0 PRIORITY=4", false),
            ("PRIORITY=4 PRIORITY=3", true),
        ] {
            let result = read(&format!("{{matches: '{matches}', labels: {{a: b}}}}"), &ENTRY);
            assert_eq!(result.is_ok(), expected, "{matches}: {result:?}");
        }
    }
}
