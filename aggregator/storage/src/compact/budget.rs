//! Retention by size: which files go so that the others fit. Decisions only.

use crate::manifest::{DataFile, FileId};

/// The whole files to drop, each with its owner, so that what stays has at most `budget` bytes as stored; those go first whose newest entry is
/// oldest. Segments and objects that wait to be deleted do not count: neither can be dropped.
pub fn over_budget<'f, T>(files: impl IntoIterator<Item = (T, &'f DataFile)>, budget: u64) -> Vec<(T, FileId)> {
    let mut files: Vec<(T, &DataFile)> = files.into_iter().collect();
    files.sort_by_key(|(_, file)| (file.max_timestamp, file.min_timestamp, file.id));
    #[cfg(feature = "planted-faults")]
    if tailwater_planted::Fault::NewestDropped.is_planted() {
        files.reverse();
    }
    let mut stored: u128 = files.iter().map(|(_, file)| u128::from(file.size)).sum();
    let mut dropped = Vec::new();
    for (owner, file) in files {
        if stored <= u128::from(budget) {
            break;
        }
        stored -= u128::from(file.size);
        dropped.push((owner, file.id));
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::tests::erasing::data_file;

    #[test]
    fn the_oldest_files_go_until_the_others_fit() {
        let file =
            |number: u64, newest: i64, size: u64| DataFile { min_timestamp: newest, max_timestamp: newest, size, ..data_file(number) };
        let files = [file(1, 30, 10), file(2, 10, 40), file(3, 20, 30), file(4, 40, 5)];
        let dropped = |budget: u64| -> Vec<u64> {
            let dropped = over_budget(files.iter().map(|file| ((), file)), budget);
            dropped.iter().map(|((), id)| (1..5).find(|number| data_file(*number).id == *id).expect("one of them")).collect()
        };
        for (budget, expected) in [(85, vec![]), (84, vec![2]), (45, vec![2]), (44, vec![2, 3]), (14, vec![2, 3, 1]), (4, vec![2, 3, 1, 4])]
        {
            assert_eq!(dropped(budget), expected, "{budget}");
        }
        assert!(over_budget::<()>([], 0).is_empty());
    }

    #[test]
    fn owners_share_one_budget() {
        let files = [
            ("a", DataFile { max_timestamp: 2, size: 10, ..data_file(1) }),
            ("b", DataFile { max_timestamp: 1, size: 10, ..data_file(2) }),
        ];
        let dropped = over_budget(files.iter().map(|(owner, file)| (*owner, file)), 10);
        assert_eq!(dropped, [("b", data_file(2).id)]);
    }
}
