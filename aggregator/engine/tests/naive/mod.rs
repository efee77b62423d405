//! Metric queries evaluated the plain way: at each step, over all entries.
//!
//! Knows the part of the language that `queries` writes: entries of [`world`](crate::world) with lines `v=1 k=a`, line filters that contain a
//! text, `logfmt`, `unwrap v`.

use std::collections::{BTreeMap, BTreeSet};

use tailwater_logql::ast::{
    BinaryOp, BinaryOperation, GroupSide, Grouping, LineFilterArg, MatchOp, MetricExpr, RangeAggregation, RangeOp, Selector, Stage,
    VectorAggregation, VectorMatching, VectorOp,
};

use crate::world::Entry;

pub(crate) type Labels = BTreeMap<String, String>;

/// The points of one step; an error if series cannot be matched.
pub(crate) type Points = Result<Vec<(Labels, f64)>, String>;

pub(crate) fn evaluate(expr: &MetricExpr, entries: &BTreeSet<Entry>, time: i64) -> Points {
    match expr {
        MetricExpr::Literal(value) | MetricExpr::VectorLiteral(value) => Ok(vec![(Labels::new(), *value)]),
        MetricExpr::Range(range) => Ok(over_time(range, entries, time)),
        MetricExpr::Vector(aggregation) => Ok(aggregate(aggregation, evaluate(&aggregation.inner, entries, time)?)),
        MetricExpr::Binary(operation) => binary(operation, entries, time),
        MetricExpr::LabelReplace(replace) => {
            assert_eq!((replace.replacement.as_str(), replace.regex.as_str()), ("$1", "(.).*"), "the one replacement known here");
            let mut points = evaluate(&replace.inner, entries, time)?;
            for (labels, _) in &mut points {
                if let Some(first) = labels.get(&replace.source).and_then(|value| value.chars().next()) {
                    labels.insert(replace.destination.clone(), first.to_string());
                }
            }
            Ok(points)
        }
        MetricExpr::Variants { .. } => Err("variants are not known here".into()),
    }
}

/// An entry that passed the stages.
struct Passed {
    labels: Labels,
    timestamp: i64,
    bytes: f64,
    value: Option<f64>,
}

fn passed(range: &RangeAggregation, entries: &BTreeSet<Entry>, time: i64) -> Vec<Passed> {
    let end = time - range.range.offset;
    let within = entries.iter().filter(|entry| end - range.range.range < entry.timestamp && entry.timestamp <= end);
    within.filter_map(|entry| run_stages(range, entry)).collect()
}

fn run_stages(range: &RangeAggregation, entry: &Entry) -> Option<Passed> {
    let mut labels: Labels =
        [("namespace", &entry.namespace), ("app", &entry.app)].map(|(name, value)| (name.into(), value.clone())).into();
    if !selects(&range.range.log.selector, &labels) {
        return None;
    }
    labels.extend(entry.trace.iter().map(|trace| ("trace_id".to_owned(), trace.clone())));
    for stage in &range.range.log.stages {
        match stage {
            Stage::LineFilter(filter) => match &filter.alternatives[..] {
                [LineFilterArg::Text(text)] if !entry.line.contains(text.as_str()) => return None,
                _ => {}
            },
            Stage::Logfmt { .. } => {
                let pairs = entry.line.split(' ').filter_map(|pair| pair.split_once('='));
                labels.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            other => panic!("a stage not known here: {other:?}"),
        }
    }
    let value = match &range.range.unwrap {
        Some(unwrap) => Some(labels.remove(&unwrap.label)?.parse().expect("a number")),
        None => None,
    };
    Some(Passed { labels, timestamp: entry.timestamp, bytes: entry.line.len() as f64, value })
}

fn selects(selector: &Selector, labels: &Labels) -> bool {
    selector.matchers.iter().all(|matcher| match matcher.op {
        MatchOp::Equal => labels.get(&matcher.name).map_or("", String::as_str) == matcher.value,
        // Only `.+` is written.
        _ => labels.contains_key(&matcher.name),
    })
}

fn over_time(range: &RangeAggregation, entries: &BTreeSet<Entry>, time: i64) -> Vec<(Labels, f64)> {
    let passed_entries = passed(range, entries, time);
    if range.op == RangeOp::AbsentOverTime {
        let equal = range.range.log.selector.matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal);
        let labels = equal.map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect();
        return if passed_entries.is_empty() { vec![(labels, 1.0)] } else { vec![] };
    }
    let group = |labels: Labels| match &range.grouping {
        Some(grouping) => grouped(grouping, labels),
        None => labels,
    };
    let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    for entry in passed_entries {
        let value = entry.value.unwrap_or(if matches!(range.op, RangeOp::BytesOverTime | RangeOp::BytesRate) { entry.bytes } else { 1.0 });
        series.entry(group(entry.labels)).or_default().push((entry.timestamp, value));
    }
    let counts = grouped_counts(range, entries, time);
    let points = series.into_iter().map(|(labels, mut samples)| {
        samples.sort_by_key(|(timestamp, _)| *timestamp);
        let divisor = counts.as_ref().map(|counts| counts[&labels]);
        let value = window_value(range, &samples, divisor);
        (labels, value)
    });
    points.collect()
}

/// An average over groups is divided by all entries of the group, unwrapped or not; `without ()` makes no groups.
fn grouped_counts(range: &RangeAggregation, entries: &BTreeSet<Entry>, time: i64) -> Option<BTreeMap<Labels, f64>> {
    let grouping = range.grouping.as_ref().filter(|_| range.op == RangeOp::AvgOverTime)?;
    if grouping.without && grouping.labels.is_empty() {
        return None;
    }
    let mut without_unwrap = range.clone();
    let label = without_unwrap.range.unwrap.take()?.label;
    let mut counts = BTreeMap::new();
    for mut entry in passed(&without_unwrap, entries, time) {
        if grouping.without {
            entry.labels.remove(&label);
        }
        *counts.entry(grouped(grouping, entry.labels)).or_insert(0.0) += 1.0;
    }
    Some(counts)
}

/// `samples` in the order of time, each stamp once in a series.
fn window_value(range: &RangeAggregation, samples: &[(i64, f64)], divisor: Option<f64>) -> f64 {
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let (count, sum, seconds) = (values.len() as f64, values.iter().sum::<f64>(), range.range.range as f64 / 1e9);
    let variance = || values.iter().map(|value| (value - sum / count).powi(2)).sum::<f64>() / count;
    match range.op {
        RangeOp::CountOverTime => count,
        RangeOp::Rate | RangeOp::BytesRate => sum / seconds,
        RangeOp::BytesOverTime | RangeOp::SumOverTime => sum,
        RangeOp::AvgOverTime => sum / divisor.unwrap_or(count),
        RangeOp::MinOverTime => values.iter().copied().fold(f64::INFINITY, f64::min),
        RangeOp::MaxOverTime => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        RangeOp::StdvarOverTime => variance(),
        RangeOp::StddevOverTime => variance().sqrt(),
        RangeOp::FirstOverTime => values[0],
        RangeOp::LastOverTime => values[values.len() - 1],
        RangeOp::QuantileOverTime => {
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let rank = range.parameter.expect("a share") * (count - 1.0);
            let (below, weight) = (rank.floor() as usize, rank.fract());
            sorted[below] * (1.0 - weight) + sorted[(below + 1).min(sorted.len() - 1)] * weight
        }
        RangeOp::RateCounter | RangeOp::AbsentOverTime => panic!("not known here"),
    }
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
        let variance = values.iter().map(|value| (value - sum / count).powi(2)).sum::<f64>() / count;
        let value = match aggregation.op {
            VectorOp::Sum => sum,
            VectorOp::Avg => sum / count,
            VectorOp::Count => count,
            VectorOp::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            VectorOp::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            VectorOp::Stdvar => variance,
            VectorOp::Stddev => variance.sqrt(),
            op => {
                members.sort_by(|left, right| left.1.total_cmp(&right.1).then_with(|| in_order(&left.0).cmp(&in_order(&right.0))));
                if !matches!(op, VectorOp::Bottomk | VectorOp::Sort) {
                    members.sort_by(|left, right| right.1.total_cmp(&left.1));
                }
                out.extend(members.into_iter().take(limit));
                continue;
            }
        };
        out.push((group, value));
    }
    out
}

/// Label sets stand in the order of their names and values.
fn in_order(labels: &Labels) -> Vec<(&String, &String)> {
    labels.iter().collect()
}

fn binary(operation: &BinaryOperation, entries: &BTreeSet<Entry>, time: i64) -> Points {
    let (left, right) = (evaluate(&operation.left, entries, time)?, evaluate(&operation.right, entries, time)?);
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
        return Err("duplicates on the side of one".into());
    }
    let mut out: Vec<(Labels, f64)> = Vec::new();
    let mut given = BTreeSet::new();
    for (labels, point) in many {
        let Some((other, partner)) = one.iter().find(|(other, _)| signature(other) == signature(&labels)) else { continue };
        let (left, right) = if matches!(group, Some(GroupSide::Right { .. })) { (*partner, point) } else { (point, *partner) };
        let Some(result) = value(left, right, left) else { continue };
        let (key, labels) = match group {
            None => ((signature(&labels), Labels::new()), signature(&labels)),
            Some(GroupSide::Left { include } | GroupSide::Right { include }) => {
                let own = labels.clone().into_iter().filter(|(name, _)| !include.contains(name));
                let taken = other.clone().into_iter().filter(|(name, _)| include.contains(name));
                let joined: Labels = own.chain(taken).collect();
                ((signature(&labels), joined.clone()), joined)
            }
        };
        if !given.insert(key) {
            return Err("several matches".into());
        }
        out.push((labels, result));
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
