//! Plans of range aggregations: scan, pipeline, and the aggregation in two phases.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_physical_plan::coalesce_partitions::CoalescePartitionsExec;
use tailwater_logql::ast::{Grouping, MatchOp, MetricExpr, RangeAggregation, RangeOp, Selector, Stage};
use tailwater_logql::needed::{NeededLabels, hides_empty_labels, needed_labels, range_stages, sample_grouping};
use tailwater_logql::pipeline::Pipeline;
use tailwater_storage::file::columns::Wanted;
use tailwater_storage::pairs::Pairs;

use crate::batch;
use crate::error::QueryError;
use crate::operators::exec::plan;
use crate::operators::grid::Window;
use crate::operators::pipeline::PipelineOutput;
use crate::operators::range_aggregate::{Phase, RangeAggregate, RangeSpec};
use crate::operators::samples::{SampleSpec, SampleValue};
use crate::operators::windows::WindowFunction;
use crate::plan::Planner;
use crate::plan::metrics::{Position, Vector};
use crate::plan::selection::{SelectedStream, Selection};
use crate::request::TimeRange;
use crate::scan::CountScan;
use crate::scope::TENANT_LABEL;

impl Planner<'_> {
    pub(super) async fn range(&self, range: &RangeAggregation, position: Position<'_>) -> Result<Vector, QueryError> {
        let mut running = range.clone();
        running.range.log.stages = range_stages(range);
        let range = &running;
        let (function, value) = range_function(range);
        let log = &range.range.log;
        let needed = needed_labels(range, position.above);
        let absent = (range.op == RangeOp::AbsentOverTime).then(|| absent_labels(&log.selector));
        let asked = sample_grouping(range, position.above);
        let no_labels = Grouping { without: false, labels: Vec::new() };
        let grouping = if absent.is_some() { Some(&no_labels) } else { asked };
        let pipeline = Pipeline::compile(&log.stages, range.range.unwrap.as_ref(), &needed, &self.options)?;
        let pipeline = pipeline.with_grouping(grouping).with_now(self.now);
        let window = Window { range: range.range.range, offset: range.range.offset };
        let hides_labels = grouping.is_none_or(|grouping| grouping.without) && hides_empty_labels(range);
        let (start, end) = position.grid.stamps(window);
        let selection = position.leaves.select(self, &log.selector, TimeRange { start, end }).await?;
        let wanted = Wanted {
            lines: value == SampleValue::LineBytes,
            metadata: pipeline.reads_metadata() && !stream_labels_suffice(range, &needed, grouping, &selection),
            ..Wanted::default()
        };
        let spec = RangeSpec {
            function,
            grid: position.grid,
            window,
            absent,
            hides_empty_labels: hides_labels && position.series_of_answer.is_none(),
            max_series: position.series_of_answer.filter(|most| *most < usize::MAX),
            text: MetricExpr::Range(range.clone()).to_string(),
        };
        let partial = if pipeline.is_noop() && !wanted.metadata && value != SampleValue::Unwrapped {
            let labels = series_of_streams(&pipeline, &selection);
            CountScan::plan(self.source(&selection), labels, wanted.lines, spec.clone(), self.partitions, self.counters.clone())
        } else {
            let sample = SampleSpec { value, is_ordered: function.needs_order(), grid: position.grid, window };
            let samples = self.pipeline(&selection, pipeline, log, wanted, PipelineOutput::Sample(sample)).await?;
            plan(RangeAggregate::new(Phase::Partial, spec.clone()), vec![samples])
        };
        let gathered = Arc::new(CoalescePartitionsExec::new(partial));
        let last = plan(RangeAggregate::new(Phase::Final, spec), vec![gathered]);
        let hides_labels_at_last = hides_labels && position.series_of_answer.is_some();
        Ok(Vector::unordered(last, selection.parts(), hides_labels_at_last))
    }
}

/// The label that Prometheus keeps the name of a metric in.
const METRIC_NAME: &str = "__name__";

fn range_function(range: &RangeAggregation) -> (WindowFunction, SampleValue) {
    let function = match range.op {
        RangeOp::CountOverTime | RangeOp::AbsentOverTime => return (WindowFunction::Count, SampleValue::One),
        RangeOp::Rate if range.range.unwrap.is_none() => return (WindowFunction::CountPerSecond, SampleValue::One),
        RangeOp::BytesOverTime => return (WindowFunction::WholeSum, SampleValue::LineBytes),
        RangeOp::BytesRate => return (WindowFunction::WholeSumPerSecond, SampleValue::LineBytes),
        RangeOp::Rate => WindowFunction::SumPerSecond,
        RangeOp::RateCounter => WindowFunction::CounterRate,
        RangeOp::SumOverTime => WindowFunction::Sum,
        RangeOp::AvgOverTime => WindowFunction::Average,
        RangeOp::MinOverTime => WindowFunction::Minimum,
        RangeOp::MaxOverTime => WindowFunction::Maximum,
        RangeOp::StdvarOverTime => WindowFunction::StandardVariance,
        RangeOp::StddevOverTime => WindowFunction::StandardDeviation,
        // The parser lets none through without a parameter.
        RangeOp::QuantileOverTime => WindowFunction::Quantile(range.parameter.unwrap_or(f64::NAN)),
        RangeOp::FirstOverTime => WindowFunction::First,
        RangeOp::LastOverTime => WindowFunction::Last,
    };
    (function, SampleValue::Unwrapped)
}

/// The series that entries of each stream belong to, where neither lines nor metadata matter.
fn series_of_streams(pipeline: &Pipeline, selection: &Selection) -> Vec<Pairs> {
    let labels_of = |stream: &SelectedStream| {
        let mut stages = pipeline.for_stream(&stream.labels);
        let entry = stages.process_filtered(0, &[], &[]).expect("a pipeline without stages drops nothing");
        batch::encode_labels(&stream.shown(entry.series_labels()))
    };
    selection.streams().iter().map(labels_of).collect()
}

/// The labels that equality matchers name, but for names that are matched besides, before or behind, and the name of a metric. An empty value
/// names nothing.
fn absent_labels(selector: &Selector) -> Pairs {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut matched_besides: BTreeSet<&str> = BTreeSet::new();
    for matcher in &selector.matchers {
        let name = matcher.name.as_str();
        if name == METRIC_NAME {
            continue;
        }
        if matcher.op != MatchOp::Equal || labels.iter().any(|(other, _)| *other == name) {
            matched_besides.insert(name);
        } else if !matcher.value.is_empty() {
            labels.push((name, matcher.value.as_str()));
        }
    }
    Pairs::from_pairs(labels.into_iter().filter(|(name, _)| !matched_besides.contains(name)))
}

/// Whether the series follow from stream labels alone: no stage reads labels, and every stream has those that samples are grouped by
/// (metadata of such a name would be shown under another).
fn stream_labels_suffice(range: &RangeAggregation, needed: &NeededLabels, grouping: Option<&Grouping>, selection: &Selection) -> bool {
    let only_line_filters = range.range.log.stages.iter().all(|stage| matches!(stage, Stage::LineFilter(_)));
    let names: BTreeSet<&str> = match (needed, grouping) {
        (NeededLabels::None, _) => BTreeSet::new(),
        (NeededLabels::Only(_), Some(grouping)) if !grouping.without => grouping.labels.iter().map(String::as_str).collect(),
        _ => return false,
    };
    let has_name =
        |stream: &SelectedStream, name: &str| (name == TENANT_LABEL && stream.tenant.is_some()) || stream.labels.get(name).is_some();
    let has_names = || selection.streams().iter().all(|stream| names.iter().all(|name| has_name(stream, name)));
    only_line_filters && range.range.unwrap.is_none() && has_names()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_labelled_by_what_had_to_be_equal() {
        for (selector, expected) in [
            (r#"{app="a", pod=~"p", zone="z"}"#, r#"{app="a", zone="z"}"#),
            (r#"{app="a", app=~"a|b"}"#, "{}"),
            (r#"{app="a", app="a"}"#, "{}"),
            (r#"{app=~"a", app="a", x=""}"#, "{}"),
            (r#"{app="", app="a", zone!=""}"#, r#"{app="a"}"#),
            (r#"{__name__="x", app="a"}"#, r#"{app="a"}"#),
            (r#"{app="a", app="b", app="c", zone="z"}"#, r#"{zone="z"}"#),
        ] {
            let selector = tailwater_logql::parse_selector(selector).expect("parses");
            assert_eq!(absent_labels(&selector).canonical_text(), expected);
        }
    }
}
