//! How many bytes of lines there are, by groups of streams and stretches of time.
//!
//! Answered from stream tables and page indexes: what lies between the stamps of a page is spread evenly over them, so the figures of
//! stretches shorter than a page are estimates. Only pages are read in which lines were deleted one by one, or are of several incarnations
//! of a namespace. Memory is bounded by groups
//! and stretches, and taken from the pool of queries.

use std::collections::HashMap;

use datafusion_execution::memory_pool::MemoryReservation;
use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_storage::file::columns::Wanted;

use crate::answer::{Point, Series};
use crate::error::QueryError;
use crate::plan::selection::{SelectedSpan, Selection};
use crate::request::{VolumeGrouping, VolumeRequest};
use crate::scan::PageSource;
use crate::scan::pages::{Piece, SelectedPage, groups, pages_of};

const MILLISECOND: i64 = 1_000_000;
/// Memory of a group besides its figures.
const GROUP_OVERHEAD: usize = 512;

/// The stretches of time that bytes are told of.
#[derive(Debug, Clone, Copy)]
struct Buckets {
    start: i64,
    end: i64,
    /// `None`: all is one.
    step: Option<i64>,
}

impl Buckets {
    fn of(&self, stamp: i64) -> usize {
        self.step.map_or(0, |step| (stamp.div_euclid(step) - self.start.div_euclid(step)) as usize)
    }

    fn count(&self) -> usize {
        self.of(self.end) + 1
    }

    /// The last stamp of a bucket.
    fn last(&self, bucket: usize) -> i64 {
        let Some(step) = self.step else { return self.end };
        let next = (self.start.div_euclid(step) + bucket as i64 + 1).saturating_mul(step);
        self.end.min(next - 1)
    }

    /// What a bucket's figure is stamped with: its last millisecond, and the end of the range for the last.
    fn shown(&self, bucket: usize) -> i64 {
        let Some(step) = self.step else { return self.end };
        let next = (self.start.div_euclid(step) + bucket as i64 + 1).saturating_mul(step);
        if next >= self.end { self.end } else { next - MILLISECOND }
    }
}

/// The figures of one group.
#[derive(Debug)]
struct Group {
    labels: LabelSet,
    bytes: Vec<f64>,
    is_met: Vec<bool>,
}

/// Bytes by group and bucket, of the streams of a selection.
struct Volumes<'a> {
    buckets: Buckets,
    max_groups: usize,
    /// Groups of each stream of the selection.
    groups_of: Vec<Vec<usize>>,
    groups: Vec<Group>,
    memory: &'a MemoryReservation,
}

impl<'a> Volumes<'a> {
    fn new(selection: &Selection, request: &VolumeRequest, memory: &'a MemoryReservation) -> Result<Self, QueryError> {
        let buckets = Buckets { start: request.start, end: request.end, step: request.step };
        let mut volumes = Self { buckets, max_groups: request.max_groups, groups_of: Vec::new(), groups: Vec::new(), memory };
        let mut known: HashMap<LabelSet, usize> = HashMap::new();
        for stream in selection.streams() {
            let mut groups = Vec::new();
            for labels in group_labels(&stream.labels, &request.grouping, &request.selector) {
                let group = match known.get(&labels) {
                    Some(group) => *group,
                    None => volumes.add_group(labels.clone())?,
                };
                known.insert(labels, group);
                groups.push(group);
            }
            volumes.groups_of.push(groups);
        }
        Ok(volumes)
    }

    fn add_group(&mut self, labels: LabelSet) -> Result<usize, QueryError> {
        if self.groups.len() >= self.max_groups {
            return Err(QueryError::TooManyVolumes { limit: self.max_groups });
        }
        let count = self.buckets.count();
        self.memory.try_grow(count * (size_of::<f64>() + size_of::<bool>()) + GROUP_OVERHEAD)?;
        self.groups.push(Group { labels, bytes: vec![0.0; count], is_met: vec![false; count] });
        Ok(self.groups.len() - 1)
    }

    fn add(&mut self, stream: u32, bucket: usize, bytes: f64) {
        for group in &self.groups_of[stream as usize] {
            self.groups[*group].bytes[bucket] += bytes;
            self.groups[*group].is_met[bucket] = true;
        }
    }

    /// Spreads bytes evenly over `[oldest, newest]`, and takes of them what is visible.
    fn spread(&mut self, stream: u32, (oldest, newest): (i64, i64), bytes: f64, visible: &[(i64, i64)]) {
        let whole = (newest as f64 - oldest as f64) + 1.0;
        for (start, end) in visible {
            let (mut from, to) = ((*start).max(oldest), (*end).min(newest));
            while from <= to {
                let bucket = self.buckets.of(from);
                let until = self.buckets.last(bucket).min(to);
                self.add(stream, bucket, bytes * ((until as f64 - from as f64) + 1.0) / whole);
                let Some(next) = until.checked_add(1) else { break };
                from = next;
            }
        }
    }

    /// The groups of most bytes, at most so many, ordered by their first figure and then by name.
    fn into_series(self, limit: usize) -> Vec<Series> {
        let buckets = self.buckets;
        let mut all: Vec<(f64, Series)> = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            let total: f64 = group.bytes.iter().sum();
            let met = group.bytes.iter().zip(&group.is_met).enumerate().filter(|(_, (_, is_met))| **is_met);
            let points = met.map(|(bucket, (bytes, _))| Point { timestamp: buckets.shown(bucket), value: bytes.round() });
            let points: Vec<Point> = points.collect();
            if !points.is_empty() {
                all.push((total, Series { labels: group.labels, points }));
            }
        }
        all.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.labels.cmp(&right.1.labels)));
        all.truncate(limit);
        let mut series: Vec<Series> = all.into_iter().map(|(_, series)| series).collect();
        let first = |series: &Series| series.points[0].value;
        series.sort_by(|left, right| first(right).total_cmp(&first(left)).then_with(|| left.labels.cmp(&right.labels)));
        series
    }
}

/// What a stream counts for: nothing if it lacks a label that was asked for.
fn group_labels(labels: &LabelSet, grouping: &VolumeGrouping, selector: &Selector) -> Vec<LabelSet> {
    let has_all = |names: &[String]| names.iter().all(|name| labels.get(name).is_some_and(|value| !value.is_empty()));
    let only = |is_kept: &dyn Fn(&str) -> bool| LabelSet::from_pairs(labels.iter().filter(|(name, _)| is_kept(name)));
    let is_named = |names: &[String], name: &str| names.iter().any(|other| other == name);
    match grouping {
        VolumeGrouping::Series { targets } if !targets.is_empty() => {
            if has_all(targets) {
                vec![only(&|name| is_named(targets, name))]
            } else {
                Vec::new()
            }
        }
        VolumeGrouping::Series { .. } if selector.matchers.is_empty() => vec![labels.clone()],
        VolumeGrouping::Series { .. } => vec![only(&|name| selector.matchers.iter().any(|matcher| matcher.name == name))],
        VolumeGrouping::LabelNames { targets } if !has_all(targets) => Vec::new(),
        VolumeGrouping::LabelNames { targets } => {
            let names = labels.iter().map(|(name, _)| name).filter(|name| targets.is_empty() || is_named(targets, name));
            names.map(|name| LabelSet::from_pairs([(name, "")])).collect()
        }
    }
}

/// The volume of a selection made for the request.
pub(crate) async fn volume(source: &PageSource, request: &VolumeRequest, memory: &MemoryReservation) -> Result<Vec<Series>, QueryError> {
    let selection = &source.selection;
    let mut volumes = Volumes::new(selection, request, memory)?;
    for span in selection.spans() {
        if volumes.groups_of[span.stream as usize].is_empty() {
            continue;
        }
        if selection.counts_whole(span, &span.rows, (span.oldest, span.newest))
            && volumes.buckets.of(span.oldest) == volumes.buckets.of(span.newest)
        {
            volumes.add(span.stream, volumes.buckets.of(span.oldest), span.bytes as f64);
            continue;
        }
        let is_read = |page: &SelectedPage| page.is_mixed() || page.is_erased_by_line(selection);
        let (read, whole): (Vec<_>, Vec<_>) = pages_of(selection, [span]).into_iter().partition(is_read);
        whole.iter().for_each(|page| add_page(&mut volumes, selection, span, page));
        read_pages(&mut volumes, source, read).await?;
    }
    Ok(volumes.into_series(request.limit))
}

/// Adds what the page index tells of a page.
fn add_page(volumes: &mut Volumes<'_>, selection: &Selection, span: &SelectedSpan, page: &SelectedPage) {
    let first = selection.part(page.part).pages().rows(page.page).start;
    for Piece { stream, rows, oldest, newest, .. } in &page.pieces {
        let repeated = selection.repeated(page.part);
        let below = |row: usize| repeated.partition_point(|&repeated| (repeated as usize) < first + row);
        let entries = rows.len() - (below(rows.end) - below(rows.start));
        if entries > 0 {
            let bytes = span.bytes as f64 * entries as f64 / span.rows.len().max(1) as f64;
            volumes.spread(*stream, (*oldest, *newest), bytes, selection.visible(*stream).intervals());
        }
    }
}

/// Adds the lines of pages that may be seen, one by one.
async fn read_pages(volumes: &mut Volumes<'_>, source: &PageSource, pages: Vec<SelectedPage>) -> Result<(), QueryError> {
    let wanted = Wanted { timestamps: true, lines: true, ..Wanted::default() };
    for group in groups(&source.selection, pages, wanted, u64::MAX) {
        let fetched = source.fetch(&group, wanted).await?;
        for page in source.open(&group, fetched.as_ref(), wanted) {
            let page = page?;
            let (stamps, lines) = (page.stamps()?, page.lines()?);
            for run in page.visible_rows()? {
                for row in run.rows {
                    volumes.add(run.stream, volumes.buckets.of(stamps[row]), lines.line(row).len() as f64);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion_execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn groups_of(labels: &[(&str, &str)], grouping: VolumeGrouping, selector: &str) -> Vec<String> {
        let selector = tailwater_logql::parse_any_selector(selector).expect("parses");
        let labels = LabelSet::from_pairs(labels.iter().copied());
        group_labels(&labels, &grouping, &selector).iter().map(ToString::to_string).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn streams_are_grouped_by_what_was_asked() {
        let labels = [("app", "a"), ("pod", "p")];
        let series = |targets: &[&str]| VolumeGrouping::Series { targets: names(targets) };
        let by_name = |targets: &[&str]| VolumeGrouping::LabelNames { targets: names(targets) };
        for (grouping, selector, expected) in [
            (series(&[]), r#"{app=~".+", zone!="z"}"#, vec![r#"{app="a"}"#]),
            (series(&[]), "{}", vec![r#"{app="a", pod="p"}"#]),
            (series(&["pod"]), r#"{app="a"}"#, vec![r#"{pod="p"}"#]),
            (series(&["pod", "zone"]), r#"{app="a"}"#, vec![]),
            (by_name(&[]), r#"{app="a"}"#, vec![r#"{app=""}"#, r#"{pod=""}"#]),
            (by_name(&["pod"]), r#"{app="a"}"#, vec![r#"{pod=""}"#]),
            (by_name(&["zone"]), r#"{app="a"}"#, vec![]),
        ] {
            assert_eq!(groups_of(&labels, grouping, selector), expected, "{selector}");
        }
    }

    #[test]
    fn buckets_are_aligned_and_told_by_their_last_millisecond() {
        let buckets = Buckets { start: 65 * SECOND, end: 180 * SECOND, step: Some(60 * SECOND) };
        assert_eq!((buckets.of(65 * SECOND), buckets.of(120 * SECOND), buckets.count()), (0, 1, 3));
        assert_eq!([0, 1, 2].map(|bucket| buckets.shown(bucket)), [120 * SECOND - MILLISECOND, 180 * SECOND, 180 * SECOND]);
        assert_eq!(buckets.last(0), 120 * SECOND - 1);
        let one = Buckets { step: None, ..buckets };
        assert_eq!((one.of(120 * SECOND), one.count(), one.shown(0), one.last(0)), (0, 1, 180 * SECOND, 180 * SECOND));
    }

    fn volumes(buckets: Buckets, memory: &MemoryReservation) -> Volumes<'_> {
        let mut volumes = Volumes { buckets, max_groups: 1, groups_of: vec![vec![0]], groups: Vec::new(), memory };
        volumes.add_group(LabelSet::default()).expect("one group");
        volumes
    }

    proptest! {
        #[test]
        fn what_is_spread_is_what_is_visible(
            start in -500i64..500, length in 0i64..900, oldest in -600i64..600, spread in 0i64..600, step in 1i64..200,
        ) {
            let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
            let memory = MemoryConsumer::new("test").register(&pool);
            let (end, newest) = (start + length, oldest + spread);
            let mut volumes = volumes(Buckets { start, end, step: Some(step) }, &memory);
            volumes.spread(0, (oldest, newest), (spread + 1) as f64, &[(start, end)]);
            let expected = |from: i64, to: i64| (to.min(newest) - from.max(oldest) + 1).max(0) as f64;
            let group = &volumes.groups[0];
            prop_assert!((group.bytes.iter().sum::<f64>() - expected(start, end)).abs() < 1e-6);
            for (bucket, bytes) in group.bytes.iter().enumerate() {
                let first = if bucket == 0 { start } else { volumes.buckets.last(bucket - 1) + 1 };
                prop_assert!((bytes - expected(first, volumes.buckets.last(bucket))).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn groups_are_bounded() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let memory = MemoryConsumer::new("test").register(&pool);
        let mut volumes = volumes(Buckets { start: 0, end: 10, step: None }, &memory);
        let error = volumes.add_group(LabelSet::from_pairs([("a", "b")])).expect_err("one is all");
        assert_eq!(error.to_string(), "the query hit the max number of series limit (limit: 1 series)");
    }
}
