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
use crate::plan::ties::TieOrder;
use crate::request::TimeRange;
use crate::scan::pages::{SelectedPage, groups, pages_of};
use crate::scan::{OpenPage, PageSource};
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
        let snapshot = catalog.snapshot(access.tenant(), range.start, range.end).await?;
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
    let selection = Arc::new(Selection::new(catalog, scope, selector, range, TieOrder::LabelText).await?);
    let source = PageSource { catalog: catalog.clone(), selection: selection.clone() };
    let mut statistics = IndexStatistics::default();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    let mut counted_part = None;
    for span in selection.spans() {
        let entries = count(&source, span).await?;
        if entries == 0 {
            continue;
        }
        seen.insert(span.stream);
        statistics.entries += entries;
        statistics.bytes += span.bytes * entries / span.rows.len().max(1) as u64;
        statistics.chunks += u64::from(counted_part.replace(span.part) != Some(span.part));
    }
    statistics.streams = seen.len() as u64;
    Ok(statistics)
}

/// How many rows of a span may be seen.
async fn count(source: &PageSource, span: &SelectedSpan) -> Result<u64, QueryError> {
    let selection = &source.selection;
    if selection.counts_whole(span.part, span.stream, &span.rows, (span.oldest, span.newest)) {
        return Ok(span.rows.len() as u64);
    }
    let first_rows = selection.part(span.part).pages();
    let is_whole = |page: &SelectedPage| {
        let first = first_rows.rows(page.page).start;
        page.pieces.iter().all(|piece| {
            let rows = first + piece.rows.start..first + piece.rows.end;
            selection.counts_whole(span.part, span.stream, &rows, (piece.oldest, piece.newest))
        })
    };
    let (whole, ragged): (Vec<_>, Vec<_>) = pages_of(selection, [span]).into_iter().partition(is_whole);
    let mut entries: usize = whole.iter().flat_map(|page| &page.pieces).map(|piece| piece.rows.len()).sum();
    let wanted = Wanted { timestamps: true, ..Wanted::default() };
    for group in groups(selection, ragged, wanted, u64::MAX) {
        let pages = source.fetch(&group, wanted).await?;
        for selected in &group.pages {
            entries += OpenPage::new(selection, selected, &pages).visible_rows()?.iter().map(|run| run.rows.len()).sum::<usize>();
        }
    }
    Ok(entries as u64)
}
