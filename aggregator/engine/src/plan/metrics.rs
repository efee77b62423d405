//! Plans of metric queries: each node of the expression becomes an operator over points, each range aggregation a scan of its own.

use std::sync::Arc;

use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion_physical_plan::union::UnionExec;
use futures::FutureExt;
use futures::future::BoxFuture;
use tailwater_logql::ast::{
    BinaryOp, BinaryOperation, Grouping, LabelReplace, LogRange, MetricExpr, RangeAggregation, RangeOp, VectorAggregation, VectorOp,
};

use crate::error::QueryError;
use crate::gather::SeriesShape;
use crate::operators::exec::plan;
use crate::operators::grid::StepGrid;
use crate::operators::label_replace;
use crate::operators::matching::Matching;
use crate::operators::ranking::Ranking;
use crate::operators::scalar_operation::ScalarOperation;
use crate::operators::set_operation::{SetOp, SetOperation};
use crate::operators::variant::{Variant, Warnings};
use crate::operators::vector_aggregate::VectorAggregate;
use crate::operators::vector_literal::VectorLiteral;
use crate::operators::vector_operation::VectorOperation;
use crate::operators::windows::WindowFunction;
use crate::plan::Planner;
use crate::plan::leaves::Leaves;
use crate::request::QueryLimits;

/// The plan of a metric query and what has to be known of it besides.
pub(crate) struct PlannedMetric {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Parts that its leaves read.
    pub(crate) parts: usize,
    pub(crate) shape: SeriesShape,
    /// Said while the plan ran.
    pub(crate) warnings: Warnings,
    /// The plan itself sees to it that there are not too many series.
    pub(crate) limits_its_series: bool,
}

/// A part of a plan: points in one partition.
pub(crate) struct Vector {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) parts: usize,
    /// Its series have labels without a value that are not to be shown.
    pub(crate) hides_empty_labels: bool,
    /// Its rows are in the order of values.
    is_ordered: bool,
}

impl Vector {
    pub(crate) fn unordered(plan: Arc<dyn ExecutionPlan>, parts: usize, hides_empty_labels: bool) -> Self {
        Self { plan, parts, hides_empty_labels, is_ordered: false }
    }
}

/// Where in the expression a node stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'e> {
    pub(crate) grid: StepGrid,
    /// The vector aggregation directly over it, which decides what labels are needed.
    pub(crate) above: Option<&'e VectorAggregation>,
    /// Each of its series is a series of the answer: series are not joined, and no more than this many are wanted.
    pub(crate) series_of_answer: Option<usize>,
    pub(crate) leaves: &'e Leaves,
}

impl Position<'_> {
    fn inside(self) -> Self {
        Self { above: None, series_of_answer: None, ..self }
    }

    fn beside(self) -> Self {
        Self { above: None, ..self }
    }

    /// The same for what is below an operator that may drop series.
    fn below_choice(self) -> Self {
        Self { above: None, series_of_answer: self.series_of_answer.map(|_| usize::MAX), ..self }
    }
}

impl Planner<'_> {
    /// Points of the expression's series at each step.
    pub(crate) async fn metric(
        &self,
        expr: &MetricExpr,
        grid: StepGrid,
        limits: &QueryLimits,
        leaves: &Leaves,
    ) -> Result<PlannedMetric, QueryError> {
        let warnings = Warnings::default();
        if let MetricExpr::Variants { metrics, of } = expr {
            return self.variants(metrics, of, (grid, leaves), limits.max_series, warnings).await;
        }
        // Partial answers need the first series, whichever they are.
        let most = if limits.partial_series { usize::MAX } else { limits.max_series };
        let Vector { plan, parts, hides_empty_labels, is_ordered } =
            self.vector(expr, Position { grid, above: None, series_of_answer: Some(most), leaves }).await?;
        let shape = SeriesShape { hides_empty_labels, is_ordered };
        Ok(PlannedMetric { plan, parts, shape, warnings, limits_its_series: false })
    }

    fn vector<'p>(&'p self, expr: &'p MetricExpr, position: Position<'p>) -> BoxFuture<'p, Result<Vector, QueryError>> {
        async move {
            match expr {
                MetricExpr::Range(range) => match grouped_average(range) {
                    Some(division) => self.operation(&division, position).await,
                    None => self.range(range, position).await,
                },
                MetricExpr::Vector(aggregation) => self.aggregation(aggregation, position).await,
                MetricExpr::Binary(operation) => self.operation(operation, position).await,
                MetricExpr::LabelReplace(replace) => self.label_replace(replace, position).await,
                MetricExpr::Literal(value) | MetricExpr::VectorLiteral(value) => {
                    let literal = VectorLiteral { value: *value, steps: position.grid.count };
                    Ok(Vector::unordered(plan(literal, Vec::new()), 0, false))
                }
                MetricExpr::Variants { .. } => Err(QueryError::Evaluation("variants cannot be part of another expression".into())),
            }
        }
        .boxed()
    }

    async fn aggregation(&self, aggregation: &VectorAggregation, position: Position<'_>) -> Result<Vector, QueryError> {
        let function = match aggregation.op {
            VectorOp::Sum => WindowFunction::Sum,
            VectorOp::Avg if self.options.strict_loki => WindowFunction::GroupAverage,
            VectorOp::Avg => WindowFunction::Average,
            VectorOp::Min => WindowFunction::Minimum,
            VectorOp::Max => WindowFunction::Maximum,
            VectorOp::Count => WindowFunction::Count,
            VectorOp::Stddev => WindowFunction::GroupDeviation,
            VectorOp::Stdvar => WindowFunction::GroupVariance,
            VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk | VectorOp::Sort | VectorOp::SortDesc => {
                return self.ranking(aggregation, position).await;
            }
        };
        let inner = self.vector(&aggregation.inner, Position { above: Some(aggregation), ..position.inside() }).await?;
        let grouping = grouping(aggregation);
        let text = aggregation_text(aggregation.op, &grouping);
        let operator = VectorAggregate { function, grouping, steps: position.grid.count, text };
        Ok(Vector { plan: plan(operator, vec![inner.plan]), is_ordered: false, ..inner })
    }

    async fn ranking(&self, aggregation: &VectorAggregation, position: Position<'_>) -> Result<Vector, QueryError> {
        let is_sort = matches!(aggregation.op, VectorOp::Sort | VectorOp::SortDesc);
        let is_descending = !matches!(aggregation.op, VectorOp::Bottomk | VectorOp::Sort);
        let below = if is_sort { position.beside() } else { position.below_choice() };
        let inner = self.vector(&aggregation.inner, Position { above: Some(aggregation), ..below }).await?;
        if is_sort && position.grid.count > 1 {
            return Ok(inner);
        }
        let grouping = grouping(aggregation);
        let mut text = aggregation_text(aggregation.op, &grouping);
        if let Some(parameter) = aggregation.parameter {
            text.push_str(&format!(", {parameter}"));
        }
        let limit = match aggregation.parameter {
            Some(parameter) if !is_sort => usize::try_from(parameter).unwrap_or(0),
            _ => usize::MAX,
        };
        let is_ordered = position.grid.count == 1 && sorts(&MetricExpr::Vector(aggregation.clone()));
        let ranking = Ranking { is_descending, limit, grouping, hides_empty_labels: inner.hides_empty_labels, text };
        Ok(Vector { plan: plan(ranking, vec![inner.plan]), is_ordered, ..inner })
    }

    async fn operation(&self, operation: &BinaryOperation, position: Position<'_>) -> Result<Vector, QueryError> {
        let (op, returns_bool) = (operation.op, operation.return_bool);
        let (vector, scalar, is_scalar_left) = match (operation.left.as_ref(), operation.right.as_ref()) {
            (MetricExpr::Literal(scalar), vector) => (vector, *scalar, true),
            (vector, MetricExpr::Literal(scalar)) => (vector, *scalar, false),
            (left, right) => {
                let left = self.vector(left, position.inside()).await?;
                let right = self.vector(right, position.inside()).await?;
                return Ok(two_sided(operation, left, right));
            }
        };
        let below = match is_comparison(op) && !returns_bool {
            true => position.below_choice(),
            false => position.beside(),
        };
        let inner = self.vector(vector, below).await?;
        let operator = ScalarOperation { op, returns_bool, scalar, is_scalar_left };
        Ok(Vector { plan: plan(operator, vec![inner.plan]), ..inner })
    }

    async fn label_replace(&self, replace: &LabelReplace, position: Position<'_>) -> Result<Vector, QueryError> {
        let operator = label_replace::LabelReplace::new(replace);
        let operator = operator.map_err(|error| QueryError::Evaluation(format!("invalid regex in label_replace: {error}")))?;
        let inner = self.vector(&replace.inner, position.beside()).await?;
        Ok(Vector { plan: plan(operator, vec![inner.plan]), ..inner })
    }

    /// Each variant over the shared range, its series told apart by a label.
    async fn variants(
        &self,
        metrics: &[MetricExpr],
        of: &LogRange,
        (grid, leaves): (StepGrid, &Leaves),
        max_series: usize,
        warnings: Warnings,
    ) -> Result<PlannedMetric, QueryError> {
        let mut plans = Vec::with_capacity(metrics.len());
        let mut parts = 0;
        for (number, metric) in metrics.iter().enumerate() {
            let mut metric = metric.clone();
            share_range(&mut metric, of)?;
            let vector = self.vector(&metric, Position { grid, above: None, series_of_answer: None, leaves }).await?;
            parts += vector.parts;
            plans.push(plan(Variant { number, max_series, warnings: warnings.clone() }, vec![vector.plan]));
        }
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(UnionExec::try_new(plans)?));
        let shape = SeriesShape { hides_empty_labels: false, is_ordered: false };
        Ok(PlannedMetric { plan, parts, shape, warnings, limits_its_series: true })
    }
}

/// Puts the shared range in the place of a variant's own; an unwrap that the shared one does not have stays.
fn share_range(metric: &mut MetricExpr, of: &LogRange) -> Result<(), QueryError> {
    match metric {
        MetricExpr::Range(range) => {
            let unwrap = range.range.unwrap.take();
            range.range = of.clone();
            range.range.unwrap = range.range.unwrap.take().or(unwrap);
            Ok(())
        }
        MetricExpr::Vector(aggregation) => share_range(&mut aggregation.inner, of),
        _ => Err(QueryError::Evaluation("a variant has to be a range aggregation or a vector aggregation of one".into())),
    }
}

/// An average over groups is a sum of values divided by a count of entries, as in the reference: entries whose label cannot be unwrapped, or
/// that a filter behind `unwrap` drops, are counted as well.
fn grouped_average(range: &RangeAggregation) -> Option<BinaryOperation> {
    let grouping = range.grouping.as_ref().filter(|_| range.op == RangeOp::AvgOverTime)?;
    if grouping.without && grouping.labels.is_empty() {
        return None;
    }
    let grouped = |op, range: LogRange, grouping: Grouping| {
        let inner = Box::new(MetricExpr::Range(RangeAggregation { op, parameter: None, range, grouping: None }));
        Box::new(MetricExpr::Vector(VectorAggregation { op: VectorOp::Sum, parameter: None, inner, grouping: Some(grouping) }))
    };
    let mut counted = range.range.clone();
    let mut count_grouping = grouping.clone();
    // The series of unwrapped values do not have the label either.
    let unwrapped = counted.unwrap.take().map(|unwrap| unwrap.label);
    count_grouping.labels.extend(unwrapped.filter(|_| grouping.without));
    Some(BinaryOperation {
        op: BinaryOp::Div,
        return_bool: false,
        matching: None,
        left: grouped(RangeOp::SumOverTime, range.range.clone(), grouping.clone()),
        right: grouped(RangeOp::CountOverTime, counted, count_grouping),
    })
}

fn two_sided(operation: &BinaryOperation, left: Vector, right: Vector) -> Vector {
    let matching = Matching::new(operation.matching.as_ref());
    let text = operation_text(operation);
    let parts = left.parts + right.parts;
    let inputs = vec![left.plan, right.plan];
    let set = |op| plan(SetOperation { op, matching: matching.clone(), text: text.clone() }, inputs.clone());
    let plan = match operation.op {
        BinaryOp::And => set(SetOp::And),
        BinaryOp::Or => set(SetOp::Or),
        BinaryOp::Unless => set(SetOp::Unless),
        op => {
            let operator = VectorOperation { op, returns_bool: operation.return_bool, matching: matching.clone(), text: text.clone() };
            plan(operator, inputs.clone())
        }
    };
    Vector::unordered(plan, parts, false)
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    matches!(op, Equal | NotEqual | Greater | GreaterOrEqual | Less | LessOrEqual)
}

/// Whether the answer of an instant query is in the order of values.
fn sorts(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Vector(aggregation) => matches!(aggregation.op, VectorOp::Sort | VectorOp::SortDesc) || sorts(&aggregation.inner),
        MetricExpr::Binary(operation) => sorts(&operation.left) || sorts(&operation.right),
        MetricExpr::LabelReplace(replace) => sorts(&replace.inner),
        MetricExpr::Range(_) | MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) | MetricExpr::Variants { .. } => false,
    }
}

fn grouping(aggregation: &VectorAggregation) -> Grouping {
    aggregation.grouping.clone().unwrap_or(Grouping { without: false, labels: Vec::new() })
}

fn aggregation_text(op: VectorOp, grouping: &Grouping) -> String {
    let how = if grouping.without { "without" } else { "by" };
    format!("{} {how} ({})", op.name(), grouping.labels.join(", "))
}

fn operation_text(operation: &BinaryOperation) -> String {
    let mut text = operation.op.name().to_owned();
    if operation.return_bool {
        text.push_str(" bool");
    }
    if let Some(matching) = &operation.matching {
        let how = if matching.on { "on" } else { "ignoring" };
        text.push_str(&format!(" {how} ({})", matching.labels.join(", ")));
    }
    text
}
