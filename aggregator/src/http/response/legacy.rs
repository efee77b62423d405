//! `{"streams":[…]}`: log streams as the first versions of Loki wrote them.

use jiff::Timestamp;
use tailwater_engine::answer::{LogAnswer, LogEntry};

use crate::http::response::Answer;
use crate::http::response::statistics::write_statistics;
use crate::http::response::text::{write, write_string};

/// Writes an answer stream by stream.
pub struct LegacyLogsBody {
    answer: LogAnswer,
    /// `None` before the beginning.
    next: Option<usize>,
}

impl LegacyLogsBody {
    pub fn new(answer: LogAnswer) -> Self {
        Self { answer, next: None }
    }
}

impl Answer for LegacyLogsBody {
    fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(index) = self.next else {
            out.extend_from_slice(br#"{"streams":["#);
            self.next = Some(0);
            return true;
        };
        let Some(stream) = self.answer.streams.get(index) else {
            out.extend_from_slice(b"],");
            write_statistics(out, &self.answer.statistics);
            out.extend_from_slice(b"}\n");
            return false;
        };
        out.extend_from_slice(if index > 0 { br#",{"labels":"# } else { br#"{"labels":"# });
        write_string(out, stream.labels.to_string().as_bytes());
        out.extend_from_slice(br#","entries":["#);
        for (index, entry) in stream.entries.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            write_entry(out, entry);
        }
        out.extend_from_slice(b"]}");
        self.next = Some(index + 1);
        true
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &LogEntry) {
    // Every 64-bit number of nanoseconds is a time that can be written.
    let time = Timestamp::from_nanosecond(i128::from(entry.timestamp)).unwrap_or_default();
    write(out, format_args!("{{\"ts\":\"{time}\",\"line\":"));
    write_string(out, &entry.line);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::tests::whole;
    use serde_json::{Value, json};
    use tailwater_engine::answer::{LogStream, Statistics};
    use tailwater_logql::labels::LabelSet;

    #[test]
    fn streams_have_labels_as_text_and_times_as_dates() {
        let entry = |timestamp, line: &str| LogEntry {
            timestamp,
            line: line.as_bytes().to_vec(),
            structured_metadata: LabelSet::default(),
            parsed: LabelSet::default(),
        };
        let entries = vec![entry(1_768_471_200_000_000_000, "a"), entry(1_768_471_200_120_000_001, "b"), entry(-1, "c")];
        let labels = LabelSet::from_pairs([("app", "x\"y"), ("b", "z")]);
        let streams = vec![LogStream { labels, entries }, LogStream { labels: LabelSet::default(), entries: Vec::new() }];
        let text = whole(LegacyLogsBody::new(LogAnswer { streams, warnings: Vec::new(), statistics: Statistics::default() }));
        let mut body: Value = serde_json::from_str(&text).expect("JSON");
        assert!(body.as_object_mut().and_then(|body| body.remove("stats")).is_some());
        assert_eq!(
            body,
            json!({"streams": [
                {"labels": r#"{app="x\"y", b="z"}"#, "entries": [
                    {"ts": "2026-01-15T10:00:00Z", "line": "a"},
                    {"ts": "2026-01-15T10:00:00.120000001Z", "line": "b"},
                    {"ts": "1969-12-31T23:59:59.999999999Z", "line": "c"},
                ]},
                {"labels": "{}", "entries": []},
            ]})
        );
    }
}
