//! What can be asked. Times are nanoseconds since the epoch.

use std::time::Duration;

use tailwater_logql::ast::{LogExpr, MetricExpr, Selector};
use tailwater_storage::entry::TenantId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// How entries of one stream and stamp stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EqualStamps {
    /// As the reference shows them: in the order in which they came in answers of few entries, else shuffled, the same way each time.
    #[default]
    AsLoki,
    /// In the order in which they came (backward: the last first).
    InArrivalOrder,
}

/// Entries with `start <= timestamp < end`.
#[derive(Debug, Clone)]
pub struct LogRequest {
    pub expr: LogExpr,
    pub start: i64,
    pub end: i64,
    pub limit: usize,
    pub direction: Direction,
    /// 0, or the least distance in nanoseconds between two entries returned.
    pub interval: i64,
    /// Keep stored labels, structured metadata and parsed labels apart (`categorize-labels`).
    pub categorize: bool,
    pub equal_stamps: EqualStamps,
}

impl LogRequest {
    /// The newest entries of `[start, end)`, with stored labels, structured metadata and parsed labels kept apart.
    pub fn newest(expr: LogExpr, start: i64, end: i64, limit: usize) -> Self {
        let (direction, equal_stamps) = (Direction::Backward, EqualStamps::InArrivalOrder);
        Self { expr, start, end, limit, direction, interval: 0, categorize: true, equal_stamps }
    }
}

/// One page of the entries of a log query, in one order over all streams: by stamp, by stream, then as they came.
///
/// A page goes on beyond `limit` to the last entry of its last stream and stamp, so that pages put together are the whole answer whatever is
/// pushed or compacted between them. An interval has no meaning here.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub log: LogRequest,
    /// Where the page before ended; `None`: the first page.
    pub after: Option<PageEnd>,
}

/// Where a page ends: behind all entries of a stream and stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEnd {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    /// The stream's place in the order, a hash of its labels.
    pub stream_hash: u64,
    /// Its tenant, where the query is over several.
    pub tenant: Option<TenantId>,
}

/// Entries of a log query, each with its neighbours in the stream, whatever the query's stages make of these.
#[derive(Debug, Clone)]
pub struct ContextRequest {
    pub log: LogRequest,
    /// Entries shown before each found one …
    pub before: usize,
    /// … and after it.
    pub after: usize,
    /// How far before `start` and after `end` neighbours are looked for, in nanoseconds.
    pub reach: i64,
}

/// Points at `start`, `start + step`, … up to `end`. An instant query has `start == end`.
///
/// The caller has aligned `start` and `end` to the step already.
#[derive(Debug, Clone)]
pub struct MetricRequest {
    pub expr: MetricExpr,
    pub start: i64,
    pub end: i64,
    /// Nanoseconds, > 0 (ignored for an instant query).
    pub step: i64,
}

/// Bytes of lines with `start <= timestamp <= end`, by groups of streams.
#[derive(Debug, Clone)]
pub struct VolumeRequest {
    /// Without matchers: every stream.
    pub selector: Selector,
    pub start: i64,
    pub end: i64,
    /// Nanoseconds, > 0: a figure for each stretch between two multiples of it. `None`: one figure.
    pub step: Option<i64>,
    pub grouping: VolumeGrouping,
    /// Groups that are told: those of most bytes.
    pub limit: usize,
    /// More groups than that are refused.
    pub max_groups: usize,
}

/// What is one figure. Streams that lack one of the targets do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeGrouping {
    /// Streams with equal values of the targets, or if there are none, of the labels that the selector names.
    Series { targets: Vec<String> },
    /// Streams that have a label, for each label; of the targets, if there are any.
    LabelNames { targets: Vec<String> },
}

/// Closed interval `[start, end]`, for questions about streams rather than entries.
#[derive(Debug, Clone, Copy)]
pub struct TimeRange {
    pub start: i64,
    pub end: i64,
}

/// Bounds of one query, from the tenant's limits.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Distinct series of an answer.
    pub max_series: usize,
    /// More series than that: the first ones with a warning, instead of an error.
    pub partial_series: bool,
    pub timeout: Duration,
    /// Behave as Loki even where its own users call it a bug.
    pub strict_loki: bool,
}
