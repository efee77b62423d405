//! Where clients that were read for apart meet, so that one pass can go on for all of them from there.
//!
//! Each is read for by itself up to what the one furthest ahead has acknowledged of every file. What was decided for lines before that place, stamps from the
//! clock among it, may differ: those lines are acknowledged, and none of them is sent again.

use std::collections::HashMap;

use super::table::{ContainerPath, FileEntry, InstanceKey, Positions};
use crate::events;

/// A file as all clients know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileKey {
    instance: InstanceKey,
    device: u64,
    inode: u64,
    /// Of what is no file of its own, as a journal's.
    name: Option<String>,
}

impl FileKey {
    fn of(entry: &FileEntry) -> Self {
        let name = (entry.inode == 0).then(|| entry.name.to_string());
        Self { instance: entry.instance.clone(), device: entry.device, inode: entry.inode, name }
    }
}

/// How far a file is acknowledged. Finished comes after every offset of an unfinished one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Reached {
    is_finished: bool,
    offset: u64,
}

/// How far each file is acknowledged. `None` if a key means several, as after an inode was used again.
fn reached(client: &Positions) -> Option<HashMap<FileKey, Reached>> {
    let mut reached = HashMap::new();
    for entry in client.files.iter().filter(|entry| *entry.instance.container != *events::CONTAINER) {
        let progress = Reached { is_finished: entry.progress.is_finished, offset: entry.progress.offset };
        if reached.insert(FileKey::of(entry), progress).is_some() {
            return None;
        }
    }
    Some(reached)
}

/// Up to where each file is read for those that are not there yet.
#[derive(Debug, Default)]
pub(crate) struct Meeting(HashMap<FileKey, Reached>);

impl Meeting {
    /// `None` if that cannot be said now.
    pub(crate) fn of<'a>(clients: impl IntoIterator<Item = &'a Positions>) -> Option<Self> {
        let mut furthest: HashMap<FileKey, Reached> = HashMap::new();
        for client in clients {
            for (key, progress) in reached(client)? {
                let known = furthest.entry(key).or_default();
                *known = progress.max(*known);
            }
        }
        Some(Self(furthest))
    }

    pub(crate) fn is_reached_by(&self, client: &Positions) -> bool {
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::MeetingMissed.is_planted() {
            return true;
        }
        let Some(reached) = reached(client) else { return false };
        let is_there = |(key, place): (&FileKey, &Reached)| reached.get(key).copied().unwrap_or_default() == *place;
        client.files.iter().all(|entry| entry.cuts.is_empty()) && self.0.iter().all(is_there)
    }

    /// The offset up to which a file of a container is read, or the next entry of a journal file of this name.
    pub(crate) fn until(&self, container: &ContainerPath, number: u32, (device, inode): (u64, u64), name: Option<String>) -> u64 {
        let instance = InstanceKey { container: ContainerPath::clone(container), number };
        match self.0.get(&FileKey { instance, device, inode, name }) {
            Some(Reached { is_finished: true, .. }) => u64::MAX,
            Some(reached) => reached.offset,
            None => 0,
        }
    }
}

/// Bytes that are to be read until both clients meet; `None` if that cannot be said now.
pub(crate) fn distance(one: &Positions, other: &Positions) -> Option<u64> {
    let (one, other) = (reached(one)?, reached(other)?);
    let apart = |(key, place): (&FileKey, &Reached)| {
        let of_other = other.get(key).copied().unwrap_or_default();
        place.offset.abs_diff(of_other.offset)
    };
    let only_in_other = other.iter().filter(|(key, _)| !one.contains_key(key)).map(|(_, place)| place.offset);
    Some(one.iter().map(apart).chain(only_in_other).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::cri::OutputStream;
    use crate::positions::table::tests::file_entry;
    use crate::positions::table::{CutKind, LineCut};

    fn positions(files: &[(&str, u64, bool)]) -> Positions {
        let entry = |(container, offset, is_finished): &(&str, u64, bool)| {
            let mut entry = file_entry(container, *offset);
            entry.progress.is_finished = *is_finished;
            entry.into()
        };
        Positions { files: files.iter().map(entry).collect(), ..Positions::default() }
    }

    fn until(meeting: &Meeting, container: &str) -> u64 {
        meeting.until(&container.into(), 0, (1, 2), None)
    }

    #[test]
    fn clients_meet_at_the_furthest_place_of_every_file() {
        let one = positions(&[("a", 10, false), ("b", 5, true), ("c", 7, false), ("only one", 3, false)]);
        let other = positions(&[("c", 9, false), ("b", 5, false), ("a", 4, false)]);
        let meeting = Meeting::of([&one, &other]).unwrap();
        let places = ["a", "b", "c", "only one", "nobody's"].map(|container| until(&meeting, container));
        assert_eq!(places, [10, u64::MAX, 9, 3, 0]);
        assert!(!meeting.is_reached_by(&one) && !meeting.is_reached_by(&other));
        assert_eq!((distance(&one, &other), distance(&other, &one)), (Some(6 + 2 + 3), Some(6 + 2 + 3)));
        let there = positions(&[("a", 10, false), ("b", 5, true), ("c", 9, false), ("only one", 3, false)]);
        assert!(meeting.is_reached_by(&there) && distance(&there, &there) == Some(0));
    }

    #[test]
    fn a_client_with_a_line_that_is_not_acknowledged_is_not_there() {
        let mut client = file_entry("a", 10);
        client.cuts.push(LineCut { offset: 12, stream: OutputStream::Stdout, kind: CutKind::End });
        let client = Positions { files: vec![client.into()], ..Positions::default() };
        assert!(!Meeting::of([&client]).unwrap().is_reached_by(&client));
    }

    #[test]
    fn clients_with_two_files_in_one_place_do_not_meet() {
        let twice = positions(&[("a", 10, true), ("a", 4, false)]);
        assert!(Meeting::of([&positions(&[]), &twice]).is_none() && distance(&twice, &positions(&[])).is_none());
    }

    #[test]
    fn events_go_to_one_client_and_journal_files_have_names() {
        let with_events = positions(&[(events::CONTAINER, 1, false)]);
        assert_eq!(distance(&with_events, &positions(&[])), Some(0));
        let journal = |name: &str, offset| {
            let mut entry = file_entry("journal", offset);
            (entry.device, entry.inode, entry.name) = (0, 0, name.into());
            entry.into()
        };
        let client = Positions { files: vec![journal("x", 3), journal("y", 4)], ..Positions::default() };
        let meeting = Meeting::of([&client]).unwrap();
        let until = |name: &str| meeting.until(&"journal".into(), 0, (0, 0), Some(name.to_owned()));
        assert_eq!((until("x"), until("y"), until("z")), (3, 4, 0));
    }
}
