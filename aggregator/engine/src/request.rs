//! What can be asked. Times are nanoseconds since the epoch.

use std::time::Duration;

use tailwater_logql::ast::{LogExpr, MetricExpr, Selector};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// Entries with `start <= timestamp < end`.
#[derive(Debug, Clone)]
pub struct LogRequest {
    pub expr: LogExpr,
    pub start: i64,
    pub end: i64,
    pub limit: usize,
    pub direction: Direction,
    /// 0, or the least distance in nanoseconds between two entries returned of one stream.
    pub interval: i64,
    /// Keep stored labels, structured metadata and parsed labels apart (`categorize-labels`).
    pub categorize: bool,
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
