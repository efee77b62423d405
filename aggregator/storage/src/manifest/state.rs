//! What one version of a tenant's manifest says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ulid::Ulid;

use crate::entry::TenantId;
use crate::store::{Day, paths};

/// A compacted file: the ULID in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub Ulid);

/// A delete request: the ULID in its object's name, which clients know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TombstoneId(pub Ulid);

/// Drawn for each commit, to know one's own again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommitId(pub [u8; 16]);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TombstoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePart {
    pub offset: u64,
    pub length: u64,
}

/// A live compacted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    pub id: FileId,
    /// The day whose entries it holds.
    pub day: Day,
    pub level: u8,
    /// Bytes of the object.
    pub size: u64,
    /// Stamps (ns) of its oldest and newest entry.
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    pub rows: u64,
    /// Bytes of its lines, uncompressed.
    pub raw_bytes: u64,
    pub row_groups: u32,
    /// Bytes at the end of the object that hold the parts behind the row groups and the footer.
    pub footer_length: u64,
    /// The stream table.
    pub streams: FilePart,
    /// The text index.
    pub index: Option<FilePart>,
    /// When it was made (ns).
    pub created: i64,
    /// When the first segment in it was flushed (ns): orders entries with equal stamps.
    pub arrived: i64,
    /// The manifest version whose tombstones its maker erased from it.
    pub as_of: u64,
}

impl DataFile {
    pub fn key(&self, tenant: &TenantId) -> String {
        paths::data_file(tenant, self.day, self.level, self.id.0)
    }
}

/// How far a writer's segments are folded into compacted files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The highest folded number; all below are folded as well.
    pub sequence: u64,
    /// When that was committed (ns).
    pub committed_at: i64,
}

/// A delete request that filters at read, and while it is not processed waits to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    pub id: TombstoneId,
    /// The selector with its line filters, as it was asked for.
    pub query: String,
    /// Both ends count (ns).
    pub start: i64,
    pub end: i64,
    /// When it was asked for (ns).
    pub created: i64,
    /// When the last entry it names had been erased (ns).
    pub processed_at: Option<i64>,
    /// The version that brought it.
    pub added: u64,
}

impl Tombstone {
    /// A request that is not in the manifest yet.
    pub fn requested(id: TombstoneId, query: &str, start: i64, end: i64, created: i64) -> Self {
        Self { id, query: query.to_owned(), start, end, created, processed_at: None, added: 0 }
    }

    /// Whether a file may hold what this request deletes: its stamps meet, and its maker did not know the request.
    pub fn concerns(&self, file: &DataFile) -> bool {
        file.as_of < self.added && self.meets(file)
    }

    /// Whether a file's stamps meet those that this request names.
    pub fn meets(&self, file: &DataFile) -> bool {
        file.min_timestamp <= self.end && self.start <= file.max_timestamp
    }
}

/// Why a file is no longer live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetireReason {
    /// Its entries are in another file.
    Compacted,
    Retention,
    /// A delete request named all of it, or the rest is in another file.
    Deleted,
    /// It never was live.
    Orphan,
}

/// A file whose object waits to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    pub id: FileId,
    pub day: Day,
    pub level: u8,
    /// Bytes of the object.
    pub size: u64,
    /// When that was committed (ns).
    pub retired_at: i64,
    pub reason: RetireReason,
}

impl Retired {
    pub fn key(&self, tenant: &TenantId) -> String {
        paths::data_file(tenant, self.day, self.level, self.id.0)
    }
}

/// The full snapshot that a delta builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseVersion {
    pub version: u64,
    pub commit: CommitId,
}

/// One version. Cloning shares files and tombstones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestState {
    pub(super) tenant: TenantId,
    pub(super) version: u64,
    pub(super) commit: CommitId,
    pub(super) parent: CommitId,
    pub(super) author: String,
    pub(super) time: i64,
    pub(super) base: Option<BaseVersion>,
    pub(super) files: BTreeMap<FileId, Arc<DataFile>>,
    pub(super) watermarks: BTreeMap<String, Watermark>,
    pub(super) tombstones: BTreeMap<TombstoneId, Arc<Tombstone>>,
    pub(super) retired: BTreeMap<FileId, Retired>,
}

impl ManifestState {
    /// What a tenant without any version has: nothing, as version 0.
    pub fn empty(tenant: TenantId) -> Self {
        Self {
            tenant,
            version: 0,
            commit: CommitId::default(),
            parent: CommitId::default(),
            author: String::new(),
            time: 0,
            base: None,
            files: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            retired: BTreeMap::new(),
        }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// 0: there is none yet.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn commit_id(&self) -> CommitId {
        self.commit
    }

    /// The commit id of the version before; zeros for the first and for a rebuilt one.
    pub fn parent(&self) -> CommitId {
        self.parent
    }

    /// Who committed it.
    pub fn author(&self) -> &str {
        &self.author
    }

    /// When it was committed (ns).
    pub fn time(&self) -> i64 {
        self.time
    }

    /// What its object builds on; `None` for a full snapshot.
    pub fn base(&self) -> Option<BaseVersion> {
        self.base
    }

    /// Live files by id, which ascends with the time they were made.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Arc<DataFile>> {
        self.files.values()
    }

    pub fn file(&self, id: FileId) -> Option<&Arc<DataFile>> {
        self.files.get(&id)
    }

    /// By writer.
    pub fn watermarks(&self) -> &BTreeMap<String, Watermark> {
        &self.watermarks
    }

    pub fn watermark(&self, writer: &str) -> Option<Watermark> {
        self.watermarks.get(writer).copied()
    }

    /// Whether a segment's rows of this tenant are in compacted files.
    pub fn is_folded(&self, writer: &str, sequence: u64) -> bool {
        self.watermark(writer).is_some_and(|watermark| sequence <= watermark.sequence)
    }

    pub fn tombstones(&self) -> impl ExactSizeIterator<Item = &Arc<Tombstone>> {
        self.tombstones.values()
    }

    pub fn tombstone(&self, id: TombstoneId) -> Option<&Arc<Tombstone>> {
        self.tombstones.get(&id)
    }

    pub fn retired(&self) -> impl ExactSizeIterator<Item = &Retired> {
        self.retired.values()
    }

    /// Whether the manifest knows of a file: live, or waiting to be deleted.
    pub fn names(&self, id: FileId) -> bool {
        self.files.contains_key(&id) || self.retired.contains_key(&id)
    }
}
