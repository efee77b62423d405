//! Which stages the lines of a pod's container go through in the native configuration.
//!
//! Lines are joined to blocks where the operator or the pod asks for it, then come the operator's own stages. Most containers have none, and their lines none
//! of the cost; stages that do not look at lines change the labels of streams once. What a pod asks for is part of its label set, and so recorded.

use std::sync::Arc;

use parking_lot::Mutex;

use super::overlong::Overlong;
use super::records::LongLine;
use super::stages::StageLimits;
use crate::discover::paths::PodDirectory;
use crate::discover::selection::Containers;
use crate::enrich::wishes::NOT_JOINED;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::pipeline::counters::DropCounters;
use crate::pipeline::first_line::FirstLine;
use crate::pipeline::multiline::Multiline;
use crate::relabel::Labels;

/// What the configuration says about stages.
#[derive(Debug)]
pub(crate) struct ContainerStages {
    /// The operator's, without state.
    pub(crate) pipeline: Pipeline,
    /// Containers whose stack traces are joined.
    pub(crate) auto_multiline: Containers,
    /// Bytes of a block.
    pub(crate) max_line_size: usize,
    pub(crate) limits: Arc<StageLimits>,
}

impl ContainerStages {
    /// Limits of lines are those of their records; what stages drop is counted in `counters`.
    pub(crate) fn limits(
        counters: Arc<DropCounters>,
        metrics: &Arc<Metrics>,
        (max_line_size, long_line): (usize, LongLine),
        inspects: bool,
    ) -> Arc<StageLimits> {
        Arc::new(StageLimits {
            counters,
            metrics: Arc::clone(metrics),
            max_line_size,
            overlong: Overlong::Native(long_line),
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

    /// The pipeline of a container whose pod asks for its lines to be joined as `wish` says; `None` if its lines go through no stage.
    pub(super) fn pipeline(&self, pod: &PodDirectory, container: &str, wish: Option<&str>) -> Option<Pipeline> {
        let by_rule = self.auto_multiline.holds(pod, container).then_some("auto");
        let wish = by_rule.or(wish).filter(|wish| *wish != NOT_JOINED);
        // One that was recorded is right, unless another version wrote it.
        match wish.and_then(|wish| FirstLine::of_wish(wish).ok()) {
            Some(first_line) => Some(self.pipeline.behind(Multiline::of_container(first_line, self.max_line_size))),
            None => Some(self.pipeline.clone()).filter(|_| self.label_stages().is_none()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_says_goes_before_what_a_pod_asks_for() {
        let mut auto_multiline = Containers::default();
        auto_multiline.set("shop/*/app").unwrap();
        let limits = ContainerStages::limits(Arc::default(), &Metrics::new(), (1024, LongLine::Truncate), false);
        let stages = ContainerStages { pipeline: Pipeline::default(), auto_multiline, max_line_size: 1024, limits };
        let pod = PodDirectory::parse("shop_web-1_uid").unwrap();
        for (container, wish, joins) in [
            ("app", None, true),
            ("app", Some("none"), true),
            ("other", Some("java"), true),
            ("other", Some("^S"), true),
            ("other", None, false),
            ("other", Some("none"), false),
            ("other", Some("("), false),
        ] {
            assert_eq!(stages.pipeline(&pod, container, wish).is_some(), joins, "{container} {wish:?}");
        }
    }
}
