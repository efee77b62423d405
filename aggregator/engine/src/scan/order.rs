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
