//! Which segments of each writer are known, whose rows they hold, and which of them may be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::TenantId;
use crate::manifest::is_past;

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
    /// Those that were not deleted yet.
    stored: BTreeMap<u64, StoredSegment>,
}

/// A segment that lies in the store.
#[derive(Debug, Clone)]
pub(super) struct StoredSegment {
    pub(super) tenants: Arc<[TenantId]>,
    /// Bytes of the object.
    pub(super) size: u64,
    /// Since when this process knows that every tenant has folded it (ns).
    folded_since: Option<i64>,
}

impl StoredSegment {
    pub(super) fn new(tenants: Arc<[TenantId]>, size: u64) -> Self {
        Self { tenants, size, folded_since: None }
    }
}

impl Writers {
    /// False if it was known already.
    pub(super) fn insert(&mut self, writer: &str, sequence: u64, segment: StoredSegment) -> bool {
        let seen = self.seen.entry(writer.to_owned()).or_default();
        if seen.contains(sequence) {
            return false;
        }
        seen.stored.insert(sequence, segment);
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

    /// By writer, the segments to delete, ascending, with their sizes: the lowest ones, as far as every tenant in them folded them in at least
    /// `delay` ago, so that no query reads them any more. `is_folded` says whether a tenant did.
    pub(super) fn due(
        &mut self,
        now: i64,
        delay: Duration,
        is_folded: impl Fn(&TenantId, &str, u64) -> bool,
    ) -> BTreeMap<String, Vec<(u64, u64)>> {
        let mut due = BTreeMap::new();
        for (writer, seen) in &mut self.seen {
            let mut of_writer = Vec::new();
            for (&sequence, segment) in &mut seen.stored {
                if !segment.tenants.iter().all(|tenant| is_folded(tenant, writer, sequence)) {
                    break;
                }
                let since = *segment.folded_since.get_or_insert(now);
                // Folds go in ascending order, so a later one was never folded earlier.
                if is_past(since, delay, now) {
                    of_writer.push((sequence, segment.size));
                }
            }
            if !of_writer.is_empty() {
                due.insert(writer.clone(), of_writer);
            }
        }
        due
    }

    pub(super) fn deleted(&mut self, writer: &str, sequence: u64) {
        if let Some(seen) = self.seen.get_mut(writer) {
            seen.stored.remove(&sequence);
        }
    }

    /// Segments that every tenant has folded and that wait to be deleted.
    pub(super) fn retired(&self) -> usize {
        self.seen.values().flat_map(|seen| seen.stored.values()).filter(|segment| segment.folded_since.is_some()).count()
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
        let segment = || StoredSegment::new(Arc::new([TenantId::new("t")]), 5);
        assert!(writers.insert("w", 1, segment()) && writers.insert("w", 3, segment()) && !writers.insert("w", 1, segment()));
        assert_eq!(writers.last_unbroken("w"), None);
        assert!(writers.insert("w", 0, segment()));
        assert_eq!(writers.last_unbroken("w"), Some(1));
        assert!(writers.contains("w", 3) && !writers.contains("w", 2));
        writers.skip_to("w", 2);
        assert_eq!(writers.last_unbroken("w"), Some(3));
        writers.forget_others(&["v".to_owned()]);
        assert!(!writers.contains("w", 3));
    }

    #[test]
    fn segments_are_due_when_every_tenant_folded_them_long_ago() {
        let mut writers = Writers::default();
        let both: Arc<[TenantId]> = Arc::new([TenantId::new("a"), TenantId::new("b")]);
        for sequence in 0..4 {
            writers.insert("w", sequence, StoredSegment::new(both.clone(), 10 + sequence));
        }
        let delay = Duration::from_nanos(100);
        let folded =
            |a: u64, b: u64| move |tenant: &TenantId, _: &str, sequence: u64| sequence < if tenant.as_str() == "a" { a } else { b };
        assert!(writers.due(1000, delay, folded(4, 1)).is_empty());
        assert!(writers.due(1050, delay, folded(4, 3)).is_empty());
        assert_eq!(writers.due(1100, delay, folded(4, 3))["w"], [(0, 10)]);
        assert_eq!(writers.retired(), 3);
        assert_eq!(writers.due(1150, delay, folded(4, 3))["w"], [(0, 10), (1, 11), (2, 12)]);
        writers.deleted("w", 0);
        assert_eq!(writers.due(1150, delay, folded(4, 3))["w"], [(1, 11), (2, 12)]);
    }

    #[test]
    fn a_segment_waits_for_those_below_it() {
        let mut writers = Writers::default();
        let (a, b) = (TenantId::new("a"), TenantId::new("b"));
        for (sequence, tenants) in [vec![a.clone()], vec![a.clone(), b], vec![a]].into_iter().enumerate() {
            writers.insert("w", sequence as u64, StoredSegment::new(tenants.into(), 1));
        }
        let due = writers.due(0, Duration::ZERO, |tenant, _, _| tenant.as_str() == "a");
        assert_eq!(due["w"], [(0, 1)], "1 waits for b, and 2 for 1");
    }
}
