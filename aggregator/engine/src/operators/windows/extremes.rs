//! Least and greatest value. What is no number gives way to any number.

use crate::operators::windows::panes::PaneState;
use crate::operators::windows::{Sample, float, word};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Least(pub(crate) f64);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Greatest(pub(crate) f64);

impl PaneState for Least {
    const WORDS: usize = 1;

    fn of(sample: Sample) -> Self {
        Self(sample.value)
    }

    fn merge(&mut self, other: Self) {
        if other.0 < self.0 || self.0.is_nan() {
            self.0 = other.0;
        }
    }

    fn write(&self, words: &mut Vec<u64>) {
        words.push(word(self.0));
    }

    fn read(record: &[u64]) -> Self {
        Self(float(record[0]))
    }
}

impl PaneState for Greatest {
    const WORDS: usize = 1;

    fn of(sample: Sample) -> Self {
        Self(sample.value)
    }

    fn merge(&mut self, other: Self) {
        if other.0 > self.0 || self.0.is_nan() {
            self.0 = other.0;
        }
    }

    fn write(&self, words: &mut Vec<u64>) {
        words.push(word(self.0));
    }

    fn read(record: &[u64]) -> Self {
        Self(float(record[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_gives_way() {
        let samples = [f64::NAN, 3.0, 1.0, f64::NAN, 2.0].map(Sample::of_value);
        let (mut least, mut greatest) = (Least::of(samples[0]), Greatest::of(samples[0]));
        assert!(least.0.is_nan() && greatest.0.is_nan());
        samples.into_iter().for_each(|sample| least.add(sample));
        samples.into_iter().for_each(|sample| greatest.add(sample));
        assert_eq!((least, greatest), (Least(1.0), Greatest(3.0)));
    }
}
