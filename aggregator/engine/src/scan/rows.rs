//! Which rows of a part are wanted, and record batches of them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion_common::{DataFusionError, Result};
use tailwater_storage::segment::columns::{LinePage, MetadataColumn, RowGroupColumns};

use crate::batch::BinaryDictionary;
use crate::request::TimeRange;
use crate::scan::search::Needles;

/// Most rows of a batch.
const BATCH_ROWS: usize = 8192;

/// What the rows of one part are chosen by.
pub(crate) struct RowFilter<'a> {
    /// Rows by stream, ascending by row.
    pub(crate) spans: &'a [(u32, Range<usize>)],
    /// Both ends included.
    pub(crate) range: TimeRange,
    /// Rows that repeat another part's entries, ascending.
    pub(crate) repeated: &'a [u32],
    pub(crate) needles: &'a Needles,
}

/// Counts of what was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Examined {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// A part's chosen rows as batches of `schema`. `part` is its place in the order of arrival.
pub(crate) fn batches(
    schema: &SchemaRef,
    part: usize,
    columns: &RowGroupColumns,
    filter: &RowFilter<'_>,
) -> Result<(Vec<RecordBatch>, Examined)> {
    let stamps = columns.timestamps.as_ref().ok_or_else(|| DataFusionError::Internal("the scan reads timestamps always".into()))?;
    let chosen = in_time(stamps, filter);
    let source = Source { schema, part, stamps, metadata: columns.metadata.as_ref() };
    let mut examined = Examined { rows: chosen.iter().map(|(_, rows)| rows.len() as u64).sum(), bytes: 0 };
    let mut out = Vec::new();
    match &columns.lines {
        None => {
            for rows in without_repeated(chosen, filter.repeated).chunks(BATCH_ROWS) {
                out.push(source.batch(rows, None)?);
            }
        }
        Some(pages) => {
            #[cfg(feature = "planted-faults")]
            let pages = match tailwater_planted::Fault::PageSkipped.is_planted() {
                true => pages.split_last().map_or([].as_slice(), |(_, rest)| rest),
                false => pages,
            };
            for page in pages {
                let in_page = intersect(&chosen, page.first_row..page.first_row + page.rows());
                examined.bytes += in_page.iter().map(|(_, rows)| text_length(page, rows)).sum::<u64>();
                let rows = without_repeated(search(page, in_page, filter.needles), filter.repeated);
                for rows in rows.chunks(BATCH_ROWS) {
                    out.push(source.batch(rows, Some(page))?);
                }
            }
        }
    }
    Ok((out, examined))
}

/// A chosen row and its stream.
type ChosenRow = (u32, u32);

fn in_time(stamps: &[i64], filter: &RowFilter<'_>) -> Vec<(u32, Range<usize>)> {
    let clip = |(stream, rows): &(u32, Range<usize>)| {
        let column = &stamps[rows.clone()];
        let from = rows.start + column.partition_point(|&stamp| stamp < filter.range.start);
        let to = rows.start + column.partition_point(|&stamp| stamp <= filter.range.end);
        (from < to).then_some((*stream, from..to))
    };
    filter.spans.iter().filter_map(clip).collect()
}

fn intersect(chosen: &[(u32, Range<usize>)], page: Range<usize>) -> Vec<(u32, Range<usize>)> {
    let first = chosen.partition_point(|(_, rows)| rows.end <= page.start);
    chosen[first..]
        .iter()
        .take_while(|(_, rows)| rows.start < page.end)
        .map(|(stream, rows)| (*stream, rows.start.max(page.start)..rows.end.min(page.end)))
        .collect()
}

fn text_length(page: &LinePage, rows: &Range<usize>) -> u64 {
    (page.offsets[rows.end - page.first_row] - page.offsets[rows.start - page.first_row]) as u64
}

/// Narrows rows of a page to those that hold the needles. Rows that touch are searched in one go.
fn search(page: &LinePage, chosen: Vec<(u32, Range<usize>)>, needles: &Needles) -> Vec<(u32, Range<usize>)> {
    if needles.is_empty() {
        return chosen;
    }
    let mut hits = Vec::new();
    for run in chosen.chunk_by(|left, right| left.1.end == right.1.start) {
        let start = run[0].1.start - page.first_row;
        let end = run[run.len() - 1].1.end - page.first_row;
        let mut streams = run.iter();
        let mut current = streams.next();
        for hit in needles.rows(&page.offsets[start..=end], &page.text) {
            let row = page.first_row + start + hit;
            while current.is_some_and(|(_, rows)| rows.end <= row) {
                current = streams.next();
            }
            if let Some((stream, _)) = current {
                hits.push((*stream, row..row + 1));
            }
        }
    }
    hits
}

/// Expands ranges to rows, leaving out repetitions.
fn without_repeated(chosen: Vec<(u32, Range<usize>)>, repeated: &[u32]) -> Vec<ChosenRow> {
    let mut rows = Vec::with_capacity(chosen.iter().map(|(_, rows)| rows.len()).sum());
    for (stream, range) in chosen {
        let first = repeated.partition_point(|&row| (row as usize) < range.start);
        let mut skip = repeated[first..].iter().peekable();
        for row in range {
            if skip.next_if(|&&repeated| repeated as usize == row).is_none() {
                rows.push((stream, row as u32));
            }
        }
    }
    rows
}

struct Source<'a> {
    schema: &'a SchemaRef,
    part: usize,
    stamps: &'a ScalarBuffer<i64>,
    metadata: Option<&'a MetadataColumn>,
}

impl Source<'_> {
    fn batch(&self, rows: &[ChosenRow], page: Option<&LinePage>) -> Result<RecordBatch> {
        let first = rows[0].1 as usize;
        let contiguous = rows[rows.len() - 1].1 as usize - first + 1 == rows.len();
        let streams: UInt32Array = rows.iter().map(|(stream, _)| *stream).collect::<Vec<_>>().into();
        let arrivals: UInt64Array = rows.iter().map(|(_, row)| arrival(self.part, *row)).collect::<Vec<_>>().into();
        let stamps = match contiguous {
            true => self.stamps.slice(first, rows.len()),
            false => rows.iter().map(|(_, row)| self.stamps[*row as usize]).collect::<Vec<_>>().into(),
        };
        let mut columns: Vec<ArrayRef> = vec![Arc::new(streams), Arc::new(TimestampNanosecondArray::new(stamps, None)), Arc::new(arrivals)];
        if let Some(page) = page {
            columns.push(lines(page, rows, contiguous)?);
        }
        if let Some(metadata) = self.metadata {
            columns.push(metadata_of(metadata, rows)?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// Orders entries by when they came: parts in their order, rows within.
fn arrival(part: usize, row: u32) -> u64 {
    (part as u64) << 32 | u64::from(row)
}

fn lines(page: &LinePage, rows: &[ChosenRow], contiguous: bool) -> Result<ArrayRef> {
    let whole = BinaryArray::new(page.offsets.clone(), page.text.clone(), None);
    let first = rows[0].1 as usize - page.first_row;
    if contiguous {
        return Ok(Arc::new(whole.slice(first, rows.len())));
    }
    let indices: UInt32Array = rows.iter().map(|(_, row)| row - page.first_row as u32).collect::<Vec<_>>().into();
    Ok(take(&whole, &indices, None)?)
}

/// The rows' metadata over a dictionary of just the sets they use.
fn metadata_of(metadata: &MetadataColumn, rows: &[ChosenRow]) -> Result<ArrayRef> {
    let mut renumbered: std::collections::HashMap<u32, u32> = std::collections::HashMap::new();
    let mut used = Vec::new();
    let mut keys = Vec::with_capacity(rows.len());
    let mut last: Option<(u32, u32)> = None;
    for (_, row) in rows {
        let set = metadata.of[*row as usize];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch;
    use arrow::buffer::OffsetBuffer;
    use tailwater_storage::pairs::Pairs;

    fn columns() -> RowGroupColumns {
        let lines = ["a needle", "b", "c needle", "d needle", "e", "needle f"];
        let page = |first: usize, lines: &[&str]| LinePage {
            first_row: first,
            offsets: OffsetBuffer::from_lengths(lines.iter().map(|line| line.len())),
            text: lines.concat().into_bytes().into(),
        };
        RowGroupColumns {
            timestamps: Some(vec![1, 2, 3, 1, 2, 3].into()),
            lines: Some(vec![page(0, &lines[..4]), page(4, &lines[4..])]),
            metadata: Some(MetadataColumn {
                of: vec![1, 0, 1, 1, 0, 1].into(),
                sets: vec![Pairs::default(), Pairs::from_pairs([("a", "b")])].into(),
            }),
            line_hashes: None,
        }
    }

    fn chosen(range: TimeRange, repeated: &[u32], literals: &[&str]) -> Vec<(u32, i64, String)> {
        let needles = Needles::new(literals.iter().map(|literal| literal.as_bytes()));
        let filter = RowFilter { spans: &[(7, 0..3), (9, 3..6)], range, repeated, needles: &needles };
        let schema = batch::scanned(true, true);
        let (batches, _) = batches(&schema, 3, &columns(), &filter).expect("valid");
        let mut rows = Vec::new();
        for batch in batches {
            let streams: &UInt32Array = batch::column(&batch, batch::STREAM).expect("u32");
            let stamps: &TimestampNanosecondArray = batch::column(&batch, batch::TIMESTAMP).expect("ns");
            let lines: &BinaryArray = batch::column(&batch, "line").expect("binary");
            let (keys, values) = batch::dictionary_column(&batch, "metadata").expect("dictionary");
            for row in 0..batch.num_rows() {
                assert_eq!(lines.value(row).ends_with(b"b") || lines.value(row) == b"e", values.value(keys.value(row) as usize).is_empty());
                rows.push((streams.value(row), stamps.value(row), String::from_utf8_lossy(lines.value(row)).into_owned()));
            }
        }
        rows
    }

    #[test]
    fn rows_are_chosen_by_time_repetition_and_needle() {
        let always = TimeRange { start: 0, end: 10 };
        assert_eq!(chosen(always, &[], &[]).len(), 6);
        assert_eq!(chosen(TimeRange { start: 2, end: 2 }, &[], &[]), [(7, 2, "b".into()), (9, 2, "e".into())]);
        assert_eq!(chosen(always, &[2, 5], &["needle"]), [(7, 1, "a needle".into()), (9, 1, "d needle".into())]);
        assert_eq!(chosen(always, &[], &["needle", "f"]), [(9, 3, "needle f".into())]);
        assert_eq!(chosen(TimeRange { start: 11, end: 12 }, &[], &[]), []);
    }
}
