//! The table of positions: files with their acknowledged offsets, instances with their labels.
//!
//! Workers add decisions and look entries up; the sender moves offsets when a batch is acknowledged. Each change raises `revision`;
//! a decision's revision must be durable before the first push that rests on it. Where several clients are read for together, what is decided holds for all
//! of them, and each acknowledges for itself: readers see what all have acknowledged, and what is written for a client is what that one has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;
use thin_vec::ThinVec;
/// Of what there may be ten thousand: without the count of weak references.
pub(crate) use triomphe::Arc as SlimArc;

use super::agreement::Acknowledged;
use super::ahead::Ahead;
use super::pairs::PackedPairs;
use crate::parse::cri::OutputStream;
use crate::pipeline::context::KnownStamp;
use crate::tail::fingerprint::Fingerprint;

/// A file as this process knows it; never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u64);

/// Counts changes of the table. What is durable is told as a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Revision(pub(crate) u64);

/// A container's directory below the root: `<pod directory>/<container>`. One text for all that is known of it, since there may be ten thousand.
pub(crate) type ContainerPath = Arc<str>;

/// One run of a container: its directory and restart count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InstanceKey {
    pub(crate) container: ContainerPath,
    pub(crate) number: u32,
}

/// Labels and metadata of an instance from a record boundary on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LabelSet {
    /// Counted from the start of the instance's first file.
    pub(crate) from_offset: u64,
    /// Without `stream`, which each record brings.
    pub(crate) labels: PackedPairs,
    /// `None`: no metadata was sent, since the receiver did not announce itself.
    pub(crate) metadata: Option<PackedPairs>,
}

/// What was decided for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstanceEntry {
    /// In the order of their offsets; the last one that began counts. Mostly there is one.
    pub(crate) label_sets: SmallVec<[LabelSet; 1]>,
    /// For a record without stamp at the very beginning: the first file's time of change when it was first seen, in nanoseconds.
    pub(crate) first_stamp: i64,
    /// Of the configuration the labels come from; another one decides anew.
    pub(crate) revision: u64,
}

/// What was done to a pending line that no byte asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutKind {
    /// It was sent without its end, which did not come in time.
    End,
    /// Of its text only the head was kept, since all pending lines together took too much memory.
    Shorten,
    /// From here on the instance has the label set of this number.
    Labels { set: usize },
    /// A pipeline's block was ended, since no line came for it in time.
    Flush { key: u64 },
    /// The line that begins here was stamped with the time of reading.
    Clock {
        stamp: i64,
        /// Lines before this offset go on from there.
        until: u64,
    },
}

/// A decision about a pending line: made after every record that ends at or before `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineCut {
    pub(crate) offset: u64,
    pub(crate) stream: OutputStream,
    pub(crate) kind: CutKind,
}

/// How far a file is acknowledged, and what its next record depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Uncompressed bytes; a record boundary with no pending line.
    pub(crate) offset: u64,
    pub(crate) last_stamp: Option<i64>,
    /// Of the last record, for those that name none.
    pub(crate) last_stream: OutputStream,
    pub(crate) is_finished: bool,
    /// Of a file whose lines go through stages: what they know of the lines before.
    pub(crate) stages: Option<Arc<StageProgress>>,
}

/// What stages know of the lines before a record boundary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StageProgress {
    /// Last stamps by label set.
    pub(crate) known: Arc<Vec<KnownStamp>>,
    /// The last stamp taken from the clock, and up to which offset it goes on.
    pub(crate) clock: Option<(i64, u64)>,
}

impl Progress {
    pub(crate) fn start(last_stamp: Option<i64>) -> Self {
        Self { offset: 0, last_stamp, last_stream: OutputStream::Stdout, is_finished: false, stages: None }
    }
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileEntry {
    pub(crate) instance: InstanceKey,
    /// Its last known name; a hint.
    pub(crate) name: Box<str>,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) progress: Progress,
    pub(crate) cuts: ThinVec<LineCut>,
}

/// Moves one file's progress once a batch is acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) file: FileId,
    pub(crate) entry: FileEntry,
}

/// All that is written to the positions file. Shared with the table, which copies what it changes: a snapshot of many files costs little.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Positions {
    pub(crate) files: Vec<SlimArc<FileEntry>>,
    pub(crate) instances: BTreeMap<InstanceKey, SlimArc<InstanceEntry>>,
}

#[derive(Debug, Default)]
pub(crate) struct PositionsTable {
    /// As far as all clients have acknowledged.
    files: HashMap<FileId, SlimArc<FileEntry>>,
    /// Where single clients are further.
    ahead: Ahead,
    /// The files of each container: with thousands of containers nobody walks over all files for each of them.
    by_container: BTreeSet<(ContainerPath, FileId)>,
    instances: BTreeMap<InstanceKey, SlimArc<InstanceEntry>>,
    /// Since when an entry's file is gone.
    vanished: HashMap<FileId, Instant>,
    next_file: u64,
    revision: Revision,
}

impl PositionsTable {
    /// For clients that agree, by their places.
    pub(crate) fn load<'a>(clients: impl IntoIterator<Item = &'a Positions>) -> Self {
        let clients: Vec<_> = clients.into_iter().collect();
        // One agrees with itself.
        let others = if clients.len() > 1 { &*clients } else { &[] };
        let acknowledged: Vec<_> = others.iter().map(|client| Acknowledged::by(client)).collect();
        let mut table = Self { ahead: Ahead::of(clients.len()), ..Self::default() };
        for (place, client) in clients.into_iter().enumerate() {
            let (by_all, by_some) = client.files.iter().partition::<Vec<_>, _>(|entry| acknowledged.iter().all(|known| known.has(entry)));
            for entry in by_all.into_iter().filter(|_| place == 0) {
                let file = table.new_file();
                table.insert(file, SlimArc::clone(entry));
            }
            for entry in by_some {
                let file = table.new_file();
                table.insert_of_client(place, file, SlimArc::clone(entry));
            }
            table.instances.extend(client.instances.iter().map(|(key, entry)| (key.clone(), SlimArc::clone(entry))));
        }
        table
    }

    fn insert_of_client(&mut self, place: usize, file: FileId, entry: SlimArc<FileEntry>) {
        let container = ContainerPath::clone(&entry.instance.container);
        match self.ahead.acknowledge(place, file, entry) {
            Some(of_all) => self.insert(file, of_all),
            None => drop(self.by_container.insert((container, file))),
        }
    }

    /// A file's container is always the same.
    fn insert(&mut self, file: FileId, entry: SlimArc<FileEntry>) {
        let container = ContainerPath::clone(&entry.instance.container);
        if self.files.insert(file, entry).is_none() {
            self.by_container.insert((container, file));
        }
    }

    fn remove(&mut self, file: FileId) -> Option<SlimArc<FileEntry>> {
        let ahead = self.ahead.remove(file);
        let entry = self.files.remove(&file).or(ahead)?;
        self.by_container.remove(&(ContainerPath::clone(&entry.instance.container), file));
        Some(entry)
    }

    pub(crate) fn new_file(&mut self) -> FileId {
        self.next_file += 1;
        FileId(self.next_file)
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn instance(&self, key: &InstanceKey) -> Option<&SlimArc<InstanceEntry>> {
        self.instances.get(key)
    }

    /// Up to where a file is acknowledged.
    pub(crate) fn acknowledged(&self, file: FileId) -> Option<u64> {
        self.files.get(&file).map(|entry| entry.progress.offset)
    }

    pub(crate) fn entry(&self, file: FileId) -> Option<SlimArc<FileEntry>> {
        self.files.get(&file).cloned()
    }

    /// Whether a file that was read to its end, at `offset`, is acknowledged so far.
    pub(crate) fn is_finished(&self, file: FileId, offset: u64) -> bool {
        self.files.get(&file).is_some_and(|entry| entry.progress.is_finished && entry.progress.offset >= offset)
    }

    /// What the client at `place` has acknowledged of a file.
    fn entry_of_client(&self, place: usize, file: FileId) -> Option<&SlimArc<FileEntry>> {
        self.ahead.entry(place, file).or_else(|| self.files.get(&file))
    }

    /// Entries of a container's files, by number of first insertion.
    pub(crate) fn files_of(&self, container: &str) -> Vec<(FileId, SlimArc<FileEntry>)> {
        self.numbers_of(container).filter_map(|file| Some((file, SlimArc::clone(self.files.get(&file)?)))).collect()
    }

    /// The same of what the client at `place` has acknowledged.
    pub(crate) fn files_of_client(&self, place: usize, container: &str) -> Vec<(FileId, SlimArc<FileEntry>)> {
        self.numbers_of(container).filter_map(|file| Some((file, SlimArc::clone(self.entry_of_client(place, file)?)))).collect()
    }

    fn numbers_of(&self, container: &str) -> impl Iterator<Item = FileId> {
        let of_container = self.by_container.range((ContainerPath::from(container), FileId(0))..);
        of_container.take_while(move |(other, _)| &**other == container).map(|(_, file)| *file)
    }

    pub(crate) fn containers(&self) -> BTreeSet<ContainerPath> {
        self.by_container.iter().map(|(container, _)| ContainerPath::clone(container)).collect()
    }

    /// Records labels and first stamp of an instance. Returns the revision that must be durable before its first push.
    pub(crate) fn decide_instance(&mut self, key: InstanceKey, entry: SlimArc<InstanceEntry>) -> Revision {
        self.instances.insert(key, entry);
        self.changed()
    }

    /// Records a cut in a line of a file, with `entry` for a file of which nothing was acknowledged yet.
    pub(crate) fn decide_cut(&mut self, file: FileId, cut: LineCut, entry: FileEntry) -> Revision {
        if !self.files.contains_key(&file) {
            self.insert(file, SlimArc::new(entry));
        }
        self.files.entry(file).and_modify(|entry| SlimArc::make_mut(entry).cuts.push(cut));
        self.ahead.add_cut(file, cut);
        self.changed()
    }

    /// Records that a file was truncated: `old` is no more, `new` begins as `entry` says.
    pub(crate) fn decide_truncation(&mut self, old: FileId, new: FileId, entry: FileEntry) -> Revision {
        self.remove(old);
        self.insert(new, SlimArc::new(entry));
        self.changed()
    }

    /// Moves a file's progress for the client at `place`. Marks of one file come in order.
    pub(crate) fn acknowledge(&mut self, place: usize, mark: &Mark) {
        let cuts = self.entry_of_client(place, mark.file).map(|entry| entry.cuts.clone()).unwrap_or_default();
        let mut entry = mark.entry.clone();
        // A stamp from the clock belongs to the line that begins there, and that line is not acknowledged.
        let is_ahead = |cut: &LineCut| match cut.kind {
            CutKind::Clock { .. } => cut.offset >= mark.entry.progress.offset,
            _ => cut.offset > mark.entry.progress.offset,
        };
        entry.cuts = cuts.into_iter().filter(is_ahead).collect();
        if entry.progress.is_finished {
            entry.cuts.clear();
        }
        self.insert_of_client(place, mark.file, SlimArc::new(entry));
        self.changed();
    }

    /// Forgets files that vanished before `horizon`, and instances without files.
    pub(crate) fn forget_vanished(&mut self, horizon: Instant) {
        let expired: Vec<_> = self.vanished.iter().filter(|(_, since)| **since <= horizon).map(|(file, _)| *file).collect();
        for file in &expired {
            self.vanished.remove(file);
            if let Some(entry) = self.remove(*file)
                && !self.has_files_of(&entry.instance)
            {
                self.instances.remove(&entry.instance);
            }
        }
        if !expired.is_empty() {
            self.changed();
        }
    }

    /// Whether any client acknowledged something of it.
    fn has_files_of(&self, instance: &InstanceKey) -> bool {
        let entry = |file| self.files.get(&file).or_else(|| self.ahead.any(file));
        self.numbers_of(&instance.container).filter_map(entry).any(|entry| entry.instance == *instance)
    }

    /// The file is gone since `now`, unless that was known.
    pub(crate) fn vanished(&mut self, file: FileId, now: Instant) {
        self.vanished.entry(file).or_insert(now);
    }

    pub(crate) fn seen_again(&mut self, file: FileId) {
        self.vanished.remove(&file);
    }

    /// Where the client at `place` is.
    pub(crate) fn snapshot(&self, place: usize) -> Positions {
        let ahead = self.ahead.entries(place);
        let mut files: Vec<_> = self.files.iter().filter(|(file, _)| !ahead.contains_key(file)).chain(ahead).collect();
        files.sort_by_key(|(file, _)| **file);
        Positions { files: files.into_iter().map(|(_, entry)| SlimArc::clone(entry)).collect(), instances: self.instances.clone() }
    }

    #[cfg(test)]
    pub(super) fn ahead_entries(&self) -> usize {
        self.ahead.len()
    }

    fn changed(&mut self) -> Revision {
        self.revision.0 += 1;
        self.revision
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    pub(crate) fn file_entry(container: &str, offset: u64) -> FileEntry {
        FileEntry {
            instance: InstanceKey { container: container.into(), number: 0 },
            name: "0.log".into(),
            device: 1,
            inode: 2,
            fingerprint: Fingerprint { length: 256, hash: 0xfeed_beef },
            progress: Progress { offset, ..Progress::start(Some(5)) },
            cuts: ThinVec::new(),
        }
    }

    #[test]
    fn cuts_behind_the_acknowledged_offset_are_forgotten() {
        let mut table = PositionsTable::default();
        let file = table.new_file();
        for offset in [10, 20] {
            table.decide_cut(file, LineCut { offset, stream: OutputStream::Stderr, kind: CutKind::End }, file_entry("c", 0));
        }
        table.acknowledge(0, &Mark { file, entry: file_entry("c", 10) });
        let (_, entry) = table.files_of("c").remove(0);
        assert_eq!(entry.cuts, [LineCut { offset: 20, stream: OutputStream::Stderr, kind: CutKind::End }]);
        assert_eq!(entry.progress.offset, 10);
    }

    #[test]
    fn files_are_found_by_their_container_whatever_comes_and_goes() {
        let mut table = PositionsTable::load([&Positions {
            files: ["b", "a", "b/c", "b"].map(|container| SlimArc::new(file_entry(container, 1))).into(),
            instances: BTreeMap::new(),
        }]);
        let found = |table: &PositionsTable, container: &str| table.files_of(container).iter().map(|(file, _)| file.0).collect::<Vec<_>>();
        assert_eq!((found(&table, "b"), found(&table, "a"), found(&table, "")), (vec![1, 4], vec![2], vec![]));
        let (cut, new) = (table.new_file(), table.new_file());
        table.decide_cut(cut, LineCut { offset: 3, stream: OutputStream::Stderr, kind: CutKind::End }, file_entry("a", 0));
        table.acknowledge(0, &Mark { file: cut, entry: file_entry("a", 2) });
        table.decide_truncation(FileId(1), new, file_entry("b", 0));
        let now = Instant::now();
        table.vanished(FileId(2), now);
        table.forget_vanished(now);
        assert_eq!((found(&table, "b"), found(&table, "a"), found(&table, "b/c")), (vec![4, new.0], vec![cut.0], vec![3]));
        assert_eq!(table.containers().iter().map(|container| &**container).collect::<Vec<_>>(), ["a", "b", "b/c"]);
        let walked = table.snapshot(0).files.len();
        assert_eq!(walked, table.by_container.len(), "both know the same files");
    }

    #[test]
    fn decisions_and_acknowledgements_raise_the_revision() {
        let mut table = PositionsTable::default();
        let file = table.new_file();
        let before = table.revision();
        table.acknowledge(0, &Mark { file, entry: file_entry("c", 10) });
        assert!(table.revision() > before);
    }

    #[test]
    fn a_vanished_file_is_kept_until_the_horizon_and_takes_its_instance_along() {
        let mut table = PositionsTable::default();
        let file = table.new_file();
        let entry = file_entry("c", 10);
        table.decide_instance(entry.instance.clone(), InstanceEntry { label_sets: SmallVec::new(), first_stamp: 0, revision: 0 }.into());
        table.acknowledge(0, &Mark { file, entry });
        let now = Instant::now();
        table.vanished(file, now);
        table.forget_vanished(now.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(table.snapshot(0).files.len(), 1);
        table.forget_vanished(now);
        assert_eq!(table.snapshot(0), Positions::default());
    }
}
