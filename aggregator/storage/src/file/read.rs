//! What the end of a file tells: its streams, where its pages lie, their sums. Every byte used was checked against its sum.

use std::ops::Range;

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::entry::TenantId;
use crate::error::FileError;
use crate::file::columns::Wanted;
use crate::file::parts;
use crate::file::schema::{FileKind, Leaf};
use crate::file::stream_table::{self, RowGroupStreams};

/// How many bytes from the end to fetch before knowing more.
pub const TAIL_GUESS: u64 = 64 << 10;

/// Which segment this is: its writer's name, its number, and when it was flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentName {
    /// A ULID, one for each process life at most.
    pub writer: String,
    /// Without gaps from 0.
    pub sequence: u64,
    /// Nanoseconds since the epoch, by the writer's clock.
    pub flushed: i64,
}

/// What a file says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileIdentity {
    Segment(SegmentName),
    Data {
        tenant: TenantId,
        /// Days since the epoch, UTC; every row's stamp lies in it.
        day: i32,
        level: u8,
        /// When the first segment in it was flushed (ns).
        arrived: i64,
    },
}

impl FileIdentity {
    pub fn kind(&self) -> FileKind {
        match self {
            Self::Segment(_) => FileKind::Segment,
            Self::Data { .. } => FileKind::Data,
        }
    }
}

/// What a file's end tells, as compact as queries need it.
#[derive(Debug)]
pub struct FileFooter {
    pub identity: FileIdentity,
    pub row_groups: Vec<RowGroup>,
    /// Where the text index lies; empty if there is none.
    pub index: Range<u64>,
}

/// One row group: its streams, its pages, and where they are stored.
#[derive(Debug)]
pub struct RowGroup {
    pub table: RowGroupStreams,
    pub pages: PageTable,
    leaves: [StoredLeaf; READ_LEAVES.len()],
}

/// Rows and stamps of the pages of a row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageTable {
    /// First row of each page, and the end of the last.
    starts: Box<[u32]>,
    /// Least and greatest stamp of each page.
    stamps: Box<[(i64, i64)]>,
    /// Bytes of line text of each page.
    text: Box<[u64]>,
}

impl PageTable {
    /// `starts`: first row of each page, and the end of the last.
    pub(crate) fn new(starts: Vec<u32>, stamps: Vec<(i64, i64)>, text: Vec<u64>) -> Self {
        assert_eq!((starts.len(), text.len()), (stamps.len() + 1, stamps.len()), "every page has stamps and text");
        Self { starts: starts.into(), stamps: stamps.into(), text: text.into() }
    }

    /// Bytes of the lines of a page.
    pub fn text_bytes(&self, page: usize) -> u64 {
        self.text[page]
    }

    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Rows of the row group that a page holds.
    pub fn rows(&self, page: usize) -> Range<usize> {
        self.starts[page] as usize..self.starts[page + 1] as usize
    }

    /// Least and greatest stamp of a page, whichever the streams.
    pub fn stamps(&self, page: usize) -> (i64, i64) {
        self.stamps[page]
    }

    /// The pages that hold any of `rows`.
    pub fn holding(&self, rows: &Range<usize>) -> Range<usize> {
        let first = self.starts.partition_point(|&start| start as usize <= rows.start).saturating_sub(1);
        let end = self.starts.partition_point(|&start| (start as usize) < rows.end);
        first..end.min(self.len()).max(first)
    }
}

/// The leaves that we read; the others are for foreign readers.
const READ_LEAVES: [Leaf; 6] = [Leaf::Timestamp, Leaf::NamespaceUid, Leaf::MetadataNames, Leaf::MetadataValues, Leaf::Line, Leaf::LineHash];

/// Where a leaf's pages are stored. A leaf that the kind of file lacks has none.
#[derive(Debug, Default)]
pub(crate) struct StoredLeaf {
    pub(crate) dictionary: Option<StoredPage>,
    pub(crate) pages: Box<[StoredPage]>,
}

/// A stored page: where, and its CRC-32C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPage {
    pub offset: u64,
    pub length: u32,
    pub crc: u32,
}

impl StoredPage {
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.length)
    }
}

/// The outcome of looking at an object's end.
#[derive(Debug)]
pub enum Tail {
    Footer(Box<ParsedFile>),
    /// This many bytes from the end are needed.
    NeedBytes(u64),
}

/// A footer and the places of all pages, those for foreign readers included.
#[derive(Debug)]
pub struct ParsedFile {
    pub footer: FileFooter,
    pub every_page: Vec<StoredPage>,
    /// Where the stream table lies; the sums of pages and the footer follow it to the end of the file.
    pub streams: Range<u64>,
}

/// Parses the last bytes of an object of `size` bytes.
pub fn parse_tail(tail: &Bytes, size: u64) -> Result<Tail, FileError> {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    match reader.try_parse_sized(tail, size) {
        Ok(()) => {}
        Err(ParquetError::NeedMoreData(needed)) => return need(needed as u64, tail, size),
        Err(error) => return Err(parts::damaged(error.to_string())),
    }
    let metadata = reader.finish().map_err(|error| parts::damaged(error.to_string()))?;
    let streams = parts::STREAMS.range(&metadata)?;
    let sums = parts::CHECKSUMS.range(&metadata)?;
    if streams.end != sums.start || sums.end >= size {
        return Err(parts::damaged("its parts do not follow each other".into()));
    }
    let needed = size - streams.start;
    if needed > tail.len() as u64 {
        return need(needed, tail, size);
    }
    let end = tail.slice(tail.len() - needed as usize..);
    let (table, rest) = end.split_at((streams.end - streams.start) as usize);
    let (sums, rest) = rest.split_at((sums.end - sums.start) as usize);
    parts::verify(rest)?;
    parts::STREAMS.verify(&metadata, table)?;
    parts::CHECKSUMS.verify(&metadata, sums)?;
    let format: u32 = parts::number(&metadata, parts::FORMAT, 10)?;
    if format != parts::FORMAT_VERSION {
        return Err(FileError::OtherFormat { found: format, supported: parts::FORMAT_VERSION });
    }
    let mut indexed = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_column_index_policy(PageIndexPolicy::Optional)
        .with_offset_index_policy(PageIndexPolicy::Required);
    let metadata =
        indexed.read_page_indexes_sized(tail, size).and_then(|()| indexed.finish()).map_err(|error| parts::damaged(error.to_string()))?;
    let tables = stream_table::decode(table).map_err(|reason| FileError::Damaged { part: "stream table", reason })?;
    Ok(Tail::Footer(Box::new(Assembly { metadata: &metadata, sums }.file(tables, streams)?)))
}

fn need(needed: u64, tail: &Bytes, size: u64) -> Result<Tail, FileError> {
    if needed <= tail.len() as u64 || needed > size {
        return Err(parts::damaged(format!("{needed} bytes are needed of an object of {size}")));
    }
    Ok(Tail::NeedBytes(needed))
}

/// Puts a footer together from what the library parsed.
struct Assembly<'a> {
    metadata: &'a ParquetMetaData,
    /// What is left of part `tw.crc`.
    sums: &'a [u8],
}

impl Assembly<'_> {
    fn file(mut self, tables: Vec<RowGroupStreams>, streams: Range<u64>) -> Result<ParsedFile, FileError> {
        let identity = self.identity()?;
        let kind = identity.kind();
        if self.metadata.file_metadata().schema_descr().columns() != kind.descriptor().columns() {
            return Err(parts::damaged("its columns are not those of its kind".into()));
        }
        if tables.len() != self.metadata.num_row_groups() {
            return Err(FileError::Damaged { part: "stream table", reason: "its row groups are not those of the file".into() });
        }
        let index = parts::INDEX.range(self.metadata)?;
        let mut row_groups = Vec::with_capacity(tables.len());
        let mut every_page = Vec::new();
        for (number, table) in tables.into_iter().enumerate() {
            row_groups.push(self.row_group(kind, number, table, &mut every_page)?);
        }
        if !self.sums.is_empty() {
            return Err(sums_differ());
        }
        Ok(ParsedFile { footer: FileFooter { identity, row_groups, index }, every_page, streams })
    }

    fn identity(&self) -> Result<FileIdentity, FileError> {
        let metadata = self.metadata;
        if let Ok(tenant) = parts::value(metadata, parts::TENANT) {
            return Ok(FileIdentity::Data {
                tenant: TenantId::new(tenant),
                day: parts::number(metadata, parts::DAY, 10)?,
                level: parts::number(metadata, parts::LEVEL, 10)?,
                arrived: parts::number(metadata, parts::ARRIVED, 10)?,
            });
        }
        Ok(FileIdentity::Segment(SegmentName {
            writer: parts::value(metadata, parts::WRITER)?.to_owned(),
            sequence: parts::number(metadata, parts::SEQUENCE, 16)?,
            flushed: parts::number(metadata, parts::FLUSHED, 10)?,
        }))
    }

    fn row_group(
        &mut self,
        kind: FileKind,
        number: usize,
        table: RowGroupStreams,
        every_page: &mut Vec<StoredPage>,
    ) -> Result<RowGroup, FileError> {
        if table.rows() as i64 != self.metadata.row_group(number).num_rows() {
            return Err(FileError::Damaged { part: "stream table", reason: "its rows are not those of the row group".into() });
        }
        let mut leaves: [StoredLeaf; READ_LEAVES.len()] = Default::default();
        let mut starts: Option<Vec<u32>> = None;
        for (column, &leaf) in kind.leaves().iter().enumerate() {
            let stored = self.leaf(number, column)?;
            every_page.extend(stored.dictionary.iter().chain(&stored.pages));
            let Some(slot) = READ_LEAVES.iter().position(|read| *read == leaf) else { continue };
            let of_leaf = self.starts(number, column, table.rows())?;
            if *starts.get_or_insert_with(|| of_leaf.clone()) != of_leaf {
                return Err(parts::damaged("its columns are not cut at the same rows".into()));
            }
            leaves[slot] = stored;
        }
        let starts = starts.unwrap_or_else(|| vec![0]);
        let stamps = self.stamps(kind, number, starts.len() - 1)?;
        let text = self.text(kind, number, &table, starts.len() - 1)?;
        Ok(RowGroup { table, pages: PageTable::new(starts, stamps, text), leaves })
    }

    /// Where the pages of a column lie, each with its sum.
    fn leaf(&mut self, row_group: usize, column: usize) -> Result<StoredLeaf, FileError> {
        let (start, length) = self.metadata.row_group(row_group).column(column).byte_range();
        let end = start.saturating_add(length);
        let locations = self.metadata.offset_index().and_then(|index| index.get(row_group)?.get(column));
        let locations = locations.ok_or_else(|| parts::damaged("a page index is missing".into()))?.page_locations.as_slice();
        let mut sum = || if self.sums.len() < 4 { Err(sums_differ()) } else { Ok(self.sums.get_u32_le()) };
        let mut stored = StoredLeaf::default();
        let mut next = locations.first().map_or(end, |location| location.offset as u64);
        if next > start {
            stored.dictionary = Some(StoredPage { offset: start, length: length_of(next - start)?, crc: sum()? });
        }
        let mut pages = Vec::with_capacity(locations.len());
        let mut is_contiguous = next >= start;
        for location in locations {
            is_contiguous &= location.offset as u64 == next;
            let length = u32::try_from(location.compressed_page_size).map_err(|_| parts::damaged("a page has no length".into()))?;
            pages.push(StoredPage { offset: next, length, crc: sum()? });
            next = next.saturating_add(u64::from(length));
        }
        if !is_contiguous || next != end {
            return Err(parts::damaged("its page index does not cover the column".into()));
        }
        stored.pages = pages.into();
        Ok(stored)
    }

    fn starts(&self, row_group: usize, column: usize, rows: usize) -> Result<Vec<u32>, FileError> {
        let locations = self.metadata.offset_index().and_then(|index| index.get(row_group)?.get(column));
        let locations = locations.map_or([].as_slice(), |index| index.page_locations.as_slice());
        let starts = locations.iter().map(|location| u32::try_from(location.first_row_index)).chain([u32::try_from(rows as i64)]);
        let starts: Option<Vec<u32>> = starts.map(Result::ok).collect();
        let starts = starts.filter(|starts| starts.first() == Some(&0) && starts.is_sorted_by(|left, right| left < right));
        starts.ok_or_else(|| parts::damaged("the rows of its pages do not ascend".into()))
    }

    /// The bytes of line text of each page; all pages have those that the stream table tells of.
    fn text(&self, kind: FileKind, row_group: usize, table: &RowGroupStreams, pages: usize) -> Result<Vec<u64>, FileError> {
        let column = kind.position(Leaf::Line).expect("every kind has lines");
        let index = self.metadata.offset_index().and_then(|index| index.get(row_group)?.get(column));
        let noted = index.and_then(|index| index.unencoded_byte_array_data_bytes()).map_or([].as_slice(), Vec::as_slice);
        let text: Option<Vec<u64>> = noted.iter().map(|bytes| u64::try_from(*bytes).ok()).collect();
        let is_whole = |text: &Vec<u64>| text.len() == pages && text.iter().sum::<u64>() == table.bytes();
        text.filter(is_whole).ok_or_else(|| parts::damaged("the lengths of its pages' text are missing or not those of its streams".into()))
    }

    fn stamps(&self, kind: FileKind, row_group: usize, pages: usize) -> Result<Vec<(i64, i64)>, FileError> {
        let column = kind.position(Leaf::Timestamp).expect("every kind has stamps");
        match self.metadata.column_index().and_then(|index| index.get(row_group)?.get(column)) {
            Some(ColumnIndexMetaData::INT64(index)) if index.num_pages() as usize == pages => (0..pages)
                .map(|page| index.min_value(page).copied().zip(index.max_value(page).copied()))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| parts::damaged("a page has no stamps".into())),
            _ => Err(parts::damaged("the stamps of its pages are missing".into())),
        }
    }
}

fn sums_differ() -> FileError {
    FileError::Damaged { part: "tw.crc", reason: "its length is not that of the pages".into() }
}

fn length_of(bytes: u64) -> Result<u32, FileError> {
    u32::try_from(bytes).map_err(|_| parts::damaged("a page is beyond all bounds".into()))
}

impl RowGroup {
    pub(crate) fn leaf(&self, leaf: Leaf) -> &StoredLeaf {
        let slot = READ_LEAVES.iter().position(|read| *read == leaf).expect("only leaves that are read are asked for");
        &self.leaves[slot]
    }

    /// Every stored page of the columns that are read.
    pub(crate) fn read_pages(&self) -> impl Iterator<Item = &StoredPage> {
        self.leaves.iter().flat_map(|leaf| leaf.dictionary.iter().chain(&leaf.pages))
    }

    /// Bytes of a page as stored, over all columns that are read.
    pub fn stored_bytes(&self, page: usize) -> u64 {
        self.leaves.iter().filter_map(|leaf| leaf.pages.get(page)).map(|page| u64::from(page.length)).sum()
    }

    /// Bytes that the footer of this row group takes in memory.
    pub fn heap_bytes(&self) -> usize {
        let pages: usize = self.leaves.iter().map(|leaf| leaf.pages.len()).sum();
        self.table.heap_bytes() + pages * size_of::<StoredPage>() + self.pages.len() * 28 + 256
    }
}

impl FileFooter {
    pub fn heap_bytes(&self) -> usize {
        self.row_groups.iter().map(RowGroup::heap_bytes).sum()
    }
}

/// The leaves behind what is wanted, in file order.
pub(crate) fn leaves(wanted: Wanted) -> impl Iterator<Item = Leaf> {
    READ_LEAVES.into_iter().filter(move |leaf| match leaf {
        Leaf::Timestamp => wanted.timestamps,
        Leaf::Line => wanted.lines,
        Leaf::LineHash => wanted.line_hashes,
        _ => wanted.metadata,
    })
}
