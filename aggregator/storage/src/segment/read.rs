//! Reads segments: first the end of the object, then just the columns wanted. Every byte used was checked against its sum.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use bytes::{Buf, Bytes};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::error::SegmentError;
use crate::pairs::Pairs;
use crate::segment::columns::{LinePage, MetadataColumn, RowGroupColumns, Wanted};
use crate::segment::delta;
use crate::segment::footer;
use crate::segment::schema::{DESCRIPTOR, Leaf, NAMESPACE_UID};
use crate::segment::streams::{self, RowGroupStreams};
use crate::segment::write::SegmentName;

/// How many bytes from the end to fetch before knowing more.
pub const TAIL_GUESS: u64 = 128 << 10;

/// What a segment's end tells: its name, its streams, where its columns lie and their sums.
#[derive(Debug)]
pub struct SegmentFooter {
    pub name: SegmentName,
    /// One table for each row group.
    pub row_groups: Vec<RowGroupStreams>,
    metadata: ParquetMetaData,
    /// By row group and leaf: the sum of each page.
    checksums: Vec<Vec<Vec<u32>>>,
}

/// The outcome of looking at an object's end.
#[derive(Debug)]
pub enum Tail {
    Footer(Box<SegmentFooter>),
    /// This many bytes from the end are needed.
    NeedBytes(u64),
}

/// Parses the last bytes of an object of `size` bytes.
pub fn parse_tail(tail: &Bytes, size: u64) -> Result<Tail, SegmentError> {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    match reader.try_parse_sized(tail, size) {
        Ok(()) => {}
        Err(ParquetError::NeedMoreData(needed)) => return need(needed as u64, tail, size),
        Err(error) => return Err(footer::damaged(error.to_string())),
    }
    let metadata = reader.finish().map_err(|error| footer::damaged(error.to_string()))?;
    let crc_offset: u64 = footer::number(&metadata, footer::CRC_OFFSET, 16)?;
    let crc_length: u64 = footer::number(&metadata, footer::CRC_LENGTH, 16)?;
    let needed = size.checked_sub(crc_offset).filter(|needed| *needed > crc_length);
    let Some(needed) = needed else { return Err(footer::damaged(format!("key `{}` points beyond the object", footer::CRC_OFFSET))) };
    if needed > tail.len() as u64 {
        return need(needed, tail, size);
    }
    let end = tail.slice(tail.len() - needed as usize..);
    let (sums, rest) = end.split_at(crc_length as usize);
    footer::verify(rest)?;
    let stored: u32 = footer::number(&metadata, footer::CRC_CRC, 16)?;
    let computed = crc32c::crc32c(sums);
    if stored != computed {
        return Err(SegmentError::Checksum { part: "tw.crc".into(), stored, computed });
    }
    let format: u32 = footer::number(&metadata, footer::FORMAT, 10)?;
    if format > footer::FORMAT_VERSION {
        return Err(SegmentError::FromTheFuture { found: format, supported: footer::FORMAT_VERSION });
    }
    let mut indexed = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Required);
    let metadata =
        indexed.read_page_indexes_sized(tail, size).and_then(|()| indexed.finish()).map_err(|error| footer::damaged(error.to_string()))?;
    Ok(Tail::Footer(Box::new(SegmentFooter::new(metadata, sums)?)))
}

fn need(needed: u64, tail: &Bytes, size: u64) -> Result<Tail, SegmentError> {
    if needed <= tail.len() as u64 || needed > size {
        return Err(footer::damaged(format!("{needed} bytes are needed of an object of {size}")));
    }
    Ok(Tail::NeedBytes(needed))
}

impl SegmentFooter {
    fn new(metadata: ParquetMetaData, sums: &[u8]) -> Result<Self, SegmentError> {
        let name = SegmentName {
            writer: footer::value(&metadata, footer::WRITER)?.to_owned(),
            sequence: footer::number(&metadata, footer::SEQUENCE, 16)?,
            flushed: footer::number(&metadata, footer::FLUSHED, 10)?,
        };
        if metadata.file_metadata().schema_descr().columns() != DESCRIPTOR.columns() {
            return Err(footer::damaged("its columns are not those of a segment".into()));
        }
        let row_groups = streams::from_json(footer::value(&metadata, footer::STREAMS)?)
            .map_err(|reason| SegmentError::Damaged { part: "stream table", reason })?;
        let rows_agree = row_groups.len() == metadata.num_row_groups()
            && row_groups.iter().zip(metadata.row_groups()).all(|(table, group)| table.rows() as i64 == group.num_rows());
        if !rows_agree {
            return Err(SegmentError::Damaged { part: "stream table", reason: "its rows are not those of the row groups".into() });
        }
        let mut footer = Self { name, row_groups, metadata, checksums: Vec::new() };
        footer.checksums = footer.share_out(sums)?;
        Ok(footer)
    }

    /// Gives each chunk the sums of its pages.
    fn share_out(&self, mut sums: &[u8]) -> Result<Vec<Vec<Vec<u32>>>, SegmentError> {
        let damaged = || SegmentError::Damaged { part: "tw.crc", reason: "its length is not that of the pages".into() };
        let mut all = Vec::with_capacity(self.row_groups.len());
        for row_group in 0..self.row_groups.len() {
            let mut columns = Vec::with_capacity(Leaf::ALL.len());
            for leaf in Leaf::ALL {
                let pages = self.pages(row_group, leaf)?.len();
                if sums.len() < pages * 4 {
                    return Err(damaged());
                }
                columns.push((0..pages).map(|_| sums.get_u32_le()).collect());
            }
            all.push(columns);
        }
        if sums.is_empty() { Ok(all) } else { Err(damaged()) }
    }

    /// Byte ranges of a chunk's pages as stored, the dictionary page first.
    fn pages(&self, row_group: usize, leaf: Leaf) -> Result<Vec<Range<u64>>, SegmentError> {
        let chunk = self.chunk_range(row_group, leaf);
        let locations = self.locations(row_group, leaf)?;
        let mut pages = Vec::with_capacity(locations.len() + 1);
        let first = locations.first().map_or(chunk.end, |location| location.offset as u64);
        if first > chunk.start {
            pages.push(chunk.start..first);
        }
        pages
            .extend(locations.iter().map(|location| location.offset as u64..location.offset as u64 + location.compressed_page_size as u64));
        let contiguous = pages.windows(2).all(|pair| pair[0].end == pair[1].start) && pages.last().is_none_or(|page| page.end == chunk.end);
        if !contiguous || first < chunk.start {
            return Err(footer::damaged("its page index does not cover the column".into()));
        }
        Ok(pages)
    }

    fn locations(&self, row_group: usize, leaf: Leaf) -> Result<&[PageLocation], SegmentError> {
        self.metadata
            .offset_index()
            .and_then(|index| index.get(row_group)?.get(leaf.index()))
            .map(|index| index.page_locations.as_slice())
            .ok_or_else(|| footer::damaged("a page index is missing".into()))
    }

    fn chunk_range(&self, row_group: usize, leaf: Leaf) -> Range<u64> {
        let (start, length) = self.metadata.row_group(row_group).column(leaf.index()).byte_range();
        start..start.saturating_add(length)
    }

    /// The byte ranges to fetch for these columns, in the order in which [`Self::decode`] takes them.
    pub fn ranges(&self, row_group: usize, wanted: Wanted) -> Vec<Range<u64>> {
        leaves(wanted).into_iter().map(|leaf| self.chunk_range(row_group, leaf)).collect()
    }

    /// Decodes the columns from the bytes of [`Self::ranges`].
    pub fn decode(&self, row_group: usize, wanted: Wanted, fetched: Vec<Bytes>) -> Result<RowGroupColumns, SegmentError> {
        let mut chunks = HashMap::new();
        for (leaf, bytes) in leaves(wanted).into_iter().zip(fetched) {
            chunks.insert(leaf.index(), self.verified(row_group, leaf, bytes)?);
        }
        let mut chunk = |leaf: Leaf| chunks.remove(&leaf.index()).ok_or_else(|| damaged(leaf, "its bytes are missing"));
        let mut columns = RowGroupColumns::default();
        if wanted.timestamps {
            columns.timestamps = Some(chunk(Leaf::Timestamp)?.timestamps()?);
        }
        if wanted.line_hashes {
            columns.line_hashes = Some(chunk(Leaf::LineHash)?.plain_integers()?);
        }
        if wanted.lines {
            columns.lines = Some(chunk(Leaf::Line)?.line_pages()?);
        }
        if wanted.metadata {
            let [uids, names, values] = [chunk(Leaf::NamespaceUid)?, chunk(Leaf::MetadataNames)?, chunk(Leaf::MetadataValues)?];
            columns.metadata = Some(metadata_column(&uids, &names, &values)?);
        }
        Ok(columns)
    }

    fn verified(&self, row_group: usize, leaf: Leaf, bytes: Bytes) -> Result<Chunk<'_>, SegmentError> {
        let range = self.chunk_range(row_group, leaf);
        if bytes.len() as u64 != range.end - range.start {
            return Err(damaged(leaf, "the store returned a different number of bytes"));
        }
        for (page, &stored) in self.pages(row_group, leaf)?.iter().zip(&self.checksums[row_group][leaf.index()]) {
            let page = &bytes[(page.start - range.start) as usize..(page.end - range.start) as usize];
            let computed = crc32c::crc32c(page);
            if computed != stored {
                let part = format!("a page of column `{}`", DESCRIPTOR.column(leaf.index()).path());
                return Err(SegmentError::Checksum { part, stored, computed });
            }
        }
        Ok(Chunk { footer: self, row_group, leaf, bytes: OffsetBytes { start: range.start, bytes } })
    }
}

/// The leaves behind what is wanted, in file order.
fn leaves(wanted: Wanted) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    if wanted.timestamps {
        leaves.push(Leaf::Timestamp);
    }
    if wanted.metadata {
        leaves.extend([Leaf::NamespaceUid, Leaf::MetadataNames, Leaf::MetadataValues]);
    }
    if wanted.lines {
        leaves.push(Leaf::Line);
    }
    if wanted.line_hashes {
        leaves.push(Leaf::LineHash);
    }
    leaves
}

fn damaged(leaf: Leaf, reason: impl ToString) -> SegmentError {
    SegmentError::Damaged { part: "column", reason: format!("`{}`: {}", DESCRIPTOR.column(leaf.index()).path(), reason.to_string()) }
}

/// One column chunk whose sums were right.
struct Chunk<'a> {
    footer: &'a SegmentFooter,
    row_group: usize,
    leaf: Leaf,
    bytes: OffsetBytes,
}

impl Chunk<'_> {
    fn rows(&self) -> usize {
        self.footer.row_groups[self.row_group].rows()
    }

    fn page_reader(&self) -> Result<SerializedPageReader<OffsetBytes>, SegmentError> {
        let metadata = self.footer.metadata.row_group(self.row_group).column(self.leaf.index());
        let locations = self.footer.locations(self.row_group, self.leaf)?.to_vec();
        SerializedPageReader::new(Arc::new(self.bytes.clone()), metadata, self.rows(), Some(locations)).map_err(|e| damaged(self.leaf, e))
    }

    /// Decompressed data pages: values, encoding, bytes.
    fn data_pages(&self) -> Result<Vec<(usize, Encoding, Bytes)>, SegmentError> {
        let mut pages = Vec::new();
        let mut reader = self.page_reader()?;
        while let Some(page) = reader.get_next_page().map_err(|error| damaged(self.leaf, error))? {
            match page {
                Page::DataPage { buf, num_values, encoding, .. } => pages.push((num_values as usize, encoding, buf)),
                other => return Err(damaged(self.leaf, format!("unexpected {:?}", other.page_type()))),
            }
        }
        if pages.iter().map(|(values, _, _)| values).sum::<usize>() != self.rows() {
            return Err(damaged(self.leaf, "its pages do not hold every row"));
        }
        Ok(pages)
    }

    fn timestamps(&self) -> Result<ScalarBuffer<i64>, SegmentError> {
        let mut stamps = Vec::with_capacity(self.rows());
        for (values, encoding, bytes) in self.data_pages()? {
            self.expect(encoding, Encoding::DELTA_BINARY_PACKED)?;
            stamps.extend(delta::decode(&bytes, values).map_err(|error| damaged(self.leaf, error))?.0);
        }
        Ok(stamps.into())
    }

    fn plain_integers(&self) -> Result<ScalarBuffer<u64>, SegmentError> {
        let mut integers = Vec::with_capacity(self.rows());
        for (values, encoding, bytes) in self.data_pages()? {
            self.expect(encoding, Encoding::PLAIN)?;
            if bytes.len() != values * 8 {
                return Err(damaged(self.leaf, "a page has the wrong length"));
            }
            integers.extend(bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes"))));
        }
        Ok(integers.into())
    }

    fn line_pages(&self) -> Result<Vec<LinePage>, SegmentError> {
        let mut first_row = 0;
        let mut pages = Vec::new();
        for (values, encoding, bytes) in self.data_pages()? {
            self.expect(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY)?;
            let (offsets, text) = delta::decode_byte_arrays(&bytes, values).map_err(|error| damaged(self.leaf, error))?;
            let text_at = bytes.len() - text.len();
            let text = Buffer::from(bytes.slice(text_at..));
            pages.push(LinePage { first_row, offsets: OffsetBuffer::new(offsets.into()), text });
            first_row += values;
        }
        Ok(pages)
    }

    fn expect(&self, found: Encoding, wanted: Encoding) -> Result<(), SegmentError> {
        if found == wanted { Ok(()) } else { Err(damaged(self.leaf, format!("encoded as {found}, not {wanted}"))) }
    }

    fn byte_arrays(&self) -> Result<ColumnReaderImpl<ByteArrayType>, SegmentError> {
        let reader = get_column_reader(DESCRIPTOR.column(self.leaf.index()), Box::new(self.page_reader()?));
        Ok(get_typed_column_reader::<ByteArrayType>(reader))
    }

    fn strings(&self) -> Result<Vec<ByteArray>, SegmentError> {
        let mut values = Vec::with_capacity(self.rows());
        self.byte_arrays()?.read_records(self.rows(), None, None, &mut values).map_err(|error| damaged(self.leaf, error))?;
        if values.len() != self.rows() {
            return Err(damaged(self.leaf, "it does not hold every row"));
        }
        Ok(values)
    }

    /// Values of a repeated leaf and, for each row, how many belong to it.
    fn repeated(&self) -> Result<(Vec<ByteArray>, Vec<usize>), SegmentError> {
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        self.byte_arrays()?
            .read_records(self.rows(), Some(&mut definition), Some(&mut repetition), &mut values)
            .map_err(|error| damaged(self.leaf, error))?;
        let mut counts: Vec<usize> = Vec::with_capacity(self.rows());
        for (defined, repeated) in definition.iter().zip(&repetition) {
            if *repeated == 0 {
                counts.push(0);
            }
            match counts.last_mut() {
                Some(count) => *count += usize::from(*defined > 0),
                None => return Err(damaged(self.leaf, "its levels do not begin with a row")),
            }
        }
        if counts.len() != self.rows() || counts.iter().sum::<usize>() != values.len() {
            return Err(damaged(self.leaf, "its levels do not match its values"));
        }
        Ok((values, counts))
    }
}

/// Joins the promoted uid and the map into one set for each row, equal sets once.
fn metadata_column(uids: &Chunk<'_>, names: &Chunk<'_>, values: &Chunk<'_>) -> Result<MetadataColumn, SegmentError> {
    let uid_of = uids.strings()?;
    let (name_values, name_counts) = names.repeated()?;
    let (value_values, value_counts) = values.repeated()?;
    if name_counts != value_counts {
        return Err(damaged(Leaf::MetadataValues, "names and values of the map differ in number"));
    }
    let text = |bytes: &ByteArray| -> Result<String, SegmentError> {
        bytes.as_utf8().map(str::to_owned).map_err(|error| damaged(Leaf::MetadataNames, error))
    };
    let mut index: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut sets: Vec<Pairs> = Vec::new();
    let mut of = Vec::with_capacity(uid_of.len());
    let mut start = 0;
    let mut key = Vec::new();
    for (uid, count) in uid_of.iter().zip(name_counts) {
        let range = start..start + count;
        start = range.end;
        key.clear();
        let parts = std::iter::once(uid).chain(name_values[range.clone()].iter()).chain(value_values[range.clone()].iter());
        for part in parts {
            key.extend_from_slice(&(part.len() as u64).to_le_bytes());
            key.extend_from_slice(part.data());
        }
        if let Some(&set) = index.get(key.as_slice()) {
            of.push(set);
            continue;
        }
        let mut pairs = Vec::with_capacity(count + 1);
        for (name, value) in name_values[range.clone()].iter().zip(&value_values[range]) {
            pairs.push((text(name)?, text(value)?));
        }
        if !uid.is_empty() {
            pairs.push((NAMESPACE_UID.to_owned(), text(uid)?));
        }
        let set = u32::try_from(sets.len()).expect("a row group holds fewer than 2^32 rows");
        sets.push(Pairs::from_pairs(pairs));
        index.insert(key.clone(), set);
        of.push(set);
    }
    Ok(MetadataColumn { of: of.into(), sets: sets.into() })
}

/// Part of an object, addressed by offsets of the whole.
#[derive(Clone)]
struct OffsetBytes {
    start: u64,
    bytes: Bytes,
}

impl Length for OffsetBytes {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for OffsetBytes {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let from = start.checked_sub(self.start).filter(|from| *from <= self.bytes.len() as u64);
        let from = from.ok_or_else(|| ParquetError::EOF(format!("offset {start} lies outside the fetched bytes")))?;
        Ok(self.bytes.slice(from as usize..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.and_then(|from| Some(from..from.checked_add(length)?)).filter(|range| range.end <= self.bytes.len());
        range
            .map(|range| self.bytes.slice(range))
            .ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} lie outside the fetched bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels, TenantId};
    use crate::segment::rows::SegmentRows;
    use crate::segment::write;
    use proptest::prelude::*;

    fn name() -> SegmentName {
        SegmentName { writer: "01JABCDEFGHJKMNPQRSTVWXYZ0".into(), sequence: 7, flushed: 1_700_000_000_000_000_000 }
    }

    /// Stamp, line, and which metadata.
    type TestEntry = (i64, String, u8);

    fn push(tenant: &str, streams: Vec<(String, Vec<TestEntry>)>) -> PushBatch {
        let streams = streams.into_iter().map(|(app, entries)| {
            let labels = Pairs::from_pairs([("app", app.as_str()), ("zone", "z"), ("namespace", "ns")]);
            let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(labels, Some("svc"))));
            for (stamp, line, metadata) in entries {
                let pushed = match metadata % 4 {
                    0 => Pairs::default(),
                    1 => Pairs::from_pairs([(NAMESPACE_UID, "uid-1")]),
                    2 => Pairs::from_pairs([("trace_id", "x"), (NAMESPACE_UID, "uid-2")]),
                    other => Pairs::from_pairs([("a", other.to_string()), ("b", String::new())]),
                };
                let handle = stream.intern(Metadata { pushed, derived: Pairs::from_pairs([("detected_level", "info")]) });
                stream.push(stamp, &line, handle);
            }
            stream
        });
        PushBatch { tenant: TenantId::new(tenant), streams: streams.collect() }
    }

    fn open(bytes: &Bytes, tail: usize) -> Result<SegmentFooter, SegmentError> {
        let size = bytes.len() as u64;
        let mut length = tail.min(bytes.len()) as u64;
        for _ in 0..4 {
            match parse_tail(&bytes.slice((size - length) as usize..), size)? {
                Tail::Footer(footer) => return Ok(*footer),
                Tail::NeedBytes(needed) => length = needed,
            }
        }
        panic!("the tail was asked for again and again");
    }

    const ALL: Wanted = Wanted { timestamps: true, lines: true, metadata: true, line_hashes: true };

    fn load(footer: &SegmentFooter, bytes: &Bytes, row_group: usize) -> Result<RowGroupColumns, SegmentError> {
        let fetch =
            |range: Range<u64>| bytes.slice(range.start.min(bytes.len() as u64) as usize..range.end.min(bytes.len() as u64) as usize);
        footer.decode(row_group, ALL, footer.ranges(row_group, ALL).into_iter().map(fetch).collect())
    }

    type Row = (i64, Vec<u8>, Pairs, u64);

    fn rows_of(columns: &RowGroupColumns) -> Vec<Row> {
        let stamps = columns.timestamps.as_ref().expect("wanted");
        let (metadata, hashes) = (columns.metadata.as_ref().expect("wanted"), columns.line_hashes.as_ref().expect("wanted"));
        (0..stamps.len())
            .map(|row| (stamps[row], columns.line(row).expect("wanted").to_vec(), metadata.row(row).clone(), hashes[row]))
            .collect()
    }

    fn sample() -> (SegmentRows, Bytes) {
        let entries = |n: i64| (0..n).map(|i| (i * 1000, format!("line number {i} of many"), (i % 5) as u8)).collect::<Vec<_>>();
        let rows = SegmentRows::from_pushes(&[
            push("one", vec![("a".into(), entries(300)), ("b".into(), entries(3))]),
            push("two", vec![("a".into(), entries(2))]),
        ]);
        let bytes = write::encode(&name(), &rows).expect("encodes");
        (rows, bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_written_is_read(
            streams in proptest::collection::vec(("[a-c]", proptest::collection::vec((-5i64..50, ".{0,30}", any::<u8>()), 0..40)), 1..5),
            tail in 8usize..4000,
        ) {
            let rows = SegmentRows::from_pushes(&[push("t", streams)]);
            let bytes = write::encode(&name(), &rows).expect("encodes");
            let footer = open(&bytes, tail).expect("opens");
            prop_assert_eq!(&footer.name, &name());
            prop_assert_eq!(footer.row_groups.len(), rows.row_groups.len());
            for (index, group) in rows.row_groups.iter().enumerate() {
                prop_assert_eq!(&footer.row_groups[index], &group.table);
                let columns = load(&footer, &bytes, index).expect("loads");
                prop_assert_eq!(rows_of(&columns), rows_of(&group.columns()));
            }
        }
    }

    #[test]
    fn long_text_is_cut_into_pages_of_a_mebibyte() {
        let entries = (0..40).map(|i| (i, "x".repeat(100_000 + i as usize % 2), 0)).collect();
        let rows = SegmentRows::from_pushes(&[push("t", vec![("a".into(), entries)])]);
        let bytes = write::encode(&name(), &rows).expect("encodes");
        let footer = open(&bytes, 64).expect("opens");
        let columns = load(&footer, &bytes, 0).expect("loads");
        let pages = columns.lines.as_ref().expect("wanted");
        assert_eq!(pages.iter().map(LinePage::rows).collect::<Vec<_>>(), [10, 10, 10, 10]);
        assert_eq!(rows_of(&columns), rows_of(&rows.row_groups[0].columns()));
    }

    #[test]
    fn every_flipped_bit_is_an_error_or_changes_nothing() {
        let (rows, bytes) = sample();
        let expected: Vec<_> = rows.row_groups.iter().map(|group| rows_of(&group.columns())).collect();
        let mut found = 0;
        for bit in (0..bytes.len() * 8).step_by(37) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = Bytes::from(flipped);
            let read = open(&flipped, TAIL_GUESS as usize).and_then(|footer| {
                (0..expected.len()).map(|group| Ok(rows_of(&load(&footer, &flipped, group)?))).collect::<Result<Vec<_>, _>>()
            });
            match read {
                Ok(read) => assert_eq!(read, expected, "bit {bit}"),
                Err(_) => found += 1,
            }
        }
        // Only the columns for foreign readers and the magic bytes may be hit unseen: they are not read here.
        assert!(found > bytes.len() * 8 / 37 / 2, "{found} found");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (_, bytes) = sample();
        for length in (0..bytes.len()).step_by(11) {
            let cut = bytes.slice(..length);
            let read = open(&cut, TAIL_GUESS as usize).and_then(|footer| load(&footer, &cut, 0));
            assert!(read.is_err(), "cut to {length}");
        }
    }
}
