//! Batches of points: `series, step, value`.

use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Float64Array, RecordBatch, UInt32Array};
use datafusion_common::Result;

use crate::batch::{self, POINT};
use crate::operators::series::SeriesIndex;

/// Rows of an emitted batch.
pub(crate) const BATCH_ROWS: usize = 8192;

/// The columns of a batch.
pub(crate) struct Points<'b> {
    keys: &'b UInt32Array,
    labels: &'b BinaryArray,
    steps: &'b UInt32Array,
    values: &'b Float64Array,
}

impl<'b> Points<'b> {
    pub(crate) fn of(batch: &'b RecordBatch) -> Result<Self> {
        let (keys, labels) = batch::dictionary_column(batch, "series")?;
        Ok(Self { keys, labels, steps: batch::column(batch, "step")?, values: batch::column(batch, "value")? })
    }

    /// The label sets of the batch, encoded; rows name them by index.
    pub(crate) fn label_sets(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let labels = self.labels;
        (0..labels.len()).map(move |index| labels.value(index))
    }

    /// (label set, step, value) of every row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, u32, f64)> + '_ {
        (0..self.keys.len()).map(|row| (self.keys.value(row) as usize, self.steps.value(row), self.values.value(row)))
    }
}

/// Points on their way into a batch.
#[derive(Debug, Default)]
pub(crate) struct PointRows {
    series: Vec<u32>,
    steps: Vec<u32>,
    values: Vec<f64>,
}

impl PointRows {
    pub(crate) fn push(&mut self, series: u32, step: u32, value: f64) {
        self.series.push(series);
        self.steps.push(step);
        self.values.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// `index`: the label sets by series number.
    pub(crate) fn into_batch(self, index: &SeriesIndex) -> Result<RecordBatch> {
        let columns: Vec<Arc<dyn Array>> =
            vec![index.column(&self.series)?, Arc::new(UInt32Array::from(self.steps)), Arc::new(Float64Array::from(self.values))];
        Ok(RecordBatch::try_new(POINT.clone(), columns)?)
    }
}
