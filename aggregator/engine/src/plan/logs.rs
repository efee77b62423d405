//! Plans of log queries.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion_common::Result;
use datafusion_physical_expr::expressions::col;
use datafusion_physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use tailwater_logql::ast::Stage;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::pipeline::Pipeline;
use tailwater_logql::printer::format_stages;
use tailwater_storage::file::columns::Wanted;

use crate::batch;
use crate::error::QueryError;
use crate::operators::entries::SelectedPipeline;
use crate::operators::pipeline::{PipelineExec, PipelineOutput};
use crate::plan::selection::SharedSelection;
use crate::plan::{Planned, Planner};
use crate::request::{Direction, LogRequest, PageEnd, PageRequest, TimeRange};
use crate::scan::TopEntries;
use crate::scan::order::{Order, Portion};

impl Planner<'_> {
    /// Entries as they are shown, in the order asked for, at most `limit` (with an interval: all).
    pub(crate) async fn logs(&self, request: &LogRequest) -> Result<Planned, QueryError> {
        let pipeline = Pipeline::compile(&request.expr.stages, None, &NeededLabels::All, &self.options)?.with_now(self.now);
        let range = TimeRange { start: request.start, end: request.end.saturating_sub(1) };
        #[cfg(feature = "planted-faults")]
        let range = if tailwater_planted::Fault::EndIncluded.is_planted() { TimeRange { end: request.end, ..range } } else { range };
        let selection = self.select_logs(&request.expr.selector, range).await?;
        let ordered = match request.interval {
            0 => {
                let portion = Portion::first(request.direction, request.limit);
                self.top_entries(&selection, &pipeline, &request.expr.stages, portion).await?
            }
            _ => self.all_entries(&selection, &pipeline, request).await?,
        };
        let plan = self.rendered(ordered, pipeline, &selection, &request.expr.stages, request.categorize);
        Ok(Planned { plan, parts: selection.parts() })
    }

    /// A page, and the selection that the streams of its rows stand in.
    pub(crate) async fn page(&self, request: &PageRequest) -> Result<(Planned, SharedSelection), QueryError> {
        let PageRequest { log, after } = request;
        let (mut start, mut end) = (log.start, log.end.saturating_sub(1));
        match (after, log.direction) {
            (Some(after), Direction::Forward) => start = start.max(after.timestamp),
            (Some(after), Direction::Backward) => end = end.min(after.timestamp),
            (None, _) => {}
        }
        let selection = self.select(&log.expr.selector, TimeRange { start, end }).await?;
        let beginning = |after: &PageEnd| Order(log.direction).beginning(after.timestamp, selection.streams_within(after));
        let portion = Portion { from: after.as_ref().map(beginning), ends_whole: true, ..Portion::first(log.direction, log.limit) };
        let plan = self.portion(&selection, &log.expr.stages, portion, log.categorize).await?;
        Ok((Planned { plan, parts: selection.parts() }, selection))
    }

    /// A portion of what a selection shows of the stages, rendered, in order.
    pub(crate) async fn portion(
        &self,
        selection: &SharedSelection,
        stages: &[Stage],
        portion: Portion,
        categorize: bool,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let pipeline = Pipeline::compile(stages, None, &NeededLabels::All, &self.options)?.with_now(self.now);
        let ordered = self.top_entries(selection, &pipeline, stages, portion).await?;
        Ok(self.rendered(ordered, pipeline, selection, stages, categorize))
    }

    /// Entries as they are shown.
    fn rendered(
        &self,
        ordered: Arc<dyn ExecutionPlan>,
        pipeline: Pipeline,
        selection: &SharedSelection,
        stages: &[Stage],
        categorize: bool,
    ) -> Arc<dyn ExecutionPlan> {
        let selected = SelectedPipeline { pipeline: Arc::new(pipeline), selection: selection.clone() };
        let output = PipelineOutput::Render { categorize };
        Arc::new(PipelineExec::new(ordered, selected, format_stages(stages), output, self.counters.clone()))
    }

    /// A portion of the entries that pass, in order.
    async fn top_entries(
        &self,
        selection: &SharedSelection,
        pipeline: &Pipeline,
        stages: &[Stage],
        portion: Portion,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let pages = self.pages(selection, stages).await?;
        let filters = filters_after_scan(stages, pipeline)
            .then(|| SelectedPipeline { pipeline: Arc::new(pipeline.clone()), selection: selection.clone() });
        let search = self.search(stages, pipeline);
        Ok(TopEntries::plan(self.source(selection), pages, search, filters, portion, self.partitions, self.counters.clone()))
    }

    /// All entries that pass, in order: an interval decides which of them count.
    async fn all_entries(
        &self,
        selection: &SharedSelection,
        pipeline: &Pipeline,
        request: &LogRequest,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let everything = Wanted { lines: true, metadata: true, ..Wanted::default() };
        let filtered = self.pipeline(selection, pipeline.clone(), &request.expr, everything, PipelineOutput::Filter).await?;
        Ok(newest_or_oldest(filtered, request.direction)?)
    }
}

/// Whether a stage drops entries besides the line filters that are run first.
fn filters_after_scan(stages: &[Stage], pipeline: &Pipeline) -> bool {
    let line_filters = stages.iter().filter(|stage| matches!(stage, Stage::LineFilter(_))).count();
    line_filters > pipeline.line_filters().len() || stages.iter().any(|stage| matches!(stage, Stage::LabelFilter(_)))
}

/// Sorts by stamp, then stream, then arrival; in one partition.
fn newest_or_oldest(input: Arc<dyn ExecutionPlan>, direction: Direction) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let key = |name: &str, descending: bool| -> Result<PhysicalSortExpr> {
        Ok(PhysicalSortExpr::new(col(name, &schema)?, SortOptions { descending, nulls_first: false }))
    };
    let backward = direction == Direction::Backward;
    let keys = [key(batch::TIMESTAMP, backward)?, key(batch::STREAM, false)?, key(batch::ARRIVAL, backward)?];
    let ordering = LexOrdering::new(keys).expect("three keys are an ordering");
    let input: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(input));
    Ok(Arc::new(SortExec::new(ordering, input)))
}
