//! What single clients have acknowledged beyond what all have that are read for together.
//!
//! All of them get the same batches in the same order, each at its own pace: what the one furthest behind has acknowledged is known of all.

use std::collections::HashMap;

use super::table::{FileEntry, FileId, LineCut, SlimArc};

/// By the client's place among them. While all are in step there is nothing in it.
#[derive(Debug)]
pub(super) struct Ahead(Vec<HashMap<FileId, SlimArc<FileEntry>>>);

impl Default for Ahead {
    fn default() -> Self {
        Self::of(1)
    }
}

impl Ahead {
    pub(super) fn of(clients: usize) -> Self {
        Self(vec![HashMap::new(); clients])
    }

    /// Of a client that is further than others.
    pub(super) fn entry(&self, place: usize, file: FileId) -> Option<&SlimArc<FileEntry>> {
        self.0[place].get(&file)
    }

    pub(super) fn entries(&self, place: usize) -> &HashMap<FileId, SlimArc<FileEntry>> {
        &self.0[place]
    }

    /// Of any client that is further than others.
    pub(super) fn any(&self, file: FileId) -> Option<&SlimArc<FileEntry>> {
        self.0.iter().find_map(|entries| entries.get(&file))
    }

    /// A client's acknowledgement. Returns what all have acknowledged, if that is more than before.
    pub(super) fn acknowledge(&mut self, place: usize, file: FileId, entry: SlimArc<FileEntry>) -> Option<SlimArc<FileEntry>> {
        if self.0.len() == 1 {
            return Some(entry);
        }
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::OneForAll.is_planted() {
            return Some(entry);
        }
        self.0[place].insert(file, entry);
        let entries = self.0.iter().map(|entries| entries.get(&file)).collect::<Option<Vec<_>>>()?;
        let least = entries.into_iter().min_by_key(|entry| (entry.progress.offset, entry.progress.is_finished)).cloned()?;
        for entries in &mut self.0 {
            if entries.get(&file) == Some(&least) {
                entries.remove(&file);
            }
        }
        Some(least)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }

    pub(super) fn add_cut(&mut self, file: FileId, cut: LineCut) {
        for entry in self.0.iter_mut().filter_map(|entries| entries.get_mut(&file)) {
            SlimArc::make_mut(entry).cuts.push(cut);
        }
    }

    pub(super) fn remove(&mut self, file: FileId) -> Option<SlimArc<FileEntry>> {
        self.0.iter_mut().filter_map(|entries| entries.remove(&file)).last()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::parse::cri::OutputStream;
    use crate::positions::table::tests::file_entry;
    use crate::positions::table::{CutKind, LineCut, Mark, Positions, PositionsTable};

    const CLIENTS: usize = 3;
    const FILES: u64 = 2;

    proptest! {
        #[test]
        fn each_client_is_where_it_acknowledged_and_readers_see_the_one_furthest_behind(
            steps in proptest::collection::vec((0..CLIENTS, 0..FILES), 0..60),
        ) {
            let mut table = PositionsTable::load([&Positions::default(); CLIENTS]);
            let files: Vec<_> = (0..FILES).map(|_| table.new_file()).collect();
            let mut acknowledged = [[0_u64; FILES as usize]; CLIENTS];
            for (place, file) in steps {
                let offset = &mut acknowledged[place][file as usize];
                *offset += 1;
                table.acknowledge(place, &Mark { file: files[file as usize], entry: file_entry(&format!("c{file}"), *offset) });
                for (index, id) in files.iter().enumerate() {
                    let of_clients = acknowledged.map(|offsets| offsets[index]);
                    prop_assert_eq!(table.acknowledged(*id), of_clients.into_iter().min().filter(|offset| *offset > 0));
                    let container = format!("c{index}");
                    for (place, expected) in of_clients.into_iter().enumerate() {
                        let snapshot = table.snapshot(place);
                        let entry = snapshot.files.iter().find(|entry| *entry.instance.container == *container);
                        prop_assert_eq!(entry.map_or(0, |entry| entry.progress.offset), expected);
                        prop_assert_eq!(table.files_of_client(place, &container).len(), usize::from(expected > 0));
                    }
                }
                let are_in_step = acknowledged.iter().all(|offsets| *offsets == acknowledged[0]);
                prop_assert!(!are_in_step || table.ahead_entries() == 0, "nothing is kept twice");
            }
        }
    }

    #[test]
    fn what_is_decided_holds_for_all_and_is_forgotten_by_each_when_it_acknowledged_so_far() {
        let mut table = PositionsTable::load([&Positions::default(); 2]);
        let file = table.new_file();
        table.acknowledge(0, &Mark { file, entry: file_entry("c", 10) });
        let cuts = [20, 30].map(|offset| LineCut { offset, stream: OutputStream::Stderr, kind: CutKind::End });
        for cut in cuts {
            table.decide_cut(file, cut, file_entry("c", 0));
        }
        let of = |table: &PositionsTable, place: usize| {
            (table.snapshot(place).files[0].progress.offset, table.snapshot(place).files[0].cuts.to_vec())
        };
        assert_eq!((of(&table, 0), of(&table, 1)), ((10, cuts.to_vec()), (0, cuts.to_vec())));
        table.acknowledge(0, &Mark { file, entry: file_entry("c", 25) });
        table.acknowledge(1, &Mark { file, entry: file_entry("c", 10) });
        assert_eq!((of(&table, 0), of(&table, 1)), ((25, cuts[1..].to_vec()), (10, cuts.to_vec())));
        let new = table.new_file();
        table.decide_truncation(file, new, file_entry("c", 0));
        assert_eq!((of(&table, 0), of(&table, 1)), ((0, Vec::new()), (0, Vec::new())));
    }
}
