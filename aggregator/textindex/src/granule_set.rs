//! A set of granules, by their numbers in the index.

/// Some of the granules 0..[`GranuleSet::capacity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GranuleSet {
    words: Vec<u64>,
    capacity: u32,
}

impl GranuleSet {
    pub fn none(capacity: u32) -> GranuleSet {
        GranuleSet { words: vec![0; (capacity as usize).div_ceil(64)], capacity }
    }

    pub fn all(capacity: u32) -> GranuleSet {
        let mut set = GranuleSet { words: vec![u64::MAX; (capacity as usize).div_ceil(64)], capacity };
        if let Some(last) = set.words.last_mut()
            && !capacity.is_multiple_of(64)
        {
            *last = (1 << (capacity % 64)) - 1;
        }
        set
    }

    /// The granules there are, in the set or not.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    pub fn contains(&self, granule: u32) -> bool {
        self.words.get(granule as usize / 64).is_some_and(|word| word >> (granule % 64) & 1 == 1)
    }

    /// Adds a granule below the capacity.
    pub fn insert(&mut self, granule: u32) {
        assert!(granule < self.capacity, "granule {granule} of {}", self.capacity);
        self.words[granule as usize / 64] |= 1 << (granule % 64);
    }

    pub fn remove(&mut self, granule: u32) {
        if let Some(word) = self.words.get_mut(granule as usize / 64) {
            *word &= !(1 << (granule % 64));
        }
    }

    /// Adds the granules of a set of the same capacity.
    pub fn union_with(&mut self, other: &GranuleSet) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Leaves the granules that are in a set of the same capacity too.
    pub fn intersect_with(&mut self, other: &GranuleSet) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many granules the set has.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0_u32..).flat_map(|(&word, index)| {
            let rests = std::iter::successors(Some(word), |rest| Some(rest & (rest - 1)));
            rests.take(word.count_ones() as usize).map(move |rest| index * 64 + rest.trailing_zeros())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(
            capacity in 0_u32..200,
            left in proptest::collection::btree_set(0_u32..200, 0..60),
            right in proptest::collection::btree_set(0_u32..200, 0..60),
        ) {
            let set = |numbers: &BTreeSet<u32>| {
                let mut set = GranuleSet::none(capacity);
                numbers.iter().filter(|number| **number < capacity).for_each(|number| set.insert(*number));
                set
            };
            let numbers = |set: &GranuleSet| set.iter().collect::<BTreeSet<u32>>();
            let inside = |numbers: BTreeSet<u32>| numbers.into_iter().filter(|number| *number < capacity).collect::<BTreeSet<u32>>();
            let (mut both, mut either, mut without) = (set(&left), set(&left), GranuleSet::all(capacity));
            both.intersect_with(&set(&right));
            either.union_with(&set(&right));
            left.iter().for_each(|number| without.remove(*number));
            prop_assert_eq!(numbers(&both), inside(&left & &right));
            prop_assert_eq!(numbers(&either), inside(&left | &right));
            prop_assert_eq!(numbers(&without), &(0..capacity).collect() - &left);
            prop_assert_eq!(either.count() as usize, either.iter().count());
            prop_assert_eq!(either.is_empty(), either.count() == 0);
            prop_assert!((0..210).all(|number| either.contains(number) == numbers(&either).contains(&number)));
        }
    }
}
