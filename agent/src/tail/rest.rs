//! Containers at rest: all that there is of them is read and acknowledged, and nothing was written to them for a while.
//!
//! Most containers of a node are. Of one at rest only that is kept by which its files are known again, and the descriptor of the live one; how far that was
//! read, with what stamps and labels, stands in the table of positions. Once its size or time of change is another one, or a listing tells something new, it
//! is read on as after a restart of the agent. Where descriptors are scarce the live file is closed as well, and its path is looked at instead.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::balance::{BalancePart, FileEnd};
use super::container::{CompressedFile, ContainerTail, FinishedFile};
use super::file::TailFile;
use super::handover::{HandedContainer, HandedFile};
use super::worker::{Running, next_on_grid};
use crate::discover::listing::{ContainerListing, SeenContainer, SeenFile, Source};
use crate::discover::paths::{FileRole, LogFileName};
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{ContainerPath, FileEntry, FileId, PositionsTable, Progress, SlimArc};

/// What is kept of a container. There may be ten thousand.
#[derive(Debug)]
pub(super) struct Resting {
    directory: Arc<Path>,
    /// `None`: all of its files are finished.
    live: Option<LiveFile>,
    past: Option<Box<Past>>,
}

/// A live file, as it was when it was read to its end.
#[derive(Debug)]
struct LiveFile {
    id: FileId,
    /// `None`: closed.
    file: Option<File>,
    /// As the table has it, if it has it as it is.
    entry: SlimArc<FileEntry>,
    modified: SystemTime,
}

/// Files before the live one that are still there, as the container knew them.
#[derive(Debug, Default)]
struct Past {
    finished: Vec<FinishedFile>,
    compressed: BTreeMap<(u64, u64), CompressedFile>,
    remembered: Vec<(FileId, SlimArc<FileEntry>)>,
}

impl LiveFile {
    fn identity(&self) -> (u64, u64) {
        (self.entry.device, self.entry.inode)
    }

    /// All of it was read.
    fn size(&self) -> u64 {
        self.entry.progress.offset
    }

    fn is(&self, seen: &SeenFile) -> bool {
        let is_it = self.identity() == (seen.device, seen.inode) && seen.name.role == FileRole::Live;
        is_it && (self.size(), self.modified) == (seen.size, seen.modified)
    }

    fn is_as_before(&self, metadata: &Metadata) -> bool {
        let is_it = self.identity() == (metadata.dev(), metadata.ino()) && metadata.len() == self.size();
        is_it && metadata.modified().is_ok_and(|modified| modified == self.modified)
    }

    /// As it was when its container went to rest, for a look to tell what changed; `None` if it was closed.
    fn reopened(mut self, entry: Option<&FileEntry>, container: &ContainerTail, now: Instant) -> io::Result<Option<TailFile>> {
        let Some(file) = self.file.take() else { return Ok(None) };
        let start = match entry {
            Some(entry) => entry.progress.clone(),
            // It was empty.
            None => Progress::start(container.last_stamp_of(self.entry.instance.number)),
        };
        let name = LogFileName::live(self.entry.instance.number);
        let file = TailFile::new(self.id, file, &self.entry.name, name, start, now)?;
        Ok(Some(file.seen_before(self.size(), self.modified, entry.map(|entry| entry.fingerprint).unwrap_or_default())))
    }
}

impl Resting {
    fn is_open(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.file.is_some())
    }

    /// Looks at the live file, by its descriptor or by its name. An error shows again when it is read.
    fn is_as_before(&self) -> bool {
        self.live.as_ref().is_none_or(|live| {
            let metadata = live.file.as_ref().map_or_else(|| self.directory.join(&*live.entry.name).symlink_metadata(), File::metadata);
            metadata.is_ok_and(|metadata| live.is_as_before(&metadata))
        })
    }

    fn close(&mut self) {
        self.live.iter_mut().for_each(|live| live.file = None);
    }

    /// Whether a listing says nothing that it does not know.
    pub(super) fn knows_all_of(&self, listing: &ContainerListing) -> bool {
        let is_live = |seen: &SeenFile| self.live.as_ref().is_some_and(|live| live.is(seen));
        let is_past = |seen: &SeenFile| self.past.as_ref().is_some_and(|past| past.knows(seen));
        let is_new_interim =
            |seen: &SeenFile| seen.is_interim && self.live.as_ref().is_none_or(|live| live.identity() != (seen.device, seen.inode));
        let is_live_there = self.live.is_none() || listing.files.iter().any(is_live);
        !listing.is_gone && is_live_there && listing.files.iter().all(|seen| is_live(seen) || is_past(seen) || is_new_interim(seen))
    }

    /// Its open file goes on over a reload.
    pub(super) fn into_handed(self, path: &ContainerPath) -> HandedContainer {
        let SeenContainer { directory, source, .. } = container_of(ContainerPath::clone(path), self.directory);
        let handed = |live: LiveFile| {
            let parsed_name = LogFileName::live(live.entry.instance.number);
            Some(HandedFile { file: live.file?, name: live.entry.name.to_string(), parsed_name })
        };
        HandedContainer { directory, source, files: self.live.and_then(handed).into_iter().collect() }
    }
}

impl Past {
    fn knows(&self, seen: &SeenFile) -> bool {
        let is_copy = self.compressed.get(&(seen.device, seen.inode)).is_some_and(|known| known.is_settled && known.size == seen.size);
        is_copy || self.finished.iter().any(|file| file.is_still(seen))
    }

    fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.compressed.is_empty() && self.remembered.is_empty()
    }
}

fn container_of(path: ContainerPath, directory: Arc<Path>) -> SeenContainer {
    SeenContainer::of_path(path, directory).expect("it was read under this path")
}

impl ContainerTail {
    /// Whether there is nothing to be done about it: all of it is read and acknowledged, nothing is pending.
    pub(super) fn may_rest(&self, positions: &PositionsTable) -> bool {
        let is_pod = matches!(self.source, Source::Container { .. });
        let has_pending = self.state.as_deref().is_some_and(|(_, state)| state.has_pending() || state.frozen.is_some());
        if !is_pod || !self.has_nothing_to_do() || has_pending {
            return false;
        }
        let mut files = self.files.iter();
        match (files.next(), files.next()) {
            (None, _) => true,
            (Some(_), Some(_)) => false,
            (Some(live), None) => {
                let is_live = live.parsed_name.role == FileRole::Live && live.links > 0 && live.compressed_copy.is_none();
                let is_read = live.is_drained() && live.offset == live.size && live.cuts.is_empty();
                is_live && is_read && (live.size == 0 || positions.acknowledged(live.id) == Some(live.offset))
            }
        }
    }

    /// What is kept of it. To be called when it [may rest](Self::may_rest): then all else that is to be known of it stands in the table.
    fn into_resting(mut self, positions: &SharedPositions, keeps_open: bool) -> (ContainerPath, Resting, Option<BalancePart>) {
        let mut balance = None;
        let live = self.files.pop_front().and_then(|mut file| {
            balance = Some(std::mem::take(&mut file.balance).finish(file.id, FileEnd::Drained));
            let (id, size, modified) = (file.id, file.size, file.modified());
            let known = positions.lock().entry(id).filter(|entry| *entry.name == *file.name && entry.progress.offset == size);
            let as_it_is = || file.entry(&self.path, Progress { offset: size, ..file.start.clone() });
            let entry = known.unwrap_or_else(|| SlimArc::new(as_it_is()));
            let HandedFile { file, .. } = file.into_handed()?;
            Some(LiveFile { id, file: keeps_open.then_some(file), entry, modified })
        });
        let past = Past { finished: self.finished, compressed: self.compressed, remembered: self.remembered };
        let past = (!past.is_empty()).then(|| Box::new(past));
        (self.path, Resting { directory: self.directory, live, past }, balance)
    }

    /// A container that was at rest; `entry`: what the table has of its live file.
    fn woken(path: ContainerPath, resting: Resting, entry: Option<SlimArc<FileEntry>>, now: Instant) -> Self {
        let container = container_of(path, resting.directory);
        let past = resting.past.map(|past| *past).unwrap_or_default();
        let mut woken = Self::new(container, past.remembered, now);
        (woken.is_listed, woken.was_at_rest) = (true, true);
        (woken.finished, woken.compressed) = (past.finished, past.compressed);
        let Some(live) = resting.live else { return woken };
        let id = live.id;
        match (live.reopened(entry.as_deref(), &woken, now), entry) {
            (Ok(Some(file)), _) => woken.enqueue(file),
            // Closed: to be found again by inode and head.
            (_, entry) => {
                woken.remembered.extend(entry.map(|entry| (id, entry)));
                woken.needs_listing = true;
            }
        }
        woken
    }
}

impl Running {
    /// Looks at all containers at rest, and lets those rest to which nothing was written for long.
    pub(super) fn look_at_resting(&mut self, now: Instant) {
        self.next_resting_look = next_on_grid(self.started, now, self.worker.quiet_pace());
        self.counts.looks += self.resting.len() as u64;
        let changed = self.resting.iter().filter(|(_, resting)| !resting.is_as_before());
        let changed: Vec<ContainerPath> = changed.map(|(path, _)| ContainerPath::clone(path)).collect();
        for path in changed {
            self.wake(&path, now);
        }
        if self.worker.streams.is_some() {
            // Its streams would be another's when it is read on.
            return;
        }
        let quiet_after = self.worker.timing.quiet_after;
        let is_quiet = |container: &ContainerTail| now.saturating_duration_since(container.last_activity) >= quiet_after;
        self.let_rest(self.that_may_rest(is_quiet), true);
    }

    /// Closes up to `count` files that are read and acknowledged, those first to which nothing was written for longest.
    pub(super) fn close_quiet_files(&mut self, count: usize) {
        let mut open: Vec<&mut Resting> =
            self.resting.values_mut().map(|resting| &mut **resting).filter(|resting| resting.is_open()).collect();
        open.sort_unstable_by_key(|resting| resting.live.as_ref().map(|live| live.modified));
        let closed = open.len().min(count);
        open.into_iter().take(count).for_each(Resting::close);
        self.resting_open -= closed;
        let mut quiet = self.that_may_rest(|container| container.open_files() > 0);
        let last_activity = |index: &usize| self.containers[*index].last_activity;
        quiet.sort_by_key(last_activity);
        quiet.truncate(count - closed);
        self.let_rest(quiet, false);
    }

    fn that_may_rest(&self, is_meant: impl Fn(&ContainerTail) -> bool) -> Vec<usize> {
        let mut meant = self.containers.iter().enumerate().filter(|(_, container)| is_meant(container)).peekable();
        if meant.peek().is_none() {
            return Vec::new();
        }
        let positions = self.worker.positions.lock();
        meant.filter(|(_, container)| container.may_rest(&positions)).map(|(index, _)| index).collect()
    }

    fn let_rest(&mut self, containers: Vec<usize>, keeps_open: bool) {
        if containers.is_empty() {
            return;
        }
        for container in self.take_out(&containers) {
            let (path, resting, balance) = container.into_resting(&self.worker.positions, keeps_open);
            balance.into_iter().for_each(|part| self.worker.outgoing.batch.balance(part));
            self.resting_open += usize::from(resting.is_open());
            if let Some(live) = &resting.live {
                self.worker.metrics.files.rest(&self.worker.clients, &path, (&resting.directory, &live.entry));
            }
            self.worker.metrics.resting_containers.inc();
            self.resting.insert(path, Box::new(resting));
        }
        // After the start most containers are.
        self.by_path.shrink_to(2 * self.by_path.len());
    }

    /// Reads a container on that is at rest; where it stands then.
    pub(super) fn wake(&mut self, path: &str, now: Instant) -> Option<usize> {
        let (path, resting) = self.resting.remove_entry(path)?;
        self.worker.metrics.resting_containers.dec();
        self.resting_open -= usize::from(resting.is_open());
        let live = resting.live.as_ref().map(|live| live.id);
        let entry = live.and_then(|live| self.worker.positions.lock().entry(live));
        Some(self.begin_with(ContainerTail::woken(path, *resting, entry, now)))
    }
}
