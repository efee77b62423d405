//! Instant metric queries of the recorded conformance suite, reckoned over single entries.
//!
//! Sums and counts are added up here in the plainest way; what is checked are the samples and the series that
//! pipelines give, and whether an error fails the query. Skipped, with a printed line, where the suite is not there.

#![allow(clippy::unwrap_used)]

mod suite;

use std::collections::BTreeMap;

use serde_json::Value;
use suite::{Stored, cases, levels, stored, suite, text_map};
use tailwater_logql::ast::{Expr, MetricExpr, RangeAggregation, RangeOp, VectorAggregation, VectorOp};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::needed::{hides_empty_labels, needed_labels, range_stages, sample_grouping};
use tailwater_logql::parse;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};

type Series = BTreeMap<BTreeMap<String, String>, f64>;

/// What is added up here: range aggregations that only add, alone or under a `sum`.
fn additive(expression: &Expr) -> Option<(&RangeAggregation, Option<&VectorAggregation>)> {
    let (range, above) = match expression {
        Expr::Metric(MetricExpr::Range(range)) => (range, None),
        Expr::Metric(MetricExpr::Vector(above)) if above.op == VectorOp::Sum => match &*above.inner {
            MetricExpr::Range(range) => (range, Some(above)),
            _ => return None,
        },
        _ => return None,
    };
    let is_additive =
        matches!(range.op, RangeOp::CountOverTime | RangeOp::Rate | RangeOp::BytesOverTime | RangeOp::BytesRate | RangeOp::SumOverTime);
    is_additive.then_some((range, above))
}

/// The series at a time; `None` if an error fails the query.
fn reckon(range: &RangeAggregation, above: Option<&VectorAggregation>, streams: &[Stored], time: i64) -> Option<Series> {
    let options = PipelineOptions { strict_loki: true };
    let needed = needed_labels(range, above);
    let pipeline = Pipeline::compile(&range_stages(range), range.range.unwrap.as_ref(), &needed, &options).unwrap();
    let pipeline = pipeline.with_grouping(sample_grouping(range, above));
    let matchers: Vec<_> = range.range.log.selector.matchers.iter().map(|matcher| StreamMatcher::new(matcher).unwrap()).collect();
    let end = time - range.range.offset;
    let seconds = range.range.range as f64 / 1e9;
    let mut series = Series::new();
    for stream in streams {
        if !matchers.iter().all(|matcher| matcher.matches(stream.labels.get(matcher.name()).unwrap_or_default())) {
            continue;
        }
        let mut pipeline = pipeline.for_stream(&stream.labels);
        for (time, line, metadata) in &stream.entries {
            let metadata: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            if *time <= end - range.range.range || *time > end {
                continue;
            }
            let Some(processed) = pipeline.process(*time, line.as_bytes(), &metadata) else { continue };
            if processed.failure().is_some() {
                return None;
            }
            let value = match range.op {
                RangeOp::BytesOverTime | RangeOp::BytesRate => processed.line().len() as f64,
                _ => processed.value().unwrap_or(1.0),
            };
            let is_rate = matches!(range.op, RangeOp::Rate | RangeOp::BytesRate);
            let labels = shown(processed.series_labels(), range, above);
            *series.entry(labels).or_insert(0.0) += if is_rate { value / seconds } else { value };
        }
    }
    Some(series)
}

/// The labels of a sample as the aggregation above leaves them. Samples with an error come with all of theirs.
fn shown(labels: LabelSet, range: &RangeAggregation, above: Option<&VectorAggregation>) -> BTreeMap<String, String> {
    let is_kept = |name: &str| match above.map(|above| above.grouping.as_ref()) {
        None => true,
        Some(None) => false,
        Some(Some(grouping)) => grouping.labels.iter().any(|label| label == name) != grouping.without,
    };
    let labels = if above.is_none() && hides_empty_labels(range) { labels.without_empty() } else { labels };
    let kept = labels.iter().filter(|(name, _)| is_kept(name) && *name != LEVEL);
    kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Set by the store; not all of them are known from the answers, so series are compared without.
const LEVEL: &str = "detected_level";

fn expected(case: &Value) -> Option<Series> {
    let mut series = Series::new();
    for sample in case["expect"]["body"]["data"]["result"].as_array()? {
        let mut labels = text_map(&sample["metric"]);
        labels.remove(LEVEL);
        *series.entry(labels).or_insert(0.0) += sample["value"][1].as_str().unwrap().parse::<f64>().unwrap();
    }
    Some(series)
}

fn is_same(left: &Series, right: &Series) -> bool {
    let near = |left: f64, right: f64| {
        left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs()) || (left.is_nan() && right.is_nan())
    };
    left.len() == right.len() && left.iter().all(|(labels, value)| right.get(labels).is_some_and(|other| near(*value, *other)))
}

#[test]
fn sums_and_counts_are_as_recorded() {
    let Some(suite) = suite() else { return };
    let cases = cases(&suite);
    let streams = stored(&suite, &levels(&cases));
    let mut checked: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        let (Some(query), Some(time)) = (case["params"]["query"].as_str(), case["params"]["time"].as_str()) else { continue };
        let is_instant = case["path"] == "/loki/api/v1/query" && case.get("auth").is_none();
        let Some(time) = time.parse::<i64>().ok().filter(|time| is_instant && *time > 1_000_000_000_000_000_000) else { continue };
        let Ok(expression) = parse(query) else { continue };
        let Some((range, above)) = additive(&expression) else { continue };
        let is_failure = case["expect"]["body"].as_str().is_some_and(|body| body.starts_with("pipeline error"));
        if !is_failure && case["expect"]["status"] != 200 {
            continue;
        }
        let wanted = if is_failure { None } else { expected(case) };
        let found = reckon(range, above, &streams, time);
        let same = match (&wanted, &found) {
            (None, None) => true,
            (Some(wanted), Some(found)) => is_same(wanted, found),
            _ => false,
        };
        let category = checked.entry(case["category"].as_str().unwrap()).or_default();
        category.1 += 1;
        category.0 += usize::from(same);
        if !same {
            failures.push(format!("{} {query}\n  expected {wanted:?}\n  found    {found:?}\n", case["id"]));
        }
    }
    for (category, (passed, total)) in &checked {
        println!("{category}: {passed} of {total}");
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.concat());
    assert!(checked.values().map(|(_, total)| total).sum::<usize>() > 100, "too few cases were reckoned");
}
