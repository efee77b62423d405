//! The functions over windows, by name, and the store that each works with.

use crate::operators::windows::WindowStore;
use crate::operators::windows::changes::{ChangeStore, Totals};
use crate::operators::windows::counter_rate::{CounterRun, CounterSamples};
use crate::operators::windows::ends::{First, Last};
use crate::operators::windows::extremes::{Greatest, Least};
use crate::operators::windows::mean::Mean;
use crate::operators::windows::moments::Moments;
use crate::operators::windows::panes::{PaneFunction, PaneStore};
use crate::operators::windows::quantile::Quantile;
use crate::operators::windows::sliding::Sliding;
use crate::operators::windows::total::Total;

/// What is computed of the samples of a window. "A second" divides by the window's length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum WindowFunction {
    Count,
    CountPerSecond,
    /// The sum of whole numbers below 2^53.
    WholeSum,
    WholeSumPerSecond,
    Sum,
    SumPerSecond,
    Average,
    Minimum,
    Maximum,
    StandardDeviation,
    StandardVariance,
    /// Of the points of a group, with `strict_loki`.
    GroupAverage,
    /// Of the points of a group, of which a lone one has no distance to itself, even if it is no finite number.
    GroupDeviation,
    GroupVariance,
    First,
    Last,
    Quantile(f64),
    CounterRate,
}

impl WindowFunction {
    /// Whether it depends on the order of samples of one stamp.
    pub(crate) fn needs_order(self) -> bool {
        matches!(self, Self::First | Self::Last | Self::CounterRate)
    }

    /// An empty store. `range`: the windows' length in nanoseconds; `steps`: how many there are.
    pub(crate) fn store(self, range: i64, steps: u32) -> Box<dyn WindowStore> {
        let seconds = range as f64 / 1e9;
        match self {
            Self::Count => Box::new(ChangeStore::new(steps, Totals::Count)),
            Self::CountPerSecond => Box::new(ChangeStore::new(steps, Totals::CountPer(seconds))),
            Self::WholeSum => Box::new(ChangeStore::new(steps, Totals::Sum)),
            Self::WholeSumPerSecond => Box::new(ChangeStore::new(steps, Totals::SumPer(seconds))),
            Self::Sum => panes(Sliding::new(Total::value)),
            Self::SumPerSecond => panes(Sliding::new(move |total: &Total| total.value() / seconds)),
            Self::Average => panes(Sliding::new(Mean::value)),
            Self::GroupAverage => panes(Sliding::new(Mean::one_by_one)),
            Self::Minimum => panes(Sliding::new(|least: &Least| least.0)),
            Self::Maximum => panes(Sliding::new(|greatest: &Greatest| greatest.0)),
            Self::StandardDeviation => panes(Sliding::new(Moments::deviation)),
            Self::StandardVariance => panes(Sliding::new(Moments::variance)),
            Self::GroupDeviation => panes(Sliding::new(|moments: &Moments| moments.group_variance().sqrt())),
            Self::GroupVariance => panes(Sliding::new(Moments::group_variance)),
            Self::First => panes(Sliding::new(First::value)),
            Self::Last => panes(Sliding::new(Last::value)),
            Self::Quantile(share) => panes(Quantile(share)),
            Self::CounterRate => panes(Sliding::arranged(CounterSamples::arrange, move |run: &CounterRun| run.rate(range))),
        }
    }
}

fn panes<F: PaneFunction>(function: F) -> Box<dyn WindowStore> {
    Box::new(PaneStore::new(function))
}
