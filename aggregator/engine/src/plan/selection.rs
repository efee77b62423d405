//! From matchers, access and time to the rows that a plan may touch.
//!
//! This is where access is enforced: a stream that the caller may not see is not in a selection, and operators reach data through
//! selections only. What retention and deletes hide goes the same way, stream by stream. Of several tenants, each is selected from under
//! its own access; their parts stand one tenant after the other.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_storage::catalog::{Catalog, Part, Snapshot};
use tailwater_storage::entry::{StreamId, TenantId};
use tailwater_storage::file::stream_table::StreamSpan;
use tailwater_storage::identity::{Repetitions, repetitions};
use tailwater_storage::pairs::Pairs;
use tailwater_storage::store::ReadShare;
use tailwater_storage::tolerance::Tolerance;

use crate::access::{Access, AllowedNamespaces, Incarnations, SpanView};
use crate::error::QueryError;
use crate::plan::ties::label_hash;
use crate::request::PageEnd;
use crate::request::TimeRange;
use crate::scope::{Scope, with_tenant};
use crate::visibility::VisibleTimes;

/// Streams and rows selected for one leaf of a plan. The snapshot is pinned.
#[derive(Debug)]
pub(crate) struct Selection {
    scope: Scope,
    range: TimeRange,
    tenants: Vec<TenantParts>,
    streams: Vec<SelectedStream>,
    spans: Vec<SelectedSpan>,
    parts: usize,
}

/// What one tenant has.
#[derive(Debug, Clone)]
struct TenantParts {
    /// Place of its first part among those of the selection.
    first: usize,
    snapshot: Snapshot,
    repetitions: Repetitions,
}

/// A stream that matches and may be seen. Selections list them in a fixed order, that of [`label_hash`].
#[derive(Debug, Clone)]
pub(crate) struct SelectedStream {
    pub(crate) id: StreamId,
    /// As stored: what stages work with.
    pub(crate) labels: LabelSet,
    /// The tenant, where streams of several are told apart.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) visible: VisibleTimes,
    /// Whose rows may be seen, of those in visible times.
    pub(crate) incarnations: Incarnations,
}

impl SelectedStream {
    /// What may be seen of one of its spans; `None`: nothing.
    pub(crate) fn view(&self, span: &StreamSpan) -> Option<SpanView> {
        self.incarnations.view(span).filter(|view| self.visible.touches(view.oldest, view.newest))
    }

    /// What became of an entry's labels, as it is shown.
    pub(crate) fn shown(&self, labels: LabelSet) -> LabelSet {
        match &self.tenant {
            Some(tenant) => with_tenant(tenant.as_str(), &labels),
            None => labels,
        }
    }

    fn order(&self) -> (u64, LabelSet, Option<TenantId>, StreamId) {
        (label_hash(&self.labels), self.labels.clone(), self.tenant.clone(), self.id)
    }

    /// Where a page ends whose last entry is of this stream.
    pub(crate) fn page_end(&self, timestamp: i64) -> PageEnd {
        PageEnd { timestamp, stream_hash: label_hash(&self.labels), tenant: self.tenant.clone() }
    }

    fn is_within(&self, end: &PageEnd) -> bool {
        (label_hash(&self.labels), &self.tenant) <= (end.stream_hash, &end.tenant)
    }
}

/// The rows of a selected stream in one part; some of them may be seen. Stamps, counts and bytes are of those that the caller may see.
#[derive(Debug, Clone)]
pub(crate) struct SelectedSpan {
    /// Place of the part in the snapshot.
    pub(crate) part: usize,
    /// Place among the selection's streams.
    pub(crate) stream: u32,
    /// Rows of the part, others of the stream among them.
    pub(crate) rows: Range<usize>,
    /// No row is older than this …
    pub(crate) oldest: i64,
    /// … and the last has this stamp.
    pub(crate) newest: i64,
    /// How many there are.
    pub(crate) count: u64,
    /// Bytes of line text.
    pub(crate) bytes: u64,
    /// Rows of other incarnations of the namespace lie among them.
    pub(crate) is_mixed: bool,
    /// Count and bytes are bounds, no more.
    pub(crate) is_cut: bool,
}

impl SelectedSpan {
    fn new((part, stream): (usize, u32), span: &StreamSpan, view: SpanView) -> Self {
        let SpanView { oldest, newest, rows: count, bytes, is_mixed, is_cut } = view;
        Self { part, stream, rows: span.rows.clone(), oldest, newest, count, bytes, is_mixed, is_cut }
    }
}

impl Selection {
    /// Leaves out what the reference does not find in log queries: the newest entry of a stream with older ones if its stamp is a full hour,
    /// where one of the pieces begins into which queries are cut there.
    pub(crate) async fn without_last_on_the_hour(mut self, catalog: &Catalog) -> Result<Self, QueryError> {
        const HOUR: i64 = 3_600_000_000_000;
        for of in 0..self.tenants.len() {
            let Some(tenant) = self.tenants[of].snapshot.first().map(|part| part.table().tenant.clone()) else { continue };
            let later = catalog.snapshot(&tenant, &[(self.range.start, i64::MAX)], self.scope.tolerance()).await?;
            let parts = self.tenants[of].first..self.tenants[of].first + self.tenants[of].snapshot.len();
            let own: BTreeSet<u32> = self.spans.iter().filter(|span| parts.contains(&span.part)).map(|span| span.stream).collect();
            for stream in own {
                let stream = &mut self.streams[stream as usize];
                let spans = || later.iter().filter_map(|part| stream.incarnations.view(part.table().find(stream.id)?));
                let oldest = spans().map(|span| span.oldest).min();
                let newest = spans().map(|span| span.newest).max();
                if let Some(newest) = newest.filter(|newest| newest % HOUR == 0 && oldest < Some(*newest)) {
                    stream.visible.hide(newest);
                }
            }
        }
        Ok(self)
    }

    /// Selects the entries of matching streams within `range` (both ends included).
    pub(crate) async fn new(catalog: &Catalog, scope: &Scope, selector: &Selector, range: TimeRange) -> Result<Self, QueryError> {
        let pinned = Pinned::new(catalog, scope, &[range]).await?;
        Self::of(&pinned, catalog, scope, selector, range).await
    }

    /// The same of what is pinned.
    pub(crate) async fn of(
        pinned: &Pinned,
        catalog: &Catalog,
        scope: &Scope,
        selector: &Selector,
        range: TimeRange,
    ) -> Result<Self, QueryError> {
        let (accesses, selector) = scope.narrowed_query(selector)?;
        let (mut tenants, mut found) = (Vec::with_capacity(accesses.len()), Vec::new());
        let mut first = 0;
        for access in accesses {
            let snapshot = pinned.of(access, range);
            let mut streams = select_streams(&snapshot, access, std::slice::from_ref(&selector), range)?;
            let ids = streams.iter().map(|stream| stream.id);
            let repetitions = repetitions(catalog, &snapshot, ids, (range.start, range.end), scope.tolerance()).await?;
            let tenant = scope.tells_tenants_apart().then(|| access.tenant().clone());
            streams.iter_mut().for_each(|stream| stream.tenant.clone_from(&tenant));
            found.extend(streams.into_iter().map(|stream| (tenants.len(), stream)));
            let parts = snapshot.len();
            tenants.push(TenantParts { first, snapshot, repetitions });
            first += parts;
        }
        found.sort_by_cached_key(|(_, stream)| stream.order());
        let spans: Vec<SelectedSpan> = tenants.iter().enumerate().flat_map(|(of, tenant)| select_spans(tenant, of, &found)).collect();
        let streams = found.into_iter().map(|(_, stream)| stream).collect();
        let parts = spans.chunk_by(|left, right| left.part == right.part).count();
        Ok(Self { scope: scope.clone(), range, tenants, streams, spans, parts })
    }

    /// The same, of `[start, end]` alone; streams and parts keep their places.
    pub(crate) fn clipped(&self, start: i64, end: i64) -> Self {
        let mut streams = self.streams.clone();
        streams.iter_mut().for_each(|stream| stream.visible.clip(start, end));
        Self { range: TimeRange { start, end }, streams, ..self.without_streams(self.spans.clone()) }
    }

    /// The same of one of its streams alone, whose place is then 0; parts keep their places.
    pub(crate) fn of_stream(&self, stream: u32) -> Self {
        let own = self.spans.iter().filter(|span| span.stream == stream);
        let spans = own.map(|span| SelectedSpan { stream: 0, ..span.clone() }).collect();
        Self { streams: vec![self.streams[stream as usize].clone()], ..self.without_streams(spans) }
    }

    /// A copy without streams, of other spans.
    fn without_streams(&self, spans: Vec<SelectedSpan>) -> Self {
        let parts = spans.chunk_by(|left, right| left.part == right.part).count();
        Self { scope: self.scope.clone(), range: self.range, tenants: self.tenants.clone(), streams: Vec::new(), spans, parts }
    }

    /// How many streams a page that ended there has been through, of those with entries of its last stamp.
    pub(crate) fn streams_within(&self, end: &PageEnd) -> u32 {
        self.streams.partition_point(|stream| stream.is_within(end)) as u32
    }

    pub(crate) fn tolerance(&self) -> &Tolerance {
        self.scope.tolerance()
    }

    pub(crate) fn reads(&self) -> &ReadShare {
        self.scope.reads()
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
        let tenant = self.tenant_of(place);
        &tenant.snapshot[place - tenant.first]
    }

    fn tenant_of(&self, part: usize) -> &TenantParts {
        let behind = self.tenants.partition_point(|tenant| tenant.first <= part);
        &self.tenants[behind - 1]
    }

    /// Rows of a part that repeat an earlier part's entries, ascending.
    pub(crate) fn repeated(&self, part: usize) -> &[u32] {
        let tenant = self.tenant_of(part);
        tenant.repetitions.of(part - tenant.first)
    }

    /// Whether all of these rows of a span may be seen, none of them a repetition. `(oldest, newest)`: bounds of their stamps.
    pub(crate) fn counts_whole(&self, span: &SelectedSpan, rows: &Range<usize>, (oldest, newest): (i64, i64)) -> bool {
        let (repeated, visible) = (self.repeated(span.part), self.visible(span.stream));
        let next = repeated.partition_point(|&row| (row as usize) < rows.start);
        !span.is_mixed
            && repeated.get(next).is_none_or(|&row| row as usize >= rows.end)
            && visible.holds(oldest, newest)
            && visible.erased(oldest, newest).next().is_none()
    }

    pub(crate) fn visible(&self, stream: u32) -> &VisibleTimes {
        &self.streams[stream as usize].visible
    }

    pub(crate) fn incarnations(&self, stream: u32) -> &Incarnations {
        &self.streams[stream as usize].incarnations
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for access in self.scope.accesses() {
            write!(f, "tenant={}, namespaces=", access.tenant())?;
            match access.namespaces() {
                AllowedNamespaces::All => f.write_str("all, ")?,
                AllowedNamespaces::Only(allowed) => write!(f, "{:?}, ", allowed.keys().collect::<BTreeSet<_>>())?,
            }
        }
        let TimeRange { start, end } = self.range;
        write!(f, "streams={}, parts={}, range=[{start}, {end}]", self.streams.len(), self.parts)
    }
}

/// The streams that match any of the selectors (no selector: every stream), may be seen, and have entries near `range` that may; in no certain order.
pub(crate) fn select_streams(
    snapshot: &Snapshot,
    access: &Access,
    selectors: &[Selector],
    range: TimeRange,
) -> Result<Vec<SelectedStream>, QueryError> {
    let mut compiled = Vec::with_capacity(selectors.len());
    for selector in selectors {
        let matchers = &selector.matchers[..];
        #[cfg(feature = "planted-faults")]
        let matchers = match matchers {
            [_, rest @ ..] if !rest.is_empty() && tailwater_planted::Fault::FirstMatcherIgnored.is_planted() => rest,
            all => all,
        };
        compiled.push(StreamMatcher::all(matchers)?);
    }
    let is_selected =
        |labels: &Pairs| compiled.is_empty() || compiled.iter().any(|matchers| StreamMatcher::all_match(matchers, |name| labels.get(name)));
    // Each stream is judged once, however many parts hold it.
    let mut judged: HashMap<StreamId, Option<(SelectedStream, bool)>> = HashMap::new();
    for span in snapshot.iter().flat_map(|part| &part.table().streams).filter(|span| touches(span, range)) {
        let stream = judged.entry(span.id).or_insert_with(|| {
            let incarnations = access.of_stream(&span.labels).filter(|_| is_selected(&span.labels))?;
            let labels = LabelSet::from_pairs(span.labels.iter());
            let visible = VisibleTimes::new(range.start, range.end, access.erasure().of_stream(&span.labels));
            Some((SelectedStream { id: span.id, labels, tenant: None, visible, incarnations }, false))
        });
        if let Some((stream, is_seen)) = stream {
            *is_seen = *is_seen || stream.view(span).is_some();
        }
    }
    let seen = judged.into_values().flatten().filter(|(_, is_seen)| *is_seen);
    Ok(seen.map(|(stream, _)| stream).collect())
}

/// What is visible of each tenant of a query, at one moment.
#[derive(Debug)]
pub(crate) struct Pinned(Vec<(TenantId, Snapshot)>);

impl Pinned {
    /// Of entries in any of some ranges.
    pub(crate) async fn new(catalog: &Catalog, scope: &Scope, ranges: &[TimeRange]) -> Result<Self, QueryError> {
        let ranges: Vec<(i64, i64)> = ranges.iter().map(|range| (range.start, range.end)).collect();
        let mut pinned = Vec::with_capacity(scope.accesses().len());
        for access in scope.accesses() {
            pinned.push((access.tenant().clone(), catalog.snapshot(access.tenant(), &ranges, scope.tolerance()).await?));
        }
        Ok(Self(pinned))
    }

    /// What it shows of `range` to an access of the query.
    pub(crate) fn of(&self, access: &Access, range: TimeRange) -> Snapshot {
        let snapshot = self.0.iter().find(|(tenant, _)| tenant == access.tenant()).map(|(_, snapshot)| snapshot);
        snapshot.expect("every tenant of the query is pinned").within(range.start, range.end)
    }
}

/// Where visible rows of some streams are: the part, oldest and newest stamp of each span, in the order of parts.
pub(crate) fn spans_of(snapshot: &Snapshot, streams: &[SelectedStream]) -> Vec<(usize, (i64, i64))> {
    let by_id: HashMap<StreamId, &SelectedStream> = streams.iter().map(|stream| (stream.id, stream)).collect();
    let mut spans = Vec::new();
    for (part, opened) in snapshot.iter().enumerate() {
        for span in &opened.table().streams {
            if let Some(view) = by_id.get(&span.id).and_then(|stream| stream.view(span)) {
                spans.push((part, (view.oldest, view.newest)));
            }
        }
    }
    spans
}

/// The spans of one tenant's streams. `found`: the streams of the selection, each with the place of its tenant.
fn select_spans(tenant: &TenantParts, of: usize, found: &[(usize, SelectedStream)]) -> Vec<SelectedSpan> {
    let own = found.iter().enumerate().filter(|(_, (tenant, _))| *tenant == of);
    let places: HashMap<StreamId, u32> = own.map(|(place, (_, stream))| (stream.id, place as u32)).collect();
    let mut spans = Vec::new();
    for (part, opened) in tenant.snapshot.iter().enumerate() {
        for span in &opened.table().streams {
            let Some(&stream) = places.get(&span.id) else { continue };
            if let Some(view) = found[stream as usize].1.view(span) {
                spans.push(SelectedSpan::new((tenant.first + part, stream), span, view));
            }
        }
    }
    spans
}

fn touches(span: &StreamSpan, range: TimeRange) -> bool {
    span.min_timestamp <= range.end && span.max_timestamp >= range.start
}

/// A selection shared by the operators of a plan.
pub(crate) type SharedSelection = Arc<Selection>;
