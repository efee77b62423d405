//! The thread that knows the tree: a full scan at start and every interval, single directories when a watch says so.
//!
//! Each container directory belongs to one worker, chosen by a hash of its path. A newly watched directory is listed after its watch exists, so that
//! nothing made before it is missed. If watching fails, scans come more often and a gauge says so.
//!
//! A scan looks at every directory and lists those that may have changed ([`super::watch`]); of a container with one file its size is compared as well. At
//! start, after lost events and every few minutes a scan lists them all, whatever times of change say.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use xxhash_rust::xxh3::xxh3_64;

use super::clock_jumps::ClockJumps;
use super::listing::{self, ContainerListing, Ignored, SeenContainer, SeenPod, Source};
use super::paths::{self, LogFileName, PodDirectory};
use super::pod_news::PodNews;
use super::scanning::{Fate, Scanning};
use super::selection::{PodLabels, Selection};
use super::told::Told;
use super::watch::{Change, DirectoryWatches, Standing};
use crate::enrich::pods::PodCache;
use crate::observe::heartbeats::Heartbeat;
use crate::positions::table::{ContainerPath, FileEntry};
use crate::tail::worker::Command;

/// Changes told and not yet looked at.
const CHANGE_QUEUE: usize = 4096;
/// At most this long between two looks at the flags.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Before a directory is listed again that could not be.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between two scans that list every directory.
const LIST_ALL_EVERY: Duration = Duration::from_secs(300);

pub(crate) struct Scanner {
    pub(crate) root: PathBuf,
    pub(crate) selection: Selection,
    /// What the API tells of pods' labels, for the selection; absent without one.
    pub(crate) pods: Option<Arc<RwLock<PodCache>>>,
    /// How long labels are awaited.
    pub(crate) metadata_wait: Duration,
    /// Where links may lead to.
    pub(crate) docker_root: Option<PathBuf>,
    /// What the API tells of pods.
    pub(crate) news: PodNews,
    pub(crate) scanning: Scanning,
}

struct Running {
    scanner: Scanner,
    watches: Option<DirectoryWatches>,
    changes: Receiver<Change>,
    /// Containers that were told to workers.
    known: BTreeMap<ContainerPath, Told>,
    /// Docker's directories, and which container's directory has the link to each.
    links: HashMap<Arc<Path>, Arc<Path>>,
    /// Directories of pods of which labels decide whether they are read, and since when those are awaited.
    undecided: HashMap<String, Instant>,
    next_scan: Instant,
    /// From then on a scan lists every directory.
    list_all_at: Instant,
    clock_jumps: ClockJumps,
    beat: Heartbeat,
    /// Not all directories are watched.
    is_degraded: bool,
}

/// What a scan, or a look at some directories, finds.
#[derive(Debug, Default)]
struct Findings {
    /// Containers that are there.
    seen: BTreeSet<ContainerPath>,
    ignored: Ignored,
    /// Directories that are as they were when they were listed are passed over.
    passes_over: bool,
}

impl Scanner {
    /// Runs until `stop` is set.
    pub(crate) fn run(self) {
        let (sender, changes) = sync_channel(CHANGE_QUEUE);
        self.news.listen(sender.clone(), self.root.clone());
        let watches = if self.scanning.timing.watch_directories { DirectoryWatches::new(sender).ok() } else { None };
        let beat = self.scanning.metrics.heartbeats.begin("scanner");
        let mut running = Running {
            beat,
            is_degraded: false,
            watches,
            changes,
            known: BTreeMap::new(),
            links: HashMap::new(),
            undecided: HashMap::new(),
            next_scan: Instant::now(),
            list_all_at: Instant::now(),
            clock_jumps: self.scanning.clock_jumps(),
            scanner: self,
        };
        while !running.scanner.scanning.stop.load(Ordering::Acquire) {
            running.beat.renew();
            running.step();
        }
        running.scanner.scanning.metrics.watch_degraded.change(&mut running.is_degraded, false);
    }
}

impl Running {
    fn step(&mut self) {
        let now = Instant::now();
        if self.watches.as_ref().is_some_and(DirectoryWatches::take_must_rescan) {
            self.scanner.scanning.metrics.inotify_overflow.inc();
            (self.next_scan, self.list_all_at) = (now, now);
        }
        if self.scanner.scanning.has_clock_jumped(&mut self.clock_jumps) {
            (self.next_scan, self.list_all_at) = (now, now);
        }
        self.list_what_was_asked(now);
        if now >= self.next_scan {
            self.scan();
            return;
        }
        let wait = self.next_scan.saturating_duration_since(now).min(MAX_WAIT);
        match self.changes.recv_timeout(wait) {
            Ok(first) => self.look_at_changes(first),
            Err(RecvTimeoutError::Timeout) => {}
            // No watcher: the timeout above does not wait.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
    }

    fn scan(&mut self) {
        #[cfg(feature = "planted-faults")]
        tailwater_planted::Fault::ScannerPanics.panics_at(3);
        let started = Instant::now();
        let mut findings = Findings { passes_over: started < self.list_all_at, ..Findings::default() };
        if !findings.passes_over {
            self.list_all_at = started + LIST_ALL_EVERY;
        }
        self.watches.iter_mut().for_each(DirectoryWatches::begin_round);
        // Without the tree there is nothing that would say when it comes again.
        let mut is_watching = self.watch(&Arc::from(&*self.scanner.root)).is_some() && self.scanner.root.is_dir();
        match listing::pods(&self.scanner.root, &mut findings.ignored) {
            Ok(pods) => {
                for name in pods {
                    let pod = SeenPod::below(&self.scanner.root, &name);
                    is_watching &= pod.is_none_or(|pod| self.look_at_pod(&pod, &mut findings));
                }
            }
            Err(error) => self.unreadable(&self.scanner.root.clone(), &error, &mut findings.ignored),
        }
        let Findings { mut seen, ignored, .. } = findings;
        self.tell_gone(&seen);
        self.forget_gone_watches();
        if !self.scanner.scanning.is_first_scan_done.swap(true, Ordering::AcqRel) {
            self.tell_handed(&mut seen);
            self.count_missing_containers(&seen);
        }
        let metrics = &self.scanner.scanning.metrics;
        metrics.watch_degraded.change(&mut self.is_degraded, !is_watching);
        metrics.scan_seconds.set(started.elapsed().as_secs_f64());
        metrics.ignored_files("symlink", ignored.symlinks);
        metrics.ignored_files("not_regular", ignored.not_regular);
        metrics.ignored_files("pod_directory_name", ignored.bad_pod_names);
        metrics.ignored_files("unreadable", ignored.unreadable);
        let timing = &self.scanner.scanning.timing;
        self.next_scan = Instant::now() + if is_watching { timing.scan_interval } else { timing.degraded_scan_interval };
        self.undecided.retain(|name, _| self.scanner.root.join(name).is_dir());
        self.scan_when_labels_are_late();
    }

    /// A container whose pod's labels did not come in time is decided without them.
    fn scan_when_labels_are_late(&mut self) {
        let now = Instant::now();
        let due = self.undecided.values().map(|since| *since + self.scanner.metadata_wait).filter(|due| *due > now).min();
        self.next_scan = due.map_or(self.next_scan, |due| self.next_scan.min(due));
    }

    /// Whether a container is to be read. One that is read already goes on: its reader leaves out lines, at a record boundary.
    fn takes(&mut self, pod: &SeenPod, container: &str) -> bool {
        let selection = &self.scanner.selection;
        if !selection.asks_for_labels() {
            return selection.takes(&pod.pod, container, PodLabels::Unknown) == Some(true);
        }
        if self.known.contains_key(&*format!("{}/{container}", pod.name)) {
            return true;
        }
        let cache = self.scanner.pods.as_ref().map(|cache| cache.read());
        if let Some(labels) = cache.as_ref().and_then(|cache| cache.labels(&pod.pod)) {
            self.undecided.remove(&pod.name);
            return selection.takes(&pod.pod, container, PodLabels::Known(labels)) == Some(true);
        }
        selection.takes(&pod.pod, container, PodLabels::Awaited).unwrap_or_else(|| {
            let since = self.undecided.entry(pod.name.clone()).or_insert_with(Instant::now);
            since.elapsed() >= self.scanner.metadata_wait && selection.takes(&pod.pod, container, PodLabels::Unknown) == Some(true)
        })
    }

    /// Looks at a pod's containers and tells their workers. Returns whether all directories are watched.
    fn look_at_pod(&mut self, pod: &SeenPod, findings: &mut Findings) -> bool {
        self.beat.renew();
        let standing = self.watch(&pod.directory);
        let mut is_watching = standing.is_some();
        let is_as_listed = findings.passes_over && standing == Some(Standing::AsListed);
        let (containers, mut is_settled) = if is_as_listed { (self.known_containers(pod), true) } else { self.list_pod(pod, findings) };
        for container in containers {
            let Source::Container { container: name, .. } = &container.source else { continue };
            if !self.takes(pod, name) {
                // What labels leave out now they may take later.
                is_settled &= !self.scanner.selection.asks_for_labels();
                continue;
            }
            let standing = self.watch(&container.directory);
            is_watching &= standing.is_some();
            if findings.passes_over && standing == Some(Standing::AsListed) && self.is_as_told(&container) {
                self.scanner.scanning.metrics.directories_unchanged.inc();
                findings.seen.insert(container.path);
            } else {
                self.list_container(&container, findings);
                is_settled &= findings.seen.contains(&container.path);
            }
        }
        if is_settled {
            self.watches.iter_mut().for_each(|watches| watches.listed(&pod.directory));
        }
        is_watching
    }

    /// A pod's containers, and whether nothing else is in the pod's directory.
    fn list_pod(&mut self, pod: &SeenPod, findings: &mut Findings) -> (Vec<SeenContainer>, bool) {
        self.scanner.scanning.metrics.directories_listed.inc();
        let mut ignored = Ignored::default();
        let containers = listing::containers(pod, &mut ignored).unwrap_or_else(|error| {
            self.unreadable(&pod.directory, &error, &mut ignored);
            Vec::new()
        });
        findings.ignored.add(ignored);
        (containers.iter().map(|name| self.seen_container(pod, name)).collect(), ignored == Ignored::default())
    }

    /// A container as it was told, if it was: what others keep of it is one text.
    fn seen_container(&self, pod: &SeenPod, name: &str) -> SeenContainer {
        let container = pod.container(name);
        let known = self.known.get_key_value(&container.path);
        known.map(|(path, _)| pod.container_at(path, &self.directory_of(path))).unwrap_or(container)
    }

    /// Of a container: as its watch has it, since there may be ten thousand.
    fn directory_of(&self, path: &str) -> Arc<Path> {
        let directory = self.scanner.root.join(path);
        let watched = self.watches.as_ref().and_then(|watches| watches.watched(&directory));
        watched.unwrap_or_else(|| directory.into())
    }

    /// A pod's containers that are read, if it is as it was when it was listed.
    fn known_containers(&self, pod: &SeenPod) -> Vec<SeenContainer> {
        self.scanner.scanning.metrics.directories_unchanged.inc();
        let prefix = format!("{}/", pod.name);
        let known =
            self.known.range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded)).take_while(|(path, _)| path.starts_with(&prefix));
        known.map(|(path, _)| pod.container_at(path, &self.directory_of(path))).collect()
    }

    /// Whether a container has one file, which is what its reader was told.
    fn is_as_told(&self, SeenContainer { path, directory, .. }: &SeenContainer) -> bool {
        let Some((name, is_told)) = self.known.get(path).and_then(Told::only_file) else { return false };
        let is_same = directory.join(name).symlink_metadata().is_ok_and(|metadata| is_told(&metadata));
        is_same && !self.scanner.scanning.handover.is_asked(path)
    }

    fn list_container(&mut self, container: &SeenContainer, findings: &mut Findings) {
        self.scanner.scanning.metrics.directories_listed.inc();
        let mut ignored = Ignored::default();
        match self.settled_listing(container, &mut ignored) {
            Ok((listing, told)) => {
                let has_links = self.watch_behind_links(&listing);
                let is_asked = self.scanner.scanning.handover.take_ask(&listing.path);
                let before = self.known.remove(&listing.path).unwrap_or_default();
                self.scanner.scanning.metrics.kubelet_keeps.see(before.names(), &listing);
                let is_news = told.is_news_after(&before) || is_asked;
                if !listing.is_gone {
                    findings.seen.insert(listing.path.clone());
                    self.know(container, told);
                }
                if !has_links && ignored == Ignored::default() {
                    self.watches.iter_mut().for_each(|watches| watches.listed(&container.directory));
                }
                if is_news {
                    self.tell(listing);
                }
            }
            Err(error) => self.unreadable(&container.directory, &error, &mut ignored),
        }
        findings.ignored.add(ignored);
    }

    /// Docker rotates its files itself, in a directory of its own. Returns whether there is one.
    fn watch_behind_links(&mut self, listing: &ContainerListing) -> bool {
        let behind = |text: &String| Path::new(text).parent().filter(|parent| parent.is_absolute()).map(Arc::<Path>::from);
        let Some(directory) = listing.files.iter().find_map(|file| behind(&file.text)) else { return false };
        // Where it cannot be watched, scans find what changed.
        self.watch(&directory);
        self.links.insert(directory, Arc::clone(&listing.directory));
        true
    }

    /// A listing made while nothing was renamed: a file may be missed that is renamed while its directory is read, and then a newer one be
    /// taken for the oldest. So a listing that says anything new must be seen twice in a row. Returns what it tells as well.
    fn settled_listing(&self, container: &SeenContainer, ignored: &mut Ignored) -> std::io::Result<(ContainerListing, Told)> {
        const TRIES: usize = 20;
        let mut before = self.known.get(&container.path).cloned().unwrap_or_default();
        for attempt in 1.. {
            let mut ignored_here = Ignored::default();
            let listing = listing::container(container, self.scanner.docker_root.as_deref(), &mut ignored_here)?;
            let now = Told::of(&listing);
            if now.names_the_same(&before) || attempt == TRIES {
                ignored.add(ignored_here);
                return Ok((listing, now));
            }
            before = now;
        }
        unreachable!("the loop above ends by returning")
    }

    fn tell(&self, listing: ContainerListing) {
        let worker = worker_of(&listing.path, self.scanner.scanning.workers.len());
        self.scanner.scanning.workers[worker].send(Command::Listing(Box::new(listing)));
    }

    /// Containers that were known and are not there any more.
    fn tell_gone(&mut self, seen: &BTreeSet<ContainerPath>) {
        let gone: Vec<_> = self.known.keys().filter(|path| !seen.contains(*path)).cloned().collect();
        for path in gone {
            self.known.remove(&path);
            let directory = self.directory_of(&path);
            let Some(container) = SeenContainer::of_path(path, directory) else { continue };
            // It may have come back, or be unreadable for now: the listing says.
            if let Ok(listing) = listing::container(&container, self.scanner.docker_root.as_deref(), &mut Ignored::default()) {
                if !listing.is_gone {
                    self.know(&container, Told::default());
                }
                self.tell(listing);
            }
        }
    }

    fn know(&mut self, container: &SeenContainer, told: Told) {
        self.known.insert(ContainerPath::clone(&container.path), told);
    }

    fn look_at_changes(&mut self, first: Change) {
        let mut directories = BTreeSet::new();
        let mut changes = vec![first];
        changes.extend(self.changes.try_iter().take(CHANGE_QUEUE));
        for change in changes {
            if change.is_close {
                self.tell_closed(&change.path);
            }
            directories.extend(self.directory_to_list(&change.path));
        }
        let mut findings = Findings::default();
        for directory in directories {
            self.list_again(&directory, &mut findings);
        }
        self.scan_when_labels_are_late();
    }

    /// The pod or container directory in which `path` changed something; the root asks for a scan.
    fn directory_to_list(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some(directory) = path.parent().and_then(|parent| self.links.get(parent)) {
            return Some(directory.to_path_buf());
        }
        let below = path.strip_prefix(&self.scanner.root).ok()?;
        match below.components().count() {
            0 => {
                self.next_scan = Instant::now();
                None
            }
            // A pod's or a container's own directory came or went.
            1 | 2 => Some(path.to_owned()),
            _ => path.parent().map(Path::to_owned),
        }
    }

    /// Lists directories again of which readers asked for that by now. Where nothing can be listed it is asked for once more, unless nothing is there.
    fn list_what_was_asked(&mut self, now: Instant) {
        let handover = self.scanner.scanning.handover.clone();
        for path in handover.due_asks(now) {
            let directory = self.scanner.root.join(&*path);
            self.list_again(&directory, &mut Findings::default());
            if handover.take_ask(&path) && directory.is_dir() {
                handover.ask_for_listing_at(&path, now + ASK_AGAIN);
            }
        }
    }

    fn list_again(&mut self, directory: &Path, findings: &mut Findings) {
        let Ok(below) = directory.strip_prefix(&self.scanner.root) else { return };
        let names: Vec<String> = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let is_directory = directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if !is_directory && let Some(watches) = &mut self.watches {
            watches.forget(directory);
        }
        let Some((name, rest)) = names.split_first() else { return };
        let Some(pod) = SeenPod::below(&self.scanner.root, name) else { return };
        match rest.first() {
            None if is_directory => {
                self.look_at_pod(&pod, findings);
            }
            None => self.next_scan = Instant::now(),
            Some(name) if !self.takes(&pod, name) => {}
            Some(name) => {
                let container = self.seen_container(&pod, name);
                if is_directory {
                    self.watch(&container.directory);
                } else if self.known.remove(&container.path).is_none() {
                    return;
                }
                self.list_container(&container, findings);
            }
        }
    }

    /// A writer closed a file: its worker may take it as final.
    fn tell_closed(&self, path: &Path) {
        let is_log = path.file_name().is_some_and(|name| LogFileName::parse(&name.to_string_lossy()).is_some());
        let container = path.parent().and_then(|parent| parent.strip_prefix(&self.scanner.root).ok());
        let (Some(container), true) = (container, is_log) else { return };
        if let Ok(metadata) = path.symlink_metadata() {
            let container = ContainerPath::from(container.to_string_lossy());
            let worker = worker_of(&container, self.scanner.scanning.workers.len());
            let closed = Command::Closed { container, device: metadata.dev(), inode: metadata.ino(), size: metadata.len() };
            self.scanner.scanning.workers[worker].send(closed);
        }
    }

    /// Watches a directory; `None` if that cannot be done.
    fn watch(&mut self, directory: &Arc<Path>) -> Option<Standing> {
        match self.watches.as_mut()?.watch(Arc::clone(directory)) {
            Ok(standing) => Some(standing),
            // Gone already.
            Err(_) if !directory.exists() => Some(Standing::Changed),
            Err(error) => {
                tracing::debug!(directory = %directory.display(), error = %error, "directory not watched");
                None
            }
        }
    }

    fn forget_gone_watches(&mut self) {
        let Some(watches) = &mut self.watches else { return };
        let gone: HashSet<Arc<Path>> = watches.not_looked_at().filter(|path| !path.is_dir()).cloned().collect();
        gone.iter().for_each(|path| watches.forget(path));
        self.links.retain(|directory, _| !gone.contains(directory));
    }

    /// After the first scan: containers that are gone and of which a reload handed over open files.
    fn tell_handed(&mut self, seen: &mut BTreeSet<ContainerPath>) {
        let handover = self.scanner.scanning.handover.clone();
        for SeenContainer { path, directory, source } in handover.unlisted(|path| seen.contains(path)) {
            match &source {
                Source::Container { pod, container } if self.may_take(pod, container) => {
                    seen.insert(ContainerPath::clone(&path));
                    self.tell(ContainerListing { path, directory, source, files: Vec::new(), is_gone: true });
                }
                // Another kind of configuration, or one that leaves the container out.
                Source::Container { .. } | Source::Target(_) => handover.close(&path),
            }
        }
    }

    /// Whether a container that is gone was to be read, as far as its names say.
    fn may_take(&self, pod: &PodDirectory, container: &str) -> bool {
        self.scanner.selection.takes(pod, container, PodLabels::Awaited) != Some(false)
    }

    /// After the first scan: containers of the checkpoint that are not there at all.
    fn count_missing_containers(&self, seen: &BTreeSet<ContainerPath>) {
        let is_selected = |container: &str| paths::parse_container(container).is_some_and(|(pod, name)| self.may_take(&pod, name));
        let fate = |container: &str, _: &FileEntry| if is_selected(container) { Fate::Gone } else { Fate::LeftOut };
        self.scanner.scanning.count_missing(|container| seen.contains(container), fate);
    }

    fn unreadable(&self, directory: &Path, error: &std::io::Error, ignored: &mut Ignored) {
        ignored.unreadable += 1;
        self.scanner.scanning.metrics.read_errors.inc();
        tracing::warn!(directory = %directory.display(), error = %error, "directory not readable");
    }
}

/// Which of `workers` reads a container.
pub(super) fn worker_of(path: &str, workers: usize) -> usize {
    usize::try_from(xxh3_64(path.as_bytes()) % workers as u64).expect("smaller than a count of workers")
}
