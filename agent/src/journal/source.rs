//! One job's part of the journal: its files, which entry comes next, and where each file stands.
//!
//! Files are told apart by the id in their header; a file that is archived under another name goes on where it was. Each has stamps and stages of its
//! own, so that what one file repeats after a restart does not depend on the others.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use super::directory::{self, Listed};
use super::fields::{self, NoLine};
use super::file::JournalFile;
use super::format::RawEntry;
use super::open::OpenJournal;
use crate::batch::builder::BatchBuilder;
use crate::clock;
use crate::metrics::{DropReason, JournalFailure, Metrics, PossibleLoss};
use crate::observe::journals;
use crate::positions::keeper::SharedPositions;
use crate::positions::meeting::Meeting;
use crate::positions::table::{ContainerPath, FileEntry, FileId, Mark, Progress, SlimArc};
use crate::promtail::jobs::Job;
use crate::promtail::journal::JournalConfig;
use crate::promtail::old_positions::Cursor;
use crate::relabel::Labels;
use crate::tail::balance::{BalancePart, FileBalance, FileEnd};
use crate::tail::counts::ReadCounts;
use crate::tail::outlet::Outlet;
use crate::tail::records::LineRules;
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
    /// Whether the receiver takes pairs that no stage made.
    pub(super) takes_pairs: bool,
    /// Up to where files are read, if not to their ends.
    pub(super) meeting: Option<&'a Meeting>,
    pub(super) now: Instant,
}

/// A file that is done with.
struct Settled {
    id: FileId,
    /// To go into the next batch.
    mark: Option<(FileEntry, BalancePart)>,
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
        let container = journals::group(&job.name);
        let known = positions.lock().files_of(&container);
        let remembered = known
            .into_iter()
            .filter_map(|(id, entry)| Some((u128::from_str_radix(&entry.name, 16).ok()?, (id, SlimArc::unwrap_or_clone(entry)))));
        let oldest = SystemTime::now().checked_sub(config.max_age).map_or(0, clock::nanoseconds);
        Self {
            directories: directory::directories(config.path.as_deref()),
            cutoff: oldest.unsigned_abs() / 1000,
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
            self.report(context.metrics);
        }
        self.look(context);
        for _ in 0..TURN_ENTRIES {
            let Some(index) = self.earliest(context.meeting) else {
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
            journal.balance.take(journal.id).into_iter().for_each(|part| batch.balance(part));
        }
        for settled in self.settled.values_mut() {
            if let Some((entry, balance)) = settled.mark.take() {
                batch.mark(Mark { file: settled.id, entry });
                batch.balance(balance);
            }
        }
    }

    /// Tells how far every file is.
    fn report(&self, metrics: &Metrics) {
        for journal in &self.open {
            metrics.journals.report(&self.container, &journal.name(), journal.view(&self.config.labels));
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
            tracing::debug!(path = %listed.path.display(), container = &*entry.instance.container, "journal file was read before");
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
            outlet: Outlet::of_stages(StageOutlet::new(Labels::new(), None, limits).with_pairs(context.takes_pairs)),
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
            balance: FileBalance::default(),
            last_error: None,
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

    /// The file with the entry that was written first, of those that are read now.
    fn earliest(&self, meeting: Option<&Meeting>) -> Option<usize> {
        let until =
            |journal: &OpenJournal| meeting.map_or(u64::MAX, |meeting| meeting.until(&self.container, 0, (0, 0), Some(journal.name())));
        let heads = self.open.iter().enumerate().filter(|(_, journal)| !journal.has_failed).filter_map(|(index, journal)| {
            let head = journal.head.as_ref().filter(|head| head.seqnum < until(journal))?;
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
        (journal.failures, journal.last_error) = (0, None);
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
                self.settle(index, FileEnd::Drained, context);
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
            self.settle(index, FileEnd::Counted, context);
        }
    }

    fn settle(&mut self, index: usize, end: FileEnd, context: &mut SourceContext<'_>) {
        let mut journal = self.open.swap_remove(index);
        let keys = journal.state.stages.as_ref().map_or_else(Vec::new, |stages| stages.held_keys());
        journal.flush(&self.container, keys, context);
        journal.record_clock(&self.container, context.batch, context.positions);
        let progress = Progress { is_finished: true, ..journal.state.progress_at(journal.next) };
        let entry = journal.entry(&self.container, progress);
        context.metrics.journals.forget(&self.container, &entry.name);
        let mark = Some((entry, journal.balance.finish(journal.id, end)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::batch::builder::BatchLimits;
    use crate::journal::made::{FileMade, Shape};
    use crate::observe::standing::standings;
    use crate::parse::format::RecordFormat;
    use crate::positions::table::PositionsTable;
    use crate::tail::balance::SettledBalances;
    use crate::tail::rate::RateLimit;
    use crate::tail::records::{LongLine, Unparsed};
    use tailwater_proto::{read, snappy};

    const RULES: LineRules = LineRules {
        max_line_bytes: 1 << 16,
        max_record_bytes: 1 << 20,
        format: RecordFormat::Auto,
        long_line: LongLine::Truncate,
        unparsed: Unparsed::Keep,
        rate: RateLimit { bytes: 0, lines: 0, drops: false },
    };

    /// One job's source, with what it needs, and the sums of what was settled.
    struct Harness {
        source: JournalSource,
        positions: SharedPositions,
        metrics: Arc<Metrics>,
        batch: BatchBuilder,
        counts: ReadCounts,
        settled: SettledBalances,
        meeting: Option<Meeting>,
        now: Instant,
    }

    impl Harness {
        fn new(directory: &std::path::Path, stages: &str, positions: SharedPositions) -> Self {
            let metrics = Metrics::new();
            let text = format!(
                "clients: [{{url: 'http://h/push'}}]\nscrape_configs: [{{job_name: j, journal: {{path: {}, max_age: 1000000h, labels: {{job: x}}}}, pipeline_stages: {stages}}}]",
                directory.display()
            );
            let (promtail, report) = crate::promtail::parse(&text, "h".to_owned());
            let job = promtail.unwrap_or_else(|| panic!("{report}")).scrape.jobs.remove(0);
            let config = job.journal.clone().unwrap();
            let source = JournalSource::new(job, config, Arc::new(StageLimits::none(Arc::clone(&metrics))), None, &positions);
            let batch = BatchBuilder::new(BatchLimits { batch_bytes: 1 << 20, max_line_bytes: 1 << 16 });
            Self {
                source,
                positions,
                metrics,
                batch,
                counts: ReadCounts::default(),
                settled: SettledBalances::default(),
                meeting: None,
                now: Instant::now(),
            }
        }

        /// Reads what is there, a second later; returns the lines, and what does not agree once they are settled.
        fn read(&mut self) -> (Vec<String>, u64) {
            self.now += LIST_EVERY;
            let mut context = SourceContext {
                batch: &mut self.batch,
                counts: &mut self.counts,
                positions: &self.positions,
                metrics: &self.metrics,
                rules: RULES,
                takes_pairs: false,
                meeting: self.meeting.as_ref(),
                now: self.now,
            };
            while self.source.turn(&mut context) {}
            self.source.add_marks(&mut self.batch, &self.positions);
            let batch = self.batch.finish(self.now);
            batch.marks.iter().for_each(|mark| self.positions.lock().acknowledge(0, mark));
            (lines(&batch), self.settled.settle(&batch.balances, batch.entries))
        }
    }

    fn lines(batch: &Batch) -> Vec<String> {
        let mut request = Vec::new();
        if !batch.body.is_empty() {
            snappy::decompress(&batch.body, 1 << 24, &mut request).unwrap();
        }
        let entries = read::streams(&request).flat_map(|stream| stream.unwrap().entries().map(Result::unwrap).collect::<Vec<_>>());
        entries.map(|entry| String::from_utf8(entry.line.to_vec()).unwrap()).collect()
    }

    fn numbered(numbers: std::ops::Range<u64>) -> Vec<String> {
        numbers.map(|number| format!("line {number}")).collect()
    }

    fn add_lines(made: &mut FileMade, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| made.entry(1_700_000_000_000_000 + number, &[("MESSAGE", &format!("line {number}"))]));
    }

    fn shared() -> SharedPositions {
        SharedPositions::new(PositionsTable::default())
    }

    #[test]
    fn a_file_is_read_once_shown_with_its_place_and_balanced_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        let mut made = FileMade::new(Shape::Compact, 7);
        add_lines(&mut made, 0..20);
        made.entry(1_700_000_000_000_030, &[("PRIORITY", "6")]);
        made.write_to(&path);
        let mut harness = Harness::new(directory.path(), "[]", shared());
        assert_eq!(harness.read(), (numbered(0..20), 0));
        add_lines(&mut made, 40..50);
        made.write_to(&path);
        assert_eq!(harness.read(), (numbered(40..50), 0));
        assert_eq!(harness.read(), (Vec::new(), 0));
        let shown = standings(&harness.metrics, 0, &harness.positions.lock().snapshot(0));
        assert_eq!((shown.len(), shown[0].read, shown[0].acknowledged, shown[0].state()), (1, Some(32), 32, "idle"));
        assert_eq!(shown[0].path.as_deref(), path.to_str());
        made.is_archived = true;
        made.write_to(&path);
        assert_eq!(harness.read(), (Vec::new(), 0));
        let shown = standings(&harness.metrics, 0, &harness.positions.lock().snapshot(0));
        assert_eq!((shown.len(), shown[0].state()), (1, "finished"));
    }

    #[test]
    fn the_next_process_goes_on_where_this_one_was_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let mut made = FileMade::new(Shape::Plain, 7);
        add_lines(&mut made, 0..10);
        made.write_to(&directory.path().join("system.journal"));
        let positions = shared();
        assert_eq!(Harness::new(directory.path(), "[]", positions.clone()).read().0, numbered(0..10));
        add_lines(&mut made, 10..15);
        made.write_to(&directory.path().join("system.journal"));
        let kept = positions.lock().snapshot(0);
        let reloaded = SharedPositions::new(PositionsTable::load([&kept]));
        assert_eq!(Harness::new(directory.path(), "[]", reloaded).read(), (numbered(10..15), 0));
    }

    #[test]
    fn a_client_behind_is_read_for_up_to_where_another_one_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut made = FileMade::new(Shape::Plain, 7);
        let (ahead, behind) = (shared(), shared());
        for (numbers, positions) in [(0..10, &behind), (10..15, &ahead)] {
            add_lines(&mut made, numbers);
            made.write_to(&directory.path().join("system.journal"));
            Harness::new(directory.path(), "[]", positions.clone()).read();
        }
        add_lines(&mut made, 15..20);
        made.write_to(&directory.path().join("system.journal"));
        let meeting = Meeting::of([&ahead, &behind].map(|positions| positions.lock().snapshot(0)).iter()).unwrap();
        let kept = behind.lock().snapshot(0);
        let caught_up = SharedPositions::new(PositionsTable::load([&kept]));
        let mut harness = Harness::new(directory.path(), "[]", caught_up.clone());
        assert!(!meeting.is_reached_by(&kept));
        harness.meeting = Some(meeting);
        assert_eq!((harness.read().0, harness.read().0), (numbered(10..15), Vec::new()));
        assert!(harness.meeting.unwrap().is_reached_by(&caught_up.lock().snapshot(0)));
    }

    #[test]
    fn joined_and_dropped_lines_are_part_of_the_balance() {
        let directory = tempfile::tempdir().unwrap();
        let mut made = FileMade::new(Shape::Plain, 7);
        add_lines(&mut made, 0..10);
        made.is_archived = true;
        made.write_to(&directory.path().join("system.journal"));
        let stages = "[{drop: {expression: 'line 3'}}, {multiline: {firstline: '[05]$'}}]";
        let mut harness = Harness::new(directory.path(), stages, shared());
        assert_eq!(harness.read(), (vec!["line 0\nline 1\nline 2\nline 4".to_owned(), numbered(5..10).join("\n")], 0));
    }

    #[test]
    fn a_damaged_file_says_so_and_the_others_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let (damaged, whole) = (directory.path().join("a.journal"), directory.path().join("b.journal"));
        let mut made = FileMade::new(Shape::Plain, 7);
        add_lines(&mut made, 0..10);
        made.write_to(&damaged);
        let bytes = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
        let mut made = FileMade::new(Shape::Plain, 8);
        add_lines(&mut made, 0..10);
        made.write_to(&whole);
        let mut harness = Harness::new(directory.path(), "[]", shared());
        assert_eq!(harness.read(), (numbered(0..10), 0));
        harness.read();
        let shown = standings(&harness.metrics, 0, &harness.positions.lock().snapshot(0));
        let states: Vec<_> = shown.iter().map(|file| (file.state(), file.last_error.is_some())).collect();
        assert!(states.contains(&("failing", true)) && states.contains(&("idle", false)), "{states:?}");
    }
}
