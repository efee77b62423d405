//! `VectorAggregateExec`: `sum by (app) (…)` and its like, step by step.
//!
//! A group is a series, and a step a window of its own: the functions are those of windows.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_common::Result;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_execution::memory_pool::MemoryReservation;
use futures::{StreamExt, stream};
use tailwater_logql::ast::Grouping;
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::points::{BATCH_ROWS, PointRows, Points};
use crate::operators::series::SeriesIndex;
use crate::operators::windows::{Sample, WindowFunction, WindowStore};

#[derive(Debug)]
pub(crate) struct VectorAggregate {
    pub(crate) function: WindowFunction,
    pub(crate) grouping: Grouping,
    /// How many there are.
    pub(crate) steps: u32,
    /// For people.
    pub(crate) text: String,
}

/// The labels of a group that a series belongs to.
pub(crate) fn group_labels(grouping: &Grouping, labels: &[u8]) -> Pairs {
    let is_kept = |name: &str| grouping.labels.iter().any(|label| label == name) != grouping.without;
    Pairs::from_pairs(PairIter::over(labels).filter(|(name, _)| is_kept(name)))
}

struct State {
    grouping: Grouping,
    groups: SeriesIndex,
    store: Box<dyn WindowStore>,
    memory: MemoryReservation,
}

impl State {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let points = Points::of(batch)?;
        let before = self.groups.bytes();
        let group = |labels| self.groups.number(group_labels(&self.grouping, labels).as_bytes()).0;
        let groups: Vec<u32> = points.label_sets().map(group).collect();
        let mut taken = self.groups.bytes() - before;
        for (series, step, value) in points.rows() {
            taken += self.store.add(groups[series], (step, step), Sample::of_value(value));
        }
        self.memory.try_grow(taken)
    }

    fn into_batches(mut self) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            if next == self.groups.len() {
                return None;
            }
            let mut rows = PointRows::default();
            while next < self.groups.len() && rows.len() < BATCH_ROWS {
                self.store.points(next, &mut |step, value| rows.push(next, step, value));
                next += 1;
            }
            Some(rows.into_batch(&self.groups))
        })
    }
}

impl fmt::Display for VectorAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Operator for VectorAggregate {
    const NAME: &'static str = "VectorAggregateExec";

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: MemoryReservation) -> BatchStream {
        deferred(async move {
            let store = self.function.store(1, self.steps);
            let mut state = State { grouping: self.grouping.clone(), groups: SeriesIndex::default(), store, memory };
            for mut input in inputs {
                while let Some(points) = input.next().await.transpose()? {
                    state.add(&points)?;
                }
            }
            Ok(stream::iter(state.into_batches()).boxed())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_what_is_present() {
        let labels = Pairs::from_pairs([("a", "1"), ("b", "2")]);
        let by = Grouping { without: false, labels: vec!["b".into(), "c".into()] };
        assert_eq!(group_labels(&by, labels.as_bytes()), Pairs::from_pairs([("b", "2")]));
        let without = Grouping { without: true, labels: vec!["b".into()] };
        assert_eq!(group_labels(&without, labels.as_bytes()), Pairs::from_pairs([("a", "1")]));
    }
}
