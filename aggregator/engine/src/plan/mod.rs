//! From a syntax tree to a DataFusion plan.
//!
//! ```text
//! log query     PipelineExec render ← TopEntriesExec; with an interval ← SortExec ← PipelineExec filter ← LogScanExec
//! metric query  operators over points ← RangeAggregateExec final ← CoalescePartitionsExec ← RangeAggregateExec partial
//!               ← PipelineExec sample ← LogScanExec
//! counts        operators over points ← RangeAggregateExec final ← CoalescePartitionsExec ← CountScanExec
//! ```
//! Every plan is made by a [`Planner`], which holds the caller's [`Scope`]; every leaf is a scan of a selection made with it.

mod constant;
pub(crate) mod leaves;
mod logs;
pub(crate) mod metrics;
mod ranges;
pub(crate) mod selection;
mod text;
pub(crate) mod ties;

use std::sync::Arc;

use datafusion_physical_plan::ExecutionPlan;
use tailwater_logql::ast::{LogExpr, Selector, Stage};
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};
use tailwater_logql::printer::format_stages;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::file::columns::Wanted;

use crate::error::QueryError;
use crate::operators::entries::SelectedPipeline;
use crate::operators::pipeline::{PipelineExec, PipelineOutput};
use crate::plan::selection::{Pinned, Selection, SharedSelection};
use crate::request::TimeRange;
use crate::scan::pages::{SelectedPage, pages_of};
use crate::scan::{LineSearch, LogScan, PageSource};
use crate::scope::Scope;
use crate::statistics::Counters;

pub(crate) use constant::constant_answer;

/// Makes the plans of one query.
pub(crate) struct Planner<'a> {
    pub(crate) catalog: &'a Arc<Catalog>,
    pub(crate) scope: &'a Scope,
    pub(crate) options: PipelineOptions,
    /// What templates take for the present, in nanoseconds.
    pub(crate) now: i64,
    pub(crate) partitions: usize,
    /// Ask text indexes which pages to read.
    pub(crate) text_index: bool,
    pub(crate) counters: Arc<Counters>,
}

/// A plan and what has to be known of it besides.
pub(crate) struct Planned {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Parts that its leaves read.
    pub(crate) parts: usize,
}

impl Planner<'_> {
    /// What the selector selects of `range`, from each tenant under its own access.
    pub(crate) async fn select(&self, selector: &Selector, range: TimeRange) -> Result<SharedSelection, QueryError> {
        Ok(Arc::new(Selection::new(self.catalog, self.scope, selector, range).await?))
    }

    /// The same of what is pinned.
    pub(crate) async fn select_pinned(
        &self,
        pinned: &Pinned,
        selector: &Selector,
        range: TimeRange,
    ) -> Result<SharedSelection, QueryError> {
        Ok(Arc::new(Selection::of(pinned, self.catalog, self.scope, selector, range).await?))
    }

    /// The same for a log query.
    async fn select_logs(&self, selector: &Selector, range: TimeRange) -> Result<SharedSelection, QueryError> {
        let selection = Selection::new(self.catalog, self.scope, selector, range).await?;
        Ok(Arc::new(if self.options.strict_loki { selection.without_last_on_the_hour(self.catalog).await? } else { selection }))
    }

    /// The scan and the stages over it. `wanted` is what is needed besides what the stages read.
    async fn pipeline(
        &self,
        selection: &SharedSelection,
        pipeline: Pipeline,
        log: &LogExpr,
        wanted: Wanted,
        output: PipelineOutput,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let emitted = Wanted { lines: wanted.lines || pipeline.stages_read_line(), ..wanted };
        let pages = self.pages(selection, &log.stages).await?;
        let search = self.search(&log.stages, &pipeline);
        let scan = LogScan::plan(self.source(selection), pages, search, emitted, self.partitions, self.counters.clone());
        let stages = SelectedPipeline { pipeline: Arc::new(pipeline), selection: selection.clone() };
        Ok(Arc::new(PipelineExec::new(scan, stages, format_stages(&log.stages), output, self.counters.clone())))
    }

    /// The line filters that the scan runs.
    fn search(&self, stages: &[Stage], pipeline: &Pipeline) -> LineSearch {
        LineSearch::new(pipeline.line_filters(), text::searched_pattern(stages))
    }

    fn source(&self, selection: &SharedSelection) -> PageSource {
        PageSource { catalog: self.catalog.clone(), selection: selection.clone() }
    }

    /// The pages that may hold entries that pass the stages.
    async fn pages(&self, selection: &SharedSelection, stages: &[Stage]) -> Result<Vec<SelectedPage>, QueryError> {
        self.prune(selection, pages_of(selection, selection.spans()), stages).await
    }
}
