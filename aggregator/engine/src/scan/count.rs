//! `CountScanExec`: counts entries, or the bytes of their lines, by series and step, without making rows of them.
//!
//! Spans and pages that lie between two steps, may be seen wholly and repeat nothing are counted from stream tables and page indexes. Only
//! of ragged pages (of bytes, also those that streams share) the stamps are decoded, and the steps found by bisection; of lines no more than
//! the lengths are read.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_physical_plan::ExecutionPlan;
use tailwater_storage::file::columns::Wanted;
use tailwater_storage::pairs::Pairs;

use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, deferred};
use crate::operators::range_aggregate::{PartialCounts, RangeSpec};
use crate::plan::selection::{SelectedSpan, Selection};
use crate::scan::exec::pages_text;
use crate::scan::fetch::PageSource;
use crate::scan::leaf::{Leaf, leaf};
use crate::scan::open_page::OpenPage;
use crate::scan::pages::{PageGroup, Piece, SelectedPage, pages_of, share_out};
use crate::statistics::Counters;

/// The counting leaf. It emits what the partial phase of a range aggregation does.
#[derive(Debug)]
pub(crate) struct CountScan {
    source: PageSource,
    /// Series by stream, encoded.
    series: Vec<Pairs>,
    counts_bytes: bool,
    wanted: Wanted,
    spec: RangeSpec,
    counters: Arc<Counters>,
    known: Vec<Known>,
    /// Pages to be read.
    pages: usize,
    partitions: Vec<Vec<PageGroup>>,
}

/// Entries of a stream that are in the same windows, counted without reading them.
#[derive(Debug, Clone)]
struct Known {
    stream: u32,
    /// In the same windows as all of them.
    stamp: i64,
    entries: u64,
    /// 0 where bytes are not counted.
    bytes: u64,
}

impl CountScan {
    /// `series`: by stream of the selection. `counts_bytes`: of lines, instead of entries.
    pub(crate) fn plan(
        source: PageSource,
        series: Vec<Pairs>,
        counts_bytes: bool,
        spec: RangeSpec,
        partitions: usize,
        counters: Arc<Counters>,
    ) -> Arc<dyn ExecutionPlan> {
        let wanted = Wanted { timestamps: true, lines: counts_bytes, ..Wanted::default() };
        let (known, ragged) = Division { selection: &source.selection, spec: &spec, counts_bytes }.divide();
        let pages = ragged.len();
        let partitions = share_out(&source.selection, ragged, wanted, partitions);
        leaf(Self { source, series, counts_bytes, wanted, spec, counters, known, pages, partitions })
    }

    async fn count(&self, partition: usize, counts: &mut PartialCounts, memory: OperatorMemory) -> Result<()> {
        if partition == 0 {
            for known in &self.known {
                self.add(counts, known)?;
            }
        }
        let mut groups = self.source.ahead(self.partitions[partition].clone(), self.wanted, memory);
        while let Some(fetched) = groups.next().await {
            let (group, pages) = fetched?;
            for page in self.source.open(&group, pages.as_ref(), self.wanted) {
                self.count_page(&page?, counts)?;
            }
        }
        Ok(())
    }

    fn count_page(&self, page: &OpenPage<'_>, counts: &mut PartialCounts) -> Result<()> {
        let offsets = if self.counts_bytes { page.line_offsets()? } else { Vec::new() };
        let bytes = |rows: &Range<usize>| offsets.get(rows.end).map_or(0, |end| (end - offsets[rows.start]) as u64);
        let mut runs = Vec::new();
        for piece in page.pieces() {
            page.visible_rows_of(piece, &mut runs)?;
            let is_in_one_step = self.spec.are_together(piece.oldest, piece.newest);
            for run in runs.drain(..) {
                let mut row = run.rows.start;
                while row < run.rows.end {
                    let (stamp, end) = match is_in_one_step {
                        true => (piece.oldest, run.rows.end),
                        false => self.same_steps(page, row..run.rows.end)?,
                    };
                    let rows = row..end;
                    self.add(counts, &Known { stream: run.stream, stamp, entries: rows.len() as u64, bytes: bytes(&rows) })?;
                    row = end;
                }
            }
        }
        Ok(())
    }

    /// The stamp of the first row, and where the rows end that are in the same windows.
    fn same_steps(&self, page: &OpenPage<'_>, rows: Range<usize>) -> Result<(i64, usize)> {
        let column = &page.stamps()?[rows.clone()];
        let until = self.spec.grid.same_steps_until(column[0], self.spec.window);
        Ok((column[0], rows.start + column.partition_point(|stamp| *stamp <= until)))
    }

    fn add(&self, counts: &mut PartialCounts, known: &Known) -> Result<()> {
        self.counters.add_scanned(known.entries, known.bytes);
        self.counters.add_kept(known.entries);
        let sum = if self.counts_bytes { known.bytes } else { known.entries };
        counts.add(self.series[known.stream as usize].as_bytes(), known.stamp, known.entries, sum)
    }
}

impl RangeSpec {
    /// Whether all stamps between two are in the same windows.
    fn are_together(&self, oldest: i64, newest: i64) -> bool {
        self.grid.same_steps_until(oldest, self.window) >= newest
    }
}

/// Divides what is selected into what tables tell and what has to be read.
struct Division<'a> {
    selection: &'a Selection,
    spec: &'a RangeSpec,
    counts_bytes: bool,
}

impl Division<'_> {
    fn divide(&self) -> (Vec<Known>, Vec<SelectedPage>) {
        let (mut known, mut ragged) = (Vec::new(), Vec::<SelectedPage>::new());
        for span in self.selection.spans() {
            if self.tells(span, &span.rows, (span.oldest, span.newest)) {
                let bytes = if self.counts_bytes { span.bytes } else { 0 };
                known.push(Known { stream: span.stream, stamp: span.oldest, entries: span.count, bytes });
                continue;
            }
            for page in pages_of(self.selection, [span]) {
                match self.known_piece(span, &page) {
                    Some(piece) => known.push(piece),
                    None => push(&mut ragged, page),
                }
            }
        }
        (known, ragged)
    }

    /// Whether rows of a span can be counted as they are, for one and the same step.
    fn tells(&self, span: &SelectedSpan, rows: &Range<usize>, (oldest, newest): (i64, i64)) -> bool {
        self.spec.are_together(oldest, newest) && self.selection.counts_whole(span, rows, (oldest, newest))
    }

    /// The rows of a span in a page. Of bytes, tables tell the sum of whole spans and of whole pages.
    fn known_piece(&self, span: &SelectedSpan, page: &SelectedPage) -> Option<Known> {
        let Piece { stream, rows, oldest, newest, .. } = page.pieces.first()?;
        let table = self.selection.part(page.part).pages();
        let of_page = table.rows(page.page);
        let bytes = match self.counts_bytes {
            true if rows.len() < of_page.len() => return None,
            true => table.text_bytes(page.page),
            false => 0,
        };
        let is_known = self.tells(span, &(of_page.start + rows.start..of_page.start + rows.end), (*oldest, *newest));
        is_known.then_some(Known { stream: *stream, stamp: *oldest, entries: rows.len() as u64, bytes })
    }
}

/// Adds a page, or its pieces if it is there.
fn push(pages: &mut Vec<SelectedPage>, page: SelectedPage) {
    match pages.last_mut() {
        Some(last) if (last.part, last.page) == (page.part, page.page) => {
            last.pieces.extend(page.pieces);
            last.bytes += page.bytes;
        }
        _ => pages.push(page),
    }
}

impl fmt::Display for CountScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.counts_bytes { "bytes" } else { "entries" };
        write!(f, "{what}, {}, {}", self.spec.text, pages_text(&self.source.selection, self.pages))
    }
}

impl Leaf for CountScan {
    const NAME: &'static str = "CountScanExec";

    fn schema(&self) -> SchemaRef {
        self.spec.partial_schema()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn run(self: Arc<Self>, partition: usize, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let pages = memory.another();
            let mut counts = PartialCounts::new(&self.spec, memory);
            self.count(partition, &mut counts, pages).await?;
            Ok(counts.into_batches())
        })
    }
}
