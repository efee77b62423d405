//! What is answered, before it is written as Loki's JSON.

use tailwater_logql::labels::LabelSet;

use crate::memory::OperatorMemory;
use crate::request::PageEnd;

#[derive(Debug, Clone, PartialEq)]
pub struct LogAnswer {
    /// Ordered by label text; entries inside a stream in the direction asked for.
    pub streams: Vec<LogStream>,
    /// What was passed over.
    pub warnings: Vec<String>,
    pub statistics: Statistics,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LogStream {
    /// All labels of the entries; with `categorize` only the stored stream labels.
    pub labels: LabelSet,
    pub entries: Vec<LogEntry>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    /// Stages may cut characters: not always valid UTF-8.
    pub line: Vec<u8>,
    /// Empty unless `categorize`.
    pub structured_metadata: LabelSet,
    /// Empty unless `categorize`.
    pub parsed: LabelSet,
}

/// An entry and the labels of the stream that it is shown in.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedEntry {
    /// All labels of the entry; with `categorize` only the stored stream labels.
    pub labels: LabelSet,
    pub entry: LogEntry,
}

/// A page of entries, in order over all streams. Holds the memory of the query until it is dropped.
#[derive(Debug)]
pub struct LogPage {
    pub entries: Vec<ListedEntry>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<PageEnd>,
    pub(crate) warnings: Vec<String>,
    pub statistics: Statistics,
    pub(crate) _memory: OperatorMemory,
}

/// What a log query finds, and the neighbours of each entry.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextAnswer {
    pub found: LogAnswer,
    /// One for each entry found, in order over all streams.
    pub neighbours: Vec<Neighbours>,
}

/// An entry as it is stored, between those that stand before and after it in its stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// The stored labels of the stream.
    pub labels: LabelSet,
    /// The oldest first.
    pub before: Vec<LogEntry>,
    pub entry: LogEntry,
    /// The oldest first.
    pub after: Vec<LogEntry>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MetricAnswer {
    pub value: MetricValue,
    pub warnings: Vec<String>,
    pub statistics: Statistics,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// A bare literal.
    Scalar(f64),
    /// Ordered by labels, unless the query sorts; points ascending in time.
    Series(Vec<Series>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: LabelSet,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    pub value: f64,
}

/// What a query cost, for the `stats` block.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Statistics {
    /// Bytes of line text looked at.
    pub bytes_processed: u64,
    pub lines_processed: u64,
    pub lines_after_filter: u64,
    pub entries_returned: u64,
    /// Segments opened.
    pub segments: u64,
    pub execution_seconds: f64,
}

/// `index/stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexStatistics {
    pub streams: u64,
    pub chunks: u64,
    pub bytes: u64,
    pub entries: u64,
}
