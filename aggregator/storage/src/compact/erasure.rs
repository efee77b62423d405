//! What compaction leaves out for good: rows past their retention and rows that a delete request names.

use std::fmt;
use std::sync::Arc;

use crate::manifest::TombstoneId;
use crate::pairs::Pairs;

/// Says whether a line is meant.
pub type LinePredicate = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Decides for each stream what is erased.
pub trait Erasure: Send + Sync {
    fn of_stream(&self, labels: &Pairs) -> StreamErasure;

    /// The manifest version whose delete requests are all taken into account.
    fn as_of(&self) -> u64;
}

/// What is erased of one stream.
#[derive(Clone)]
pub struct StreamErasure {
    /// Rows with an earlier stamp (ns) are past their retention.
    pub keep_from: i64,
    pub deleted: Vec<DeletedRange>,
}

/// Rows that a delete request names; both ends count (ns).
#[derive(Clone)]
pub struct DeletedRange {
    pub request: TombstoneId,
    pub start: i64,
    pub end: i64,
    /// `None`: every line.
    pub lines: Option<LinePredicate>,
}

impl Default for StreamErasure {
    fn default() -> Self {
        Self { keep_from: i64::MIN, deleted: Vec::new() }
    }
}

impl StreamErasure {
    pub fn is_nothing(&self) -> bool {
        self.keep_from == i64::MIN && self.deleted.is_empty()
    }

    /// Whether all rows between two stamps, both included, are erased, whatever their lines.
    pub(super) fn erases_all(&self, oldest: i64, newest: i64) -> bool {
        let covers = |range: &DeletedRange| range.lines.is_none() && range.start <= oldest && newest <= range.end;
        newest < self.keep_from || self.deleted.iter().any(covers)
    }

    /// The ranges of a request that meet `[oldest, newest]`.
    pub(super) fn named_by(&self, request: TombstoneId, oldest: i64, newest: i64) -> impl Iterator<Item = &DeletedRange> {
        self.deleted.iter().filter(move |range| range.request == request && range.start <= newest && range.end >= oldest)
    }

    pub fn keeps(&self, stamp: i64, line: &[u8]) -> bool {
        stamp >= self.keep_from && !self.deleted.iter().any(|range| range.names(stamp, line))
    }
}

impl DeletedRange {
    pub fn names(&self, stamp: i64, line: &[u8]) -> bool {
        (self.start..=self.end).contains(&stamp) && self.lines.as_ref().is_none_or(|meant| meant(line))
    }
}

impl fmt::Debug for StreamErasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<(i64, i64)> = self.deleted.iter().map(|range| (range.start, range.end)).collect();
        f.debug_struct("StreamErasure").field("keep_from", &self.keep_from).field("deleted", &ranges).finish()
    }
}

/// Nothing is erased.
#[derive(Debug, Clone, Copy)]
pub struct NothingErased {
    pub as_of: u64,
}

impl Erasure for NothingErased {
    fn of_stream(&self, _labels: &Pairs) -> StreamErasure {
        StreamErasure::default()
    }

    fn as_of(&self) -> u64 {
        self.as_of
    }
}
