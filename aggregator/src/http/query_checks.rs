//! What the limits of a tenant say of a query, and of a question about streams, before anything is read. Pure.

use tailwater_engine::request::TimeRange;
use tailwater_logql::ast::{LineFilter, LineFilterArg, LineFilterOp, LogExpr, LogRange, MetricExpr, Selector, Stage, VectorOp};

use crate::config::span::Span;
use crate::http::error::ApiError;
use crate::http::pieces;
use crate::http::range::{Bounds, ParameterError};
use crate::limits::Limits;

/// What is left of a range of a question about streams, which is bound as queries are; `None` if nothing.
pub(crate) fn catalogue_bounds(bounds: Bounds, limits: &Limits, now: i64) -> Result<Option<TimeRange>, ParameterError> {
    bounds.limited(0, limits.max_query_length)?;
    let visible = visible(bounds, limits.max_query_lookback, now);
    Ok(visible.map(|Bounds { start, end }| TimeRange { start, end }))
}

/// What is left of a range that may look back only so far (0: without end); `None` if nothing.
pub(crate) fn visible(bounds: Bounds, lookback: Span, now: i64) -> Option<Bounds> {
    if lookback.is_zero() {
        return Some(bounds);
    }
    let oldest = now.saturating_sub(lookback.nanoseconds());
    (bounds.end >= oldest).then_some(Bounds { start: bounds.start.max(oldest), end: bounds.end })
}

pub(crate) fn check_entries(limit: u32, limits: &Limits) -> Result<(), ParameterError> {
    let allowed = limits.max_entries_limit_per_query;
    if allowed > 0 && limit as usize > allowed { Err(ParameterError::TooManyEntries { limit, allowed }) } else { Ok(()) }
}

/// The same of a query, which may have to name certain labels.
pub(crate) fn check_query_selector(selector: &Selector, limits: &Limits) -> Result<(), ParameterError> {
    check_selector(selector, limits)?;
    let is_named = |label: &&String| selector.matchers.iter().any(|matcher| matcher.name == **label);
    let missing: Vec<String> = limits.required_labels.iter().filter(|label| !is_named(label)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let present = selector.matchers.iter().map(|matcher| matcher.name.clone()).collect();
    Err(ParameterError::MissingMatchers { missing, present })
}

pub(crate) fn check_selector(selector: &Selector, limits: &Limits) -> Result<(), ParameterError> {
    let (count, limit) = (selector.matchers.len(), limits.max_streams_matchers_per_query);
    if limit > 0 && count > limit { Err(ParameterError::TooManyMatchers { count, limit }) } else { Ok(()) }
}

pub(crate) fn check_metric(metric: &MetricExpr, bounds: Bounds, limits: &Limits) -> Result<(), ParameterError> {
    check_ranges(metric, bounds, limits, i64::MAX)
}

/// The same at one time: there Loki reads the range of functions that allow it in pieces, and each piece is held against the limits.
pub(crate) fn check_instant_metric(metric: &MetricExpr, bounds: Bounds, limits: &Limits) -> Result<(), ParameterError> {
    let most = if pieces::is_read_in_pieces(metric) { pieces::PIECE } else { i64::MAX };
    check_ranges(metric, bounds, limits, most)
}

fn check_ranges(metric: &MetricExpr, bounds: Bounds, limits: &Limits, most: i64) -> Result<(), ParameterError> {
    let mut ranges = Vec::new();
    log_ranges(metric, &mut ranges);
    let longest = ranges.iter().map(|range| range.range).max().unwrap_or(0).min(most);
    bounds.limited(longest, limits.max_query_length)?;
    let limit = limits.max_query_range;
    if !limit.is_zero() && longest > limit.nanoseconds() {
        return Err(ParameterError::RangeTooLong { range: Span::milliseconds(longest / 1_000_000), limit });
    }
    ranges.iter().try_for_each(|range| check_query_selector(&range.log.selector, limits))
}

pub(crate) fn check_switched_off(metric: &MetricExpr) -> Result<(), ApiError> {
    match metric {
        MetricExpr::Variants { .. } => Err(ApiError::VariantsDisabled),
        MetricExpr::Vector(aggregation) if aggregation.op == VectorOp::ApproxTopk => Err(ApiError::ApproximateTopkDisabled),
        MetricExpr::Vector(aggregation) => check_switched_off(&aggregation.inner),
        MetricExpr::Binary(operation) => {
            check_switched_off(&operation.left)?;
            check_switched_off(&operation.right)
        }
        MetricExpr::LabelReplace(replace) => check_switched_off(&replace.inner),
        MetricExpr::Range(_) | MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => Ok(()),
    }
}

/// Whether a log query may read much more than it shows. Without filters its entries are the first that are read, and what it may read is
/// not limited.
pub(crate) fn has_filter(expr: &LogExpr) -> bool {
    let keeps_all = |filter: &LineFilter| {
        matches!(filter.op, LineFilterOp::Contains | LineFilterOp::Regex)
            && filter.alternatives.first().is_some_and(|first| matches!(first, LineFilterArg::Text(text) if text.is_empty()))
    };
    expr.stages.iter().any(|stage| match stage {
        Stage::LabelFilter(_) => true,
        Stage::LineFilter(filter) => !keeps_all(filter),
        _ => false,
    })
}

/// Every `{…}[range]` of a metric.
pub(crate) fn log_ranges<'a>(metric: &'a MetricExpr, found: &mut Vec<&'a LogRange>) {
    match metric {
        MetricExpr::Range(aggregation) => found.push(&aggregation.range),
        MetricExpr::Vector(aggregation) => log_ranges(&aggregation.inner, found),
        MetricExpr::Binary(operation) => {
            log_ranges(&operation.left, found);
            log_ranges(&operation.right, found);
        }
        MetricExpr::LabelReplace(replace) => log_ranges(&replace.inner, found),
        MetricExpr::Variants { of, .. } => found.push(of),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_logql::ast::Expr;

    const HOUR: i64 = 3_600_000_000_000;

    fn metric(text: &str) -> MetricExpr {
        match tailwater_logql::parse(text).expect(text) {
            Expr::Metric(metric) => metric,
            Expr::Log(_) => panic!("{text} is a log query"),
        }
    }

    #[test]
    fn metric_queries_are_limited_by_all_they_read() {
        let week = Limits { max_query_length: Span::hours(168), max_query_range: Span::hours(168), ..Limits::default() };
        let hour = Bounds { start: 0, end: HOUR };
        let text = |query: &str, limits: &Limits| check_metric(&metric(query), hour, limits).map_err(|error| error.to_string());
        assert_eq!(
            text(r#"sum(count_over_time({app="x"}[8d]))"#, &week),
            Err("the query time range exceeds the limit (query length: 193h0m0s, limit: 1w)".to_owned())
        );
        assert_eq!(text(r#"1 + sum(rate({app="x"}[1h]))"#, &week), Ok(()));
        let instant =
            |query: &str| check_instant_metric(&metric(query), Bounds { start: 0, end: 0 }, &week).map_err(|error| error.to_string());
        assert_eq!(instant(r#"sum(count_over_time({app="x"}[8d]))"#), Ok(()), "read in pieces");
        assert_eq!(
            instant(r#"avg_over_time({app="x"} | unwrap y [8d])"#),
            Err("the query time range exceeds the limit (query length: 192h0m0s, limit: 1w)".to_owned())
        );
        let narrow = Limits { max_query_range: Span::hours(1), max_streams_matchers_per_query: 1, ..Limits::default() };
        assert_eq!(text(r#"rate({app="x"}[2h])"#, &narrow), Err("[interval] value exceeds limit: [2h] > [1h]".to_owned()));
        assert_eq!(
            text(r#"rate({app="x"}[1h]) / rate({a="b",c="d"}[1h])"#, &narrow),
            Err("max streams matchers per query exceeded, matchers-count > limit (2 > 1)".to_owned())
        );
    }

    #[test]
    fn what_loki_has_switched_off_is_found_anywhere() {
        let refusal = |query: &str| check_switched_off(&metric(query)).map_err(|error| error.to_string());
        let disabled = Err("approx_topk is not enabled. See -limits.shard_aggregations".to_owned());
        assert_eq!(refusal(r#"1 + approx_topk(2, rate({a="b"}[1m]))"#), disabled);
        let disabled = Err("multi variant queries are disabled for this instance".to_owned());
        assert_eq!(refusal(r#"variants(rate({a="b"}[1m])) of ({a="b"}[1m])"#), disabled);
        assert_eq!(refusal(r#"topk(2, rate({a="b"}[1m]))"#), Ok(()));
    }

    #[test]
    fn queries_without_filters_read_what_they_show() {
        let filters = |text: &str| match tailwater_logql::parse(text).expect(text) {
            Expr::Log(expr) => has_filter(&expr),
            Expr::Metric(_) => panic!("{text} is a metric query"),
        };
        for query in ["{a=\"b\"}", "{a=\"b\"} | json | drop x", "{a=\"b\"} |= \"\" |~ \"\"", "{a=\"b\"} | line_format \"x\""] {
            assert!(!filters(query), "{query}");
        }
        for query in ["{a=\"b\"} |= \"x\"", "{a=\"b\"} | json | x=\"\"", "{a=\"b\"} != \"\"", "{a=\"b\"} |> \"\""] {
            assert!(filters(query), "{query}");
        }
    }

    #[test]
    fn a_lookback_cuts_what_is_older() {
        let bounds = Bounds { start: 0, end: 10 * HOUR };
        assert_eq!(visible(bounds, Span::ZERO, 100 * HOUR), Some(bounds));
        assert_eq!(visible(bounds, Span::hours(5), 11 * HOUR), Some(Bounds { start: 6 * HOUR, end: 10 * HOUR }));
        assert_eq!(visible(bounds, Span::hours(5), 16 * HOUR), None);
    }
}
