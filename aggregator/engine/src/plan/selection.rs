//! From matchers, access and time to the rows that a plan may touch.
//!
//! This is where access is enforced: a stream that the caller may not see is not in a selection, and operators reach data through
//! selections only. What retention and deletes hide goes the same way, stream by stream.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_storage::catalog::{Catalog, Part, Snapshot};
use tailwater_storage::entry::StreamId;
use tailwater_storage::file::stream_table::StreamSpan;
use tailwater_storage::identity::{Repetitions, repetitions};
use tailwater_storage::pairs::Pairs;

use crate::access::{Access, AllowedNamespaces};
use crate::error::QueryError;
use crate::request::TimeRange;
use crate::visibility::VisibleTimes;

/// Streams and rows selected for one leaf of a plan. The snapshot is pinned.
#[derive(Debug)]
pub(crate) struct Selection {
    access: Access,
    range: TimeRange,
    snapshot: Snapshot,
    streams: Vec<SelectedStream>,
    spans: Vec<SelectedSpan>,
    parts: usize,
    repetitions: Repetitions,
}

/// A stream that matches and may be seen. Selections list them in the order of their label text.
#[derive(Debug, Clone)]
pub(crate) struct SelectedStream {
    pub(crate) id: StreamId,
    pub(crate) labels: LabelSet,
    pub(crate) visible: VisibleTimes,
}

/// The rows of a selected stream in one part; some of them may be seen.
#[derive(Debug, Clone)]
pub(crate) struct SelectedSpan {
    /// Place of the part in the snapshot.
    pub(crate) part: usize,
    /// Place among the selection's streams.
    pub(crate) stream: u32,
    /// Rows of the part.
    pub(crate) rows: Range<usize>,
    /// Stamps of the first and the last row.
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
    /// Bytes of line text.
    pub(crate) bytes: u64,
}

impl Selection {
    /// Selects the entries of matching streams within `range` (both ends included).
    pub(crate) async fn new(catalog: &Catalog, access: &Access, selector: &Selector, range: TimeRange) -> Result<Self, QueryError> {
        let snapshot = catalog.snapshot(access.tenant(), range.start, range.end).await?;
        let streams = select_streams(&snapshot, access, std::slice::from_ref(selector), range)?;
        let ids: Vec<StreamId> = streams.iter().map(|stream| stream.id).collect();
        let repetitions = repetitions(catalog, &snapshot, ids, range.start, range.end).await?;
        let spans = select_spans(&snapshot, &streams);
        let parts = spans.chunk_by(|left, right| left.part == right.part).count();
        Ok(Self { access: access.clone(), range, snapshot, streams, spans, parts, repetitions })
    }

    pub(crate) fn streams(&self) -> &[SelectedStream] {
        &self.streams
    }

    /// In the order of parts and rows.
    pub(crate) fn spans(&self) -> &[SelectedSpan] {
        &self.spans
    }

    /// Parts that hold any of the spans.
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    pub(crate) fn part(&self, place: usize) -> &Arc<Part> {
        &self.snapshot[place]
    }

    /// Rows of a part that repeat an earlier part's entries, ascending.
    pub(crate) fn repeated(&self, part: usize) -> &[u32] {
        self.repetitions.of(part)
    }

    /// Whether all of these rows of a part may be seen, none of them a repetition. `(oldest, newest)`: bounds of their stamps.
    pub(crate) fn counts_whole(&self, part: usize, stream: u32, rows: &Range<usize>, (oldest, newest): (i64, i64)) -> bool {
        let (repeated, visible) = (self.repeated(part), self.visible(stream));
        let next = repeated.partition_point(|&row| (row as usize) < rows.start);
        repeated.get(next).is_none_or(|&row| row as usize >= rows.end)
            && visible.holds(oldest, newest)
            && visible.erased(oldest, newest).next().is_none()
    }

    pub(crate) fn visible(&self, stream: u32) -> &VisibleTimes {
        &self.streams[stream as usize].visible
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant={}, namespaces=", self.access.tenant())?;
        match self.access.namespaces() {
            AllowedNamespaces::All => f.write_str("all")?,
            AllowedNamespaces::Only(allowed) => write!(f, "{allowed:?}")?,
        }
        let TimeRange { start, end } = self.range;
        write!(f, ", streams={}, parts={}, range=[{start}, {end}]", self.streams.len(), self.parts)
    }
}

/// The streams that match any of the selectors (no selector: every stream), may be seen, and have entries near `range` that may.
pub(crate) fn select_streams(
    snapshot: &Snapshot,
    access: &Access,
    selectors: &[Selector],
    range: TimeRange,
) -> Result<Vec<SelectedStream>, QueryError> {
    let mut compiled = Vec::with_capacity(selectors.len());
    for selector in selectors {
        compiled.push(selector.matchers.iter().map(StreamMatcher::new).collect::<Result<Vec<_>, _>>()?);
    }
    let is_selected = |labels: &Pairs| {
        let matches =
            |matchers: &Vec<StreamMatcher>| matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()));
        (compiled.is_empty() || compiled.iter().any(matches)) && access.allows(namespace_of(labels))
    };
    // Each stream is judged once, however many parts hold it.
    let mut judged: HashMap<StreamId, Option<(SelectedStream, bool)>> = HashMap::new();
    for span in snapshot.iter().flat_map(|part| &part.table().streams).filter(|span| touches(span, range)) {
        let stream = judged.entry(span.id).or_insert_with(|| {
            is_selected(&span.labels).then(|| {
                let labels = LabelSet::from_pairs(span.labels.iter());
                let visible = VisibleTimes::new(range.start, range.end, access.erasure().of_stream(&span.labels));
                (SelectedStream { id: span.id, labels, visible }, false)
            })
        });
        if let Some((stream, is_seen)) = stream {
            *is_seen = *is_seen || stream.visible.touches(span.min_timestamp, span.max_timestamp);
        }
    }
    let seen = judged.into_values().flatten().filter(|(_, is_seen)| *is_seen);
    let mut streams: Vec<SelectedStream> = seen.map(|(stream, _)| stream).collect();
    streams.sort_by(|left, right| left.labels.cmp(&right.labels).then(left.id.cmp(&right.id)));
    Ok(streams)
}

fn select_spans(snapshot: &Snapshot, streams: &[SelectedStream]) -> Vec<SelectedSpan> {
    let places: HashMap<StreamId, u32> = streams.iter().enumerate().map(|(place, stream)| (stream.id, place as u32)).collect();
    let mut spans = Vec::new();
    for (part, found) in snapshot.iter().enumerate() {
        for span in &found.table().streams {
            let Some(&stream) = places.get(&span.id) else { continue };
            let (oldest, newest) = (span.min_timestamp, span.max_timestamp);
            if streams[stream as usize].visible.touches(oldest, newest) {
                spans.push(SelectedSpan { part, stream, rows: span.rows.clone(), oldest, newest, bytes: span.bytes });
            }
        }
    }
    spans
}

fn touches(span: &StreamSpan, range: TimeRange) -> bool {
    span.min_timestamp <= range.end && span.max_timestamp >= range.start
}

/// The namespace that decides who may read a stream.
fn namespace_of(labels: &Pairs) -> Option<&str> {
    labels.get("namespace").or_else(|| labels.get("k8s_namespace_name"))
}

/// A selection shared by the operators of a plan.
pub(crate) type SharedSelection = Arc<Selection>;
