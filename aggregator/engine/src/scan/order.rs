//! The order of entries in answers, and the first so many of them.

use std::collections::BinaryHeap;

use crate::request::Direction;
use crate::scan::pages::SelectedPage;

/// Which entries come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order(pub(crate) Direction);

/// Where an entry stands in the order: by stamp, then stream, then arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) i64, u32, u64);

impl Key {
    /// Whether both are of one stream and stamp.
    pub(crate) fn ties(self, other: Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }

    /// The least key behind this one.
    pub(crate) fn next(self) -> Self {
        match self.2.checked_add(1) {
            Some(arrival) => Self(self.0, self.1, arrival),
            None => Self(self.0, self.1 + 1, 0),
        }
    }
}

/// Which entries are wanted of all that pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    pub(crate) order: Order,
    pub(crate) limit: usize,
    /// Those before it are not.
    pub(crate) from: Option<Key>,
    /// Go on beyond the limit to the last entry of the last stream and stamp.
    pub(crate) ends_whole: bool,
}

impl Portion {
    /// The first so many.
    pub(crate) fn first(direction: Direction, limit: usize) -> Self {
        Self { order: Order(direction), limit, from: None, ends_whole: false }
    }

    /// Whether a page may hold any of them.
    pub(crate) fn touches(&self, page: &SelectedPage) -> bool {
        self.from.is_none_or(|from| self.order.last_of(page) >= from.0)
    }

    /// Whether an entry is not too early in the order.
    pub(crate) fn reaches(&self, key: Key) -> bool {
        self.from.is_none_or(|from| key >= from)
    }
}

impl Order {
    pub(crate) fn key(self, stamp: i64, stream: u32, arrival: u64) -> Key {
        match self.0 {
            Direction::Forward => Key(stamp, stream, arrival),
            // The complement turns an order round.
            Direction::Backward => Key(!stamp, stream, !arrival),
        }
    }

    /// Stamp, stream and arrival.
    pub(crate) fn place(self, Key(stamp, stream, arrival): Key) -> (i64, u32, u64) {
        match self.0 {
            Direction::Forward => (stamp, stream, arrival),
            Direction::Backward => (!stamp, stream, !arrival),
        }
    }

    /// The least key of a stamp and all streams from `stream` on.
    pub(crate) fn beginning(self, stamp: i64, stream: u32) -> Key {
        match self.0 {
            Direction::Forward => Key(stamp, stream, 0),
            Direction::Backward => Key(!stamp, stream, 0),
        }
    }

    /// What comes last of a page, as the first part of a key.
    pub(crate) fn last_of(self, page: &SelectedPage) -> i64 {
        match self.0 {
            Direction::Forward => page.newest(),
            Direction::Backward => !page.oldest(),
        }
    }

    /// What comes first of a page, as the first part of a key.
    pub(crate) fn first_of(self, page: &SelectedPage) -> i64 {
        match self.0 {
            Direction::Forward => page.oldest(),
            Direction::Backward => !page.newest(),
        }
    }
}

/// The first entries so far.
#[derive(Debug, Clone)]
pub(crate) struct Top {
    limit: usize,
    /// The last of them on top.
    keys: BinaryHeap<Key>,
}

impl Top {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, keys: BinaryHeap::new() }
    }

    /// Whether an entry with such a stamp (as part of a key) may be among them.
    pub(crate) fn admits(&self, stamp: i64) -> bool {
        self.keys.len() < self.limit || self.last().is_some_and(|last| stamp <= last.0)
    }

    /// The last of them, once there are as many as are wanted.
    pub(crate) fn last(&self) -> Option<Key> {
        self.keys.peek().copied().filter(|_| self.keys.len() >= self.limit)
    }

    pub(crate) fn add(&mut self, key: Key) {
        if self.keys.len() < self.limit {
            self.keys.push(key);
        } else if let Some(mut last) = self.keys.peek_mut()
            && key < *last
        {
            *last = key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_entries_are_those_of_sorting_all(
            places in proptest::collection::vec((-5i64..5, 0u32..3, 0u64..4), 0..40), limit in 0usize..10, forward: bool,
        ) {
            let order = Order(if forward { Direction::Forward } else { Direction::Backward });
            let mut top = Top::new(limit);
            for (stamp, stream, arrival) in &places {
                let key = order.key(*stamp, *stream, *arrival);
                prop_assert_eq!(order.place(key), (*stamp, *stream, *arrival));
                if top.admits(key.0) {
                    top.add(key);
                }
            }
            let mut sorted = places.clone();
            sorted.sort_by_key(|(stamp, stream, arrival)| match forward {
                true => (*stamp, *stream, i128::from(*arrival)),
                false => (-stamp, *stream, -i128::from(*arrival)),
            });
            sorted.truncate(limit);
            let found: Vec<(i64, u32, u64)> = top.keys.into_sorted_vec().into_iter().map(|key| order.place(key)).collect();
            prop_assert_eq!(found, sorted);
        }
    }
}
