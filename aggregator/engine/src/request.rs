//! What can be asked. Times are nanoseconds since the epoch.

use std::time::Duration;

use tailwater_logql::ast::{LogExpr, MetricExpr};

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
