//! What is sent to a client: entries grouped by labels, and what was dropped.

use std::collections::VecDeque;

use tailwater_logql::labels::LabelSet;
use tailwater_storage::pairs::Pairs;

use crate::http::response::logs::{EncodingFlags, write_categories};
use crate::http::response::text::{write, write_labels, write_string};
use crate::http::tail::follower::ShownEntry;
use crate::ingest::subscription::DroppedEntry;

/// Entries of one frame.
pub(super) const FRAME_ENTRIES: usize = 100;

/// How entries are shown.
#[derive(Debug, Clone)]
pub(super) struct FrameStyle {
    pub(super) flags: EncodingFlags,
    /// A bare selector shows the labels of the stream alone; any stage adds those of the entry.
    pub(super) has_stages: bool,
}

impl FrameStyle {
    /// The labels that entries are grouped by.
    fn group(&self, entry: &ShownEntry) -> LabelSet {
        let labels = &entry.labels;
        if self.flags.categorize() || !self.has_stages {
            return labels.stream.clone();
        }
        LabelSet::from_pairs(labels.stream.iter().chain(labels.structured_metadata.iter()).chain(labels.parsed.iter()))
    }

    /// The text of a frame. Streams come in the order of their first entry.
    pub(super) fn text(&self, entries: &[ShownEntry], dropped: &VecDeque<DroppedEntry>) -> String {
        let mut streams: Vec<(LabelSet, Vec<&ShownEntry>)> = Vec::new();
        for entry in entries {
            let labels = self.group(entry);
            match streams.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, of_stream)) => of_stream.push(entry),
                None => streams.push((labels, vec![entry])),
            }
        }
        let mut out = Vec::new();
        out.extend_from_slice(br#"{"streams":["#);
        for (index, (labels, of_stream)) in streams.iter().enumerate() {
            separate(&mut out, index);
            out.extend_from_slice(br#"{"stream":"#);
            write_labels(&mut out, labels);
            out.extend_from_slice(br#","values":["#);
            for (index, entry) in of_stream.iter().enumerate() {
                separate(&mut out, index);
                self.write_entry(&mut out, entry);
            }
            out.extend_from_slice(b"]}");
        }
        out.push(b']');
        if !dropped.is_empty() {
            write_dropped(&mut out, dropped);
        }
        if self.flags.is_any() {
            out.push(b',');
            self.flags.write(&mut out);
        }
        out.push(b'}');
        String::from_utf8(out).expect("strings are written as valid text")
    }

    fn write_entry(&self, out: &mut Vec<u8>, entry: &ShownEntry) {
        write(out, format_args!("[\"{}\",", entry.timestamp));
        write_string(out, &entry.line);
        if self.flags.categorize() {
            out.push(b',');
            write_categories(out, &entry.labels.structured_metadata, &entry.labels.parsed);
        }
        out.push(b']');
    }
}

/// What is told of entries that are not sent.
pub(super) fn dropped_of(entries: &[ShownEntry]) -> impl Iterator<Item = DroppedEntry> {
    entries.iter().map(|entry| DroppedEntry { labels: Pairs::from_pairs(entry.labels.stream.iter()), timestamp: entry.timestamp })
}

fn write_dropped(out: &mut Vec<u8>, dropped: &VecDeque<DroppedEntry>) {
    out.extend_from_slice(br#","dropped_entries":["#);
    for (index, entry) in dropped.iter().enumerate() {
        separate(out, index);
        out.extend_from_slice(br#"{"labels":"#);
        write_labels(out, &LabelSet::from_pairs(entry.labels.iter()));
        write(out, format_args!(",\"timestamp\":\"{}\"}}", entry.timestamp));
    }
    out.push(b']');
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tailwater_logql::labels::CategorizedLabels;

    fn entry(timestamp: i64, app: &str) -> ShownEntry {
        let labels = CategorizedLabels {
            stream: LabelSet::from_pairs([("app", app)]),
            structured_metadata: LabelSet::from_pairs([("trace_id", "7")]),
            parsed: LabelSet::from_pairs([("x", "1")]),
        };
        ShownEntry { timestamp, line: b"a line".to_vec(), labels }
    }

    fn frame(flags: &str, has_stages: bool, dropped: &[DroppedEntry]) -> Value {
        let style = FrameStyle { flags: EncodingFlags::parse(flags), has_stages };
        let entries = [entry(1, "a"), entry(2, "b"), entry(3, "a")];
        serde_json::from_str(&style.text(&entries, &dropped.iter().cloned().collect())).expect("JSON")
    }

    #[test]
    fn a_bare_selector_shows_the_labels_of_streams_alone() {
        let first = json!({"stream": {"app": "a"}, "values": [["1", "a line"], ["3", "a line"]]});
        assert_eq!(frame("", false, &[]), json!({"streams": [first, {"stream": {"app": "b"}, "values": [["2", "a line"]]}]}));
        assert_eq!(frame("", true, &[])["streams"][0]["stream"], json!({"app": "a", "trace_id": "7", "x": "1"}));
    }

    #[test]
    fn categories_are_a_third_element_and_flags_are_echoed() {
        let frame = frame("categorize-labels", true, &[]);
        assert_eq!(frame["encodingFlags"], json!(["categorize-labels"]));
        let groups = json!({"structuredMetadata": {"trace_id": "7"}, "parsed": {"x": "1"}});
        assert_eq!(frame["streams"][1], json!({"stream": {"app": "b"}, "values": [["2", "a line", groups]]}));
    }

    #[test]
    fn what_was_dropped_is_told_by_labels_and_time() {
        let dropped: Vec<DroppedEntry> = dropped_of(&[entry(5, "a")]).collect();
        assert_eq!(frame("", false, &dropped)["dropped_entries"], json!([{"labels": {"app": "a"}, "timestamp": "5"}]));
    }
}
