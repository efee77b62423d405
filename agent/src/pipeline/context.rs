//! What a stage needs beyond the entry: stamps that must come out the same in a replay, counters, and the wish to read on later.

use std::sync::Arc;
use std::time::Duration;

use super::counters::DropCounters;
use super::entry::Place;
use crate::parse::stamps::StampGiver;

/// Label sets of one file of which the last stamp is remembered.
const KNOWN_STAMPS: usize = 64;

/// The time of reading, for lines that bring none.
///
/// The first use in a batch decides a time, which is recorded with the place of its line before anything that rests on it is sent; later uses
/// add a nanosecond each. In a replay the recorded decisions are taken instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadClock {
    pub(crate) last: Option<i64>,
    /// Whether a decision holds for the lines being read.
    pub(crate) is_decided: bool,
    /// Decisions not yet recorded: offset of the line, stamp.
    pub(crate) decisions: Vec<(u64, i64)>,
}

impl ReadClock {
    /// The stamp of the line at `offset`, read at `now`.
    pub(crate) fn next(&mut self, offset: u64, now: i64) -> i64 {
        let after_last = self.last.map_or(i64::MIN, |last| last.saturating_add(1));
        let stamp = if self.is_decided { after_last.max(1) } else { after_last.max(now) };
        if !self.is_decided {
            self.decisions.push((offset, stamp));
            self.is_decided = true;
        }
        self.last = Some(stamp);
        stamp
    }

    /// Takes a decision of an earlier process.
    pub(crate) fn decide(&mut self, stamp: i64) {
        self.last = Some(stamp - 1);
        self.is_decided = true;
    }
}

/// The last stamp of a label set: as it was parsed, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownStamp {
    pub(crate) key: u64,
    pub(crate) parsed: i64,
    pub(crate) given: i64,
}

/// Last stamps by label set: equal ones in a row move on, and lines of which the own stamp cannot be read follow them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownStamps(pub(crate) Arc<Vec<KnownStamp>>);

impl KnownStamps {
    pub(crate) fn get(&self, key: u64) -> Option<KnownStamp> {
        self.0.iter().find(|known| known.key == key).copied()
    }

    pub(crate) fn set(&mut self, stamp: KnownStamp) {
        let stamps = Arc::make_mut(&mut self.0);
        if let Some(slot) = stamps.iter_mut().find(|known| known.key == stamp.key) {
            *slot = stamp;
            return;
        }
        if stamps.len() >= KNOWN_STAMPS {
            stamps.remove(0);
        }
        stamps.push(stamp);
    }
}

/// State of one file's stamps; all of it is part of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StampState {
    /// Of runtimes' stamps, which strictly increase.
    pub(crate) giver: StampGiver,
    pub(crate) known: KnownStamps,
    pub(crate) clock: ReadClock,
}

/// One line's surroundings.
pub(crate) struct StageContext<'a> {
    pub(crate) stamps: &'a mut StampState,
    pub(crate) counters: &'a DropCounters,
    /// Where the entry being processed begins.
    pub(crate) origin: Place,
    /// Stamps that became known, with the beginning of the entry that brought them.
    pub(crate) learned: Vec<(Place, KnownStamp)>,
    /// Offset of the line in its file.
    pub(crate) offset: u64,
    /// Tells files apart, the same in a replay.
    pub(crate) file_key: u64,
    /// Nanoseconds since the epoch.
    pub(crate) now: i64,
    /// How long reading of this file should pause.
    pub(crate) pause: Duration,
    pub(crate) clock_steps: u64,
    /// Whether every stage prints what it does.
    pub(crate) inspects: bool,
}

impl StageContext<'_> {
    /// A stamp of the time of reading.
    pub(crate) fn read_stamp(&mut self) -> i64 {
        self.stamps.clock.next(self.offset, self.now)
    }

    /// The stamp for a record that a runtime stamped.
    pub(crate) fn runtime_stamp(&mut self, raw: i64) -> i64 {
        self.stamps.giver.give(raw, &mut self.clock_steps)
    }

    /// The stamp for a line of a label set that a `timestamp` stage stamped: as parsed, moved on if it equals the one parsed before.
    pub(crate) fn parsed_stamp(&mut self, key: u64, parsed: i64) -> i64 {
        let given = match self.stamps.known.get(key) {
            Some(last) if last.parsed == parsed => last.given.saturating_add(1),
            _ => parsed,
        };
        self.learn(KnownStamp { key, parsed, given });
        given
    }

    /// The stamp for a line of a label set of which the own stamp cannot be read; none before the first good one.
    pub(crate) fn following_stamp(&mut self, key: u64) -> Option<i64> {
        let last = self.stamps.known.get(key)?;
        let given = last.given.saturating_add(1);
        self.learn(KnownStamp { given, ..last });
        Some(given)
    }

    /// The stamp for what follows in an entry that began at `origin` and of which the last piece was stamped `stamp`: 1 ns later. Whatever gave that stamp
    /// goes on from there, so that lines behind it come after all of its pieces.
    pub(crate) fn stamp_behind(&mut self, stamp: i64, origin: Place) -> i64 {
        let behind = stamp.saturating_add(1);
        if self.stamps.giver.last_given() == Some(stamp) {
            self.runtime_stamp(behind);
        }
        if self.stamps.clock.last == Some(stamp) {
            self.stamps.clock.last = Some(behind);
        }
        if let Some(known) = self.stamps.known.0.iter().find(|known| known.given == stamp).copied() {
            self.origin = origin;
            self.learn(KnownStamp { given: behind, ..known });
        }
        behind
    }

    pub(crate) fn learn(&mut self, stamp: KnownStamp) {
        self.stamps.known.set(stamp);
        self.learned.push((self.origin, stamp));
    }

    pub(crate) fn pause_for(&mut self, wait: Duration) {
        self.pause = self.pause.max(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_decides_once_and_a_replay_takes_the_decision() {
        let mut clock = ReadClock::default();
        assert_eq!([clock.next(10, 500), clock.next(20, 501)], [500, 501]);
        assert_eq!(clock.decisions, [(10, 500)]);
        clock.is_decided = false;
        assert_eq!(clock.next(30, 400), 502);
        let mut replay = ReadClock::default();
        replay.decide(500);
        assert_eq!([replay.next(10, 900), replay.next(20, 900)], [500, 501]);
        assert!(replay.decisions.is_empty());
    }

    #[test]
    fn known_stamps_are_bounded() {
        let mut known = KnownStamps::default();
        (0..1000).for_each(|key| known.set(KnownStamp { key, parsed: 1, given: 1 }));
        known.set(KnownStamp { key: 999, parsed: 2, given: 3 });
        assert_eq!((known.0.len(), known.get(999).map(|known| known.given), known.get(1)), (KNOWN_STAMPS, Some(3), None));
    }
}
