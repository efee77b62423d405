//! `"resultType":"streams"`, with or without the labels of each entry in categories.

use tailwater_engine::answer::{LogAnswer, LogEntry, Neighbours, Statistics};
use tailwater_logql::labels::LabelSet;

use crate::http::response::Answer;
use crate::http::response::statistics::write_statistics;
use crate::http::response::text::{write, write_labels, write_string, write_strings, write_warnings};

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
        out.extend_from_slice(br#""encodingFlags":"#);
        write_strings(out, &self.flags);
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
    /// The token of the next page.
    cursor: Option<String>,
    /// What stands around the entries, if that is asked for.
    neighbours: Option<Vec<Neighbours>>,
    next: Piece,
}

/// What is written next.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Beginning,
    /// A stream and one of its entries.
    Entry(usize, usize),
    Neighbours(usize),
}

impl LogsBody {
    pub fn new(answer: LogAnswer, flags: EncodingFlags) -> Self {
        Self { answer, flags, cursor: None, neighbours: None, next: Piece::Beginning }
    }

    pub(crate) fn nothing(flags: EncodingFlags) -> Self {
        Self::new(LogAnswer { streams: Vec::new(), warnings: Vec::new(), statistics: Statistics::default() }, flags)
    }

    /// With the token of the next page, `"cursor":"…"`; at the last page there is none.
    pub(crate) fn with_cursor(self, cursor: Option<String>) -> Self {
        Self { cursor, ..self }
    }

    /// With a list of neighbours, `"context":[{"stream":…,"before":[…],"entry":…,"after":[…]}]`.
    pub(crate) fn with_neighbours(self, neighbours: Vec<Neighbours>) -> Self {
        Self { neighbours: Some(neighbours), ..self }
    }

    fn write_beginning(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"status":"success","#);
        write_warnings(out, &self.answer.warnings);
        out.extend_from_slice(br#""data":{"resultType":"streams","#);
        if self.flags.is_any() {
            self.flags.write(out);
            out.push(b',');
        }
        if let Some(cursor) = &self.cursor {
            out.extend_from_slice(br#""cursor":"#);
            write_string(out, cursor.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(br#""result":["#);
    }

    /// Writes the neighbours of an entry, or after the last of them the end.
    fn write_next_neighbours(&mut self, out: &mut Vec<u8>, index: usize) -> bool {
        let Some(all) = &self.neighbours else {
            self.write_end(out);
            return false;
        };
        if index == 0 {
            out.extend_from_slice(br#"],"context":["#);
        }
        let Some(of) = all.get(index) else {
            self.write_end(out);
            return false;
        };
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        self.write_neighbours(out, of);
        self.next = Piece::Neighbours(index + 1);
        true
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],");
        write_statistics(out, &self.answer.statistics);
        out.extend_from_slice(b"}}\n");
    }

    fn write_neighbours(&self, out: &mut Vec<u8>, of: &Neighbours) {
        out.extend_from_slice(br#"{"stream":"#);
        write_labels(out, &of.labels);
        out.extend_from_slice(br#","before":["#);
        self.write_entries(out, &of.before);
        out.extend_from_slice(br#"],"entry":"#);
        self.write_entry(out, &of.entry);
        out.extend_from_slice(br#","after":["#);
        self.write_entries(out, &of.after);
        out.extend_from_slice(b"]}");
    }

    fn write_entries(&self, out: &mut Vec<u8>, entries: &[LogEntry]) {
        for (index, entry) in entries.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            self.write_entry(out, entry);
        }
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
pub(crate) fn write_group(out: &mut Vec<u8>, name: &str, labels: &LabelSet, follows: bool) {
    if labels.is_empty() {
        return;
    }
    write(out, format_args!("{}\"{name}\":", if follows { "," } else { "" }));
    write_labels(out, labels);
}

impl Answer for LogsBody {
    fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let (stream_index, entry_index) = match self.next {
            Piece::Beginning => {
                self.write_beginning(out);
                self.next = Piece::Entry(0, 0);
                return true;
            }
            Piece::Entry(stream, entry) => (stream, entry),
            Piece::Neighbours(index) => return self.write_next_neighbours(out, index),
        };
        let Some(stream) = self.answer.streams.get(stream_index) else {
            self.next = Piece::Neighbours(0);
            return true;
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
        self.next = if entry_index + 1 < stream.entries.len() {
            Piece::Entry(stream_index, entry_index + 1)
        } else {
            out.extend_from_slice(b"]}");
            Piece::Entry(stream_index + 1, 0)
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::tests::whole;
    use serde_json::{Value, json};
    use tailwater_engine::answer::LogStream;

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
        LogAnswer { streams: vec![stream("a", first), stream("b", second)], warnings: Vec::new(), statistics: Statistics::default() }
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
    fn a_cursor_and_neighbours_are_there_if_asked_for() {
        let entry =
            |timestamp| LogEntry { timestamp, line: b"x".to_vec(), structured_metadata: LabelSet::default(), parsed: LabelSet::default() };
        let of = Neighbours { labels: labels(&[("app", "a")]), before: vec![entry(1), entry(2)], entry: entry(3), after: Vec::new() };
        let whole_of = |body: LogsBody| serde_json::from_str::<Value>(&whole(body)).expect("JSON")["data"].clone();
        let data = whole_of(LogsBody::new(answer(), EncodingFlags::default()).with_neighbours(vec![of.clone(), of]));
        let expected = json!({"stream": {"app": "a"}, "before": [["1", "x"], ["2", "x"]], "entry": ["3", "x"], "after": []});
        assert_eq!(data["context"], json!([expected, expected]));
        let data = whole_of(LogsBody::nothing(EncodingFlags::default()).with_neighbours(Vec::new()));
        assert_eq!((&data["context"], &data["result"], data.get("cursor")), (&json!([]), &json!([]), None));
        let data = whole_of(LogsBody::new(answer(), EncodingFlags::default()).with_cursor(Some("abc".to_owned())));
        assert_eq!((&data["cursor"], data["result"].as_array().map(Vec::len)), (&json!("abc"), Some(2)));
    }

    #[test]
    fn nothing_found_is_an_empty_list() {
        let nothing = LogAnswer { streams: Vec::new(), warnings: Vec::new(), statistics: Statistics::default() };
        assert_eq!(written(nothing, ""), json!({"status": "success", "data": {"resultType": "streams", "result": []}}));
    }
}
