//! Which segments of each writer are known.

use std::collections::{BTreeMap, BTreeSet};

/// By writer.
#[derive(Debug, Default)]
pub(super) struct Writers {
    seen: BTreeMap<String, Seen>,
}

/// Which numbers of a writer are known.
#[derive(Debug, Default)]
struct Seen {
    /// Every number below it is.
    unbroken: u64,
    /// Numbers above, with gaps: a listing may lag, and low ones may have been deleted.
    beyond: BTreeSet<u64>,
}

impl Writers {
    /// False if it was known already.
    pub(super) fn insert(&mut self, writer: &str, sequence: u64) -> bool {
        let seen = self.seen.entry(writer.to_owned()).or_default();
        if seen.contains(sequence) {
            return false;
        }
        seen.beyond.insert(sequence);
        while seen.beyond.remove(&seen.unbroken) {
            seen.unbroken += 1;
        }
        true
    }

    pub(super) fn contains(&self, writer: &str, sequence: u64) -> bool {
        self.seen.get(writer).is_some_and(|seen| seen.contains(sequence))
    }

    /// The number after which a listing may begin.
    pub(super) fn last_unbroken(&self, writer: &str) -> Option<u64> {
        self.seen.get(writer)?.unbroken.checked_sub(1)
    }

    /// Everything up to a number was folded and deleted: none of it will be found.
    pub(super) fn skip_to(&mut self, writer: &str, sequence: u64) {
        let seen = self.seen.entry(writer.to_owned()).or_default();
        seen.unbroken = seen.unbroken.max(sequence + 1);
        seen.beyond = seen.beyond.split_off(&seen.unbroken);
        while seen.beyond.remove(&seen.unbroken) {
            seen.unbroken += 1;
        }
    }

    /// Writers that have no segment any more.
    pub(super) fn forget_others(&mut self, writers: &[String]) {
        self.seen.retain(|writer, _| writers.binary_search(writer).is_ok());
    }
}

impl Seen {
    fn contains(&self, sequence: u64) -> bool {
        sequence < self.unbroken || self.beyond.contains(&sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_known_once_and_gaps_stay_open() {
        let mut writers = Writers::default();
        assert!(writers.insert("w", 1) && writers.insert("w", 3) && !writers.insert("w", 1));
        assert_eq!(writers.last_unbroken("w"), None);
        assert!(writers.insert("w", 0));
        assert_eq!(writers.last_unbroken("w"), Some(1));
        assert!(writers.contains("w", 3) && !writers.contains("w", 2));
        writers.skip_to("w", 2);
        assert_eq!(writers.last_unbroken("w"), Some(3));
        writers.forget_others(&["v".to_owned()]);
        assert!(!writers.contains("w", 3));
    }
}
