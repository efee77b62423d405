//! Questions about streams: names, values, series, size. Answered from stream tables; pages are read only at ragged ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::file::columns::Wanted;

use crate::access::Access;
use crate::answer::IndexStatistics;
use crate::error::QueryError;
use crate::plan::selection::{SelectedSpan, Selection, select_streams};
use crate::request::TimeRange;
use crate::scan::PageSource;
use crate::scan::pages::{SelectedPage, groups, pages_of};
use crate::scope::{Scope, TENANT_LABEL};

pub(crate) async fn series(
    catalog: &Catalog,
    scope: &Scope,
    selectors: &[Selector],
    range: TimeRange,
) -> Result<Vec<LabelSet>, QueryError> {
    let mut narrowed = Vec::with_capacity(selectors.len());
    for selector in selectors {
        narrowed.push(scope.narrowed(selector)?);
    }
    let mut distinct: BTreeSet<LabelSet> = BTreeSet::new();
    for access in scope.accesses() {
        let names_tenant = |accesses: &[&Access]| accesses.iter().any(|other| other.tenant() == access.tenant());
        let own: Vec<Selector> =
            narrowed.iter().filter(|(accesses, _)| names_tenant(accesses)).map(|(_, selector)| selector.clone()).collect();
        if own.is_empty() && !selectors.is_empty() {
            continue;
        }
        let snapshot = catalog.snapshot(access.tenant(), &[(range.start, range.end)], scope.tolerance()).await?;
        let streams = select_streams(&snapshot, access, &own, range)?;
        distinct.extend(streams.into_iter().map(|stream| scope.shown(access, stream.labels)));
    }
    Ok(distinct.into_iter().collect())
}

pub(crate) async fn label_names(
    catalog: &Catalog,
    scope: &Scope,
    selector: Option<&Selector>,
    range: TimeRange,
) -> Result<Vec<String>, QueryError> {
    let series = series(catalog, scope, selector.map_or(&[], std::slice::from_ref), range).await?;
    let mut names: BTreeSet<&str> = series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    names.extend(scope.tells_tenants_apart().then_some(TENANT_LABEL));
    Ok(names.into_iter().map(str::to_owned).collect())
}

pub(crate) async fn label_values(
    catalog: &Catalog,
    scope: &Scope,
    name: &str,
    selector: Option<&Selector>,
    range: TimeRange,
) -> Result<Vec<String>, QueryError> {
    let series = series(catalog, scope, selector.map_or(&[], std::slice::from_ref), range).await?;
    let values: BTreeSet<&str> = series.iter().filter_map(|labels| labels.get(name)).collect();
    Ok(values.into_iter().map(str::to_owned).collect())
}

/// Exact counts within the range. What may be seen wholly and repeats nothing is counted from tables; of other pages the stamps are
/// read. Bytes of streams that are counted in part are prorated.
pub(crate) async fn index_stats(
    catalog: &Arc<Catalog>,
    scope: &Scope,
    selector: &Selector,
    range: TimeRange,
) -> Result<IndexStatistics, QueryError> {
    let selection = Arc::new(Selection::new(catalog, scope, selector, range).await?);
    let source = PageSource { catalog: catalog.clone(), selection: selection.clone() };
    let mut statistics = IndexStatistics::default();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    let mut counted_part = None;
    for span in selection.spans() {
        let counted = count(&source, span).await?;
        if counted.entries == 0 {
            continue;
        }
        seen.insert(span.stream);
        statistics.entries += counted.entries;
        statistics.bytes += counted.bytes;
        statistics.chunks += u64::from(counted_part.replace(span.part) != Some(span.part));
    }
    statistics.streams = seen.len() as u64;
    Ok(statistics)
}

/// Rows of a span that may be seen.
#[derive(Debug, Default)]
struct Counted {
    entries: u64,
    /// Of line text; about, where only some of what tables tell of is in the range.
    bytes: u64,
}

async fn count(source: &PageSource, span: &SelectedSpan) -> Result<Counted, QueryError> {
    let selection = &source.selection;
    if selection.counts_whole(span, &span.rows, (span.oldest, span.newest)) {
        return Ok(Counted { entries: span.count, bytes: span.bytes });
    }
    if span.is_cut {
        return measure(source, span).await;
    }
    let first_rows = selection.part(span.part).pages();
    let is_whole = |page: &SelectedPage| {
        let first = first_rows.rows(page.page).start;
        page.pieces.iter().all(|piece| {
            let rows = first + piece.rows.start..first + piece.rows.end;
            selection.counts_whole(span, &rows, (piece.oldest, piece.newest))
        })
    };
    let (whole, ragged): (Vec<_>, Vec<_>) = pages_of(selection, [span]).into_iter().partition(is_whole);
    let mut entries: usize = whole.iter().flat_map(|page| &page.pieces).map(|piece| piece.rows.len()).sum();
    let wanted = Wanted { timestamps: true, ..Wanted::default() };
    for group in groups(selection, ragged, wanted, u64::MAX) {
        let pages = source.fetch(&group, wanted).await?;
        for page in source.open(&group, pages.as_ref(), wanted) {
            entries += page?.visible_rows()?.iter().map(|run| run.rows.len()).sum::<usize>();
        }
    }
    Ok(Counted { entries: entries as u64, bytes: span.bytes * entries as u64 / span.count.max(1) })
}

/// The same where tables tell of rows that may not be seen as well: their bytes must not show.
async fn measure(source: &PageSource, span: &SelectedSpan) -> Result<Counted, QueryError> {
    let mut counted = Counted::default();
    let wanted = Wanted { timestamps: true, lines: true, ..Wanted::default() };
    for group in groups(&source.selection, pages_of(&source.selection, [span]), wanted, u64::MAX) {
        let pages = source.fetch(&group, wanted).await?;
        for page in source.open(&group, pages.as_ref(), wanted) {
            let page = page?;
            let offsets = page.line_offsets()?;
            for run in page.visible_rows()? {
                counted.entries += run.rows.len() as u64;
                counted.bytes += (offsets[run.rows.end] - offsets[run.rows.start]) as u64;
            }
        }
    }
    Ok(counted)
}
