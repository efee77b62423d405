//! `SetOperationExec`: `and`, `or` and `unless`, step by step, over the labels that match.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};

use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::matching::{Matching, Signatures};
use crate::operators::points::Points;

/// Memory of an entry of a set of signatures and steps.
const MARK_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetOp {
    /// Left points that have a partner.
    And,
    /// Left points, and right ones that have none.
    Or,
    /// Left points that have none.
    Unless,
}

#[derive(Debug)]
pub(crate) struct SetOperation {
    pub(crate) op: SetOp,
    pub(crate) matching: Matching,
    /// For people.
    pub(crate) text: String,
}

impl fmt::Display for SetOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Operator for SetOperation {
    const NAME: &'static str = "SetOperationExec";

    fn run(self: Arc<Self>, mut inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let (right, left) = (inputs.pop(), inputs.pop());
            let (Some(left), Some(right)) = (left, right) else {
                return Err(DataFusionError::Internal("SetOperationExec has two inputs".into()));
            };
            let mut marks = Marks { signatures: Signatures::new(self.matching.clone()), marked: HashSet::new(), memory };
            if self.op == SetOp::Or {
                let kept = marks.mark_all(left, true).await?;
                let rest = right.map(move |points| marks.filter(&points?, false));
                return Ok(stream::iter(kept.into_iter().map(Ok)).chain(rest).boxed());
            }
            marks.mark_all(right, false).await?;
            let is_wanted = self.op == SetOp::And;
            Ok(left.map(move |points| marks.filter(&points?, is_wanted)).boxed())
        })
    }
}

/// The signatures that one side has, by step.
struct Marks {
    signatures: Signatures,
    marked: HashSet<(u32, u32)>,
    memory: OperatorMemory,
}

impl Marks {
    /// Marks all points of a side; gives its batches back if they are to be kept.
    async fn mark_all(&mut self, mut side: SendableRecordBatchStream, keeps: bool) -> Result<Vec<RecordBatch>> {
        let mut kept = Vec::new();
        while let Some(batch) = side.next().await.transpose()? {
            let before = self.bytes();
            let points = Points::of(&batch)?;
            let signatures = self.of(&points);
            self.marked.extend(points.rows().map(|(key, step, _)| (signatures[key], step)));
            let held = if keeps { batch.get_array_memory_size() } else { 0 };
            self.memory.try_grow(self.bytes() - before + held)?;
            kept.extend(keeps.then_some(batch));
        }
        Ok(kept)
    }

    /// Bytes of memory taken.
    fn bytes(&self) -> usize {
        self.marked.len() * MARK_BYTES + self.signatures.bytes()
    }

    /// The points of a batch that are marked, or those that are not.
    fn filter(&mut self, batch: &RecordBatch, is_marked: bool) -> Result<RecordBatch> {
        let points = Points::of(batch)?;
        let before = self.bytes();
        let signatures = self.of(&points);
        self.memory.try_grow(self.bytes() - before)?;
        let kept: BooleanArray =
            points.rows().map(|(key, step, _)| Some(self.marked.contains(&(signatures[key], step)) == is_marked)).collect();
        Ok(filter_record_batch(batch, &kept)?)
    }

    fn of(&mut self, points: &Points<'_>) -> Vec<u32> {
        points.label_sets().map(|labels| self.signatures.of(labels)).collect()
    }
}
