//! `RangeAggregateExec`: values of series over windows, in two phases.
//!
//! `partial` turns samples into changes per (series, step), partition by partition; `final` adds up the changes of all
//! partitions and turns them into points. Changes of any partition may be added in any order.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use crate::batch::{self, PARTIAL, POINT};
use crate::operators::counters::{Change, SeriesCounters};
use crate::operators::grid::{StepGrid, Window};
use crate::operators::series::SeriesIndex;

/// Rows of an emitted batch.
const BATCH_ROWS: usize = 8192;

/// Memory taken by a series besides its labels and blocks.
const SERIES_OVERHEAD: usize = 128;

/// How totals become values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RangeFunction {
    Count,
    /// Count divided by the window's seconds.
    CountPerSecond,
    Sum,
    /// Sum divided by the window's seconds.
    SumPerSecond,
}

impl RangeFunction {
    fn value(self, total: Change, window: Window) -> f64 {
        let seconds = window.range as f64 / 1e9;
        match self {
            Self::Count => total.count as f64,
            Self::CountPerSecond => total.count as f64 / seconds,
            Self::Sum => total.sum,
            Self::SumPerSecond => total.sum / seconds,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Partial,
    Final,
}

/// What is computed; the same in both phases.
#[derive(Debug, Clone)]
pub(crate) struct RangeSpec {
    pub(crate) function: RangeFunction,
    pub(crate) grid: StepGrid,
    pub(crate) window: Window,
    /// The aggregation as text, for people.
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct RangeAggregateExec {
    input: Arc<dyn ExecutionPlan>,
    phase: Phase,
    spec: RangeSpec,
    properties: Arc<PlanProperties>,
}

impl RangeAggregateExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, phase: Phase, spec: RangeSpec) -> Self {
        let (schema, partitioning) = match phase {
            Phase::Partial => (PARTIAL.clone(), input.output_partitioning().clone()),
            Phase::Final => (POINT.clone(), Partitioning::UnknownPartitioning(1)),
        };
        let properties =
            Arc::new(PlanProperties::new(EquivalenceProperties::new(schema), partitioning, EmissionType::Final, Boundedness::Bounded));
        Self { input, phase, spec, properties }
    }
}

/// The state of one phase of one partition.
struct State {
    spec: RangeSpec,
    index: SeriesIndex,
    series: Vec<SeriesCounters>,
    reservation: MemoryReservation,
}

impl State {
    fn new(spec: RangeSpec, context: &TaskContext) -> Self {
        let reservation = MemoryConsumer::new("RangeAggregateExec").register(context.memory_pool());
        Self { spec, index: SeriesIndex::default(), series: Vec::new(), reservation }
    }

    /// Numbers of a batch's dictionary values.
    fn numbers(&mut self, labels: &arrow::array::BinaryArray) -> Result<Vec<u32>> {
        let mut taken = 0;
        let numbers = (0..labels.len()).map(|value| {
            let (number, is_new) = self.index.number(labels.value(value));
            if is_new {
                taken += 2 * labels.value(value).len() + SERIES_OVERHEAD;
                self.series.push(SeriesCounters::default());
            }
            number
        });
        let numbers = numbers.collect();
        self.reservation.try_grow(taken)?;
        Ok(numbers)
    }

    fn add_samples(&mut self, samples: &RecordBatch) -> Result<()> {
        let (keys, labels) = batch::dictionary_column(samples, "series")?;
        let stamps: &TimestampNanosecondArray = batch::column(samples, batch::TIMESTAMP)?;
        let values: &Float64Array = batch::column(samples, "value")?;
        let numbers = self.numbers(labels)?;
        let mut taken = 0;
        for row in 0..samples.num_rows() {
            let Some((first, last)) = self.spec.grid.steps_of(stamps.value(row), self.spec.window) else { continue };
            let series = &mut self.series[numbers[keys.value(row) as usize] as usize];
            taken += series.add(first, last, values.value(row));
        }
        self.reservation.try_grow(taken)
    }

    fn add_partial(&mut self, partial: &RecordBatch) -> Result<()> {
        let (keys, labels) = batch::dictionary_column(partial, "series")?;
        let steps: &UInt32Array = batch::column(partial, "step")?;
        let counts: &Int64Array = batch::column(partial, "count")?;
        let sums: &Float64Array = batch::column(partial, "sum")?;
        let numbers = self.numbers(labels)?;
        let mut taken = 0;
        for row in 0..partial.num_rows() {
            let change = Change { count: counts.value(row), sum: sums.value(row) };
            taken += self.series[numbers[keys.value(row) as usize] as usize].change(steps.value(row), change);
        }
        self.reservation.try_grow(taken)
    }

    fn partial_batches(self) -> Result<Vec<RecordBatch>> {
        let mut rows: Vec<(u32, u32, Change)> = Vec::new();
        let mut batches = Vec::new();
        for (number, series) in self.series.iter().enumerate() {
            rows.extend(series.changes().map(|(step, change)| (number as u32, step, change)));
            if rows.len() >= BATCH_ROWS {
                batches.push(self.partial_batch(&std::mem::take(&mut rows))?);
            }
        }
        batches.push(self.partial_batch(&rows)?);
        Ok(batches)
    }

    fn partial_batch(&self, rows: &[(u32, u32, Change)]) -> Result<RecordBatch> {
        let series: Vec<u32> = rows.iter().map(|(series, _, _)| *series).collect();
        let steps: Vec<u32> = rows.iter().map(|(_, step, _)| *step).collect();
        let counts: Vec<i64> = rows.iter().map(|(_, _, change)| change.count).collect();
        let sums: Vec<f64> = rows.iter().map(|(_, _, change)| change.sum).collect();
        let columns: Vec<Arc<dyn Array>> = vec![
            self.index.column(&series)?,
            Arc::new(UInt32Array::from(steps)),
            Arc::new(Int64Array::from(counts)),
            Arc::new(Float64Array::from(sums)),
        ];
        Ok(RecordBatch::try_new(PARTIAL.clone(), columns)?)
    }

    fn point_batches(self) -> Result<Vec<RecordBatch>> {
        let mut rows = PointRows::default();
        let mut batches = Vec::new();
        for (number, series) in self.series.iter().enumerate() {
            series.totals(self.spec.grid.count, |step, total| {
                rows.push(number as u32, step, self.spec.function.value(total, self.spec.window));
            });
            if rows.len() >= BATCH_ROWS {
                batches.push(std::mem::take(&mut rows).into_batch(&self.index)?);
            }
        }
        batches.push(rows.into_batch(&self.index)?);
        Ok(batches)
    }
}

/// Points on their way into a batch.
#[derive(Default)]
pub(crate) struct PointRows {
    series: Vec<u32>,
    steps: Vec<u32>,
    values: Vec<f64>,
}

impl PointRows {
    pub(crate) fn push(&mut self, series: u32, step: u32, value: f64) {
        self.series.push(series);
        self.steps.push(step);
        self.values.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn into_batch(self, index: &SeriesIndex) -> Result<RecordBatch> {
        let columns: Vec<Arc<dyn Array>> =
            vec![index.column(&self.series)?, Arc::new(UInt32Array::from(self.steps)), Arc::new(Float64Array::from(self.values))];
        Ok(RecordBatch::try_new(POINT.clone(), columns)?)
    }
}

async fn run(phase: Phase, mut state: State, mut input: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
    while let Some(rows) = input.next().await.transpose()? {
        match phase {
            Phase::Partial => state.add_samples(&rows)?,
            Phase::Final => state.add_partial(&rows)?,
        }
    }
    match phase {
        Phase::Partial => state.partial_batches(),
        Phase::Final => state.point_batches(),
    }
}

/// A stream of the batches that a computation gives at its end.
pub(crate) fn deferred(
    schema: SchemaRef,
    batches: impl Future<Output = Result<Vec<RecordBatch>>> + Send + 'static,
) -> SendableRecordBatchStream {
    let batches = stream::once(batches).map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

impl DisplayAs for RangeAggregateExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Partial => "partial",
            Phase::Final => "final",
        };
        let StepGrid { start, step, count } = self.spec.grid;
        write!(f, "RangeAggregateExec: phase={phase}, {}, start={start}, step={step}, steps={count}", self.spec.text)
    }
}

impl ExecutionPlan for RangeAggregateExec {
    fn name(&self) -> &str {
        "RangeAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("RangeAggregateExec has one input".into()))?;
        Ok(Arc::new(Self::new(input, self.phase, self.spec.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let state = State::new(self.spec.clone(), &context);
        let input = self.input.execute(partition, context)?;
        Ok(deferred(self.properties.eq_properties.schema().clone(), run(self.phase, state, input)))
    }
}
