//! An event as a line: what it becomes depends on nothing but the event. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::events::v1::Event;

use crate::enrich::labels::canonical_text;

const JOB: &str = "loki.source.kubernetes_events";

/// An event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventEntry {
    /// As on the wire.
    pub(super) labels: String,
    /// Nanoseconds since the epoch.
    pub(super) timestamp: i64,
    pub(super) line: String,
    pub(super) metadata: Vec<(&'static str, String)>,
}

/// When the event was last seen, nanoseconds since the epoch.
pub(super) fn time(event: &Event) -> i64 {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let deprecated = || event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    let first = || event.event_time.as_ref().map(|time| time.0);
    let oldest = || event.deprecated_first_timestamp.as_ref().map(|time| time.0);
    let created = || event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let time = series.or_else(deprecated).or_else(first).or_else(oldest).or_else(created);
    time.map_or(0, |time| i64::try_from(time.as_nanosecond()).unwrap_or(0))
}

pub(super) fn entry(event: &Event, external: &BTreeMap<String, String>) -> EventEntry {
    let regarding = event.regarding.clone().unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let namespace = regarding.namespace.clone().filter(|namespace| !namespace.is_empty()).or_else(|| event.metadata.namespace.clone());
    let mut labels = external.clone();
    labels.insert("job".to_owned(), JOB.to_owned());
    labels.insert("namespace".to_owned(), namespace.unwrap_or_else(|| "default".to_owned()));
    let source = event.deprecated_source.clone().unwrap_or_default();
    let component = Some(text(&event.reporting_controller)).filter(|name| !name.is_empty()).or(source.component).unwrap_or_default();
    let host = Some(text(&event.reporting_instance)).filter(|name| !name.is_empty()).or(source.host).unwrap_or_default();
    let count = event.series.as_ref().map(|series| series.count).or(event.deprecated_count).unwrap_or(1);
    let mut line = String::new();
    for (name, value) in [
        ("kind", text(&regarding.kind)),
        ("name", text(&regarding.name)),
        ("reason", text(&event.reason)),
        ("type", text(&event.type_)),
        ("action", text(&event.action)),
        ("count", count.to_string()),
        ("event", text(&event.metadata.name)),
        ("component", component),
        ("host", host),
        ("field", text(&regarding.field_path)),
        ("msg", text(&event.note)),
    ] {
        append(&mut line, name, value.trim());
    }
    let metadata = [("kind", regarding.kind), ("name", regarding.name), ("reason", event.reason.clone()), ("type", event.type_.clone())];
    EventEntry {
        labels: canonical_text(&labels),
        timestamp: time(event),
        line,
        metadata: metadata.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?))).collect(),
    }
}

/// Appends a pair of logfmt; nothing for an empty value.
fn append(line: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let separator = if line.is_empty() { "" } else { " " };
    let is_bare =
        value.chars().all(|character| !character.is_whitespace() && !character.is_control() && !['"', '=', '\\'].contains(&character));
    let written = if is_bare {
        write!(line, "{separator}{name}={value}")
    } else {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        write!(line, "{separator}{name}=\"{quoted}\"")
    };
    written.expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: serde_json::Value) -> Event {
        serde_json::from_value(json).expect("an event")
    }

    #[test]
    fn an_event_becomes_one_line_and_its_stamp_is_its_own() {
        let event = event(serde_json::json!({
            "metadata": {"name": "web-1.17a", "namespace": "shop", "uid": "u", "resourceVersion": "9", "creationTimestamp": "2026-11-21T09:00:00Z"},
            "eventTime": null, "deprecatedCount": 3, "deprecatedLastTimestamp": "2026-11-21T09:08:07Z", "deprecatedSource": {"component": "kubelet", "host": "node-a"},
            "reason": "BackOff", "type": "Warning", "note": "Back-off \"restarting\"\nfailed container",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "web-1", "fieldPath": "spec.containers{app}"}
        }));
        let entry = entry(&event, &BTreeMap::from([("cluster".to_owned(), "c1".to_owned())]));
        assert_eq!(entry.labels, "{cluster=\"c1\", job=\"loki.source.kubernetes_events\", namespace=\"shop\"}");
        assert_eq!(
            entry.line,
            "kind=Pod name=web-1 reason=BackOff type=Warning count=3 event=web-1.17a component=kubelet host=node-a field=spec.containers{app} msg=\"Back-off \\\"restarting\\\"\\nfailed container\""
        );
        assert_eq!(entry.timestamp, 1_795_252_087_000_000_000);
        let metadata: Vec<_> = entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(metadata, ["kind=Pod", "name=web-1", "reason=BackOff", "type=Warning"]);
    }

    #[test]
    fn a_series_counts_and_is_stamped_by_its_last_event() {
        let event = event(serde_json::json!({
            "metadata": {"name": "n.1", "namespace": "default"}, "eventTime": "2026-11-21T09:00:00.000001Z", "reportingController": "scheduler",
            "series": {"count": 7, "lastObservedTime": "2026-11-21T09:00:05.000002Z"}, "regarding": {"kind": "Node", "name": "n"}
        }));
        let entry = entry(&event, &BTreeMap::new());
        assert_eq!(entry.line, "kind=Node name=n count=7 event=n.1 component=scheduler");
        assert_eq!(entry.timestamp % 60_000_000_000, 5_000_002_000);
        assert!(entry.labels.contains("namespace=\"default\""));
    }
}
