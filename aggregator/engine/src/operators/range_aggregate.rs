//! `RangeAggregateExec`: values of series over windows, in two phases.
//!
//! `partial` turns samples into records (see [`windows`](crate::operators::windows)), partition by partition; `final` merges the records
//! of all partitions, in any order, and turns them into points. Memory is bounded by series and steps, but for quantiles and counters,
//! which keep each value once.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, BinaryArray, FixedSizeBinaryArray, Float64Array, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::SendableRecordBatchStream;
use datafusion_execution::memory_pool::MemoryReservation;
use futures::{StreamExt, stream};
use tailwater_storage::pairs::Pairs;

use crate::batch::{self, POINT};
use crate::error::QueryError;
use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::grid::{StepGrid, Window};
use crate::operators::points::{BATCH_ROWS, PointRows};
use crate::operators::series::SeriesIndex;
use crate::operators::windows::{Sample, Steps, WindowFunction, WindowStore};

/// Memory taken by a series besides its labels and windows.
const SERIES_OVERHEAD: usize = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Partial,
    Final,
}

/// What is computed; the same in both phases.
#[derive(Debug, Clone)]
pub(crate) struct RangeSpec {
    pub(crate) function: WindowFunction,
    pub(crate) grid: StepGrid,
    pub(crate) window: Window,
    /// Give a 1 with these labels at each step without samples, instead of values.
    pub(crate) absent: Option<Pairs>,
    /// Labels with empty values are left out of the points, so that several series may have the same labels.
    pub(crate) hides_empty_labels: bool,
    /// Fail with more series than that.
    pub(crate) max_series: Option<usize>,
    /// The aggregation as text, for people.
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct RangeAggregate {
    phase: Phase,
    spec: RangeSpec,
}

impl RangeAggregate {
    pub(crate) fn new(phase: Phase, spec: RangeSpec) -> Self {
        Self { phase, spec }
    }
}

impl fmt::Display for RangeAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Partial => "partial",
            Phase::Final => "final",
        };
        let StepGrid { start, step, count } = self.spec.grid;
        write!(f, "phase={phase}, {}, start={start}, step={step}, steps={count}", self.spec.text)
    }
}

impl Operator for RangeAggregate {
    const NAME: &'static str = "RangeAggregateExec";

    fn schema(&self) -> SchemaRef {
        match self.phase {
            Phase::Partial => self.spec.partial_schema(),
            Phase::Final => POINT.clone(),
        }
    }

    fn is_partitioned(&self) -> bool {
        self.phase == Phase::Partial
    }

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: MemoryReservation) -> BatchStream {
        deferred(async move {
            let mut state = State { store: self.spec.store(), spec: self.spec.clone(), index: SeriesIndex::default(), seen: 0, memory };
            for mut input in inputs {
                while let Some(rows) = input.next().await.transpose()? {
                    match self.phase {
                        Phase::Partial => state.add_samples(&rows)?,
                        Phase::Final => state.add_partial(&rows)?,
                    }
                }
            }
            Ok(match self.phase {
                Phase::Partial => stream::iter(Emission { state, next: 0, batch: State::partial_batch }).boxed(),
                Phase::Final if state.spec.absent.is_some() => stream::iter([state.absent_batch()]).boxed(),
                Phase::Final => stream::iter(Emission { state, next: 0, batch: State::point_batch }).boxed(),
            })
        })
    }
}

impl RangeSpec {
    /// The schema of the partial phase's records.
    pub(crate) fn partial_schema(&self) -> SchemaRef {
        batch::partial(self.store().words())
    }

    fn store(&self) -> Box<dyn WindowStore> {
        self.function.store(self.window.range, self.grid.count)
    }
}

/// The state of one phase of one partition.
struct State {
    spec: RangeSpec,
    index: SeriesIndex,
    store: Box<dyn WindowStore>,
    /// Series numbers below this have samples.
    seen: u32,
    memory: MemoryReservation,
}

/// Numbers of the label sets of a batch, given out when their first sample falls into a window.
struct Numbers<'b> {
    labels: &'b BinaryArray,
    numbers: Vec<Option<u32>>,
}

impl State {
    fn number(&mut self, numbers: &mut Numbers<'_>, key: u32) -> Result<u32> {
        if let Some(number) = numbers.numbers[key as usize] {
            return Ok(number);
        }
        let number = self.series(numbers.labels.value(key as usize))?;
        numbers.numbers[key as usize] = Some(number);
        Ok(number)
    }

    /// The number of a series; fails if there are too many.
    fn series(&mut self, labels: &[u8]) -> Result<u32> {
        let before = self.index.bytes();
        let (number, is_new) = self.index.number(labels);
        if is_new {
            self.seen += 1;
            self.memory.try_grow(self.index.bytes() - before + SERIES_OVERHEAD)?;
            if let Some(limit) = self.spec.max_series.filter(|limit| self.seen as usize > *limit) {
                return Err(DataFusionError::External(Box::new(QueryError::TooManySeries { limit })));
            }
        }
        Ok(number)
    }

    fn add_samples(&mut self, samples: &RecordBatch) -> Result<()> {
        let (keys, labels) = batch::dictionary_column(samples, "series")?;
        let stamps: &TimestampNanosecondArray = batch::column(samples, batch::TIMESTAMP)?;
        let values: &Float64Array = batch::column(samples, "value")?;
        let order: Option<(&UInt32Array, &UInt64Array)> = match self.spec.function.needs_order() {
            true => Some((batch::column(samples, batch::STREAM)?, batch::column(samples, batch::ARRIVAL)?)),
            false => None,
        };
        let mut numbers = Numbers { labels, numbers: vec![None; labels.len()] };
        let mut taken = 0;
        for row in 0..samples.num_rows() {
            let stamp = stamps.value(row);
            let Some(steps) = self.spec.grid.steps_of(stamp, self.spec.window) else { continue };
            let (stream, arrival) = order.map_or((0, 0), |(streams, arrivals)| (streams.value(row), arrivals.value(row)));
            let series = self.number(&mut numbers, keys.value(row))?;
            taken += self.store.add(series, steps, Sample { stamp, stream, arrival, value: values.value(row) });
        }
        self.memory.try_grow(taken)
    }

    fn add_partial(&mut self, partial: &RecordBatch) -> Result<()> {
        let (keys, labels) = batch::dictionary_column(partial, "series")?;
        let first: &UInt32Array = batch::column(partial, "first_step")?;
        let last: &UInt32Array = batch::column(partial, "last_step")?;
        let records: &FixedSizeBinaryArray = batch::column(partial, "record")?;
        let mut numbers = Numbers { labels, numbers: vec![None; labels.len()] };
        let mut words = Vec::new();
        let mut taken = 0;
        for row in 0..partial.num_rows() {
            words.clear();
            let bytes = records.value(row).chunks_exact(size_of::<u64>());
            words.extend(bytes.map(|word| u64::from_le_bytes(word.try_into().expect("chunks are as long as words"))));
            let series = self.number(&mut numbers, keys.value(row))?;
            taken += self.store.merge(series, (first.value(row), last.value(row)), &words);
        }
        self.memory.try_grow(taken)
    }

    /// Takes the series from `next` on out, until a batch is full.
    fn partial_batch(&mut self, next: &mut u32) -> Result<RecordBatch> {
        let (mut series, mut steps): (Vec<u32>, Vec<Steps>) = (Vec::new(), Vec::new());
        let mut bytes: Vec<u8> = Vec::new();
        while *next < self.seen && series.len() < BATCH_ROWS {
            self.store.records(*next, &mut |of, record| {
                series.push(*next);
                steps.push(of);
                record.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
            });
            *next += 1;
        }
        let width = (self.store.words() * size_of::<u64>()) as i32;
        let columns: Vec<Arc<dyn Array>> = vec![
            self.index.column(&series)?,
            Arc::new(UInt32Array::from_iter_values(steps.iter().map(|(first, _)| *first))),
            Arc::new(UInt32Array::from_iter_values(steps.iter().map(|(_, last)| *last))),
            Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from_vec(bytes), None)?),
        ];
        Ok(RecordBatch::try_new(batch::partial(self.store.words()), columns)?)
    }

    /// Takes the series from `next` on out, until a batch is full.
    fn point_batch(&mut self, next: &mut u32) -> Result<RecordBatch> {
        let mut rows = PointRows::default();
        while *next < self.seen && rows.len() < BATCH_ROWS {
            self.store.points(*next, &mut |step, value| rows.push(*next, step, value));
            *next += 1;
        }
        if self.spec.hides_empty_labels {
            return rows.into_batch(&self.index.without_empty_values());
        }
        rows.into_batch(&self.index)
    }

    /// A point at each step at which no series has a value.
    fn absent_batch(mut self) -> Result<RecordBatch> {
        let mut is_present = vec![false; self.spec.grid.count as usize];
        for series in 0..self.seen {
            self.store.points(series, &mut |step, _| is_present[step as usize] = true);
        }
        let mut index = SeriesIndex::default();
        let (series, _) = index.number(self.spec.absent.clone().unwrap_or_default().as_bytes());
        let mut rows = PointRows::default();
        (0..self.spec.grid.count).filter(|step| !is_present[*step as usize]).for_each(|step| rows.push(series, step, 1.0));
        rows.into_batch(&index)
    }
}

/// Counts that a leaf made without samples, on their way into the records of the partial phase.
pub(crate) struct PartialCounts(State);

impl PartialCounts {
    /// For functions that count entries or sum whole numbers.
    pub(crate) fn new(spec: &RangeSpec, memory: MemoryReservation) -> Self {
        Self(State { store: spec.store(), spec: spec.clone(), index: SeriesIndex::default(), seen: 0, memory })
    }

    /// Adds so many entries of a series, and the sum of their values. All are in the windows that `stamp` is in.
    pub(crate) fn add(&mut self, labels: &[u8], stamp: i64, entries: u64, sum: u64) -> Result<()> {
        let Some((first, last)) = self.0.spec.grid.steps_of(stamp, self.0.spec.window).filter(|_| entries > 0) else { return Ok(()) };
        let series = self.0.series(labels)?;
        let mut change = |step, entries: i64, sum: f64| self.0.store.merge(series, (step, step), &[entries.cast_unsigned(), sum.to_bits()]);
        let taken = change(first, entries.cast_signed(), sum as f64) + change(last + 1, -entries.cast_signed(), -(sum as f64));
        self.0.memory.try_grow(taken)
    }

    pub(crate) fn into_batches(self) -> BatchStream {
        stream::iter(Emission { state: self.0, next: 0, batch: State::partial_batch }).boxed()
    }
}

/// Gives a state away batch by batch.
struct Emission {
    state: State,
    next: u32,
    batch: fn(&mut State, &mut u32) -> Result<RecordBatch>,
}

impl Iterator for Emission {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.next < self.state.seen).then(|| (self.batch)(&mut self.state, &mut self.next))
    }
}
