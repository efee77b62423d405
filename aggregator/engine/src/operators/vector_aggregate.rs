//! `VectorAggregateExec`: `sum by (app) (…)` and its like, step by step.
//!
//! A group is a series, and a step a window of its own: the functions are those of windows.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_common::Result;
use datafusion_execution::SendableRecordBatchStream;
use futures::StreamExt;
use tailwater_logql::ast::Grouping;
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::points::Points;
use crate::operators::table::WindowTable;
use crate::operators::windows::{Sample, WindowFunction};

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

/// Adds points to the windows of their groups.
fn add(table: &mut WindowTable, grouping: &Grouping, batch: &RecordBatch) -> Result<()> {
    let points = Points::of(batch)?;
    let groups: Vec<u32> = points.label_sets().map(|labels| table.series(group_labels(grouping, labels).as_bytes())).collect();
    points.rows().for_each(|(series, step, value)| table.add(groups[series], (step, step), Sample::of_value(value)));
    table.settle()
}

impl fmt::Display for VectorAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Operator for VectorAggregate {
    const NAME: &'static str = "VectorAggregateExec";

    fn spills(&self) -> bool {
        true
    }

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let (function, steps) = (self.function, self.steps);
            let mut table = WindowTable::new(Arc::new(move || function.store(1, steps)), memory);
            for mut input in inputs {
                while let Some(points) = input.next().await.transpose()? {
                    add(&mut table, &self.grouping, &points)?;
                }
            }
            // `without` takes labels without a value along with those that it names; what they tell apart stays apart.
            table.into_points(self.grouping.without)
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
