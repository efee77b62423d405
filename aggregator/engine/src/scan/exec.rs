//! `LogScanExec`: emits rows of pages, those that pass the line filters.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchReceiverStream;
use futures::StreamExt;
use tailwater_storage::file::columns::Wanted;
use tokio::sync::mpsc::Sender;

use crate::batch;
use crate::memory::OperatorMemory;
use crate::operators::exec::BatchStream;
use crate::plan::selection::Selection;
use crate::scan::fetch::{FetchAhead, PageSource};
use crate::scan::leaf::{Leaf, leaf};
use crate::scan::open_page::{OpenPage, Run};
use crate::scan::pages::{PageGroup, SelectedPage, share_out};
use crate::scan::rows;
use crate::scan::search::LineSearch;
use crate::statistics::Counters;

/// Batches in flight between a scan's task and its reader.
const QUEUE: usize = 2;

/// The scan leaf. Access comes with the selection: a scan without one cannot be built.
#[derive(Debug)]
pub(crate) struct LogScan {
    source: PageSource,
    search: LineSearch,
    /// What is fetched.
    wanted: Wanted,
    /// What is emitted.
    schema: SchemaRef,
    counters: Arc<Counters>,
    pages: usize,
    partitions: Vec<Vec<PageGroup>>,
}

impl LogScan {
    /// `emitted`: the columns that are needed besides stream, stamp and arrival.
    pub(crate) fn plan(
        source: PageSource,
        pages: Vec<SelectedPage>,
        search: LineSearch,
        emitted: Wanted,
        partitions: usize,
        counters: Arc<Counters>,
    ) -> Arc<dyn ExecutionPlan> {
        let schema = batch::scanned(emitted.lines, emitted.metadata);
        let wanted = Wanted { timestamps: true, lines: emitted.lines || !search.is_empty(), ..emitted };
        let count = pages.len();
        let partitions = share_out(&source.selection, pages, wanted, partitions);
        leaf(Self { source, search, wanted, schema, counters, pages: count, partitions })
    }

    async fn read(&self, mut groups: FetchAhead, out: &Sender<Result<RecordBatch>>) -> Result<()> {
        while let Some(fetched) = groups.next().await {
            let (group, pages) = fetched?;
            for page in self.source.open(&group, pages.as_ref(), self.wanted) {
                let batches = self.batches(&page?)?;
                // Others may have a turn: pages without a hit would never pause.
                tokio::task::yield_now().await;
                for batch in batches {
                    if out.send(Ok(batch)).await.is_err() {
                        // A reader that is gone wants no more.
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn batches(&self, page: &OpenPage<'_>) -> Result<Vec<RecordBatch>> {
        let runs = wanted_rows(page, &self.search, &self.counters)?;
        rows::batches(&self.schema, page, &runs)
    }
}

/// The visible rows of a page whose lines pass, counted.
pub(crate) fn wanted_rows(page: &OpenPage<'_>, search: &LineSearch, counters: &Counters) -> Result<Vec<Run>> {
    let visible = page.visible_rows()?;
    let rows = visible.iter().map(|run| run.rows.len() as u64).sum();
    if search.is_empty() {
        let bytes = page.decoded_lines().map_or(0, |lines| text_length(&lines.offsets, &visible));
        counters.add_scanned(rows, bytes);
        return Ok(visible);
    }
    if visible.is_empty() {
        return Ok(visible);
    }
    let lines = page.lines()?;
    counters.add_scanned(rows, text_length(&lines.offsets, &visible));
    let passing = search.passing(lines, visible, counters);
    counters.check()?;
    Ok(passing)
}

fn text_length(offsets: &[i32], runs: &[Run]) -> u64 {
    runs.iter().map(|run| (offsets[run.rows.end] - offsets[run.rows.start]) as u64).sum()
}

/// What a leaf shows of its pages.
pub(crate) fn pages_text(selection: &Selection, pages: usize) -> String {
    format!("{selection}, pages={pages}")
}

impl fmt::Display for LogScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&pages_text(&self.source.selection, self.pages))?;
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", columns=[{}]", columns.join(", "))?;
        match self.search.searched() {
            Some(searched) => write!(f, ", search={searched}"),
            None => Ok(()),
        }
    }
}

impl Leaf for LogScan {
    const NAME: &'static str = "LogScanExec";

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn run(self: Arc<Self>, partition: usize, memory: OperatorMemory) -> BatchStream {
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), QUEUE);
        let out = builder.tx();
        builder.spawn(async move {
            let groups = self.source.ahead(self.partitions[partition].clone(), self.wanted, memory);
            self.read(groups, &out).await
        });
        builder.build().boxed()
    }
}
