//! Rotated files that the kubelet compressed: which file a copy is of, and reading of those that were not read before.
//!
//! A copy is known by the head of its content. It is read only if its file was not finished: from its beginning, or, half read as a plain file, from the
//! same place. Equal heads are possible (a runtime may stamp many equal lines alike), so a name that says otherwise is believed: a file that was seen
//! under the stamp of another rotation is another file. A copy that cannot be decompressed is counted once it is written to no more.
//!
//! Names that other rotations give say nothing of which file was which (`app.log.1.gz` is another one tomorrow): there heads alone decide, the newest copy
//! first, and a copy of nothing that was read is taken only if it is newer than all that was.

use std::os::unix::fs::MetadataExt;

use super::container::{CompressedFile, ContainerTail, FinishedFile, LateFile};
use super::content::{decompressed_head, told_size};
use super::entrance::line_state;
use super::file::{OpenError, TailFile};
use super::fingerprint::Head;
use super::lookback;
use super::reconcile::ReconcileContext;
use crate::discover::docker;
use crate::discover::listing::{ContainerListing, SeenFile};
use crate::discover::paths::{FileRole, LogFileName};
use crate::metrics::PossibleLoss;
use crate::positions::table::{FileEntry, FileId, Progress, SlimArc};

impl ContainerTail {
    /// Copies that are not there any more are forgotten.
    pub(super) fn forget_compressed(&mut self, listing: &ContainerListing) {
        let is_there = |key: &(u64, u64)| listing.files.iter().any(|seen| seen.name.is_compressed && (seen.device, seen.inode) == *key);
        self.compressed.retain(|key, _| is_there(key));
    }

    /// Finds out which copies of other rotations than the kubelet's are of files that were read. Returns whether one is to be read on.
    pub(super) fn take_known_copies(&mut self, listing: &ContainerListing, context: &ReconcileContext<'_>) -> bool {
        if self.files.is_empty() && self.finished.is_empty() && self.remembered.is_empty() {
            return false;
        }
        let is_copy = |seen: &&SeenFile| seen.is_former && seen.name.is_compressed;
        let mut copies: Vec<&SeenFile> = listing.files.iter().filter(is_copy).collect();
        copies.sort_by_key(|seen| std::cmp::Reverse(seen.modified));
        let mut has_news = false;
        for seen in copies {
            let key = (seen.device, seen.inode);
            if is_being_compressed(seen, listing) || self.compressed.get(&key).is_some_and(|known| known.size == seen.size) {
                continue;
            }
            match self.is_copy_of_known(seen, listing, context) {
                Ok(Some(true)) => has_news |= self.take_compressed(seen, listing, context).unwrap_or(false),
                // It is not asked again.
                Ok(Some(false)) => drop(self.compressed.insert(key, CompressedFile { size: seen.size, file: None, is_settled: false })),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(path = %self.directory.join(&seen.text).display(), error = %error, "compressed log file not looked at");
                }
            }
        }
        has_news
    }

    /// Whether its content begins as that of a file that was read; `None` if it has none that can be decompressed.
    fn is_copy_of_known(
        &mut self,
        seen: &SeenFile,
        listing: &ContainerListing,
        context: &ReconcileContext<'_>,
    ) -> Result<Option<bool>, OpenError> {
        let head = decompressed_head(&self.open(seen, context)?)?;
        let Some(head) = head.filter(|head| !head.as_bytes().is_empty()) else { return Ok(None) };
        let finished = self.finished.iter().map(|file| (file.id, &file.entry));
        let remembered = self.remembered.iter().map(|(id, entry)| (*id, &**entry));
        let is_of_read = best(finished.chain(remembered), seen, &head, |entry| self.is_elsewhere(entry, seen, listing)).is_some();
        Ok(Some(is_of_read || self.held_of_copy(seen, &head, listing)?.is_some()))
    }

    /// Whether it is a copy of a file that was read, or is read itself.
    pub(super) fn is_known_copy(&self, seen: &SeenFile) -> bool {
        seen.is_former && self.compressed.get(&(seen.device, seen.inode)).is_some_and(|known| known.file.is_some())
    }

    pub(super) fn is_compressed_settled(&self, seen: &SeenFile) -> bool {
        self.compressed.get(&(seen.device, seen.inode)).is_some_and(|known| known.is_settled && known.size == seen.size)
    }

    /// Finds out what a copy is of. Returns whether it is to be read.
    pub(super) fn take_compressed(
        &mut self,
        seen: &SeenFile,
        listing: &ContainerListing,
        context: &ReconcileContext<'_>,
    ) -> Result<bool, OpenError> {
        let handle = self.open(seen, context)?;
        let Some(head) = decompressed_head(&handle)? else {
            self.note_damaged(seen, context);
            return Ok(false);
        };
        if head.as_bytes().is_empty() {
            self.settle_compressed(seen, None);
            return Ok(false);
        }
        if let Some(held) = self.held_of_copy(seen, &head, listing)? {
            // The copies of other rotations tell which files are older.
            self.settle_compressed(seen, seen.is_former.then_some(held));
            return Ok(false);
        }
        let finished = self.finished.iter().map(|file| (file.id, &file.entry));
        if let Some(id) = best(finished, seen, &head, |entry| self.is_elsewhere(entry, seen, listing)) {
            self.settle_compressed(seen, Some(id));
            let index = self.finished.iter().position(|file| file.id == id).expect("found a moment ago");
            let file = self.finished.swap_remove(index);
            return self.read_on(file, handle, seen, &head, context);
        }
        let remembered = self.remembered.iter().map(|(id, entry)| (*id, &**entry));
        if let Some(id) = best(remembered, seen, &head, |entry| self.is_elsewhere(entry, seen, listing)) {
            self.settle_compressed(seen, Some(id));
            context.positions.lock().seen_again(id);
            let index = self.remembered.iter().position(|(other, _)| *other == id).expect("found a moment ago");
            let (_, entry) = self.remembered.swap_remove(index);
            let entry = SlimArc::unwrap_or_clone(entry);
            if entry.progress.is_finished {
                let file = FinishedFile { id, entry, size: seen.size, modified: Some(seen.modified) };
                return self.read_on(file, handle, seen, &head, context);
            }
            let mut file = TailFile::new(id, handle, &seen.text, seen.name.clone(), entry.progress.clone(), context.now)?;
            file.cuts = entry.cuts.into_iter().collect();
            self.enqueue(file.of_rotated_compressed(&head));
            return Ok(true);
        }
        if context.is_full_reread {
            context.metrics.full_reread.inc();
        }
        let offset = match context.not_before.filter(|_| !seen.is_former) {
            Some(not_before) => lookback::start_of_compressed(&handle, seen.modified, not_before),
            None => Some(0),
        };
        let Some(offset) = offset else {
            self.settle_compressed(seen, None);
            return Ok(false);
        };
        let start = Progress { offset, ..Progress::start(self.last_stamp_of(seen.name.instance)) };
        let id = context.positions.lock().new_file();
        self.settle_compressed(seen, Some(id));
        let file = TailFile::new(id, handle, &seen.text, seen.name.clone(), start, context.now)?;
        self.enqueue(file.of_rotated_compressed(&head));
        Ok(true)
    }

    fn settle_compressed(&mut self, seen: &SeenFile, file: Option<FileId>) {
        self.compressed.insert((seen.device, seen.inode), CompressedFile { size: seen.size, file, is_settled: true });
    }

    /// One that cannot be decompressed may be half written: only if it stays as it is it is given up.
    fn note_damaged(&mut self, seen: &SeenFile, context: &ReconcileContext<'_>) {
        let key = (seen.device, seen.inode);
        let is_settled = self.compressed.get(&key).is_some_and(|known| known.size == seen.size);
        self.compressed.insert(key, CompressedFile { size: seen.size, file: None, is_settled });
        if is_settled {
            context.metrics.possible_loss(PossibleLoss::Compressed);
            tracing::warn!(container = &*self.path, file = seen.text, "compressed log file cannot be decompressed; its lines are missing");
        }
    }

    /// The file held open of which it is a copy: that is read by its descriptor, and is final now.
    fn held_of_copy(&mut self, seen: &SeenFile, head: &Head, listing: &ContainerListing) -> std::io::Result<Option<FileId>> {
        for file in self.unfinished_mut() {
            let is_listed = listing.files.iter().any(|plain| (plain.device, plain.inode) == (file.device, file.inode));
            let role = &file.parsed_name.role;
            let is_named_so = if is_listed { *role == seen.name.role } else { role_fits(role, seen) };
            if file.parsed_name.instance == seen.name.instance && is_named_so && file.begins_like(head.as_bytes())? {
                file.compressed_copy = Some(Box::new(seen.clone()));
                return Ok(Some(file.id));
            }
        }
        Ok(None)
    }

    /// Names of copies change where rotation gives numbers.
    pub(super) fn note_names_of_copies(&mut self, listing: &ContainerListing) {
        for copy in self.unfinished_mut().filter_map(|file| file.compressed_copy.as_deref_mut()) {
            let seen = listing.files.iter().find(|seen| (seen.device, seen.inode) == (copy.device, copy.inode));
            if let Some(seen) = seen.filter(|seen| seen.text != copy.text) {
                *copy = seen.clone();
            }
        }
    }

    /// Reads a file that is held open on in its compressed copy, from where it stands. `false` if it has none, or one that cannot be read.
    pub(super) fn go_on_in_copy(&mut self, id: FileId, context: &ReconcileContext<'_>) -> bool {
        let Some(copy) = self.unfinished().find(|file| file.id == id).and_then(|file| file.compressed_copy.clone()) else {
            return false;
        };
        let Ok(handle) = self.open(&copy, context) else { return false };
        let Ok(Some(head)) = decompressed_head(&handle) else { return false };
        let Some(file) = self.unfinished_mut().find(|file| file.id == id) else { return false };
        // Told modulo 2^32.
        let told = handle.metadata().and_then(|metadata| told_size(&handle, metadata.size())).ok().flatten();
        let is_shorter = file.size <= u64::from(u32::MAX) && told.is_some_and(|told| u64::from(told) < file.size);
        if !file.begins_like(head.as_bytes()).unwrap_or(false) || file.go_on_in_copy(handle, &copy, &head).is_err() {
            return false;
        }
        if is_shorter {
            context.metrics.possible_loss(PossibleLoss::DeletedHold);
            tracing::warn!(container = &*self.path, file = copy.text, "what was written to a log file after it was compressed is missing");
        }
        self.compressed.insert((copy.device, copy.inode), CompressedFile { size: copy.size, file: Some(id), is_settled: true });
        true
    }

    /// Whether the file of `entry` is there as a plain file with the name of another rotation, so that `seen` is no copy of it.
    fn is_elsewhere(&self, entry: &FileEntry, seen: &SeenFile, listing: &ContainerListing) -> bool {
        let plain = listing.files.iter().find(|file| !file.name.is_compressed && (file.device, file.inode) == (entry.device, entry.inode));
        let Some(plain) = plain.filter(|plain| plain.name.role != seen.name.role && plain.size >= entry.progress.offset) else {
            return false;
        };
        // Another file may have its inode by now.
        let opened = super::file::open_regular(&self.directory.join(&plain.text));
        let head = opened.ok().and_then(|file| Head::read(&file).ok());
        head.is_some_and(|head| entry.fingerprint.matches(head.as_bytes()))
    }

    /// A copy of a finished file: left alone, or read on if the file grew before it was compressed.
    fn read_on(
        &mut self,
        finished: FinishedFile,
        handle: std::fs::File,
        seen: &SeenFile,
        head: &Head,
        context: &ReconcileContext<'_>,
    ) -> Result<bool, OpenError> {
        let size = told_size(&handle, handle.metadata()?.size())?;
        let offset = finished.entry.progress.offset;
        // The size is told modulo 2^32; a copy smaller than what was read is of a file that was cut.
        let has_more = size.is_some_and(|size| u64::from(size) > offset && offset <= u64::from(u32::MAX));
        if !has_more {
            self.finished.push(finished);
            return Ok(false);
        }
        context.metrics.late_growth.inc();
        let FinishedFile { id, entry, .. } = finished;
        let state = line_state(&self.source, &self.path, &entry.progress);
        let file = TailFile::new(id, handle, &seen.text, seen.name.clone(), entry.progress, context.now)?;
        self.late.push(LateFile { file: file.of_rotated_compressed(head), state });
        Ok(true)
    }
}

/// Whether the file of which it is to be a copy is there as well: what there is of the copy may be half of it. Of the kubelet's this cannot be.
pub(super) fn is_being_compressed(seen: &SeenFile, listing: &ContainerListing) -> bool {
    seen.is_former && listing.files.iter().any(|plain| seen.text.strip_suffix(".gz") == Some(&*plain.text))
}

/// The entry of which `seen` is a copy: of those with its head the one with its name.
fn best<'a>(
    entries: impl Iterator<Item = (FileId, &'a FileEntry)>,
    seen: &SeenFile,
    head: &Head,
    is_elsewhere: impl Fn(&FileEntry) -> bool,
) -> Option<FileId> {
    let candidates = entries.filter(|(_, entry)| entry.fingerprint.matches(head.as_bytes()) && entry.instance.number == seen.name.instance);
    let role = |name: &str| {
        LogFileName::parse(name).or_else(|| LogFileName::parse_interim(name)).map(|name| name.role).or_else(|| docker::role(name))
    };
    let role = |name: &str| if seen.is_former { Some(FileRole::Live) } else { role(name) };
    let named = candidates.filter_map(|(id, entry)| Some((id, entry, role(&entry.name)?)));
    let fitting = named.filter(|(_, entry, role)| role_fits(role, seen) && !is_elsewhere(entry));
    fitting.max_by_key(|(_, entry, role)| (*role == seen.name.role, entry.fingerprint.length)).map(|(id, ..)| id)
}

/// The last known name of a file may be the one before its rotation; docker's numbers change with every one.
fn role_fits(role: &FileRole, seen: &SeenFile) -> bool {
    role.is_open() || *role == seen.name.role || seen.is_former || docker::is_rotated(&seen.text)
}
