//! Entries of one stream with one stamp, of which an identical one is looked for: few as a rule, and many where a sender knows whole
//! seconds only.

use std::collections::HashMap;

/// So many are compared one by one: to hash them would take longer.
const FEW: usize = 16;

/// Entries with the stamp that is being looked at.
#[derive(Debug)]
pub(crate) struct SameStamp<T> {
    entries: Vec<T>,
    /// Places in `entries` by hash; of the first `hashed` of them.
    places: HashMap<u64, Vec<usize>>,
    hashed: usize,
}

impl<T> Default for SameStamp<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), hashed: 0 }
    }
}

impl<T> SameStamp<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
        self.hashed = 0;
    }

    pub(crate) fn push(&mut self, entry: T) {
        self.entries.push(entry);
    }

    /// The first of them that `is_same`. `hash`: equal for entries that are.
    pub(crate) fn find<E>(
        &mut self,
        entry: &T,
        hash: impl Fn(&T) -> Result<u64, E>,
        is_same: impl Fn(&T, &T) -> Result<bool, E>,
    ) -> Result<Option<&T>, E> {
        if self.entries.len() <= FEW {
            return first(self.entries.iter(), |other| is_same(entry, other));
        }
        while let Some(next) = self.entries.get(self.hashed) {
            self.places.entry(hash(next)?).or_default().push(self.hashed);
            self.hashed += 1;
        }
        let places = self.places.get(&hash(entry)?).map(Vec::as_slice).unwrap_or_default();
        first(places.iter().map(|place| &self.entries[*place]), |other| is_same(entry, other))
    }
}

fn first<'t, T, E>(entries: impl Iterator<Item = &'t T>, is_same: impl Fn(&T) -> Result<bool, E>) -> Result<Option<&'t T>, E> {
    for entry in entries {
        if is_same(entry)? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    #[test]
    fn the_first_same_one_is_found_among_few_and_among_many() {
        let mut held: SameStamp<(u64, u64)> = SameStamp::default();
        let hash = |entry: &(u64, u64)| Ok::<_, Infallible>(entry.0 / 10);
        let is_same = |one: &(u64, u64), other: &(u64, u64)| Ok(one.0 == other.0);
        for number in 0..100 {
            assert!(held.is_empty() == (number == 0));
            for known in 0..number {
                assert_eq!(held.find(&(known, 0), hash, is_same), Ok(Some(&(known, 1))), "{known} of {number}");
            }
            assert_eq!(held.find(&(number, 0), hash, is_same), Ok(None));
            held.push((number, 1));
            held.push((number, 2));
        }
        held.clear();
        assert_eq!(held.find(&(1, 0), hash, is_same), Ok(None));
    }

    #[test]
    fn many_are_not_compared_one_by_one() {
        let (mut held, compared) = (SameStamp::default(), Cell::new(0));
        let is_same = |one: &u64, other: &u64| {
            compared.set(compared.get() + 1);
            Ok::<_, Infallible>(one == other)
        };
        for number in 0..10_000 {
            assert_eq!(held.find(&number, |entry| Ok(*entry), is_same), Ok(None));
            held.push(number);
        }
        assert!(compared.get() <= FEW * FEW, "{}", compared.get());
    }
}
