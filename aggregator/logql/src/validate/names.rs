//! Label names with letters outside of ASCII.
//!
//! The lexer takes them, but a matcher prints such a name in quotes, which the grammar does not know, and every
//! query travels as its printed text at least once. So they are refused with the error of that printed text.

use crate::ast::{Expr, LabelFilter, LogRange, Matcher, MetricExpr, NameOrMatcher, Selector, Stage};
use crate::error::{ParseError, Position};
use crate::printer::{format_compact, needs_quotes};

pub(crate) fn check_names(expression: &Expr) -> Result<(), ParseError> {
    let names_are_plain = match expression {
        Expr::Log(log) => log_is_plain(&log.selector, &log.stages),
        Expr::Metric(metric) => metric_is_plain(metric),
    };
    if names_are_plain {
        return Ok(());
    }
    let printed = format_compact(expression);
    match crate::parser::syntax_error(&printed) {
        Some(error) => Err(error),
        // Matchers print one way only, so this is never reached by a query that parsed.
        None => Err(ParseError::at(Position { line: 1, column: 1 }, "syntax error: unexpected STRING")),
    }
}

fn metric_is_plain(metric: &MetricExpr) -> bool {
    match metric {
        MetricExpr::Range(aggregation) => range_is_plain(&aggregation.range),
        MetricExpr::Vector(aggregation) => metric_is_plain(&aggregation.inner),
        MetricExpr::Binary(operation) => metric_is_plain(&operation.left) && metric_is_plain(&operation.right),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => true,
        MetricExpr::LabelReplace(replace) => metric_is_plain(&replace.inner),
        MetricExpr::Variants { metrics, of } => metrics.iter().all(metric_is_plain) && range_is_plain(of),
    }
}

fn range_is_plain(range: &LogRange) -> bool {
    let post_filters = range.unwrap.iter().flat_map(|unwrap| &unwrap.post_filters);
    log_is_plain(&range.log.selector, &range.log.stages) && post_filters.into_iter().all(filter_is_plain)
}

fn log_is_plain(selector: &Selector, stages: &[Stage]) -> bool {
    selector.matchers.iter().all(matcher_is_plain) && stages.iter().all(stage_is_plain)
}

fn stage_is_plain(stage: &Stage) -> bool {
    match stage {
        Stage::LabelFilter(filter) => filter_is_plain(filter),
        Stage::Drop { targets } | Stage::Keep { targets } => targets.iter().all(|target| match target {
            NameOrMatcher::Name(_) => true,
            NameOrMatcher::Matcher(matcher) => matcher_is_plain(matcher),
        }),
        _ => true,
    }
}

fn filter_is_plain(filter: &LabelFilter) -> bool {
    match filter {
        LabelFilter::String(matcher) => matcher_is_plain(matcher),
        LabelFilter::Compare { .. } | LabelFilter::Ip { .. } => true,
        LabelFilter::And { left, right } | LabelFilter::Or { left, right } => filter_is_plain(left) && filter_is_plain(right),
    }
}

fn matcher_is_plain(matcher: &Matcher) -> bool {
    !needs_quotes(&matcher.name)
}
