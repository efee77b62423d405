//! inotify on directories: says where something was created, removed, renamed, or closed after writing.
//!
//! Data is found by polling sizes, so only these kinds of event are asked of the kernel. Lost events and failed watches show as flags; the
//! scanner then scans. Nothing is ever required of this: with no watch at all the scans do the work.
//!
//! A scan need not list a watched directory in which nothing changed. Any name that comes, goes or becomes another moves the directory's time of change
//! (`ctime`), which nobody can set. It is told in steps: a tick of the kernel's clock, with some file systems up to two seconds. So a directory counts as
//! unchanged only if it had stood still for longer than such a step when it was listed, since any later change then gives it another time.

use std::collections::HashMap;
use std::fs::Metadata;
use std::num::NonZeroI64;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use notify::event::{AccessKind, AccessMode, EventKindMask};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock;

/// The longest step of a file system's clock, in nanoseconds.
const LONGEST_STEP: i64 = 2_000_000_000;

/// Something changed at `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    /// A writer closed the file.
    pub(crate) is_close: bool,
}

/// A hash of device, inode and birth: a directory that was deleted and made again is another one, also where it was given the same inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64);

/// What a look at a directory that is watched says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is watched only now.
    New,
    /// Something in it may have changed since it was listed.
    Changed,
    /// It is as it was when it was listed.
    AsListed,
}

#[derive(Debug)]
struct Watched {
    identity: Identity,
    /// Its time of change at the last look, as a stamp; none if that was too short a time before to tell it from a later one.
    changed: Option<NonZeroI64>,
    /// It was listed since it had this time of change.
    is_listed: bool,
    /// The last round in which it was looked at.
    round: u32,
}

/// The watches of one process.
#[derive(Debug)]
pub(crate) struct DirectoryWatches {
    watcher: RecommendedWatcher,
    /// By paths that others keep as well: there may be ten thousand.
    watched: HashMap<Arc<Path>, Watched>,
    must_rescan: Arc<AtomicBool>,
    round: u32,
}

impl DirectoryWatches {
    /// Changes are sent to `changes`; when it is full, a rescan is asked for instead.
    pub(crate) fn new(changes: SyncSender<Change>) -> notify::Result<Self> {
        let must_rescan = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&must_rescan);
        let kinds = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME | EventKindMask::ACCESS_CLOSE;
        let config = Config::default().with_event_kinds(kinds).with_follow_symlinks(false);
        let handler = move |event: notify::Result<Event>| {
            if is_lost(event, &changes) {
                flag.store(true, Ordering::Release);
            }
        };
        let watcher = RecommendedWatcher::new(handler, config)?;
        Ok(Self { watcher, watched: HashMap::new(), must_rescan, round: 0 })
    }

    /// Watches a directory, unless it is watched. A new one must be listed once more.
    pub(crate) fn watch<P: AsRef<Path> + Into<Arc<Path>>>(&mut self, path: P) -> notify::Result<Standing> {
        let directory = path.as_ref();
        // Looked at before the watch: should another directory come in between, it is watched again.
        let (identity, changed) = look(directory);
        let round = self.round;
        match self.watched.get_mut(directory) {
            Some(known) if identity == Some(known.identity) => {
                known.is_listed &= changed == known.changed;
                (known.changed, known.round) = (changed, round);
                return Ok(if known.is_listed { Standing::AsListed } else { Standing::Changed });
            }
            Some(_) => self.forget(directory),
            None => {}
        }
        self.watcher.watch(directory, RecursiveMode::NonRecursive)?;
        self.watched.insert(path.into(), Watched { identity: identity.unwrap_or(Identity(0)), changed, is_listed: false, round });
        Ok(Standing::New)
    }

    /// A watched directory's path, as it is kept.
    pub(crate) fn watched(&self, directory: &Path) -> Option<Arc<Path>> {
        self.watched.get_key_value(directory).map(|(path, _)| Arc::clone(path))
    }

    /// A directory was listed after the last look at it, and nothing in it is to be asked again unless it changes.
    pub(crate) fn listed(&mut self, directory: &Path) {
        if let Some(watched) = self.watched.get_mut(directory) {
            watched.is_listed = watched.changed.is_some();
        }
    }

    /// Forgets a directory that is gone, so that one of the same name is watched anew.
    pub(crate) fn forget(&mut self, directory: &Path) {
        if self.watched.remove(directory).is_some() && self.watcher.unwatch(directory).is_err() {
            // The kernel dropped the watch with the directory.
            tracing::trace!(directory = %directory.display(), "watch was gone");
        }
    }

    /// From now on directories are looked at once more.
    pub(crate) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Directories that were not looked at in this round.
    pub(crate) fn not_looked_at(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.watched.iter().filter(|(_, watched)| watched.round != self.round).map(|(path, _)| path)
    }

    /// Whether events were lost since the last call.
    pub(crate) fn take_must_rescan(&self) -> bool {
        self.must_rescan.swap(false, Ordering::AcqRel)
    }
}

/// Sends what an event tells to `changes`. Returns whether anything was lost: here, or before it in the kernel's queue.
fn is_lost(event: notify::Result<Event>, changes: &SyncSender<Change>) -> bool {
    match event {
        Ok(event) if event.need_rescan() => true,
        Ok(event) => {
            let is_close = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
            event.paths.into_iter().any(|path| changes.try_send(Change { path, is_close }).is_err())
        }
        Err(_) => true,
    }
}

/// Who a directory is, if it is there, and when it changed last, if that is long enough ago.
fn look(directory: &Path) -> (Option<Identity>, Option<NonZeroI64>) {
    let Some(metadata) = directory.metadata().ok().filter(Metadata::is_dir) else { return (None, None) };
    let changed = metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec());
    let has_stood_still = clock::now().saturating_sub(changed) >= LONGEST_STEP;
    let birth = metadata.created().map_or(0, clock::nanoseconds);
    let who = [metadata.dev().to_le_bytes(), metadata.ino().to_le_bytes(), birth.to_le_bytes()].concat();
    (Some(Identity(xxh3_64(&who))), NonZeroI64::new(changed).filter(|_| has_stood_still))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, Flag};
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    #[test]
    fn creation_rename_and_close_are_told_with_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, changes) = sync_channel(100);
        let mut watches = DirectoryWatches::new(sender).unwrap();
        assert_eq!(watches.watch(directory.path()).unwrap(), Standing::New);
        assert_eq!(watches.watch(directory.path()).unwrap(), Standing::Changed);
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
            assert_eq!(watches.watch(directory.as_path()).unwrap(), Standing::New);
            std::fs::remove_dir(&directory).unwrap();
            // Births are told to a tick of the kernel's clock.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_directory_is_as_listed_until_a_name_in_it_changes_if_it_had_stood_still() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let stand_still = || std::thread::sleep(Duration::from_nanos(LONGEST_STEP.unsigned_abs()) + Duration::from_millis(50));
        let mut watches = DirectoryWatches::new(sync_channel(1000).0).unwrap();
        watches.watch(directory.path()).unwrap();
        watches.listed(directory.path());
        stand_still();
        assert_eq!(watches.watch(directory.path()).unwrap(), Standing::Changed, "it had not stood still when it was listed");
        let changes: [(&str, &dyn Fn()); 3] = [
            ("creation", &|| drop(std::fs::File::create(path("0.log")).unwrap())),
            ("rename", &|| std::fs::rename(path("0.log"), path("1.log")).unwrap()),
            ("deletion", &|| std::fs::remove_file(path("1.log")).unwrap()),
        ];
        for (what, change) in changes {
            watches.listed(directory.path());
            assert_eq!(watches.watch(directory.path()).unwrap(), Standing::AsListed, "before the {what}");
            change();
            assert_eq!(watches.watch(directory.path()).unwrap(), Standing::Changed, "{what}");
            watches.listed(directory.path());
            stand_still();
            assert_eq!(watches.watch(directory.path()).unwrap(), Standing::Changed, "soon after the {what}");
        }
    }

    #[test]
    fn directories_that_a_round_leaves_out_are_told() {
        let parent = tempfile::tempdir().unwrap();
        let mut watches = DirectoryWatches::new(sync_channel(1000).0).unwrap();
        let [kept, left] = ["kept", "left"].map(|name| parent.path().join(name));
        for directory in [&kept, &left] {
            std::fs::create_dir(directory).unwrap();
            watches.watch(directory.as_path()).unwrap();
        }
        watches.begin_round();
        watches.watch(kept.as_path()).unwrap();
        assert_eq!(watches.not_looked_at().map(|path| &**path).collect::<Vec<_>>(), [&left]);
    }

    #[test]
    fn what_the_kernel_lost_and_what_failed_asks_for_a_rescan_and_nothing_else_does() {
        let (sender, changes) = sync_channel(10);
        let created = || Event::new(EventKind::Create(CreateKind::File)).add_path(PathBuf::from("/pods/0.log"));
        assert!(!is_lost(Ok(created()), &sender));
        assert_eq!(changes.try_recv().unwrap(), Change { path: PathBuf::from("/pods/0.log"), is_close: false });
        assert!(is_lost(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), &sender));
        assert!(is_lost(Ok(created().set_flag(Flag::Rescan)), &sender));
        assert!(is_lost(Err(notify::Error::generic("on purpose")), &sender));
        assert!(changes.try_recv().is_err());
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
