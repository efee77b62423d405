//! A mean that never forms the sum, so that great values do not overflow.

use crate::operators::windows::panes::PaneState;
use crate::operators::windows::{Sample, float, word};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mean {
    count: f64,
    mean: f64,
}

impl Mean {
    pub(crate) fn value(&self) -> f64 {
        self.mean
    }

    /// Of the points of a group, as Loki adds them up one by one: nothing that is added to an infinite mean leaves a number.
    pub(crate) fn one_by_one(&self) -> f64 {
        if self.count > 1.0 && self.mean.is_infinite() { f64::NAN } else { self.mean }
    }
}

impl PaneState for Mean {
    const WORDS: usize = 2;

    fn of(sample: Sample) -> Self {
        Self { count: 1.0, mean: sample.value }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        let share = other.count / self.count;
        self.mean = match (self.mean, other.mean) {
            // An infinite mean stays, unless the other is the opposite one, or no number.
            (mean, other) if mean.is_infinite() && (other.is_finite() || other == mean) => mean,
            (mean, other) if other.is_infinite() && mean.is_finite() => other,
            // Two products, as the difference of both may overflow.
            (mean, other) => mean + (other * share - mean * share),
        };
    }

    fn write(&self, words: &mut Vec<u64>) {
        words.extend([word(self.count), word(self.mean)]);
    }

    fn read(record: &[u64]) -> Self {
        Self { count: float(record[0]), mean: float(record[1]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(values: &[f64]) -> Mean {
        let mut mean = Mean::of(Sample::of_value(values[0]));
        values[1..].iter().for_each(|&value| mean.add(Sample::of_value(value)));
        mean
    }

    fn mean(values: &[f64]) -> f64 {
        state(values).value()
    }

    #[test]
    fn one_by_one_infinities_leave_no_number() {
        assert_eq!((state(&[f64::INFINITY]).one_by_one(), state(&[1.0, 3.0]).one_by_one()), (f64::INFINITY, 2.0));
        for values in [[f64::INFINITY, 1.0, 2.0], [1.0, f64::NEG_INFINITY, 2.0], [f64::INFINITY; 3]] {
            assert!(state(&values).one_by_one().is_nan(), "{values:?}");
        }
    }

    #[test]
    fn infinities_stay_and_great_values_do_not_overflow() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(mean(&[f64::INFINITY, 1.0, f64::INFINITY]), f64::INFINITY);
        assert_eq!(mean(&[1.0, f64::NEG_INFINITY, 2.0]), f64::NEG_INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan() && mean(&[f64::INFINITY, f64::NAN]).is_nan());
    }
}
