//! `RankingExec`: `topk`, `bottomk`, `sort` and `sort_desc`, which choose and order points but leave labels and values.
//!
//! Points of equal value stand in the order of their labels; what is no number comes last. Labels without a value that are not to be shown
//! count neither for the order nor for the groups. Points are emitted step by step, so that the answer of an instant query has them in
//! their order.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_common::Result;
use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use tailwater_logql::ast::Grouping;
use tailwater_logql::labels::LabelSet;
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::batch;
use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::points::{BATCH_ROWS, PointRows, Points};
use crate::operators::series::SeriesIndex;
use crate::operators::vector_aggregate::group_labels;

/// Points beyond the limit that a list may hold before it is cut.
const SLACK: usize = 64;

#[derive(Debug)]
pub(crate) struct Ranking {
    /// Greatest first.
    pub(crate) is_descending: bool,
    /// Points kept of each group at each step.
    pub(crate) limit: usize,
    pub(crate) grouping: Grouping,
    /// Its series have labels without a value that are not to be shown.
    pub(crate) hides_empty_labels: bool,
    /// For people.
    pub(crate) text: String,
}

/// The points of a group at a step: (value, series).
type Ranked = Vec<(f64, u32)>;

struct State {
    ranking: Arc<Ranking>,
    groups: SeriesIndex,
    series: SeriesIndex,
    /// By series, as far as they are shown.
    labels: Vec<LabelSet>,
    /// By step, then group.
    lists: BTreeMap<(u32, u32), Ranked>,
    memory: OperatorMemory,
}

impl State {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let points = Points::of(batch)?;
        let before = self.groups.bytes() + self.series.bytes();
        let mut taken = 0;
        let mut places: Vec<(u32, u32)> = Vec::new();
        for encoded in points.label_sets() {
            let shown = self.ranking.shown(encoded);
            let (group, _) = self.groups.number(group_labels(&self.ranking.grouping, shown.as_bytes()).as_bytes());
            let (series, is_new) = self.series.number(encoded);
            if is_new {
                self.labels.push(batch::decode_labels(shown.as_bytes()));
                taken += 2 * encoded.len() + size_of::<LabelSet>();
            }
            places.push((group, series));
        }
        taken += self.groups.bytes() + self.series.bytes() - before;
        for (key, step, value) in points.rows() {
            let (group, series) = places[key];
            let list = self.lists.entry((step, group)).or_default();
            if list.len() >= self.ranking.limit.saturating_mul(2).max(self.ranking.limit.saturating_add(SLACK)) {
                cut(list, &self.ranking, &self.labels);
            }
            let capacity = list.capacity();
            list.push((value, series));
            taken += (list.capacity() - capacity) * size_of::<(f64, u32)>();
        }
        self.memory.try_grow(taken)
    }

    fn into_batches(self) -> impl Iterator<Item = Result<RecordBatch>> {
        let Self { ranking, series, labels, lists, memory, .. } = self;
        let mut lists = lists.into_iter().peekable();
        std::iter::from_fn(move || {
            // Held until the last batch is out.
            let _held = &memory;
            lists.peek()?;
            let mut rows = PointRows::default();
            while rows.len() < BATCH_ROWS
                && let Some(((step, _), mut list)) = lists.next()
            {
                cut(&mut list, &ranking, &labels);
                list.into_iter().for_each(|(value, series)| rows.push(series, step, value));
            }
            Some(rows.into_batch(&series))
        })
    }
}

/// Orders a list and drops what is beyond the limit.
fn cut(list: &mut Ranked, ranking: &Ranking, labels: &[LabelSet]) {
    list.sort_by(|left, right| ranking.order(left.0, right.0).then_with(|| labels[left.1 as usize].cmp(&labels[right.1 as usize])));
    list.truncate(ranking.limit);
}

impl Ranking {
    /// The labels of a series as later operators and the answer have them.
    fn shown(&self, labels: &[u8]) -> Pairs {
        Pairs::from_pairs(PairIter::over(labels).filter(|(_, value)| !self.hides_empty_labels || !value.is_empty()))
    }

    fn order(&self, left: f64, right: f64) -> Ordering {
        let by_value = left.partial_cmp(&right).map(|order| if self.is_descending { order.reverse() } else { order });
        by_value.unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
    }
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Operator for Ranking {
    const NAME: &'static str = "RankingExec";

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let (groups, series) = (SeriesIndex::default(), SeriesIndex::default());
            let mut state = State { ranking: self, groups, series, labels: Vec::new(), lists: BTreeMap::new(), memory };
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
    use proptest::prelude::*;

    fn ranking(is_descending: bool, limit: usize) -> Ranking {
        let grouping = Grouping { without: false, labels: Vec::new() };
        Ranking { is_descending, limit, grouping, hides_empty_labels: true, text: String::new() }
    }

    proptest! {
        #[test]
        fn cutting_early_changes_nothing(
            values in proptest::collection::vec(prop_oneof![(0i32..5).prop_map(f64::from), Just(f64::NAN)], 0..40),
            limit in 1usize..6, is_descending: bool, early in 0usize..40,
        ) {
            let ranking = ranking(is_descending, limit);
            let labels: Vec<LabelSet> = (0..values.len()).map(|number| LabelSet::from_pairs([("n", format!("{number:02}"))])).collect();
            let points: Ranked = values.iter().enumerate().map(|(series, value)| (*value, series as u32)).collect();
            let (mut once, mut twice) = (points.clone(), points[..early.min(points.len())].to_vec());
            cut(&mut once, &ranking, &labels);
            cut(&mut twice, &ranking, &labels);
            twice.extend_from_slice(&points[early.min(points.len())..]);
            cut(&mut twice, &ranking, &labels);
            let series = |list: &Ranked| list.iter().map(|(_, series)| *series).collect::<Vec<_>>();
            prop_assert_eq!(series(&once), series(&twice));
            prop_assert!(once.len() == limit.min(points.len()));
        }
    }

    #[test]
    fn what_is_no_number_comes_last_either_way() {
        for (is_descending, expected) in [(true, [2, 1, 0]), (false, [1, 2, 0])] {
            let mut list = vec![(f64::NAN, 0), (1.0, 1), (2.0, 2)];
            cut(&mut list, &ranking(is_descending, 3), &vec![LabelSet::default(); 3]);
            assert_eq!(list.iter().map(|(_, series)| *series).collect::<Vec<_>>(), expected);
        }
    }
}
