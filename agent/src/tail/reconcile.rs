//! Bringing a container's files in line with what its directory holds now.
//!
//! Identity is device, inode and head: a file held open keeps its inode, so there the number is enough; for files closed or only remembered
//! the head decides as well. New files are newer than all that were known, since those were seen first; among themselves they are ordered by
//! instance and rotation stamp, the live one last. Compressed files are looked at in their place among them ([`super::compressed`]).

use std::cell::Cell;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::compressed::is_being_compressed;
use super::container::{ContainerTail, FinishedFile, LateFile};
use super::entrance::line_state;
use super::file::{OpenError, TailFile, open_beneath, open_named, open_regular};
use super::fingerprint::{COVERED_MAX, Head};
use super::handover::Handover;
use super::lookback;
use crate::discover::listing::{ContainerListing, SeenFile, Source};
use crate::metrics::{Metrics, PossibleLoss};
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{FileEntry, FileId, Progress, SlimArc};
use crate::promtail::jobs::CompressedFormat;

/// What reconciling needs besides the container.
pub(crate) struct ReconcileContext<'a> {
    pub(crate) positions: &'a SharedPositions,
    pub(crate) metrics: &'a Metrics,
    pub(crate) now: Instant,
    /// Whether positions were lost, so that files are read again.
    pub(crate) is_full_reread: bool,
    /// Lines of pods stamped before it are not read, nanoseconds since the epoch.
    pub(crate) not_before: Option<i64>,
    /// Who is asked for a listing if this one is not enough.
    pub(crate) handover: &'a Handover,
    /// Where links of the tree may lead to.
    pub(crate) docker_root: Option<&'a Path>,
    /// How many files may still be opened.
    pub(crate) room: Cell<usize>,
}

impl ContainerTail {
    /// Takes in a listing of the container's directory. Returns whether anything is to be read soon.
    pub(crate) fn reconcile(&mut self, listing: &ContainerListing, context: &ReconcileContext<'_>) -> bool {
        self.is_gone = listing.is_gone;
        self.look_for_gone_names(listing, context.now);
        let has_news = self.take_unknown(listing, context);
        self.note_names_of_copies(listing);
        has_news
    }

    /// Files held open whose names are not there are looked at soon: they may be deleted.
    fn look_for_gone_names(&mut self, listing: &ContainerListing, now: Instant) {
        for file in self.unfinished_mut() {
            let is_unlisted = !listing.files.iter().any(|seen| (seen.device, seen.inode) == (file.device, file.inode));
            file.is_unlisted = is_unlisted && file.deleted_since.is_some();
            if is_unlisted {
                file.look_soon(now);
            }
        }
    }

    /// Opens what the listing holds and is not known, oldest first.
    fn take_unknown(&mut self, listing: &ContainerListing, context: &ReconcileContext<'_>) -> bool {
        let mut has_news = false;
        self.needs_listing = false;
        self.retries.keep(|other| listing.files.iter().any(|seen| (seen.device, seen.inode) == other));
        self.forget_compressed(listing);
        has_news |= self.take_known_copies(listing, context);
        let newest_known = self.newest_known(listing);
        let mut unknown: Vec<&SeenFile> =
            listing.files.iter().filter(|seen| seen.name.is_compressed || !self.know_held_file(seen)).collect();
        unknown.sort_by(|a, b| a.name.cmp(&b.name));
        let mut taken: Vec<(u64, u64)> = Vec::new();
        let mut has_unreadable = false;
        has_news |= self.take_handed(listing, context);
        for seen in unknown {
            // What is on its way to another name is new only under that.
            if seen.is_interim && !self.is_remembered(seen) {
                continue;
            }
            // Two names of one inode: one reader.
            if taken.contains(&(seen.device, seen.inode)) || self.is_settled(seen, context) {
                continue;
            }
            taken.push((seen.device, seen.inode));
            let is_older =
                || newest_known.is_none_or(|newest| seen.modified < newest || (seen.name.is_compressed && seen.modified == newest));
            if seen.is_former && !self.is_remembered(seen) && (is_older() || is_being_compressed(seen, listing)) {
                continue;
            }
            if self.retries.must_wait((seen.device, seen.inode), context.now) {
                has_unreadable = true;
                continue;
            }
            let result = if seen.name.is_compressed { self.take_compressed(seen, listing, context) } else { self.take(seen, context) };
            match result {
                Ok(is_to_be_read) => {
                    self.retries.keep(|other| other != (seen.device, seen.inode));
                    has_news |= is_to_be_read;
                }
                // It alone is unreadable.
                Err(OpenError::Io(error)) if error.kind() != ErrorKind::NotFound => {
                    context.metrics.read_errors.inc();
                    if self.retries.failed((seen.device, seen.inode), context.now) {
                        context.metrics.target_failed();
                    }
                    tracing::warn!(path = %self.directory.join(&seen.text).display(), error = %error, "cannot open a log file; trying again");
                    has_unreadable = true;
                }
                // Renamed or gone since it was listed, or no descriptor is left. What came after it must not be taken before it: the next listing tells.
                Err(error) => {
                    tracing::debug!(path = %self.directory.join(&seen.text).display(), error = %error, "log file not opened");
                    self.needs_listing = matches!(error, OpenError::NoRoom);
                    context.handover.ask_for_listing(&self.path);
                    return has_news;
                }
            }
        }
        if has_unreadable {
            if let Some(due) = self.retries.next() {
                context.handover.ask_for_listing_at(&self.path, due);
            }
            return has_news;
        }
        self.forget_unlisted(listing, context);
        if !self.is_listed {
            self.is_listed = true;
            // Those that have names were opened by them.
            self.handed = Vec::new();
            self.count_missing(context);
        }
        has_news
    }

    /// Takes up files of before a reload that have no name any more. They were known before all that is found now.
    fn take_handed(&mut self, listing: &ContainerListing, context: &ReconcileContext<'_>) -> bool {
        let mut has_news = false;
        for handed in std::mem::take(&mut self.handed) {
            // One with a name whose directory is left out now is nobody's.
            let Some(seen) = handed.as_seen().filter(|_| !listing.is_gone || handed.is_deleted()) else { continue };
            if listing.files.iter().any(|other| (other.device, other.inode) == (seen.device, seen.inode)) {
                // It is opened by its name, unless that goes as well before this listing is taken in.
                self.handed.push(handed);
                continue;
            }
            has_news |= self.take_opened(handed.file, &seen, context).is_ok_and(|is_to_be_read| is_to_be_read);
        }
        has_news
    }

    fn is_settled(&mut self, seen: &SeenFile, context: &ReconcileContext<'_>) -> bool {
        if seen.name.is_compressed { self.is_compressed_settled(seen) } else { self.is_finished_and_unchanged(seen, context) }
    }

    /// A file held open keeps its inode; only its name may be new.
    fn know_held_file(&mut self, seen: &SeenFile) -> bool {
        let held = self.unfinished_mut().find(|file| (file.device, file.inode) == (seen.device, seen.inode));
        let Some(file) = held else { return false };
        if file.name != seen.text && !seen.is_interim {
            file.name.clone_from(&seen.text);
            file.parsed_name = seen.name.clone();
        }
        true
    }

    fn is_finished_and_unchanged(&mut self, seen: &SeenFile, context: &ReconcileContext<'_>) -> bool {
        let Some(file) = self.finished.iter_mut().find(|file| file.is_still(seen)) else { return false };
        file.entry.name = seen.text.as_str().into();
        context.positions.lock().seen_again(file.id);
        true
    }

    /// Opens a file that is not held: finished and grown, remembered, or new.
    fn take(&mut self, seen: &SeenFile, context: &ReconcileContext<'_>) -> Result<bool, OpenError> {
        let handle = self.open(seen, context)?;
        self.take_opened(handle, seen, context)
    }

    fn take_opened(&mut self, handle: File, seen: &SeenFile, context: &ReconcileContext<'_>) -> Result<bool, OpenError> {
        let head = Head::read(&handle)?;
        let format = self.compressed_format();
        let new = |id: FileId, handle: File, start: Progress| {
            TailFile::new(id, handle, &seen.text, seen.name.clone(), start, context.now).map(|file| file.decompressed(format))
        };
        let reach = self.reach(seen);
        if let Some(index) = self.finished.iter().position(|file| is_same(&file.entry, seen, reach, head.as_bytes())) {
            let finished = self.finished.swap_remove(index);
            let file = new(finished.id, handle, finished.entry.progress.clone())?;
            self.take_finished(file, finished.entry, seen, context);
            return Ok(true);
        }
        if let Some(index) = self.find_remembered(seen, head.as_bytes()) {
            let (id, entry) = self.remembered.swap_remove(index);
            let entry = SlimArc::unwrap_or_clone(entry);
            context.positions.lock().seen_again(id);
            let mut file = new(id, handle, entry.progress.clone())?;
            if entry.progress.is_finished {
                self.take_finished(file, entry, seen, context);
            } else {
                file.cuts = entry.cuts.into_iter().collect();
                self.enqueue(file);
            }
            return Ok(true);
        }
        if seen.is_interim {
            // Another file has the inode by now.
            return Ok(false);
        }
        if context.is_full_reread {
            context.metrics.full_reread.inc();
        }
        let offset = match context.not_before.filter(|_| matches!(self.source, Source::Container { .. })) {
            Some(not_before) => lookback::start_of(&handle, seen.modified, not_before)?,
            None => self.offset_taken_over(seen),
        };
        let start = Progress { offset, ..Progress::start(self.last_stamp_of(seen.name.instance)) };
        let id = context.positions.lock().new_file();
        self.enqueue(new(id, handle, start)?);
        Ok(true)
    }

    /// Opens what was seen, if it still is that.
    pub(super) fn open(&self, seen: &SeenFile, context: &ReconcileContext<'_>) -> Result<File, OpenError> {
        let path = self.directory.join(&seen.text);
        let room = context.room.get().checked_sub(1).ok_or(OpenError::NoRoom)?;
        let handle = match &self.source {
            Source::Target(target) => open_named(&path, target.job.discovers_pods(), context.docker_root)?,
            // Files of the tree lie where they are listed, others behind a link of it.
            Source::Container { .. } => match context.docker_root.filter(|_| Path::new(&seen.text).is_absolute()) {
                Some(root) => open_beneath(root, &path)?,
                None => open_regular(&path)?,
            },
        };
        context.room.set(room);
        let metadata = handle.metadata()?;
        if (metadata.dev(), metadata.ino()) != (seen.device, seen.inode) {
            return Err(OpenError::Renamed);
        }
        Ok(handle)
    }

    /// A finished file: left alone, or read on if it grew.
    fn take_finished(&mut self, mut file: TailFile, entry: FileEntry, seen: &SeenFile, context: &ReconcileContext<'_>) {
        // A compressed file is whole when it is finished.
        if seen.size <= entry.progress.offset || self.compressed_format().is_some() {
            self.finished.push(FinishedFile { id: file.id, entry, size: seen.size, modified: Some(seen.modified) });
            return;
        }
        context.metrics.late_growth.inc();
        let state = line_state(&self.source, &self.path, &entry.progress);
        file.cuts = entry.cuts.into_iter().collect();
        self.late.push(LateFile { file, state });
    }

    fn find_remembered(&self, seen: &SeenFile, head: &[u8]) -> Option<usize> {
        let by_inode = self.remembered.iter().position(|(_, entry)| is_same(entry, seen, self.reach(seen), head));
        // After a reboot or on another disk: the whole head and the container must do.
        by_inode.or_else(|| {
            if seen.is_interim {
                return None;
            }
            let is_same_content = |entry: &FileEntry| {
                entry.fingerprint.length == COVERED_MAX
                    && entry.fingerprint.matches(head)
                    && self.reach(seen) >= entry.progress.offset
                    && entry.instance.number == seen.name.instance
            };
            self.remembered.iter().position(|(_, entry)| is_same_content(entry))
        })
    }

    /// The time of change of the latest file that was read before; files after it are those that were missed. The beginning of time if all of them
    /// are gone, none if there was none.
    fn newest_known(&self, listing: &ContainerListing) -> Option<SystemTime> {
        let has_history = !(self.files.is_empty() && self.finished.is_empty() && self.remembered.is_empty());
        let is_held = |seen: &SeenFile| self.files.iter().any(|file| (file.device, file.inode) == (seen.device, seen.inode));
        let is_known = |seen: &&SeenFile| is_held(seen) || self.is_remembered(seen) || self.is_known_copy(seen);
        let known = listing.files.iter().filter(is_known).map(|seen| seen.modified).max();
        has_history.then(|| known.unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// How the content of its files is compressed, if the job says so.
    fn compressed_format(&self) -> Option<CompressedFormat> {
        match &self.source {
            Source::Target(target) => target.job.decompression.map(|decompression| decompression.format),
            Source::Container { .. } => None,
        }
    }

    /// The highest offset that a file seen like this can have; decompressed it may be any.
    fn reach(&self, seen: &SeenFile) -> u64 {
        if self.compressed_format().is_some() { u64::MAX } else { seen.size }
    }

    /// Whether it was read before, under whatever name.
    fn is_remembered(&self, seen: &SeenFile) -> bool {
        let is_it = |entry: &FileEntry| (entry.device, entry.inode) == (seen.device, seen.inode);
        self.remembered.iter().any(|(_, entry)| is_it(entry)) || self.finished.iter().any(|file| is_it(&file.entry))
    }

    /// Where Promtail's own positions say that reading goes on.
    fn offset_taken_over(&self, seen: &SeenFile) -> u64 {
        match &self.source {
            Source::Target(target) if !self.is_listed && target.job.decompression.is_none() => {
                target.old_offset.filter(|offset| *offset <= seen.size).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The stamp that the instance's last finished or vanished file ended with.
    pub(super) fn last_stamp_of(&self, instance: u32) -> Option<i64> {
        let finished = self.finished.iter().map(|file| (file.id, &file.entry));
        let remembered = self.remembered.iter().map(|(id, entry)| (*id, &**entry));
        let of_instance = finished.chain(remembered).filter(|(_, entry)| entry.instance.number == instance);
        of_instance.max_by_key(|(id, _)| *id).and_then(|(_, entry)| entry.progress.last_stamp)
    }

    /// Behind all files of its instance, before those of later ones; never before the one being read.
    pub(super) fn enqueue(&mut self, file: TailFile) {
        let place = self.files.iter().position(|other| other.parsed_name.instance > file.parsed_name.instance);
        match place {
            Some(0) if self.is_listed => self.files.insert(1, file),
            Some(index) => self.files.insert(index, file),
            None => {
                // Mostly it is the only one.
                if self.files.is_empty() {
                    self.files.reserve_exact(1);
                }
                self.files.push_back(file);
            }
        }
    }

    /// Finished files that are gone, plain and compressed, leave with the checkpoint's entries.
    fn forget_unlisted(&mut self, listing: &ContainerListing, context: &ReconcileContext<'_>) {
        let compressed = &self.compressed;
        let is_there = |file: &FinishedFile| {
            listing.files.iter().any(|seen| (seen.device, seen.inode) == (file.entry.device, file.entry.inode))
                || compressed.values().any(|copy| copy.file == Some(file.id))
        };
        let gone: Vec<FileId> = self.finished.iter().filter(|file| !is_there(file)).map(|file| file.id).collect();
        if gone.is_empty() {
            return;
        }
        let mut positions = context.positions.lock();
        gone.iter().for_each(|file| positions.vanished(*file, context.now));
        // The latest stays, for the last stamp it gave.
        let latest = self.finished.iter().map(|file| file.id).max();
        self.finished.retain(|file| !gone.contains(&file.id) || Some(file.id) == latest);
    }

    /// After the first listing: what the checkpoint names and the directory does not hold is lost, unless it was finished.
    fn count_missing(&mut self, context: &ReconcileContext<'_>) {
        for (id, entry) in &self.remembered {
            context.positions.lock().vanished(*id, context.now);
            if !entry.progress.is_finished {
                context.metrics.possible_loss(PossibleLoss::RotatedAway);
                tracing::warn!(
                    container = &*self.path,
                    file = entry.name,
                    "a log file that was not read to its end is gone; lines may be missing"
                );
            }
        }
    }
}

/// Whether a file seen now is the one of an entry.
fn is_same(entry: &FileEntry, seen: &SeenFile, reach: u64, head: &[u8]) -> bool {
    (entry.device, entry.inode) == (seen.device, seen.inode) && reach >= entry.progress.offset && entry.fingerprint.matches(head)
}
