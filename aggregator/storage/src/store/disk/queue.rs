//! Which block leaves next: S3-FIFO, by bytes.
//!
//! New blocks enter a small queue; those that are used again while they are in it go on to the main queue, others leave for good, but their
//! names are remembered for a while: a block that comes back then enters the main queue at once. So a scan over much data drives out
//! little else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Of all bytes, one in so many may be in the small queue.
const SMALL_SHARE: u64 = 10;

/// Uses that are counted at most.
const MOST_USES: u8 = 3;

#[derive(Debug)]
pub(super) struct Queue<K> {
    entries: HashMap<K, Entry>,
    small: VecDeque<Place<K>>,
    main: VecDeque<Place<K>>,
    small_bytes: u64,
    bytes: u64,
    ghosts: VecDeque<K>,
    is_ghost: HashSet<K>,
    next_place: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    uses: u8,
    is_main: bool,
    /// Its place in a queue; others with its name are stale.
    place: u64,
}

#[derive(Debug)]
struct Place<K> {
    key: K,
    number: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            small_bytes: 0,
            bytes: 0,
            ghosts: VecDeque::new(),
            is_ghost: HashSet::new(),
            next_place: 0,
        }
    }
}

impl<K: Copy + Eq + Hash> Queue<K> {
    /// Bytes of all entries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a use; false if there is no such entry.
    pub(super) fn touch(&mut self, key: &K) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        entry.uses = (entry.uses + 1).min(MOST_USES);
        true
    }

    /// Adds an entry, in the place of one of the same name.
    pub(super) fn insert(&mut self, key: K, bytes: u64) {
        self.remove(&key);
        let is_main = self.is_ghost.remove(&key);
        self.enter(key, Entry { bytes, uses: 0, is_main, place: 0 });
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<u64> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        self.small_bytes -= if entry.is_main { 0 } else { entry.bytes };
        Some(entry.bytes)
    }

    /// Takes out the entry that is worth least.
    pub(super) fn evict(&mut self) -> Option<(K, u64)> {
        loop {
            let is_small_full = self.small_bytes > self.bytes / SMALL_SHARE;
            let (key, mut entry) = match is_small_full {
                true => self.pop(false).or_else(|| self.pop(true)),
                false => self.pop(true).or_else(|| self.pop(false)),
            }?;
            if entry.uses == 0 {
                if !entry.is_main {
                    self.remember(key);
                }
                return Some((key, entry.bytes));
            }
            entry.uses = if entry.is_main { entry.uses - 1 } else { 0 };
            entry.is_main = true;
            self.enter(key, entry);
        }
    }

    fn enter(&mut self, key: K, entry: Entry) {
        let number = self.next_place;
        self.next_place += 1;
        self.bytes += entry.bytes;
        self.small_bytes += if entry.is_main { 0 } else { entry.bytes };
        if entry.is_main { &mut self.main } else { &mut self.small }.push_back(Place { key, number });
        self.entries.insert(key, Entry { place: number, ..entry });
    }

    /// Takes the oldest entry of a queue out.
    fn pop(&mut self, main: bool) -> Option<(K, Entry)> {
        loop {
            let Place { key, number } = if main { &mut self.main } else { &mut self.small }.pop_front()?;
            if self.entries.get(&key).is_some_and(|entry| entry.place == number) {
                let entry = self.entries.remove(&key)?;
                self.bytes -= entry.bytes;
                self.small_bytes -= if entry.is_main { 0 } else { entry.bytes };
                return Some((key, entry));
            }
        }
    }

    /// Remembers a name, as many as there are entries.
    fn remember(&mut self, key: K) {
        if self.is_ghost.insert(key) {
            self.ghosts.push_back(key);
        }
        while self.ghosts.len() > self.entries.len().max(16) {
            let Some(oldest) = self.ghosts.pop_front() else { return };
            self.is_ghost.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_used_again_outlives_a_scan() {
        let mut queue = Queue::default();
        let mut evicted = Vec::new();
        let mut add = |queue: &mut Queue<u32>, key| {
            queue.insert(key, 1);
            while queue.bytes() > 100 {
                evicted.extend(queue.evict().map(|(key, _)| key));
            }
        };
        for key in 0..50 {
            add(&mut queue, key);
            assert!(queue.touch(&key));
        }
        (1000..3000).for_each(|key| add(&mut queue, key));
        assert!((0..50).all(|key| queue.touch(&key)), "the scan drives out itself");
        assert_eq!(evicted.len(), 1950);
        assert!(!queue.touch(&1000) && queue.touch(&2999));
    }

    #[test]
    fn a_block_that_comes_back_soon_stays() {
        let mut queue = Queue::default();
        (0..20).for_each(|key| queue.insert(key, 1));
        let (first, _) = queue.evict().expect("an entry");
        queue.insert(first, 1);
        (100..110).for_each(|key| queue.insert(key, 1));
        let left: Vec<u32> = (0..12).filter_map(|_| queue.evict()).map(|(key, _)| key).collect();
        assert!(!left.contains(&first), "{left:?}");
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_entries(steps in proptest::collection::vec((0u8..4, 0u8..20, 1u64..9), 0..300)) {
            let mut queue = Queue::default();
            let mut expected: HashMap<u8, u64> = HashMap::new();
            for (what, key, bytes) in steps {
                match what {
                    0 | 1 => {
                        queue.insert(key, bytes);
                        expected.insert(key, bytes);
                    }
                    2 => prop_assert_eq!(queue.touch(&key), expected.contains_key(&key)),
                    _ if key % 2 == 0 => prop_assert_eq!(queue.remove(&key), expected.remove(&key)),
                    _ => match queue.evict() {
                        Some((key, bytes)) => prop_assert_eq!(expected.remove(&key), Some(bytes)),
                        None => prop_assert!(expected.is_empty()),
                    },
                }
                prop_assert_eq!(queue.bytes(), expected.values().sum::<u64>());
            }
            while let Some((key, bytes)) = queue.evict() {
                prop_assert_eq!(expected.remove(&key), Some(bytes));
            }
            prop_assert!(expected.is_empty());
        }
    }
}
