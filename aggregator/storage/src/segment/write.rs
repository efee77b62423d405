//! Encodes the rows of a flush as one segment.

use bytes::Bytes;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedFileWriter;

use crate::entry::StreamId;
use crate::pairs::Pairs;
use crate::segment::chunk::{self, EncodedChunk, PROPERTIES};
use crate::segment::footer;
use crate::segment::rows::{RowGroupRows, SegmentRows};
use crate::segment::schema::{Leaf, MESSAGE, NAMESPACE_UID, PROMOTED_LABELS};
use crate::segment::streams::{self, StreamSpan};

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

/// Encodes a segment. Fails only if the Parquet library does.
pub fn encode(name: &SegmentName, rows: &SegmentRows) -> Result<Bytes> {
    let mut file = SerializedFileWriter::new(Vec::with_capacity(1 << 20), MESSAGE.clone(), PROPERTIES.clone())?;
    let mut checksums = Vec::new();
    for row_group in &rows.row_groups {
        write_row_group(&mut file, row_group, &mut checksums)?;
    }
    let offset = file.bytes_written();
    file.write_all(&checksums)?;
    let tables: Vec<_> = rows.row_groups.iter().map(|row_group| &row_group.table).collect();
    let stamps = |pick: fn(&StreamSpan) -> i64| tables.iter().flat_map(|table| &table.streams).map(pick);
    for (key, value) in [
        (footer::FORMAT, footer::FORMAT_VERSION.to_string()),
        (footer::WRITER, name.writer.clone()),
        (footer::SEQUENCE, format!("{:016x}", name.sequence)),
        (footer::FLUSHED, name.flushed.to_string()),
        (footer::MIN_TIMESTAMP, stamps(|span| span.min_timestamp).min().unwrap_or_default().to_string()),
        (footer::MAX_TIMESTAMP, stamps(|span| span.max_timestamp).max().unwrap_or_default().to_string()),
        (footer::STREAMS, streams::to_json(&tables)),
        (footer::CRC_OFFSET, format!("{offset:016x}")),
        (footer::CRC_LENGTH, format!("{:016x}", checksums.len())),
        (footer::CRC_CRC, format!("{:08x}", crc32c::crc32c(&checksums))),
    ] {
        file.append_key_value_metadata(footer::entry(key, value));
    }
    file.append_key_value_metadata(footer::empty_footer_crc());
    let mut bytes = file.into_inner()?;
    footer::seal(&mut bytes[offset + checksums.len()..]);
    Ok(bytes.into())
}

fn write_row_group(file: &mut SerializedFileWriter<Vec<u8>>, rows: &RowGroupRows, checksums: &mut Vec<u8>) -> Result<()> {
    let mut row_group = file.next_row_group()?;
    for chunk in encode_columns(rows)? {
        checksums.extend(chunk.pages.checksums.iter().flat_map(|sum| sum.to_le_bytes()));
        row_group.append_column(&Bytes::from(chunk.pages.bytes), chunk.close)?;
    }
    row_group.close()?;
    Ok(())
}

/// The chunks of a row group, in the order of the schema.
fn encode_columns(rows: &RowGroupRows) -> Result<Vec<EncodedChunk>> {
    let spans = &rows.table.streams;
    let per_stream = |value: &dyn Fn(&StreamSpan) -> ByteArray| -> Vec<ByteArray> {
        spans.iter().flat_map(|span| std::iter::repeat_n(value(span), span.rows.len())).collect()
    };
    let mut chunks = Vec::with_capacity(Leaf::ALL.len());

    let tenant = ByteArray::from(rows.table.tenant.as_str());
    chunks.push(chunk::strings(Leaf::Tenant, &vec![tenant; rows.rows()])?);
    let ids: Vec<i64> = spans.iter().flat_map(|span| std::iter::repeat_n(span.id.signed(), span.rows.len())).collect();
    chunks.push(chunk::integers(Leaf::StreamId, &ids)?);
    chunks.push(chunk::integers(Leaf::Timestamp, &rows.timestamps)?);
    for (index, name) in PROMOTED_LABELS.into_iter().enumerate() {
        let values = per_stream(&|span| ByteArray::from(span.labels.get(name).unwrap_or_default()));
        chunks.push(chunk::strings(Leaf::Promoted(index), &values)?);
    }

    let labels: Vec<Pairs> = spans.iter().map(|span| unpromoted(&span.labels)).collect();
    let label_set_of = spans.iter().enumerate().flat_map(|(index, span)| std::iter::repeat_n(index, span.rows.len()));
    chunks.extend(chunk::maps(Leaf::LabelNames, Leaf::LabelValues, &labels, label_set_of)?);

    let uids: Vec<ByteArray> = rows.metadata.sets.iter().map(|set| ByteArray::from(set.get(NAMESPACE_UID).unwrap_or_default())).collect();
    let metadata_set_of = rows.metadata.of.iter().map(|&set| set as usize);
    let uid_column: Vec<ByteArray> = metadata_set_of.clone().map(|set| uids[set].clone()).collect();
    chunks.push(chunk::strings(Leaf::NamespaceUid, &uid_column)?);
    let metadata: Vec<Pairs> = rows.metadata.sets.iter().map(|set| set.without(NAMESPACE_UID)).collect();
    chunks.extend(chunk::maps(Leaf::MetadataNames, Leaf::MetadataValues, &metadata, metadata_set_of)?);

    chunks.push(chunk::lines(&rows.lines.offsets, &rows.lines.text)?);
    let hashes: Vec<i64> = rows.line_hashes.iter().map(|hash| hash.cast_signed()).collect();
    chunks.push(chunk::integers(Leaf::LineHash, &hashes)?);
    if chunks.len() != Leaf::ALL.len() {
        return Err(ParquetError::General(format!("{} chunks for {} columns", chunks.len(), Leaf::ALL.len())));
    }
    Ok(chunks)
}

fn unpromoted(labels: &Pairs) -> Pairs {
    Pairs::from_pairs(labels.iter().filter(|(name, _)| !PROMOTED_LABELS.contains(name)))
}

impl StreamId {
    /// As the Parquet column stores it: the same 64 bits.
    fn signed(self) -> i64 {
        self.0.cast_signed()
    }
}
