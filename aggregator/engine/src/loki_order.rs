//! The order in which the reference shows entries of one stream and stamp, unless the request asks for that in which they came.
//!
//! There a stream's entries are sorted twice, by a quick sort that is told of equal stamps that either comes first. Short lists come out as
//! they were; in longer ones entries of equal stamps change places, always in the same way.

use crate::answer::LogEntry;
use crate::request::Direction;

/// Up to so many elements are sorted by insertion.
const SHORT: usize = 12;
/// From so many on, pivots are chosen with more care.
const LONG: usize = 50;

/// Puts entries, which are in the order of the direction, into the reference's order.
pub(crate) fn reorder(entries: &mut [LogEntry], direction: Direction) {
    let has_ties = entries.windows(2).any(|pair| pair[0].timestamp == pair[1].timestamp);
    if entries.len() <= SHORT || !has_ties {
        return;
    }
    let is_not_after = move |left: &LogEntry, right: &LogEntry| match direction {
        Direction::Forward => left.timestamp <= right.timestamp,
        Direction::Backward => left.timestamp >= right.timestamp,
    };
    for _ in 0..2 {
        let limit = usize::BITS - entries.len().leading_zeros();
        let (start, end) = (0, entries.len());
        Sorting { list: entries, is_less: is_not_after }.sort(start, end, limit);
    }
}

/// What a look at a few elements says of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    Increasing,
    Decreasing,
    Unknown,
}

struct Sorting<'l, T, F> {
    list: &'l mut [T],
    is_less: F,
}

impl<T, F: Fn(&T, &T) -> bool> Sorting<'_, T, F> {
    fn less(&self, left: usize, right: usize) -> bool {
        (self.is_less)(&self.list[left], &self.list[right])
    }

    fn swap(&mut self, left: usize, right: usize) {
        self.list.swap(left, right);
    }

    /// Sorts `start..end`; after `limit` bad pivots, by a heap.
    fn sort(&mut self, mut start: usize, mut end: usize, mut limit: u32) {
        let (mut was_balanced, mut was_partitioned) = (true, true);
        loop {
            let length = end - start;
            if length <= SHORT {
                return self.insert(start, end);
            }
            if limit == 0 {
                return self.sort_by_heap(start, end);
            }
            if !was_balanced {
                self.scatter(start, end);
                limit -= 1;
            }
            let (mut pivot, mut hint) = self.pivot(start, end);
            if hint == Hint::Decreasing {
                self.list[start..end].reverse();
                (pivot, hint) = (end - 1 - (pivot - start), Hint::Increasing);
            }
            if was_balanced && was_partitioned && hint == Hint::Increasing && self.is_soon_sorted(start, end) {
                return;
            }
            if start > 0 && !self.less(start - 1, pivot) {
                start = self.part_equal(start, end, pivot);
                continue;
            }
            let (middle, is_partitioned) = self.part(start, end, pivot);
            was_partitioned = is_partitioned;
            let (left, right) = (middle - start, end - middle);
            was_balanced = left.min(right) >= length / 8;
            if left < right {
                self.sort(start, middle, limit);
                start = middle + 1;
            } else {
                self.sort(middle + 1, end, limit);
                end = middle;
            }
        }
    }

    fn insert(&mut self, start: usize, end: usize) {
        for next in start + 1..end {
            let mut at = next;
            while at > start && self.less(at, at - 1) {
                self.swap(at, at - 1);
                at -= 1;
            }
        }
    }

    fn sort_by_heap(&mut self, start: usize, end: usize) {
        let length = end - start;
        for root in (0..=(length - 1) / 2).rev() {
            self.sift_down(root, length, start);
        }
        for last in (0..length).rev() {
            self.swap(start, start + last);
            self.sift_down(0, last, start);
        }
    }

    fn sift_down(&mut self, mut root: usize, length: usize, start: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= length {
                return;
            }
            if child + 1 < length && self.less(start + child, start + child + 1) {
                child += 1;
            }
            if !self.less(start + root, start + child) {
                return;
            }
            self.swap(start + root, start + child);
            root = child;
        }
    }

    /// Swaps three elements of the middle with others, chosen by the length alone.
    fn scatter(&mut self, start: usize, end: usize) {
        let length = end - start;
        let mask = (1_u64 << (usize::BITS - length.leading_zeros())) - 1;
        let mut random = length as u64;
        let first = start + length / 4 * 2 - 2;
        for offset in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let other = (random & mask) as usize;
            let other = if other >= length { other - length } else { other };
            self.swap(first + offset, start + other);
        }
    }

    fn pivot(&self, start: usize, end: usize) -> (usize, Hint) {
        let length = end - start;
        let quarter = length / 4;
        let [mut low, mut middle, mut high] = [1, 2, 3].map(|quarters| start + quarter * quarters);
        let mut swaps = 0;
        if length >= LONG {
            [low, middle, high] = [low, middle, high].map(|at| self.median(at - 1, at, at + 1, &mut swaps));
        }
        middle = self.median(low, middle, high, &mut swaps);
        let most = if length >= LONG { 12 } else { usize::MAX };
        match swaps {
            0 => (middle, Hint::Increasing),
            _ if swaps == most => (middle, Hint::Decreasing),
            _ => (middle, Hint::Unknown),
        }
    }

    fn median(&self, first: usize, second: usize, third: usize, swaps: &mut usize) -> usize {
        let mut ordered = |left: usize, right: usize| {
            if self.less(right, left) {
                *swaps += 1;
                (right, left)
            } else {
                (left, right)
            }
        };
        let (first, second) = ordered(first, second);
        let (second, _) = ordered(second, third);
        ordered(first, second).1
    }

    /// Whether a few swaps leave the range sorted. Short ranges are only looked at.
    fn is_soon_sorted(&mut self, start: usize, end: usize) -> bool {
        let mut at = start + 1;
        for _ in 0..5 {
            while at < end && !self.less(at, at - 1) {
                at += 1;
            }
            if at == end {
                return true;
            }
            if end - start < LONG {
                return false;
            }
            self.swap(at, at - 1);
            if at - start >= 2 {
                let mut back = at - 1;
                while back >= 1 && self.less(back, back - 1) {
                    self.swap(back, back - 1);
                    back -= 1;
                }
            }
            if end - at >= 2 {
                let mut forth = at + 1;
                while forth < end && self.less(forth, forth - 1) {
                    self.swap(forth, forth - 1);
                    forth += 1;
                }
            }
        }
        false
    }

    /// What is less than the pivot to its left; gives where the pivot comes to stand, and whether nothing had to move.
    fn part(&mut self, start: usize, end: usize, pivot: usize) -> (usize, bool) {
        self.swap(start, pivot);
        let (mut low, mut high) = (start + 1, end - 1);
        let mut is_first = true;
        loop {
            while low <= high && self.less(low, start) {
                low += 1;
            }
            while low <= high && !self.less(high, start) {
                high -= 1;
            }
            if low > high {
                self.swap(high, start);
                return (high, is_first);
            }
            is_first = false;
            self.swap(low, high);
            low += 1;
            high -= 1;
        }
    }

    /// What equals the pivot to its left; gives where the rest begins.
    fn part_equal(&mut self, start: usize, end: usize, pivot: usize) -> usize {
        self.swap(start, pivot);
        let (mut low, mut high) = (start + 1, end - 1);
        loop {
            while low <= high && !self.less(start, low) {
                low += 1;
            }
            while low <= high && self.less(start, high) {
                high -= 1;
            }
            if low > high {
                return low;
            }
            self.swap(low, high);
            low += 1;
            high -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(stamps: impl IntoIterator<Item = i64>) -> Vec<LogEntry> {
        let entry = |(place, timestamp): (usize, i64)| LogEntry {
            timestamp,
            line: place.to_string().into_bytes(),
            structured_metadata: Default::default(),
            parsed: Default::default(),
        };
        stamps.into_iter().enumerate().map(entry).collect()
    }

    fn places(entries: &[LogEntry]) -> Vec<usize> {
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).parse().expect("a place")).collect()
    }

    #[test]
    fn ties_change_places_as_in_recorded_answers() {
        let seen = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 13, 11, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];
        let mut forward = entries((0..25).map(|place| place / 5));
        reorder(&mut forward, Direction::Forward);
        assert_eq!(places(&forward), seen);
        let mut backward = entries((0..25).map(|place| 4 - place / 5));
        reorder(&mut backward, Direction::Backward);
        assert_eq!(places(&backward), seen);
        let mut short = entries((0..8).map(|place| place / 5));
        reorder(&mut short, Direction::Forward);
        assert_eq!(places(&short), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    proptest! {
        #[test]
        fn stamps_stay_in_order_and_nothing_is_lost(mut stamps in proptest::collection::vec(0i64..20, 0..400), is_forward in any::<bool>()) {
            stamps.sort_unstable();
            if !is_forward {
                stamps.reverse();
            }
            let direction = if is_forward { Direction::Forward } else { Direction::Backward };
            let mut list = entries(stamps.iter().copied());
            reorder(&mut list, direction);
            prop_assert_eq!(list.iter().map(|entry| entry.timestamp).collect::<Vec<_>>(), stamps.clone());
            let mut all = places(&list);
            all.sort_unstable();
            prop_assert_eq!(all, (0..stamps.len()).collect::<Vec<_>>());
        }

        #[test]
        fn any_list_is_sorted(mut list in proptest::collection::vec(0u8..50, 0..600)) {
            let (length, limit) = (list.len(), usize::BITS - list.len().leading_zeros());
            Sorting { list: &mut list, is_less: |left: &u8, right: &u8| left < right }.sort(0, length, limit);
            prop_assert!(list.is_sorted());
        }
    }

    #[test]
    fn bad_pivots_end_in_a_heap() {
        let mut list: Vec<u32> = (0..100).map(|place| place * 37 % 100).collect();
        Sorting { list: &mut list, is_less: |left: &u32, right: &u32| left < right }.sort(0, 100, 0);
        assert!(list.is_sorted());
    }
}
