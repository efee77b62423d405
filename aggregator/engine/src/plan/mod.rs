//! From a syntax tree to a DataFusion plan.
//!
//! ```text
//! log query     PipelineExec render ← SortExec (newest or oldest, limit) ← PipelineExec filter ← LogScanExec
//! metric query  operators over points ← RangeAggregateExec final ← CoalescePartitionsExec ← RangeAggregateExec partial
//!               ← PipelineExec sample ← LogScanExec
//! ```
//! Every plan is made by a [`Planner`], which holds the caller's [`Access`]; every leaf is a scan of a selection made with it.

mod constant;
mod leaves;
mod logs;
mod metrics;
mod ranges;
pub(crate) mod selection;

use std::sync::Arc;

use datafusion_physical_plan::ExecutionPlan;
use tailwater_logql::ast::LogExpr;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};
use tailwater_logql::printer::format_stages;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::segment::columns::Wanted;

use crate::access::Access;
use crate::operators::entries::SelectedPipeline;
use crate::operators::pipeline::{PipelineExec, PipelineOutput};
use crate::plan::selection::SharedSelection;
use crate::scan::{LogScanExec, Needles};
use crate::statistics::Counters;

pub(crate) use constant::constant;

/// Makes the plans of one query.
pub(crate) struct Planner<'a> {
    pub(crate) catalog: &'a Arc<Catalog>,
    pub(crate) access: &'a Access,
    pub(crate) options: PipelineOptions,
    pub(crate) partitions: usize,
    pub(crate) counters: Arc<Counters>,
}

/// A plan and what has to be known of it besides.
pub(crate) struct Planned {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Parts that its leaves read.
    pub(crate) parts: usize,
}

impl Planner<'_> {
    /// The scan and the stages over it. `wanted` is what is needed besides what the stages read.
    fn pipeline(
        &self,
        selection: &SharedSelection,
        pipeline: Pipeline,
        log: &LogExpr,
        wanted: Wanted,
        output: PipelineOutput,
    ) -> Arc<dyn ExecutionPlan> {
        let wanted = Wanted { lines: wanted.lines || pipeline.reads_line(), ..wanted };
        let needles = Needles::new(pipeline.line_filters().iter().filter_map(|filter| filter.required_literal()));
        let scan = LogScanExec::new(self.catalog.clone(), selection.clone(), needles, wanted, self.partitions, self.counters.clone());
        let stages = SelectedPipeline { pipeline: Arc::new(pipeline), selection: selection.clone() };
        Arc::new(PipelineExec::new(Arc::new(scan), stages, format_stages(&log.stages), output, self.counters.clone()))
    }
}
