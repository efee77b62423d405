//! Which delete requests are erased, and where they have to be looked for: decisions only.

use std::sync::Arc;

use crate::compact::erasure::Erasure;
use crate::file::stream_table::StreamSpan;
use crate::manifest::{DataFile, ManifestState, Tombstone, TombstoneId};

/// The requests that a compaction erases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestsToErase {
    pub requests: Vec<Arc<Tombstone>>,
    /// The manifest version up to which every request is among them.
    pub as_of: u64,
}

/// The requests of a manifest version to erase. `is_due` says of one that is not processed whether it may be erased by now. Those processed are
/// always among them, and every one that came before one of them: a file says with a single version which requests its maker knew.
pub fn requests_to_erase<'t>(
    tombstones: impl IntoIterator<Item = &'t Arc<Tombstone>>,
    version: u64,
    is_due: impl Fn(&Tombstone) -> bool,
) -> RequestsToErase {
    let all: Vec<&Arc<Tombstone>> = tombstones.into_iter().collect();
    let erased = |tombstone: &&Arc<Tombstone>| tombstone.processed_at.is_some() || is_due(tombstone);
    let last = all.iter().copied().filter(erased).map(|tombstone| tombstone.added).max();
    let (requests, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|tombstone| Some(tombstone.added) <= last);
    let first_other = others.iter().map(|tombstone| tombstone.added).min();
    let as_of = first_other.map_or(version, |added| added.saturating_sub(1));
    RequestsToErase { requests: requests.into_iter().cloned().collect(), as_of }
}

/// Requests that are not processed and that an erasure takes into account, in the order in which they came.
pub(super) fn unprocessed(manifest: &ManifestState, erasure: &dyn Erasure) -> Vec<Arc<Tombstone>> {
    let is_meant = |tombstone: &&Arc<Tombstone>| tombstone.processed_at.is_none() && tombstone.added <= erasure.as_of();
    let mut found: Vec<Arc<Tombstone>> = manifest.tombstones().filter(is_meant).cloned().collect();
    found.sort_by_key(|tombstone| (tombstone.added, tombstone.id));
    found
}

/// Files that may hold what a request names, as far as the manifest tells.
pub(super) fn concerned(manifest: &ManifestState, tombstone: &Tombstone) -> Vec<Arc<DataFile>> {
    manifest.files().filter(|file| tombstone.concerns(file)).cloned().collect()
}

/// What a stream table tells of the rows of one stream that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    No,
    /// If a line is among those meant.
    SomeLines,
    AllLines,
}

pub(super) fn named(span: &StreamSpan, request: TombstoneId, erasure: &dyn Erasure) -> Named {
    let of_stream = erasure.of_stream(&span.labels);
    let mut found = Named::No;
    for range in of_stream.named_by(request, span.min_timestamp, span.max_timestamp) {
        if range.lines.is_none() {
            return Named::AllLines;
        }
        found = Named::SomeLines;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    fn tombstone(added: u64, is_processed: bool) -> Arc<Tombstone> {
        let requested = Tombstone::requested(TombstoneId(Ulid(u128::from(100 - added))), "{}", 0, 1, 0);
        Arc::new(Tombstone { added, processed_at: is_processed.then_some(7), ..requested })
    }

    #[test]
    fn a_version_is_told_up_to_which_all_requests_are_erased() {
        for (what, tombstones, due, expected, as_of) in [
            ("none", vec![], vec![], vec![], 20),
            ("all are due", vec![(3, false), (5, false)], vec![3, 5], vec![3, 5], 20),
            ("one waits", vec![(3, false), (5, false)], vec![3], vec![3], 4),
            ("all wait", vec![(3, false), (5, false)], vec![], vec![], 2),
            ("processed ones stay erased", vec![(3, true), (5, false)], vec![], vec![3], 4),
            ("none is left out before one that is erased", vec![(3, false), (5, true), (9, false)], vec![], vec![3, 5], 8),
            ("nor before one that is due", vec![(3, false), (5, false)], vec![5], vec![3, 5], 20),
        ] {
            let all: Vec<Arc<Tombstone>> = tombstones.into_iter().map(|(added, is_processed)| tombstone(added, is_processed)).collect();
            let found = requests_to_erase(&all, 20, |tombstone| due.contains(&tombstone.added));
            let added: Vec<u64> = found.requests.iter().map(|tombstone| tombstone.added).collect();
            assert_eq!((added, found.as_of), (expected, as_of), "{what}");
        }
    }
}
