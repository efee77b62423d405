//! inotify on directories: says where something was created, removed, renamed, or closed after writing.
//!
//! Data is found by polling sizes, so only these kinds of event are asked of the kernel. Lost events and failed watches show as flags; the
//! scanner then scans. Nothing is ever required of this: with no watch at all the scans do the work.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode, EventKindMask};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Something changed at `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    /// A writer closed the file.
    pub(crate) is_close: bool,
}

/// Device, inode and birth: a directory that was deleted and made again is another one, also where it was given the same inode.
type Identity = (u64, u64, Option<SystemTime>);

/// The watches of one process.
#[derive(Debug)]
pub(crate) struct DirectoryWatches {
    watcher: RecommendedWatcher,
    watched: HashMap<PathBuf, Identity>,
    must_rescan: Arc<AtomicBool>,
}

impl DirectoryWatches {
    /// Changes are sent to `changes`; when it is full, a rescan is asked for instead.
    pub(crate) fn new(changes: SyncSender<Change>) -> notify::Result<Self> {
        let must_rescan = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&must_rescan);
        let kinds = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME | EventKindMask::ACCESS_CLOSE;
        let config = Config::default().with_event_kinds(kinds).with_follow_symlinks(false);
        let handler = move |event: notify::Result<Event>| {
            let is_lost = match event {
                Ok(event) if event.need_rescan() => true,
                Ok(event) => {
                    let is_close = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
                    event.paths.into_iter().any(|path| changes.try_send(Change { path, is_close }).is_err())
                }
                Err(_) => true,
            };
            if is_lost {
                flag.store(true, Ordering::Release);
            }
        };
        let watcher = RecommendedWatcher::new(handler, config)?;
        Ok(Self { watcher, watched: HashMap::new(), must_rescan })
    }

    /// Watches a directory. Returns whether it is newly watched, and so must be listed once more.
    pub(crate) fn watch(&mut self, directory: &Path) -> notify::Result<bool> {
        // Taken before the watch: should another directory come in between, it is watched again.
        let identity = identity(directory);
        match self.watched.get(directory) {
            Some(known) if identity == Some(*known) => return Ok(false),
            Some(_) => self.forget(directory),
            None => {}
        }
        self.watcher.watch(directory, RecursiveMode::NonRecursive)?;
        self.watched.insert(directory.to_owned(), identity.unwrap_or((0, 0, None)));
        Ok(true)
    }

    /// Forgets a directory that is gone, so that one of the same name is watched anew.
    pub(crate) fn forget(&mut self, directory: &Path) {
        if self.watched.remove(directory).is_some() && self.watcher.unwatch(directory).is_err() {
            // The kernel dropped the watch with the directory.
            tracing::trace!(directory = %directory.display(), "watch was gone");
        }
    }

    pub(crate) fn watched(&self) -> impl Iterator<Item = &PathBuf> {
        self.watched.keys()
    }

    /// Whether events were lost since the last call.
    pub(crate) fn take_must_rescan(&self) -> bool {
        self.must_rescan.swap(false, Ordering::AcqRel)
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = directory.metadata().ok()?;
    metadata.is_dir().then(|| (metadata.dev(), metadata.ino(), metadata.created().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    #[test]
    fn creation_rename_and_close_are_told_with_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, changes) = sync_channel(100);
        let mut watches = DirectoryWatches::new(sender).unwrap();
        assert!(watches.watch(directory.path()).unwrap());
        assert!(!watches.watch(directory.path()).unwrap());
        let (live, rotated) = (directory.path().join("0.log"), directory.path().join("0.log.20261121-090000"));
        let file = std::fs::File::create(&live).unwrap();
        std::fs::rename(&live, &rotated).unwrap();
        drop(file);
        let close = Change { path: rotated, is_close: true };
        let seen = std::iter::from_fn(|| changes.recv_timeout(Duration::from_secs(10)).ok()).find(|change| change.is_close);
        assert_eq!(seen, Some(close));
    }

    #[test]
    fn a_directory_made_again_is_watched_again_though_it_has_the_same_inode() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("pods");
        let mut watches = DirectoryWatches::new(sync_channel(1000).0).unwrap();
        for _ in 0..10 {
            std::fs::create_dir(&directory).unwrap();
            assert!(watches.watch(&directory).unwrap());
            std::fs::remove_dir(&directory).unwrap();
            // Births are told to a tick of the kernel's clock.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_full_queue_asks_for_a_rescan() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, changes) = sync_channel(1);
        let mut watches = DirectoryWatches::new(sender).unwrap();
        watches.watch(directory.path()).unwrap();
        for number in 0..50 {
            std::fs::write(directory.path().join(number.to_string()), b"").unwrap();
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !watches.take_must_rescan() {
            assert!(std::time::Instant::now() < deadline, "no rescan asked for");
            std::thread::yield_now();
        }
        drop(changes);
    }
}
