//! `VectorAggregateExec`: `sum by (app) (…)` and its like, step by step.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, Float64Array, RecordBatch, UInt32Array};
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;
use tailwater_logql::ast::Grouping;
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::batch::{self, POINT};
use crate::operators::range_aggregate::{PointRows, deferred};
use crate::operators::series::SeriesIndex;

/// Memory taken by one (group, step), hash table included.
const CELL_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VectorFunction {
    Sum,
    Average,
    Minimum,
    Maximum,
    Count,
}

/// The values of one group at one step.
#[derive(Debug, Clone, Copy)]
struct Cell {
    count: u64,
    /// Sum, incremental mean, least or greatest, by function.
    value: f64,
}

impl VectorFunction {
    fn begin(value: f64) -> Cell {
        Cell { count: 1, value }
    }

    fn add(self, cell: &mut Cell, value: f64) {
        cell.count += 1;
        match self {
            Self::Sum => cell.value += value,
            Self::Average => cell.value += (value - cell.value) / cell.count as f64,
            // A NaN gives way to any number.
            Self::Minimum if cell.value > value || cell.value.is_nan() => cell.value = value,
            Self::Maximum if cell.value < value || cell.value.is_nan() => cell.value = value,
            Self::Minimum | Self::Maximum | Self::Count => {}
        }
    }

    fn finish(self, cell: Cell) -> f64 {
        if self == Self::Count { cell.count as f64 } else { cell.value }
    }
}

#[derive(Debug)]
pub(crate) struct VectorAggregateExec {
    input: Arc<dyn ExecutionPlan>,
    function: VectorFunction,
    grouping: Grouping,
    text: String,
    properties: Arc<PlanProperties>,
}

impl VectorAggregateExec {
    /// `input` has one partition.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, function: VectorFunction, grouping: Grouping, text: String) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(POINT.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { input, function, grouping, text, properties }
    }
}

/// The labels of a group that a series belongs to.
fn group_labels(grouping: &Grouping, labels: &[u8]) -> Pairs {
    let is_kept = |name: &str| grouping.labels.iter().any(|label| label == name) != grouping.without;
    Pairs::from_pairs(PairIter::over(labels).filter(|(name, _)| is_kept(name)))
}

struct State {
    function: VectorFunction,
    grouping: Grouping,
    groups: SeriesIndex,
    cells: HashMap<(u32, u32), Cell>,
    reservation: MemoryReservation,
}

impl State {
    fn add(&mut self, points: &RecordBatch) -> Result<()> {
        let (keys, labels) = batch::dictionary_column(points, "series")?;
        let steps: &UInt32Array = batch::column(points, "step")?;
        let values: &Float64Array = batch::column(points, "value")?;
        let groups = (0..labels.len()).map(|value| self.groups.number(group_labels(&self.grouping, labels.value(value)).as_bytes()).0);
        let groups: Vec<u32> = groups.collect();
        let before = self.cells.len();
        for row in 0..points.num_rows() {
            let value = values.value(row);
            let place = (groups[keys.value(row) as usize], steps.value(row));
            self.cells.entry(place).and_modify(|cell| self.function.add(cell, value)).or_insert_with(|| VectorFunction::begin(value));
        }
        self.reservation.try_grow((self.cells.len() - before) * CELL_BYTES)
    }

    fn finish(self) -> Result<Vec<RecordBatch>> {
        let mut cells: Vec<_> = self.cells.into_iter().collect();
        cells.sort_unstable_by_key(|(place, _)| *place);
        let mut rows = PointRows::default();
        for ((group, step), cell) in cells {
            rows.push(group, step, self.function.finish(cell));
        }
        Ok(vec![rows.into_batch(&self.groups)?])
    }
}

async fn run(mut state: State, mut input: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
    while let Some(points) = input.next().await.transpose()? {
        state.add(&points)?;
    }
    state.finish()
}

impl DisplayAs for VectorAggregateExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorAggregateExec: {}", self.text)
    }
}

impl ExecutionPlan for VectorAggregateExec {
    fn name(&self) -> &str {
        "VectorAggregateExec"
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
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("VectorAggregateExec has one input".into()))?;
        Ok(Arc::new(Self::new(input, self.function, self.grouping.clone(), self.text.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("VectorAggregateExec").register(context.memory_pool());
        let state = State {
            function: self.function,
            grouping: self.grouping.clone(),
            groups: SeriesIndex::default(),
            cells: HashMap::new(),
            reservation,
        };
        Ok(deferred(POINT.clone(), run(state, self.input.execute(partition, context)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aggregate(function: VectorFunction, values: &[f64]) -> f64 {
        let mut cell = VectorFunction::begin(values[0]);
        values[1..].iter().for_each(|&value| function.add(&mut cell, value));
        function.finish(cell)
    }

    #[test]
    fn nan_gives_way_in_extremes_and_spreads_in_sums() {
        let values = [f64::NAN, 3.0, 1.0, f64::NAN, 2.0];
        assert_eq!(aggregate(VectorFunction::Minimum, &values), 1.0);
        assert_eq!(aggregate(VectorFunction::Maximum, &values), 3.0);
        assert_eq!(aggregate(VectorFunction::Count, &values), 5.0);
        assert!(aggregate(VectorFunction::Sum, &values).is_nan());
        assert_eq!(aggregate(VectorFunction::Average, &[1.0, 2.0, 6.0]), 3.0);
    }

    #[test]
    fn groups_keep_what_is_present() {
        let labels = Pairs::from_pairs([("a", "1"), ("b", "2")]);
        let by = Grouping { without: false, labels: vec!["b".into(), "c".into()] };
        assert_eq!(group_labels(&by, labels.as_bytes()), Pairs::from_pairs([("b", "2")]));
        let without = Grouping { without: true, labels: vec!["b".into()] };
        assert_eq!(group_labels(&without, labels.as_bytes()), Pairs::from_pairs([("a", "1")]));
    }
}
