//! Variance of a population: number, mean, and the sum of the squares of the distances from it.

use crate::operators::windows::panes::PaneState;
use crate::operators::windows::{Sample, float, word};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn variance(&self) -> f64 {
        self.squares / self.count
    }

    /// The same, but of a single value nothing.
    pub(crate) fn group_variance(&self) -> f64 {
        if self.count == 1.0 { 0.0 } else { self.variance() }
    }

    pub(crate) fn deviation(&self) -> f64 {
        self.variance().sqrt()
    }
}

impl PaneState for Moments {
    const WORDS: usize = 3;

    fn of(sample: Sample) -> Self {
        // There is no distance from a mean that is no finite number.
        let squares = if sample.value.is_finite() { 0.0 } else { f64::NAN };
        Self { count: 1.0, mean: sample.value, squares }
    }

    fn merge(&mut self, other: Self) {
        let distance = other.mean - self.mean;
        let count = self.count + other.count;
        self.mean += distance * (other.count / count);
        self.squares += other.squares + distance * distance * (self.count * other.count / count);
        self.count = count;
    }

    fn write(&self, words: &mut Vec<u64>) {
        words.extend([word(self.count), word(self.mean), word(self.squares)]);
    }

    fn read(record: &[u64]) -> Self {
        Self { count: float(record[0]), mean: float(record[1]), squares: float(record[2]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::of(Sample::of_value(values[0]));
        values[1..].iter().for_each(|&value| moments.add(Sample::of_value(value)));
        moments
    }

    #[test]
    fn the_deviation_is_that_of_the_population() {
        assert_eq!(moments(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).deviation(), 2.0);
        assert_eq!(moments(&[1e9 + 1.0, 1e9 + 3.0]).variance(), 1.0);
        assert_eq!(moments(&[0.1; 7]).variance(), 0.0);
        for odd in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert!(moments(&[odd]).variance().is_nan() && moments(&[odd, 1.0]).group_variance().is_nan(), "{odd}");
            assert_eq!(moments(&[odd]).group_variance(), 0.0);
        }
        assert_eq!(moments(&[1.0, 3.0]).group_variance(), 1.0);
    }
}
