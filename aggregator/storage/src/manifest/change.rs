//! Changes to a manifest, and when one no longer fits the version it is to follow.

use std::sync::Arc;

use crate::manifest::state::{
    BaseVersion, CommitId, DataFile, FileId, ManifestState, RetireReason, Retired, Tombstone, TombstoneId, Watermark,
};

/// Every version with a number divisible by this is a full snapshot.
pub(super) const SNAPSHOT_EVERY: u64 = 64;

/// What one commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// There is nothing to do any more: no version is made.
    Nothing,
    FoldSegments(SegmentFold),
    ReplaceFiles(FileReplacement),
    AddTombstone(Tombstone),
    /// Withdraws a request that is not processed yet.
    CancelTombstone(TombstoneId),
    /// Nothing is left of what a request names. `clean`: live files that were looked through and hold none of it.
    MarkProcessed {
        tombstone: TombstoneId,
        clean: Vec<FileId>,
    },
    /// Drops a processed request that need not filter any more.
    ForgetTombstone(TombstoneId),
    /// Retires objects that no version names, so that they cannot be added any more and may be deleted.
    CondemnOrphans(Vec<Retired>),
    /// The objects of these retired files are deleted. Those already forgotten are passed over.
    ForgetRetired(Vec<FileId>),
    /// Writers without segments, with the watermark they were judged by.
    DropWriters(Vec<(String, u64)>),
}

/// Segments become compacted files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentFold {
    pub writers: Vec<WriterFold>,
    pub add: Vec<DataFile>,
    /// Live files on whose copy a row was left out.
    pub relied_on: Vec<FileId>,
}

/// How far one writer's segments are folded by a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterFold {
    pub writer: String,
    /// The watermark that the fold started from.
    pub from: Option<u64>,
    /// The highest number in it.
    pub to: u64,
}

/// Files become other files, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReplacement {
    pub remove: Vec<FileId>,
    pub reason: RetireReason,
    pub add: Vec<DataFile>,
    /// Live files, not among those removed, on whose copy a row was left out.
    pub relied_on: Vec<FileId>,
}

/// Why a change does not fit the newest version. The work behind it is thrown away (its objects are swept as orphans).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("the watermark of writer `{writer}` is {found:?}, the fold started from {expected:?}")]
    WatermarkMoved { writer: String, expected: Option<u64>, found: Option<u64> },
    #[error("the fold of writer `{writer}` ends at {to}, not above {from}")]
    NotAbove { writer: String, from: u64, to: u64 },
    #[error("input `{file}` is no longer live")]
    InputGone { file: FileId },
    #[error("file `{file}`, on whose copy rows were left out, is no longer live")]
    ReliedOnGone { file: FileId },
    #[error("file `{file}` is removed and relied on at once")]
    ReliesOnInput { file: FileId },
    #[error("file `{file}` was added or condemned before")]
    FileKnown { file: FileId },
    #[error("file `{file}` has {found:?} bytes in the store, {expected} were to be there")]
    FileMissing { file: FileId, expected: u64, found: Option<u64> },
    #[error("file `{file}` was made without knowledge of delete request `{tombstone}`, which is processed already")]
    UnseenTombstone { tombstone: TombstoneId, file: FileId },
    #[error("delete request `{0}` exists already")]
    TombstoneKnown(TombstoneId),
    #[error("there is no delete request `{0}`")]
    TombstoneUnknown(TombstoneId),
    #[error("delete request `{0}` is processed already")]
    TombstoneProcessed(TombstoneId),
    #[error("delete request `{0}` is not processed yet")]
    TombstoneUnprocessed(TombstoneId),
    #[error("file `{file}` may still hold what delete request `{tombstone}` names")]
    NotClean { tombstone: TombstoneId, file: FileId },
    #[error("version {0} is the last number there is")]
    OutOfNumbers(u64),
    /// What a closure of [`commit`](crate::manifest::ManifestLog::commit) finds by itself.
    #[error("{0}")]
    Other(String),
}

/// By whom and when.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    pub(super) commit: CommitId,
    pub(super) author: String,
    pub(super) time: i64,
}

impl Change {
    /// The files it adds.
    pub(super) fn added(&self) -> &[DataFile] {
        match self {
            Self::FoldSegments(fold) => &fold.add,
            Self::ReplaceFiles(replacement) => &replacement.add,
            _ => &[],
        }
    }
}

impl ManifestState {
    /// The version that follows this one by `change`.
    pub(super) fn next(&self, change: &Change, stamp: Stamp) -> Result<Self, Conflict> {
        let mut next = self.clone();
        next.version = self.version.checked_add(1).ok_or(Conflict::OutOfNumbers(self.version))?;
        next.parent = self.commit;
        next.commit = stamp.commit;
        next.author = stamp.author;
        next.time = stamp.time;
        next.base = self.base_of_next(next.version);
        next.make(change)?;
        Ok(next)
    }

    fn base_of_next(&self, next: u64) -> Option<BaseVersion> {
        if self.version == 0 || next.is_multiple_of(SNAPSHOT_EVERY) {
            return None;
        }
        Some(self.base.unwrap_or(BaseVersion { version: self.version, commit: self.commit }))
    }

    fn make(&mut self, change: &Change) -> Result<(), Conflict> {
        match change {
            Change::Nothing => Ok(()),
            Change::FoldSegments(fold) => self.fold(fold),
            Change::ReplaceFiles(replacement) => self.replace(replacement),
            Change::AddTombstone(tombstone) => self.add_tombstone(tombstone),
            Change::CancelTombstone(id) => self.cancel(*id),
            Change::MarkProcessed { tombstone, clean } => self.mark_processed(*tombstone, clean),
            Change::ForgetTombstone(id) => self.forget_tombstone(*id),
            Change::CondemnOrphans(orphans) => self.condemn(orphans),
            Change::ForgetRetired(files) => {
                self.retired.retain(|id, _| !files.contains(id));
                Ok(())
            }
            Change::DropWriters(writers) => self.drop_writers(writers),
        }
    }

    fn fold(&mut self, fold: &SegmentFold) -> Result<(), Conflict> {
        for WriterFold { writer, from, to } in &fold.writers {
            self.check_watermark(writer, *from)?;
            if let Some(from) = from.filter(|from| from >= to) {
                return Err(Conflict::NotAbove { writer: writer.clone(), from, to: *to });
            }
            #[cfg(feature = "planted-faults")]
            let to = &(*to + u64::from(tailwater_planted::Fault::WatermarkAhead.is_planted()));
            self.watermarks.insert(writer.clone(), Watermark { sequence: *to, committed_at: self.time });
        }
        self.check_relied_on(&fold.relied_on)?;
        self.add(&fold.add)
    }

    fn replace(&mut self, replacement: &FileReplacement) -> Result<(), Conflict> {
        if let Some(file) = replacement.relied_on.iter().find(|id| replacement.remove.contains(id)) {
            return Err(Conflict::ReliesOnInput { file: *file });
        }
        self.check_relied_on(&replacement.relied_on)?;
        for id in &replacement.remove {
            #[cfg(feature = "planted-faults")]
            if tailwater_planted::Fault::MergeInputsUnchecked.is_planted() && !self.files.contains_key(id) {
                continue;
            }
            let DataFile { day, level, size, .. } = *self.files.remove(id).ok_or(Conflict::InputGone { file: *id })?;
            let retired = Retired { id: *id, day, level, size, retired_at: self.time, reason: replacement.reason };
            self.retired.insert(*id, retired);
        }
        self.add(&replacement.add)
    }

    fn check_watermark(&self, writer: &str, expected: Option<u64>) -> Result<(), Conflict> {
        let found = self.watermark(writer).map(|watermark| watermark.sequence);
        if found == expected {
            return Ok(());
        }
        Err(Conflict::WatermarkMoved { writer: writer.to_owned(), expected, found })
    }

    fn check_relied_on(&self, relied_on: &[FileId]) -> Result<(), Conflict> {
        match relied_on.iter().find(|id| !self.files.contains_key(id)) {
            Some(file) => Err(Conflict::ReliedOnGone { file: *file }),
            None => Ok(()),
        }
    }

    fn add(&mut self, files: &[DataFile]) -> Result<(), Conflict> {
        for file in files {
            if self.names(file.id) {
                return Err(Conflict::FileKnown { file: file.id });
            }
            let is_unseen = |tombstone: &&Arc<Tombstone>| tombstone.processed_at.is_some() && tombstone.concerns(file);
            if let Some(tombstone) = self.tombstones.values().find(is_unseen) {
                return Err(Conflict::UnseenTombstone { tombstone: tombstone.id, file: file.id });
            }
            self.files.insert(file.id, Arc::new(file.clone()));
        }
        Ok(())
    }

    fn add_tombstone(&mut self, tombstone: &Tombstone) -> Result<(), Conflict> {
        let added = Tombstone { added: self.version, processed_at: None, ..tombstone.clone() };
        match self.tombstones.insert(tombstone.id, Arc::new(added)) {
            Some(_) => Err(Conflict::TombstoneKnown(tombstone.id)),
            None => Ok(()),
        }
    }

    fn cancel(&mut self, id: TombstoneId) -> Result<(), Conflict> {
        match self.tombstones.remove(&id).ok_or(Conflict::TombstoneUnknown(id))?.processed_at {
            Some(_) => Err(Conflict::TombstoneProcessed(id)),
            None => Ok(()),
        }
    }

    fn mark_processed(&mut self, id: TombstoneId, clean: &[FileId]) -> Result<(), Conflict> {
        let tombstone = self.tombstones.get(&id).ok_or(Conflict::TombstoneUnknown(id))?;
        if tombstone.processed_at.is_some() {
            return Err(Conflict::TombstoneProcessed(id));
        }
        // Files that came since the caller looked are not in `clean`.
        if let Some(file) = self.files.values().find(|file| tombstone.concerns(file) && !clean.contains(&file.id)) {
            return Err(Conflict::NotClean { tombstone: id, file: file.id });
        }
        let processed = Tombstone { processed_at: Some(self.time), ..tombstone.as_ref().clone() };
        self.tombstones.insert(id, Arc::new(processed));
        Ok(())
    }

    fn forget_tombstone(&mut self, id: TombstoneId) -> Result<(), Conflict> {
        match self.tombstones.remove(&id).ok_or(Conflict::TombstoneUnknown(id))?.processed_at {
            Some(_) => Ok(()),
            None => Err(Conflict::TombstoneUnprocessed(id)),
        }
    }

    fn condemn(&mut self, orphans: &[Retired]) -> Result<(), Conflict> {
        for orphan in orphans {
            if self.names(orphan.id) {
                return Err(Conflict::FileKnown { file: orphan.id });
            }
            self.retired.insert(orphan.id, Retired { retired_at: self.time, reason: RetireReason::Orphan, ..*orphan });
        }
        Ok(())
    }

    fn drop_writers(&mut self, writers: &[(String, u64)]) -> Result<(), Conflict> {
        for (writer, sequence) in writers {
            self.check_watermark(writer, Some(*sequence))?;
            self.watermarks.remove(writer);
        }
        Ok(())
    }
}
