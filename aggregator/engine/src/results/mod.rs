//! What metric queries have computed, by pieces of time, so that a query over a window that moves computes its two ragged ends alone.
//!
//! ```text
//! grid of steps → pieces → keys (whose data, query, steps, and the identity of all that the windows of these steps can see)
//!     known: taken as they are      unknown, and ragged ends: runs, each one plan, cut into pieces again
//! ```
//! An answer is a function of its key, so that nothing ever expires: what is pushed, folded, merged, deleted or past its retention gives
//! pieces that touch it other keys. Points are kept as the plan gave them; limits are applied to the whole answer, with kept pieces or
//! without. Queries that fail keep nothing. Memory is bounded; losing a piece costs its computation.

mod identity;
mod pieces;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use datafusion_common::Result;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::operators::points::Points;
use crate::operators::series::SeriesIndex;

pub(crate) use identity::{Leaf, PieceKey, Question};
pub(crate) use pieces::{Division, Stretch};

/// The points of the steps of a piece.
#[derive(Debug)]
pub(crate) struct PieceResults {
    label_sets: Vec<Box<[u8]>>,
    points: Vec<PiecePoint>,
    /// See [`SeriesShape`](crate::gather::SeriesShape).
    pub(crate) hides_empty_labels: bool,
}

#[derive(Debug, Clone, Copy)]
struct PiecePoint {
    label_set: u32,
    /// Counted from the first of the piece.
    step: u32,
    value: f64,
}

impl PieceResults {
    /// (label set, step counted from `first`, value), in the order of the plan's rows.
    pub(crate) fn points_from(&self, first: u32) -> impl Iterator<Item = (&[u8], u32, f64)> {
        self.points.iter().map(move |point| (self.label_sets[point.label_set as usize].as_ref(), first + point.step, point.value))
    }

    fn bytes(&self) -> usize {
        let labels: usize = self.label_sets.iter().map(|labels| labels.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Self>() + labels + self.points.len() * size_of::<PiecePoint>()
    }
}

/// Cuts the points of a run into those of its pieces. `pieces`: their steps, counted from the first of the run, ascending.
pub(crate) fn cut(batches: &[RecordBatch], pieces: &[Stretch], hides_empty_labels: bool) -> Result<Vec<PieceResults>> {
    let mut cut: Vec<(SeriesIndex, Vec<PiecePoint>)> = pieces.iter().map(|_| (SeriesIndex::default(), Vec::new())).collect();
    for batch in batches {
        let points = Points::of(batch)?;
        let label_sets: Vec<&[u8]> = points.label_sets().collect();
        for (key, step, value) in points.rows() {
            let place = pieces.partition_point(|piece| piece.first + piece.count <= step);
            let Some(piece) = pieces.get(place).filter(|piece| piece.first <= step) else { continue };
            let (index, kept) = &mut cut[place];
            let (label_set, _) = index.number(label_sets[key]);
            kept.push(PiecePoint { label_set, step: step - piece.first, value });
        }
    }
    let finished = |(index, mut points): (SeriesIndex, Vec<PiecePoint>)| {
        points.shrink_to_fit();
        PieceResults { label_sets: index.into_label_sets(), points, hides_empty_labels }
    };
    Ok(cut.into_iter().map(finished).collect())
}

/// Pieces in memory, up to a budget.
#[derive(Debug)]
pub(crate) struct ResultCache {
    pieces: Cache<PieceKey, Arc<PieceResults>, ByBytes>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What is counted of the kept results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultCounters {
    /// Pieces that were taken from memory.
    pub hits: u64,
    /// Pieces that had to be computed.
    pub misses: u64,
    /// Bytes of memory in use.
    pub bytes: u64,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<PieceKey, Arc<PieceResults>> for ByBytes {
    fn weight(&self, _key: &PieceKey, results: &Arc<PieceResults>) -> u64 {
        (size_of::<PieceKey>() + results.bytes()) as u64 + 64
    }
}

/// Typical bytes of a piece, for the cache's own table.
const PIECE_BYTES: usize = 8 << 10;

impl ResultCache {
    pub(crate) fn new(budget: usize) -> Self {
        let pieces = Cache::with_weighter((budget / PIECE_BYTES).max(16), budget as u64, ByBytes);
        Self { pieces, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &PieceKey) -> Option<Arc<PieceResults>> {
        let found = self.pieces.get(key);
        if found.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(crate) fn keep(&self, key: PieceKey, results: PieceResults) {
        self.pieces.insert(key, Arc::new(results));
    }

    pub(crate) fn counters(&self) -> ResultCounters {
        ResultCounters { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed), bytes: self.pieces.weight() }
    }
}
