//! Containers whose live file is closed while nothing is written to it, so that descriptors go to files that are read.
//!
//! Only a file that is read to its end and acknowledged is closed. Its path is looked at instead; when it is not what it was, the directory is listed and
//! the file is found again as after a restart of the agent, by inode and head, with the state that its last record left.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::balance::FileBalance;
use super::container::ContainerTail;
use crate::discover::listing::{ContainerListing, SeenFile, Source};
use crate::discover::paths::FileRole;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::FileId;

/// A live file that was closed.
#[derive(Debug)]
pub(crate) struct Sleeping {
    pub(super) id: FileId,
    name: String,
    device: u64,
    inode: u64,
    size: u64,
    modified: SystemTime,
    pub(super) balance: FileBalance,
}

impl Sleeping {
    fn is(&self, seen: &SeenFile) -> bool {
        (self.device, self.inode, self.size, self.modified) == (seen.device, seen.inode, seen.size, seen.modified)
            && seen.name.role == FileRole::Live
    }
}

impl ContainerTail {
    /// Whether its only file may be closed: everything in it is acknowledged, and nothing is pending.
    pub(crate) fn may_sleep(&self, positions: &SharedPositions) -> bool {
        let [front] = self.files.as_slices().0 else { return false };
        let is_pod = matches!(self.source, Source::Container { .. });
        let is_quiet = self.late.is_empty() && self.passed.is_empty() && !self.is_in_batch && !self.is_gone && !self.needs_listing;
        let has_pending = self.state.as_deref().is_some_and(|(_, state)| state.has_pending() || state.frozen.is_some());
        let is_live = front.parsed_name.role == FileRole::Live && front.links > 0 && front.cuts.is_empty();
        let is_read = front.is_drained() && front.offset == front.size;
        if !is_pod || !is_quiet || has_pending || !is_live || !is_read || self.files.len() > 1 {
            return false;
        }
        front.size == 0 || positions.lock().acknowledged(front.id) == Some(front.offset)
    }

    /// Closes its only file. To be called when it [may sleep](Self::may_sleep): then all that is to be known of it stands in the table.
    pub(crate) fn fall_asleep(&mut self, positions: &SharedPositions) {
        let Some(mut front) = self.files.pop_front() else { return };
        if let Some(entry) = positions.lock().entry(front.id) {
            // Mostly it is the only one.
            self.remembered.reserve_exact(1);
            self.remembered.push((front.id, entry));
        }
        self.files = VecDeque::new();
        self.sleeping = Some(Box::new(Sleeping {
            id: front.id,
            name: std::mem::take(&mut front.name),
            device: front.device,
            inode: front.inode,
            size: front.size,
            modified: front.modified(),
            balance: std::mem::take(&mut front.balance),
        }));
        self.state = None;
        self.entered = None;
        self.last_marked = None;
        self.outlets.clear();
    }

    /// Looks whether the closed file is what it was; if not, the directory is to be listed.
    pub(super) fn look_at_sleeping(&mut self) {
        let Some(sleeping) = &self.sleeping else { return };
        let is_as_before = self.directory.join(&sleeping.name).symlink_metadata().is_ok_and(|metadata| {
            (metadata.dev(), metadata.ino(), metadata.len()) == (sleeping.device, sleeping.inode, sleeping.size)
                && metadata.modified().is_ok_and(|modified| modified == sleeping.modified)
        });
        self.needs_listing |= !is_as_before;
    }

    /// Whether a listing says nothing that would wake it up.
    pub(super) fn sleeps_through(&self, listing: &ContainerListing) -> bool {
        let Some(sleeping) = &self.sleeping else { return false };
        let is_done = |seen: &SeenFile| {
            let key = (seen.device, seen.inode);
            sleeping.is(seen)
                || (seen.is_interim && key != (sleeping.device, sleeping.inode))
                || self.compressed.get(&key).is_some_and(|known| known.is_settled && known.size == seen.size)
                || self.finished.iter().any(|file| {
                    (file.entry.device, file.entry.inode, file.size, file.modified)
                        == (seen.device, seen.inode, seen.size, Some(seen.modified))
                })
        };
        !listing.is_gone && listing.files.iter().any(|seen| sleeping.is(seen)) && listing.files.iter().all(is_done)
    }
}
