//! Files that were deleted and are still held open: their bytes are there, and on the node's disk, until they are read.
//!
//! They are held for so long and up to so many bytes, of all containers together; then the one deleted first is let go. What was unread of it is read in
//! its compressed copy, if there is one, and counted otherwise. A file that is read stays open until that is acknowledged, or a reload in between would lose what was on its way. This is looked after even while the receiver takes nothing, since that is when files are deleted unread.

use std::time::{Duration, Instant};

use super::balance::FileEnd;
use super::container::ContainerTail;
use super::file::TailFile;
use super::handover::HandedFile;
use super::reconcile::ReconcileContext;
use crate::metrics::{Metrics, PossibleLoss};
use crate::positions::table::{FileId, Mark, PositionsTable, Progress};

/// How long a deleted file is held for a listing that tells whether it has a compressed copy, whatever the limits say.
const COPY_PATIENCE: Duration = Duration::from_secs(30);

/// A deleted file that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) since: Instant,
    pub(crate) bytes: u64,
}

/// A file that was read to its end, of which something is still on its way: a reload reads that again.
#[derive(Debug)]
pub(crate) struct Unacknowledged {
    pub(super) file: HandedFile,
    id: FileId,
    /// Where its end was.
    offset: u64,
    /// Since when it has no name any more.
    deleted_since: Option<Instant>,
}

impl ContainerTail {
    /// Keeps the descriptor of a file that is read to its end.
    pub(super) fn hold_until_acknowledged(&mut self, file: TailFile, end: FileEnd) {
        let (id, offset) = (file.id, file.offset);
        if end == FileEnd::Drained
            && let Some(file) = file.into_handed()
        {
            self.unacknowledged.push(Unacknowledged { file, id, offset, deleted_since: None });
        }
    }

    /// Closes what is acknowledged meanwhile.
    pub(super) fn close_acknowledged(&mut self, positions: &PositionsTable) {
        self.unacknowledged.retain(|file| !positions.is_finished(file.id, file.offset));
        if self.unacknowledged.is_empty() {
            self.unacknowledged = Vec::new();
        }
    }

    /// Looks which files have no name any more; while files are read, the front one's turns have looked. Returns the bytes they take and which of them
    /// was deleted first.
    pub(crate) fn held(&mut self, now: Instant, is_reading: bool) -> (u64, Option<Held>) {
        let mut bytes = 0;
        let mut oldest: Option<Held> = None;
        for (index, file) in self.unfinished_mut().enumerate() {
            // An error shows again when it is read.
            let is_looked_at = (is_reading && index == 0) || file.look(now).is_ok();
            let Some(since) = file.deleted_since.filter(|_| is_looked_at) else { continue };
            let held = Held { since, bytes: file.size };
            bytes += held.bytes;
            oldest = Some(oldest.map_or(held, |other| other.min(held)));
        }
        for file in self.unacknowledged.iter_mut().filter(|file| file.file.is_deleted()) {
            let held = Held { since: *file.deleted_since.get_or_insert(now), bytes: file.offset };
            bytes += held.bytes;
            oldest = Some(oldest.map_or(held, |other| other.min(held)));
        }
        (bytes, oldest)
    }

    /// Lets the file go that was deleted first. `false` if a listing has to tell first whether it has a compressed copy.
    pub(crate) fn let_go(&mut self, context: &ReconcileContext<'_>) -> bool {
        // What is on its way is not lost with its file.
        let on_its_way = self.unacknowledged.iter().position(|file| file.deleted_since.is_some());
        if let Some(index) = on_its_way {
            self.unacknowledged.remove(index);
            return true;
        }
        let deleted = self.unfinished().filter_map(|file| Some((file.deleted_since?, file)));
        let Some((since, first)) = deleted.min_by_key(|(since, _)| *since) else { return true };
        let id = first.id;
        if !is_read(first) {
            let is_told = first.is_unlisted || context.now.saturating_duration_since(since) >= COPY_PATIENCE;
            if self.go_on_in_copy(id, context) {
                return true;
            }
            if !is_told {
                context.handover.ask_for_listing(&self.path);
                return false;
            }
        }
        let metrics = context.metrics;
        if let Some(index) = self.late.iter().position(|late| late.file.id == id) {
            let mut late = self.late.swap_remove(index);
            self.count_unread(&late.file, metrics);
            self.ending.get_or_insert_default().balances.push(std::mem::take(&mut late.file.balance).finish(id, FileEnd::Counted));
            self.is_in_batch = true;
        } else if self.files.front().is_some_and(|front| front.id == id) {
            self.count_unread(&self.files[0], metrics);
            self.end_front(FileEnd::Counted);
        } else if let Some(index) = self.files.iter().position(|file| file.id == id) {
            self.count_unread(&self.files[index], metrics);
            if let Some(file) = self.files.remove(index) {
                let progress = Progress { is_finished: true, ..file.start.clone() };
                self.ending.get_or_insert_default().marks.push(Mark { file: id, entry: file.entry(&self.path, progress) });
                self.is_in_batch = true;
            }
        }
        true
    }

    fn count_unread(&self, file: &TailFile, metrics: &Metrics) {
        if is_read(file) {
            return;
        }
        metrics.possible_loss(PossibleLoss::DeletedHold);
        tracing::warn!(
            container = &*self.path,
            file = file.name,
            unread = file.size.saturating_sub(file.offset),
            "deleted log file was held too long or took too much of the disk; its unread lines are missing"
        );
    }
}

/// Nothing of it is left to be read.
fn is_read(file: &TailFile) -> bool {
    file.is_drained() && file.offset >= file.size
}
