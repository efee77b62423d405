//! Files whose lines are no records (`format: raw`): each line is sent as it stands, with the time of reading.
//!
//! Stamps strictly increase over the instance as those of records do; the times they begin from are recorded with their offsets.

use super::read_clock::ClockScope;
use super::records::{RawRecord, RecordReader};
use crate::clock;
use crate::parse::stamps::StampGiver;
use crate::pipeline::context::ReadClock;
use crate::positions::table::FileId;

/// The time of reading of one instance's lines.
#[derive(Debug, Default)]
pub(crate) struct RawClock {
    clock: ReadClock,
    pub(super) scope: ClockScope,
}

impl RawClock {
    pub(super) fn decide(&mut self, stamp: i64, until: u64) {
        self.scope.decide(&mut self.clock, stamp, until);
    }

    /// The stamp of the line at `offset` of `file`, after `last_given`.
    fn next(&mut self, last_given: Option<i64>, (file, offset): (FileId, u64), epoch: u64, now: i64) -> i64 {
        self.scope.settle(&mut self.clock, offset, epoch);
        self.clock.last = self.clock.last.max(last_given);
        let stamp = self.clock.next(offset, now);
        self.scope.note(&mut self.clock, file);
        stamp
    }
}

impl RecordReader<'_> {
    /// Sends a line as it stands, with the time of reading.
    pub(super) fn read_raw(&mut self, raw: RawRecord<'_>) {
        if self.is_staged() {
            // The clock of the stages stamps it.
            let last_given = self.state.stamps.last_given().unwrap_or_default();
            self.emit(self.state.last_stream, last_given, raw);
            return;
        }
        let (epoch, last_given) = (self.batch.epoch(), self.state.stamps.last_given());
        let clock = self.state.raw.get_or_insert_default();
        let stamp = clock.next(last_given, (self.file, raw.offset), epoch, clock::now());
        // What is given next is this stamp.
        self.state.stamps = StampGiver::after(Some(stamp - 1));
        self.emit(self.state.last_stream, stamp, raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId(1);

    #[test]
    fn a_batch_takes_the_time_once_and_a_replay_takes_what_was_recorded() {
        let mut clock = RawClock::default();
        let given = [
            clock.next(None, (FILE, 0), 1, 500),
            clock.next(Some(500), (FILE, 10), 1, 900),
            clock.next(Some(501), (FILE, 20), 2, 400),
            // A line sent in three pieces was before.
            clock.next(Some(504), (FILE, 30), 2, 950),
        ];
        assert_eq!(given, [500, 501, 502, 505]);
        assert_eq!(clock.scope.decisions, [(FILE, 0, 500), (FILE, 20, 502)]);

        let mut replay = RawClock::default();
        replay.decide(500, 20);
        let first = [replay.next(None, (FILE, 0), 1, 9000), replay.next(Some(500), (FILE, 10), 1, 9000)];
        replay.decide(502, 40);
        let then = [replay.next(Some(501), (FILE, 20), 1, 9000), replay.next(Some(504), (FILE, 30), 1, 9000)];
        assert_eq!((first, then), ([500, 501], [502, 505]));
        assert_eq!(replay.next(Some(505), (FILE, 40), 1, 9000), 9000, "beyond what was recorded the time decides");
    }
}
