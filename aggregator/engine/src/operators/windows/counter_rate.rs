//! `rate_counter`: how fast a counter rose, falls counted as restarts from 0.
//!
//! Rises between neighbours need all samples in the order of time, so samples are kept until the panes of all partitions are together;
//! each pane is then a run, and runs are merged.
//!
//! The reference counts time stamps in nanoseconds as if they were milliseconds, and takes the window to begin one range before the first
//! sample and to end with the last: the value is stretched by a millionth or so. That is kept, as answers have to agree to nine digits.

use crate::operators::windows::Sample;
use crate::operators::windows::ends::{SAMPLE_WORDS, read_sample, write_sample};
use crate::operators::windows::panes::PaneState;
use crate::operators::windows::sliding::Mergeable;

/// The samples of a pane, in any order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CounterSamples(Vec<Sample>);

impl PaneState for CounterSamples {
    const WORDS: usize = SAMPLE_WORDS;
    // Vectors grow by doubling.
    const BYTES_PER_SAMPLE: usize = 2 * size_of::<Sample>();

    fn of(sample: Sample) -> Self {
        Self(vec![sample])
    }

    fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    fn write(&self, words: &mut Vec<u64>) {
        self.0.iter().for_each(|sample| write_sample(sample, words));
    }

    fn read(record: &[u64]) -> Self {
        Self(vec![read_sample(record)])
    }
}

impl CounterSamples {
    pub(crate) fn arrange(mut self) -> CounterRun {
        self.0.sort_unstable_by_key(Sample::place);
        let mut runs = self.0.into_iter().map(CounterRun::of);
        let mut run = runs.next().expect("a pane is made by its first sample");
        runs.for_each(|next| run.absorb(&next));
        run
    }
}

/// Samples that follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CounterRun {
    count: u64,
    first: Sample,
    last: Sample,
    /// The values that the counter had before it fell, added up.
    restarts: f64,
}

impl Mergeable for CounterRun {
    fn absorb(&mut self, later: &Self) {
        if later.first.value < self.last.value {
            self.restarts += self.last.value;
        }
        self.restarts += later.restarts;
        self.count += later.count;
        self.last = later.last;
    }
}

impl CounterRun {
    fn of(sample: Sample) -> Self {
        Self { count: 1, first: sample, last: sample, restarts: 0.0 }
    }

    /// The rise a second over a window of `range` nanoseconds.
    pub(crate) fn rate(&self, range: i64) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let rise = self.last.value - self.first.value + self.restarts;
        let seconds = range as f64 / 1e9;
        // Thousandths of nanosecond stamps; the range really in seconds.
        let sampled = (i128::from(self.last.stamp) - i128::from(self.first.stamp)) as f64 / 1e3;
        let mut to_start = (range / 1_000_000) as f64 / 1e3;
        if rise > 0.0 && self.first.value >= 0.0 {
            // It was not below 0 before.
            let to_zero = sampled * (self.first.value / rise);
            to_start = if to_zero < to_start { to_zero } else { to_start };
        }
        let average = sampled / (self.count - 1) as f64;
        let near = average * 1.1;
        let mut stretched = sampled;
        stretched += if to_start < near { to_start } else { average / 2.0 };
        // The window ends with the last sample.
        stretched += if 0.0 < near { 0.0 } else { average / 2.0 };
        rise * (stretched / sampled) / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn run(values: &[f64]) -> CounterRun {
        let samples = values.iter().enumerate().map(|(index, &value)| Sample { stamp: index as i64 * SECOND, ..Sample::of_value(value) });
        let mut samples: Vec<Sample> = samples.collect();
        samples.reverse();
        CounterSamples(samples).arrange()
    }

    #[test]
    fn restarts_are_added_back() {
        let close = |found: f64, expected: f64| (found - expected).abs() < expected * 1e-4;
        assert!(close(run(&[10.0, 20.0, 5.0, 15.0]).rate(60 * SECOND), (10.0 + 5.0 + 10.0) / 60.0));
        assert!(close(run(&[0.0, 6.0]).rate(60 * SECOND), 0.1));
        assert_eq!(run(&[7.0]).rate(60 * SECOND), 0.0);
        assert_eq!(run(&[7.0, 7.0]).rate(60 * SECOND), 0.0);
    }

    #[test]
    fn runs_merge_to_the_run_of_all() {
        let whole = run(&[1.0, 5.0, 2.0, 3.0, 1.0]);
        let samples = [1.0, 5.0, 2.0, 3.0, 1.0].map(Sample::of_value);
        let mut merged = CounterRun::of(samples[0]);
        let mut rest = CounterRun::of(samples[1]);
        samples[2..].iter().for_each(|sample| rest.absorb(&CounterRun::of(*sample)));
        merged.absorb(&rest);
        assert_eq!((merged.count, merged.restarts), (whole.count, whole.restarts));
    }
}
