//! `PipelineExec`: parsers, filters and formats over the rows that the scan left.
//!
//! Three outputs: `filter` passes the rows that survive, as they were scanned (so that sorting and limiting come before labels are built);
//! `render` gives lines and labels as they are shown; `sample` gives values of series.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BinaryBuilder, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::stream::RecordBatchReceiverStream;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use crate::batch::{self, RENDERED};
use crate::memory::OperatorMemory;
use crate::operators::entries::{SelectedPipeline, StreamPipelines};
use crate::operators::samples::{self, SampleSeries, SampleSpec};
use crate::statistics::Counters;

/// Batches in flight between a pipeline's task and its reader.
const QUEUE: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipelineOutput {
    Filter,
    Render {
        /// Keep stored labels, structured metadata and parsed labels apart.
        categorize: bool,
    },
    Sample(SampleSpec),
}

#[derive(Debug)]
pub(crate) struct PipelineExec {
    input: Arc<dyn ExecutionPlan>,
    stages: SelectedPipeline,
    /// The stages as text, for people.
    text: String,
    output: PipelineOutput,
    counters: Arc<Counters>,
    properties: Arc<PlanProperties>,
}

impl PipelineExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        stages: SelectedPipeline,
        text: String,
        output: PipelineOutput,
        counters: Arc<Counters>,
    ) -> Self {
        let schema = match output {
            PipelineOutput::Filter => input.schema(),
            PipelineOutput::Render { .. } => RENDERED.clone(),
            PipelineOutput::Sample(spec) => batch::sample(spec.is_ordered),
        };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { input, stages, text, output, counters, properties }
    }

    fn schema(&self) -> SchemaRef {
        self.properties.eq_properties.schema().clone()
    }
}

/// Turns scanned batches into output batches; owned by one task.
struct Runner<'p> {
    pipelines: StreamPipelines<'p>,
    series: SampleSeries,
    output: PipelineOutput,
    counters: &'p Counters,
    /// Series, and the batch that is being rendered: templates make much of little.
    memory: OperatorMemory,
}

impl Runner<'_> {
    fn run(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let out = match self.output {
            PipelineOutput::Filter => self.filter(rows)?,
            PipelineOutput::Render { categorize } => return self.render(rows, categorize),
            PipelineOutput::Sample(spec) => samples::extract(&mut self.pipelines, &mut self.series, spec, rows, &self.memory)?,
        };
        self.counters.add_kept(out.num_rows() as u64);
        Ok(out)
    }

    fn filter(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut kept: Vec<u32> = Vec::new();
        self.pipelines.run(rows, |row, _, _| {
            kept.push(row as u32);
            Ok(())
        })?;
        if kept.len() == rows.num_rows() {
            return Ok(rows.clone());
        }
        Ok(take_record_batch(rows, &UInt32Array::from(kept))?)
    }

    fn render(&mut self, rows: &RecordBatch, categorize: bool) -> Result<RecordBatch> {
        let mut kept: Vec<u32> = Vec::new();
        let [mut line, mut labels, mut metadata, mut parsed] = [(); 4].map(|()| BinaryBuilder::new());
        let (selection, memory) = (self.pipelines.selection(), &self.memory);
        self.pipelines.run(rows, |row, stream, entry| {
            let stream = &selection.streams()[stream as usize];
            kept.push(row as u32);
            line.append_value(entry.line());
            let before = labels.values_slice().len() + parsed.values_slice().len();
            if categorize {
                let split = entry.categorized();
                labels.append_value(batch::encode_labels(&stream.shown(split.stream.without_empty())).as_bytes());
                metadata.append_value(batch::encode_labels(&split.structured_metadata.without_empty()).as_bytes());
                parsed.append_value(batch::encode_labels(&split.parsed).as_bytes());
            } else {
                labels.append_value(batch::encode_labels(&stream.shown(entry.labels())).as_bytes());
                metadata.append_value([]);
                parsed.append_value([]);
            }
            memory.try_grow(entry.line().len() + labels.values_slice().len() + parsed.values_slice().len() - before)
        })?;
        let place = take_record_batch(&rows.project(&[0, 1, 2])?, &UInt32Array::from(kept))?;
        let mut columns = place.columns().to_vec();
        let built = [&mut line, &mut labels, &mut metadata, &mut parsed];
        columns.extend(built.into_iter().map(|builder| Arc::new(builder.finish()) as Arc<dyn Array>));
        Ok(RecordBatch::try_new(RENDERED.clone(), columns)?)
    }
}

impl DisplayAs for PipelineExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output = match self.output {
            PipelineOutput::Filter => "filter".to_owned(),
            PipelineOutput::Render { categorize: false } => "render".to_owned(),
            PipelineOutput::Render { categorize: true } => "render categorized".to_owned(),
            PipelineOutput::Sample(spec) => spec.to_string(),
        };
        write!(f, "PipelineExec: output={output}, stages=[{}]", self.text)
    }
}

impl ExecutionPlan for PipelineExec {
    fn name(&self) -> &str {
        "PipelineExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("PipelineExec has one input".into()))?;
        Ok(Arc::new(Self::new(input, self.stages.clone(), self.text.clone(), self.output, self.counters.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = OperatorMemory::new("PipelineExec", false, &context);
        let mut input = self.input.execute(partition, context)?;
        let mut builder = RecordBatchReceiverStream::builder(self.schema(), QUEUE);
        let (out, output) = (builder.tx(), self.output);
        let (stages, counters) = (self.stages.clone(), self.counters.clone());
        builder.spawn(async move {
            let pipelines = StreamPipelines::new(&stages.pipeline, &stages.selection, &counters);
            let mut runner = Runner { pipelines, series: SampleSeries::default(), output, counters: &counters, memory };
            while let Some(rows) = input.next().await {
                let batch = rows.and_then(|rows| runner.run(&rows));
                let failed = batch.is_err();
                // A reader that is gone wants no more.
                if out.send(batch).await.is_err() || failed {
                    break;
                }
                if matches!(output, PipelineOutput::Render { .. }) {
                    // Who took the batch holds it now.
                    runner.memory.free();
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}
