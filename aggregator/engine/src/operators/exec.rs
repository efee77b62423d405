//! What every operator over series has in common as a node of a plan.
//!
//! An [`Operator`] says what it does with the batches of its inputs; [`OperatorExec`] makes a DataFusion plan of it. Inputs are read to
//! their end only as far as an operator needs that; memory comes from the pool under the operator's name.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::batch::POINT;
use crate::memory::OperatorMemory;

/// Display is what a plan shows of it.
pub(crate) trait Operator: fmt::Debug + fmt::Display + Send + Sync + 'static {
    const NAME: &'static str;

    fn schema(&self) -> SchemaRef {
        POINT.clone()
    }

    /// Whether it works on each partition of its input by itself; else inputs have one partition.
    fn is_partitioned(&self) -> bool {
        false
    }

    /// Whether it writes what it has to disk when memory ends.
    fn spills(&self) -> bool {
        false
    }

    /// Turns its inputs, in the order they were given to the plan, into its output.
    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream;
}

/// Batches of the operator's schema.
pub(crate) type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// A stream that is known only once something was computed.
pub(crate) fn deferred(stream: impl Future<Output = Result<BatchStream>> + Send + 'static) -> BatchStream {
    stream::once(stream).try_flatten().boxed()
}

/// An operator and its inputs as a plan.
pub(crate) fn plan<O: Operator>(operator: O, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
    Arc::new(OperatorExec::new(Arc::new(operator), inputs))
}

#[derive(Debug)]
pub(crate) struct OperatorExec<O> {
    operator: Arc<O>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl<O: Operator> OperatorExec<O> {
    fn new(operator: Arc<O>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        let partitioning = match inputs.first() {
            Some(input) if operator.is_partitioned() => input.output_partitioning().clone(),
            _ => Partitioning::UnknownPartitioning(1),
        };
        let properties =
            PlanProperties::new(EquivalenceProperties::new(operator.schema()), partitioning, EmissionType::Final, Boundedness::Bounded);
        Self { operator, inputs, properties: Arc::new(properties) }
    }
}

impl<O: Operator> DisplayAs for OperatorExec<O> {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", O::NAME, self.operator)
    }
}

impl<O: Operator> ExecutionPlan for OperatorExec<O> {
    fn name(&self) -> &str {
        O::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(&self, _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(self.operator.clone(), children)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = OperatorMemory::new(O::NAME, self.operator.spills(), &context);
        let inputs = self.inputs.iter().map(|input| input.execute(partition, context.clone())).collect::<Result<Vec<_>>>()?;
        // Between batches a query can be ended by its deadline, and others have their turn.
        let batches = self.operator.clone().run(inputs, memory).then(async |batch| {
            tokio::task::yield_now().await;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.operator.schema(), batches)))
    }
}
