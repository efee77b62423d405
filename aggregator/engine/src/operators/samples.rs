//! From entries to samples: each entry that passes becomes a value of a series.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, TimestampNanosecondArray, UInt32Array};
use arrow::compute::take;
use datafusion_common::{DataFusionError, Result};
use tailwater_logql::pipeline::Processed;

use crate::batch::{self, SAMPLE};
use crate::error::QueryError;
use crate::operators::entries::StreamPipelines;
use crate::operators::series::SeriesIndex;

/// What of an entry is its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleValue {
    /// 1 for each entry.
    One,
    /// The length of the line after the pipeline, in bytes.
    LineBytes,
}

/// Series met so far by one task: by label set, and by stream and key so that label sets are seldom built.
#[derive(Default)]
pub(crate) struct SampleSeries {
    index: SeriesIndex,
    by_key: HashMap<u32, HashMap<Vec<u8>, u32>>,
    /// Streams whose samples so far had the stream's labels alone.
    plain: HashMap<u32, u32>,
    key: Vec<u8>,
}

impl SampleSeries {
    fn of(&mut self, stream: u32, entry: &Processed<'_>) -> u32 {
        self.key.clear();
        entry.write_series_key(&mut self.key);
        if self.key.is_empty()
            && let Some(&series) = self.plain.get(&stream)
        {
            return series;
        }
        let keys = self.by_key.entry(stream).or_default();
        if let Some(&series) = keys.get(self.key.as_slice()) {
            return series;
        }
        // Empty values stay: they tell series apart even where they are not shown.
        let labels = batch::encode_labels(&entry.series_labels());
        let (series, _) = self.index.number(labels.as_bytes());
        if self.key.is_empty() {
            self.plain.insert(stream, series);
        } else {
            keys.insert(self.key.clone(), series);
        }
        series
    }
}

/// Extracts the samples of a scanned batch; fails on the first entry whose error the query does not ask for.
pub(crate) fn extract(
    pipelines: &mut StreamPipelines<'_>,
    series: &mut SampleSeries,
    value: SampleValue,
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    let mut kept: Vec<u32> = Vec::new();
    let mut series_of: Vec<u32> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    pipelines.run(rows, |row, stream, entry| {
        if let Some(error) = entry.failure() {
            let error = QueryError::Pipeline { error: error.to_owned(), series: entry.series_labels().to_string() };
            return Err(DataFusionError::External(Box::new(error)));
        }
        series_of.push(series.of(stream, &entry));
        values.push(match value {
            SampleValue::One => 1.0,
            SampleValue::LineBytes => entry.line().len() as f64,
        });
        kept.push(row as u32);
        Ok(())
    })?;
    let stamps: &TimestampNanosecondArray = batch::column(rows, batch::TIMESTAMP)?;
    let stamps = if kept.len() == stamps.len() { Arc::new(stamps.clone()) } else { take(stamps, &UInt32Array::from(kept), None)? };
    let columns = vec![series.index.column(&series_of)?, stamps, Arc::new(Float64Array::from(values))];
    Ok(RecordBatch::try_new(SAMPLE.clone(), columns)?)
}
