//! One reader thread: its containers, its batch, its lane to the receiver.
//!
//! A step takes commands, gives every container that is due one turn, and hands the batch over when it is full, when its oldest line is
//! old enough, or at once when no request is in flight. With all lanes busy and the batch full nothing is read: the files are the
//! buffer. Commands are taken even then, so that files are held open before they vanish.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::container::{ContainerTail, ReadContext, Turn};
use super::container_stages::ContainerStages;
use super::counts::ReadCounts;
use super::handover::Handover;
use super::reconcile::ReconcileContext;
use super::records::LineRules;
use super::rest::Resting;
use super::share::BandwidthShare;
use super::stream_limit::StreamLimit;
use super::turns::Turns;
use crate::discover::listing::{ContainerListing, Source};
use crate::enrich::Enricher;
use crate::metrics::Metrics;
use crate::positions::keeper::SharedPositions;
use crate::positions::meeting::Meeting;
use crate::positions::table::ContainerPath;
use crate::push::limited::LimitedTenants;
use crate::push::outgoing::Outgoing;
use crate::settings::Timing;

/// Bytes read at once.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;
/// Wait after a failed read, and its limit.
pub(super) const ERROR_WAIT: Duration = Duration::from_secs(1);
pub(super) const ERROR_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two looks at deleted files.
const HOLD_INTERVAL: Duration = Duration::from_millis(500);
/// Above this many containers idle ones are looked at less often, in proportion.
const CONTAINERS_AT_FULL_PACE: usize = 1000;

/// What others tell a worker.
#[derive(Debug)]
pub(crate) enum Command {
    Listing(Box<ContainerListing>),
    /// A writer closed a file, then of `size` bytes.
    Closed {
        container: ContainerPath,
        device: u64,
        inode: u64,
        size: u64,
    },
    /// The lane has room again.
    LaneFree,
}

/// Where commands for a worker go.
#[derive(Debug, Clone)]
pub(crate) struct WorkerHandle(pub(crate) SyncSender<Command>);

impl WorkerHandle {
    /// Waits for room; a worker that has ended needs no commands.
    pub(crate) fn send(&self, command: Command) {
        if self.0.send(command).is_err() {
            tracing::trace!("worker has ended");
        }
    }

    /// Tells it that its lane has room; a worker with a full queue wakes up anyway.
    pub(crate) fn wake(&self) {
        if self.0.try_send(Command::LaneFree).is_err() {
            tracing::trace!("worker is busy or has ended");
        }
    }
}

/// What a worker is made of.
pub(crate) struct Worker {
    pub(crate) commands: Receiver<Command>,
    pub(crate) outgoing: Outgoing,
    /// Of whom nothing is read for now, by receiver.
    pub(crate) limited: Vec<Arc<LimitedTenants>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) positions: SharedPositions,
    pub(crate) enricher: Arc<Enricher>,
    pub(crate) rules: LineRules,
    /// What containers' lines go through.
    pub(crate) stages: Arc<ContainerStages>,
    pub(crate) timing: Timing,
    pub(crate) is_full_reread: bool,
    /// Lines of pods stamped before it are not read.
    pub(crate) not_before: Option<i64>,
    pub(crate) stop: Arc<AtomicBool>,
    /// For which of the clients it reads.
    pub(crate) clients: Vec<usize>,
    /// Files this worker may hold open.
    pub(crate) max_open_files: usize,
    /// Bytes of deleted files that all workers hold, and how many they may be.
    pub(crate) held_bytes: Arc<AtomicU64>,
    pub(crate) max_held_bytes: u64,
    /// Containers of all workers.
    pub(crate) all_containers: Arc<AtomicUsize>,
    /// Of the process, where it is limited.
    pub(crate) streams: Option<Arc<StreamLimit>>,
    /// Text held for pending lines by all workers, in bytes.
    pub(crate) pending_bytes: Arc<AtomicUsize>,
    /// How much that may be.
    pub(crate) max_pending_bytes: usize,
    /// Up to where files are read, if not to their ends.
    pub(crate) meeting: Option<Arc<Meeting>>,
    /// Where links of the tree may lead to.
    pub(crate) docker_root: Option<PathBuf>,
    /// Descriptors from before a reload, and for after one.
    pub(crate) handover: Handover,
}

pub(super) struct Running {
    pub(super) worker: Worker,
    buffer: Vec<u8>,
    pub(super) counts: ReadCounts,
    /// Boxed: thousands of them do not move, and leave no room for as many again, when there is one more.
    #[allow(clippy::vec_box, reason = "see above")]
    pub(super) containers: Vec<Box<ContainerTail>>,
    pub(super) by_path: HashMap<ContainerPath, usize>,
    /// Those that are not among them, since nothing is written to them.
    pub(super) resting: HashMap<ContainerPath, Box<Resting>>,
    /// Files of them that are open.
    pub(super) resting_open: usize,
    pub(super) next_resting_look: Instant,
    pub(super) own_open_files: i64,
    /// Processor time of this thread that is counted.
    counted_cpu: Duration,
    /// Containers with a pending line that were read on in their last turn.
    pub(super) reading_on: usize,
    pub(super) own_held_bytes: u64,
    pub(super) next_hold: Instant,
    /// Idle containers are looked at together, at multiples of their pace from here.
    pub(super) started: Instant,
    pub(super) share: BandwidthShare,
    pub(super) turns: Turns,
}

/// What a look at all containers says.
#[derive(Debug)]
struct Survey {
    /// Something was read, has ended or waits for a descriptor.
    is_something_left: bool,
    open_files: usize,
    next_turn: Option<Instant>,
}

impl Worker {
    /// Reads until `stop` is set and what was read is handed over.
    pub(crate) fn run(self) {
        let mut running = Running {
            buffer: vec![0; BUFFER_BYTES],
            counts: ReadCounts::default(),
            containers: Vec::new(),
            by_path: HashMap::new(),
            resting: HashMap::new(),
            resting_open: 0,
            next_resting_look: Instant::now(),
            own_open_files: 0,
            counted_cpu: Duration::ZERO,
            reading_on: 0,
            own_held_bytes: 0,
            next_hold: Instant::now(),
            started: Instant::now(),
            share: BandwidthShare::default(),
            turns: Turns::default(),
            worker: self,
        };
        let beat = running.worker.metrics.heartbeats.begin("reader");
        while !running.worker.stop.load(Ordering::Acquire) {
            beat.renew();
            running.step();
        }
        running.hand_over_the_rest();
    }

    /// The longest wait between two looks at an idle file.
    fn idle_pace(&self) -> Duration {
        stretched(self.timing.poll_max, self.all_containers.load(Ordering::Relaxed))
    }

    /// The same of one to which nothing was written for long, at rest or not.
    pub(super) fn quiet_pace(&self) -> Duration {
        self.idle_pace().max(self.timing.poll_quiet)
    }

    /// With `room` for so many more open files.
    pub(super) fn reconcile_context(&self, now: Instant, room: usize) -> ReconcileContext<'_> {
        ReconcileContext {
            positions: &self.positions,
            metrics: &self.metrics,
            now,
            is_full_reread: self.is_full_reread,
            not_before: self.not_before,
            handover: &self.handover,
            docker_root: self.docker_root.as_deref(),
            room: Cell::new(room),
        }
    }
}

impl Running {
    fn step(&mut self) {
        let mut now = Instant::now();
        self.worker.outgoing.hand_over();
        if now >= self.next_hold {
            self.next_hold = now + HOLD_INTERVAL;
            self.hold_deleted(now);
        }
        if now >= self.next_resting_look {
            self.look_at_resting(now);
        }
        if !self.worker.outgoing.is_blocked() {
            self.read_round(now);
            now = Instant::now();
        }
        let mut survey = self.survey();
        if survey.is_something_left {
            self.finish_round(now);
            survey = self.survey();
        }
        self.publish_open_files(survey.open_files);
        let wait = self.until_next_turn(survey.next_turn, now);
        match self.worker.commands.recv_timeout(wait) {
            Ok(command) => {
                self.obey(command);
                while let Ok(command) = self.worker.commands.try_recv() {
                    self.obey(command);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
    }

    /// One pass over all containers: there may be thousands, and in most steps nothing is to be done about any.
    fn survey(&self) -> Survey {
        let is_something_left = !self.worker.outgoing.batch.is_empty();
        let next_turn = (!self.resting.is_empty()).then_some(self.next_resting_look);
        let mut survey = Survey { is_something_left, open_files: self.resting_open, next_turn };
        for container in &self.containers {
            survey.is_something_left |= container.is_in_batch || container.needs_listing || container.is_over();
            survey.open_files += container.open_files();
            survey.next_turn = Some(survey.next_turn.map_or(container.next_turn, |next| next.min(container.next_turn)));
        }
        survey
    }

    /// After a round of reading: closes the batch, if that is due, lets go of what has ended, and opens what waits for descriptors.
    fn finish_round(&mut self, now: Instant) {
        if !self.worker.outgoing.is_blocked() {
            self.close_batch_if_due(now);
            self.worker.outgoing.hand_over();
            self.remove_ended();
        }
        self.share_descriptors(now);
    }

    pub(super) fn publish_cpu(&mut self) {
        let Ok(used) = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from) else { return };
        self.worker.metrics.read_cpu_seconds.inc_by(used.saturating_sub(self.counted_cpu).as_secs_f64());
        self.counted_cpu = used;
    }

    pub(super) fn turn(&mut self, index: usize, now: Instant) -> Turn {
        let worker = &mut self.worker;
        let poll_max = worker.idle_pace();
        self.counts.looks += 1;
        let container = &mut self.containers[index];
        if container.poll_interval >= poll_max && container.is_quiet(now) {
            let is_long_quiet = now.saturating_duration_since(container.last_activity) >= worker.timing.quiet_after;
            container.poll_interval = if is_long_quiet { worker.quiet_pace() } else { poll_max };
            container.next_turn = next_on_grid(self.started, now, container.poll_interval);
            return Turn::Idle;
        }
        if container.must_wait_for_tenant(&worker.limited) {
            container.poll_interval = poll_max;
            container.next_turn = next_on_grid(self.started, now, poll_max);
            return Turn::Idle;
        }
        let mut context = ReadContext {
            buffer: &mut self.buffer,
            batch: &mut worker.outgoing.batch,
            counts: &mut self.counts,
            metrics: &worker.metrics,
            positions: &worker.positions,
            enricher: &worker.enricher,
            rules: worker.rules,
            stages: &worker.stages,
            timing: &worker.timing,
            streams: worker.streams.as_ref(),
            pending_bytes: &worker.pending_bytes,
            max_pending_bytes: worker.max_pending_bytes,
            meeting: worker.meeting.as_deref(),
            now,
        };
        let container = &mut self.containers[index];
        let (lines_before, bytes_before) = (context.counts.lines, context.counts.bytes);
        let turn = container.turn(&mut context);
        self.share.read(context.counts.bytes - bytes_before, container.is_behind);
        container.note_backlog();
        container.report((&worker.metrics.files, &worker.clients), self.counts.lines - lines_before, &turn);
        worker.outgoing.batch.touched(now);
        let is_reading_on = container.has_pending_bytes() && matches!(turn, Ok(Turn::Progress | Turn::BatchFull));
        self.reading_on = self.reading_on + usize::from(is_reading_on) - usize::from(container.is_reading_on);
        container.is_reading_on = is_reading_on;
        let timing = &worker.timing;
        match turn {
            Ok(Turn::Idle) => {
                container.poll_interval = (container.poll_interval * 2).clamp(timing.poll_min, poll_max);
                container.next_turn = next_on_grid(self.started, now, container.poll_interval);
                if container.poll_interval >= poll_max && !container.is_in_batch {
                    container.forget_rendered();
                }
                Turn::Idle
            }
            Ok(turn) => {
                container.poll_interval = timing.poll_min;
                container.next_turn = now;
                turn
            }
            Err(error) => {
                worker.metrics.read_errors.inc();
                if container.poll_interval < ERROR_WAIT {
                    worker.metrics.target_failed();
                }
                tracing::warn!(container = &*container.path, error = %error, "cannot read a log file; trying again");
                container.poll_interval = (container.poll_interval * 2).clamp(ERROR_WAIT, ERROR_WAIT_MAX);
                container.next_turn = now + container.poll_interval;
                Turn::Idle
            }
        }
    }

    fn close_batch_if_due(&mut self, now: Instant) {
        let has_marks = self.containers.iter().any(|container| container.is_in_batch);
        if self.worker.outgoing.is_due(now, has_marks) {
            self.close_batch(now);
        }
    }

    pub(super) fn close_batch(&mut self, now: Instant) {
        self.guarded_marks(now);
        self.worker.outgoing.close(now);
    }

    fn until_next_turn(&self, next: Option<Instant>, now: Instant) -> Duration {
        if self.worker.outgoing.is_blocked() {
            return self.worker.timing.poll_max;
        }
        let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(now)).min(self.worker.timing.poll_max);
        self.worker.outgoing.until_due(wait, now)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Listing(listing) => self.take_listing(&listing),
            Command::Closed { container, device, inode, size } => self.note_closed(&container, (device, inode), size),
            Command::LaneFree => {}
        }
    }

    pub(super) fn take_listing(&mut self, listing: &ContainerListing) {
        let now = Instant::now();
        if self.resting.get(&listing.path).is_some_and(|resting| resting.knows_all_of(listing)) {
            return;
        }
        let index = match self.by_path.get(&listing.path).copied().or_else(|| self.wake(&listing.path, now)) {
            Some(index) => index,
            None if listing.is_gone && !self.worker.handover.has(&listing.path) => return,
            None => self.add_container(listing, now),
        };
        let open_before = self.containers[index].open_files();
        let has_news = self.guarded_reconcile(index, listing, now);
        let container = &mut self.containers[index];
        container.is_reported &= !has_news;
        if has_news {
            container.poll_interval = self.worker.timing.poll_min;
            container.next_turn = now;
        }
        if container.needs_listing && !matches!(listing.source, Source::Container { .. }) {
            container.postponed = Some(Box::new(listing.clone()));
        }
        self.count_open_files(open_before, self.containers[index].open_files());
        if self.containers[index].is_over() {
            self.remove_ended();
        }
    }

    pub(super) fn reconcile(&mut self, index: usize, listing: &ContainerListing, now: Instant) -> bool {
        let room = self.worker.max_open_files.saturating_sub(usize::try_from(self.own_open_files).unwrap_or(0));
        let context = self.worker.reconcile_context(now, room);
        self.containers[index].reconcile(listing, &context)
    }

    fn add_container(&mut self, listing: &ContainerListing, now: Instant) -> usize {
        let remembered = self.worker.positions.lock().files_of(&listing.path);
        let mut tail = ContainerTail::new(listing.container(), remembered, now);
        tail.handed = self.worker.handover.take(&listing.path);
        self.worker.enricher.begin_reading(&listing.source);
        self.worker.all_containers.fetch_add(1, Ordering::Relaxed);
        self.begin_with(tail)
    }

    /// Takes a container among those that are read; where it stands there.
    pub(super) fn begin_with(&mut self, tail: ContainerTail) -> usize {
        let index = self.containers.len();
        self.by_path.insert(ContainerPath::clone(&tail.path), index);
        self.containers.push(Box::new(tail));
        index
    }

    /// Takes those at these places from among the containers that are read.
    pub(super) fn take_out(&mut self, places: &[usize]) -> Vec<ContainerTail> {
        let mut taken = Vec::new();
        let mut numbers = Vec::new();
        let mut is_taken = vec![false; self.containers.len()];
        places.iter().for_each(|index| is_taken[*index] = true);
        for (container, is_taken) in std::mem::take(&mut self.containers).into_iter().zip(is_taken) {
            if is_taken {
                numbers.push(None);
                self.by_path.remove(&container.path);
                taken.push(*container);
            } else {
                numbers.push(Some(self.containers.len()));
                self.containers.push(container);
            }
        }
        self.reading_on = self.containers.iter().filter(|container| container.is_reading_on).count();
        self.by_path.values_mut().for_each(|index| *index = numbers[*index].expect("it was not taken"));
        self.turns.renumber(&numbers);
        taken
    }

    fn note_closed(&mut self, container: &str, identity: (u64, u64), size: u64) {
        let Some(index) = self.by_path.get(container).copied().or_else(|| self.wake(container, Instant::now())) else { return };
        let container = &mut self.containers[index];
        for file in container.files.iter_mut().filter(|file| (file.device, file.inode) == identity) {
            file.closed_at = Some(size);
            container.next_turn = Instant::now();
        }
    }

    fn remove_ended(&mut self) {
        let ended: Vec<usize> = (0..self.containers.len()).filter(|index| self.containers[*index].is_over()).collect();
        if ended.is_empty() {
            return;
        }
        let now = Instant::now();
        let ended = self.take_out(&ended);
        let mut positions = self.worker.positions.lock();
        for mut container in ended {
            container.count_pending(&self.worker.pending_bytes);
            container.finished.iter().for_each(|file| positions.vanished(file.id, now));
            container.remembered.iter().for_each(|(file, _)| positions.vanished(*file, now));
            self.worker.all_containers.fetch_sub(1, Ordering::Relaxed);
            self.worker.enricher.end_reading(&container.source, now);
            self.worker.metrics.files.forget(&self.worker.clients, &container.path);
        }
    }

    /// At the end: what was read goes out without waiting, as far as the lane takes it.
    fn hand_over_the_rest(mut self) {
        self.counts.publish(&self.worker.metrics);
        self.worker.outgoing.send_at_end();
        self.close_batch(Instant::now());
        self.publish_open_files(0);
        let read = self.containers.drain(..).map(|container| container.into_handed());
        let resting = self.resting.drain().map(|(path, resting)| {
            self.worker.metrics.resting_containers.dec();
            (ContainerPath::clone(&path), resting.into_handed(&path))
        });
        for (path, container) in read.chain(resting) {
            self.worker.enricher.end_reading(&container.source, Instant::now());
            self.worker.metrics.files.leave(&self.worker.clients, &path);
            self.worker.handover.leave(path, container);
        }
        self.worker.outgoing.send_at_end();
    }
}

/// The longest wait between two looks at an idle file, with so many containers.
fn stretched(poll_max: Duration, containers: usize) -> Duration {
    let factor = containers.max(CONTAINERS_AT_FULL_PACE) as f64 / CONTAINERS_AT_FULL_PACE as f64;
    poll_max.mul_f64(factor)
}

/// The next moment after `now` that is a whole number of steps after `start`: containers of one pace are due together, and none waits longer than its pace.
pub(super) fn next_on_grid(start: Instant, now: Instant, step: Duration) -> Instant {
    let nanos = step.as_nanos().max(1);
    let steps = now.saturating_duration_since(start).as_nanos() / nanos + 1;
    u64::try_from(steps * nanos).map_or(now + step, |nanos| start + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_containers_are_looked_at_together_and_none_waits_longer_than_its_pace() {
        let start = Instant::now();
        for step in [50, 100, 250].map(Duration::from_millis) {
            for millis in [0, 1, 49, 50, 51, 249, 250, 999] {
                let now = start + Duration::from_millis(millis);
                let next = next_on_grid(start, now, step);
                assert!(next > now && next - now <= step, "{millis}");
                assert_eq!((next - start).as_millis() % step.as_millis(), 0);
            }
        }
    }

    #[test]
    fn ten_thousand_containers_are_looked_at_every_two_and_a_half_seconds() {
        let most = Duration::from_millis(250);
        assert_eq!(stretched(most, 10), most);
        assert_eq!(stretched(most, 1000), most);
        assert_eq!(stretched(most, 10_000), Duration::from_millis(2500));
    }
}
