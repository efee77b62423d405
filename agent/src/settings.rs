//! Constants of the agent's pace. Not configurable; tests of the library shorten some.

use std::time::{Duration, SystemTime};

/// How often, how long.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between two full scans of the tree.
    pub scan_interval: Duration,
    /// The same while directories cannot be watched.
    pub degraded_scan_interval: Duration,
    /// Between two looks at a busy file.
    pub poll_min: Duration,
    /// Between two looks at an idle file.
    pub poll_max: Duration,
    /// Between two looks at a file of which nothing was read for `quiet_after`.
    pub poll_quiet: Duration,
    /// When an idle file is quiet, and its container is put to rest.
    pub quiet_after: Duration,
    /// How long a rotated file stands at its end before it is final.
    pub rotate_grace: Duration,
    /// How long a split line waits for its end.
    pub partial_idle: Duration,
    /// How long a client that was read for by itself keeps up with others before one pass reads for all of them.
    pub rejoin_after: Duration,
    /// How long a deleted file is held open at most.
    pub deleted_hold: Duration,
    /// How long a deleted pod stays known after its files are read.
    pub deleted_pod_kept: Duration,
    /// How long positions of files that are gone are kept.
    pub vanished_kept: Duration,
    /// Between two lists of the kubelet's pods.
    pub kubelet_interval: Duration,
    /// Over how long the watches of all agents spread that failed at the same time.
    pub watch_spread: Duration,
    /// For how long the agent that sends Kubernetes' events is alone in that after it last said so.
    pub lease_duration: Duration,
    /// Whether directories are watched at all; scans alone are enough to be correct.
    pub watch_directories: bool,
    /// The clock of which a jump asks for a scan: the system's.
    pub wall_clock: fn() -> SystemTime,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            scan_interval: Duration::from_secs(10),
            degraded_scan_interval: Duration::from_secs(1),
            poll_min: Duration::from_millis(50),
            poll_max: Duration::from_millis(250),
            poll_quiet: Duration::from_millis(500),
            quiet_after: Duration::from_secs(10),
            rotate_grace: Duration::from_secs(5),
            partial_idle: Duration::from_secs(60),
            rejoin_after: Duration::from_secs(10),
            deleted_hold: Duration::from_secs(600),
            deleted_pod_kept: Duration::from_secs(600),
            vanished_kept: Duration::from_secs(600),
            kubelet_interval: Duration::from_secs(10),
            watch_spread: Duration::from_secs(10),
            lease_duration: Duration::from_secs(15),
            watch_directories: true,
            wall_clock: SystemTime::now,
        }
    }
}
