//! The windows of series by their labels: what aggregations hold, and what they do when memory ends.
//!
//! Changes are made first and paid for at the end of each batch, so that none is lost when the pool refuses. A table that can spill then
//! writes its records to files, by a hash of the labels, and begins anew; at the end each file becomes a table by itself, so that no more
//! than a part of all series is in memory at a time.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch, UInt32Array};
use arrow::buffer::Buffer;
use datafusion_common::Result;
use datafusion_execution::spill_file::SpillFile;
use datafusion_physical_plan::SpillManager;
use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use futures::{StreamExt, TryStreamExt, stream};

use crate::batch;
use crate::memory::{OperatorMemory, is_exhausted};
use crate::operators::exec::BatchStream;
use crate::operators::points::{BATCH_ROWS, PointRows};
use crate::operators::series::SeriesIndex;
use crate::operators::windows::{Sample, Steps, WindowStore};

/// Memory taken by a series besides its labels and windows.
const SERIES_OVERHEAD: usize = 96;

/// Parts of all series that a table is spilled in.
const SPILL_FILES: usize = 16;

/// A table holds at most one in so many parts of all memory, if it can do with less: others have to read what it waits for, and its own tables
/// take twice their size while they grow.
const SPILLING_SHARE: usize = 8;
const EMITTING_SHARE: usize = 16;

/// Bytes of label sets in an emitted batch, about: several batches are on their way at a time.
const BATCH_LABEL_BYTES: usize = 512 << 10;

/// Makes the empty stores of a table.
pub(crate) type MakeStore = Arc<dyn Fn() -> Box<dyn WindowStore> + Send + Sync>;

pub(crate) struct WindowTable {
    make_store: MakeStore,
    store: Box<dyn WindowStore>,
    index: SeriesIndex,
    /// Bytes that are not paid for yet.
    owed: usize,
    memory: OperatorMemory,
    spilled: Option<Spilled>,
}

impl WindowTable {
    pub(crate) fn new(make_store: MakeStore, memory: OperatorMemory) -> Self {
        Self { store: make_store(), make_store, index: SeriesIndex::default(), owed: 0, memory, spilled: None }
    }

    /// The number of a series, until the next [`Self::settle`].
    pub(crate) fn series(&mut self, labels: &[u8]) -> u32 {
        let before = self.index.bytes();
        let (number, is_new) = self.index.number(labels);
        self.owed += self.index.bytes() - before + if is_new { SERIES_OVERHEAD } else { 0 };
        number
    }

    /// Series in memory.
    pub(crate) fn len(&self) -> u32 {
        self.index.len()
    }

    pub(crate) fn add(&mut self, series: u32, steps: Steps, sample: Sample) {
        self.owed += self.store.add(series, steps, sample);
    }

    pub(crate) fn merge(&mut self, series: u32, steps: Steps, record: &[u64]) {
        self.owed += self.store.merge(series, steps, record);
    }

    /// Pays for what was added. An error says that there is no memory for it; it is there all the same.
    pub(crate) fn settle(&mut self) -> Result<()> {
        match self.memory.try_grow(std::mem::take(&mut self.owed)) {
            Err(error) if is_exhausted(&error) && self.memory.can_spill() => self.spill(),
            Ok(()) if self.memory.can_spill() && self.memory.exceeds_share(SPILLING_SHARE) => self.spill(),
            outcome => outcome,
        }
    }

    /// Whether who can give records away early should.
    pub(crate) fn is_large(&self) -> bool {
        self.memory.exceeds_share(EMITTING_SHARE)
    }

    /// Merges records of other tables.
    pub(crate) fn add_records(&mut self, records: &RecordBatch) -> Result<()> {
        let (keys, labels) = batch::dictionary_column(records, "series")?;
        let first: &UInt32Array = batch::column(records, "first_step")?;
        let last: &UInt32Array = batch::column(records, "last_step")?;
        let words_of: &FixedSizeBinaryArray = batch::column(records, "record")?;
        let mut numbers: Vec<Option<u32>> = vec![None; labels.len()];
        let mut words = Vec::new();
        for row in 0..records.num_rows() {
            words.clear();
            let bytes = words_of.value(row).chunks_exact(size_of::<u64>());
            words.extend(bytes.map(|word| u64::from_le_bytes(word.try_into().expect("chunks are as long as words"))));
            let key = keys.value(row) as usize;
            let series = match numbers[key] {
                Some(series) => series,
                None => *numbers[key].insert(self.series(labels.value(key))),
            };
            self.merge(series, (first.value(row), last.value(row)), &words);
        }
        Ok(())
    }

    /// Takes series out as records, from `series` on until a batch is full.
    pub(crate) fn records(&mut self, series: &mut impl Iterator<Item = u32>) -> Result<Option<RecordBatch>> {
        let (mut of, mut steps): (Vec<u32>, Vec<Steps>) = (Vec::new(), Vec::new());
        let mut bytes: Vec<u8> = Vec::new();
        let mut label_bytes = 0;
        while of.len() < BATCH_ROWS && label_bytes < BATCH_LABEL_BYTES {
            let Some(next) = series.next() else { break };
            label_bytes += self.index.labels(next).len();
            self.store.records(next, &mut |at, record| {
                of.push(next);
                steps.push(at);
                record.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
            });
        }
        if of.is_empty() {
            return Ok(None);
        }
        let width = (self.store.words() * size_of::<u64>()) as i32;
        let columns: Vec<Arc<dyn Array>> = vec![
            self.index.column(&of)?,
            Arc::new(UInt32Array::from_iter_values(steps.iter().map(|(first, _)| *first))),
            Arc::new(UInt32Array::from_iter_values(steps.iter().map(|(_, last)| *last))),
            Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from_vec(bytes), None)?),
        ];
        Ok(Some(RecordBatch::try_new(batch::partial(self.store.words()), columns)?))
    }

    /// Forgets everything and gives its memory back.
    pub(crate) fn clear(&mut self) {
        self.store = (self.make_store)();
        self.index = SeriesIndex::default();
        self.owed = 0;
        self.memory.free();
    }

    /// Calls `each` with the steps of all series that have values.
    pub(crate) fn steps(&mut self, mut each: impl FnMut(u32)) {
        (0..self.index.len()).for_each(|series| self.store.points(series, &mut |step, _| each(step)));
    }

    /// The points of all series. `hides_empty_labels`: labels with empty values are left out, so that several series may have the same.
    pub(crate) fn into_points(mut self, hides_empty_labels: bool) -> Result<BatchStream> {
        if self.spilled.is_none() {
            return Ok(stream::iter(PointBatches { table: self, next: 0, hides_empty_labels }).boxed());
        }
        self.spill()?;
        let Some(spilled) = self.spilled.take() else { return Ok(stream::empty().boxed()) };
        let (make_store, memory, manager) = (self.make_store, self.memory, spilled.manager);
        let tables = stream::iter(spilled.files).then(move |files| {
            let table = WindowTable::new(make_store.clone(), memory.another());
            table.restored(manager.clone(), files, hides_empty_labels)
        });
        Ok(tables.try_flatten().boxed())
    }

    /// Points of what is in some files. It is not spilled again: its files would be as large.
    async fn restored(mut self, manager: SpillManager, files: Vec<Arc<dyn SpillFile>>, hides_empty_labels: bool) -> Result<BatchStream> {
        for file in files {
            let mut records = manager.read_spill_as_stream_unbuffered(file, None)?;
            while let Some(batch) = records.next().await.transpose()? {
                self.add_records(&batch)?;
                self.memory.try_grow(std::mem::take(&mut self.owed))?;
            }
        }
        Ok(stream::iter(PointBatches { table: self, next: 0, hides_empty_labels }).boxed())
    }

    fn spill(&mut self) -> Result<()> {
        let mut by_file: Vec<Vec<u32>> = vec![Vec::new(); SPILL_FILES];
        for series in 0..self.index.len() {
            by_file[file_of(self.index.labels(series))].push(series);
        }
        let mut spilled = match self.spilled.take() {
            Some(spilled) => spilled,
            None => Spilled::new(&self.memory, self.store.words()),
        };
        for (place, series) in by_file.into_iter().enumerate() {
            let mut series = series.into_iter();
            let mut records = Vec::new();
            while let Some(batch) = self.records(&mut series)? {
                records.push(batch);
            }
            spilled.add(place, &records)?;
        }
        self.spilled = Some(spilled);
        self.clear();
        Ok(())
    }
}

fn file_of(labels: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(labels);
    (hasher.finish() % SPILL_FILES as u64) as usize
}

/// Records on disk.
struct Spilled {
    manager: SpillManager,
    /// By hash of the labels.
    files: Vec<Vec<Arc<dyn SpillFile>>>,
}

impl Spilled {
    fn new(memory: &OperatorMemory, words: usize) -> Self {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let manager = SpillManager::new(memory.environment().clone(), metrics, batch::partial(words));
        Self { manager, files: vec![Vec::new(); SPILL_FILES] }
    }

    fn add(&mut self, place: usize, records: &[RecordBatch]) -> Result<()> {
        self.files[place].extend(self.manager.spill_record_batch_and_finish(records, "an aggregation")?);
        Ok(())
    }
}

/// Gives the points of a table away batch by batch.
struct PointBatches {
    table: WindowTable,
    next: u32,
    hides_empty_labels: bool,
}

impl Iterator for PointBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (table, next) = (&mut self.table, &mut self.next);
        if *next == table.len() {
            return None;
        }
        let mut rows = PointRows::default();
        let mut label_bytes = 0;
        while *next < table.len() && rows.len() < BATCH_ROWS && label_bytes < BATCH_LABEL_BYTES {
            label_bytes += table.index.labels(*next).len();
            table.store.points(*next, &mut |step, value| rows.push(*next, step, value));
            *next += 1;
        }
        Some(match self.hides_empty_labels {
            true => rows.into_batch(&table.index.without_empty_values()),
            false => rows.into_batch(&table.index),
        })
    }
}
