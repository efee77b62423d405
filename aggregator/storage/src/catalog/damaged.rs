//! Segments that were found and cannot be read.
//!
//! Whose rows they hold, and of when, stands in what is damaged: a query of any tenant that has not folded such a segment may miss rows, so it fails and
//! names the object. Everything else goes on. They are read anew at each discovery, since the damage may have been of that one answer of the store.

use std::collections::BTreeMap;

use crate::error::ReadError;
use crate::manifest::ManifestState;
use crate::store::paths;

/// By key, in its order.
#[derive(Debug, Default)]
pub(super) struct DamagedSegments {
    found: BTreeMap<String, ReadError>,
}

impl DamagedSegments {
    /// Takes what a complete look at the store found, and tells what is new.
    pub(super) fn replace(&mut self, found: BTreeMap<String, ReadError>) {
        for (key, error) in found.iter().filter(|(key, _)| !self.found.contains_key(*key)) {
            tracing::error!(%key, %error, "a segment is damaged and left alone; queries that may need it fail until it is restored or deleted");
        }
        self.found = found;
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Those that may hold rows which this version shows in no data file.
    pub(super) fn missing_from(&self, manifest: &ManifestState) -> impl Iterator<Item = &ReadError> {
        let is_folded = |key: &str| paths::segment_of(key).is_some_and(|(writer, sequence)| manifest.is_folded(writer, sequence));
        self.found.iter().filter(move |(key, _)| !is_folded(key)).map(|(_, error)| error)
    }
}
