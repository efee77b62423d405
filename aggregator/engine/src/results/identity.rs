//! The key of a piece: everything that its points follow from.
//!
//! That is whose data is asked for and how, the steps, and what the windows of these steps can see: the parts that hold selected streams
//! there (objects never change, and a name is never used twice) and what retention and deletes take from these streams. A SHA-256 of it,
//! each item with its length or of fixed length, so that two different questions never share one.

use sha2::{Digest, Sha256};
use tailwater_logql::ast::{LogRange, MetricExpr, Selector, Stage};
use tailwater_logql::pipeline::PipelineOptions;
use tailwater_storage::catalog::Snapshot;

use crate::error::QueryError;
use crate::operators::grid::{StepGrid, Window};
use crate::plan::selection::{Pinned, SelectedStream, select_streams, spans_of};
use crate::request::TimeRange;
use crate::results::pieces::Division;
use crate::scope::Scope;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PieceKey([u8; 32]);

/// What an expression reads at one place: the windows over the streams of a selector.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) selector: Selector,
    pub(crate) window: Window,
    /// No stage asks for the time of day.
    pub(crate) is_timeless: bool,
}

impl Leaf {
    /// All leaves of an expression.
    pub(crate) fn all(expr: &MetricExpr) -> Vec<Self> {
        let mut leaves = Vec::new();
        collect(expr, &mut leaves);
        leaves
    }

    fn of(range: &LogRange) -> Self {
        Self {
            selector: range.log.selector.clone(),
            window: Window { range: range.range, offset: range.offset },
            is_timeless: range.log.stages.iter().all(is_timeless),
        }
    }

    /// The stamps that any window of a grid holds.
    pub(crate) fn extent(&self, grid: StepGrid) -> TimeRange {
        let (start, end) = grid.stamps(self.window);
        TimeRange { start, end }
    }
}

/// Templates tell the time by the functions `now` and `date`; whatever else holds these letters is taken for one of them.
fn is_timeless(stage: &Stage) -> bool {
    if !matches!(stage, Stage::LineFormat { .. } | Stage::LabelFormat { .. }) {
        return true;
    }
    let text = format!("{stage:?}");
    !["now", "date"].iter().any(|function| text.contains(function))
}

fn collect(expr: &MetricExpr, leaves: &mut Vec<Leaf>) {
    match expr {
        MetricExpr::Range(aggregation) => leaves.push(Leaf::of(&aggregation.range)),
        MetricExpr::Vector(aggregation) => collect(&aggregation.inner, leaves),
        MetricExpr::Binary(operation) => {
            collect(&operation.left, leaves);
            collect(&operation.right, leaves);
        }
        MetricExpr::LabelReplace(replace) => collect(&replace.inner, leaves),
        MetricExpr::Variants { of, .. } => leaves.push(Leaf::of(of)),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => {}
    }
}

/// Who asks what, of which moment.
pub(crate) struct Question<'q> {
    pub(crate) scope: &'q Scope,
    pub(crate) expr: &'q MetricExpr,
    pub(crate) options: PipelineOptions,
    pub(crate) leaves: &'q [Leaf],
    pub(crate) pinned: &'q Pinned,
}

/// A piece on its way to its key.
struct Open {
    /// Its place among the stretches.
    place: usize,
    grid: StepGrid,
    hasher: Sha256,
}

impl Question<'_> {
    /// The keys of the pieces of a division, by stretch; ragged ends have none.
    pub(crate) fn keys(&self, division: &Division) -> Result<Vec<Option<PieceKey>>, QueryError> {
        let of_question = self.hasher();
        let mut open = Vec::new();
        for (place, stretch) in division.stretches().iter().enumerate().filter(|(_, stretch)| stretch.is_piece) {
            let grid = division.grid_of(&[*stretch]);
            let mut hasher = of_question.clone();
            number(&mut hasher, grid.start);
            number(&mut hasher, grid.step);
            number(&mut hasher, i64::from(grid.count));
            open.push(Open { place, grid, hasher });
        }
        self.add_what_is_visible(&mut open)?;
        let mut keys = vec![None; division.stretches().len()];
        for Open { place, hasher, .. } in open {
            keys[place] = Some(PieceKey(hasher.finalize().into()));
        }
        Ok(keys)
    }

    fn hasher(&self) -> Sha256 {
        let mut hasher = Sha256::new();
        number(&mut hasher, self.scope.accesses().len() as i64);
        for access in self.scope.accesses() {
            text(&mut hasher, access.tenant().as_str());
            text(&mut hasher, &access.identity());
        }
        text(&mut hasher, &format!("{:?} {:?}", self.options, self.expr));
        hasher
    }

    fn add_what_is_visible(&self, pieces: &mut [Open]) -> Result<(), QueryError> {
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::ResultsWithoutIdentity.is_planted() {
            return Ok(());
        }
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let whole = |leaf: &Leaf| TimeRange { start: leaf.extent(first.grid).start, end: leaf.extent(last.grid).end };
        let ranges: Vec<TimeRange> = self.leaves.iter().map(whole).collect();
        for (leaf, range) in self.leaves.iter().zip(ranges) {
            let extents: Vec<TimeRange> = pieces.iter().map(|piece| leaf.extent(piece.grid)).collect();
            let (accesses, selector) = self.scope.narrowed_query(&leaf.selector)?;
            for access in accesses {
                pieces.iter_mut().for_each(|piece| text(&mut piece.hasher, "leaf"));
                let snapshot = self.pinned.of(access, range);
                let mut streams = select_streams(&snapshot, access, std::slice::from_ref(&selector), range)?;
                // Their order is not certain.
                streams.sort_by_key(|stream| stream.id);
                add_parts(&snapshot, &streams, &extents, pieces);
                streams.iter().for_each(|stream| add_erasure(stream, range, &extents, pieces));
            }
        }
        Ok(())
    }
}

/// Adds to each piece the parts that have selected rows in its extent.
fn add_parts(snapshot: &Snapshot, streams: &[SelectedStream], extents: &[TimeRange], pieces: &mut [Open]) {
    for spans in spans_of(snapshot, streams).chunk_by(|left, right| left.0 == right.0) {
        let mut is_in = vec![false; pieces.len()];
        for (_, (oldest, newest)) in spans {
            // Extents ascend at both ends.
            let from = extents.partition_point(|extent| extent.end < *oldest);
            let to = extents.partition_point(|extent| extent.start <= *newest);
            is_in.get_mut(from..to).unwrap_or_default().fill(true);
        }
        let part = &snapshot[spans[0].0];
        for piece in pieces.iter_mut().zip(is_in).filter_map(|(piece, is_in)| is_in.then_some(piece)) {
            text(&mut piece.hasher, part.key());
            number(&mut piece.hasher, part.row_group() as i64);
        }
    }
}

/// Adds to each piece what is hidden of a stream in its extent, if anything is.
fn add_erasure(stream: &SelectedStream, range: TimeRange, extents: &[TimeRange], pieces: &mut [Open]) {
    let visible = &stream.visible;
    if visible.holds(range.start, range.end) && visible.erased(range.start, range.end).next().is_none() {
        return;
    }
    for (piece, extent) in pieces.iter_mut().zip(extents) {
        let (start, end) = (extent.start, extent.end);
        let mut erased = visible.erased(start, end).peekable();
        if visible.holds(start, end) && erased.peek().is_none() {
            continue;
        }
        text(&mut piece.hasher, "hidden");
        piece.hasher.update(stream.id.0.to_le_bytes());
        let seen: Vec<(i64, i64)> =
            visible.intervals().iter().map(|(from, to)| (*from.max(&start), *to.min(&end))).filter(|(from, to)| from <= to).collect();
        number(&mut piece.hasher, seen.len() as i64);
        for (from, to) in seen {
            number(&mut piece.hasher, from);
            number(&mut piece.hasher, to);
        }
        for request in erased {
            text(&mut piece.hasher, &request.request.0.to_string());
            number(&mut piece.hasher, request.start);
            number(&mut piece.hasher, request.end);
        }
    }
}

fn text(hasher: &mut Sha256, text: &str) {
    number(hasher, text.len() as i64);
    hasher.update(text.as_bytes());
}

fn number(hasher: &mut Sha256, number: i64) {
    hasher.update(number.to_le_bytes());
}
