//! Which lines were written, and which of them have been found. Pure; times are given.
//!
//! Lines of one pod arrive in the order in which they were written, however late. So a line is missing when one that was written [`OVERTAKEN`]
//! later has been found, or after [`FORGOTTEN`]: while nothing arrives at all, nothing is said to be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::canary::mark::Number;

/// By how much a later line may overtake.
const OVERTAKEN: Duration = Duration::from_secs(60);
/// How long a line is waited for at most.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// How long a line that was found is still looked at, for a second one.
const WATCHED: Duration = Duration::from_secs(60);

/// Lines by number, each with the time at which it was written (since some beginning).
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: BTreeMap<Number, Duration>,
    /// Found, and looked at for a while.
    found: BTreeMap<Number, Duration>,
    doubled: BTreeSet<Number>,
    next: Number,
}

/// What an answer told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Findings {
    /// From writing to reading, of lines that are found for the first time.
    pub(super) latencies: Vec<Duration>,
    pub(super) missing: u64,
    pub(super) duplicate: u64,
    pub(super) out_of_order: u64,
}

impl Ledger {
    /// Notes that the next line is written; its number.
    pub(super) fn write(&mut self, now: Duration) -> Number {
        let number = self.next;
        self.next = number.after();
        self.waiting.insert(number, now);
        number
    }

    /// Lines that are waited for.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When the oldest line was written that is still asked for.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.waiting.values().chain(self.found.values()).min().copied()
    }

    /// Takes note of an answer: numbers as they were read, in order of their stamps.
    pub(super) fn read(&mut self, answer: &[Number], now: Duration) -> Findings {
        let mut findings = Findings::default();
        let mut new = BTreeSet::new();
        let mut in_answer = BTreeSet::new();
        for number in answer {
            if let Some(written) = self.waiting.remove(number) {
                findings.latencies.push(now.saturating_sub(written));
                self.found.insert(*number, written);
                new.insert(*number);
            }
            if !in_answer.insert(*number) && self.doubled.insert(*number) {
                findings.duplicate += 1;
            }
        }
        let is_wrong = |pair: &&[Number]| pair[0] > pair[1] && (new.contains(&pair[0]) || new.contains(&pair[1]));
        findings.out_of_order = answer.windows(2).filter(is_wrong).count() as u64;
        findings.missing = self.give_up(now);
        self.found.retain(|_, written| now.saturating_sub(*written) < WATCHED);
        self.doubled.retain(|number| self.found.contains_key(number));
        findings
    }

    /// Those that will not come any more.
    fn give_up(&mut self, now: Duration) -> u64 {
        let newest = self.found.values().max().copied().unwrap_or_default();
        let before = self.waiting.len();
        self.waiting.retain(|_, written| *written + OVERTAKEN > newest && now.saturating_sub(*written) < FORGOTTEN);
        (before - self.waiting.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// A line each second from 0 on.
    fn written(lines: u64) -> (Ledger, Vec<Number>) {
        let mut ledger = Ledger::default();
        let numbers = (0..lines).map(|second| ledger.write(seconds(second))).collect();
        (ledger, numbers)
    }

    #[test]
    fn lines_are_found_once_with_their_latency() {
        let (mut ledger, numbers) = written(3);
        let findings = ledger.read(&numbers[..2], seconds(3));
        assert_eq!(findings, Findings { latencies: vec![seconds(3), seconds(2)], ..Findings::default() });
        assert_eq!(ledger.read(&numbers, seconds(4)).latencies, [seconds(2)]);
        assert_eq!(ledger.read(&numbers, seconds(5)), Findings::default());
        assert_eq!(ledger.oldest(), Some(seconds(0)));
        ledger.read(&numbers, seconds(70));
        assert_eq!(ledger.oldest(), None, "nothing is asked for any more");
    }

    #[test]
    fn a_line_is_missing_when_later_ones_are_there_and_not_while_nothing_comes() {
        let (mut ledger, numbers) = written(200);
        assert_eq!(ledger.read(&[], seconds(1000)).missing, 0);
        let without: Vec<Number> = numbers.iter().copied().filter(|number| *number != numbers[5]).collect();
        assert_eq!(ledger.read(&without[..60], seconds(1001)).missing, 0);
        assert_eq!(ledger.read(&without, seconds(1002)).missing, 1);
        assert_eq!(ledger.read(&without, seconds(1003)).missing, 0, "it is counted once");
        let (mut ledger, _) = written(2);
        assert_eq!(ledger.read(&[], seconds(3600)).missing, 1);
    }

    #[test]
    fn a_line_that_is_there_twice_is_counted_once() {
        let (mut ledger, numbers) = written(2);
        let doubled = [numbers[0], numbers[0], numbers[0], numbers[1]];
        assert_eq!(ledger.read(&doubled, seconds(3)).duplicate, 1);
        assert_eq!(ledger.read(&doubled, seconds(4)).duplicate, 0);
    }

    #[test]
    fn an_order_that_is_wrong_is_counted_when_it_is_first_seen() {
        let (mut ledger, numbers) = written(3);
        let swapped = [numbers[1], numbers[0], numbers[2]];
        assert_eq!(ledger.read(&swapped, seconds(3)).out_of_order, 1);
        assert_eq!(ledger.read(&swapped, seconds(4)).out_of_order, 0);
    }
}
