//! `pipeline_stages` of the native configuration: Promtail's stages, for lines that are parsed and joined already.
//!
//! The stages `cri` and `docker` at their beginning, as any list that was a `promtail.yaml`'s has one, have nothing to do there and are left out.

use std::sync::Arc;

use crate::pipeline::build::{self, Surroundings};
use crate::pipeline::counters::DropCounters;
use crate::pipeline::{CustomMetrics, Pipeline};
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

/// Stages with what they count.
#[derive(Debug)]
pub struct PipelineStages {
    /// Without state.
    pub(crate) pipeline: Pipeline,
    pub(crate) counters: Arc<DropCounters>,
    metrics: Arc<CustomMetrics>,
    /// As they are in the file.
    pub(crate) written: serde_yaml_ng::Value,
}

impl PipelineStages {
    /// Makes the stages of `node`, of which `written` is the text. The errors are what is wrong, each with its line.
    pub(super) fn read(node: &Node, written: serde_yaml_ng::Value) -> Result<Self, Vec<(usize, String)>> {
        let metrics = Arc::new(CustomMetrics::default());
        let mut report = Report::default();
        let stages = build::stages(node, &mut Surroundings::new(Arc::clone(&metrics)), &mut report);
        match stages.filter(|_| report.errors.is_empty()) {
            Some(stages) => Ok(Self { pipeline: Pipeline::new(stages).behind_records(), counters: Arc::default(), metrics, written }),
            None => Err(report.sorted().errors.into_iter().map(|finding| (finding.line, finding.text)).collect()),
        }
    }

    /// The same for further passes over the same lines, which count nothing a second time.
    pub(crate) fn uncounted(&self) -> Self {
        Self { pipeline: self.pipeline.without_metrics(), counters: Arc::default(), metrics: Arc::default(), written: self.written.clone() }
    }

    /// Appends what stages counted, in the text format of Prometheus.
    pub(crate) fn render_metrics(&self, out: &mut String) {
        self.counters.render(out);
        self.metrics.render(out);
    }
}
