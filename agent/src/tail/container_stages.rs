//! Which stages the lines of a pod's container go through in the native configuration.
//!
//! Most containers have none, and their lines none of the cost; stages that do not look at lines change the labels of streams once.

use std::sync::Arc;

use parking_lot::Mutex;

use super::stages::StageLimits;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::pipeline::counters::DropCounters;
use crate::relabel::Labels;

/// What the configuration says about stages.
#[derive(Debug)]
pub(crate) struct ContainerStages {
    /// The operator's, without state.
    pub(crate) pipeline: Pipeline,
    pub(crate) limits: Arc<StageLimits>,
}

impl ContainerStages {
    /// Limits of lines are those of their records; what stages drop is counted in `counters`.
    pub(crate) fn limits(counters: Arc<DropCounters>, metrics: &Arc<Metrics>, max_line_size: usize, inspects: bool) -> Arc<StageLimits> {
        Arc::new(StageLimits {
            counters,
            metrics: Arc::clone(metrics),
            max_line_size,
            truncates: true,
            max_streams: 0,
            streams: Mutex::default(),
            read_rate: None,
            external_labels: Labels::new(),
            inspects,
        })
    }

    /// The operator's stages, if they do not look at lines: then lines need not go through them.
    pub(super) fn label_stages(&self) -> Option<&Pipeline> {
        Some(&self.pipeline).filter(|pipeline| pipeline.is_of_labels_alone() && !self.limits.inspects)
    }

    /// The pipeline of a container; `None` if its lines go through no stage.
    pub(super) fn pipeline(&self) -> Option<Pipeline> {
        Some(self.pipeline.clone()).filter(|_| self.label_stages().is_none())
    }
}
