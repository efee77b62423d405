//! What is kept of objects in memory: opened files (footers, stream tables, page indexes), headers and blocks of text indexes. Bounded by
//! bytes; losing any of it costs a read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tailwater_textindex::{BlockId, IndexHeader};

use crate::catalog::part::{OpenFile, Part};

/// Memory for what is read again and again, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheBudget {
    /// Rows of own segments that are not compacted yet.
    pub recent_rows: usize,
    /// Footers, stream tables and page indexes.
    pub footers: usize,
    /// Blocks of text indexes.
    pub index: usize,
}

/// A file and its parts.
#[derive(Debug, Clone)]
pub(super) struct OpenParts {
    pub(super) parts: Arc<[Arc<Part>]>,
}

/// The header of a file's text index, and which granule each row group begins with.
#[derive(Debug)]
pub(super) struct OpenIndex {
    pub(super) header: IndexHeader,
    pub(super) first_granules: Box<[u32]>,
}

/// `None`: the index is damaged or of an unknown version.
pub(super) type FoundIndex = Option<Arc<OpenIndex>>;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Arc<str>, OpenParts> for ByBytes {
    fn weight(&self, key: &Arc<str>, parts: &OpenParts) -> u64 {
        (key.len() + parts.parts.first().map_or(0, |part| part.file().heap_bytes())) as u64 + 64
    }
}

impl Weighter<Arc<str>, FoundIndex> for ByBytes {
    fn weight(&self, key: &Arc<str>, index: &FoundIndex) -> u64 {
        (key.len() + index.as_ref().map_or(0, |index| index.header.header_length() * 2)) as u64 + 64
    }
}

impl Weighter<(Arc<str>, BlockId), Bytes> for ByBytes {
    fn weight(&self, _key: &(Arc<str>, BlockId), block: &Bytes) -> u64 {
        block.len() as u64 + 64
    }
}

#[derive(Debug)]
pub(super) struct Caches {
    files: Cache<Arc<str>, OpenParts, ByBytes>,
    indexes: Cache<Arc<str>, FoundIndex, ByBytes>,
    blocks: Cache<(Arc<str>, BlockId), Bytes, ByBytes>,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

/// Typical sizes, for the caches' own tables.
const FILE_BYTES: usize = 64 << 10;
const BLOCK_BYTES: usize = 64 << 10;

fn cache<K: Eq + std::hash::Hash, V: Clone>(budget: usize, typical: usize) -> Cache<K, V, ByBytes>
where
    ByBytes: Weighter<K, V>,
{
    Cache::with_weighter((budget / typical).max(16), budget as u64, ByBytes)
}

impl Caches {
    pub(super) fn new(budget: CacheBudget) -> Self {
        Self {
            files: cache(budget.footers, FILE_BYTES),
            // Headers are a hundredth of the blocks they tell of.
            indexes: cache(budget.index / 16 + FILE_BYTES, FILE_BYTES / 16),
            blocks: cache(budget.index, BLOCK_BYTES),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn count<T>(&self, found: Option<T>) -> Option<T> {
        if found.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(super) fn file(&self, key: &str) -> Option<OpenParts> {
        self.count(self.files.get(key))
    }

    pub(super) fn keep_file(&self, file: &Arc<OpenFile>) -> OpenParts {
        let parts = OpenParts { parts: Part::of(file).into() };
        self.files.insert(file.key.as_str().into(), parts.clone());
        parts
    }

    pub(super) fn index(&self, key: &str) -> Option<FoundIndex> {
        self.count(self.indexes.get(key))
    }

    pub(super) fn keep_index(&self, key: &Arc<str>, index: FoundIndex) {
        self.indexes.insert(key.clone(), index);
    }

    pub(super) fn block(&self, key: &Arc<str>, block: BlockId) -> Option<Bytes> {
        self.count(self.blocks.get(&(key.clone(), block)))
    }

    pub(super) fn keep_block(&self, key: &Arc<str>, block: BlockId, bytes: Bytes) {
        self.blocks.insert((key.clone(), block), bytes);
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.files.weight() + self.indexes.weight() + self.blocks.weight()
    }
}
