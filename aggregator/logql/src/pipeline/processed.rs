//! What became of an entry: views into it and into the buffers of its stream's pipeline.

use std::borrow::Cow;

use super::SeriesGrouping;
use super::entry::{EntryLabels, Input, Pair};
use super::names::{ERROR_DETAILS_LABEL, ERROR_LABEL, ERROR_NAME, NameId, PRESERVE_ERROR_LABEL};
use crate::ast::Grouping;
use crate::labels::{CategorizedLabels, LabelSet};

/// An entry that passed its pipeline.
#[derive(Debug)]
pub struct Processed<'a> {
    pub(super) timestamp: i64,
    pub(super) line: &'a [u8],
    pub(super) input: Input<'a>,
    pub(super) labels: &'a EntryLabels,
    pub(super) grouping: &'a SeriesGrouping,
    pub(super) strict_loki: bool,
    pub(super) value: Option<f64>,
}

/// Marks in series keys. A pair's mark is followed by its name and value, a deleted label's by its name.
const PAIR: u8 = 1;
const DELETED: u8 = 2;
const ERROR: u8 = 3;

impl Processed<'_> {
    /// Nanoseconds.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    pub fn line(&self) -> &[u8] {
        self.line
    }

    /// The unwrapped value; `None` in pipelines without `unwrap`.
    pub fn value(&self) -> Option<f64> {
        self.value
    }

    /// `__error__`, if the entry has one: set by a stage, or a label of that name.
    pub fn error(&self) -> Option<&str> {
        let label = || self.labels.get(ERROR_NAME, self.input).and_then(|value| std::str::from_utf8(value).ok());
        self.labels.error().or_else(label)
    }

    /// The error for which a metric query fails: the one its sample would carry into the series. Errors the query
    /// asks for do not count.
    pub fn failure(&self) -> Option<&str> {
        if self.labels.error().is_some() {
            return self.labels.error().filter(|_| !self.labels.is_error_preserved());
        }
        self.error().filter(|_| match self.grouping {
            SeriesGrouping::By(names) => names.contains(&ERROR_NAME),
            SeriesGrouping::Without(names) => !names.contains(&ERROR_NAME),
        })
    }

    /// Whether the labels are exactly those of the stream.
    pub fn has_stream_labels_only(&self) -> bool {
        self.labels.is_untouched()
    }

    /// All labels: of the stream, from structured metadata, parsed, and the error. Empty values stay: they tell
    /// streams apart (see [`LabelSet::without_empty`]).
    pub fn labels(&self) -> LabelSet {
        if self.has_stream_labels_only() {
            return self.labels.names.stream().clone();
        }
        let stream = self.stream_pairs().map(|(name, value)| (name, Cow::Borrowed(value)));
        let entry = self.labels.metadata().chain(self.labels.parsed()).map(|pair| self.texts(pair));
        let errors = self.error_pairs().map(|(name, value)| (name, Cow::Borrowed(value)));
        LabelSet::from_pairs(stream.chain(entry).chain(errors))
    }

    /// The same labels by where they come from.
    pub fn categorized(&self) -> CategorizedLabels {
        let is_stream_whole = self.labels.names.stream_names().all(|name| self.labels.is_stream_label_shown(name));
        let stream = if is_stream_whole { self.labels.names.stream().clone() } else { LabelSet::from_pairs(self.stream_pairs()) };
        let parsed = self.labels.parsed().map(|pair| self.texts(pair));
        let errors = self.error_pairs().map(|(name, value)| (name, Cow::Borrowed(value)));
        CategorizedLabels {
            stream,
            structured_metadata: LabelSet::from_pairs(self.labels.metadata().map(|pair| self.texts(pair))),
            parsed: LabelSet::from_pairs(parsed.chain(errors)),
        }
    }

    /// The labels that a grouping leaves, whatever the pipeline's own grouping is.
    pub fn grouped_by(&self, grouping: &Grouping) -> LabelSet {
        let labels = self.labels();
        let is_kept = |name: &str| grouping.labels.iter().any(|label| label == name) != grouping.without;
        LabelSet::from_pairs(labels.iter().filter(|(name, _)| is_kept(name)))
    }

    /// The labels of the sample's series. A sample with an error keeps all its labels, as an error is shown with them.
    pub fn series_labels(&self) -> LabelSet {
        if self.labels.error().is_some() {
            return self.labels();
        }
        match self.grouping {
            SeriesGrouping::By(names) => LabelSet::from_pairs(names.iter().filter_map(|name| {
                let value = self.group_value(*name)?;
                Some((self.labels.names.text(*name), String::from_utf8_lossy(value)))
            })),
            SeriesGrouping::Without(names) if names.is_empty() => self.labels(),
            SeriesGrouping::Without(names) => {
                let labels = self.labels();
                let is_kept = |label: &str| !names.iter().any(|name| self.labels.names.text(*name) == label);
                LabelSet::from_pairs(labels.iter().filter(|(name, _)| is_kept(name)))
            }
        }
    }

    /// Appends bytes that stand for the series of the sample, without building its labels.
    ///
    /// Equal keys of one stream pipeline mean equal [`Processed::series_labels`]; an empty key means that they come
    /// from the stream's labels alone. Different keys may still mean equal labels (another order in the line), so
    /// build the labels when a key is new, and look the series up by them.
    pub fn write_series_key(&self, key: &mut Vec<u8>) {
        if let Some(error) = self.labels.error() {
            key.push(ERROR);
            append(key, error.as_bytes());
            append(key, self.labels.error_details().as_bytes());
            self.write_entry_labels(key, &[]);
            return;
        }
        match self.grouping {
            SeriesGrouping::By(names) => {
                for name in names {
                    self.write_if_from_entry(*name, key);
                }
            }
            SeriesGrouping::Without(names) => self.write_entry_labels(key, names),
        }
    }

    /// The value of a label that is grouped by. In Loki one that a stage removed stays away, even if a later one set it again.
    fn group_value(&self, name: NameId) -> Option<&[u8]> {
        let is_gone = self.strict_loki && self.labels.is_deleted(name);
        self.labels.find(name, self.input).filter(|_| !is_gone)
    }

    fn write_if_from_entry(&self, name: NameId, key: &mut Vec<u8>) {
        if !self.labels.is_stream_label_shown(name) || self.labels.is_metadata(name) {
            match self.group_value(name) {
                Some(value) => self.write_pair(name, value, key),
                None => self.write_deleted(name, key),
            }
        }
    }

    fn write_entry_labels(&self, key: &mut Vec<u8>, except: &[NameId]) {
        let pairs = self.labels.metadata().chain(self.labels.parsed());
        for pair in pairs.filter(|pair| !except.contains(&pair.name)) {
            self.write_pair(pair.name, self.labels.bytes(pair.text, self.input), key);
        }
        for name in self.labels.deleted().iter().filter(|name| !except.contains(name)) {
            self.write_deleted(*name, key);
        }
    }

    fn write_pair(&self, name: NameId, value: &[u8], key: &mut Vec<u8>) {
        key.push(PAIR);
        append(key, self.labels.names.text(name).as_bytes());
        append(key, value);
    }

    fn write_deleted(&self, name: NameId, key: &mut Vec<u8>) {
        key.push(DELETED);
        append(key, self.labels.names.text(name).as_bytes());
    }

    fn stream_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.labels.names.stream_names().zip(self.labels.names.stream().iter());
        names.filter(|(name, _)| self.labels.is_stream_label_shown(*name)).map(|(_, pair)| pair)
    }

    fn error_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let error = self.labels.error().map(|error| (ERROR_LABEL, error));
        let details = Some(self.labels.error_details()).filter(|details| !details.is_empty());
        let preserved = self.labels.is_error_preserved().then_some((PRESERVE_ERROR_LABEL, "true"));
        error.into_iter().chain(details.map(|details| (ERROR_DETAILS_LABEL, details))).chain(preserved)
    }

    fn texts(&self, pair: &Pair) -> (&str, Cow<'_, str>) {
        let value = self.labels.bytes(pair.text, self.input);
        (self.labels.names.text(pair.name), String::from_utf8_lossy(value))
    }
}

/// A length and the bytes.
fn append(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    key.extend_from_slice(bytes);
}
