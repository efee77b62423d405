//! The thread that reads the journal for all jobs that ask for it: its batch, its lane.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::source::{JournalSource, SourceContext};
use crate::metrics::Metrics;
use crate::positions::keeper::SharedPositions;
use crate::positions::meeting::Meeting;
use crate::promtail::jobs::Job;
use crate::promtail::old_positions::Cursor;
use crate::push::outgoing::Outgoing;
use crate::tail::counts::ReadCounts;
use crate::tail::records::LineRules;
use crate::tail::stages::StageLimits;
use crate::tail::worker::Command;

/// What is to be read.
#[derive(Debug, Clone)]
pub(crate) struct JournalJobs {
    pub(crate) jobs: Vec<Arc<Job>>,
    pub(crate) limits: Arc<StageLimits>,
    /// Promtail's own positions, by job.
    pub(crate) old_cursors: BTreeMap<String, Cursor>,
}

impl JournalJobs {
    pub(crate) fn are_any(&self) -> bool {
        self.jobs.iter().any(|job| job.journal.is_some())
    }
}

pub(crate) struct JournalReader {
    pub(crate) jobs: JournalJobs,
    /// The lane tells here that it has room.
    pub(crate) commands: Receiver<Command>,
    pub(crate) outgoing: Outgoing,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) positions: SharedPositions,
    pub(crate) rules: LineRules,
    /// Whether the receiver takes structured metadata, once it has said so; nothing is read before.
    pub(crate) sends_metadata: Arc<OnceLock<bool>>,
    /// Up to where files are read, if not to their ends.
    pub(crate) meeting: Option<Arc<Meeting>>,
    /// Between two looks at files to which nothing is written.
    pub(crate) poll: Duration,
    pub(crate) stop: Arc<AtomicBool>,
}

struct Running {
    reader: JournalReader,
    sources: Vec<JournalSource>,
    counts: ReadCounts,
}

impl JournalReader {
    /// Reads until `stop` is set and what was read is handed over.
    pub(crate) fn run(self) {
        let with_journal = self.jobs.jobs.iter().filter_map(|job| Some((job, job.journal.clone()?)));
        let sources = with_journal.map(|(job, config)| {
            let cursor = self.jobs.old_cursors.get(&job.name).copied();
            JournalSource::new(Arc::clone(job), config, Arc::clone(&self.jobs.limits), cursor, &self.positions)
        });
        let mut running = Running { sources: sources.collect(), counts: ReadCounts::default(), reader: self };
        let beat = running.reader.metrics.heartbeats.begin("journal");
        while !running.reader.stop.load(Ordering::Acquire) {
            beat.renew();
            running.step();
        }
        running.hand_over_the_rest();
    }
}

impl Running {
    fn step(&mut self) {
        self.reader.outgoing.hand_over();
        let mut may_be_more = false;
        if !self.reader.outgoing.is_blocked() && self.reader.sends_metadata.get().is_some() {
            may_be_more = self.read(Instant::now());
            let now = Instant::now();
            let has_marks = self.sources.iter().any(JournalSource::is_in_batch);
            if self.reader.outgoing.batch.is_full() || self.reader.outgoing.is_due(now, has_marks) {
                self.close(now);
            }
            self.reader.outgoing.hand_over();
        }
        let wait = if may_be_more && !self.reader.outgoing.is_blocked() { Duration::ZERO } else { self.reader.poll };
        let wait = self.reader.outgoing.until_due(wait, Instant::now());
        match self.reader.commands.recv_timeout(wait) {
            Ok(_) => while self.reader.commands.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
    }

    /// One turn of every source. Returns whether there may be more.
    fn read(&mut self, now: Instant) -> bool {
        let reader = &mut self.reader;
        let mut context = SourceContext {
            batch: &mut reader.outgoing.batch,
            counts: &mut self.counts,
            positions: &reader.positions,
            metrics: &reader.metrics,
            rules: reader.rules,
            takes_pairs: reader.sends_metadata.get().copied().unwrap_or(false),
            meeting: reader.meeting.as_deref(),
            now,
        };
        let mut may_be_more = false;
        for source in &mut self.sources {
            may_be_more |= source.turn(&mut context);
        }
        self.counts.publish(&reader.metrics);
        may_be_more
    }

    fn close(&mut self, now: Instant) {
        for source in &mut self.sources {
            source.add_marks(&mut self.reader.outgoing.batch, &self.reader.positions);
        }
        self.reader.outgoing.close(now);
    }

    /// At the end: what was read goes out without waiting, as far as the lane takes it.
    fn hand_over_the_rest(mut self) {
        self.reader.outgoing.send_at_end();
        self.close(Instant::now());
        self.reader.outgoing.send_at_end();
    }
}
