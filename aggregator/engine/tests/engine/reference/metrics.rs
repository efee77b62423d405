//! Metric queries evaluated the plain way: at each step, over all entries.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use tailwater_logql::ast::{
    BinaryOp, BinaryOperation, GroupSide, Grouping, LabelFormatSource, LogRange, MatchOp, MetricExpr, RangeAggregation, RangeOp, Stage,
    VectorAggregation, VectorMatching, VectorOp,
};

use super::data::Record;
use super::entry::Labels;
use super::filters::regex;
use super::{needs, pipeline};

/// Why a query has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Series cannot be matched.
    Matching,
    /// An entry carries an error that was not asked for.
    Error(String),
}

/// The points of one step.
pub(crate) type Points = Result<Vec<(Labels, f64)>, Failure>;

pub(crate) fn evaluate(expr: &MetricExpr, records: &BTreeSet<Record>, time: i64) -> Points {
    match expr {
        MetricExpr::Literal(value) | MetricExpr::VectorLiteral(value) => Ok(vec![(Labels::new(), *value)]),
        MetricExpr::Range(range) => match grouped_average(range) {
            Some(quotient) => binary(&quotient, records, time),
            None => over_time(range, None, records, time),
        },
        MetricExpr::Vector(aggregation) => {
            let points = match aggregation.inner.as_ref() {
                MetricExpr::Range(range) if grouped_average(range).is_none() => over_time(range, Some(aggregation), records, time)?,
                inner => evaluate(inner, records, time)?,
            };
            Ok(aggregate(aggregation, points))
        }
        MetricExpr::Binary(operation) => binary(operation, records, time),
        MetricExpr::LabelReplace(replace) => {
            let regex = regex(&format!("^(?:{})$", replace.regex));
            let mut points = evaluate(&replace.inner, records, time)?;
            for (labels, _) in &mut points {
                let source = labels.get(&replace.source).cloned().unwrap_or_default();
                let Some(captures) = regex.captures(&source) else { continue };
                let mut expanded = String::new();
                captures.expand(&replace.replacement, &mut expanded);
                labels.insert(replace.destination.clone(), expanded);
                labels.retain(|_, value| !value.is_empty());
            }
            Ok(points)
        }
        MetricExpr::Variants { metrics: variants, of } => {
            let mut all = Vec::new();
            for (number, variant) in variants.iter().enumerate() {
                let points = evaluate(&over_shared(variant, of), records, time)?;
                let numbered = |mut labels: Labels| {
                    labels.insert("__variant__".to_owned(), number.to_string());
                    labels
                };
                all.extend(points.into_iter().map(|(labels, value)| (numbered(labels), value)));
            }
            Ok(all)
        }
    }
}

/// A variant over the range that all share; it keeps its own `unwrap` where that has none.
fn over_shared(variant: &MetricExpr, of: &LogRange) -> MetricExpr {
    match variant {
        MetricExpr::Range(range) => {
            let unwrap = of.unwrap.clone().or_else(|| range.range.unwrap.clone());
            MetricExpr::Range(RangeAggregation { range: LogRange { unwrap, ..of.clone() }, ..range.clone() })
        }
        MetricExpr::Vector(aggregation) => {
            MetricExpr::Vector(VectorAggregation { inner: Box::new(over_shared(&aggregation.inner, of)), ..aggregation.clone() })
        }
        other => panic!("no variant: {other:?}"),
    }
}

/// An average over groups is two queries: the sum of values by group, divided by the number of entries by group, unwrapped or not. An entry fails it
/// where it fails either of them. `without ()` makes no groups.
fn grouped_average(range: &RangeAggregation) -> Option<BinaryOperation> {
    let grouping = range.grouping.clone().filter(|_| range.op == RangeOp::AvgOverTime)?;
    if grouping.without && grouping.labels.is_empty() {
        return None;
    }
    let by_group = |op, of: LogRange, grouping| {
        let inner = Box::new(MetricExpr::Range(RangeAggregation { op, parameter: None, range: of, grouping: None }));
        Box::new(MetricExpr::Vector(VectorAggregation { op: VectorOp::Sum, parameter: None, inner, grouping: Some(grouping) }))
    };
    let mut of_entries = grouping.clone();
    if grouping.without {
        of_entries.labels.extend(range.range.unwrap.iter().map(|unwrap| unwrap.label.clone()));
    }
    let sum = by_group(RangeOp::SumOverTime, range.range.clone(), grouping);
    let count = by_group(RangeOp::CountOverTime, LogRange { unwrap: None, ..range.range.clone() }, of_entries);
    Some(BinaryOperation { op: BinaryOp::Div, return_bool: false, matching: None, left: sum, right: count })
}

/// An entry that passed the stages.
struct Sample {
    labels: Labels,
    timestamp: i64,
    value: f64,
}

/// The samples of a window.
fn samples(
    range: &RangeAggregation,
    above: Option<&VectorAggregation>,
    records: &BTreeSet<Record>,
    time: i64,
) -> Result<Vec<Sample>, Failure> {
    let (stages, needs, grouping) = needs::of_range(range, above);
    let end = time - range.range.offset;
    let within = |record: &&Record| end - range.range.range < record.timestamp && record.timestamp <= end;
    let mut samples = Vec::new();
    for record in records.iter().filter(within).filter(|record| pipeline::selects(&range.range.log.selector, record)) {
        let Some(mut entry) = pipeline::run(&stages, record, &needs) else { continue };
        let value = match (&range.range.unwrap, range.op) {
            (Some(unwrap), _) => match pipeline::unwrapped(unwrap, &mut entry) {
                Some(value) => value,
                None => continue,
            },
            (_, RangeOp::BytesOverTime | RangeOp::BytesRate) => entry.line.len() as f64,
            _ => 1.0,
        };
        let mut labels = entry.labels();
        if let Some(error) = entry.error {
            if !entry.is_error_preserved() {
                return Err(Failure::Error(error.to_owned()));
            }
            // Such an entry is not grouped.
            samples.push(Sample { labels, timestamp: entry.timestamp, value });
            continue;
        }
        if let Some(unwrap) = &range.range.unwrap
            && grouping.is_none_or(|grouping| grouping.without)
        {
            labels.remove(&unwrap.label);
        }
        let labels = grouping.map_or(labels.clone(), |grouping| grouped(grouping, labels));
        samples.push(Sample { labels, timestamp: entry.timestamp, value });
    }
    Ok(samples)
}

fn over_time(range: &RangeAggregation, above: Option<&VectorAggregation>, records: &BTreeSet<Record>, time: i64) -> Points {
    let samples = samples(range, above, records, time)?;
    if range.op == RangeOp::AbsentOverTime {
        return Ok(if samples.is_empty() { vec![(labels_of_selector(range), 1.0)] } else { vec![] });
    }
    let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    for sample in samples {
        series.entry(sample.labels).or_default().push((sample.timestamp, sample.value));
    }
    // Labels without a value tell series apart; later operators do not see them where shards were joined.
    let hides_empty = needs::of_range(range, above).2.is_none_or(|grouping| grouping.without) && is_joined(range);
    let points = series.into_iter().map(|(labels, mut samples)| {
        samples.sort_by_key(|(timestamp, _)| *timestamp);
        let value = window_value(range, &samples);
        (labels.into_iter().filter(|(_, value)| !hides_empty || !value.is_empty()).collect(), value)
    });
    Ok(points.collect())
}

/// Whether the reference joins what it computed in shards by an aggregation of its own, which forgets labels without a value.
fn is_joined(range: &RangeAggregation) -> bool {
    use RangeOp::*;
    let is_sharded =
        matches!(range.op, CountOverTime | Rate | BytesOverTime | BytesRate | SumOverTime | MinOverTime | MaxOverTime | AvgOverTime);
    let merges = |stage: &Stage| match stage {
        Stage::Drop { .. } | Stage::Keep { .. } => true,
        Stage::LabelFormat { formats } => formats.iter().any(|format| matches!(format.source, LabelFormatSource::Label(_))),
        _ => false,
    };
    let is_grouped = range.grouping.as_ref().is_some_and(|grouping| !(grouping.without && grouping.labels.is_empty()));
    is_sharded && (is_grouped || range.range.log.stages.iter().any(merges))
}

/// Of the matchers that are equalities with a value; a name that is matched twice is left out.
fn labels_of_selector(range: &RangeAggregation) -> Labels {
    let matchers = &range.range.log.selector.matchers;
    let once = matchers.iter().filter(|matcher| matchers.iter().filter(|other| other.name == matcher.name).count() == 1);
    once.filter(|matcher| matcher.op == MatchOp::Equal && !matcher.value.is_empty())
        .map(|matcher| (matcher.name.clone(), matcher.value.clone()))
        .collect()
}

/// `samples` in the order of time.
fn window_value(range: &RangeAggregation, samples: &[(i64, f64)]) -> f64 {
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let (count, sum, seconds) = (values.len() as f64, values.iter().sum::<f64>(), range.range.range as f64 / 1e9);
    let variance = || values.iter().map(|value| (value - sum / count).powi(2)).sum::<f64>() / count;
    match range.op {
        RangeOp::CountOverTime => count,
        RangeOp::Rate | RangeOp::BytesRate => sum / seconds,
        RangeOp::BytesOverTime | RangeOp::SumOverTime => sum,
        RangeOp::AvgOverTime => sum / count,
        RangeOp::MinOverTime => values.iter().copied().fold(f64::NAN, f64::min),
        RangeOp::MaxOverTime => values.iter().copied().fold(f64::NAN, f64::max),
        RangeOp::StdvarOverTime => variance(),
        RangeOp::StddevOverTime => variance().sqrt(),
        RangeOp::FirstOverTime => values[0],
        RangeOp::LastOverTime => values[values.len() - 1],
        RangeOp::QuantileOverTime => quantile(range.parameter.expect("a share"), values),
        // What went down began again at zero.
        RangeOp::RateCounter => {
            let rises = values.windows(2).map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] });
            rises.sum::<f64>() / seconds
        }
        RangeOp::AbsentOverTime => panic!("has no window value"),
    }
}

/// What is no number is the least.
fn ascending(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

fn quantile(share: f64, mut values: Vec<f64>) -> f64 {
    if share > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|left, right| ascending(*left, *right));
    let rank = share * (values.len() - 1) as f64;
    let (below, weight) = (rank.floor() as usize, rank.fract());
    values[below] * (1.0 - weight) + values[(below + 1).min(values.len() - 1)] * weight
}

fn grouped(grouping: &Grouping, labels: Labels) -> Labels {
    labels.into_iter().filter(|(name, _)| grouping.labels.contains(name) != grouping.without).collect()
}

fn aggregate(aggregation: &VectorAggregation, points: Vec<(Labels, f64)>) -> Vec<(Labels, f64)> {
    let none = Grouping { without: false, labels: Vec::new() };
    let grouping = aggregation.grouping.as_ref().unwrap_or(&none);
    let mut groups: BTreeMap<Labels, Vec<(Labels, f64)>> = BTreeMap::new();
    for (labels, value) in points {
        groups.entry(grouped(grouping, labels.clone())).or_default().push((labels, value));
    }
    let limit = aggregation.parameter.map_or(usize::MAX, |parameter| parameter as usize);
    let mut out = Vec::new();
    for (group, mut members) in groups {
        let values: Vec<f64> = members.iter().map(|(_, value)| *value).collect();
        let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
        let variance = match values.as_slice() {
            [_] => 0.0,
            values => values.iter().map(|value| (value - sum / count).powi(2)).sum::<f64>() / count,
        };
        let value = match aggregation.op {
            VectorOp::Sum => sum,
            VectorOp::Avg => sum / count,
            VectorOp::Count => count,
            VectorOp::Min => values.iter().copied().fold(f64::NAN, f64::min),
            VectorOp::Max => values.iter().copied().fold(f64::NAN, f64::max),
            VectorOp::Stdvar => variance,
            VectorOp::Stddev => variance.sqrt(),
            op => {
                members.sort_by(|left, right| in_order(&left.0).cmp(&in_order(&right.0)));
                // What is no number is chosen last, from either end.
                let is_ascending = matches!(op, VectorOp::Bottomk | VectorOp::Sort);
                let rank = |value: f64| if is_ascending { -value } else { value };
                members.sort_by(|left, right| ascending(rank(right.1), rank(left.1)));
                out.extend(members.into_iter().take(limit));
                continue;
            }
        };
        // Labels without a value do not outlast a `without`.
        out.push((group.into_iter().filter(|(_, value)| !grouping.without || !value.is_empty()).collect(), value));
    }
    out
}

/// Label sets stand in the order of their names and values.
fn in_order(labels: &Labels) -> Vec<(&String, &String)> {
    labels.iter().collect()
}

fn binary(operation: &BinaryOperation, records: &BTreeSet<Record>, time: i64) -> Points {
    let (left, right) = (evaluate(&operation.left, records, time)?, evaluate(&operation.right, records, time)?);
    let value = |left: f64, right: f64, kept: f64| value(operation, left, right, kept);
    let with = |points: Vec<(Labels, f64)>, apply: &dyn Fn(f64) -> Option<f64>| -> Vec<(Labels, f64)> {
        points.into_iter().filter_map(|(labels, point)| Some((labels, apply(point)?))).collect()
    };
    match (operation.left.as_ref(), operation.right.as_ref()) {
        (MetricExpr::Literal(scalar), _) => return Ok(with(right, &|point| value(*scalar, point, point))),
        (_, MetricExpr::Literal(scalar)) => return Ok(with(left, &|point| value(point, *scalar, point))),
        _ => {}
    }
    let signature = |labels: &Labels| match &operation.matching {
        Some(VectorMatching { on, labels: names, .. }) => {
            labels.iter().filter(|(name, _)| names.contains(name) == *on).map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        None => labels.clone(),
    };
    let has = |side: &[(Labels, f64)], labels: &Labels| side.iter().any(|(other, _)| signature(other) == signature(labels));
    match operation.op {
        BinaryOp::And => return Ok(left.into_iter().filter(|(labels, _)| has(&right, labels)).collect()),
        BinaryOp::Unless => return Ok(left.into_iter().filter(|(labels, _)| !has(&right, labels)).collect()),
        BinaryOp::Or => {
            let rest: Vec<_> = right.into_iter().filter(|(labels, _)| !has(&left, labels)).collect();
            return Ok(left.into_iter().chain(rest).collect());
        }
        _ => {}
    }
    let group = operation.matching.as_ref().and_then(|matching| matching.group.as_ref());
    let (many, one) = if matches!(group, Some(GroupSide::Right { .. })) { (right, left) } else { (left, right) };
    let signatures: BTreeSet<Labels> = one.iter().map(|(labels, _)| signature(labels)).collect();
    if signatures.len() < one.len() {
        return Err(Failure::Matching);
    }
    let mut out: Vec<(Labels, f64)> = Vec::new();
    let mut given = BTreeSet::new();
    for (labels, point) in many {
        let Some((other, partner)) = one.iter().find(|(other, _)| signature(other) == signature(&labels)) else { continue };
        let (left, right) = if matches!(group, Some(GroupSide::Right { .. })) { (*partner, point) } else { (point, *partner) };
        let with_values = |labels: Labels| -> Labels { labels.into_iter().filter(|(_, value)| !value.is_empty()).collect() };
        let (key, labels) = match group {
            None => ((signature(&labels), Labels::new()), with_values(signature(&labels))),
            Some(GroupSide::Left { include } | GroupSide::Right { include }) => {
                let own = labels.clone().into_iter().filter(|(name, _)| !include.contains(name));
                let taken = other.clone().into_iter().filter(|(name, _)| include.contains(name));
                let joined = with_values(own.chain(taken).collect());
                ((signature(&labels), joined.clone()), joined)
            }
        };
        if !given.insert(key) {
            return Err(Failure::Matching);
        }
        if let Some(result) = value(left, right, left) {
            out.push((labels, result));
        }
    }
    Ok(out)
}

fn value(operation: &BinaryOperation, left: f64, right: f64, kept: f64) -> Option<f64> {
    let holds = match operation.op {
        BinaryOp::Add => return Some(left + right),
        BinaryOp::Sub => return Some(left - right),
        BinaryOp::Mul => return Some(left * right),
        BinaryOp::Div | BinaryOp::Mod if right == 0.0 => return Some(f64::NAN),
        BinaryOp::Div => return Some(left / right),
        BinaryOp::Mod => return Some(left % right),
        BinaryOp::Pow => return Some(left.powf(right)),
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterOrEqual => left >= right,
        BinaryOp::Less => left < right,
        BinaryOp::LessOrEqual => left <= right,
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => panic!("a set operator has no value"),
    };
    if operation.return_bool { Some(f64::from(u8::from(holds))) } else { holds.then_some(kept) }
}
