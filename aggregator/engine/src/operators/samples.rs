//! From entries to samples: each entry that passes becomes a value of a series.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray, UInt32Array};
use arrow::compute::take;
use datafusion_common::{DataFusionError, Result};
use tailwater_logql::pipeline::Processed;

use crate::batch;
use crate::error::QueryError;
use crate::memory::OperatorMemory;
use crate::operators::entries::StreamPipelines;
use crate::operators::grid::{StepGrid, Window};
use crate::operators::series::SeriesIndex;
use crate::plan::selection::SelectedStream;

/// What of an entry is its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleValue {
    /// 1 for each entry.
    One,
    /// The length of the line after the pipeline, in bytes.
    LineBytes,
    /// What `unwrap` made of a label.
    Unwrapped,
}

/// What samples are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleSpec {
    pub(crate) value: SampleValue,
    /// Samples tell their order among those of one stamp.
    pub(crate) is_ordered: bool,
    pub(crate) grid: StepGrid,
    pub(crate) window: Window,
}

impl fmt::Display for SampleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.value {
            SampleValue::One => "sample one",
            SampleValue::LineBytes => "sample line bytes",
            SampleValue::Unwrapped => "sample unwrapped",
        })?;
        if self.is_ordered { f.write_str(" in order") } else { Ok(()) }
    }
}

/// Bytes of series that a task remembers, about.
const REMEMBERED_BYTES: usize = 4 << 20;
/// Memory of a key besides its bytes.
const KEY_OVERHEAD: usize = 48;

/// Series met lately by one task: by label set, and by stream and key so that label sets are seldom built.
#[derive(Default)]
pub(crate) struct SampleSeries {
    index: SeriesIndex,
    by_key: HashMap<u32, HashMap<Vec<u8>, u32>>,
    key_bytes: usize,
    /// Streams whose samples so far had the stream's labels alone.
    plain: HashMap<u32, u32>,
    key: Vec<u8>,
}

impl SampleSeries {
    /// Forgets all series if they are too many. Their numbers count within a batch alone.
    fn make_room(&mut self, memory: &OperatorMemory) {
        if self.index.bytes() + self.key_bytes > REMEMBERED_BYTES {
            *self = Self::default();
            memory.free();
        }
    }

    /// `stream`: its place in the selection.
    fn of(&mut self, (place, stream): (u32, &SelectedStream), entry: &Processed<'_>, memory: &OperatorMemory) -> Result<u32> {
        self.key.clear();
        entry.write_series_key(&mut self.key);
        if self.key.is_empty()
            && let Some(&series) = self.plain.get(&place)
        {
            return Ok(series);
        }
        let keys = self.by_key.entry(place).or_default();
        if let Some(&series) = keys.get(self.key.as_slice()) {
            return Ok(series);
        }
        // Empty values stay: they tell series apart even where they are not shown.
        let labels = batch::encode_labels(&stream.shown(entry.series_labels()));
        memory.try_grow(labels.as_bytes().len() + self.key.len() + KEY_OVERHEAD)?;
        let (series, _) = self.index.number(labels.as_bytes());
        if self.key.is_empty() {
            self.plain.insert(place, series);
        } else {
            keys.insert(self.key.clone(), series);
            self.key_bytes += self.key.len() + KEY_OVERHEAD;
        }
        Ok(series)
    }
}

/// Extracts the samples of a scanned batch; fails on the first entry in a window whose error the query does not ask for.
pub(crate) fn extract(
    pipelines: &mut StreamPipelines<'_>,
    series: &mut SampleSeries,
    spec: SampleSpec,
    rows: &RecordBatch,
    memory: &OperatorMemory,
) -> Result<RecordBatch> {
    series.make_room(memory);
    let mut kept: Vec<u32> = Vec::new();
    let mut series_of: Vec<u32> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    let selection = pipelines.selection();
    let stamps: &TimestampNanosecondArray = batch::column(rows, batch::TIMESTAMP)?;
    pipelines.run(rows, |row, place, entry| {
        let stream = &selection.streams()[place as usize];
        if let Some(error) = entry.failure() {
            if spec.grid.steps_of(stamps.value(row), spec.window).is_none() {
                return Ok(());
            }
            let error = QueryError::Pipeline { error: error.to_owned(), series: stream.shown(entry.series_labels()).to_string() };
            return Err(DataFusionError::External(Box::new(error)));
        }
        series_of.push(series.of((place, stream), &entry, memory)?);
        values.push(match spec.value {
            SampleValue::One => 1.0,
            SampleValue::LineBytes => entry.line().len() as f64,
            SampleValue::Unwrapped => entry.value().unwrap_or_default(),
        });
        kept.push(row as u32);
        Ok(())
    })?;
    let kept = (kept.len() < rows.num_rows()).then(|| UInt32Array::from(kept));
    let scanned = |name: &str| -> Result<ArrayRef> {
        let column = rows.column_by_name(name);
        let column = column.ok_or_else(|| DataFusionError::Internal(format!("scanned rows have no column `{name}`")))?;
        Ok(match &kept {
            Some(kept) => take(column, kept, None)?,
            None => column.clone(),
        })
    };
    let mut columns = vec![series.index.column(&series_of)?, scanned(batch::TIMESTAMP)?, Arc::new(Float64Array::from(values))];
    if spec.is_ordered {
        columns.extend([scanned(batch::STREAM)?, scanned(batch::ARRIVAL)?]);
    }
    Ok(RecordBatch::try_new(batch::sample(spec.is_ordered), columns)?)
}
