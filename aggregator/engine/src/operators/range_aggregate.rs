//! `RangeAggregateExec`: values of series over windows, in two phases.
//!
//! `partial` turns samples into records (see [`windows`](crate::operators::windows)), partition by partition; `final` merges the records
//! of all partitions, in any order, and turns them into points. Memory is bounded by series and steps, but for quantiles and counters,
//! which keep each value once; where it ends, the partial phase gives its records away early, and the final one writes them to disk.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Float64Array, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use tailwater_storage::pairs::Pairs;

use crate::batch::{self, POINT};
use crate::error::QueryError;
use crate::memory::{OperatorMemory, is_exhausted};
use crate::operators::exec::{BatchStream, Operator, deferred};
use crate::operators::grid::{StepGrid, Window};
use crate::operators::points::PointRows;
use crate::operators::series::SeriesIndex;
use crate::operators::table::{MakeStore, WindowTable};
use crate::operators::windows::{Sample, WindowFunction, WindowStore};

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

    /// Absence has no labels, and so needs little memory.
    fn spills(&self) -> bool {
        self.phase == Phase::Final && self.spec.absent.is_none()
    }

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream {
        let state = State { table: WindowTable::new(self.spec.make_store(), memory), spec: self.spec.clone() };
        match self.phase {
            Phase::Partial => stream::try_unfold(PartialRun { inputs: inputs.into(), state, emitted: None }, PartialRun::next).boxed(),
            Phase::Final => deferred(state.into_final(inputs)),
        }
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

    fn make_store(&self) -> MakeStore {
        let spec = self.clone();
        Arc::new(move || spec.store())
    }
}

/// The state of one phase of one partition.
struct State {
    spec: RangeSpec,
    table: WindowTable,
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
        let series = self.table.series(labels);
        match self.spec.max_series.filter(|limit| self.table.len() as usize > *limit) {
            Some(limit) => Err(DataFusionError::External(Box::new(QueryError::TooManySeries { limit }))),
            None => Ok(series),
        }
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
        for row in 0..samples.num_rows() {
            let stamp = stamps.value(row);
            let Some(steps) = self.spec.grid.steps_of(stamp, self.spec.window) else { continue };
            let (stream, arrival) = order.map_or((0, 0), |(streams, arrivals)| (streams.value(row), arrivals.value(row)));
            let series = self.number(&mut numbers, keys.value(row))?;
            self.table.add(series, steps, Sample { stamp, stream, arrival, value: values.value(row) });
        }
        self.table.settle()
    }

    fn add_partial(&mut self, partial: &RecordBatch) -> Result<()> {
        self.table.add_records(partial)?;
        if let Some(limit) = self.spec.max_series.filter(|limit| self.table.len() as usize > *limit) {
            return Err(DataFusionError::External(Box::new(QueryError::TooManySeries { limit })));
        }
        self.table.settle()
    }

    async fn into_final(mut self, inputs: Vec<SendableRecordBatchStream>) -> Result<BatchStream> {
        for mut input in inputs {
            while let Some(records) = input.next().await.transpose()? {
                self.add_partial(&records)?;
            }
        }
        match self.spec.absent {
            Some(_) => Ok(stream::iter([self.absent_batch()]).boxed()),
            None => self.table.into_points(self.spec.hides_empty_labels),
        }
    }

    /// A point at each step at which no series has a value.
    fn absent_batch(mut self) -> Result<RecordBatch> {
        let mut is_present = vec![false; self.spec.grid.count as usize];
        self.table.steps(|step| is_present[step as usize] = true);
        let mut index = SeriesIndex::default();
        let (series, _) = index.number(self.spec.absent.clone().unwrap_or_default().as_bytes());
        let mut rows = PointRows::default();
        (0..self.spec.grid.count).filter(|step| !is_present[*step as usize]).for_each(|step| rows.push(series, step, 1.0));
        rows.into_batch(&index)
    }
}

/// The partial phase: records are given away at the end, and whenever memory ends.
struct PartialRun {
    inputs: VecDeque<SendableRecordBatchStream>,
    state: State,
    /// While records are given away: the series whose turn it is.
    emitted: Option<Range<u32>>,
}

impl PartialRun {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(series) = &mut self.emitted {
                if let Some(records) = self.state.table.records(series)? {
                    return Ok(Some((records, self)));
                }
                self.emitted = None;
                self.state.table.clear();
            }
            let Some(input) = self.inputs.front_mut() else { return Ok(None) };
            match input.next().await.transpose()? {
                Some(samples) => match self.state.add_samples(&samples) {
                    Err(error) if is_exhausted(&error) => self.emitted = Some(0..self.state.table.len()),
                    outcome => {
                        outcome?;
                        self.emitted = self.state.table.is_large().then_some(0..self.state.table.len());
                    }
                },
                None => {
                    self.inputs.pop_front();
                    self.emitted = self.inputs.is_empty().then_some(0..self.state.table.len());
                }
            }
        }
    }
}

/// Counts that a leaf made without samples, on their way into the records of the partial phase.
pub(crate) struct PartialCounts(State);

impl PartialCounts {
    /// For functions that count entries or sum whole numbers.
    pub(crate) fn new(spec: &RangeSpec, memory: OperatorMemory) -> Self {
        Self(State { table: WindowTable::new(spec.make_store(), memory), spec: spec.clone() })
    }

    /// Adds so many entries of a series, and the sum of their values. All are in the windows that `stamp` is in.
    pub(crate) fn add(&mut self, labels: &[u8], stamp: i64, entries: u64, sum: u64) -> Result<()> {
        let Some((first, last)) = self.0.spec.grid.steps_of(stamp, self.0.spec.window).filter(|_| entries > 0) else { return Ok(()) };
        let series = self.0.series(labels)?;
        let mut change = |step, entries: i64, sum: f64| self.0.table.merge(series, (step, step), &[entries.cast_unsigned(), sum.to_bits()]);
        change(first, entries.cast_signed(), sum as f64);
        change(last + 1, -entries.cast_signed(), -(sum as f64));
        self.0.table.settle()
    }

    pub(crate) fn into_batches(self) -> BatchStream {
        let emitted = Some(0..self.0.table.len());
        stream::try_unfold(PartialRun { inputs: VecDeque::new(), state: self.0, emitted }, PartialRun::next).boxed()
    }
}
