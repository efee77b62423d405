//! One container's files, in the order in which they are read: instances by number, rotated files by age, the live one last.
//!
//! Only the front file is read. It gives way to the next when it is final and drained; state passes from file to file within an instance
//! and starts anew with the next one. A file that grows after it was final is read on its own ([`super::late`]); one that is deleted is held
//! ([`super::hold`]). A container to which nothing is written is put to rest ([`super::rest`]).
//! Positions name the clean point: files that lie wholly before it are finished.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant, SystemTime};

use super::balance::{Balance, BalancePart, FileEnd, Meter};
use super::container_stages::ContainerStages;
use super::counts::ReadCounts;
use super::cuts::{apply_cut, flush_all, record_clock};
use super::file::{ReadEnd, TailFile};
use super::handover::{HandedContainer, HandedFile};
use super::hold::Unacknowledged;
use super::outlet::{Outlet, Outlets};
use super::rate::{ContainerRate, RateLimit};
use super::records::{LineRules, RecordSink};
use super::restart::Restart;
use super::retry::Retries;
use super::state::{CleanPoint, LineState};
use super::stream_limit::StreamLimit;
use crate::batch::builder::BatchBuilder;
use crate::discover::listing::{ContainerListing, SeenContainer, SeenFile, Source};
use crate::enrich::Enricher;
use crate::metrics::{Metrics, PossibleLoss};
use crate::parse::cri::OutputStream;
use crate::positions::keeper::SharedPositions;
use crate::positions::meeting::Meeting;
use crate::positions::table::{ContainerPath, FileEntry, FileId, Mark, Progress, SlimArc};
use crate::push::limited::{LimitedTenants, Tenant};
use crate::settings::Timing;

/// Bytes a container may read in one turn.
pub(super) const READ_QUANTUM: u64 = 1 << 20;

/// What a container needs from its worker.
pub(crate) struct ReadContext<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) batch: &'a mut BatchBuilder,
    pub(crate) counts: &'a mut ReadCounts,
    pub(crate) metrics: &'a Metrics,
    pub(crate) positions: &'a SharedPositions,
    pub(crate) enricher: &'a Enricher,
    pub(crate) rules: LineRules,
    /// What containers' lines go through.
    pub(crate) stages: &'a ContainerStages,
    pub(crate) timing: &'a Timing,
    /// Of the process, where it is limited.
    pub(crate) streams: Option<&'a Arc<StreamLimit>>,
    /// Text held for pending lines by all containers, in bytes.
    pub(crate) pending_bytes: &'a AtomicUsize,
    /// How much that may be.
    pub(crate) max_pending_bytes: usize,
    /// Up to where files are read, if not to their ends.
    pub(crate) meeting: Option<&'a Meeting>,
    pub(crate) now: Instant,
}

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Idle,
    /// Something was read; more may be there.
    Progress,
    BatchFull,
}

/// A file that was read to its end.
#[derive(Debug)]
pub(crate) struct FinishedFile {
    pub(crate) id: FileId,
    pub(crate) entry: FileEntry,
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
}

impl FinishedFile {
    /// Whether it is what is seen, and as it was.
    pub(super) fn is_still(&self, seen: &SeenFile) -> bool {
        (self.entry.device, self.entry.inode, self.size, self.modified) == (seen.device, seen.inode, seen.size, Some(seen.modified))
    }
}

/// A compressed rotated file as it was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompressedFile {
    pub(crate) size: u64,
    /// The file of which it is a copy, or as which it is read; `None` while that is open, or if it cannot be read.
    pub(crate) file: Option<FileId>,
    /// Nothing is to be done about it any more.
    pub(crate) is_settled: bool,
}

/// A finished file that grew, with its own state.
#[derive(Debug)]
pub(crate) struct LateFile {
    pub(crate) file: TailFile,
    pub(crate) state: LineState,
}

/// What is still to be told of files that were finished since the last batch.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) marks: Vec<Mark>,
    pub(super) balances: Vec<BalancePart>,
}

#[derive(Debug)]
pub(crate) struct ContainerTail {
    pub(crate) path: ContainerPath,
    pub(crate) directory: Arc<Path>,
    pub(crate) source: Source,
    /// Unread files, oldest first; the front one is being read.
    pub(crate) files: VecDeque<TailFile>,
    pub(crate) late: Vec<LateFile>,
    pub(crate) finished: Vec<FinishedFile>,
    /// Entries of the checkpoint not yet found on disk, and of files that were closed; the table's own.
    pub(crate) remembered: Vec<(FileId, SlimArc<FileEntry>)>,
    /// Compressed files by device and inode.
    pub(crate) compressed: BTreeMap<(u64, u64), CompressedFile>,
    pub(crate) is_listed: bool,
    /// Read to their ends and not acknowledged so far.
    pub(super) unacknowledged: Vec<Unacknowledged>,
    /// Open files of before a reload, until the first listing is taken in.
    pub(super) handed: Vec<HandedFile>,
    /// Its directory is to be listed again, and what could not be opened to be opened.
    pub(crate) needs_listing: bool,
    /// A listing of which not everything could be opened.
    pub(crate) postponed: Option<Box<ContainerListing>>,
    /// What could not be opened.
    pub(super) retries: Retries,
    /// A panic happened in it.
    pub(super) restart: Option<Box<Restart>>,
    /// When something was last read.
    pub(crate) last_activity: Instant,
    /// Gone from the tree.
    pub(crate) is_gone: bool,
    pub(crate) next_turn: Instant,
    pub(crate) poll_interval: Duration,
    /// Boxed, as what follows: there may be ten thousand containers, and most of them are never all read.
    pub(super) state: Option<Box<(u32, LineState)>>,
    pub(super) entered: Option<FileId>,
    /// Drained files of which the end is not yet before the clean point.
    pub(super) passed: Vec<Passed>,
    pub(super) outlets: Outlets,
    pub(super) waiting_since: Option<Instant>,
    /// Instances with labels need not wait for what their pod wishes: this was read before it came to rest.
    pub(super) was_at_rest: bool,
    /// A limit lets it be read again from then on.
    paused_until: Option<Instant>,
    /// Makes reading pause; `None` without a limit.
    pub(super) rate: Option<Box<ContainerRate>>,
    /// What the operator and the pod's annotations say, once that was asked.
    pub(super) rate_limit: Option<RateLimit>,
    /// What of [`ReadContext::pending_bytes`] is this container's.
    pub(super) own_pending_bytes: usize,
    pub(super) last_marked: Option<Box<CleanPoint>>,
    pub(super) ending: Option<Box<Ending>>,
    pub(crate) is_in_batch: bool,
    /// More of it is unread than one turn reads.
    pub(crate) is_behind: bool,
    /// The tenant of its lines is limited, and they wait in their files.
    pub(super) waits_for_tenant: bool,
    /// It has a pending line and was read on in its last turn.
    pub(crate) is_reading_on: bool,
    /// Version of the pod that the labels being used are of.
    pub(super) followed: u64,
    /// Of which version of the pod it is known whether an instance has ended, and of which one.
    pub(super) end_asked: u64,
    pub(super) end_asked_of: u32,
    /// The API says that the instance being read has ended.
    pub(super) has_ended: bool,
    /// What it tells of itself is as it is now.
    pub(super) is_reported: bool,
}

#[derive(Debug)]
pub(super) struct Passed {
    pub(super) id: FileId,
    pub(super) entry: FileEntry,
}

impl ContainerTail {
    pub(crate) fn new(container: SeenContainer, remembered: Vec<(FileId, SlimArc<FileEntry>)>, now: Instant) -> Self {
        let SeenContainer { path, directory, source } = container;
        Self {
            path,
            directory,
            source,
            files: VecDeque::new(),
            late: Vec::new(),
            finished: Vec::new(),
            remembered,
            compressed: BTreeMap::new(),
            is_listed: false,
            unacknowledged: Vec::new(),
            handed: Vec::new(),
            needs_listing: false,
            postponed: None,
            retries: Retries::default(),
            restart: None,
            last_activity: now,
            is_gone: false,
            next_turn: now,
            poll_interval: Duration::ZERO,
            state: None,
            entered: None,
            passed: Vec::new(),
            outlets: Outlets::default(),
            waiting_since: None,
            was_at_rest: false,
            paused_until: None,
            rate: None,
            rate_limit: None,
            own_pending_bytes: 0,
            last_marked: None,
            ending: None,
            is_in_batch: false,
            is_behind: false,
            waits_for_tenant: false,
            is_reading_on: false,
            followed: 0,
            end_asked: 0,
            end_asked_of: 0,
            has_ended: false,
            is_reported: false,
        }
    }

    /// What it is of.
    pub(super) fn container(&self) -> SeenContainer {
        SeenContainer { path: ContainerPath::clone(&self.path), directory: Arc::clone(&self.directory), source: self.source.clone() }
    }

    /// What it has open and has not finished, for whoever reads it after a reload. What was read is in its marks already.
    pub(super) fn into_handed(self) -> (ContainerPath, HandedContainer) {
        let unacknowledged = self.unacknowledged.into_iter().map(|file| file.file);
        let late = self.late.into_iter().map(|late| late.file);
        let open = late.chain(self.files).filter_map(TailFile::into_handed);
        // A reload may come before what the last one handed over was taken up.
        let files = self.handed.into_iter().chain(unacknowledged).chain(open).collect();
        (self.path, HandedContainer { directory: self.directory, source: self.source, files })
    }

    /// Whether nothing of it is left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.is_gone && self.open_files() == 0 && !self.is_in_batch && !self.is_restarting()
    }

    /// Its open files that are not read to their ends, or may grow.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &TailFile> {
        self.files.iter().chain(self.late.iter().map(|late| &late.file))
    }

    pub(super) fn unfinished_mut(&mut self) -> impl Iterator<Item = &mut TailFile> {
        self.files.iter_mut().chain(self.late.iter_mut().map(|late| &mut late.file))
    }

    pub(crate) fn open_files(&self) -> usize {
        self.files.len() + self.late.len() + self.unacknowledged.len()
    }

    /// Looks whether more of it is unread than one turn reads, as its files were last seen.
    pub(crate) fn note_backlog(&mut self) {
        let unread: u64 = self.files.iter().map(|file| file.size.saturating_sub(file.offset)).sum();
        self.is_behind = unread > READ_QUANTUM;
    }

    /// Whether nothing happened to it since its last turn, as far as one question for its file's size says. All else is asked when that is looked at whole.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        let Some(front) = self.files.front() else { return false };
        let is_alone = self.files.len() == 1 && self.late.is_empty();
        let is_settled = self.is_reported && !self.is_in_batch && !self.has_ended && self.paused_until.is_none();
        let has_pending = || self.state.as_deref().is_none_or(|(_, state)| state.has_pending());
        is_alone && is_settled && self.entered == Some(front.id) && !has_pending() && front.stands_still(now)
    }

    /// Whether nothing is left to be done about files before the live one, nor to be told or tried again.
    pub(super) fn has_nothing_to_do(&self) -> bool {
        let is_listed = self.is_listed && !self.is_gone && !self.needs_listing && self.postponed.is_none() && self.handed.is_empty();
        let is_read = self.late.is_empty() && self.passed.is_empty() && self.unacknowledged.is_empty();
        let is_told = self.is_reported && !self.is_in_batch && self.ending.is_none();
        let is_waiting = self.paused_until.is_some() || self.waiting_since.is_some() || self.restart.is_some() || self.retries.has_any();
        is_listed && is_read && is_told && !is_waiting
    }

    /// Looks whether one of the receivers limits the tenant of its lines.
    pub(super) fn must_wait_for_tenant(&mut self, limited: &[Arc<LimitedTenants>]) -> bool {
        let outlet = || self.state.as_deref().and_then(|(instance, _)| self.outlets.get(*instance));
        let is_limited = |tenant: &Tenant| limited.iter().any(|limited| limited.is_limited(tenant));
        self.waits_for_tenant =
            limited.iter().any(|limited| limited.are_any()) && outlet().is_some_and(|outlet| outlet.tenant().is_some_and(is_limited));
        self.waits_for_tenant
    }

    /// Nothing was written to it for a while: what can be made again takes no memory meanwhile.
    pub(crate) fn forget_rendered(&mut self) {
        self.outlets.values_mut().for_each(|outlet| outlet.rest());
        self.finished.shrink_to_fit();
    }

    /// Reads what is there, within the quantum.
    pub(crate) fn turn(&mut self, context: &mut ReadContext<'_>) -> io::Result<Turn> {
        if self.paused_until.is_some_and(|until| context.now < until) {
            return Ok(Turn::Idle);
        }
        self.paused_until = None;
        let (lines, bytes) = (context.counts.lines, context.counts.bytes);
        self.outlets.values_mut().filter_map(|outlet| outlet.rate.as_mut()).for_each(|rate| rate.set_now(context.now));
        let turn = self.read_files(context);
        let pause =
            self.outlets.values_mut().filter_map(|outlet| outlet.stages_mut()).map(|stages| std::mem::take(&mut stages.pause)).max();
        let limited = self.limit_rate(context, context.counts.lines - lines, context.counts.bytes - bytes);
        self.paused_until = pause.max(limited).filter(|pause| !pause.is_zero()).map(|pause| context.now + pause);
        self.bound_pending(context);
        turn
    }

    /// Where a container's lines are limited by slower reading: how long to pause after what was read.
    fn limit_rate(&mut self, context: &ReadContext<'_>, lines: u64, bytes: u64) -> Option<Duration> {
        let limit = self.rate_limit.unwrap_or(context.rules.rate);
        if limit.drops || (limit.bytes, limit.lines) == (0, 0) || matches!(self.source, Source::Target(_)) {
            return None;
        }
        if self.rate.is_none() {
            self.rate = ContainerRate::new(limit, context.now);
        }
        self.rate.as_mut().map(|rate| rate.take(bytes, lines, context.now))
    }

    fn read_files(&mut self, context: &mut ReadContext<'_>) -> io::Result<Turn> {
        let mut has_progress = false;
        while !self.files.is_empty() {
            if self.is_front_at(self.front_bound(context)) || !self.enter_front(context) {
                break;
            }
            self.follow_labels(context);
            let end = if self.forgets_tail() { FrontRead { is_at_end: true, ..FrontRead::default() } } else { self.read_front(context)? };
            has_progress |= end.has_progress;
            if end.is_batch_full {
                return Ok(Turn::BatchFull);
            }
            if !end.is_at_end || !self.leave_front_if_final(context)? {
                break;
            }
            has_progress = true;
        }
        self.cut_idle_lines(context);
        if has_progress {
            self.last_activity = context.now;
        }
        for index in (0..self.late.len()).rev() {
            match self.read_late(index, context)? {
                Turn::BatchFull => return Ok(Turn::BatchFull),
                turn => has_progress |= turn == Turn::Progress,
            }
        }
        Ok(if has_progress { Turn::Progress } else { Turn::Idle })
    }

    /// The offset up to which the front file is read.
    fn front_bound(&self, context: &ReadContext<'_>) -> u64 {
        match (context.meeting, self.files.front()) {
            (Some(meeting), Some(front)) => meeting.until(&self.path, front.parsed_name.instance, (front.device, front.inode), None),
            _ => u64::MAX,
        }
    }

    fn is_front_at(&self, bound: u64) -> bool {
        self.files.front().is_some_and(|front| front.offset >= bound)
    }

    /// Planted: what is left in a file when it is rotated is not read.
    pub(super) fn forgets_tail(&self) -> bool {
        #[cfg(feature = "planted-faults")]
        return self.files.len() > 1 && tailwater_planted::Fault::RotatedTailForgotten.is_planted();
        #[cfg(not(feature = "planted-faults"))]
        false
    }

    fn read_front(&mut self, context: &mut ReadContext<'_>) -> io::Result<FrontRead> {
        let bounds = (READ_QUANTUM, self.front_bound(context));
        let (Some(front), Some((instance, state))) = (self.files.front_mut(), self.state.as_deref_mut()) else {
            return Ok(FrontRead::default());
        };
        let outlet = self.outlets.get_mut(*instance).expect("entering a file made its outlet");
        let look = front.look(context.now)?;
        let offset_before = front.offset;
        let meter = Meter::start(context.counts, context.batch);
        let mut sink = RecordSink { rules: context.rules, state, outlet, batch: context.batch, counts: context.counts };
        let mut read = if look.has_shrunk {
            Ok(ReadEnd::Truncated)
        } else if look.has_news || !front.cuts.is_empty() {
            front.read(context.buffer, bounds, &mut sink)
        } else {
            Ok(ReadEnd::EndOfFile)
        };
        while matches!(read, Ok(ReadEnd::AtCut)) {
            apply_cut(front, &mut sink);
            read = front.read(context.buffer, bounds, &mut sink);
        }
        #[cfg(feature = "planted-faults")]
        panic_if_planted(&self.path, front.offset != offset_before);
        // Of a very long record its offset says nothing.
        let has_progress = front.offset != offset_before || matches!(read, Ok(ReadEnd::Quantum));
        count_denied(outlet, context.counts);
        add_to_balance(front, state, meter.stop(context.counts, context.batch));
        self.is_in_batch |= has_progress;
        let end = read?;
        if end == ReadEnd::Truncated {
            self.begin_truncated_anew(context)?;
            return Ok(FrontRead { has_progress: true, ..FrontRead::default() });
        }
        Ok(FrontRead { has_progress, is_batch_full: end == ReadEnd::BatchFull, is_at_end: end == ReadEnd::EndOfFile })
    }

    /// The front file shrank or begins otherwise: what was read is sent, then its content is read as another file's.
    fn begin_truncated_anew(&mut self, context: &mut ReadContext<'_>) -> io::Result<()> {
        let (Some(front), Some((instance, state))) = (self.files.front_mut(), self.state.as_deref_mut()) else { return Ok(()) };
        let outlet = self.outlets.get_mut(*instance).expect("entering a file made its outlet");
        context.metrics.truncated.inc();
        let meter = Meter::start(context.counts, context.batch);
        let mut sink = RecordSink { rules: context.rules, state, outlet, batch: context.batch, counts: context.counts };
        flush_all(front, &mut sink);
        count_denied(outlet, context.counts);
        add_to_balance(front, state, meter.stop(context.counts, context.batch));
        record_clock(front, &self.path, state, context.positions, context.batch);
        self.is_in_batch = true;
        let is_same_file = front.look(context.now)?.has_shrunk && front.begins_as_before()?;
        if is_same_file {
            front.go_back_to(front.size.min(front.offset));
            return Ok(());
        }
        context.metrics.possible_loss(PossibleLoss::Truncated);
        tracing::warn!(container = &*self.path, file = front.name, "log file was truncated; lines may be missing");
        let start = Progress::start(state.stamps.last_given());
        let old = front.id;
        self.ending.get_or_insert_default().balances.push(std::mem::take(&mut front.balance).finish(old, FileEnd::Counted));
        let new = context.positions.lock().new_file();
        front.begin_anew(new, start.clone())?;
        let entry = front.entry(&self.path, start);
        context.batch.rest_on(context.positions.lock().decide_truncation(old, new, entry));
        self.entered = Some(new);
        state.last_stream = OutputStream::Stdout;
        Ok(())
    }
}

/// Planted: some turns of the container `panics` end in a panic, after lines went into the batch.
#[cfg(feature = "planted-faults")]
fn panic_if_planted(path: &str, has_progress: bool) {
    use std::sync::atomic::Ordering;
    static TURNS: AtomicUsize = AtomicUsize::new(0);
    if has_progress && path.ends_with("/panics") && tailwater_planted::Fault::TurnPanics.is_planted() {
        let turn = TURNS.fetch_add(1, Ordering::Relaxed);
        assert!(turn.is_multiple_of(2) || turn > 6, "planted in turn {turn}");
    }
}

#[derive(Debug, Default)]
struct FrontRead {
    has_progress: bool,
    is_batch_full: bool,
    is_at_end: bool,
}

/// What is beyond a limit is counted as dropped.
pub(super) fn count_denied(outlet: &mut Outlet, counts: &mut ReadCounts) {
    counts.excluded += std::mem::take(&mut outlet.excluded_lines);
    counts.unsampled += std::mem::take(&mut outlet.unsampled_lines);
    counts.stream_limited += std::mem::take(&mut outlet.over_limit_lines);
    if let Some(rate) = &mut outlet.rate {
        counts.rate_dropped += rate.take_denied();
    }
}

/// What a look at `file` did goes into its balance.
pub(super) fn add_to_balance(file: &mut TailFile, state: &LineState, part: Balance) {
    if state.stages.is_some() || state.had_stages {
        file.balance.add_of_stages(part);
    } else {
        file.balance.add(part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rest::Resting;
    use super::*;
    use crate::positions::table::InstanceEntry;

    /// There may be ten thousand of each.
    #[test]
    fn a_container_and_its_file_fit_the_pieces_of_memory_that_are_meant_for_them() {
        assert!(size_of::<ContainerTail>() <= 512, "{}", size_of::<ContainerTail>());
        assert!(size_of::<TailFile>() <= 448, "{}", size_of::<TailFile>());
        assert!(size_of::<FileEntry>() + 8 <= 128, "{}", size_of::<FileEntry>());
        assert!(size_of::<InstanceEntry>() + 8 <= 80, "{}", size_of::<InstanceEntry>());
        assert!(size_of::<Resting>() <= 80, "{}", size_of::<Resting>());
    }
}
