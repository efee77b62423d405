//! A version as protobuf: what it has and its base has not, and the other way round. A snapshot's base is nothing.
//!
//! Reading is strict: what does not fit the base, or comes twice, is damage.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use ulid::Ulid;

use crate::entry::TenantId;
use crate::manifest::envelope::{self, Header, ManifestError};
use crate::manifest::state::{DataFile, FileId, FilePart, ManifestState, RetireReason, Retired, Tombstone, TombstoneId, Watermark};
use crate::store::Day;

#[derive(Clone, PartialEq, Message)]
struct VersionMessage {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(string, tag = "2")]
    author: String,
    #[prost(sfixed64, tag = "3")]
    time: i64,
    #[prost(message, repeated, tag = "4")]
    files: Vec<FileMessage>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    files_gone: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "6")]
    watermarks: Vec<WatermarkMessage>,
    #[prost(string, repeated, tag = "7")]
    writers_gone: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    tombstones: Vec<TombstoneMessage>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    tombstones_gone: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "10")]
    retired: Vec<RetiredMessage>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    retired_gone: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct FileMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(sint32, tag = "2")]
    day: i32,
    #[prost(uint32, tag = "3")]
    level: u32,
    #[prost(uint64, tag = "4")]
    size: u64,
    #[prost(sfixed64, tag = "5")]
    min_timestamp: i64,
    #[prost(sfixed64, tag = "6")]
    max_timestamp: i64,
    #[prost(uint64, tag = "7")]
    rows: u64,
    #[prost(uint64, tag = "8")]
    raw_bytes: u64,
    #[prost(uint32, tag = "9")]
    row_groups: u32,
    #[prost(uint64, tag = "10")]
    footer_length: u64,
    #[prost(uint64, tag = "11")]
    streams_offset: u64,
    #[prost(uint64, tag = "12")]
    streams_length: u64,
    #[prost(uint64, tag = "13")]
    index_offset: u64,
    /// 0: none.
    #[prost(uint64, tag = "14")]
    index_length: u64,
    #[prost(sfixed64, tag = "15")]
    created: i64,
    #[prost(uint64, tag = "16")]
    as_of: u64,
    #[prost(sfixed64, tag = "17")]
    arrived: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WatermarkMessage {
    #[prost(string, tag = "1")]
    writer: String,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(sfixed64, tag = "3")]
    committed_at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TombstoneMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(sfixed64, tag = "3")]
    start: i64,
    #[prost(sfixed64, tag = "4")]
    end: i64,
    #[prost(sfixed64, tag = "5")]
    created: i64,
    #[prost(sfixed64, optional, tag = "6")]
    processed_at: Option<i64>,
    #[prost(uint64, tag = "7")]
    added: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RetiredMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(sint32, tag = "2")]
    day: i32,
    #[prost(uint32, tag = "3")]
    level: u32,
    #[prost(uint64, tag = "4")]
    size: u64,
    #[prost(sfixed64, tag = "5")]
    retired_at: i64,
    #[prost(enumeration = "ReasonMessage", tag = "6")]
    reason: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
enum ReasonMessage {
    Unknown = 0,
    Compacted = 1,
    Retention = 2,
    Deleted = 3,
    Orphan = 4,
}

/// The object of `state`, whose base is `base` (not looked at where the state is a full snapshot).
pub(super) fn encode(state: &ManifestState, base: &ManifestState) -> Result<Vec<u8>, ManifestError> {
    let empty = ManifestState::empty(state.tenant.clone());
    let base = if state.base.is_some() { base } else { &empty };
    let message = VersionMessage {
        tenant: state.tenant.as_str().to_owned(),
        author: state.author.clone(),
        time: state.time,
        files: come(&base.files, &state.files, |_, file| file_message(file)),
        files_gone: gone(&base.files, &state.files, |id| id.0.to_bytes().to_vec()),
        watermarks: come(&base.watermarks, &state.watermarks, |writer, watermark| watermark_message(writer, watermark)),
        writers_gone: gone(&base.watermarks, &state.watermarks, String::clone),
        tombstones: come(&base.tombstones, &state.tombstones, |_, tombstone| tombstone_message(tombstone)),
        tombstones_gone: gone(&base.tombstones, &state.tombstones, |id| id.0.to_bytes().to_vec()),
        retired: come(&base.retired, &state.retired, |_, retired| retired_message(retired)),
        retired_gone: gone(&base.retired, &state.retired, |id| id.0.to_bytes().to_vec()),
    };
    let header = Header { version: state.version, commit: state.commit, parent: state.parent, base: state.base };
    envelope::seal(&header, &message.encode_to_vec())
}

/// Entries that `base` has not, or has otherwise.
fn come<K: Ord, V: PartialEq, M>(base: &BTreeMap<K, V>, state: &BTreeMap<K, V>, message: impl Fn(&K, &V) -> M) -> Vec<M> {
    state.iter().filter(|(key, value)| base.get(key) != Some(value)).map(|(key, value)| message(key, value)).collect()
}

/// Keys that only `base` has.
fn gone<K: Ord, V, M>(base: &BTreeMap<K, V>, state: &BTreeMap<K, V>, message: impl Fn(&K) -> M) -> Vec<M> {
    base.keys().filter(|key| !state.contains_key(key)).map(message).collect()
}

/// A version's object, opened but not yet put on its base.
#[derive(Debug)]
pub(super) struct OpenedVersion {
    pub(super) header: Header,
    message: VersionMessage,
}

/// Opens the object that stands where version `version` of `tenant` belongs.
pub(super) fn open(bytes: &[u8], tenant: &TenantId, version: u64) -> Result<OpenedVersion, ManifestError> {
    let (header, message) = envelope::open(bytes)?;
    let message = VersionMessage::decode(message.as_slice()).map_err(|error| damaged(&error.to_string()))?;
    if header.version != version || message.tenant != tenant.as_str() {
        return Err(ManifestError::Misplaced { found: header.version, tenant: message.tenant });
    }
    Ok(OpenedVersion { header, message })
}

impl OpenedVersion {
    /// The state that it says, given its base (not looked at where it is a full snapshot).
    pub(super) fn on(self, base: &ManifestState) -> Result<ManifestState, ManifestError> {
        let Self { header, message } = self;
        let tenant = TenantId::new(&message.tenant);
        let mut state = match header.base {
            None => ManifestState::empty(tenant),
            Some(wanted) if wanted.version == base.version && wanted.commit == base.commit => base.clone(),
            Some(wanted) => return Err(ManifestError::BaseMissing { version: wanted.version, commit: wanted.commit }),
        };
        state.version = header.version;
        state.commit = header.commit;
        state.parent = header.parent;
        state.base = header.base;
        state.author = message.author;
        state.time = message.time;

        take(&mut state.files, message.files_gone.iter().map(|id| ulid(id).map(FileId)))?;
        put_new(&mut state.files, message.files.iter().map(|file| data_file(file).map(|file| (file.id, Arc::new(file)))))?;
        take(&mut state.watermarks, message.writers_gone.into_iter().map(Ok))?;
        put(&mut state.watermarks, message.watermarks.into_iter().map(|found| Ok(watermark(found))))?;
        take(&mut state.tombstones, message.tombstones_gone.iter().map(|id| ulid(id).map(TombstoneId)))?;
        put(
            &mut state.tombstones,
            message.tombstones.into_iter().map(|found| Ok((TombstoneId(ulid(&found.id)?), Arc::new(tombstone(found)?)))),
        )?;
        take(&mut state.retired, message.retired_gone.iter().map(|id| ulid(id).map(FileId)))?;
        put_new(&mut state.retired, message.retired.iter().map(|found| retired(found).map(|found| (found.id, found))))?;
        Ok(state)
    }
}

fn take<K: Ord, V>(map: &mut BTreeMap<K, V>, keys: impl Iterator<Item = Result<K, ManifestError>>) -> Result<(), ManifestError> {
    for key in keys {
        map.remove(&key?).ok_or_else(|| damaged("what it drops is not in its base"))?;
    }
    Ok(())
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, entries: impl Iterator<Item = Result<(K, V), ManifestError>>) -> Result<(), ManifestError> {
    for entry in entries {
        let (key, value) = entry?;
        map.insert(key, value);
    }
    Ok(())
}

fn put_new<K: Ord, V>(map: &mut BTreeMap<K, V>, entries: impl Iterator<Item = Result<(K, V), ManifestError>>) -> Result<(), ManifestError> {
    for entry in entries {
        let (key, value) = entry?;
        if map.insert(key, value).is_some() {
            return Err(damaged("what it adds is in its base"));
        }
    }
    Ok(())
}

fn damaged(reason: &str) -> ManifestError {
    ManifestError::Damaged { reason: reason.to_owned() }
}

fn ulid(bytes: &[u8]) -> Result<Ulid, ManifestError> {
    let bytes = bytes.try_into().map_err(|_| damaged("an id has not 16 bytes"))?;
    Ok(Ulid::from_bytes(bytes))
}

fn day(days: i32) -> Result<Day, ManifestError> {
    Day::from_days(days).ok_or_else(|| damaged("a day is out of range"))
}

fn level(level: u32) -> Result<u8, ManifestError> {
    u8::try_from(level).map_err(|_| damaged("a level is out of range"))
}

fn file_message(file: &DataFile) -> FileMessage {
    let index = file.index.unwrap_or(FilePart { offset: 0, length: 0 });
    FileMessage {
        id: file.id.0.to_bytes().to_vec(),
        day: file.day.days(),
        level: u32::from(file.level),
        size: file.size,
        min_timestamp: file.min_timestamp,
        max_timestamp: file.max_timestamp,
        rows: file.rows,
        raw_bytes: file.raw_bytes,
        row_groups: file.row_groups,
        footer_length: file.footer_length,
        streams_offset: file.streams.offset,
        streams_length: file.streams.length,
        index_offset: index.offset,
        index_length: index.length,
        created: file.created,
        arrived: file.arrived,
        as_of: file.as_of,
    }
}

fn data_file(found: &FileMessage) -> Result<DataFile, ManifestError> {
    let index = FilePart { offset: found.index_offset, length: found.index_length };
    Ok(DataFile {
        id: FileId(ulid(&found.id)?),
        day: day(found.day)?,
        level: level(found.level)?,
        size: found.size,
        min_timestamp: found.min_timestamp,
        max_timestamp: found.max_timestamp,
        rows: found.rows,
        raw_bytes: found.raw_bytes,
        row_groups: found.row_groups,
        footer_length: found.footer_length,
        streams: FilePart { offset: found.streams_offset, length: found.streams_length },
        index: (index.length > 0).then_some(index),
        created: found.created,
        arrived: found.arrived,
        as_of: found.as_of,
    })
}

fn watermark_message(writer: &str, watermark: &Watermark) -> WatermarkMessage {
    WatermarkMessage { writer: writer.to_owned(), sequence: watermark.sequence, committed_at: watermark.committed_at }
}

fn watermark(found: WatermarkMessage) -> (String, Watermark) {
    (found.writer, Watermark { sequence: found.sequence, committed_at: found.committed_at })
}

fn tombstone_message(tombstone: &Tombstone) -> TombstoneMessage {
    TombstoneMessage {
        id: tombstone.id.0.to_bytes().to_vec(),
        query: tombstone.query.clone(),
        start: tombstone.start,
        end: tombstone.end,
        created: tombstone.created,
        processed_at: tombstone.processed_at,
        added: tombstone.added,
    }
}

fn tombstone(found: TombstoneMessage) -> Result<Tombstone, ManifestError> {
    Ok(Tombstone {
        id: TombstoneId(ulid(&found.id)?),
        query: found.query,
        start: found.start,
        end: found.end,
        created: found.created,
        processed_at: found.processed_at,
        added: found.added,
    })
}

fn retired_message(retired: &Retired) -> RetiredMessage {
    let reason = match retired.reason {
        RetireReason::Compacted => ReasonMessage::Compacted,
        RetireReason::Retention => ReasonMessage::Retention,
        RetireReason::Deleted => ReasonMessage::Deleted,
        RetireReason::Orphan => ReasonMessage::Orphan,
    };
    RetiredMessage {
        id: retired.id.0.to_bytes().to_vec(),
        day: retired.day.days(),
        level: u32::from(retired.level),
        size: retired.size,
        retired_at: retired.retired_at,
        reason: reason.into(),
    }
}

fn retired(found: &RetiredMessage) -> Result<Retired, ManifestError> {
    let reason = match ReasonMessage::try_from(found.reason) {
        Ok(ReasonMessage::Compacted) => RetireReason::Compacted,
        Ok(ReasonMessage::Retention) => RetireReason::Retention,
        Ok(ReasonMessage::Deleted) => RetireReason::Deleted,
        Ok(ReasonMessage::Orphan) => RetireReason::Orphan,
        Ok(ReasonMessage::Unknown) | Err(_) => return Err(damaged("a file is retired for an unknown reason")),
    };
    Ok(Retired {
        id: FileId(ulid(&found.id)?),
        day: day(found.day)?,
        level: level(found.level)?,
        size: found.size,
        retired_at: found.retired_at,
        reason,
    })
}
