//! Runs a pipeline over the rows of scanned batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, RecordBatch, TimestampNanosecondArray, UInt32Array};
use datafusion_common::Result;
use tailwater_logql::pipeline::{Pipeline, Processed, StreamPipeline};
use tailwater_storage::pairs::PairIter;

use crate::batch;
use crate::plan::selection::Selection;
use crate::statistics::Counters;

/// The pipelines of the streams met so far; one task's own.
pub(crate) struct StreamPipelines<'p> {
    pipeline: &'p Pipeline,
    selection: &'p Selection,
    counters: &'p Counters,
    by_stream: HashMap<u32, StreamPipeline<'p>>,
}

impl<'p> StreamPipelines<'p> {
    pub(crate) fn new(pipeline: &'p Pipeline, selection: &'p Selection, counters: &'p Counters) -> Self {
        Self { pipeline, selection, counters, by_stream: HashMap::new() }
    }

    pub(crate) fn selection(&self) -> &'p Selection {
        self.selection
    }

    /// Calls `each` with (row, stream, entry) for every row that passes. The rows passed the line filters when they were scanned.
    pub(crate) fn run(&mut self, rows: &RecordBatch, mut each: impl FnMut(usize, u32, Processed<'_>) -> Result<()>) -> Result<()> {
        let streams: &UInt32Array = batch::column(rows, batch::STREAM)?;
        let stamps: &TimestampNanosecondArray = batch::column(rows, batch::TIMESTAMP)?;
        let lines: Option<&BinaryArray> = rows.column_by_name("line").and_then(|column| column.as_any().downcast_ref());
        let metadata = Metadata::of(rows)?;
        let mut row = 0;
        while row < rows.num_rows() {
            let stream = streams.value(row);
            let (all, pipeline) = (self.selection.streams(), self.pipeline);
            let stages = self.by_stream.entry(stream).or_insert_with(|| pipeline.for_stream(&all[stream as usize].labels));
            while row < rows.num_rows() && streams.value(row) == stream {
                self.counters.check()?;
                let line = lines.map_or(&[] as &[u8], |lines| lines.value(row));
                if let Some(processed) = stages.process_filtered(stamps.value(row), line, metadata.row(row)) {
                    each(row, stream, processed)?;
                }
                row += 1;
            }
        }
        Ok(())
    }
}

/// The metadata column of a batch, each distinct set parsed once.
struct Metadata<'a> {
    keys: Option<&'a UInt32Array>,
    sets: Vec<Vec<(&'a str, &'a str)>>,
}

impl<'a> Metadata<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self> {
        if rows.column_by_name("metadata").is_none() {
            return Ok(Self { keys: None, sets: Vec::new() });
        }
        let (keys, values) = batch::dictionary_column(rows, "metadata")?;
        let sets = (0..values.len()).map(|index| PairIter::over(values.value(index)).collect()).collect();
        Ok(Self { keys: Some(keys), sets })
    }

    fn row(&self, row: usize) -> &[(&'a str, &'a str)] {
        match self.keys {
            Some(keys) => &self.sets[keys.value(row) as usize],
            None => &[],
        }
    }
}

/// A pipeline and the selection whose streams it runs over.
#[derive(Debug, Clone)]
pub(crate) struct SelectedPipeline {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) selection: Arc<Selection>,
}
