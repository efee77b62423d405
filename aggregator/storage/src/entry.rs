//! Entries on their way in: what a push becomes between validation and segment.
//!
//! Column by column, so that nothing is allocated per entry: the lines of one stream of one request lie
//! end to end in one buffer, and equal metadata is kept once. Text is valid UTF-8 from here on.
//!
//! Identity (what makes two entries one) is taken here, of what was pushed: tenant, labels as pushed, timestamp,
//! line, pushed metadata. Derived `service_name` and `detected_level` never take part.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::pairs::Pairs;

/// A tenant's name, as validated at the HTTP surface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 8 bytes (big endian) of SHA-256 of the canonical text of the labels as pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// A stream's labels: as pushed (its identity) and as stored (with the derived `service_name`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLabels {
    id: StreamId,
    stored: Pairs,
}

impl StreamLabels {
    /// `pushed`: the pairs of the push, without empty values. `service_name`: the derived one, if the push had none.
    pub fn new(pushed: Pairs, service_name: Option<&str>) -> Self {
        let digest = Sha256::digest(pushed.canonical_text().as_bytes());
        let id = StreamId(u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 digest has 32 bytes")));
        let stored = match service_name {
            Some(value) => pushed.with("service_name", value),
            None => pushed,
        };
        Self { id, stored }
    }

    pub fn id(&self) -> StreamId {
        self.id
    }

    pub fn stored(&self) -> &Pairs {
        &self.stored
    }
}

/// Structured metadata of an entry: the pairs pushed and the ones derived at ingest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Metadata {
    pub pushed: Pairs,
    /// `detected_level`, where the push did not carry it as it is stored.
    pub derived: Pairs,
}

impl Metadata {
    /// All pairs, as stored and shown: a derived pair replaces a pushed one of its name.
    pub fn stored(&self) -> Pairs {
        self.derived.iter().fold(self.pushed.clone(), |all, (name, value)| all.with(name, value))
    }
}

/// The entries of one stream in one push, in the order of arrival.
#[derive(Debug)]
pub struct StreamEntries {
    labels: Arc<StreamLabels>,
    timestamps: Vec<i64>,
    line_ends: Vec<u32>,
    line_bytes: Vec<u8>,
    line_hashes: Vec<u64>,
    metadata_of: Vec<u32>,
    metadata: Vec<Metadata>,
    metadata_seeds: Vec<u64>,
    metadata_index: HashMap<Metadata, u32>,
}

/// Refers to one [`Metadata`] of a [`StreamEntries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataHandle(u32);

impl StreamEntries {
    pub fn new(labels: Arc<StreamLabels>) -> Self {
        Self {
            labels,
            timestamps: Vec::new(),
            line_ends: Vec::new(),
            line_bytes: Vec::new(),
            line_hashes: Vec::new(),
            metadata_of: Vec::new(),
            metadata: Vec::new(),
            metadata_seeds: Vec::new(),
            metadata_index: HashMap::new(),
        }
    }

    /// Makes room for so many entries more, and bytes of their lines.
    pub fn reserve(&mut self, entries: usize, line_bytes: usize) {
        self.timestamps.reserve(entries);
        self.line_ends.reserve(entries);
        self.line_bytes.reserve(line_bytes);
        self.line_hashes.reserve(entries);
        self.metadata_of.reserve(entries);
    }

    /// Interns a metadata set; entries that share one pay for it once.
    pub fn intern(&mut self, metadata: Metadata) -> MetadataHandle {
        if let Some(&index) = self.metadata_index.get(&metadata) {
            return MetadataHandle(index);
        }
        let index = u32::try_from(self.metadata.len()).expect("a push holds fewer than 2^32 entries");
        self.metadata_seeds.push(xxh3_64(metadata.pushed.as_bytes()));
        self.metadata.push(metadata.clone());
        self.metadata_index.insert(metadata, index);
        MetadataHandle(index)
    }

    /// Appends an entry. `timestamp` is nanoseconds since the epoch. The caller keeps the sum of line bytes below 4 GiB
    /// (requests are limited to far less).
    pub fn push(&mut self, timestamp: i64, line: &str, metadata: MetadataHandle) {
        self.timestamps.push(timestamp);
        self.line_bytes.extend_from_slice(line.as_bytes());
        self.line_ends.push(u32::try_from(self.line_bytes.len()).expect("line bytes of one push stay below 4 GiB"));
        self.line_hashes.push(xxh3_64_with_seed(line.as_bytes(), self.metadata_seeds[metadata.0 as usize]));
        self.metadata_of.push(metadata.0);
    }

    pub fn labels(&self) -> &Arc<StreamLabels> {
        &self.labels
    }

    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    pub fn line_bytes_len(&self) -> usize {
        self.line_bytes.len()
    }

    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    pub fn line_hashes(&self) -> &[u64] {
        &self.line_hashes
    }

    pub fn line(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.line_ends[row - 1] as usize };
        &self.line_bytes[start..self.line_ends[row] as usize]
    }

    pub fn metadata(&self, row: usize) -> &Metadata {
        &self.metadata[self.metadata_of[row] as usize]
    }

    /// The index of the row's metadata among [`Self::metadata_sets`].
    pub fn metadata_index(&self, row: usize) -> usize {
        self.metadata_of[row] as usize
    }

    pub fn metadata_sets(&self) -> &[Metadata] {
        &self.metadata
    }

    /// Heap bytes held, for the ingest budget.
    pub fn heap_bytes(&self) -> usize {
        self.line_bytes.capacity()
            + self.timestamps.capacity() * 8
            + self.line_hashes.capacity() * 8
            + self.line_ends.capacity() * 4
            + self.metadata_of.capacity() * 4
            + self.metadata.iter().map(|set| 2 * (set.pushed.as_bytes().len() + set.derived.as_bytes().len()) + 96).sum::<usize>()
    }
}

/// The valid entries of one push request.
#[derive(Debug)]
pub struct PushBatch {
    pub tenant: TenantId,
    pub streams: Vec<StreamEntries>,
}

impl PushBatch {
    pub fn entries(&self) -> usize {
        self.streams.iter().map(StreamEntries::len).sum()
    }

    pub fn line_bytes(&self) -> usize {
        self.streams.iter().map(StreamEntries::line_bytes_len).sum()
    }

    pub fn heap_bytes(&self) -> usize {
        self.streams.iter().map(StreamEntries::heap_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_ignores_what_was_derived() {
        let pushed = Pairs::from_pairs([("app", "a")]);
        let with_service = StreamLabels::new(pushed.clone(), Some("a"));
        assert_eq!(with_service.id(), StreamLabels::new(pushed, None).id());
        assert_eq!(with_service.stored().get("service_name"), Some("a"));

        let mut entries = StreamEntries::new(Arc::new(with_service));
        let plain = entries.intern(Metadata::default());
        let levelled = entries.intern(Metadata { pushed: Pairs::default(), derived: Pairs::from_pairs([("detected_level", "info")]) });
        let traced = entries.intern(Metadata { pushed: Pairs::from_pairs([("trace_id", "1")]), derived: Pairs::default() });
        for handle in [plain, levelled, traced] {
            entries.push(1, "line", handle);
        }
        assert_eq!(entries.line_hashes()[0], entries.line_hashes()[1]);
        assert_ne!(entries.line_hashes()[0], entries.line_hashes()[2]);
    }

    #[test]
    fn lines_are_cut_out_of_the_shared_buffer() {
        let mut entries = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::default(), None)));
        let none = entries.intern(Metadata::default());
        for line in ["first", "", "third"] {
            entries.push(1, line, none);
        }
        assert_eq!((0..3).map(|row| entries.line(row)).collect::<Vec<_>>(), [b"first".as_slice(), b"", b"third"]);
        assert_eq!(entries.metadata_sets().len(), 1);
    }
}
