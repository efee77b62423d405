//! What of a stream a query sees: its range without what retention and deletes take away.
//!
//! The caller says what is erased, with the [`Access`](crate::Access) of a query, in the terms that compaction has too; every leaf of a
//! plan keeps to it. Counts from tables are used only where nothing touches them.

use std::fmt;

use tailwater_storage::compact::{DeletedRange, StreamErasure};

/// The stamps of a stream that a query sees: its range without what retention and deletes take away.
#[derive(Clone)]
pub(crate) struct VisibleTimes {
    /// Ascending, apart from each other; both ends included.
    intervals: Vec<(i64, i64)>,
    /// Deletes of some lines that meet the range.
    erased: Vec<DeletedRange>,
}

impl fmt::Debug for VisibleTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} deletes by line", self.intervals, self.erased.len())
    }
}

impl VisibleTimes {
    /// What is left of `[start, end]`.
    pub(crate) fn new(start: i64, end: i64, erasure: StreamErasure) -> Self {
        #[cfg(feature = "planted-faults")]
        let erasure = match tailwater_planted::Fault::RetentionUnfiltered.is_planted() {
            true => StreamErasure { keep_from: i64::MIN, ..erasure },
            false => erasure,
        };
        let first = start.max(erasure.keep_from);
        let mut intervals = if first <= end { vec![(first, end)] } else { Vec::new() };
        let mut erased = Vec::new();
        for deleted in erasure.deleted {
            if deleted.lines.is_some() {
                erased.extend((deleted.start <= end && deleted.end >= first).then_some(deleted));
                continue;
            }
            if deleted.start <= deleted.end {
                let range = (deleted.start, deleted.end);
                intervals = intervals.into_iter().flat_map(|interval| without(interval, range)).flatten().collect();
            }
        }
        Self { intervals, erased }
    }

    /// Takes away what has this stamp.
    pub(crate) fn hide(&mut self, stamp: i64) {
        let intervals = std::mem::take(&mut self.intervals).into_iter();
        self.intervals = intervals.flat_map(|interval| without(interval, (stamp, stamp))).flatten().collect();
    }

    /// Takes away what is not in `[first, last]`.
    pub(crate) fn clip(&mut self, first: i64, last: i64) {
        self.intervals.iter_mut().for_each(|(start, end)| (*start, *end) = ((*start).max(first), (*end).min(last)));
        self.intervals.retain(|(start, end)| start <= end);
    }

    pub(crate) fn intervals(&self) -> &[(i64, i64)] {
        &self.intervals
    }

    /// Whether any of `[oldest, newest]` is visible.
    pub(crate) fn touches(&self, oldest: i64, newest: i64) -> bool {
        self.intervals.iter().any(|(start, end)| *start <= newest && *end >= oldest)
    }

    /// Whether all of `[oldest, newest]` is, but for what is erased by line.
    pub(crate) fn holds(&self, oldest: i64, newest: i64) -> bool {
        self.intervals.iter().any(|(start, end)| *start <= oldest && newest <= *end)
    }

    /// The deletes of some lines that meet `[oldest, newest]`.
    pub(crate) fn erased(&self, oldest: i64, newest: i64) -> impl Iterator<Item = &DeletedRange> {
        self.erased.iter().filter(move |deleted| deleted.start <= newest && deleted.end >= oldest)
    }
}

/// What is left of an interval on both sides of what is taken away.
fn without((start, end): (i64, i64), (first, last): (i64, i64)) -> [Option<(i64, i64)>; 2] {
    let before = first.checked_sub(1).map(|last| (start, end.min(last)));
    let after = last.checked_add(1).map(|first| (start.max(first), end));
    [before, after].map(|interval| interval.filter(|(start, end)| start <= end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tailwater_storage::manifest::TombstoneId;

    fn range(start: i64, end: i64) -> DeletedRange {
        DeletedRange { request: TombstoneId(Default::default()), start, end, lines: None }
    }

    proptest! {
        #[test]
        fn intervals_hold_what_nothing_takes_away(
            start in -20i64..20, length in 0i64..40, earliest in -30i64..30,
            deleted in proptest::collection::vec((-25i64..25, -3i64..12), 0..5),
        ) {
            let end = start + length;
            let is_deleted = |stamp: i64| deleted.iter().any(|(from, length)| (*from..=from + length).contains(&stamp));
            let all = deleted.iter().map(|(start, length)| range(*start, start + length)).collect();
            let visible = VisibleTimes::new(start, end, StreamErasure { keep_from: earliest, deleted: all });
            let is_visible = |stamp: i64| (start..=end).contains(&stamp) && stamp >= earliest && !is_deleted(stamp);
            for stamp in -60..60 {
                prop_assert_eq!(visible.touches(stamp, stamp), is_visible(stamp));
                prop_assert_eq!(visible.holds(stamp, stamp + 3), (stamp..=stamp + 3).all(is_visible));
                prop_assert_eq!(visible.touches(stamp, stamp + 3), (stamp..=stamp + 3).any(is_visible));
            }
            prop_assert!(visible.intervals().is_sorted());
        }
    }

    #[test]
    fn a_stamp_can_be_hidden() {
        let mut visible = VisibleTimes::new(3, 9, StreamErasure::default());
        visible.hide(9);
        visible.hide(5);
        visible.hide(1);
        assert_eq!(visible.intervals(), [(3, 4), (6, 8)]);
    }

    #[test]
    fn times_can_be_clipped() {
        let mut visible = VisibleTimes::new(0, 20, StreamErasure { keep_from: 0, deleted: vec![range(5, 6), range(15, 16)] });
        visible.clip(6, 15);
        assert_eq!(visible.intervals(), [(7, 14)]);
        visible.clip(15, 15);
        assert!(visible.intervals().is_empty());
    }

    #[test]
    fn the_ends_of_time_are_no_edge() {
        let deleted = vec![range(i64::MIN, i64::MAX)];
        assert!(!VisibleTimes::new(i64::MIN, i64::MAX, StreamErasure { keep_from: i64::MIN, deleted }).touches(0, 0));
        assert!(VisibleTimes::new(i64::MIN, i64::MAX, StreamErasure::default()).holds(i64::MIN, i64::MAX));
    }
}
