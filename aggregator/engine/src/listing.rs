//! Questions about streams: names, values, series, size. Answered from stream tables; pages are read only at ragged ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::segment::columns::Wanted;

use crate::access::Access;
use crate::answer::IndexStatistics;
use crate::error::QueryError;
use crate::plan::selection::{Selection, select_streams};
use crate::request::TimeRange;

pub(crate) fn series(catalog: &Catalog, access: &Access, selectors: &[Selector], range: TimeRange) -> Result<Vec<LabelSet>, QueryError> {
    let streams = select_streams(&catalog.snapshot(access.tenant()), access, selectors, range)?;
    let distinct: BTreeSet<LabelSet> = streams.into_iter().map(|stream| stream.labels).collect();
    Ok(distinct.into_iter().collect())
}

pub(crate) fn label_names(
    catalog: &Catalog,
    access: &Access,
    selector: Option<&Selector>,
    range: TimeRange,
) -> Result<Vec<String>, QueryError> {
    let series = series(catalog, access, selector.map_or(&[], std::slice::from_ref), range)?;
    let names: BTreeSet<&str> = series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    Ok(names.into_iter().map(str::to_owned).collect())
}

pub(crate) fn label_values(
    catalog: &Catalog,
    access: &Access,
    name: &str,
    selector: Option<&Selector>,
    range: TimeRange,
) -> Result<Vec<String>, QueryError> {
    let series = series(catalog, access, selector.map_or(&[], std::slice::from_ref), range)?;
    let values: BTreeSet<&str> = series.iter().filter_map(|labels| labels.get(name)).collect();
    Ok(values.into_iter().map(str::to_owned).collect())
}

/// Exact counts within the range. Parts that lie in it wholly and repeat nothing are counted from their tables; of others the stamps
/// are read, and their bytes prorated.
pub(crate) async fn index_stats(
    catalog: &Arc<Catalog>,
    access: &Access,
    selector: &Selector,
    range: TimeRange,
) -> Result<IndexStatistics, QueryError> {
    let selection = Selection::new(catalog, access, selector, range).await?;
    let mut statistics = IndexStatistics::default();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    for part in selection.parts() {
        let source = &selection.snapshot()[part.index];
        let repeated = selection.repetitions().of(part.index);
        let mut columns = None;
        let mut entries_of_part = 0;
        for (stream, rows) in &part.spans {
            let Some(span) = source.table().find(selection.streams()[*stream as usize].id) else { continue };
            let is_whole = span.min_timestamp >= range.start && span.max_timestamp <= range.end && repeated.is_empty();
            let entries = if is_whole {
                rows.len() as u64
            } else {
                if columns.is_none() {
                    columns = Some(catalog.load(source, Wanted { timestamps: true, ..Wanted::default() }).await?);
                }
                let stamps = columns.as_ref().and_then(|columns| columns.timestamps.as_ref()).expect("timestamps were wanted");
                let counts =
                    |row: &usize| (range.start..=range.end).contains(&stamps[*row]) && repeated.binary_search(&(*row as u32)).is_err();
                rows.clone().filter(counts).count() as u64
            };
            if entries > 0 {
                seen.insert(*stream);
            }
            entries_of_part += entries;
            statistics.bytes += span.bytes * entries / rows.len().max(1) as u64;
        }
        statistics.entries += entries_of_part;
        statistics.chunks += u64::from(entries_of_part > 0);
    }
    statistics.streams = seen.len() as u64;
    Ok(statistics)
}
