//! A sum that does not depend on the order of its values, but for the last bit.
//!
//! What rounding takes from each addition is kept apart and added at the end.

use crate::operators::windows::panes::PaneState;
use crate::operators::windows::{Sample, float, word};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Total {
    sum: f64,
    lost: f64,
}

impl Total {
    pub(crate) fn value(&self) -> f64 {
        // Beyond finite numbers nothing is known of what was lost.
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }

    fn plus(&mut self, value: f64) {
        let sum = self.sum + value;
        // The difference to the greater of both is exact.
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }
}

impl PaneState for Total {
    const WORDS: usize = 2;

    fn of(sample: Sample) -> Self {
        // A sum of nothing but -0 is 0.
        Self { sum: 0.0 + sample.value, lost: 0.0 }
    }

    fn add(&mut self, sample: Sample) {
        self.plus(sample.value);
    }

    fn merge(&mut self, other: Self) {
        self.plus(other.sum);
        self.lost += other.lost;
    }

    fn write(&self, words: &mut Vec<u64>) {
        words.extend([word(self.sum), word(self.lost)]);
    }

    fn read(record: &[u64]) -> Self {
        Self { sum: float(record[0]), lost: float(record[1]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(values: &[f64]) -> f64 {
        let mut total = Total::of(Sample::of_value(values[0]));
        values[1..].iter().for_each(|&value| total.add(Sample::of_value(value)));
        total.value()
    }

    #[test]
    fn small_values_survive_great_ones_and_infinities_count() {
        assert_eq!(total(&[1e16, 1.0, -1e16]), 1.0);
        assert_eq!(total(&[0.1; 10]), 1.0);
        assert_eq!(total(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(total(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan() && total(&[1.0, f64::NAN]).is_nan());
        assert!(total(&[-0.0]).is_sign_positive());
    }
}
