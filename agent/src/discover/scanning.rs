//! What every scanning thread is given: whom it tells, what it counts, how often it looks, when it ends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::metrics::Metrics;
use crate::positions::keeper::SharedPositions;
use crate::settings::Timing;
use crate::tail::handover::Handover;
use crate::tail::worker::WorkerHandle;

pub(crate) struct Scanning {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) positions: SharedPositions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timing: Timing,
    pub(crate) is_first_scan_done: Arc<AtomicBool>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Open files of before a reload.
    pub(crate) handover: Handover,
}
