//! Where in a file the time of reading was decided, and how far a decision goes: for lines that bring no time of their own.
//!
//! A batch's first such line takes the time; the lines behind it follow, a nanosecond apart. The decision is recorded with its place before anything that
//! rests on it is sent, so that a replay takes it instead of the time.

use crate::pipeline::context::ReadClock;
use crate::positions::table::FileId;

/// Up to where decisions of the clock hold, and those not yet recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClockScope {
    /// Batch in which the clock was decided.
    epoch: u64,
    /// Up to this offset the clock goes on from a recorded decision.
    until: u64,
    /// Decisions not yet recorded: file, offset of the line, stamp.
    pub(crate) decisions: Vec<(FileId, u64, i64)>,
}

impl ClockScope {
    /// With a decision of the checkpoint that holds up to `until`.
    pub(crate) fn up_to(until: u64) -> Self {
        Self { until, ..Self::default() }
    }

    /// Takes a decision of an earlier process.
    pub(crate) fn decide(&mut self, clock: &mut ReadClock, stamp: i64, until: u64) {
        clock.decide(stamp);
        self.until = until;
    }

    /// Lets the clock decide anew if nothing holds any more for a line at `offset` in this batch.
    pub(crate) fn settle(&mut self, clock: &mut ReadClock, offset: u64, epoch: u64) {
        if offset < self.until {
            self.epoch = epoch;
            return;
        }
        if self.epoch != epoch || self.until != 0 {
            clock.is_decided = false;
            self.epoch = epoch;
            self.until = 0;
        }
    }

    /// Notes what the clock decided in `file`.
    pub(crate) fn note(&mut self, clock: &mut ReadClock, file: FileId) {
        self.decisions.extend(clock.decisions.drain(..).map(|(offset, stamp)| (file, offset, stamp)));
    }
}
