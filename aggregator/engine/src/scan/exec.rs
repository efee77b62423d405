//! `LogScanExec`: emits the rows of a [`Selection`].

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use tailwater_storage::catalog::Catalog;
use tailwater_storage::segment::columns::Wanted;

use crate::access::AllowedNamespaces;
use crate::batch;
use crate::plan::selection::{SelectedPart, SharedSelection};
use crate::scan::rows::{self, RowFilter};
use crate::scan::search::Needles;
use crate::statistics::Counters;

/// The scan leaf. Each partition reads its share of the selected parts, one at a time.
#[derive(Debug)]
pub(crate) struct LogScanExec {
    catalog: Arc<Catalog>,
    selection: SharedSelection,
    needles: Needles,
    wanted: Wanted,
    counters: Arc<Counters>,
    partitions: Vec<Vec<SelectedPart>>,
    properties: Arc<PlanProperties>,
}

impl LogScanExec {
    /// Access comes with the selection: a scan without one cannot be built.
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        selection: SharedSelection,
        needles: Needles,
        wanted: Wanted,
        partitions: usize,
        counters: Arc<Counters>,
    ) -> Self {
        let wanted = Wanted { timestamps: true, lines: wanted.lines || !needles.is_empty(), ..wanted };
        let schema = batch::scanned(wanted.lines, wanted.metadata);
        let partitions = share_out(selection.parts(), partitions);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { catalog, selection, needles, wanted, counters, partitions, properties }
    }
}

/// Deals parts out, so that neighbours in time go to different partitions.
fn share_out(parts: &[SelectedPart], partitions: usize) -> Vec<Vec<SelectedPart>> {
    let mut shares = vec![Vec::new(); partitions.clamp(1, parts.len().max(1))];
    let count = shares.len();
    for (index, part) in parts.iter().enumerate() {
        shares[index % count].push(part.clone());
    }
    shares
}

/// Everything one partition's stream owns.
struct PartReader {
    catalog: Arc<Catalog>,
    selection: SharedSelection,
    needles: Needles,
    wanted: Wanted,
    counters: Arc<Counters>,
    schema: SchemaRef,
}

impl PartReader {
    async fn read(&self, part: SelectedPart) -> Result<Vec<RecordBatch>> {
        let source = &self.selection.snapshot()[part.index];
        let mut columns = self.catalog.load(source, self.wanted).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        // Rows in memory come with all their columns: keep to the schema.
        columns.lines = columns.lines.filter(|_| self.wanted.lines);
        columns.metadata = columns.metadata.filter(|_| self.wanted.metadata);
        let filter = RowFilter {
            spans: &part.spans,
            range: self.selection.range(),
            repeated: self.selection.repetitions().of(part.index),
            needles: &self.needles,
        };
        let (batches, examined) = rows::batches(&self.schema, part.index, &columns, &filter)?;
        self.counters.add_scanned(examined.rows, examined.bytes);
        Ok(batches)
    }
}

impl DisplayAs for LogScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = self.selection.access();
        write!(f, "LogScanExec: tenant={}, namespaces=", access.tenant())?;
        match access.namespaces() {
            AllowedNamespaces::All => f.write_str("all")?,
            AllowedNamespaces::Only(allowed) => write!(f, "{allowed:?}")?,
        }
        let range = self.selection.range();
        write!(
            f,
            ", streams={}, parts={}, range=[{}, {}]",
            self.selection.streams().len(),
            self.selection.parts().len(),
            range.start,
            range.end
        )?;
        let columns: Vec<&str> = self.properties.eq_properties.schema().fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", columns=[{}]", columns.join(", "))?;
        if !self.needles.is_empty() {
            let literals: Vec<_> = self.needles.literals().map(String::from_utf8_lossy).collect();
            write!(f, ", contains={literals:?}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for LogScanExec {
    fn name(&self) -> &str {
        "LogScanExec"
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

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parts = self.partitions[partition].clone();
        let schema = self.properties.eq_properties.schema().clone();
        let reader = PartReader {
            catalog: self.catalog.clone(),
            selection: self.selection.clone(),
            needles: self.needles.clone(),
            wanted: self.wanted,
            counters: self.counters.clone(),
            schema: schema.clone(),
        };
        let reader = Arc::new(reader);
        let batches = stream::iter(parts)
            .then(move |part| {
                let reader = reader.clone();
                async move { reader.read(part).await }
            })
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
