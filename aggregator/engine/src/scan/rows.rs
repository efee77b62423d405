//! Record batches of chosen rows of a page.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use tailwater_storage::file::columns::{LinePage, MetadataColumn};

use crate::batch::BinaryDictionary;
use crate::scan::open_page::{OpenPage, Run};

/// Most rows of a batch.
const BATCH_ROWS: usize = 8192;

/// A chosen row and its stream.
type ChosenRow = (u32, usize);

/// The rows of some runs as batches of `schema`, which says whether lines and metadata are among the columns.
pub(crate) fn batches(schema: &SchemaRef, page: &OpenPage<'_>, runs: &[Run]) -> Result<Vec<RecordBatch>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let metadata = schema.column_with_name("metadata").map(|_| page.metadata()).transpose()?;
    let lines = schema.column_with_name("line").map(|_| page.lines()).transpose()?;
    let rows: Vec<ChosenRow> = runs.iter().flat_map(|run| run.rows.clone().map(|row| (run.stream, row))).collect();
    rows.chunks(BATCH_ROWS).map(|rows| batch(schema, page, lines, metadata, rows)).collect()
}

fn batch(
    schema: &SchemaRef,
    page: &OpenPage<'_>,
    text: Option<&LinePage>,
    metadata: Option<&MetadataColumn>,
    rows: &[ChosenRow],
) -> Result<RecordBatch> {
    let (first, last) = (rows[0].1, rows[rows.len() - 1].1);
    let is_contiguous = last - first + 1 == rows.len();
    let streams: UInt32Array = rows.iter().map(|(stream, _)| *stream).collect::<Vec<_>>().into();
    let arrivals: UInt64Array = rows.iter().map(|(_, row)| page.arrival(*row)).collect::<Vec<_>>().into();
    let stamps = page.stamps()?;
    let stamps = match is_contiguous {
        true => stamps.slice(first, rows.len()),
        false => rows.iter().map(|(_, row)| stamps[*row]).collect::<Vec<_>>().into(),
    };
    let mut columns: Vec<ArrayRef> = vec![Arc::new(streams), Arc::new(TimestampNanosecondArray::new(stamps, None)), Arc::new(arrivals)];
    if let Some(text) = text {
        columns.push(lines(text, rows, is_contiguous)?);
    }
    if let Some(metadata) = metadata {
        columns.push(metadata_of(metadata, rows)?);
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn lines(text: &LinePage, rows: &[ChosenRow], is_contiguous: bool) -> Result<ArrayRef> {
    let whole = BinaryArray::new(text.offsets.clone(), text.text.clone(), None);
    if is_contiguous {
        return Ok(Arc::new(whole.slice(rows[0].1, rows.len())));
    }
    let indices: UInt32Array = rows.iter().map(|(_, row)| *row as u32).collect::<Vec<_>>().into();
    Ok(take(&whole, &indices, None)?)
}

/// The rows' metadata over a dictionary of just the sets they use.
fn metadata_of(metadata: &MetadataColumn, rows: &[ChosenRow]) -> Result<ArrayRef> {
    let mut renumbered: HashMap<u32, u32> = HashMap::new();
    let mut used = Vec::new();
    let mut keys = Vec::with_capacity(rows.len());
    let mut last: Option<(u32, u32)> = None;
    for (_, row) in rows {
        let set = metadata.of[*row];
        let key = match last {
            Some((same, key)) if same == set => key,
            _ => *renumbered.entry(set).or_insert_with(|| {
                used.push(metadata.sets[set as usize].as_bytes());
                used.len() as u32 - 1
            }),
        };
        last = Some((set, key));
        keys.push(key);
    }
    Ok(Arc::new(BinaryDictionary::try_new(UInt32Array::from(keys), Arc::new(BinaryArray::from_vec(used)))?))
}
