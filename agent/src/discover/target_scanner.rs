//! The thread that knows the targets of a `promtail.yaml`: which files there are, and what became of them.
//!
//! Every interval, and when a watched directory or the known pods change, all patterns are looked up anew. A file is a group of its own: its key is the job
//! with the path, so that a file that two jobs name is read twice. A file that is found under another name than before (rotation) stays with the group
//! that reads it. Symlinks are followed where the operator named them; below a pattern made of pods' labels only into docker's own tree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::clock_jumps::ClockJumps;
use super::listing::{ContainerListing, Identities, SeenContainer, SeenFile, Source};
use super::paths::{FileRole, LogFileName};
use super::scanner::worker_of;
use super::scanning::{Fate, Scanning};
use super::target::FileTarget;
use super::watch::{Change, DirectoryWatches};
use crate::observe::heartbeats::Heartbeat;
use crate::positions::table::{ContainerPath, FileEntry};
use crate::promtail::file_sd;
use crate::promtail::jobs::Job;
use crate::promtail::kubernetes::KnownPods;
use crate::promtail::targets::{Target, discovered, targets};
use crate::relabel::Labels;
use crate::tail::file::{OpenError, open_named};
use crate::tail::fingerprint::{Fingerprint, Head};
use crate::tail::stages::StageLimits;
use crate::tail::worker::Command;

const CHANGE_QUEUE: usize = 4096;
const MAX_WAIT: Duration = Duration::from_millis(200);
/// At least this long between two scans.
const MIN_PAUSE: Duration = Duration::from_millis(250);
/// Between the parts of a key.
const SEPARATOR: char = '\u{1f}';

pub(crate) struct TargetScanner {
    pub(crate) jobs: Vec<Arc<Job>>,
    /// By job and pod discovery.
    pub(crate) pods: HashMap<(usize, usize), Arc<RwLock<KnownPods>>>,
    pub(crate) hostname: String,
    pub(crate) limits: Arc<StageLimits>,
    /// Docker writes its files here and the kubelet links to them.
    pub(crate) docker_root: Option<PathBuf>,
    /// Promtail's own positions.
    pub(crate) old_offsets: BTreeMap<PathBuf, u64>,
    pub(crate) scanning: Scanning,
}

/// A group of one file as it was last told.
struct Told {
    identities: Identities,
    target: Arc<FileTarget>,
    directory: Arc<Path>,
}

/// Job, device, inode, and which of those that read the same file in that job.
type Ownership = (usize, u64, u64, usize);

struct Running {
    scanner: TargetScanner,
    watches: Option<DirectoryWatches>,
    changes: Receiver<Change>,
    told: HashMap<ContainerPath, Told>,
    /// Which group reads a file, with its head: one for each target of a job that names it.
    owners: HashMap<Ownership, (ContainerPath, Fingerprint)>,
    /// When a file that waits for its time was first seen.
    first_seen: HashMap<PathBuf, Instant>,
    /// Until files of the checkpoint that are gone are counted: groups of files without a name, which a reload handed over.
    handed: Option<HashSet<ContainerPath>>,
    last_scan: Instant,
    next_scan: Instant,
    clock_jumps: ClockJumps,
    beat: Heartbeat,
    /// Not all directories are watched.
    is_degraded: bool,
}

/// A file that a target names.
struct Match {
    path: PathBuf,
    metadata: Metadata,
    target: usize,
}

impl TargetScanner {
    /// Runs until `stop` is set.
    pub(crate) fn run(self) {
        let (sender, changes) = sync_channel(CHANGE_QUEUE);
        let watches = if self.scanning.timing.watch_directories { DirectoryWatches::new(sender).ok() } else { None };
        let now = Instant::now();
        let mut running = Running {
            beat: self.scanning.metrics.heartbeats.begin("scanner"),
            is_degraded: false,
            watches,
            changes,
            told: HashMap::new(),
            owners: HashMap::new(),
            first_seen: HashMap::new(),
            handed: Some(HashSet::new()),
            last_scan: now,
            next_scan: now,
            clock_jumps: self.scanning.clock_jumps(),
            scanner: self,
        };
        running.remember_owners();
        while !running.scanner.scanning.stop.load(Ordering::Acquire) {
            running.beat.renew();
            running.step();
        }
        running.scanner.scanning.metrics.watch_degraded.change(&mut running.is_degraded, false);
    }
}

impl Running {
    fn step(&mut self) {
        if Instant::now() >= self.next_scan {
            self.scan();
            return;
        }
        if self.watches.as_ref().is_some_and(DirectoryWatches::take_must_rescan) {
            self.scanner.scanning.metrics.inotify_overflow.inc();
            self.scan_soon();
        }
        let has_clock_jumped = self.scanner.scanning.has_clock_jumped(&mut self.clock_jumps);
        if has_clock_jumped || !self.scanner.scanning.handover.due_asks(Instant::now()).is_empty() {
            self.scan_soon();
        }
        let wait = self.next_scan.saturating_duration_since(Instant::now()).min(MAX_WAIT);
        match self.changes.recv_timeout(wait) {
            Ok(first) => {
                let changes: Vec<Change> = std::iter::once(first).chain(self.changes.try_iter().take(CHANGE_QUEUE)).collect();
                for change in &changes {
                    self.tell_closed(change);
                }
                if changes.iter().any(|change| !change.is_close) {
                    self.scan_soon();
                }
            }
            // No watcher: the timeout above does not wait.
            Err(_) if self.watches.is_none() => std::thread::sleep(wait),
            Err(_) => {}
        }
    }

    fn scan_soon(&mut self) {
        self.next_scan = self.next_scan.min(self.last_scan + MIN_PAUSE);
    }

    /// After a restart: which group read which file.
    fn remember_owners(&mut self) {
        let positions = self.scanner.scanning.positions.lock();
        for container in positions.containers() {
            let job = self.scanner.jobs.iter().position(|job| container.split(SEPARATOR).next() == Some(&job.name));
            let Some(job) = job else { continue };
            for (_, entry) in positions.files_of(&container) {
                self.owners.insert((job, entry.device, entry.inode, copy_of(&container)), (container.clone(), entry.fingerprint));
            }
        }
    }

    fn scan(&mut self) {
        let started = Instant::now();
        let mut seen = HashSet::new();
        let mut is_watching = true;
        let mut is_pending = false;
        let are_pods_known = self.scanner.pods.values().all(|pods| pods.read().is_complete);
        for job in 0..self.scanner.jobs.len() {
            is_pending |= self.scan_job(job, &mut seen, &mut is_watching);
        }
        self.tell_gone(&seen);
        // What is asked for and was not found is not there any more.
        let handover = &self.scanner.scanning.handover;
        for key in handover.due_asks(started) {
            handover.take_ask(&key);
        }
        if !self.scanner.scanning.is_first_scan_done.load(Ordering::Acquire) {
            self.handed = Some(self.tell_handed(&seen));
        }
        if are_pods_known && let Some(handed) = self.handed.take() {
            self.count_missing(&seen, &handed);
        }
        self.owners.retain(|_, (key, _)| self.told.contains_key(key));
        self.scanner.scanning.is_first_scan_done.store(true, Ordering::Release);
        let metrics = &self.scanner.scanning.metrics;
        metrics.watch_degraded.change(&mut self.is_degraded, !is_watching);
        metrics.scan_seconds.set(started.elapsed().as_secs_f64());
        metrics.active_targets.set(i64::try_from(self.told.len()).unwrap_or(i64::MAX));
        let timing = &self.scanner.scanning.timing;
        let interval = if is_watching { timing.scan_interval } else { timing.degraded_scan_interval };
        self.last_scan = Instant::now();
        self.next_scan = self.last_scan + if is_pending { interval.min(MIN_PAUSE) } else { interval };
    }

    /// Looks up the files of a job. Returns whether something is to be looked at again soon.
    fn scan_job(&mut self, index: usize, seen: &mut HashSet<ContainerPath>, is_watching: &mut bool) -> bool {
        self.beat.renew();
        let job = Arc::clone(&self.scanner.jobs[index]);
        let (found, is_pending) = self.discovered(index, &job);
        let targets = targets(&job, found, &self.scanner.hostname);
        let mut matches = Vec::new();
        for (number, target) in targets.iter().enumerate() {
            for directory in target.path.base_directories() {
                *is_watching &= self.watch(&directory);
            }
            for path in target.path.find() {
                if let Some(metadata) = self.readable(&job, target, &path) {
                    matches.push(Match { path: std::path::absolute(&path).unwrap_or(path), metadata, target: number });
                }
            }
        }
        let named: HashSet<PathBuf> = matches.iter().map(|found| found.path.clone()).collect();
        // A file is taken for a new one only if no group reads it under another name.
        let mut by_key: BTreeMap<(PathBuf, usize), Match> = BTreeMap::new();
        for found in matches {
            by_key.insert((found.path.clone(), found.target), found);
        }
        let mut copies: HashMap<PathBuf, usize> = HashMap::new();
        let mut is_waiting = is_pending;
        for found in by_key.into_values() {
            if let Some(parent) = found.path.parent() {
                *is_watching &= self.watch(parent);
            }
            if self.must_wait(&job, &found.path) {
                is_waiting = true;
                continue;
            }
            let copy = copies.entry(found.path.clone()).or_default();
            *copy += 1;
            let key = key_of(&job, &found.path, *copy);
            // A file that was read under a name that is gone goes on under this one, in the same group.
            let key = match self.other_reader(index, &key, &found) {
                Some(owner) if named.contains(path_of(&owner)) || seen.contains(&owner) => continue,
                Some(owner) => owner,
                None => key,
            };
            seen.insert(key.clone());
            self.list_file((index, &job), &targets[found.target], &key, &found, &named);
        }
        is_waiting
    }

    /// Discovered labels of a job, and whether more are to come soon.
    fn discovered(&self, index: usize, job: &Job) -> (Vec<Labels>, bool) {
        let mut found: Vec<Labels> = job.static_groups.iter().flat_map(discovered).collect();
        found.extend(file_sd::read(&job.target_files).iter().flat_map(discovered));
        let mut is_pending = false;
        for (number, discovery) in job.pods.iter().enumerate() {
            if let Some(pods) = self.scanner.pods.get(&(index, number)) {
                let pods = pods.read();
                is_pending |= !pods.is_complete;
                found.extend(pods.discovered(&discovery.namespaces));
            }
        }
        (found, is_pending)
    }

    /// What is at `path`, if it is a regular file that may be read.
    fn readable(&self, job: &Job, target: &Target, path: &Path) -> Option<Metadata> {
        if target.exclude.as_ref().is_some_and(|exclude| exclude.matches(path)) {
            return None;
        }
        let own = path.symlink_metadata().ok()?;
        if !own.is_symlink() {
            return Some(own).filter(Metadata::is_file);
        }
        // A pod may write into its log directory; it must not make us read anything else.
        if job.discovers_pods() {
            return self.open(job, path).ok()?.metadata().ok();
        }
        path.metadata().ok().filter(Metadata::is_file)
    }

    fn open(&self, job: &Job, path: &Path) -> Result<File, OpenError> {
        open_named(path, job.discovers_pods(), self.scanner.docker_root.as_deref())
    }

    /// The head of a file that a job names.
    fn head(&self, job: usize, path: &Path) -> Option<Head> {
        let file = self.open(&self.scanner.jobs[job], path).ok()?;
        Head::read(&file).ok()
    }

    /// Whether a compressed file is still left alone.
    fn must_wait(&mut self, job: &Job, path: &Path) -> bool {
        let Some(delay) = job.decompression.map(|decompression| decompression.initial_delay) else { return false };
        let since = *self.first_seen.entry(path.to_owned()).or_insert_with(Instant::now);
        since.elapsed() < delay
    }

    /// The group other than `key` that reads a file.
    fn other_reader(&mut self, job: usize, key: &ContainerPath, found: &Match) -> Option<ContainerPath> {
        let identity = (job, found.metadata.dev(), found.metadata.ino(), copy_of(key));
        let head = || self.head(job, &found.path);
        match self.owners.get(&identity) {
            Some((owner, _)) if owner == key => None,
            Some((owner, fingerprint)) => {
                let is_same = head().is_some_and(|head| fingerprint.matches(head.as_bytes()));
                let owner = is_same.then(|| owner.clone());
                if !is_same {
                    self.owners.remove(&identity);
                }
                owner
            }
            None => None,
        }
    }

    fn list_file(
        &mut self,
        (index, job): (usize, &Arc<Job>),
        target: &Target,
        key: &ContainerPath,
        found: &Match,
        named: &HashSet<PathBuf>,
    ) {
        let Some(directory) = found.path.parent().map(Arc::<Path>::from) else { return };
        let mut files = files_of(&found.path, &found.metadata);
        // One that the patterns name is a group of its own, unless this one read it before.
        files.retain(|file| {
            let is_ours = || self.owners.get(&(index, file.device, file.inode, copy_of(key))).is_some_and(|(owner, _)| owner == key);
            !file.is_former && file.name.role == FileRole::Live || !named.contains(&directory.join(&file.text)) || is_ours()
        });
        let mut identities: Identities = files.iter().map(|file| (file.text.clone(), file.device, file.inode)).collect();
        identities.sort();
        let mut labels = target.labels.clone();
        labels.insert("filename".to_owned(), found.path.to_string_lossy().into_owned());
        let file_target = match self.told.get(key).filter(|told| told.target.labels == labels) {
            Some(told) => Arc::clone(&told.target),
            None => Arc::new(FileTarget {
                job: Arc::clone(job),
                labels,
                limits: Arc::clone(&self.scanner.limits),
                old_offset: self.scanner.old_offsets.get(&found.path).copied(),
            }),
        };
        self.note_owner(index, key, found);
        let is_known = self.told.get(key).is_some_and(|told| told.identities == identities);
        self.told
            .insert(ContainerPath::clone(key), Told { identities, target: Arc::clone(&file_target), directory: Arc::clone(&directory) });
        // Without news the tail still looks at sizes of finished files now and then.
        let has_former = files.len() > 1;
        let is_asked = self.scanner.scanning.handover.take_ask(key);
        if is_known && !has_former && !is_asked {
            return;
        }
        self.tell(ContainerListing {
            path: ContainerPath::clone(key),
            directory,
            source: Source::Target(file_target),
            files,
            is_gone: false,
        });
    }

    fn note_owner(&mut self, job: usize, key: &ContainerPath, found: &Match) {
        let identity = (job, found.metadata.dev(), found.metadata.ino(), copy_of(key));
        let is_settled =
            self.owners.get(&identity).is_some_and(|(owner, head)| owner == key && head.length == crate::tail::fingerprint::COVERED_MAX);
        if is_settled {
            return;
        }
        if let Some(head) = self.head(job, &found.path) {
            self.owners.insert(identity, (ContainerPath::clone(key), Fingerprint::of(head.as_bytes())));
        }
    }

    fn tell(&self, listing: ContainerListing) {
        let worker = worker_of(&listing.path, self.scanner.scanning.workers.len());
        self.scanner.scanning.workers[worker].send(Command::Listing(Box::new(listing)));
    }

    /// Files that were told and are not there under their names any more.
    fn tell_gone(&mut self, seen: &HashSet<ContainerPath>) {
        let gone: Vec<ContainerPath> = self.told.keys().filter(|key| !seen.contains(*key)).cloned().collect();
        for key in gone {
            if let Some(told) = self.told.remove(&key) {
                let source = Source::Target(told.target);
                self.tell(ContainerListing { path: key, directory: told.directory, source, files: Vec::new(), is_gone: true });
            }
        }
    }

    /// After the first scan: files without a name that a reload handed over. They keep their labels and take the stages of the job of that name.
    /// Returns their groups.
    fn tell_handed(&self, seen: &HashSet<ContainerPath>) -> HashSet<ContainerPath> {
        let handover = &self.scanner.scanning.handover;
        let mut handed = HashSet::new();
        for SeenContainer { path, directory, source } in handover.unlisted(|path| seen.contains(path)) {
            let job = self.scanner.jobs.iter().find(|job| path.split(SEPARATOR).next() == Some(&job.name));
            match (source, job) {
                (Source::Target(target), Some(job)) => {
                    let limits = Arc::clone(&self.scanner.limits);
                    let target = FileTarget { job: Arc::clone(job), labels: target.labels.clone(), limits, old_offset: None };
                    let source = Source::Target(Arc::new(target));
                    handed.insert(path.clone());
                    self.tell(ContainerListing { path, directory, source, files: Vec::new(), is_gone: true });
                }
                // The job that read it is gone.
                _ => handover.close(&path),
            }
        }
        handed
    }

    /// Once all targets are known: files of the checkpoint that nobody names. One that is under another name beside its old one may be named again.
    fn count_missing(&self, seen: &HashSet<ContainerPath>, handed: &HashSet<ContainerPath>) {
        let fate = |group: &str, entry: &FileEntry| {
            let is_asked_for = self.scanner.jobs.iter().any(|job| group.split(SEPARATOR).next() == Some(&job.name));
            match is_asked_for {
                false => Fate::LeftOut,
                true if is_in_directory_of(path_of(group), (entry.device, entry.inode)) => Fate::StillThere,
                true => Fate::Gone,
            }
        };
        self.scanner.scanning.count_missing(|group| seen.contains(group) || handed.contains(group), fate);
    }

    /// A writer closed a file: whoever reads it may take it as final.
    fn tell_closed(&self, change: &Change) {
        if !change.is_close {
            return;
        }
        let Ok(metadata) = change.path.metadata() else { return };
        for ((_, device, inode, _), (key, _)) in &self.owners {
            if (*device, *inode) == (metadata.dev(), metadata.ino()) {
                let worker = worker_of(key, self.scanner.scanning.workers.len());
                let closed = Command::Closed { container: key.clone(), device: *device, inode: *inode, size: metadata.len() };
                self.scanner.scanning.workers[worker].send(closed);
            }
        }
    }

    /// Watches a directory; `false` if that cannot be done.
    fn watch(&mut self, directory: &Path) -> bool {
        let Some(watches) = &mut self.watches else { return false };
        match watches.watch(directory) {
            Ok(_) => true,
            Err(_) if !directory.exists() => {
                watches.forget(directory);
                true
            }
            Err(_) => false,
        }
    }
}

fn key_of(job: &Job, path: &Path, copy: usize) -> ContainerPath {
    let mut key = format!("{}{SEPARATOR}{}", job.name, path.display());
    if copy > 1 {
        key.push_str(&format!("{SEPARATOR}{copy}"));
    }
    key.into()
}

/// Under which name a group began to read.
fn path_of(key: &str) -> &Path {
    Path::new(key.split(SEPARATOR).nth(1).unwrap_or_default())
}

/// Which of the groups of one path a key is of.
fn copy_of(key: &str) -> usize {
    key.split(SEPARATOR).nth(2).and_then(|copy| copy.parse().ok()).unwrap_or(1)
}

/// Whether a file of this device and inode is beside `path`, or is there itself.
fn is_in_directory_of(path: &Path, identity: (u64, u64)) -> bool {
    let beside = path.parent().and_then(|directory| std::fs::read_dir(directory).ok()).into_iter().flatten().flatten();
    let is_it = |metadata: Metadata| (metadata.dev(), metadata.ino()) == identity;
    path.metadata().is_ok_and(is_it) || beside.filter_map(|entry| entry.metadata().ok()).any(is_it)
}

/// The file itself, and those of its directory that may be what it was before.
fn files_of(path: &Path, metadata: &Metadata) -> Vec<SeenFile> {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Vec::new() };
    let kubelet = LogFileName::parse(&name);
    let live = LogFileName { instance: 0, role: FileRole::Live, is_compressed: false };
    let mut files = vec![seen(&name, live, metadata, false)];
    // Of a file that is compressed itself there is nothing but others of its kind.
    let is_plain = !is_compressed_name(&name);
    let stem = name.strip_suffix(".log").unwrap_or(&name).to_owned();
    let directory = path.parent().unwrap_or(Path::new("/"));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let text = entry.file_name().to_string_lossy().into_owned();
        let is_sibling = text != name && is_rotated_name(&text, &name, &stem) && (is_plain || !is_compressed_name(&text));
        let Some(metadata) = is_sibling.then(|| entry.metadata().ok()).flatten().filter(Metadata::is_file) else { continue };
        match LogFileName::parse(&text).filter(|parsed| kubelet.as_ref().is_some_and(|live| live.instance == parsed.instance)) {
            // The kubelet's own rotation: read whatever is left.
            Some(parsed) => files.push(seen(&text, LogFileName { instance: 0, ..parsed }, &metadata, false)),
            None => {
                let modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
                // Whoever compresses a file leaves its time of change to the copy.
                let role = FileRole::Rotated(format!("{modified:020}"));
                files.push(seen(&text, LogFileName { instance: 0, role, is_compressed: text.ends_with(".gz") }, &metadata, true));
            }
        }
    }
    files
}

/// Of a year, a month and a day.
const DATE_DIGITS: usize = 8;

/// Whether `text` is what a rotation makes of `name`: `app.log.1`, `app.log-20261121`, `app-20261121.log`, and these compressed by gzip.
fn is_rotated_name(text: &str, name: &str, stem: &str) -> bool {
    let after = |start: &str, separator: &str| text.strip_prefix(start).and_then(|rest| rest.strip_prefix(separator));
    let rest = after(name, ".").or_else(|| after(name, "-"));
    let is_numbered = rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    // `web-2.log` is another file.
    let is_date = |rest: &str| {
        rest.chars().take_while(|each| each.is_ascii_digit() || *each == '-').filter(char::is_ascii_digit).count() >= DATE_DIGITS
    };
    (is_numbered || after(stem, "-").is_some_and(is_date)) && (!is_compressed_name(text) || text.ends_with(".gz"))
}

fn is_compressed_name(name: &str) -> bool {
    [".gz", ".bz2", ".xz", ".zst", ".z", ".Z"].iter().any(|ending| name.ends_with(ending))
}

fn seen(text: &str, name: LogFileName, metadata: &Metadata, is_former: bool) -> SeenFile {
    SeenFile { is_former, ..SeenFile::new(text.to_owned(), name, metadata) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_told_from_other_files() {
        for (text, expected) in [
            ("app.log.1", true),
            ("app.log-20261121", true),
            ("app-20261121.log", true),
            ("app.log.2.gz", true),
            ("app-20261121.log.gz", true),
            ("app.log.2.bz2", false),
            ("app-other.log", false),
            ("app-2.log", false),
            ("app-2.log.1.gz", false),
            ("app.log.bak", false),
            ("application.log", false),
        ] {
            assert_eq!(is_rotated_name(text, "app.log", "app"), expected, "{text}");
        }
        assert!(is_rotated_name("0.log.20261121-090000.gz", "0.log", "0"));
    }
}
