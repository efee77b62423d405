//! From matchers, access and time to the rows that a plan may touch.
//!
//! This is where access is enforced: a stream that the caller may not see is not in a selection, and operators reach data through
//! selections only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_storage::catalog::{Catalog, Snapshot};
use tailwater_storage::entry::StreamId;
use tailwater_storage::identity::{Repetitions, repetitions};
use tailwater_storage::pairs::Pairs;
use tailwater_storage::segment::streams::StreamSpan;

use crate::access::Access;
use crate::error::QueryError;
use crate::request::TimeRange;

/// Streams and rows selected for one leaf of a plan. The snapshot is pinned.
#[derive(Debug)]
pub(crate) struct Selection {
    access: Access,
    range: TimeRange,
    snapshot: Snapshot,
    streams: Vec<SelectedStream>,
    parts: Vec<SelectedPart>,
    repetitions: Repetitions,
}

/// A stream that matches and may be seen. Selections list them in the order of their label text.
#[derive(Debug, Clone)]
pub(crate) struct SelectedStream {
    pub(crate) id: StreamId,
    pub(crate) labels: LabelSet,
}

/// A part with rows of selected streams.
#[derive(Debug, Clone)]
pub(crate) struct SelectedPart {
    /// Its place in the snapshot.
    pub(crate) index: usize,
    /// Rows by stream (index into the selection's streams), ascending by row.
    pub(crate) spans: Vec<(u32, Range<usize>)>,
}

impl Selection {
    /// Selects the entries of matching streams within `range` (both ends included).
    pub(crate) async fn new(catalog: &Catalog, access: &Access, selector: &Selector, range: TimeRange) -> Result<Self, QueryError> {
        let snapshot = catalog.snapshot(access.tenant());
        let streams = select_streams(&snapshot, access, std::slice::from_ref(selector), range)?;
        let repetitions = repetitions(catalog, &snapshot, streams.iter().map(|stream| stream.id), range.start, range.end).await?;
        let parts = select_parts(&snapshot, &streams, range);
        Ok(Self { access: access.clone(), range, snapshot, streams, parts, repetitions })
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn range(&self) -> TimeRange {
        self.range
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(crate) fn streams(&self) -> &[SelectedStream] {
        &self.streams
    }

    pub(crate) fn parts(&self) -> &[SelectedPart] {
        &self.parts
    }

    pub(crate) fn repetitions(&self) -> &Repetitions {
        &self.repetitions
    }
}

/// The streams that match any of the selectors (no selector: every stream), have entries near `range`, and may be seen.
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
    let mut judged: BTreeMap<StreamId, Option<&Pairs>> = BTreeMap::new();
    for span in snapshot.iter().flat_map(|part| &part.table().streams).filter(|span| touches(span, range)) {
        judged.entry(span.id).or_insert_with(|| {
            let matches = |matchers: &Vec<StreamMatcher>| {
                matchers.iter().all(|matcher| matcher.matches(span.labels.get(matcher.name()).unwrap_or_default()))
            };
            let selected = compiled.is_empty() || compiled.iter().any(matches);
            (selected && access.allows(namespace_of(&span.labels))).then_some(&span.labels)
        });
    }
    let mut streams: Vec<SelectedStream> = judged
        .into_iter()
        .filter_map(|(id, labels)| labels.map(|labels| SelectedStream { id, labels: LabelSet::from_pairs(labels.iter()) }))
        .collect();
    streams.sort_by(|left, right| left.labels.cmp(&right.labels).then(left.id.cmp(&right.id)));
    Ok(streams)
}

fn select_parts(snapshot: &Snapshot, streams: &[SelectedStream], range: TimeRange) -> Vec<SelectedPart> {
    let ordinals: BTreeMap<StreamId, u32> = streams.iter().enumerate().map(|(ordinal, stream)| (stream.id, ordinal as u32)).collect();
    let parts = snapshot.iter().enumerate().map(|(index, part)| {
        let spans = part.table().streams.iter().filter(|span| touches(span, range));
        let spans = spans.filter_map(|span| Some((*ordinals.get(&span.id)?, span.rows.clone()))).collect();
        SelectedPart { index, spans }
    });
    parts.filter(|part| !part.spans.is_empty()).collect()
}

pub(crate) fn touches(span: &StreamSpan, range: TimeRange) -> bool {
    span.min_timestamp <= range.end && span.max_timestamp >= range.start
}

/// The namespace that decides who may read a stream.
fn namespace_of(labels: &Pairs) -> Option<&str> {
    labels.get("namespace").or_else(|| labels.get("k8s_namespace_name"))
}

/// A selection shared by the operators of a plan.
pub(crate) type SharedSelection = Arc<Selection>;
