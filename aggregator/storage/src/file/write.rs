//! Writes a file page by page: rows in, bytes out as soon as a row group is complete.
//!
//! The caller cuts pages with [`page_rows`], so that all columns are cut at the same rows, and fetches finished bytes with
//! [`FileWriter::take_bytes`] between row groups; memory is one row group, compressed.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::Length as _;
use parquet::file::writer::SerializedFileWriter;
use tailwater_textindex::EncodedIndex;

use crate::file::chunk::{ChunkWriter, EncodedChunk, PageBody, PageCompressor};
use crate::file::decode::StoredLines;
use crate::file::delta;
use crate::file::label_columns::LabelColumns;
use crate::file::metadata_columns::MetadataColumns;
use crate::file::parts;
use crate::file::pieces::Pieces;
use crate::file::schema::{FileKind, Leaf};
use crate::file::stream_table::{self, RowGroupStreams};
use crate::file::tally::Tally;
use crate::invariants;
use crate::pairs::Pairs;

/// Bytes of line text in a page: the granule in which text is read, searched and indexed.
pub const LINE_PAGE_BYTES: usize = 1 << 20;

/// Most bytes of line text in a row group (a single longer line makes a row group of its own).
pub const ROW_GROUP_BYTES: usize = 64 << 20;

/// The rows of one page. All slices but `offsets` (one more) have the same length.
#[derive(Debug, Clone, Copy)]
pub struct PageRows<'a> {
    pub timestamps: &'a [i64],
    /// Ends of lines in `text`; the first is where the page begins.
    pub offsets: &'a [i32],
    pub text: &'a [u8],
    /// Indices into the sets of the row group.
    pub metadata_of: &'a [u32],
    /// Of segments; empty in data files.
    pub line_hashes: &'a [u64],
}

/// The rows of a page whose lines are stored in another file already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredPageRows<'a> {
    pub(crate) timestamps: &'a [i64],
    /// Indices into the sets of the row group.
    pub(crate) metadata_of: &'a [u32],
    pub(crate) lines: &'a StoredLines,
    /// Bytes of the lines alone, decompressed.
    pub(crate) text_bytes: usize,
}

/// Cuts rows into pages: each as many rows as fit, at least one.
pub fn page_rows(offsets: &[i32]) -> impl Iterator<Item = Range<usize>> + '_ {
    let rows = offsets.len() - 1;
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == rows {
            return None;
        }
        let limit = i64::from(offsets[start]) + LINE_PAGE_BYTES as i64;
        let fitting = offsets[start + 1..].partition_point(|&end| i64::from(end) <= limit);
        let page = start..start + fitting.max(1);
        start = page.end;
        Some(page)
    })
}

/// A file that grows page by page.
pub struct FileWriter {
    kind: FileKind,
    parquet: SerializedFileWriter<Pieces>,
    compressor: PageCompressor,
    open: OpenRowGroup,
    tables: Vec<RowGroupStreams>,
    checksums: Vec<u8>,
    /// Bytes handed over already.
    taken: u64,
}

/// The columns of the row group that is being written.
struct OpenRowGroup {
    timestamps: ChunkWriter,
    lines: ChunkWriter,
    metadata: MetadataColumns,
    line_hashes: Option<ChunkWriter>,
    page_rows: Vec<usize>,
    tally: Tally,
    body: Vec<u8>,
}

impl OpenRowGroup {
    fn new(kind: FileKind) -> Self {
        Self {
            timestamps: ChunkWriter::new(kind, Leaf::Timestamp),
            lines: ChunkWriter::new(kind, Leaf::Line),
            metadata: MetadataColumns::new(kind),
            line_hashes: (kind == FileKind::Segment).then(|| ChunkWriter::new(kind, Leaf::LineHash)),
            page_rows: Vec::new(),
            tally: Tally::default(),
            body: Vec::new(),
        }
    }

    fn page(&mut self, compressor: &mut PageCompressor, rows: PageRows<'_>, sets: &[Pairs]) -> Result<()> {
        let count = rows.timestamps.len();
        let text = &rows.text[rows.offsets[0] as usize..rows.offsets[count] as usize];
        self.begin_page(compressor, rows.timestamps, rows.metadata_of, sets)?;
        self.body.clear();
        delta::encode_byte_arrays(rows.offsets, text, &mut self.body);
        let body = PageBody { bytes: &self.body, first: self.body.len() - text.len() };
        self.lines.page(compressor, (count, count), Encoding::DELTA_LENGTH_BYTE_ARRAY, body, None)?;
        if let Some(hashes) = &mut self.line_hashes {
            self.body.clear();
            self.body.extend(rows.line_hashes.iter().flat_map(|hash| hash.to_le_bytes()));
            hashes.page(compressor, (count, count), Encoding::PLAIN, &self.body, None)?;
        }
        self.end_page(rows.timestamps, text.len());
        Ok(())
    }

    fn stored_page(&mut self, compressor: &mut PageCompressor, rows: StoredPageRows<'_>, sets: &[Pairs]) -> Result<()> {
        self.begin_page(compressor, rows.timestamps, rows.metadata_of, sets)?;
        self.lines.stored_page(rows.lines);
        self.end_page(rows.timestamps, rows.text_bytes);
        Ok(())
    }

    /// Stamps and metadata.
    fn begin_page(&mut self, compressor: &mut PageCompressor, timestamps: &[i64], metadata_of: &[u32], sets: &[Pairs]) -> Result<()> {
        let count = timestamps.len();
        self.body.clear();
        delta::encode(timestamps, &mut self.body);
        let bounds = timestamps.iter().copied().min().zip(timestamps.iter().copied().max());
        self.timestamps.page(compressor, (count, count), Encoding::DELTA_BINARY_PACKED, &self.body, bounds)?;
        self.metadata.page(compressor, metadata_of, sets)
    }

    fn end_page(&mut self, timestamps: &[i64], text_bytes: usize) {
        self.lines.note_text(text_bytes);
        self.page_rows.push(timestamps.len());
        self.tally.page(timestamps, text_bytes);
    }
}

/// The end of a file and where its parts lie.
#[derive(Debug)]
pub struct FileEnd {
    /// What [`FileWriter::take_bytes`] had not handed over; of a segment it is one piece.
    pub pieces: Vec<Bytes>,
    /// Of the whole file.
    pub size: u64,
    /// Of the text index; empty if the file has none.
    pub index: Range<u64>,
    pub streams: Range<u64>,
    /// Bytes from the end of the file that hold stream table, sums and footer.
    pub footer_length: u64,
}

impl FileWriter {
    /// `level`: of zstd.
    pub fn new(kind: FileKind, level: i32) -> Result<Self> {
        // Segments are stored with one put, and small.
        let out = if kind == FileKind::Segment { Pieces::whole() } else { Pieces::new() };
        let properties = WriterProperties::builder().set_created_by(concat!("tailwater ", env!("CARGO_PKG_VERSION")).to_owned());
        Ok(Self {
            kind,
            parquet: SerializedFileWriter::new(out, kind.message().clone(), properties.build().into())?,
            compressor: PageCompressor::new(level)?,
            open: OpenRowGroup::new(kind),
            tables: Vec::new(),
            checksums: Vec::new(),
            taken: 0,
        })
    }

    /// Adds a page to the open row group. `sets`: the row group's metadata sets so far.
    pub fn page(&mut self, rows: PageRows<'_>, sets: &[Pairs]) -> Result<()> {
        self.open.page(&mut self.compressor, rows, sets)
    }

    /// The same of a page whose lines are stored already.
    pub(crate) fn stored_page(&mut self, rows: StoredPageRows<'_>, sets: &[Pairs]) -> Result<()> {
        self.open.stored_page(&mut self.compressor, rows, sets)
    }

    /// Pages of the open row group.
    pub fn open_pages(&self) -> usize {
        self.open.page_rows.len()
    }

    /// Row groups that are complete.
    pub fn row_groups(&self) -> usize {
        self.tables.len()
    }

    /// Completes the row group, whose rows are those of `table`.
    pub fn close_row_group(&mut self, table: RowGroupStreams) -> Result<()> {
        let open = std::mem::replace(&mut self.open, OpenRowGroup::new(self.kind));
        if let Some(contradiction) = open.tally.contradiction(&table) {
            invariants::violated(contradiction);
            return Err(ParquetError::General(contradiction.into()));
        }
        let compressor = &mut self.compressor;
        let mut labels = LabelColumns { kind: self.kind, table: &table, compressor };
        let mut chunks: Vec<EncodedChunk> = Vec::with_capacity(self.kind.leaves().len());
        if self.kind == FileKind::Segment {
            chunks.push(labels.tenant()?);
        }
        chunks.push(labels.stream_ids(&open.page_rows)?);
        let promoted = labels.promoted()?;
        let others = labels.others()?;
        chunks.push(open.timestamps.close(compressor, None, None)?);
        chunks.extend(promoted);
        chunks.extend(others);
        chunks.extend(open.metadata.close(compressor)?);
        chunks.push(open.lines.close(compressor, None, None)?);
        if let Some(hashes) = open.line_hashes {
            chunks.push(hashes.close(compressor, None, None)?);
        }
        let length: u64 = chunks.iter().map(|chunk| chunk.pages.len()).sum();
        self.parquet.inner_mut().reserve(length as usize);
        let mut row_group = self.parquet.next_row_group()?;
        for chunk in chunks {
            self.checksums.extend(chunk.checksums.iter().flat_map(|sum| sum.to_le_bytes()));
            row_group.append_column(&chunk.pages, chunk.close)?;
        }
        row_group.close()?;
        self.tables.push(table);
        Ok(())
    }

    /// The bytes that are final and were not taken before.
    pub fn take_bytes(&mut self) -> Result<Vec<Bytes>> {
        self.parquet.flush()?;
        let pieces = self.parquet.inner_mut().take();
        self.taken += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(pieces)
    }

    /// Writes the parts and the footer. `index`: of text, which segments have none of. `keys`: what kind-specific keys the footer shall have.
    pub fn finish(mut self, index: Option<EncodedIndex>, keys: Vec<KeyValue>) -> Result<FileEnd> {
        let streams = stream_table::encode(&self.tables)?;
        let index_at = self.parquet.bytes_written() as u64;
        let index_length = index.as_ref().map_or(0, EncodedIndex::length);
        let mut index_sum = 0;
        for piece in index.into_iter().flat_map(EncodedIndex::into_pieces) {
            index_sum = crc32c::crc32c_append(index_sum, &piece);
            self.parquet.write_all(&piece)?;
        }
        self.parquet.write_all(&streams)?;
        self.parquet.write_all(&self.checksums)?;
        let streams_at = index_at + index_length;
        let checksums_at = streams_at + streams.len() as u64;
        let footer_at = checksums_at + self.checksums.len() as u64;
        let stamps: Vec<(i64, i64)> = self.tables.iter().filter_map(RowGroupStreams::stamps).collect();
        let min = stamps.iter().map(|stamps| stamps.0).min().unwrap_or_default();
        let max = stamps.iter().map(|stamps| stamps.1).max().unwrap_or_default();
        let common = [
            parts::entry(parts::FORMAT, parts::FORMAT_VERSION.to_string()),
            parts::entry(parts::MIN_TIMESTAMP, min.to_string()),
            parts::entry(parts::MAX_TIMESTAMP, max.to_string()),
        ];
        let places = [
            parts::INDEX.entries(index_at..streams_at, index_sum),
            parts::STREAMS.entries(streams_at..checksums_at, crc32c::crc32c(&streams)),
            parts::CHECKSUMS.entries(checksums_at..footer_at, crc32c::crc32c(&self.checksums)),
        ];
        for pair in common.into_iter().chain(keys).chain(places.into_iter().flatten()).chain([parts::empty_footer_crc()]) {
            self.parquet.append_key_value_metadata(pair);
        }
        self.parquet.flush()?;
        self.parquet.inner_mut().keep_together();
        let mut out = self.parquet.into_inner()?;
        let size = self.taken + out.len() as u64;
        parts::seal(out.last_mut((size - footer_at) as usize));
        Ok(FileEnd {
            pieces: out.take(),
            size,
            index: index_at..streams_at,
            streams: streams_at..checksums_at,
            footer_length: size - streams_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_a_mebibyte_or_one_longer_line() {
        let mebibyte = LINE_PAGE_BYTES as i32;
        let offsets = [0, 10, mebibyte, mebibyte + 1, 3 * mebibyte, 3 * mebibyte, 3 * mebibyte + 5];
        assert_eq!(page_rows(&offsets).collect::<Vec<_>>(), [0..2, 2..3, 3..4, 4..6]);
        assert_eq!(page_rows(&[0]).count(), 0);
    }
}
