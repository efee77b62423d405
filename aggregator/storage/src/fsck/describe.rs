//! What a data file's own end says of it, in the words of the manifest.

use std::ops::Range;

use crate::entry::TenantId;
use crate::file::read::{FileIdentity, ParsedFile};
use crate::file::stream_table::RowGroupStreams;
use crate::manifest::{DataFile, FileId, FilePart};
use crate::store::paths;

/// The file behind a key; the reason for a refusal is meant for a person.
pub(super) fn describe(tenant: &TenantId, key: &str, size: u64, parsed: &ParsedFile) -> Result<DataFile, String> {
    let (day, level, id) = paths::data_file_of(key).ok_or("its name is no data file's")?;
    let FileIdentity::Data { tenant: of_file, day: own_day, level: own_level, arrived } = &parsed.footer.identity else {
        return Err("it says that it is a segment".to_owned());
    };
    if of_file != tenant || *own_day != day.days() || *own_level != level {
        return Err(format!("it says that it is of tenant `{of_file}`, day {own_day} and level {own_level}, which its name does not"));
    }
    let tables = || parsed.footer.row_groups.iter().map(|row_group| &row_group.table);
    let stamps = || tables().filter_map(RowGroupStreams::stamps);
    let (Some(min_timestamp), Some(max_timestamp)) = (stamps().map(|stamps| stamps.0).min(), stamps().map(|stamps| stamps.1).max()) else {
        return Err("it has no rows".to_owned());
    };
    Ok(DataFile {
        id: FileId(id),
        day,
        level,
        size,
        min_timestamp,
        max_timestamp,
        rows: tables().map(|table| table.rows() as u64).sum(),
        raw_bytes: tables().map(RowGroupStreams::bytes).sum(),
        row_groups: u32::try_from(parsed.footer.row_groups.len()).map_err(|error| error.to_string())?,
        footer_length: size - parsed.streams.start,
        streams: part(&parsed.streams),
        index: (!parsed.footer.index.is_empty()).then(|| part(&parsed.footer.index)),
        created: i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX).saturating_mul(1_000_000),
        arrived: *arrived,
        as_of: 0,
    })
}

fn part(range: &Range<u64>) -> FilePart {
    FilePart { offset: range.start, length: range.end - range.start }
}

/// In what a file's own words differ from the manifest's; empty: in nothing that the file tells.
pub(super) fn differences(manifest: &DataFile, file: &DataFile) -> String {
    let known = DataFile { created: manifest.created, as_of: manifest.as_of, ..file.clone() };
    if known == *manifest {
        return String::new();
    }
    let texts = [
        differing("day", manifest.day, file.day),
        differing("level", manifest.level, file.level),
        differing("bytes", manifest.size, file.size),
        differing("oldest stamp", manifest.min_timestamp, file.min_timestamp),
        differing("newest stamp", manifest.max_timestamp, file.max_timestamp),
        differing("rows", manifest.rows, file.rows),
        differing("bytes of lines", manifest.raw_bytes, file.raw_bytes),
        differing("row groups", manifest.row_groups, file.row_groups),
        differing("bytes of the footer", manifest.footer_length, file.footer_length),
        differing("arrival", manifest.arrived, file.arrived),
        (manifest.streams != file.streams).then(|| "the place of the stream table".to_owned()),
        (manifest.index != file.index).then(|| "the place of the text index".to_owned()),
    ];
    texts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn differing<T: PartialEq + std::fmt::Display>(what: &str, manifest: T, file: T) -> Option<String> {
    (manifest != file).then(|| format!("{what} ({manifest} in the manifest, {file} in the file)"))
}
