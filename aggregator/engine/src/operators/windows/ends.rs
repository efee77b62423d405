//! First and last value in time; of one stamp, in the order of streams and arrival.

use crate::operators::windows::panes::PaneState;
use crate::operators::windows::{Sample, float, word};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct First(Sample);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Last(Sample);

impl First {
    pub(crate) fn value(&self) -> f64 {
        self.0.value
    }
}

impl Last {
    pub(crate) fn value(&self) -> f64 {
        self.0.value
    }
}

/// Words of a sample with its place.
pub(crate) const SAMPLE_WORDS: usize = 4;

pub(crate) fn write_sample(sample: &Sample, words: &mut Vec<u64>) {
    words.extend([sample.stamp.cast_unsigned(), u64::from(sample.stream), sample.arrival, word(sample.value)]);
}

pub(crate) fn read_sample(record: &[u64]) -> Sample {
    Sample { stamp: record[0].cast_signed(), stream: record[1] as u32, arrival: record[2], value: float(record[3]) }
}

impl PaneState for First {
    const WORDS: usize = SAMPLE_WORDS;

    fn of(sample: Sample) -> Self {
        Self(sample)
    }

    fn merge(&mut self, other: Self) {
        if other.0.place() < self.0.place() {
            *self = other;
        }
    }

    fn write(&self, words: &mut Vec<u64>) {
        write_sample(&self.0, words);
    }

    fn read(record: &[u64]) -> Self {
        Self(read_sample(record))
    }
}

impl PaneState for Last {
    const WORDS: usize = SAMPLE_WORDS;

    fn of(sample: Sample) -> Self {
        Self(sample)
    }

    fn merge(&mut self, other: Self) {
        if other.0.place() > self.0.place() {
            *self = other;
        }
    }

    fn write(&self, words: &mut Vec<u64>) {
        write_sample(&self.0, words);
    }

    fn read(record: &[u64]) -> Self {
        Self(read_sample(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_keep_samples_whole(stamp: i64, stream: u32, arrival: u64, value: f64) {
            let sample = Sample { stamp, stream, arrival, value };
            let mut words = Vec::new();
            First::of(sample).write(&mut words);
            prop_assert_eq!(words.len(), First::WORDS);
            let read = First::read(&words).0;
            prop_assert_eq!(read.place(), sample.place());
            prop_assert_eq!(read.value.to_bits(), value.to_bits());
        }
    }

    #[test]
    fn of_one_stamp_arrival_decides() {
        let at = |arrival, value| Sample { stamp: 5, stream: 1, arrival, value };
        let (mut first, mut last) = (First::of(at(2, 20.0)), Last::of(at(2, 20.0)));
        for sample in [at(3, 30.0), at(1, 10.0)] {
            first.add(sample);
            last.add(sample);
        }
        assert_eq!((first.value(), last.value()), (10.0, 30.0));
    }
}
