//! What the grammar cannot say: which arguments, groupings and patterns are allowed.
//!
//! Three moments, as clients see them:
//! * while parsing, at once: regular expressions of matchers and of `regexp`, patterns of `pattern`;
//! * after parsing ([`crate::parse`] does it): selectors, parameters, groupings, operands, label names;
//! * when stages are built ([`check_stages`]): line filters, addresses, `label_format` targets, and whatever
//!   else the stage runtime finds. An instant query for logs is refused before this, so it is a step of its own.

mod names;
mod pattern;
mod stages;

pub(crate) use names::check_names;
pub(crate) use pattern::check_pattern_parser;
pub use pattern::{PatternError, PatternPart, parse_pattern};
pub use stages::{StageCheck, check_stages, stage_text};

use crate::ast::{Grouping, MatchOp, Matcher, MetricExpr, RangeAggregation, RangeOp, Selector, VectorOp};
use crate::error::ParseError;
use crate::literal::parse_go_float;
use crate::regex_dialect::{self, Anchoring, ClassNames};

/// The text for selectors that could match every stream.
pub const EMPTY_COMPATIBLE: &str = "queries require at least one regexp or equality matcher that does not have an \
     empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";

/// Some matcher must not match the empty string, or the selector could mean every stream.
pub fn check_selector(selector: &Selector) -> Result<(), ParseError> {
    for matcher in &selector.matchers {
        if !matches_empty(matcher)? {
            return Ok(());
        }
    }
    Err(ParseError::semantic(EMPTY_COMPATIBLE))
}

fn matches_empty(matcher: &Matcher) -> Result<bool, ParseError> {
    let negated = matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex);
    let matches = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => matcher.value.is_empty(),
        MatchOp::Regex | MatchOp::NotRegex => regex_dialect::translate_anchored(&matcher.value, Anchoring::Matcher)
            .map_err(|error| ParseError::semantic(error.to_string()))?
            .matches_empty(),
    };
    Ok(matches != negated)
}

/// A function over series is refused for a bare literal, in the words for selectors.
pub(crate) fn require_series(inner: Box<MetricExpr>) -> Result<Box<MetricExpr>, ParseError> {
    if matches!(*inner, MetricExpr::Literal(_)) {
        return Err(ParseError::semantic(EMPTY_COMPATIBLE));
    }
    Ok(inner)
}

/// Only `quantile_over_time` takes a number, and needs it.
pub(crate) fn range_parameter(op: RangeOp, text: Option<&str>) -> Result<Option<f64>, ParseError> {
    let name = op.name();
    match text {
        Some(text) if op == RangeOp::QuantileOverTime => match parse_go_float(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(ParseError::semantic(format!("invalid parameter for operation {name}: {error}"))),
        },
        Some(text) => Err(ParseError::semantic(format!("parameter {text} not supported for operation {name}"))),
        None if op == RangeOp::QuantileOverTime => Err(ParseError::semantic(format!("parameter required for operation {name}"))),
        None => Ok(None),
    }
}

pub(crate) fn check_range_aggregation(aggregation: &RangeAggregation) -> Result<(), ParseError> {
    let op = aggregation.op;
    let name = op.name();
    if aggregation.grouping.is_some() && !takes_grouping(op) {
        return Err(ParseError::semantic(format!("grouping not allowed for {name} aggregation")));
    }
    match (unwrap_rule(op), aggregation.range.unwrap.is_some()) {
        (UnwrapRule::Required, false) => {
            return Err(ParseError::semantic(format!("invalid aggregation {name} without unwrap")));
        }
        (UnwrapRule::Forbidden, true) => {
            return Err(ParseError::semantic(format!("invalid aggregation {name} with unwrap")));
        }
        _ => {}
    }
    check_selector(&aggregation.range.log.selector)
}

fn takes_grouping(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::AvgOverTime
            | RangeOp::MinOverTime
            | RangeOp::MaxOverTime
            | RangeOp::StddevOverTime
            | RangeOp::StdvarOverTime
            | RangeOp::QuantileOverTime
            | RangeOp::FirstOverTime
            | RangeOp::LastOverTime
    )
}

enum UnwrapRule {
    Required,
    Forbidden,
    Optional,
}

fn unwrap_rule(op: RangeOp) -> UnwrapRule {
    match op {
        RangeOp::Rate | RangeOp::AbsentOverTime => UnwrapRule::Optional,
        RangeOp::CountOverTime | RangeOp::BytesRate | RangeOp::BytesOverTime => UnwrapRule::Forbidden,
        RangeOp::RateCounter
        | RangeOp::SumOverTime
        | RangeOp::AvgOverTime
        | RangeOp::MinOverTime
        | RangeOp::MaxOverTime
        | RangeOp::StdvarOverTime
        | RangeOp::StddevOverTime
        | RangeOp::QuantileOverTime
        | RangeOp::FirstOverTime
        | RangeOp::LastOverTime => UnwrapRule::Required,
    }
}

/// `topk`, `bottomk` and `approx_topk` need an integer of at least 1; the others take none.
pub(crate) fn vector_parameter(op: VectorOp, text: Option<&str>) -> Result<Option<i64>, ParseError> {
    let name = op.name();
    let takes_one = matches!(op, VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk);
    let Some(text) = text else {
        if takes_one {
            return Err(ParseError::semantic(format!("parameter required for operation {name}")));
        }
        return Ok(None);
    };
    if !takes_one {
        return Err(ParseError::semantic(format!("unsupported parameter for operation {name}({text},")));
    }
    match text.parse::<i64>() {
        Ok(count) if count > 0 => Ok(Some(count)),
        Ok(_) => Err(ParseError::semantic(format!("invalid parameter (must be greater than 0) {name}({text}"))),
        Err(_) => Err(ParseError::semantic(format!("invalid parameter {name}({text},"))),
    }
}

pub(crate) fn check_vector_grouping(op: VectorOp, grouping: Option<&Grouping>) -> Result<(), ParseError> {
    let Some(grouping) = grouping else { return Ok(()) };
    match op {
        VectorOp::Sort | VectorOp::SortDesc if !grouping.labels.is_empty() => {
            Err(ParseError::semantic("sort and sort_desc doesn't allow grouping by "))
        }
        VectorOp::ApproxTopk => Err(ParseError::semantic(format!("grouping not allowed for {} aggregation", op.name()))),
        _ => Ok(()),
    }
}

pub(crate) fn check_label_replace_regex(regex: &str) -> Result<(), ParseError> {
    regex_dialect::translate_anchored(regex, Anchoring::Full)
        .map(|_| ())
        .map_err(|error| ParseError::semantic(format!("invalid regex in label_replace: {error}")))
}

/// `| regexp` needs named groups, each name once. Names beginning with a digit are sanitised later.
pub(crate) fn check_regexp_parser(pattern: &str) -> Result<(), ParseError> {
    let invalid = |reason: String| ParseError::semantic(format!("invalid regexp parser: {reason}"));
    let translated = regex_dialect::translate_with(pattern, ClassNames::Loose).map_err(|error| invalid(error.to_string()))?;
    let mut seen: Vec<&str> = Vec::new();
    for name in translated.group_names().iter().flatten() {
        if seen.contains(&name.as_str()) {
            return Err(invalid(format!("duplicate extracted label name '{name}'")));
        }
        seen.push(name);
    }
    if seen.is_empty() {
        return Err(invalid("at least one named capture must be supplied".to_owned()));
    }
    Ok(())
}
