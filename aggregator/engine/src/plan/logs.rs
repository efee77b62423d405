//! Plans of log queries.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion_common::Result;
use datafusion_physical_expr::expressions::col;
use datafusion_physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::pipeline::Pipeline;
use tailwater_logql::printer::format_stages;
use tailwater_storage::file::columns::Wanted;

use crate::batch;
use crate::error::QueryError;
use crate::operators::entries::SelectedPipeline;
use crate::operators::pipeline::{PipelineExec, PipelineOutput};
use crate::plan::selection::Selection;
use crate::plan::{Planned, Planner};
use crate::request::{Direction, LogRequest, TimeRange};

impl Planner<'_> {
    /// Entries as they are shown, in the order asked for, at most `limit` (with an interval: all, since it decides what counts).
    pub(crate) async fn logs(&self, request: &LogRequest) -> Result<Planned, QueryError> {
        let pipeline = Pipeline::compile(&request.expr.stages, None, &NeededLabels::All, &self.options)?;
        let range = TimeRange { start: request.start, end: request.end.saturating_sub(1) };
        let selection = Arc::new(Selection::new(self.catalog, self.access, &request.expr.selector, range).await?);
        let everything = Wanted { lines: true, metadata: true, ..Wanted::default() };
        let filtered =
            self.pipeline(&selection, pipeline.clone(), &request.expr, &NeededLabels::All, everything, PipelineOutput::Filter).await?;
        let limit = (request.interval == 0).then_some(request.limit);
        let ordered = newest_or_oldest(filtered, request.direction, limit)?;
        let stages = SelectedPipeline { pipeline: Arc::new(pipeline), selection: selection.clone() };
        let output = PipelineOutput::Render { categorize: request.categorize };
        let rendered = PipelineExec::new(ordered, stages, format_stages(&request.expr.stages), output, self.counters.clone());
        Ok(Planned { plan: Arc::new(rendered), parts: selection.parts() })
    }
}

/// Sorts by stamp, then stream, then arrival; in one partition.
fn newest_or_oldest(input: Arc<dyn ExecutionPlan>, direction: Direction, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let key = |name: &str, descending: bool| -> Result<PhysicalSortExpr> {
        Ok(PhysicalSortExpr::new(col(name, &schema)?, SortOptions { descending, nulls_first: false }))
    };
    let backward = direction == Direction::Backward;
    let keys = [key(batch::TIMESTAMP, backward)?, key(batch::STREAM, false)?, key(batch::ARRIVAL, backward)?];
    let ordering = LexOrdering::new(keys).expect("three keys are an ordering");
    let input: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(input));
    Ok(Arc::new(SortExec::new(ordering, input).with_fetch(limit)))
}
