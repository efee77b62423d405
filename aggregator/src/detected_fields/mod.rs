//! Fields that lines have: their metadata, what the query's own stages extracted, and what the line says by itself (JSON, else logfmt).
//!
//! Pure, over the entries of a log query that keeps labels apart; bounded by these entries and by the number of fields asked for.
//! Newer entries come first; where entries disagree on a field's type or path, the last one counts.

mod kind;

use std::collections::{BTreeMap, BTreeSet};

use tailwater_engine::answer::{LogEntry, LogStream};
use tailwater_logql::literal::{format_bytes_size, parse_bytes_size};
use tailwater_logql::pipeline::{FieldParser, FieldReader, LineFields, StreamFields};

pub use crate::detected_fields::kind::FieldKind;

/// What is known of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedField {
    pub kind: FieldKind,
    /// How many values it has.
    pub cardinality: usize,
    /// The parsers that find it; none for what is metadata only.
    pub parsers: Vec<FieldParser>,
    /// The keys that lead to it in a JSON line.
    pub json_path: Vec<String>,
}

/// The fields of some entries by name, at most so many: those met first.
pub fn detect(streams: &[LogStream], most: usize) -> BTreeMap<String, DetectedField> {
    let mut fields = Fields { most, by_name: BTreeMap::new() };
    each_entry(streams, |entry, line| fields.add(entry, line));
    fields.by_name.into_iter().map(|(name, found)| (name, found.told())).collect()
}

/// The values of a field, sorted. Once there are so many, no further entry is looked at. Sizes that lines state are written so that they can
/// be used in a query.
pub fn values(streams: &[LogStream], name: &str, most: usize) -> BTreeSet<String> {
    let mut values: BTreeSet<String> = BTreeSet::new();
    each_entry(streams, |entry, line| {
        if values.len() < most {
            values.extend(entry.structured_metadata.get(name).map(str::to_owned));
            values.extend(values_of_line(entry, line, name).map(shown));
        }
    });
    values.into_iter().take(most).collect()
}

fn each_entry(streams: &[LogStream], mut look: impl FnMut(&LogEntry, &LineFields)) {
    let reader = FieldReader::default();
    for stream in streams {
        let mut lines: StreamFields<'_> = reader.for_stream(&stream.labels);
        for entry in &stream.entries {
            look(entry, &lines.read(&entry.line));
        }
    }
}

fn is_error(name: &str) -> bool {
    matches!(name, "__error__" | "__error_details__" | "__preserve_error__")
}

/// What the query's stages and the line say of a field, each value once.
fn values_of_line<'e>(entry: &'e LogEntry, line: &'e LineFields, name: &str) -> impl Iterator<Item = &'e str> + use<'e> {
    let of_query = entry.parsed.get(name).filter(|_| !is_error(name));
    let of_line = line.labels.get(name).filter(|value| of_query != Some(value));
    of_query.into_iter().chain(of_line)
}

/// A size with a unit as filters print it. As in Loki, that is every value which can be read as one: `5m` too, which may have been minutes.
fn shown(value: &str) -> String {
    let has_unit = value.ends_with(|end: char| end.is_ascii_alphabetic());
    match parse_bytes_size(value) {
        Ok(bytes) if has_unit => format_bytes_size(bytes),
        _ => value.to_owned(),
    }
}

#[derive(Debug, Default)]
struct Found {
    kind: Option<FieldKind>,
    values: BTreeSet<String>,
    parsers: Vec<FieldParser>,
    json_path: Vec<String>,
}

impl Found {
    fn take<'v>(&mut self, values: impl Iterator<Item = &'v str>) {
        for (place, value) in values.enumerate() {
            if place == 0 {
                self.kind = Some(FieldKind::of(value));
            }
            if !self.values.contains(value) {
                self.values.insert(value.to_owned());
            }
        }
    }

    fn told(self) -> DetectedField {
        let kind = self.kind.unwrap_or(FieldKind::String);
        DetectedField { kind, cardinality: self.values.len(), parsers: self.parsers, json_path: self.json_path }
    }
}

struct Fields {
    most: usize,
    by_name: BTreeMap<String, Found>,
}

impl Fields {
    fn field(&mut self, name: &str) -> Option<&mut Found> {
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= self.most {
                return None;
            }
            self.by_name.insert(name.to_owned(), Found::default());
        }
        self.by_name.get_mut(name)
    }

    fn add(&mut self, entry: &LogEntry, line: &LineFields) {
        for (name, value) in entry.structured_metadata.iter() {
            if let Some(field) = self.field(name) {
                field.take(std::iter::once(value));
            }
        }
        let names: BTreeSet<&str> = entry.parsed.iter().chain(line.labels.iter()).map(|(name, _)| name).collect();
        for name in names.into_iter().filter(|name| !is_error(name)) {
            let Some(field) = self.field(name) else { continue };
            field.take(values_of_line(entry, line, name));
            if !field.parsers.contains(&line.parser) {
                field.parsers.push(line.parser);
            }
            if let Some(path) = line.json_path(name) {
                field.json_path = path.to_vec();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_logql::labels::LabelSet;

    fn entry(line: &str, metadata: &[(&str, &str)], parsed: &[(&str, &str)]) -> LogEntry {
        let labels = |pairs: &[(&str, &str)]| LabelSet::from_pairs(pairs.iter().copied());
        LogEntry { timestamp: 0, line: line.as_bytes().to_vec(), structured_metadata: labels(metadata), parsed: labels(parsed) }
    }

    fn streams(entries: Vec<LogEntry>) -> Vec<LogStream> {
        vec![LogStream { labels: LabelSet::from_pairs([("app", "a")]), entries }]
    }

    fn streams_of(line: &str) -> Vec<LogStream> {
        streams(vec![entry(line, &[], &[])])
    }

    fn told(streams: &[LogStream], most: usize) -> Vec<String> {
        let text = |(name, field): (String, DetectedField)| {
            let parsers: Vec<&str> = field.parsers.iter().map(|parser| parser.name()).collect();
            format!("{name} {} {} [{}] {}", field.kind.name(), field.cardinality, parsers.join(","), field.json_path.join("."))
        };
        detect(streams, most).into_iter().map(text).collect()
    }

    #[test]
    fn metadata_and_both_parsers_give_fields() {
        let streams = streams(vec![
            entry("app=x id=t1 took=5ms", &[("id", "m1"), ("level", "info")], &[]),
            entry(r#"{"id":"7","n":{"took":"1KB"},"n.took":3}"#, &[("id", "m1")], &[("__error__", "JSONParserErr"), ("n_took", "1KB")]),
            entry("no fields here", &[], &[("own", "true")]),
        ]);
        assert_eq!(
            told(&streams, 100),
            [
                "app_extracted string 1 [logfmt] ",
                "id int 3 [logfmt,json] id",
                "level string 1 [] ",
                "n_took bytes 1 [json] n.took",
                "own boolean 1 [logfmt] ",
                "took duration 1 [logfmt] ",
            ]
        );
        assert_eq!(told(&streams, 2), ["id int 3 [logfmt,json] id", "level string 1 [] "], "the fields met first");
    }

    #[test]
    fn values_can_be_used_in_a_filter() {
        let streams = streams(vec![
            entry("size=1.5KB n=5", &[], &[]),
            entry("size=12B", &[("size", "2000kB")], &[]),
            entry("size=x n=1,000", &[], &[]),
        ]);
        let of = |name: &str, most| values(&streams, name, most).into_iter().collect::<Vec<_>>();
        assert_eq!(of("size", 10), ["1.5kB", "12B", "2000kB", "x"], "metadata stay as they are");
        assert_eq!(of("n", 10), ["1,000", "5"], "a number without unit is no size");
        assert_eq!(of("size", 1), ["1.5kB"]);
        assert!(of("app", 10).is_empty() && of("__error__", 10).is_empty());
        let stated = |value: &str| values(&streams_of(&format!("v={value}")), "v", 10).into_iter().collect::<String>();
        for (value, told) in
            [("5m", "5.0MB"), ("90s", "90s"), ("1h30m", "1h30m"), ("5ms", "5ms"), ("2Ki", "2.0kB"), ("1e3", "1e3"), ("7k", "7.0kB")]
        {
            assert_eq!(stated(value), told, "{value}");
        }
    }
}
