//! Counts and sums per (series, step), kept as changes from one step to the next.
//!
//! An entry counts for all steps whose window holds it, which are neighbours: adding it to the first and taking it away after the last
//! costs the same however wide the windows are. Whole numbers only, so that taking away leaves no residue.

use crate::operators::windows::{Sample, Steps, WindowStore};

/// Steps in a block; blocks are made where entries fall.
const BLOCK: usize = 64;

/// The changes of one series.
#[derive(Debug, Default)]
struct SeriesChanges {
    blocks: Vec<Option<Box<[Change; BLOCK]>>>,
}

/// What changes at a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Change {
    count: i64,
    sum: f64,
}

impl SeriesChanges {
    /// Adds a value to the steps `first..=last`; returns the bytes that were newly taken.
    fn add(&mut self, first: u32, last: u32, value: f64) -> usize {
        self.change(first, Change { count: 1, sum: value }) + self.change(last + 1, Change { count: -1, sum: -value })
    }

    /// Applies a change at a step; returns the bytes that were newly taken.
    fn change(&mut self, step: u32, change: Change) -> usize {
        let (block, slot) = (step as usize / BLOCK, step as usize % BLOCK);
        let mut taken = 0;
        if self.blocks.len() <= block {
            taken += (block + 1 - self.blocks.len()) * size_of::<Option<Box<[Change; BLOCK]>>>();
            self.blocks.resize_with(block + 1, || None);
        }
        let slots = self.blocks[block].get_or_insert_with(|| {
            taken += size_of::<[Change; BLOCK]>();
            Box::new([Change::default(); BLOCK])
        });
        slots[slot].count += change.count;
        slots[slot].sum += change.sum;
        taken
    }

    /// The steps at which something changes, ascending.
    fn changes(&self) -> impl Iterator<Item = (u32, Change)> + '_ {
        let blocks = self.blocks.iter().enumerate().filter_map(|(block, slots)| Some((block, slots.as_ref()?)));
        blocks
            .flat_map(|(block, slots)| slots.iter().enumerate().map(move |(slot, change)| ((block * BLOCK + slot) as u32, *change)))
            .filter(|(_, change)| *change != Change::default())
    }

    /// Running totals at each of `steps` steps that has entries, ascending.
    fn totals(&self, steps: u32, mut each: impl FnMut(u32, Change)) {
        let mut total = Change::default();
        let mut changes = self.changes().peekable();
        while let Some((from, change)) = changes.next() {
            total.count += change.count;
            total.sum += change.sum;
            let to = changes.peek().map_or(steps, |(next, _)| (*next).min(steps));
            if total.count > 0 {
                (from..to).for_each(|step| each(step, total));
            }
        }
    }
}

/// How running totals become values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Totals {
    Count,
    CountPer(f64),
    Sum,
    SumPer(f64),
}

impl Totals {
    fn value(self, total: Change) -> f64 {
        match self {
            Self::Count => total.count as f64,
            Self::CountPer(divisor) => total.count as f64 / divisor,
            Self::Sum => total.sum,
            Self::SumPer(divisor) => total.sum / divisor,
        }
    }
}

/// A store of changes. A record is a change at its first step.
pub(crate) struct ChangeStore {
    steps: u32,
    totals: Totals,
    series: Vec<SeriesChanges>,
}

impl ChangeStore {
    pub(crate) fn new(steps: u32, totals: Totals) -> Self {
        Self { steps, totals, series: Vec::new() }
    }

    fn series(&mut self, number: u32) -> &mut SeriesChanges {
        let number = number as usize;
        if self.series.len() <= number {
            self.series.resize_with(number + 1, SeriesChanges::default);
        }
        &mut self.series[number]
    }
}

impl WindowStore for ChangeStore {
    fn words(&self) -> usize {
        2
    }

    fn add(&mut self, series: u32, (first, last): Steps, sample: Sample) -> usize {
        self.series(series).add(first, last, sample.value)
    }

    fn merge(&mut self, series: u32, (step, _): Steps, record: &[u64]) -> usize {
        self.series(series).change(step, Change { count: record[0].cast_signed(), sum: f64::from_bits(record[1]) })
    }

    fn records(&mut self, series: u32, each: &mut dyn FnMut(Steps, &[u64])) {
        for (step, change) in std::mem::take(self.series(series)).changes() {
            each((step, step), &[change.count.cast_unsigned(), change.sum.to_bits()]);
        }
    }

    fn points(&mut self, series: u32, each: &mut dyn FnMut(u32, f64)) {
        let (steps, totals) = (self.steps, self.totals);
        std::mem::take(self.series(series)).totals(steps, |step, total| each(step, totals.value(total)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn totals_are_those_of_adding_to_every_step(
            entries in proptest::collection::vec((0u32..200, 0u32..200, 0u32..1000), 0..50), steps in 1u32..200,
        ) {
            let mut counters = SeriesChanges::default();
            let mut expected = vec![Change::default(); steps as usize];
            for (from, length, value) in entries {
                let (first, last) = (from.min(steps - 1), (from + length).min(steps - 1));
                counters.add(first, last, f64::from(value));
                for total in &mut expected[first as usize..=last as usize] {
                    total.count += 1;
                    total.sum += f64::from(value);
                }
            }
            let mut found = vec![Change::default(); steps as usize];
            counters.totals(steps, |step, total| found[step as usize] = total);
            prop_assert_eq!(found, expected);
        }
    }
}
