//! Open files that a reload hands to the readers that come after it.
//!
//! A new configuration begins with new readers, which find files by their names. A file that was deleted meanwhile has none, and its bytes are on the
//! node only as long as a descriptor is open: so readers that end leave the descriptors of what they had not finished, and the first listing of the same
//! container takes them up again, before everything else and at the offsets of the positions. What nobody takes up is closed with the next reload or the
//! end.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::discover::listing::{SeenContainer, SeenFile, Source};
use crate::discover::paths::LogFileName;
use crate::positions::table::ContainerPath;

/// A descriptor, and the name that its file had last.
#[derive(Debug)]
pub(crate) struct HandedFile {
    pub(crate) file: File,
    pub(crate) name: String,
    pub(crate) parsed_name: LogFileName,
}

impl HandedFile {
    pub(super) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// As a listing would show it. `None` if it cannot be looked at any more.
    pub(super) fn as_seen(&self) -> Option<SeenFile> {
        let metadata = self.file.metadata().ok()?;
        Some(SeenFile::new(self.name.clone(), self.parsed_name.clone(), &metadata))
    }
}

/// What one container leaves.
#[derive(Debug)]
pub(crate) struct HandedContainer {
    pub(crate) directory: Arc<Path>,
    pub(crate) source: Source,
    /// In the order in which they are read.
    pub(crate) files: Vec<HandedFile>,
}

/// Where readers of one pass over the files leave them, and find them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handover(Arc<Mutex<HashMap<ContainerPath, HandedContainer>>>, Arc<Mutex<Asks>>);

/// Listings that readers ask for, and when at the latest; `None`: with the next scan.
type Asks = HashMap<ContainerPath, Option<Instant>>;

impl Handover {
    pub(super) fn leave(&self, path: ContainerPath, container: HandedContainer) {
        if !container.files.is_empty() {
            self.0.lock().insert(path, container);
        }
    }

    pub(super) fn take(&self, path: &str) -> Vec<HandedFile> {
        self.0.lock().remove(path).map(|container| container.files).unwrap_or_default()
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.lock().contains_key(path)
    }

    /// Containers that left deleted files and are not among those that `is_listed` knows, with where they were and what they are. What was only left out by
    /// the new configuration is none of them.
    pub(crate) fn unlisted(&self, is_listed: impl Fn(&str) -> bool) -> Vec<SeenContainer> {
        let handed = self.0.lock();
        let has_deleted = |container: &HandedContainer| container.files.iter().any(HandedFile::is_deleted);
        let unlisted = handed.iter().filter(|(path, container)| !is_listed(path) && has_deleted(container));
        let seen = |(path, container): (&ContainerPath, &HandedContainer)| SeenContainer {
            path: ContainerPath::clone(path),
            directory: Arc::clone(&container.directory),
            source: container.source.clone(),
        };
        unlisted.map(seen).collect()
    }

    /// Asks for a listing of `path` with the next scan, even if nothing in it is new: its reader begins anew.
    pub(super) fn ask_for_listing(&self, path: &ContainerPath) {
        self.1.lock().entry(ContainerPath::clone(path)).or_default();
    }

    /// The same, and not later than at `due`, as nothing may tell that it can be read again.
    pub(crate) fn ask_for_listing_at(&self, path: &ContainerPath, due: Instant) {
        let mut asks = self.1.lock();
        let known = asks.entry(ContainerPath::clone(path)).or_default();
        *known = Some(known.map_or(due, |other| other.min(due)));
    }

    /// Of which a listing is due.
    pub(crate) fn due_asks(&self, now: Instant) -> Vec<ContainerPath> {
        let asks = self.1.lock();
        let due = asks.iter().filter(|(_, due)| due.is_some_and(|due| due <= now));
        due.map(|(path, _)| ContainerPath::clone(path)).collect()
    }

    /// Whether that was asked since the last time.
    pub(crate) fn take_ask(&self, path: &str) -> bool {
        self.1.lock().remove(path).is_some()
    }

    /// The same, and it stays asked.
    pub(crate) fn is_asked(&self, path: &str) -> bool {
        self.1.lock().contains_key(path)
    }

    /// Closes what a container left: nobody reads it any more.
    pub(crate) fn close(&self, path: &str) {
        self.0.lock().remove(path);
    }
}
