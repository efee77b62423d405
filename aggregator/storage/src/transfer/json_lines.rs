//! NDJSON in: an entry a line.
//!
//! Taken are `ts` or `timestamp` (nanoseconds as text or number, or RFC 3339), `labels` or `stream`, `metadata` or `structuredMetadata`, `line`; every
//! other name with a plain value is a label. A line that is none of this is refused by itself; the next one is read.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use serde_json::Value;

use crate::pairs::Pairs;
use crate::transfer::error::ImportError;
use crate::transfer::record::{ImportedEntry, Record, Records, labels_of, stamp_of_text};

/// Bytes of the longest line of an input that is read.
const LONGEST: u64 = 64 << 20;

/// Reads an input line by line.
pub struct JsonLines<R> {
    input: R,
    place: u64,
    done: u64,
    total: Option<u64>,
    buffer: Vec<u8>,
}

impl<R: BufRead> JsonLines<R> {
    /// `total`: bytes of the input, if that is known.
    pub fn new(input: R, total: Option<u64>) -> Self {
        Self { input, place: 0, done: 0, total, buffer: Vec::new() }
    }

    /// Reads the next line that is not empty to the buffer; false at the end.
    fn advance(&mut self) -> Result<bool, ImportError> {
        loop {
            self.buffer.clear();
            let read = self.input.by_ref().take(LONGEST).read_until(b'\n', &mut self.buffer)?;
            self.done += read as u64;
            self.place += 1;
            if read == 0 {
                return Ok(false);
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Passes over the rest of a line that is too long.
    fn skip_line(&mut self) -> Result<(), ImportError> {
        loop {
            let available = self.input.fill_buf()?;
            let (used, is_end) = match memchr::memchr(b'\n', available) {
                Some(end) => (end + 1, true),
                None => (available.len(), available.is_empty()),
            };
            self.input.consume(used);
            self.done += used as u64;
            if is_end {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<Option<Record>, ImportError> {
        if !self.advance()? {
            return Ok(None);
        }
        if self.buffer.len() as u64 == LONGEST && self.buffer.last() != Some(&b'\n') {
            self.skip_line()?;
            return Ok(Some(Record::Refused(format!("it is longer than {LONGEST} bytes"))));
        }
        // As at a push: what is no UTF-8 is replaced.
        let text = String::from_utf8_lossy(&self.buffer);
        Ok(Some(entry(&text).map_or_else(Record::Refused, Record::Entry)))
    }
}

impl<R: BufRead> Records for JsonLines<R> {
    fn next(&mut self) -> Option<Result<Record, ImportError>> {
        self.read().transpose()
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn total(&self) -> Option<u64> {
        self.total
    }
}

fn entry(text: &str) -> Result<ImportedEntry, String> {
    let fields: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))?;
    let (mut timestamp, mut line) = (None, None);
    let (mut labels, mut metadata) = (Vec::new(), Vec::new());
    for (name, value) in fields {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("ts" | "timestamp", Value::String(text)) => timestamp = Some(stamp_of_text(&text)?),
            ("ts" | "timestamp", Value::Number(number)) => {
                timestamp = Some(number.as_i64().ok_or_else(|| format!("`{name}` is {number}: wanted are whole nanoseconds"))?);
            }
            ("line", Value::String(text)) => line = Some(text),
            ("labels" | "stream", Value::Object(pairs)) => labels.extend(plain_pairs(pairs)?),
            ("metadata" | "structuredMetadata", Value::Object(pairs)) => metadata.extend(plain_pairs(pairs)?),
            (_, value) => labels.push((name.clone(), plain(&name, value)?)),
        }
    }
    Ok(ImportedEntry {
        timestamp: timestamp.ok_or("it has neither `ts` nor `timestamp`")?,
        labels: labels_of(labels)?,
        metadata: Pairs::from_pairs(metadata),
        line: line.ok_or("it has no `line`")?,
    })
}

fn plain_pairs(pairs: serde_json::Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    pairs.into_iter().map(|(name, value)| plain(&name, value).map(|value| (name, value))).collect()
}

fn plain(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err(format!("`{name}` is no plain value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(input: &[u8]) -> Vec<(u64, Record)> {
        let mut lines = JsonLines::new(input, Some(input.len() as u64));
        let mut all = Vec::new();
        while let Some(record) = lines.next() {
            all.push((lines.place(), record.expect("reads")));
        }
        assert_eq!(Some(lines.done()), lines.total());
        all
    }

    fn refused(input: &str) -> String {
        match records(input.as_bytes()).as_slice() {
            [(1, Record::Refused(reason))] => reason.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_an_entry_is_the_same_entry() {
        let entry = Record::Entry(ImportedEntry {
            timestamp: 1_500_000_000,
            labels: Pairs::from_pairs([("app", "a"), ("n", "1")]),
            metadata: Pairs::from_pairs([("trace", "x")]),
            line: "l\u{1f30a}\n".to_owned(),
        });
        let input = r#"
            {"ts":"1500000000","labels":{"app":"a","n":"1"},"metadata":{"trace":"x"},"line":"l🌊\n"}
            {"ts":1500000000,"stream":{"app":"a","n":1},"structuredMetadata":{"trace":"x"},"line":"l\ud83c\udf0a\n"}

            {"timestamp":"1970-01-01T00:00:01.5Z","app":"a","n":1,"gone":null,"empty":"","metadata":{"trace":"x"},"line":"l🌊\n"}"#;
        assert_eq!(records(input.as_bytes()), [(2, entry.clone()), (3, entry.clone()), (5, entry)]);
    }

    #[test]
    fn what_is_no_entry_is_told_and_the_next_is_read() {
        for (input, reason) in [
            ("x", "it is no JSON object"),
            ("[1]", "it is no JSON object"),
            (r#"{"line":"x"}"#, "it has neither `ts` nor `timestamp`"),
            (r#"{"ts":"1"}"#, "it has no `line`"),
            (r#"{"ts":1.5,"line":"x"}"#, "whole nanoseconds"),
            (r#"{"ts":"soon","line":"x"}"#, "`soon` is neither"),
            (r#"{"ts":"1","line":"x","a-b":"c"}"#, "`a-b` is no label name"),
            (r#"{"ts":"1","line":"x","a":[1]}"#, "`a` is no plain value"),
            (r#"{"ts":"1","line":7}"#, "it has no `line`"),
        ] {
            assert!(refused(input).contains(reason), "{input}: {}", refused(input));
        }
        let both = records(b"nonsense\n{\"ts\":\"1\",\"line\":\"x\"}\n");
        assert!(matches!(both.as_slice(), [(1, Record::Refused(_)), (2, Record::Entry(_))]), "{both:?}");
    }

    #[test]
    fn a_line_without_end_is_passed_over_and_takes_bounded_memory() {
        let long = std::io::Cursor::new(b"{\"line\":\"").chain(std::io::repeat(b'x').take(LONGEST + 100));
        let input = std::io::BufReader::new(long.chain(b"\"}\n{\"ts\":\"1\",\"line\":\"x\"}".as_slice()));
        let mut lines = JsonLines::new(input, None);
        assert!(matches!(lines.next(), Some(Ok(Record::Refused(_)))));
        assert!(lines.buffer.capacity() as u64 <= 2 * LONGEST);
        assert!(matches!(lines.next(), Some(Ok(Record::Entry(_)))));
        assert!(lines.next().is_none());
    }

    #[test]
    fn what_is_no_utf_8_is_replaced_as_at_a_push() {
        match records(b"{\"ts\":\"1\",\"line\":\"a\xffb\"}").as_slice() {
            [(1, Record::Entry(entry))] => assert_eq!(entry.line, "a\u{fffd}b"),
            other => panic!("{other:?}"),
        }
    }
}
