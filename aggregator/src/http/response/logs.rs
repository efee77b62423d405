//! `"resultType":"streams"`, with or without the labels of each entry in categories.

use tailwater_engine::answer::{LogAnswer, LogEntry};
use tailwater_logql::labels::LabelSet;

use crate::http::response::Answer;
use crate::http::response::statistics::write_statistics;
use crate::http::response::text::{write, write_labels, write_string};

/// What `X-Loki-Response-Encoding-Flags` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodingFlags {
    flags: Vec<String>,
}

impl EncodingFlags {
    /// From the header's value, a list with commas.
    pub fn parse(header: &str) -> Self {
        let flags = if header.is_empty() { Vec::new() } else { header.split(',').map(|flag| flag.trim().to_owned()).collect() };
        Self { flags }
    }

    pub(crate) fn is_any(&self) -> bool {
        !self.flags.is_empty()
    }

    /// Appends them as they are echoed, `"encodingFlags":["…"]`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""encodingFlags":["#);
        for (index, flag) in self.flags.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(out, flag.as_bytes());
        }
        out.push(b']');
    }

    /// Keep stored labels, structured metadata and parsed labels apart.
    pub fn categorize(&self) -> bool {
        self.flags.iter().any(|flag| flag == "categorize-labels")
    }
}

/// Writes an answer entry by entry.
pub struct LogsBody {
    answer: LogAnswer,
    flags: EncodingFlags,
    /// The stream and entry that come next; `None` before the beginning.
    next: Option<(usize, usize)>,
}

impl LogsBody {
    pub fn new(answer: LogAnswer, flags: EncodingFlags) -> Self {
        Self { answer, flags, next: None }
    }

    fn write_beginning(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"status":"success","data":{"resultType":"streams","#);
        if self.flags.is_any() {
            self.flags.write(out);
            out.push(b',');
        }
        out.extend_from_slice(br#""result":["#);
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],");
        write_statistics(out, &self.answer.statistics);
        out.extend_from_slice(b"}}\n");
    }

    fn write_entry(&self, out: &mut Vec<u8>, entry: &LogEntry) {
        write(out, format_args!("[\"{}\",", entry.timestamp));
        write_string(out, &entry.line);
        if self.flags.categorize() {
            out.push(b',');
            write_categories(out, &entry.structured_metadata, &entry.parsed);
        }
        out.push(b']');
    }
}

/// Appends the labels of an entry that are not its stream's.
pub(crate) fn write_categories(out: &mut Vec<u8>, structured_metadata: &LabelSet, parsed: &LabelSet) {
    out.push(b'{');
    write_group(out, "structuredMetadata", structured_metadata, false);
    write_group(out, "parsed", parsed, !structured_metadata.is_empty());
    out.push(b'}');
}

/// Appends a group of labels unless it is empty.
fn write_group(out: &mut Vec<u8>, name: &str, labels: &LabelSet, follows: bool) {
    if labels.is_empty() {
        return;
    }
    write(out, format_args!("{}\"{name}\":", if follows { "," } else { "" }));
    write_labels(out, labels);
}

impl Answer for LogsBody {
    fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((stream_index, entry_index)) = self.next else {
            self.write_beginning(out);
            self.next = Some((0, 0));
            return true;
        };
        let Some(stream) = self.answer.streams.get(stream_index) else {
            self.write_end(out);
            return false;
        };
        if entry_index == 0 {
            out.extend_from_slice(if stream_index > 0 { b"," } else { b"" });
            out.extend_from_slice(br#"{"stream":"#);
            write_labels(out, &stream.labels);
            out.extend_from_slice(br#","values":["#);
        }
        if let Some(entry) = stream.entries.get(entry_index) {
            out.extend_from_slice(if entry_index > 0 { b"," } else { b"" });
            self.write_entry(out, entry);
        }
        self.next = Some(if entry_index + 1 < stream.entries.len() {
            (stream_index, entry_index + 1)
        } else {
            out.extend_from_slice(b"]}");
            (stream_index + 1, 0)
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::tests::whole;
    use serde_json::{Value, json};
    use tailwater_engine::answer::{LogStream, Statistics};

    fn labels(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(pairs.iter().copied())
    }

    fn answer() -> LogAnswer {
        let entry = |timestamp, line: &[u8], metadata: &[(&str, &str)], parsed: &[(&str, &str)]| LogEntry {
            timestamp,
            line: line.to_vec(),
            structured_metadata: labels(metadata),
            parsed: labels(parsed),
        };
        let first = vec![entry(2, b"b\xff", &[("trace_id", "x")], &[("level", "error")]), entry(1, b"a", &[], &[])];
        let second = vec![entry(3, b"<c>", &[], &[("x", "y")])];
        let stream = |name, entries| LogStream { labels: labels(&[("app", name)]), entries };
        LogAnswer { streams: vec![stream("a", first), stream("b", second)], statistics: Statistics::default() }
    }

    fn written(answer: LogAnswer, flags: &str) -> Value {
        let text = whole(LogsBody::new(answer, EncodingFlags::parse(flags)));
        assert!(text.ends_with("}}\n"));
        let mut body: Value = serde_json::from_str(&text).expect("JSON");
        assert!(body["data"].as_object_mut().and_then(|data| data.remove("stats")).is_some());
        body
    }

    #[test]
    fn streams_are_written_with_two_elements_an_entry() {
        let expected = json!({"status": "success", "data": {"resultType": "streams", "result": [
            {"stream": {"app": "a"}, "values": [["2", "b\u{fffd}"], ["1", "a"]]},
            {"stream": {"app": "b"}, "values": [["3", "<c>"]]},
        ]}});
        assert_eq!(written(answer(), ""), expected);
    }

    #[test]
    fn categories_are_a_third_element_and_flags_are_echoed() {
        let body = written(answer(), "categorize-labels,foo");
        assert_eq!(body["data"]["encodingFlags"], json!(["categorize-labels", "foo"]));
        assert_eq!(
            body["data"]["result"],
            json!([
                {"stream": {"app": "a"}, "values": [
                    ["2", "b\u{fffd}", {"structuredMetadata": {"trace_id": "x"}, "parsed": {"level": "error"}}],
                    ["1", "a", {}],
                ]},
                {"stream": {"app": "b"}, "values": [["3", "<c>", {"parsed": {"x": "y"}}]]},
            ])
        );
        assert_eq!(written(answer(), "foo")["data"]["result"][0]["values"][1], json!(["1", "a"]));
    }

    #[test]
    fn nothing_found_is_an_empty_list() {
        let nothing = LogAnswer { streams: Vec::new(), statistics: Statistics::default() };
        assert_eq!(written(nothing, ""), json!({"status": "success", "data": {"resultType": "streams", "result": []}}));
    }
}
