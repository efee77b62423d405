//! From the last batches of a plan to an answer.

use std::collections::BTreeMap;

use arrow::array::{BinaryArray, Float64Array, RecordBatch, TimestampNanosecondArray, UInt32Array};
use datafusion_common::Result;
use tailwater_logql::labels::LabelSet;

use crate::answer::{LogEntry, LogStream, Point, Series};
use crate::batch;
use crate::operators::grid::StepGrid;
use crate::request::{Direction, LogRequest};

/// Entries in the order of the batches, by their shown labels; streams in the order of label text.
pub(crate) fn log_streams(batches: &[RecordBatch], request: &LogRequest) -> Result<Vec<LogStream>> {
    let mut streams: BTreeMap<Vec<u8>, LogStream> = BTreeMap::new();
    let mut last_kept: BTreeMap<u32, i64> = BTreeMap::new();
    let mut taken = 0;
    for rows in batches {
        let [line, labels, metadata, parsed] = columns(rows)?;
        let stream_of: &UInt32Array = batch::column(rows, batch::STREAM)?;
        let stamps: &TimestampNanosecondArray = batch::column(rows, batch::TIMESTAMP)?;
        for row in 0..rows.num_rows() {
            let timestamp = stamps.value(row);
            if taken == request.limit {
                break;
            }
            if request.interval > 0 && !is_due(&mut last_kept, stream_of.value(row), timestamp, request) {
                continue;
            }
            taken += 1;
            let stream = streams
                .entry(labels.value(row).to_vec())
                .or_insert_with(|| LogStream { labels: batch::decode_labels(labels.value(row)), entries: Vec::new() });
            stream.entries.push(LogEntry {
                timestamp,
                line: line.value(row).to_vec(),
                structured_metadata: batch::decode_labels(metadata.value(row)),
                parsed: batch::decode_labels(parsed.value(row)),
            });
        }
    }
    let mut streams: Vec<LogStream> = streams.into_values().collect();
    streams.sort_by(|left, right| left.labels.cmp(&right.labels));
    Ok(streams)
}

fn columns(rows: &RecordBatch) -> Result<[&BinaryArray; 4]> {
    Ok([
        batch::column(rows, "line")?,
        batch::column(rows, "labels")?,
        batch::column(rows, "structured_metadata")?,
        batch::column(rows, "parsed")?,
    ])
}

/// Whether an entry is far enough from the last one kept of its stream.
fn is_due(last_kept: &mut BTreeMap<u32, i64>, stream: u32, timestamp: i64, request: &LogRequest) -> bool {
    let is_due = last_kept.get(&stream).is_none_or(|&last| match request.direction {
        Direction::Forward => timestamp >= last.saturating_add(request.interval),
        Direction::Backward => timestamp <= last.saturating_sub(request.interval),
    });
    if is_due {
        last_kept.insert(stream, timestamp);
    }
    is_due
}

/// Series in the order of their labels, points ascending. Hiding empty labels may leave several series with the same labels.
pub(crate) fn series(batches: &[RecordBatch], grid: StepGrid, hide_empty_labels: bool) -> Result<Vec<Series>> {
    let mut all: BTreeMap<LabelSet, Vec<(u32, f64)>> = BTreeMap::new();
    for rows in batches {
        let (keys, labels) = batch::dictionary_column(rows, "series")?;
        let steps: &UInt32Array = batch::column(rows, "step")?;
        let values: &Float64Array = batch::column(rows, "value")?;
        for row in 0..rows.num_rows() {
            let labels = batch::decode_labels(labels.value(keys.value(row) as usize));
            all.entry(labels).or_default().push((steps.value(row), values.value(row)));
        }
    }
    let point = |(step, value): (u32, f64)| Point { timestamp: grid.time(step), value };
    let series = all.into_iter().map(|(labels, mut points)| {
        points.sort_by_key(|(step, _)| *step);
        let labels = if hide_empty_labels { labels.without_empty() } else { labels };
        Series { labels, points: points.into_iter().map(point).collect() }
    });
    Ok(series.collect())
}
