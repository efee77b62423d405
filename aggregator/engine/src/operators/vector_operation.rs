//! `VectorOperationExec`: arithmetic and comparison between the points of two sides at the same step.
//!
//! The side of one is held in memory; the other passes by. Several points with one signature are an error on the side of one, and on the
//! other unless it may have many.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::SendableRecordBatchStream;
use futures::StreamExt;
use tailwater_logql::ast::BinaryOp;

use crate::error::QueryError;
use crate::memory::OperatorMemory;
use crate::operators::arithmetic::apply;
use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::matching::{Many, Matching, Signatures};
use crate::operators::points::{PointRows, Points};
use crate::operators::series::SeriesIndex;

/// Memory of an entry of a hash table with a point, and of one without.
const POINT_BYTES: usize = 64;
const MARK_BYTES: usize = 32;

#[derive(Debug)]
pub(crate) struct VectorOperation {
    pub(crate) op: BinaryOp,
    pub(crate) returns_bool: bool,
    pub(crate) matching: Matching,
    /// For people.
    pub(crate) text: String,
}

impl fmt::Display for VectorOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Operator for VectorOperation {
    const NAME: &'static str = "VectorOperationExec";

    fn run(self: Arc<Self>, mut inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let (right, left) = (inputs.pop(), inputs.pop());
            let (Some(left), Some(right)) = (left, right) else {
                return Err(DataFusionError::Internal("VectorOperationExec has two inputs".into()));
            };
            let (mut one, passing) = if self.matching.many() == Many::Right { (left, right) } else { (right, left) };
            let mut join = Join::new(self, memory);
            while let Some(points) = one.next().await.transpose()? {
                join.hold(&points)?;
            }
            Ok(passing.map(move |points| join.pass(&points?)).boxed())
        })
    }
}

/// A point of the side of one.
struct Held {
    series: u32,
    value: f64,
    /// Whether it has a partner already.
    is_taken: bool,
}

struct Join {
    operation: Arc<VectorOperation>,
    signatures: Signatures,
    held: HashMap<(u32, u32), Held>,
    held_series: SeriesIndex,
    /// (signature, result, step) of what a side of many found partners for.
    given: HashSet<(u32, u32, u32)>,
    passing_series: SeriesIndex,
    results: SeriesIndex,
    /// By series of the passing side and of the one held.
    result_of: HashMap<(u32, u32), u32>,
    memory: OperatorMemory,
}

impl Join {
    fn new(operation: Arc<VectorOperation>, memory: OperatorMemory) -> Self {
        let signatures = Signatures::new(operation.matching.clone());
        let [held_series, passing_series, results] = [(); 3].map(|()| SeriesIndex::default());
        let (held, given, result_of) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { operation, signatures, held, held_series, given, passing_series, results, result_of, memory }
    }

    /// (signature, series) of the label sets of a batch.
    fn places(signatures: &mut Signatures, index: &mut SeriesIndex, points: &Points<'_>) -> Vec<(u32, u32)> {
        points.label_sets().map(|labels| (signatures.of(labels), index.number(labels).0)).collect()
    }

    /// Bytes of memory that label sets take.
    fn label_bytes(&self) -> usize {
        let pairs = self.result_of.len() * MARK_BYTES;
        self.signatures.bytes() + self.held_series.bytes() + self.passing_series.bytes() + self.results.bytes() + pairs
    }

    fn hold(&mut self, batch: &RecordBatch) -> Result<()> {
        let points = Points::of(batch)?;
        let before = self.label_bytes();
        let places = Self::places(&mut self.signatures, &mut self.held_series, &points);
        self.memory.try_grow(batch.num_rows() * POINT_BYTES + self.label_bytes() - before)?;
        for (key, step, value) in points.rows() {
            let (signature, series) = places[key];
            if self.held.insert((signature, step), Held { series, value, is_taken: false }).is_some() {
                let side = if self.operation.matching.many() == Many::Right { "left" } else { "right" };
                return Err(failure(format!(
                    "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching labels must be unique on one side"
                )));
            }
        }
        Ok(())
    }

    fn pass(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let points = Points::of(batch)?;
        let before = self.label_bytes();
        let places = Self::places(&mut self.signatures, &mut self.passing_series, &points);
        let many = self.operation.matching.many();
        let marks = self.given.len();
        let mut rows = PointRows::default();
        for (key, step, value) in points.rows() {
            let (signature, series) = places[key];
            let Some(held) = self.held.get_mut(&(signature, step)) else { continue };
            // Partners have to be certain also where a comparison drops them.
            if many == Many::Neither && std::mem::replace(&mut held.is_taken, true) {
                return Err(failure("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"));
            }
            let (partner, other) = (held.series, held.value);
            let result = self.result(series, partner);
            if many != Many::Neither && !self.given.insert((signature, result, step)) {
                return Err(failure("multiple matches for labels: grouping labels must ensure unique matches"));
            }
            let (left, right) = if many == Many::Right { (other, value) } else { (value, other) };
            if let Some(value) = apply(self.operation.op, left, right).value(self.operation.returns_bool, left) {
                rows.push(result, step, value);
            }
        }
        let marks = (self.given.len() - marks) * MARK_BYTES;
        self.memory.try_grow(marks + self.label_bytes() - before)?;
        rows.into_batch(&self.results)
    }

    fn result(&mut self, passing: u32, held: u32) -> u32 {
        let Self { operation, passing_series, held_series, results, .. } = self;
        *self.result_of.entry((passing, held)).or_insert_with(|| {
            let labels = operation.matching.result(passing_series.labels(passing), held_series.labels(held));
            results.number(labels.as_bytes()).0
        })
    }
}

fn failure(text: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::Evaluation(text.into())))
}
