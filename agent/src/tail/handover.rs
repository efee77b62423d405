//! Open files that readers hand to those that come after them, at a reload or when clients that were read for together go on by themselves.
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
    fn again(&self) -> Option<Self> {
        let file = self.file.try_clone();
        let file = file.inspect_err(|error| tracing::warn!(file = self.name, error = %error, "cannot hand an open file over twice"));
        Some(Self { file: file.ok()?, name: self.name.clone(), parsed_name: self.parsed_name.clone() })
    }

    fn is_same(&self, other: &Self) -> bool {
        let identity = |file: &File| file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        identity(&self.file).is_some_and(|own| identity(&other.file) == Some(own))
    }

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

/// What was left for whoever reads for a client.
type Left = Arc<Mutex<HashMap<ContainerPath, HandedContainer>>>;

impl HandedContainer {
    fn again(&self) -> Self {
        let files = self.files.iter().filter_map(HandedFile::again).collect();
        Self { directory: Arc::clone(&self.directory), source: self.source.clone(), files }
    }
}

/// Where readers of one pass over the files leave them, and find them.
#[derive(Debug, Clone)]
pub(crate) struct Handover {
    /// For each client that the pass reads for.
    left: Vec<Left>,
    asks: Arc<Mutex<Asks>>,
}

impl Default for Handover {
    fn default() -> Self {
        Self { left: vec![Left::default()], asks: Arc::default() }
    }
}

/// Listings that readers ask for, and when at the latest; `None`: with the next scan.
type Asks = HashMap<ContainerPath, Option<Instant>>;

impl Handover {
    /// That of a pass which reads for several clients.
    pub(crate) fn together(all: impl IntoIterator<Item = Self>) -> Self {
        Self { left: all.into_iter().flat_map(|handover| handover.left).collect(), asks: Arc::default() }
    }

    pub(super) fn leave(&self, path: ContainerPath, container: HandedContainer) {
        if container.files.is_empty() {
            return;
        }
        let (last, others) = self.left.split_last().expect("a pass reads for somebody");
        for left in others {
            left.lock().insert(ContainerPath::clone(&path), container.again());
        }
        last.lock().insert(path, container);
    }

    pub(super) fn take(&self, path: &str) -> Vec<HandedFile> {
        let taken = self.left.iter().filter_map(|left| left.lock().remove(path));
        let mut files: Vec<HandedFile> = Vec::new();
        for file in taken.flat_map(|container| container.files) {
            if !files.iter().any(|other| other.is_same(&file)) {
                files.push(file);
            }
        }
        files
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.left.iter().any(|left| left.lock().contains_key(path))
    }

    /// Containers that left deleted files and are not among those that `is_listed` knows, with where they were and what they are. What was only left out by
    /// the new configuration is none of them.
    pub(crate) fn unlisted(&self, is_listed: impl Fn(&str) -> bool) -> Vec<SeenContainer> {
        let has_deleted = |container: &HandedContainer| container.files.iter().any(HandedFile::is_deleted);
        let seen = |(path, container): (&ContainerPath, &HandedContainer)| SeenContainer {
            path: ContainerPath::clone(path),
            directory: Arc::clone(&container.directory),
            source: container.source.clone(),
        };
        let mut unlisted: Vec<SeenContainer> = Vec::new();
        for left in &self.left {
            let left = left.lock();
            let others = left.iter().filter(|(path, container)| !is_listed(path) && has_deleted(container)).map(seen);
            unlisted.extend(others.filter(|container| unlisted.iter().all(|known| known.path != container.path)).collect::<Vec<_>>());
        }
        unlisted
    }

    /// Asks for a listing of `path` with the next scan, even if nothing in it is new: its reader begins anew.
    pub(super) fn ask_for_listing(&self, path: &ContainerPath) {
        self.asks.lock().entry(ContainerPath::clone(path)).or_default();
    }

    /// The same, and not later than at `due`, as nothing may tell that it can be read again.
    pub(crate) fn ask_for_listing_at(&self, path: &ContainerPath, due: Instant) {
        let mut asks = self.asks.lock();
        let known = asks.entry(ContainerPath::clone(path)).or_default();
        *known = Some(known.map_or(due, |other| other.min(due)));
    }

    /// Of which a listing is due.
    pub(crate) fn due_asks(&self, now: Instant) -> Vec<ContainerPath> {
        let asks = self.asks.lock();
        let due = asks.iter().filter(|(_, due)| due.is_some_and(|due| due <= now));
        due.map(|(path, _)| ContainerPath::clone(path)).collect()
    }

    /// Whether that was asked since the last time.
    pub(crate) fn take_ask(&self, path: &str) -> bool {
        self.asks.lock().remove(path).is_some()
    }

    /// The same, and it stays asked.
    pub(crate) fn is_asked(&self, path: &str) -> bool {
        self.asks.lock().contains_key(path)
    }

    /// Closes what a container left: nobody reads it any more.
    pub(crate) fn close(&self, path: &str) {
        self.left.iter().for_each(|left| drop(left.lock().remove(path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::paths::PodDirectory;

    #[test]
    fn what_one_pass_left_for_several_clients_each_finds_and_one_pass_for_all_finds_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, "text").unwrap();
        let (one, other) = (Handover::default(), Handover::default());
        let left = || HandedContainer {
            directory: directory.path().into(),
            source: Source::Container { pod: Arc::new(PodDirectory::parse("n_p_u").unwrap()), container: "c".into() },
            files: vec![HandedFile { file: File::open(&path).unwrap(), name: "0.log".to_owned(), parsed_name: LogFileName::live(0) }],
        };
        let (both, group) = (Handover::together([one.clone(), other.clone()]), ContainerPath::from("c"));
        both.leave(group.clone(), left());
        std::fs::remove_file(&path).unwrap();
        for client in [&one, &other] {
            assert_eq!((client.unlisted(|_| false).len(), client.unlisted(|path| path == "c").len()), (1, 0));
            assert!(client.has("c") && client.take("c").len() == 1 && !client.has("c"));
        }
        std::fs::write(&path, "text").unwrap();
        both.leave(group, left());
        assert_eq!((both.take("c").len(), both.take("c").len()), (1, 0));
    }
}
