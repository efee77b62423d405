//! Values of series over windows of steps: the arithmetic under range and vector aggregations.
//!
//! ```text
//! (series, steps, sample) ──add──→ WindowStore ──records──→ another store ──points──→ (step, value)
//!    partial: one partition's samples            final: the records of all partitions, in any order
//! ```
//! A sample belongs to the steps `first..=last` whose windows hold it. Samples of the same steps share a *pane*: there are at most two
//! panes a step, however long the windows are, and a sample costs one of them. Functions that can be undone (counts of entries, sums of
//! whole numbers) keep [`changes`] from step to step instead. Records of one pane may be merged in any order: states that depend on the
//! order of samples carry it.

pub(crate) mod changes;
pub(crate) mod counter_rate;
pub(crate) mod ends;
pub(crate) mod extremes;
pub(crate) mod function;
pub(crate) mod mean;
pub(crate) mod moments;
pub(crate) mod panes;
pub(crate) mod quantile;
pub(crate) mod sliding;
#[cfg(test)]
mod tests;
pub(crate) mod total;

pub(crate) use function::WindowFunction;

/// First and last step, both included.
pub(crate) type Steps = (u32, u32);

/// A value at its place in time. Places order all samples of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Nanoseconds.
    pub(crate) stamp: i64,
    /// Orders samples of one stamp; 0 where the function does not ask for order.
    pub(crate) stream: u32,
    /// Orders samples of one stamp and stream; 0 where the function does not ask for order.
    pub(crate) arrival: u64,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn place(&self) -> (i64, u32, u64) {
        (self.stamp, self.stream, self.arrival)
    }

    /// A value whose place does not matter.
    pub(crate) fn of_value(value: f64) -> Self {
        Self { stamp: 0, stream: 0, arrival: 0, value }
    }
}

/// The windows of many series, by number.
pub(crate) trait WindowStore: Send {
    /// Words of a record.
    fn words(&self) -> usize;

    /// Adds a sample to the windows of `steps`; returns the bytes that were newly taken.
    fn add(&mut self, series: u32, steps: Steps, sample: Sample) -> usize;

    /// Adds a record of another store; returns the bytes that were newly taken.
    fn merge(&mut self, series: u32, steps: Steps, record: &[u64]) -> usize;

    /// Takes a series out, as records.
    fn records(&mut self, series: u32, each: &mut dyn FnMut(Steps, &[u64]));

    /// Takes a series out, as values of the steps that have samples, ascending.
    fn points(&mut self, series: u32, each: &mut dyn FnMut(u32, f64));
}

/// A float as a word of a record.
pub(crate) fn word(value: f64) -> u64 {
    value.to_bits()
}

/// The float of a word.
pub(crate) fn float(word: u64) -> f64 {
    f64::from_bits(word)
}
