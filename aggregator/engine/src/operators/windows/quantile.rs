//! Quantiles, exact: every value of a pane is kept, once.
//!
//! Where windows overlap, a series' values are ranked by sorting them once. A window is then a tree of counts by rank: values enter and
//! leave it, and the one of a given rank is found, in logarithmic time, so that windows which overlap cost no more than their edges.
//! Windows that share nothing are each asked for their one or two values by selection, in linear time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::operators::windows::panes::{PaneFunction, PaneState};
use crate::operators::windows::{Sample, Steps, float, word};

/// The values of a pane, in any order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values(Vec<f64>);

impl PaneState for Values {
    const WORDS: usize = 1;
    // Vectors grow by doubling.
    const BYTES_PER_SAMPLE: usize = 2 * size_of::<f64>();

    fn of(sample: Sample) -> Self {
        Self(vec![sample.value])
    }

    fn add(&mut self, sample: Sample) {
        self.0.push(sample.value);
    }

    fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    fn write(&self, words: &mut Vec<u64>) {
        words.extend(self.0.iter().map(|value| word(*value)));
    }

    fn read(record: &[u64]) -> Self {
        Self(vec![float(record[0])])
    }
}

/// The quantile of a share of the values, interpolated between neighbours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantile(pub(crate) f64);

impl PaneFunction for Quantile {
    type State = Values;

    fn points(&self, mut panes: BTreeMap<Steps, Values>, each: &mut dyn FnMut(u32, f64)) {
        if panes.keys().all(|(first, last)| first == last) {
            for ((step, _), Values(values)) in &mut panes {
                each(*step, quantile(self.0, values.len(), |rank| select(values, rank)));
            }
            return;
        }
        let mut window = RankedWindow::over(panes.values().flat_map(|values| &values.0));
        let (mut entering, mut leaving) = (panes.iter().peekable(), panes.iter().peekable());
        let mut step = 0;
        loop {
            while let Some((_, values)) = entering.next_if(|((first, _), _)| *first <= step) {
                values.0.iter().for_each(|value| window.enter(*value));
            }
            while let Some((_, values)) = leaving.next_if(|((_, last), _)| *last < step) {
                values.0.iter().for_each(|value| window.leave(*value));
            }
            if window.count > 0 {
                each(step, window.quantile(self.0));
                step += 1;
            } else if let Some(((first, _), _)) = entering.peek() {
                step = *first;
            } else {
                return;
            }
        }
    }
}

/// What is no number stands below all numbers.
fn order(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

/// Values with their counts, to be found by rank.
struct RankedWindow {
    /// All values that may enter, ascending, each once.
    values: Vec<f64>,
    /// A binary indexed tree: place `i` (from 1) holds the counts of the `i & -i` values up to it.
    counts: Vec<u32>,
    count: usize,
}

impl RankedWindow {
    fn over<'v>(values: impl Iterator<Item = &'v f64>) -> Self {
        let mut values: Vec<f64> = values.copied().collect();
        values.sort_unstable_by(|left, right| order(*left, *right));
        values.dedup_by(|left, right| order(*left, *right).is_eq());
        Self { counts: vec![0; values.len() + 1], values, count: 0 }
    }

    fn enter(&mut self, value: f64) {
        self.count += 1;
        self.change(value, 1);
    }

    fn leave(&mut self, value: f64) {
        self.count -= 1;
        self.change(value, u32::MAX);
    }

    /// Adds to the count of a value; `u32::MAX` takes one away.
    fn change(&mut self, value: f64, by: u32) {
        let mut place = self.values.partition_point(|known| order(*known, value).is_lt()) + 1;
        while place < self.counts.len() {
            self.counts[place] = self.counts[place].wrapping_add(by);
            place += place & place.wrapping_neg();
        }
    }

    /// The value of a rank (from 0) among those in the window.
    fn at(&self, rank: usize) -> f64 {
        let (mut place, mut left) = (0, rank);
        let mut width = self.values.len().next_power_of_two();
        while width > 0 {
            if let Some(&count) = self.counts.get(place + width)
                && count as usize <= left
            {
                place += width;
                left -= count as usize;
            }
            width /= 2;
        }
        self.values[place]
    }

    fn quantile(&self, share: f64) -> f64 {
        quantile(share, self.count, |rank| self.at(rank))
    }
}

/// The value of a rank (from 0); the values change places.
fn select(values: &mut [f64], rank: usize) -> f64 {
    *values.select_nth_unstable_by(rank, |left, right| order(*left, *right)).1
}

/// The quantile of `count` values (not none), of which `at` tells the one of a rank.
fn quantile(share: f64, count: usize, mut at: impl FnMut(usize) -> f64) -> f64 {
    if share < 0.0 {
        return f64::NEG_INFINITY;
    }
    if share > 1.0 {
        return f64::INFINITY;
    }
    if share.is_nan() {
        return f64::NAN;
    }
    let rank = share * (count as f64 - 1.0);
    let below = rank.floor() as usize;
    let above = (below + 1).min(count - 1);
    let weight = rank - rank.floor();
    at(below) * (1.0 - weight) + at(above) * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_finds_what_sorting_finds(
            values in proptest::collection::vec(prop_oneof![(-5i32..5).prop_map(f64::from), Just(f64::NAN), any::<f64>()], 1..40),
            gone in 0usize..39, share in 0.0f64..=1.0,
        ) {
            let gone = gone.min(values.len() - 1);
            let mut window = RankedWindow::over(values.iter());
            values.iter().for_each(|value| window.enter(*value));
            values[..gone].iter().for_each(|value| window.leave(*value));
            let mut left = values[gone..].to_vec();
            left.sort_by(|a, b| order(*a, *b));
            for (rank, value) in left.iter().enumerate() {
                prop_assert!(order(window.at(rank), *value).is_eq());
            }
            let rank = share * (left.len() - 1) as f64;
            let (below, weight) = (rank.floor() as usize, rank - rank.floor());
            let expected = left[below] * (1.0 - weight) + left[(below + 1).min(left.len() - 1)] * weight;
            prop_assert!(order(window.quantile(share), expected).is_eq());
            let mut last = values[gone..].to_vec();
            prop_assert!(order(quantile(share, left.len(), |rank| select(&mut last, rank)), expected).is_eq());
        }
    }

    #[test]
    fn shares_outside_are_infinite() {
        let mut window = RankedWindow::over([1.0].iter());
        window.enter(1.0);
        assert_eq!((window.quantile(-0.1), window.quantile(1.1), window.quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY, 1.0));
    }
}
