//! Writes merged rows as data files: pages, row groups, stream tables and text index, uploaded as they become final.
//!
//! Memory is one row group, compressed, and the text index so far.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use parquet::errors::ParquetError;
use tailwater_textindex::{FillLimits, GranuleBuilder, GranuleLocation, IndexBuilder, IndexParameters, Lines};

use crate::compact::error::CompactError;
use crate::compact::run::Run;
use crate::compact::whole_pages::WholePage;
use crate::entry::{StreamId, TenantId};
use crate::file::columns::LinePage;
use crate::file::parts;
use crate::file::schema::FileKind;
use crate::file::stream_table_builder::StreamTableBuilder;
use crate::file::write::{FileEnd, FileWriter, LINE_PAGE_BYTES, PageRows, ROW_GROUP_BYTES, StoredPageRows};
use crate::manifest::{DataFile, FileId, FilePart};
use crate::pairs::Pairs;
use crate::store::Day;

/// What a data file is and how it is written.
#[derive(Debug, Clone)]
pub(crate) struct FileSpec {
    pub(crate) tenant: TenantId,
    pub(crate) day: Day,
    pub(crate) level: u8,
    pub(crate) zstd_level: i32,
    /// Of the text index; `None`: the file has none.
    pub(crate) fill: Option<FillLimits>,
    /// When the first segment in it was flushed (ns).
    pub(crate) arrived: i64,
    /// Now (ns).
    pub(crate) created: i64,
    /// The manifest version whose tombstones are erased from it.
    pub(crate) as_of: u64,
}

/// A data file that grows.
pub(crate) struct FileBuilder {
    spec: FileSpec,
    id: FileId,
    file: FileWriter,
    index: Option<OpenIndex>,
    page: PageBuffer,
    group: OpenGroup,
    /// Figures of the row groups that are complete.
    rows: u64,
    raw_bytes: u64,
    stamps: Option<(i64, i64)>,
    /// Pages that went over as they were stored.
    whole_pages: u64,
}

/// The text index so far.
struct OpenIndex {
    granules: GranuleBuilder,
    index: IndexBuilder,
}

impl OpenIndex {
    fn new(fill: FillLimits) -> Self {
        let parameters = IndexParameters::new(fill);
        Self { granules: GranuleBuilder::new(parameters), index: IndexBuilder::new(parameters) }
    }

    fn push(&mut self, location: GranuleLocation, page: &PageBuffer, sets: &[Pairs]) -> Result<(), ParquetError> {
        let lines = Lines { offsets: &page.offsets, text: &page.text };
        let mut used = page.metadata_of.clone();
        used.sort_unstable();
        used.dedup();
        let mut values: Vec<&str> = used.iter().flat_map(|set| sets[*set as usize].iter().map(|(_, value)| value)).collect();
        values.sort_unstable();
        values.dedup();
        let planes = self.granules.planes(lines, values.into_iter().map(str::as_bytes));
        self.index.push(location, planes.map_err(|error| ParquetError::General(error.to_string()))?);
        Ok(())
    }
}

/// The rows of the page that is filling.
#[derive(Default)]
struct PageBuffer {
    timestamps: Vec<i64>,
    offsets: Vec<i32>,
    text: Vec<u8>,
    metadata_of: Vec<u32>,
}

/// The row group that is filling.
#[derive(Default)]
struct OpenGroup {
    raw_bytes: usize,
    sets: Vec<Pairs>,
    numbers: HashMap<Pairs, u32>,
    streams: StreamTableBuilder,
}

impl OpenGroup {
    /// The group's number of a metadata set.
    fn number(&mut self, set: &Pairs) -> u32 {
        if let Some(&number) = self.numbers.get(set) {
            return number;
        }
        let number = self.sets.len() as u32;
        self.sets.push(set.clone());
        self.streams.add_set(set);
        self.numbers.insert(set.clone(), number);
        number
    }
}

/// A data file that is written but for its last bytes.
pub(crate) struct FinishedFile {
    pub(crate) file: DataFile,
    /// What was not drained before.
    pub(crate) rest: Vec<Bytes>,
    /// Pages that went over as they were stored.
    pub(crate) whole_pages: u64,
}

impl FileBuilder {
    pub(crate) fn new(spec: FileSpec) -> Result<Self, ParquetError> {
        Ok(Self {
            id: FileId(ulid::Ulid::new()),
            file: FileWriter::new(FileKind::Data, spec.zstd_level)?,
            index: spec.fill.map(OpenIndex::new),
            spec,
            page: PageBuffer { offsets: vec![0], ..PageBuffer::default() },
            group: OpenGroup::default(),
            rows: 0,
            raw_bytes: 0,
            stamps: None,
            whole_pages: 0,
        })
    }

    pub(crate) fn key(&self) -> String {
        crate::store::paths::data_file(&self.spec.tenant, self.spec.day, self.spec.level, self.id.0)
    }

    /// Bytes of lines so far.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw_bytes + self.group.raw_bytes as u64
    }

    /// Row groups that are complete.
    pub(crate) fn row_groups(&self) -> usize {
        self.file.row_groups()
    }

    /// The rows that follow are of this stream.
    pub(crate) fn begin_stream(&mut self, id: StreamId, labels: &Pairs) {
        self.group.streams.begin_stream(id, labels);
    }

    /// Takes rows of the stream begun last.
    pub(crate) fn take(&mut self, run: &Run, start: usize, length: usize) -> Result<(), CompactError> {
        if let Some(page) = run.whole().filter(|_| length == run.rows()) {
            return Ok(self.take_whole(run, page)?);
        }
        let lines = run.lines()?;
        let offsets = &lines.offsets;
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut at = start;
        while at < start + length {
            let line = (offsets[at + 1] - offsets[at]) as usize;
            if self.group.streams.rows() > 0 && self.group.raw_bytes + line > ROW_GROUP_BYTES {
                self.end_row_group()?;
                numbers.clear();
            }
            let room = (LINE_PAGE_BYTES - self.page.text.len()).min(ROW_GROUP_BYTES.saturating_sub(self.group.raw_bytes));
            let limit = i64::from(offsets[at]) + room as i64;
            let fitting = offsets[at + 1..=start + length].partition_point(|&end| i64::from(end) <= limit);
            if fitting == 0 && !self.page.timestamps.is_empty() {
                self.close_page()?;
                continue;
            }
            // A line that is longer than a page makes a page of its own.
            let end = at + fitting.max(1);
            self.copy(run, &lines, at..end, &mut numbers);
            at = end;
            if fitting == 0 {
                self.close_page()?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, run: &Run, lines: &LinePage, rows: Range<usize>, numbers: &mut HashMap<u32, u32>) {
        let (page, group) = (&mut self.page, &mut self.group);
        let offsets = &lines.offsets[rows.start..=rows.end];
        let shift = page.text.len() as i32 - offsets[0];
        page.text.extend_from_slice(&lines.text[offsets[0] as usize..offsets[offsets.len() - 1] as usize]);
        page.offsets.extend(offsets[1..].iter().map(|offset| offset + shift));
        page.timestamps.extend_from_slice(&run.timestamps[rows.clone()]);
        group.raw_bytes += run.line_bytes(rows.clone());
        self.count(run, rows, numbers);
    }

    /// Notes the rows' metadata in the page, and the rows in the stream table.
    fn count(&mut self, run: &Run, rows: Range<usize>, numbers: &mut HashMap<u32, u32>) {
        let (page, group) = (&mut self.page, &mut self.group);
        let mut last: Option<(u32, u32)> = None;
        for row in rows {
            let set = run.metadata.of[row];
            let number = match last {
                Some((same, number)) if same == set => number,
                _ => *numbers.entry(set).or_insert_with(|| group.number(&run.metadata.sets[set as usize])),
            };
            last = Some((set, number));
            page.metadata_of.push(number);
            group.streams.count(number, run.timestamps[row], run.line_bytes(row..row + 1) as u64);
        }
    }

    /// Takes a page over as it is stored; the rows before it make a page that may be smaller than others.
    fn take_whole(&mut self, run: &Run, whole: &WholePage) -> Result<(), ParquetError> {
        let text_bytes = run.line_bytes(0..run.rows());
        if self.group.streams.rows() > 0 && self.group.raw_bytes + text_bytes > ROW_GROUP_BYTES {
            self.end_row_group()?;
        } else {
            self.close_page()?;
        }
        self.group.raw_bytes += text_bytes;
        self.count(run, 0..run.rows(), &mut HashMap::new());
        let location = self.location(run.rows());
        if let Some(index) = &mut self.index {
            index.index.push(location, whole.planes.clone());
        }
        let rows = StoredPageRows { timestamps: &run.timestamps, metadata_of: &self.page.metadata_of, lines: &whole.lines, text_bytes };
        self.file.stored_page(rows, &self.group.sets)?;
        self.page.metadata_of.clear();
        self.whole_pages += 1;
        Ok(())
    }

    /// Of the page that comes next, whose rows are the last that were counted.
    fn location(&self, rows: usize) -> GranuleLocation {
        GranuleLocation {
            row_group: self.file.row_groups() as u32,
            page: self.file.open_pages() as u32,
            first_row: (self.group.streams.rows() - rows) as u32,
            rows: rows as u32,
        }
    }

    /// Ends the page; the rows that follow begin another.
    pub(crate) fn close_page(&mut self) -> Result<(), ParquetError> {
        let rows = self.page.timestamps.len();
        if rows == 0 {
            return Ok(());
        }
        let location = self.location(rows);
        let (page, group) = (&mut self.page, &self.group);
        if let Some(index) = &mut self.index {
            index.push(location, page, &group.sets)?;
        }
        let rows = PageRows {
            timestamps: &page.timestamps,
            offsets: &page.offsets,
            text: &page.text,
            metadata_of: &page.metadata_of,
            line_hashes: &[],
        };
        self.file.page(rows, &group.sets)?;
        page.timestamps.clear();
        page.offsets.clear();
        page.offsets.push(0);
        page.text.clear();
        page.metadata_of.clear();
        Ok(())
    }

    /// Completes the row group; the stream that is open goes on in the next.
    pub(crate) fn end_row_group(&mut self) -> Result<(), ParquetError> {
        self.close_page()?;
        let goes_on = self.group.streams.open_stream();
        let group = std::mem::take(&mut self.group);
        if group.streams.rows() > 0 {
            let table = group.streams.finish(self.spec.tenant.clone());
            if let Some((first, last)) = table.stamps() {
                let (least, greatest) = self.stamps.unwrap_or((first, last));
                self.stamps = Some((least.min(first), greatest.max(last)));
            }
            self.rows += table.rows() as u64;
            self.raw_bytes += group.raw_bytes as u64;
            self.file.close_row_group(table)?;
        }
        if let Some((id, labels)) = goes_on {
            self.begin_stream(id, &labels);
        }
        Ok(())
    }

    /// Bytes that are final and were not drained before.
    pub(crate) fn drain(&mut self) -> Result<Vec<Bytes>, ParquetError> {
        self.file.take_bytes()
    }

    /// Completes the file. It must not be empty.
    pub(crate) fn finish(mut self) -> Result<FinishedFile, ParquetError> {
        self.end_row_group()?;
        let index = self.index.take().map(|open| open.index.finish());
        let keys = vec![
            parts::entry(parts::TENANT, self.spec.tenant.as_str().to_owned()),
            parts::entry(parts::DAY, self.spec.day.days().to_string()),
            parts::entry(parts::LEVEL, self.spec.level.to_string()),
            parts::entry(parts::ARRIVED, self.spec.arrived.to_string()),
        ];
        let row_groups = self.file.row_groups() as u32;
        let FileEnd { pieces, size, index, streams, footer_length } = self.file.finish(index, keys)?;
        let part = |range: Range<u64>| FilePart { offset: range.start, length: range.end - range.start };
        let (min_timestamp, max_timestamp) = self.stamps.unwrap_or_default();
        let file = DataFile {
            id: self.id,
            day: self.spec.day,
            level: self.spec.level,
            size,
            min_timestamp,
            max_timestamp,
            rows: self.rows,
            raw_bytes: self.raw_bytes,
            row_groups,
            footer_length,
            streams: part(streams),
            index: (!index.is_empty()).then(|| part(index)),
            created: self.spec.created,
            arrived: self.spec.arrived,
            as_of: self.spec.as_of,
        };
        Ok(FinishedFile { file, rest: pieces, whole_pages: self.whole_pages })
    }
}
