//! Plans of metric queries.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::coalesce_partitions::CoalescePartitionsExec;
use tailwater_logql::ast::{Grouping, MetricExpr, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp};
use tailwater_logql::needed::{NeededLabels, needed_labels, sample_grouping};
use tailwater_logql::pipeline::Pipeline;
use tailwater_storage::segment::columns::Wanted;

use crate::error::QueryError;
use crate::operators::grid::{StepGrid, Window};
use crate::operators::pipeline::PipelineOutput;
use crate::operators::range_aggregate::{Phase, RangeAggregateExec, RangeFunction, RangeSpec};
use crate::operators::samples::SampleValue;
use crate::operators::vector_aggregate::{VectorAggregateExec, VectorFunction};
use crate::plan::selection::Selection;
use crate::plan::{Planned, Planner, not_supported};
use crate::request::TimeRange;

impl Planner<'_> {
    /// Points of the expression's series at each step.
    pub(crate) async fn metric(&self, expr: &MetricExpr, grid: StepGrid) -> Result<Planned, QueryError> {
        let (aggregations, range) = unnest(expr)?;
        let mut planned = self.range(range, aggregations.last().copied(), grid).await?;
        for aggregation in aggregations.into_iter().rev() {
            planned.plan = vector(aggregation, planned.plan)?;
        }
        Ok(planned)
    }

    /// `above`: the vector aggregation directly over it, which decides what labels are needed.
    async fn range(&self, range: &RangeAggregation, above: Option<&VectorAggregation>, grid: StepGrid) -> Result<Planned, QueryError> {
        let (function, value) = range_function(range)?;
        let log = &range.range.log;
        let needed = needed_labels(range, above);
        let grouping = sample_grouping(range, above);
        let pipeline = Pipeline::compile(&log.stages, range.range.unwrap.as_ref(), &needed, &self.options)?.with_grouping(grouping);
        let window = Window { range: range.range.range, offset: range.range.offset };
        let (start, end) = grid.stamps(window);
        let selection = Arc::new(Selection::new(self.catalog, self.access, &log.selector, TimeRange { start, end }).await?);
        let wanted = Wanted {
            lines: value == SampleValue::LineBytes,
            metadata: pipeline.reads_metadata() && !stream_labels_suffice(&log.stages, &needed, grouping, &selection),
            ..Wanted::default()
        };
        let samples = self.pipeline(&selection, pipeline, log, wanted, PipelineOutput::Sample(value));
        let spec = RangeSpec { function, grid, window, text: MetricExpr::Range(range.clone()).to_string() };
        let partial: Arc<dyn ExecutionPlan> = Arc::new(RangeAggregateExec::new(samples, Phase::Partial, spec.clone()));
        let gathered = Arc::new(CoalescePartitionsExec::new(partial));
        Ok(Planned { plan: Arc::new(RangeAggregateExec::new(gathered, Phase::Final, spec)), parts: selection.parts().len() })
    }
}

/// Vector aggregations from the outside in, and the range aggregation they stand over.
fn unnest(expr: &MetricExpr) -> Result<(Vec<&VectorAggregation>, &RangeAggregation), QueryError> {
    let mut aggregations = Vec::new();
    let mut inner = expr;
    loop {
        match inner {
            MetricExpr::Vector(aggregation) => {
                aggregations.push(aggregation);
                inner = &aggregation.inner;
            }
            MetricExpr::Range(range) => return Ok((aggregations, range)),
            MetricExpr::Binary(_) => return Err(not_supported("a binary operation on the series of logs")),
            MetricExpr::LabelReplace(_) => return Err(not_supported("`label_replace`")),
            MetricExpr::Variants { .. } => return Err(not_supported("`variants`")),
            MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => return Err(not_supported("an aggregation of literals")),
        }
    }
}

fn range_function(range: &RangeAggregation) -> Result<(RangeFunction, SampleValue), QueryError> {
    match (range.op, &range.range.unwrap) {
        (RangeOp::CountOverTime, _) => Ok((RangeFunction::Count, SampleValue::One)),
        (RangeOp::Rate, None) => Ok((RangeFunction::CountPerSecond, SampleValue::One)),
        (RangeOp::BytesOverTime, _) => Ok((RangeFunction::Sum, SampleValue::LineBytes)),
        (RangeOp::BytesRate, _) => Ok((RangeFunction::SumPerSecond, SampleValue::LineBytes)),
        (op, None) => Err(not_supported(format!("`{}`", op.name()))),
        (op, Some(_)) => Err(not_supported(format!("`{}` of unwrapped values", op.name()))),
    }
}

fn vector(aggregation: &VectorAggregation, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    let function = match aggregation.op {
        VectorOp::Sum => VectorFunction::Sum,
        VectorOp::Avg => VectorFunction::Average,
        VectorOp::Min => VectorFunction::Minimum,
        VectorOp::Max => VectorFunction::Maximum,
        VectorOp::Count => VectorFunction::Count,
        op => return Err(not_supported(format!("`{}`", op.name()))),
    };
    let grouping = aggregation.grouping.clone().unwrap_or(Grouping { without: false, labels: Vec::new() });
    let how = if grouping.without { "without" } else { "by" };
    let text = format!("{} {how} ({})", aggregation.op.name(), grouping.labels.join(", "));
    Ok(Arc::new(VectorAggregateExec::new(input, function, grouping, text)))
}

/// Whether the series follow from stream labels alone: no stage reads labels, and every stream has those that samples are grouped by
/// (metadata of such a name would be shown under another).
fn stream_labels_suffice(stages: &[Stage], needed: &NeededLabels, grouping: Option<&Grouping>, selection: &Selection) -> bool {
    let only_line_filters = stages.iter().all(|stage| matches!(stage, Stage::LineFilter(_)));
    let names: BTreeSet<&str> = match (needed, grouping) {
        (NeededLabels::None, _) => BTreeSet::new(),
        (NeededLabels::Only(_), Some(grouping)) if !grouping.without => grouping.labels.iter().map(String::as_str).collect(),
        _ => return false,
    };
    only_line_filters && selection.streams().iter().all(|stream| names.iter().all(|name| stream.labels.get(name).is_some()))
}
