//! Counters and gauges of the agent, registered once under `tailwater_agent_` and passed in.
//!
//! Readers count in plain integers per look ([`crate::tail::counts`]) and add them here, so no line costs an atomic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::pipeline::counters::sample;

/// Files with series of their own.
const MAX_PATHS: usize = 2000;

/// One closed label, `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// One closed label, `outcome`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

/// One closed label, `format`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Format {
    pub(crate) format: &'static str,
}

/// The status that blocks a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Status {
    pub(crate) status: u16,
}

/// Why a file's bytes may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PossibleLoss {
    /// A checkpointed file cannot be found any more.
    RotatedAway,
    /// A file shrank, or its content was replaced in place.
    Truncated,
    /// A rotated file exists only compressed, and compressed files are not read.
    Compressed,
}

impl PossibleLoss {
    const ALL: [Self; 3] = [Self::RotatedAway, Self::Truncated, Self::Compressed];

    fn reason(self) -> Reason {
        let reason = match self {
            Self::RotatedAway => "rotated_away",
            Self::Truncated => "truncated",
            Self::Compressed => "compressed",
        };
        Reason { reason }
    }
}

/// Why a line was deliberately not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The receiver refused it for good.
    IngesterError,
    LineTooLong,
    Unparsed,
    /// It would have begun a stream beyond the limit.
    StreamLimited,
}

impl DropReason {
    const ALL: [Self; 4] = [Self::IngesterError, Self::LineTooLong, Self::Unparsed, Self::StreamLimited];

    fn reason(self) -> Reason {
        let reason = match self {
            Self::IngesterError => "ingester_error",
            Self::LineTooLong => "line_too_long",
            Self::Unparsed => "unparsed",
            Self::StreamLimited => "stream_limited",
        };
        Reason { reason }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    Acknowledged,
    Retried,
    Blocked,
    Refused,
}

impl PushOutcome {
    fn outcome(self) -> Outcome {
        let outcome = match self {
            Self::Acknowledged => "acknowledged",
            Self::Retried => "retried",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
        };
        Outcome { outcome }
    }
}

/// All handles. Cheap to read; shared by every part.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) lines_read: Counter,
    pub(crate) lines_acknowledged: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) bytes_acknowledged: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) pushes_in_flight: Gauge,
    pub(crate) rotations: Counter,
    pub(crate) truncated: Counter,
    pub(crate) late_growth: Counter,
    pub(crate) partial_idle: Counter,
    pub(crate) clock_steps: Counter,
    pub(crate) full_reread: Counter,
    pub(crate) invalid_utf8: Counter,
    pub(crate) metadata_missing: Counter,
    pub(crate) inotify_overflow: Counter,
    pub(crate) positions_write_errors: Counter,
    pub(crate) read_errors: Counter,
    pub(crate) kube_watch_errors: Counter,
    pub(crate) watch_degraded: Gauge,
    pub(crate) open_files: Gauge,
    pub(crate) active_targets: Gauge,
    pub(crate) scan_seconds: Gauge<f64, AtomicU64>,
    push_requests: Family<Outcome, Counter>,
    dropped_lines: Family<Reason, Counter>,
    mutated_lines: Family<Reason, Counter>,
    discarded_bytes: Family<Reason, Counter>,
    possible_loss: Family<Reason, Counter>,
    parse_errors: Family<Format, Counter>,
    ignored_files: Family<Reason, Gauge>,
    blocked: Family<Status, Gauge>,
    files: Mutex<BTreeMap<String, FileCounts>>,
}

/// What is known of one file, for Promtail's names.
#[derive(Debug, Default)]
struct FileCounts {
    lines: u64,
    read: u64,
    size: u64,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let metrics = Self::default();
        // Counters that alerts watch exist at 0 from the start.
        PossibleLoss::ALL.into_iter().for_each(|loss| drop(metrics.possible_loss.get_or_create(&loss.reason())));
        DropReason::ALL.into_iter().for_each(|dropped| drop(metrics.dropped_lines.get_or_create(&dropped.reason())));
        Arc::new(metrics)
    }

    pub(crate) fn possible_loss(&self, loss: PossibleLoss) {
        self.possible_loss.get_or_create(&loss.reason()).inc();
    }

    pub(crate) fn possible_losses(&self) -> u64 {
        PossibleLoss::ALL.into_iter().map(|loss| self.possible_loss.get_or_create(&loss.reason()).get()).sum()
    }

    pub(crate) fn dropped_lines(&self, dropped: DropReason, lines: u64) {
        self.dropped_lines.get_or_create(&dropped.reason()).inc_by(lines);
    }

    pub(crate) fn all_dropped_lines(&self) -> u64 {
        DropReason::ALL.into_iter().map(|dropped| self.dropped_lines.get_or_create(&dropped.reason()).get()).sum()
    }

    pub(crate) fn truncated_lines(&self, lines: u64) {
        self.mutated_lines.get_or_create(&Reason { reason: "line_too_long" }).inc_by(lines);
    }

    pub(crate) fn discarded_nul_bytes(&self, bytes: u64) {
        self.discarded_bytes.get_or_create(&Reason { reason: "nul" }).inc_by(bytes);
    }

    pub(crate) fn parse_errors(&self, records: u64) {
        self.parse_errors.get_or_create(&Format { format: "cri" }).inc_by(records);
    }

    pub(crate) fn push_request(&self, outcome: PushOutcome) {
        self.push_requests.get_or_create(&outcome.outcome()).inc();
    }

    pub(crate) fn ignored_files(&self, reason: &'static str, files: i64) {
        self.ignored_files.get_or_create(&Reason { reason }).set(files);
    }

    pub(crate) fn blocked(&self, status: u16, is_blocked: bool) {
        self.blocked.get_or_create(&Status { status }).set(i64::from(is_blocked));
    }

    /// Lines and bytes read of a file, under Promtail's names.
    pub(crate) fn count_file(&self, path: &str, lines: u64, offset: u64, size: u64) {
        let mut files = self.files.lock();
        if files.len() >= MAX_PATHS && !files.contains_key(path) {
            return;
        }
        let file = files.entry(path.to_owned()).or_default();
        file.lines += lines;
        (file.read, file.size) = (offset, size);
    }

    /// The file is gone, and with it all its series.
    pub(crate) fn forget_file(&self, path: &str) {
        self.files.lock().remove(path);
    }

    /// Appends what Promtail's users alert on, under its names.
    pub(crate) fn render_promtail(&self, out: &mut String) {
        let files = self.files.lock();
        let mut family = |name: &str, kind: &str, help: &str, value: fn(&FileCounts) -> u64| {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for (path, counts) in files.iter() {
                sample(out, name, &[("path", path)], value(counts));
            }
        };
        family("promtail_read_lines_total", "counter", "Lines read", |counts| counts.lines);
        family("promtail_read_bytes_total", "gauge", "Bytes read", |counts| counts.read);
        family("promtail_file_bytes_total", "gauge", "Bytes of the file", |counts| counts.size);
        let sent = [
            ("promtail_files_active_total", "gauge", "Files being read", files.len() as u64),
            ("promtail_targets_active_total", "gauge", "Targets being read", self.active_targets.get().try_into().unwrap_or_default()),
            ("promtail_sent_entries_total", "counter", "Entries acknowledged", self.lines_acknowledged.get()),
            ("promtail_encoded_bytes_total", "counter", "Bytes of requests", self.sent_bytes.get()),
            ("promtail_sent_bytes_total", "counter", "Bytes of acknowledged requests", self.sent_bytes.get()),
        ];
        for (name, kind, help, value) in sent {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            sample(out, name, &[], value);
        }
        out.push_str("# HELP promtail_dropped_entries_total Entries dropped\n# TYPE promtail_dropped_entries_total counter\n");
        for dropped in DropReason::ALL {
            let reason = dropped.reason();
            sample(out, "promtail_dropped_entries_total", &[("reason", reason.reason)], self.dropped_lines.get_or_create(&reason).get());
        }
    }

    /// In the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("tailwater_agent");
        let counters = [
            ("lines_read", "Lines read from log files", &self.lines_read),
            ("lines_acknowledged", "Lines the receiver acknowledged", &self.lines_acknowledged),
            ("bytes_read", "Bytes read from log files", &self.bytes_read),
            ("bytes_acknowledged", "Line bytes the receiver acknowledged", &self.bytes_acknowledged),
            ("sent_bytes", "Compressed bytes of acknowledged requests", &self.sent_bytes),
            ("rotations", "Files that were replaced by a newer one of their container", &self.rotations),
            ("truncated", "Files that shrank or were refilled in place", &self.truncated),
            ("late_growth", "Files that grew after they were taken as finished", &self.late_growth),
            ("partial_idle", "Split lines sent without their end, which did not come", &self.partial_idle),
            ("clock_steps", "Stamps more than ten minutes behind the one before", &self.clock_steps),
            ("full_reread", "Files read again since positions were lost", &self.full_reread),
            ("invalid_utf8", "Lines with bytes replaced by U+FFFD", &self.invalid_utf8),
            ("metadata_missing", "Container instances labelled from their path alone", &self.metadata_missing),
            ("inotify_overflow", "Times events were lost and a scan took over", &self.inotify_overflow),
            ("positions_write_errors", "Failed writes of positions", &self.positions_write_errors),
            ("read_errors", "Failed reads of log files and directories", &self.read_errors),
            ("kube_watch_errors", "Failed or broken watches of the Kubernetes API", &self.kube_watch_errors),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("pushes_in_flight", "Requests sent and not answered", self.pushes_in_flight.clone());
        registry.register("watch_degraded", "1 while directories cannot be watched and scans do the work", self.watch_degraded.clone());
        registry.register("open_files", "Log files held open", self.open_files.clone());
        registry.register("active_targets", "Files that jobs of a promtail.yaml name", self.active_targets.clone());
        registry.register("scan_seconds", "Duration of the last full scan", self.scan_seconds.clone());
        registry.register("push_requests", "Requests by outcome", self.push_requests.clone());
        registry.register("dropped_lines", "Lines deliberately not delivered", self.dropped_lines.clone());
        registry.register("mutated_lines", "Lines delivered changed", self.mutated_lines.clone());
        registry.register("discarded_bytes", "Bytes that are no record", self.discarded_bytes.clone());
        registry.register("possible_loss", "Files of which bytes may be missing", self.possible_loss.clone());
        registry.register("parse_errors", "Records not in their format", self.parse_errors.clone());
        registry.register("ignored_files", "Names in the log tree that are not read, at the last scan", self.ignored_files.clone());
        registry.register("blocked", "1 while the receiver refuses with this status", self.blocked.clone());
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix_and_loss_counters_exist_from_the_start() {
        let text = Metrics::new().render();
        for line in [
            "tailwater_agent_possible_loss_total{reason=\"rotated_away\"} 0",
            "tailwater_agent_dropped_lines_total{reason=\"line_too_long\"} 0",
            "tailwater_agent_lines_read_total 0",
            "tailwater_agent_watch_degraded 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new();
        metrics.possible_loss(PossibleLoss::Compressed);
        metrics.blocked(404, true);
        let text = metrics.render();
        assert!(text.contains("tailwater_agent_possible_loss_total{reason=\"compressed\"} 1"));
        assert!(text.contains("tailwater_agent_blocked{status=\"404\"} 1"));
        assert_eq!(metrics.possible_losses(), 1);
    }
}
