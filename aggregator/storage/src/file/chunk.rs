//! A column chunk on its way into a file: pages compressed one by one, each with its checksum, and what the footer tells of them.
//!
//! Pages are cut by the caller, at the same rows in every column that queries read. A dictionary page, known only when the last data
//! page is written, is put before them at the end.

use std::io::{Read, Write as _};

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use crate::file::decode::StoredLines;
use crate::file::schema::{FileKind, Leaf};

/// Bytes that are not worth two frames.
const LEAST_DIVIDED: usize = 128 << 10;

/// Compresses pages; one context and one buffer for a whole file.
pub(crate) struct PageCompressor {
    context: zstd::bulk::Compressor<'static>,
    level: i32,
    compressed: Vec<u8>,
}

impl PageCompressor {
    pub(crate) fn new(level: i32) -> Result<Self> {
        Ok(Self { context: zstd::bulk::Compressor::new(level)?, level, compressed: Vec::new() })
    }

    /// Never shrinks the buffer: growing it again would write zeros over all of it.
    fn make_room(&mut self, bytes: usize) {
        if self.compressed.len() < bytes {
            self.compressed.resize(bytes, 0);
        }
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<Bytes> {
        self.make_room(zstd::zstd_safe::compress_bound(bytes.len()));
        let length = self.context.compress_to_buffer(bytes, &mut self.compressed)?;
        Ok(Bytes::copy_from_slice(&self.compressed[..length]))
    }

    /// The same as several frames. The first bytes have one of their own: codes made for both would suit neither. The others have two, so that
    /// half of them can be read alone.
    fn compress_apart(&mut self, first: usize, bytes: &[u8]) -> Result<Bytes> {
        let (first, rest) = bytes.split_at(first);
        let (front, back) = rest.split_at(if rest.len() < LEAST_DIVIDED { rest.len() } else { rest.len() / 2 });
        let parts = [first, front, back].into_iter().filter(|part| !part.is_empty());
        self.make_room(parts.clone().map(|part| zstd::zstd_safe::compress_bound(part.len())).sum());
        let mut length = 0;
        for part in parts {
            length += self.context.compress_to_buffer(part, &mut self.compressed[length..])?;
        }
        Ok(Bytes::copy_from_slice(&self.compressed[..length]))
    }
}

/// What a data page holds.
#[derive(Clone, Copy)]
pub(crate) struct PageBody<'a> {
    pub(crate) bytes: &'a [u8],
    /// How many bytes at the beginning are unlike the rest.
    pub(crate) first: usize,
}

impl<'a, B: AsRef<[u8]> + ?Sized> From<&'a B> for PageBody<'a> {
    fn from(bytes: &'a B) -> Self {
        Self { bytes: bytes.as_ref(), first: 0 }
    }
}

/// An encoded chunk: its pages as stored (dictionary page first), their checksums, and what the file writer wants to know of it.
pub(crate) struct EncodedChunk {
    pub(crate) pages: StoredPages,
    pub(crate) checksums: Vec<u32>,
    pub(crate) close: ColumnCloseResult,
}

/// Values of a dictionary, PLAIN-encoded.
pub(crate) struct Dictionary<'a> {
    pub(crate) plain: &'a [u8],
    pub(crate) values: usize,
}

/// A data page with its header, as it will be stored.
struct FinishedPage {
    stored: Bytes,
    checksum: u32,
    /// Bytes of header and body, decompressed.
    uncompressed: usize,
    rows: usize,
    values: usize,
    encoding: Encoding,
    bounds: Option<(i64, i64)>,
}

struct DataPage {
    rows: usize,
    stored: usize,
    bounds: Option<(i64, i64)>,
    /// Bytes of its values alone, where they are noted.
    text: Option<i64>,
}

/// Collects the pages of one column of one row group.
pub(crate) struct ChunkWriter {
    kind: FileKind,
    leaf: Leaf,
    stored: Vec<Bytes>,
    pages: Vec<DataPage>,
    checksums: Vec<u32>,
    uncompressed: usize,
    rows: usize,
    values: usize,
    encodings: Vec<(Encoding, i32)>,
}

impl ChunkWriter {
    pub(crate) fn new(kind: FileKind, leaf: Leaf) -> Self {
        Self {
            kind,
            leaf,
            stored: Vec::new(),
            pages: Vec::new(),
            checksums: Vec::new(),
            uncompressed: 0,
            rows: 0,
            values: 0,
            encodings: Vec::new(),
        }
    }

    /// Adds a data page of `values` values in `rows` rows. `bounds`: least and greatest value, of integers.
    pub(crate) fn page<'p>(
        &mut self,
        compressor: &mut PageCompressor,
        (rows, values): (usize, usize),
        encoding: Encoding,
        body: impl Into<PageBody<'p>>,
        bounds: Option<(i64, i64)>,
    ) -> Result<()> {
        let PageBody { bytes: body, first } = body.into();
        let buf = match self.is_compressed() {
            false => Bytes::copy_from_slice(body),
            // Segments do not last: speed counts more.
            true if first > 0 && self.kind != FileKind::Segment => compressor.compress_apart(first, body)?,
            true => compressor.compress(body)?,
        };
        let page = Page::DataPage {
            buf,
            num_values: u32::try_from(values).map_err(|_| ParquetError::General("too many values in a page".into()))?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let (stored, uncompressed) = serialise(page, body.len())?;
        let checksum = crc32c::crc32c(&stored);
        self.add(FinishedPage { stored, checksum, uncompressed, rows, values, encoding, bounds });
        Ok(())
    }

    /// Adds a page of lines that is stored in another file of this kind.
    pub(crate) fn stored_page(&mut self, lines: &StoredLines) {
        let rows = lines.rows();
        self.add(FinishedPage {
            // A slice would hold all that was read with it.
            stored: Bytes::copy_from_slice(&lines.page.bytes),
            checksum: lines.page.crc,
            uncompressed: lines.uncompressed,
            rows,
            values: rows,
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            bounds: None,
        });
    }

    fn add(&mut self, page: FinishedPage) {
        let FinishedPage { stored, checksum, uncompressed, rows, values, encoding, bounds } = page;
        self.checksums.push(checksum);
        self.pages.push(DataPage { rows, stored: stored.len(), bounds, text: None });
        self.stored.push(stored);
        self.uncompressed += uncompressed;
        self.rows += rows;
        self.values += values;
        match self.encodings.iter_mut().find(|(known, _)| *known == encoding) {
            Some((_, count)) => *count += 1,
            None => self.encodings.push((encoding, 1)),
        }
    }

    /// Notes how many bytes the values of the last page are without their lengths.
    pub(crate) fn note_text(&mut self, bytes: usize) {
        if let Some(page) = self.pages.last_mut() {
            page.text = i64::try_from(bytes).ok();
        }
    }

    /// Hashes do not compress.
    fn is_compressed(&self) -> bool {
        self.leaf != Leaf::LineHash
    }

    pub(crate) fn close(
        mut self,
        compressor: &mut PageCompressor,
        dictionary: Option<Dictionary<'_>>,
        statistics: Option<Statistics>,
    ) -> Result<EncodedChunk> {
        let mut first_data_page = 0;
        let mut page_statistics = Vec::new();
        if let Some(dictionary) = &dictionary {
            let page = Page::DictionaryPage {
                buf: compressor.compress(dictionary.plain)?,
                num_values: u32::try_from(dictionary.values)
                    .map_err(|_| ParquetError::General("too many values in a dictionary".into()))?,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let (stored, uncompressed) = serialise(page, dictionary.plain.len())?;
            first_data_page = stored.len();
            self.uncompressed += uncompressed;
            self.checksums.insert(0, crc32c::crc32c(&stored));
            self.stored.insert(0, stored);
            page_statistics.push(PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding: Encoding::PLAIN, count: 1 });
        }
        let pages = StoredPages::new(std::mem::take(&mut self.stored));
        page_statistics.extend(self.encodings.iter().map(|&(encoding, count)| PageEncodingStats {
            page_type: PageType::DATA_PAGE,
            encoding,
            count,
        }));
        let mut encodings: Vec<Encoding> = page_statistics.iter().map(|page| page.encoding).chain([Encoding::RLE]).collect();
        encodings.dedup();
        let mut metadata = ColumnChunkMetaData::builder(self.kind.column(self.leaf))
            .set_compression(match self.is_compressed() {
                true => Compression::ZSTD(ZstdLevel::try_new(compressor.level)?),
                false => Compression::UNCOMPRESSED,
            })
            .set_encodings(encodings)
            .set_page_encoding_stats(page_statistics)
            .set_num_values(self.values as i64)
            .set_total_compressed_size(pages.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_dictionary_page_offset(dictionary.is_some().then_some(0))
            .set_data_page_offset(first_data_page as i64);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: pages.len(),
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.column_index()?,
            offset_index: Some(self.offset_index(first_data_page)),
        };
        Ok(EncodedChunk { pages, checksums: self.checksums, close })
    }

    fn offset_index(&self, first_data_page: usize) -> parquet::file::page_index::offset_index::OffsetIndexMetaData {
        let mut index = OffsetIndexBuilder::new();
        let mut offset = first_data_page;
        for page in &self.pages {
            index.append_row_count(page.rows as i64);
            index.append_offset_and_size(offset as i64, page.stored as i32);
            index.append_unencoded_byte_array_data_bytes(page.text);
            offset += page.stored;
        }
        index.build()
    }

    /// Bounds of each page, where every page has them.
    fn column_index(&self) -> Result<Option<parquet::file::page_index::column_index::ColumnIndexMetaData>> {
        let mut index = ColumnIndexBuilder::new(Type::INT64);
        index.set_boundary_order(BoundaryOrder::UNORDERED);
        for page in &self.pages {
            let Some((least, greatest)) = page.bounds else { return Ok(None) };
            index.append(false, least.to_le_bytes().to_vec(), greatest.to_le_bytes().to_vec(), 0);
        }
        if self.pages.is_empty() { Ok(None) } else { index.build().map(Some) }
    }
}

/// A page as it is stored, header and bytes, and what it would be uncompressed.
fn serialise(page: Page, uncompressed: usize) -> Result<(Bytes, usize)> {
    let mut sink = TrackedWrite::new(Vec::with_capacity(page.buffer().len() + 64));
    let spec = SerializedPageWriter::new(&mut sink).write_page(CompressedPage::new(page, uncompressed))?;
    sink.flush()?;
    Ok((sink.into_inner()?.into(), spec.uncompressed_size))
}

/// Pages that lie one after the other in a file, but not in memory: they are many, and come one by one. They are read once, and each is let
/// go then: beside the row group that they are copied to they would take as much again.
pub(crate) struct StoredPages {
    pages: Mutex<Vec<Bytes>>,
    length: u64,
}

impl StoredPages {
    fn new(pages: Vec<Bytes>) -> Self {
        let length = pages.iter().map(|page| page.len() as u64).sum();
        Self { pages: Mutex::new(pages), length }
    }
}

impl Length for StoredPages {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for StoredPages {
    type T = PagesReader;

    fn get_read(&self, start: u64) -> Result<PagesReader> {
        let mut reader = PagesReader { page: Bytes::new(), rest: std::mem::take(&mut *self.pages.lock()).into_iter() };
        std::io::copy(&mut (&mut reader).take(start), &mut std::io::sink())?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads pages one after the other.
pub(crate) struct PagesReader {
    page: Bytes,
    rest: std::vec::IntoIter<Bytes>,
}

impl Read for PagesReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.page.is_empty() {
            let Some(page) = self.rest.next() else { return Ok(0) };
            self.page = page;
        }
        let length = self.page.len().min(out.len());
        out[..length].copy_from_slice(&self.page.split_to(length));
        Ok(length)
    }
}
