//! Column chunks: the values of one column of one row group, encoded and compressed.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::{ColumnCloseResult, get_column_writer, get_typed_column_writer};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::pairs::Pairs;
use crate::segment::delta;
use crate::segment::pages::{CheckedPageWriter, ChunkPages};
use crate::segment::schema::{DESCRIPTOR, Leaf};

/// Bytes of line text in a page of the line column: the granule in which text is read, searched and, later, indexed.
pub(crate) const LINE_PAGE_BYTES: usize = 1 << 20;

const ZSTD_LEVEL: i32 = 1;

/// An encoded chunk: bytes, checksums of its pages, and what the file writer wants to know of it.
pub(crate) struct EncodedChunk {
    pub(crate) pages: ChunkPages,
    pub(crate) close: ColumnCloseResult,
}

/// Writer properties of every file: zstd 1, page statistics for the sort keys alone.
pub(crate) static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
    let path = |leaf: Leaf| DESCRIPTOR.column(leaf.index()).path().clone();
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).expect("level 1 exists")))
        .set_created_by(concat!("tailwater ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(path(Leaf::Timestamp), false)
        .set_column_encoding(path(Leaf::Timestamp), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(path(Leaf::LineHash), false)
        .set_column_encoding(path(Leaf::LineHash), Encoding::PLAIN)
        .set_column_compression(path(Leaf::LineHash), Compression::UNCOMPRESSED);
    for leaf in [Leaf::StreamId, Leaf::Timestamp] {
        builder = builder.set_column_statistics_enabled(path(leaf), EnabledStatistics::Page);
    }
    let unmeasured: [ColumnPath; 5] =
        [Leaf::LabelNames, Leaf::LabelValues, Leaf::MetadataNames, Leaf::MetadataValues, Leaf::LineHash].map(path);
    for column in unmeasured {
        builder = builder.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    Arc::new(builder.build())
});

/// Encodes a required column.
pub(crate) fn integers(leaf: Leaf, values: &[i64]) -> Result<EncodedChunk> {
    encode::<Int64Type>(leaf, values, None)
}

/// Encodes a required column of strings.
pub(crate) fn strings(leaf: Leaf, values: &[ByteArray]) -> Result<EncodedChunk> {
    encode::<ByteArrayType>(leaf, values, None)
}

/// Encodes the names and the values of a map column. `set_of` gives the row's map among `sets`.
pub(crate) fn maps(names: Leaf, values: Leaf, sets: &[Pairs], set_of: impl Iterator<Item = usize> + Clone) -> Result<[EncodedChunk; 2]> {
    let split: Vec<Vec<(ByteArray, ByteArray)>> =
        sets.iter().map(|set| set.iter().map(|(name, value)| (ByteArray::from(name), ByteArray::from(value))).collect()).collect();
    let (mut definition, mut repetition) = (Vec::new(), Vec::new());
    let (mut name_column, mut value_column) = (Vec::new(), Vec::new());
    for set in set_of {
        let pairs = &split[set];
        if pairs.is_empty() {
            definition.push(0);
            repetition.push(0);
        }
        for (index, (name, value)) in pairs.iter().enumerate() {
            definition.push(1);
            repetition.push(i16::from(index > 0));
            name_column.push(name.clone());
            value_column.push(value.clone());
        }
    }
    let levels = Some((definition.as_slice(), repetition.as_slice()));
    Ok([encode::<ByteArrayType>(names, &name_column, levels)?, encode::<ByteArrayType>(values, &value_column, levels)?])
}

fn encode<T: DataType>(leaf: Leaf, values: &[T::T], levels: Option<(&[i16], &[i16])>) -> Result<EncodedChunk> {
    let mut pages = ChunkPages::default();
    let close = {
        let page_writer = Box::new(CheckedPageWriter::new(&mut pages));
        let mut writer = get_typed_column_writer::<T>(get_column_writer(DESCRIPTOR.column(leaf.index()), PROPERTIES.clone(), page_writer));
        writer.write_batch(values, levels.map(|(definition, _)| definition), levels.map(|(_, repetition)| repetition))?;
        writer.close()?
    };
    Ok(EncodedChunk { pages, close })
}

/// Encodes the line column: DELTA_LENGTH_BYTE_ARRAY pages of [`LINE_PAGE_BYTES`] of text, one zstd frame each.
pub(crate) fn lines(offsets: &[i32], text: &[u8]) -> Result<EncodedChunk> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    let mut pages = ChunkPages::default();
    let mut index = OffsetIndexBuilder::new();
    let (mut encoded, mut compressed) = (Vec::new(), Vec::new());
    let (mut stored, mut raw) = (0u64, 0u64);
    let mut data_pages = 0;
    for rows in page_rows(offsets) {
        let cut = &offsets[rows.start..=rows.end];
        encoded.clear();
        delta::encode_byte_arrays(cut, &text[cut[0] as usize..cut[cut.len() - 1] as usize], &mut encoded);
        compressed.resize(zstd::zstd_safe::compress_bound(encoded.len()), 0);
        let length = compressor.compress_to_buffer(&encoded, &mut compressed)?;
        let page = Page::DataPage {
            buf: Bytes::copy_from_slice(&compressed[..length]),
            num_values: u32::try_from(rows.len()).map_err(|_| ParquetError::General("too many rows in a page".into()))?,
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = CheckedPageWriter::new(&mut pages).write_page(CompressedPage::new(page, encoded.len()))?;
        index.append_row_count(rows.len() as i64);
        index.append_offset_and_size(stored as i64, spec.compressed_size as i32);
        index.append_unencoded_byte_array_data_bytes(None);
        stored += spec.bytes_written;
        raw += spec.uncompressed_size as u64;
        data_pages += 1;
    }
    let rows = offsets.len() - 1;
    let metadata = ColumnChunkMetaData::builder(DESCRIPTOR.column(Leaf::Line.index()))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_encodings(vec![Encoding::RLE, Encoding::DELTA_LENGTH_BYTE_ARRAY])
        .set_page_encoding_stats(vec![PageEncodingStats {
            page_type: PageType::DATA_PAGE,
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            count: data_pages,
        }])
        .set_num_values(rows as i64)
        .set_total_compressed_size(stored as i64)
        .set_total_uncompressed_size(raw as i64)
        .set_data_page_offset(0)
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: stored,
        rows_written: rows as u64,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: Some(index.build()),
    };
    Ok(EncodedChunk { pages, close })
}

/// Cuts rows into pages: each as many rows as fit, at least one.
fn page_rows(offsets: &[i32]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
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
