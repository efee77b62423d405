//! What every leaf has in common as a node of a plan.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

use crate::memory::OperatorMemory;
use crate::operators::exec::BatchStream;

/// Display is what a plan shows of it.
pub(crate) trait Leaf: fmt::Debug + fmt::Display + Send + Sync + 'static {
    const NAME: &'static str;

    fn schema(&self) -> SchemaRef;

    fn partitions(&self) -> usize;

    /// Batches of one partition.
    fn run(self: Arc<Self>, partition: usize, memory: OperatorMemory) -> BatchStream;
}

/// A leaf as a plan.
pub(crate) fn leaf<L: Leaf>(leaf: L) -> Arc<dyn ExecutionPlan> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(leaf.schema()),
        Partitioning::UnknownPartitioning(leaf.partitions()),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(LeafExec { leaf: Arc::new(leaf), properties: Arc::new(properties) })
}

#[derive(Debug)]
struct LeafExec<L> {
    leaf: Arc<L>,
    properties: Arc<PlanProperties>,
}

impl<L: Leaf> DisplayAs for LeafExec<L> {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", L::NAME, self.leaf)
    }
}

impl<L: Leaf> ExecutionPlan for LeafExec<L> {
    fn name(&self) -> &str {
        L::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = OperatorMemory::new(L::NAME, false, &context);
        let batches = self.leaf.clone().run(partition, memory);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.leaf.schema(), batches)))
    }
}
