//! Whether clients have acknowledged the same, so that they can be read for together.

use std::collections::HashMap;

use super::table::{FileEntry, InstanceKey, Positions, SlimArc};
use crate::events;

/// The files of one client.
pub(super) struct Acknowledged<'a>(HashMap<(&'a InstanceKey, u64, u64), Vec<&'a SlimArc<FileEntry>>>);

impl<'a> Acknowledged<'a> {
    pub(super) fn by(client: &'a Positions) -> Self {
        let mut files: HashMap<_, Vec<_>> = HashMap::new();
        for entry in &client.files {
            files.entry((&entry.instance, entry.device, entry.inode)).or_default().push(entry);
        }
        Self(files)
    }

    /// Of the same file the same.
    pub(super) fn has(&self, entry: &FileEntry) -> bool {
        self.0.get(&(&entry.instance, entry.device, entry.inode)).is_some_and(|entries| entries.iter().any(|known| ***known == *entry))
    }
}

impl Positions {
    /// The same, with the place among events of another client.
    pub(crate) fn with_events_of(&self, other: &Self) -> Self {
        let are_events = |entry: &&SlimArc<FileEntry>| *entry.instance.container == *events::CONTAINER;
        let own = self.files.iter().filter(|entry| !are_events(entry));
        Self { files: own.chain(other.files.iter().filter(are_events)).cloned().collect(), instances: self.instances.clone() }
    }

    /// Whether both clients are at the same places. Kubernetes' events go to one of them.
    pub(crate) fn agree_with(&self, other: &Self) -> bool {
        let all_are_in = |all: &Self, others: &Self| {
            let known = Acknowledged::by(others);
            all.files.iter().filter(|entry| *entry.instance.container != *events::CONTAINER).all(|entry| known.has(entry))
        };
        self.instances == other.instances && all_are_in(self, other) && all_are_in(other, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::table::tests::file_entry;
    use crate::positions::table::{InstanceEntry, PositionsTable};

    fn positions(files: &[(&str, u64)]) -> Positions {
        Positions { files: files.iter().map(|(container, offset)| file_entry(container, *offset).into()).collect(), ..Positions::default() }
    }

    #[test]
    fn clients_agree_that_acknowledged_the_same_of_every_file_in_whatever_order() {
        let one = positions(&[("a", 1), ("b", 2), (events::CONTAINER, 0)]);
        assert!(one.agree_with(&positions(&[("b", 2), ("a", 1)])) && positions(&[("b", 2), ("a", 1)]).agree_with(&one));
        for other in [vec![("a", 1)], vec![("a", 1), ("b", 3)], vec![("a", 1), ("b", 2), ("c", 0)]] {
            let other = positions(&other);
            assert!(!one.agree_with(&other) && !other.agree_with(&one));
        }
        let mut decided = one.clone();
        let instance = decided.files[0].instance.clone();
        decided.instances.insert(instance, InstanceEntry { label_sets: Default::default(), first_stamp: 7, revision: 0 }.into());
        assert!(!one.agree_with(&decided));
    }

    #[test]
    fn what_only_one_of_them_has_stays_with_it() {
        let (one, other) = (positions(&[("a", 1), (events::CONTAINER, 0)]), positions(&[("a", 1)]));
        let table = PositionsTable::load([&other, &one]);
        assert_eq!((table.snapshot(0), table.snapshot(1)), (other, one));
        assert!(table.files_of(events::CONTAINER).is_empty() && table.files_of_client(1, events::CONTAINER).len() == 1);
    }
}
