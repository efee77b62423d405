//! Encodes the rows of a flush as one object.

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};

use crate::file::parts;
use crate::file::read::{FileFooter, SegmentName, Tail, parse_tail};
use crate::file::schema::FileKind;
use crate::file::write::FileWriter;
use crate::segment::rows::SegmentRows;

/// Segments live a minute: the level that costs least.
const ZSTD_LEVEL: i32 = 1;

/// Encodes a segment; returns its bytes and what they say of themselves. Fails only if the Parquet library does.
pub fn encode(name: &SegmentName, rows: &SegmentRows) -> Result<(Bytes, FileFooter)> {
    let mut file = FileWriter::new(FileKind::Segment, ZSTD_LEVEL)?;
    for row_group in &rows.row_groups {
        row_group.write(&mut file)?;
    }
    let keys = vec![
        parts::entry(parts::WRITER, name.writer.clone()),
        parts::entry(parts::SEQUENCE, format!("{:016x}", name.sequence)),
        parts::entry(parts::FLUSHED, name.flushed.to_string()),
    ];
    let bytes = match <[Bytes; 1]>::try_from(file.finish(None, keys)?.pieces) {
        Ok([bytes]) => bytes,
        Err(pieces) => pieces.concat().into(),
    };
    match parse_tail(&bytes, bytes.len() as u64) {
        Ok(Tail::Footer(file)) => Ok((bytes, file.footer)),
        Ok(Tail::NeedBytes(needed)) => Err(ParquetError::General(format!("its end asks for {needed} bytes more than there are"))),
        Err(error) => Err(ParquetError::General(error.to_string())),
    }
}
