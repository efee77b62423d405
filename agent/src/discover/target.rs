//! One file that a job of a `promtail.yaml` names: its labels and the stages of its lines.

use std::sync::Arc;

use crate::promtail::jobs::Job;
use crate::relabel::Labels;
use crate::tail::stages::StageLimits;

#[derive(Debug)]
pub(crate) struct FileTarget {
    pub(crate) job: Arc<Job>,
    /// With `filename`.
    pub(crate) labels: Labels,
    pub(crate) limits: Arc<StageLimits>,
    /// Where Promtail's own positions say that reading goes on.
    pub(crate) old_offset: Option<u64>,
}
