//! One job's part of the journal: its files, which entry comes next, and where each file stands.
//!
//! Files are told apart by the id in their header; a file that is archived under another name goes on where it was. Each has stamps and stages of its
//! own, so that what one file repeats after a restart does not depend on the others.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use super::directory::{self, Listed};
use super::fields::{self, NoLine};
use super::file::{JournalError, JournalFile};
use super::format::RawEntry;
use crate::batch::builder::BatchBuilder;
use crate::metrics::{DropReason, JournalFailure, Metrics, PossibleLoss};
use crate::parse::cri::OutputStream;
use crate::parse::time::StampReader;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{ContainerPath, CutKind, FileEntry, FileId, InstanceKey, LineCut, Mark, Progress, StageProgress};
use crate::promtail::jobs::Job;
use crate::promtail::journal::JournalConfig;
use crate::promtail::old_positions::Cursor;
use crate::relabel::Labels;
use crate::tail::counts::ReadCounts;
use crate::tail::fingerprint::Fingerprint;
use crate::tail::outlet::Outlet;
use crate::tail::records::{LineRules, RecordReader, RecordSink};
use crate::tail::stages::{StageLimits, StageOutlet};
use crate::tail::state::LineState;

/// Entries read in one turn.
const TURN_ENTRIES: usize = 4096;
/// Between two looks for new files.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// A file that is still written to may be caught in the middle of a change; so often in a row it is not.
const FAILURES_TOLERATED: u32 = 20;

/// What a source needs from the thread.
pub(super) struct SourceContext<'a> {
    pub(super) batch: &'a mut BatchBuilder,
    pub(super) counts: &'a mut ReadCounts,
    pub(super) positions: &'a SharedPositions,
    pub(super) metrics: &'a Metrics,
    pub(super) rules: LineRules,
    pub(super) now: Instant,
}

struct OpenJournal {
    file: JournalFile,
    path: PathBuf,
    id: FileId,
    /// The next entry, if it was looked at.
    head: Option<RawEntry>,
    state: LineState,
    outlet: Outlet,
    /// Where this process began.
    start: Progress,
    /// Number of the next entry at the earliest.
    next: u64,
    /// Entries before are not read; microseconds since the epoch.
    not_before: u64,
    /// It was begun before: what is not read any more is counted.
    is_resumed: bool,
    cuts: VecDeque<LineCut>,
    /// Something changed since the last batch.
    is_in_batch: bool,
    failures: u32,
    /// Not looked at again in this turn.
    has_failed: bool,
}

/// A file that is done with.
struct Settled {
    id: FileId,
    /// To go into the next batch.
    mark: Option<FileEntry>,
}

pub(super) struct JournalSource {
    job: Arc<Job>,
    config: JournalConfig,
    limits: Arc<StageLimits>,
    container: ContainerPath,
    directories: Vec<PathBuf>,
    /// Older entries are not read; microseconds since the epoch.
    cutoff: u64,
    old_cursor: Option<Cursor>,
    open: Vec<OpenJournal>,
    listed: HashMap<Listed, u128>,
    unreadable: HashSet<Listed>,
    remembered: HashMap<u128, (FileId, FileEntry)>,
    settled: HashMap<u128, Settled>,
    next_listing: Instant,
    paused_until: Option<Instant>,
}

impl JournalSource {
    pub(super) fn new(
        job: Arc<Job>,
        config: JournalConfig,
        limits: Arc<StageLimits>,
        old_cursor: Option<Cursor>,
        positions: &SharedPositions,
    ) -> Self {
        let container = format!("journal-{}", job.name);
        let known = positions.lock().files_of(&container);
        let remembered = known.into_iter().filter_map(|(id, entry)| Some((u128::from_str_radix(&entry.name, 16).ok()?, (id, entry))));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            directories: directory::directories(config.path.as_deref()),
            cutoff: u64::try_from(now.saturating_sub(config.max_age).as_micros()).unwrap_or(0),
            remembered: remembered.collect(),
            job,
            config,
            limits,
            container,
            old_cursor,
            open: Vec::new(),
            listed: HashMap::new(),
            unreadable: HashSet::new(),
            settled: HashMap::new(),
            next_listing: Instant::now(),
            paused_until: None,
        }
    }

    /// Reads what is there, within the turn's share. Returns whether there may be more.
    pub(super) fn turn(&mut self, context: &mut SourceContext<'_>) -> bool {
        if self.paused_until.is_some_and(|until| context.now < until) {
            return false;
        }
        self.paused_until = None;
        if context.now >= self.next_listing {
            self.next_listing = context.now + LIST_EVERY;
            self.list(context);
        }
        self.look(context);
        for _ in 0..TURN_ENTRIES {
            let Some(index) = self.earliest() else {
                self.flush_expired(context);
                self.settle_drained(context);
                return false;
            };
            self.read_entry(index, context);
            self.advance(index);
            let pause = self.open[index].outlet.stages_mut().map(|stages| std::mem::take(&mut stages.pause)).unwrap_or_default();
            if !pause.is_zero() {
                self.paused_until = Some(context.now + pause);
                return false;
            }
            if context.batch.is_full() {
                break;
            }
        }
        true
    }

    pub(super) fn is_in_batch(&self) -> bool {
        self.open.iter().any(|journal| journal.is_in_batch) || self.settled.values().any(|settled| settled.mark.is_some())
    }

    /// Puts into the batch where the files stand now.
    pub(super) fn add_marks(&mut self, batch: &mut BatchBuilder, positions: &SharedPositions) {
        for journal in self.open.iter_mut().filter(|journal| journal.is_in_batch) {
            journal.is_in_batch = false;
            journal.record_clock(&self.container, batch, positions);
            let entry = journal.entry(&self.container, journal.clean_progress());
            batch.mark(Mark { file: journal.id, entry });
        }
        for settled in self.settled.values_mut() {
            if let Some(entry) = settled.mark.take() {
                batch.mark(Mark { file: settled.id, entry });
            }
        }
    }

    /// Looks for files that are new, and for those that are gone.
    fn list(&mut self, context: &SourceContext<'_>) {
        let found = directory::list(&self.directories);
        for listed in &found {
            if !self.listed.contains_key(listed) {
                self.take(listed, context);
            }
        }
        let present: HashSet<&Listed> = found.iter().collect();
        self.unreadable.retain(|listed| present.contains(listed));
        self.listed.retain(|listed, _| present.contains(listed));
        let ids: HashSet<u128> = self.listed.values().copied().collect();
        let mut positions = context.positions.lock();
        for (_, (id, _)) in self.remembered.iter().filter(|(file, _)| !ids.contains(*file)) {
            positions.vanished(*id, context.now);
        }
        self.settled.retain(|file, settled| {
            let is_kept = ids.contains(file) || settled.mark.is_some();
            if !is_kept {
                positions.vanished(settled.id, context.now);
            }
            is_kept
        });
    }

    fn take(&mut self, listed: &Listed, context: &SourceContext<'_>) {
        let file = match JournalFile::open(&listed.path) {
            Ok(file) => file,
            Err(error) => {
                // A file that is just being made is looked at again; saying so once is enough.
                if self.unreadable.insert(listed.clone()) {
                    context.metrics.read_errors.inc();
                    tracing::warn!(path = %listed.path.display(), error = %error, "cannot read a journal file");
                }
                return;
            }
        };
        let file_id = file.id();
        self.listed.insert(listed.clone(), file_id);
        let is_open = self.open.iter().any(|journal| journal.file.id() == file_id);
        if is_open || self.settled.contains_key(&file_id) {
            return;
        }
        let known = self.remembered.remove(&file_id);
        if let Some((id, entry)) = known.as_ref().filter(|(_, entry)| entry.progress.is_finished && file.is_archived()) {
            self.settled.insert(file_id, Settled { id: *id, mark: None });
            tracing::debug!(path = %listed.path.display(), container = entry.instance.container, "journal file was read before");
            return;
        }
        if known.is_none() && file.is_archived() && file.tail_realtime() < self.cutoff {
            let id = context.positions.lock().new_file();
            self.settled.insert(file_id, Settled { id, mark: None });
            return;
        }
        let journal = self.begin(file, listed.path.clone(), known, context);
        self.open.push(journal);
    }

    fn begin(&self, mut file: JournalFile, path: PathBuf, known: Option<(FileId, FileEntry)>, context: &SourceContext<'_>) -> OpenJournal {
        let is_resumed = known.is_some();
        let mut not_before = self.cutoff;
        let (id, entry) = known.map_or_else(|| (context.positions.lock().new_file(), None), |(id, entry)| (id, Some(entry)));
        let cuts = entry.as_ref().map(|entry| entry.cuts.iter().copied().collect()).unwrap_or_default();
        let mut start = entry.map_or_else(|| Progress::start(None), |entry| Progress { is_finished: false, ..entry.progress });
        if let Some(cursor) = self.old_cursor.filter(|_| !is_resumed) {
            if cursor.seqnum_id == file.seqnum_id() {
                start.offset = cursor.seqnum + 1;
            } else {
                not_before = not_before.max(cursor.realtime + 1);
            }
        }
        if let Err(error) = file.seek(start.offset) {
            tracing::warn!(path = %path.display(), error = %error, "cannot find the place in a journal file; reading it from its beginning");
        }
        let key = xxh3_64(&file.id().to_be_bytes());
        let limits = Arc::clone(&self.limits);
        OpenJournal {
            state: LineState::with_stages(&start, self.job.pipeline.clone(), key),
            outlet: Outlet::of_stages(StageOutlet::new(Labels::new(), None, limits)),
            next: start.offset,
            file,
            path,
            id,
            head: None,
            start,
            not_before,
            is_resumed,
            cuts,
            is_in_batch: false,
            failures: 0,
            has_failed: false,
        }
    }

    /// Looks how far all files are written.
    fn look(&mut self, context: &mut SourceContext<'_>) {
        for index in 0..self.open.len() {
            self.open[index].has_failed = false;
            if let Err(error) = self.open[index].file.refresh() {
                self.open[index].fail(&error);
            }
            self.advance(index);
        }
        self.drop_damaged(context);
    }

    /// Looks at the next entry of a file.
    fn advance(&mut self, index: usize) {
        let journal = &mut self.open[index];
        while journal.head.is_none() && !journal.has_failed {
            match journal.file.next_entry() {
                Ok(None) => return,
                // Numbers only grow; what is before the place was read.
                Ok(Some(entry)) => journal.head = Some(entry).filter(|entry| entry.seqnum >= journal.next),
                Err(error) => journal.fail(&error),
            }
        }
    }

    /// The file with the entry that was written first.
    fn earliest(&self) -> Option<usize> {
        let heads = self.open.iter().enumerate().filter(|(_, journal)| !journal.has_failed).filter_map(|(index, journal)| {
            let head = journal.head.as_ref()?;
            Some((index, journal.file.seqnum_id(), head))
        });
        heads.reduce(|first, other| if order(&other, &first) == Ordering::Less { other } else { first }).map(|(index, ..)| index)
    }

    fn read_entry(&mut self, index: usize, context: &mut SourceContext<'_>) {
        let journal = &mut self.open[index];
        let Some(head) = journal.head.take() else { return };
        if head.realtime < journal.not_before {
            let is_counted = journal.is_resumed && head.seqnum >= journal.next;
            context.metrics.dropped_lines(DropReason::TooOld, u64::from(is_counted), 0);
            journal.next = head.seqnum + 1;
            journal.is_in_batch = true;
            return;
        }
        let (fields, unreadable) = match journal.file.fields(&head) {
            Ok(read) => read,
            Err(error) => {
                journal.head = Some(head);
                journal.fail(&error);
                return;
            }
        };
        journal.failures = 0;
        if unreadable > 0 {
            context.metrics.journal_failure(JournalFailure::Compression);
        }
        let offset = head.seqnum;
        while let Some(cut) = journal.cuts.front().copied().filter(|cut| cut.offset <= offset) {
            journal.cuts.pop_front();
            journal.reader(context, |reader| reader.cut_pending(cut.stream, cut.kind, cut.offset));
        }
        match fields::line(&fields, &self.config, &self.job.relabel) {
            Ok((labels, line)) => {
                let stamp = i64::try_from(head.realtime.saturating_mul(1000)).unwrap_or(i64::MAX);
                context.counts.bytes += line.len() as u64;
                context.metrics.journal_lines.inc();
                journal.reader(context, |reader| reader.read_text(&Arc::new(labels), line, Some(stamp), offset));
            }
            Err(NoLine::NotMatched) => {}
            Err(NoLine::WithoutMessage) => context.metrics.journal_failure(JournalFailure::NoMessage),
            Err(NoLine::WithoutLabels) => context.metrics.journal_failure(JournalFailure::EmptyLabels),
        }
        journal.next = offset + 1;
        journal.is_in_batch = true;
    }

    /// Ends blocks of which no line came in time.
    fn flush_expired(&mut self, context: &mut SourceContext<'_>) {
        for journal in self.open.iter_mut().filter(|journal| journal.head.is_none()) {
            let keys = journal.state.stages.as_ref().map_or_else(Vec::new, |stages| stages.expired_keys(context.now));
            journal.flush(&self.container, keys, context);
        }
    }

    /// Closes files to which nothing is added any more.
    fn settle_drained(&mut self, context: &mut SourceContext<'_>) {
        let mut index = 0;
        while index < self.open.len() {
            let journal = &self.open[index];
            let is_over = journal.head.is_none() && !journal.has_failed && (journal.file.is_archived() || journal.file.is_removed());
            if is_over {
                self.settle(index, context);
            } else {
                index += 1;
            }
        }
    }

    fn drop_damaged(&mut self, context: &mut SourceContext<'_>) {
        let is_hopeless =
            |journal: &OpenJournal| journal.has_failed && (journal.failures > FAILURES_TOLERATED || journal.file.is_archived());
        while let Some(index) = self.open.iter().position(is_hopeless) {
            context.metrics.possible_loss(PossibleLoss::Journal);
            tracing::warn!(path = %self.open[index].path.display(), "journal file is damaged; entries after the damage are missing");
            self.settle(index, context);
        }
    }

    fn settle(&mut self, index: usize, context: &mut SourceContext<'_>) {
        let mut journal = self.open.swap_remove(index);
        let keys = journal.state.stages.as_ref().map_or_else(Vec::new, |stages| stages.held_keys());
        journal.flush(&self.container, keys, context);
        journal.record_clock(&self.container, context.batch, context.positions);
        let progress = Progress { is_finished: true, ..journal.state.progress_at(journal.next) };
        let mark = Some(journal.entry(&self.container, progress));
        self.settled.insert(journal.file.id(), Settled { id: journal.id, mark });
    }
}

/// Which of two entries was written first, as far as that can be known.
fn order((_, one_source, one): &(usize, u128, &RawEntry), (_, other_source, other): &(usize, u128, &RawEntry)) -> Ordering {
    if one_source == other_source && one.seqnum != other.seqnum {
        return one.seqnum.cmp(&other.seqnum);
    }
    if one.boot_id == other.boot_id {
        return one.monotonic.cmp(&other.monotonic);
    }
    one.realtime.cmp(&other.realtime)
}

impl OpenJournal {
    fn fail(&mut self, error: &JournalError) {
        self.failures += 1;
        self.has_failed = true;
        tracing::debug!(path = %self.path.display(), error = %error, failures = self.failures, "cannot read on in a journal file");
    }

    /// Lets `act` read with this file's stages.
    fn reader(&mut self, context: &mut SourceContext<'_>, act: impl FnOnce(&mut RecordReader<'_>)) {
        let mut stamp_reader = StampReader::default();
        let mut sink = RecordSink {
            rules: context.rules,
            state: &mut self.state,
            outlet: &mut self.outlet,
            batch: context.batch,
            counts: context.counts,
        };
        act(&mut sink.reader(self.id, &mut stamp_reader));
        context.batch.touched(context.now);
    }

    /// Ends blocks where the file stands, which no byte decides: recorded before anything that rests on it is sent.
    fn flush(&mut self, container: &str, keys: Vec<u64>, context: &mut SourceContext<'_>) {
        for key in keys {
            let kind = CutKind::Flush { key };
            let offset = self.next;
            self.reader(context, |reader| reader.cut_pending(OutputStream::Stdout, kind, offset));
            self.record_clock(container, context.batch, context.positions);
            self.decide(container, LineCut { offset, stream: OutputStream::Stdout, kind }, context.batch, context.positions);
            self.is_in_batch = true;
        }
    }

    /// Records the times of reading that stages took.
    fn record_clock(&mut self, container: &str, batch: &mut BatchBuilder, positions: &SharedPositions) {
        let decisions = self.state.stages.as_mut().map(|stages| std::mem::take(&mut stages.clock_decisions)).unwrap_or_default();
        for (_, offset, stamp) in decisions {
            let kind = CutKind::Clock { stamp, until: self.next };
            self.decide(container, LineCut { offset, stream: OutputStream::Stdout, kind }, batch, positions);
        }
    }

    fn decide(&self, container: &str, cut: LineCut, batch: &mut BatchBuilder, positions: &SharedPositions) {
        let entry = self.entry(container, self.start.clone());
        batch.rest_on(positions.lock().decide_cut(self.id, cut, entry));
    }

    /// The latest place from which everything after it can be read again.
    fn clean_progress(&self) -> Progress {
        let Some(frozen) = &self.state.frozen else { return self.state.progress_at(self.next) };
        let mut progress = frozen.progress.clone();
        if let Some(stages) = &progress.stages
            && let Some((last, _)) = stages.clock
        {
            progress.stages = Some(Arc::new(StageProgress { clock: Some((last, self.next)), ..StageProgress::clone(stages) }));
        }
        progress
    }

    fn entry(&self, container: &str, progress: Progress) -> FileEntry {
        FileEntry {
            instance: InstanceKey { container: container.to_owned(), number: 0 },
            name: format!("{:032x}", self.file.id()),
            device: 0,
            inode: 0,
            fingerprint: Fingerprint::default(),
            progress,
            cuts: Vec::new(),
        }
    }
}
