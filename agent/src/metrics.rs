//! Counters and gauges of the agent, registered once under `tailwater_agent_` and passed in; and the names that Promtail's users alert on.
//!
//! Readers count in plain integers per look ([`crate::tail::counts`]) and add them here, so no line costs an atomic.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::observe::clients::{ClientCounts, ClientLabels};
use crate::observe::files::FileBoard;
use crate::observe::heartbeats::Heartbeats;
use crate::observe::process;
use crate::pipeline::counters::sample;

/// Seconds from the runtime's stamp to the acknowledgement.
const DELIVERY_SECONDS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

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

/// One label, `namespace`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Namespace {
    pub(crate) namespace: String,
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
    /// A compressed rotated file cannot be decompressed to its end.
    Compressed,
    /// A deleted file was let go unread, since it was held too long or took too much of the disk.
    DeletedHold,
}

impl PossibleLoss {
    const ALL: [Self; 4] = [Self::RotatedAway, Self::Truncated, Self::Compressed, Self::DeletedHold];

    fn reason(self) -> Reason {
        let reason = match self {
            Self::RotatedAway => "rotated_away",
            Self::Truncated => "truncated",
            Self::Compressed => "compressed",
            Self::DeletedHold => "deleted_hold",
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
    /// An annotation of its pod or namespace asks for it.
    Excluded,
    /// The receiver limits the rate, and the configuration says to drop then; or its container wrote more than its limit allows.
    RateLimited,
}

impl DropReason {
    pub(crate) const ALL: [Self; 6] =
        [Self::Excluded, Self::IngesterError, Self::RateLimited, Self::LineTooLong, Self::Unparsed, Self::StreamLimited];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::IngesterError => "ingester_error",
            Self::RateLimited => "rate_limited",
            Self::LineTooLong => "line_too_long",
            Self::Unparsed => "unparsed",
            Self::StreamLimited => "stream_limited",
        }
    }

    fn reason(self) -> Reason {
        Reason { reason: self.name() }
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
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) files: FileBoard,
    pub(crate) clients: ClientCounts,
    pub(crate) heartbeats: Heartbeats,
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
    pub(crate) balance_errors: Counter,
    pub(crate) kube_watch_errors: Counter,
    pub(crate) kube_last_event: Gauge,
    pub(crate) annotations_invalid: Counter,
    pub(crate) reload_success: Counter,
    pub(crate) reload_fail: Counter,
    pub(crate) journal_lines: Counter,
    pub(crate) read_cpu_seconds: Counter<f64, AtomicU64>,
    pub(crate) delivery_seconds: Histogram,
    pub(crate) lag_bytes: Family<Namespace, Gauge>,
    pub(crate) lag_seconds_max: Gauge<f64, AtomicU64>,
    pub(crate) unacked_bytes: Gauge,
    targets_failed: Family<Reason, Counter>,
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
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let metrics = Self {
            files: Default::default(),
            clients: Default::default(),
            heartbeats: Default::default(),
            lines_read: Default::default(),
            lines_acknowledged: Default::default(),
            bytes_read: Default::default(),
            bytes_acknowledged: Default::default(),
            sent_bytes: Default::default(),
            pushes_in_flight: Default::default(),
            rotations: Default::default(),
            truncated: Default::default(),
            late_growth: Default::default(),
            partial_idle: Default::default(),
            clock_steps: Default::default(),
            full_reread: Default::default(),
            invalid_utf8: Default::default(),
            metadata_missing: Default::default(),
            inotify_overflow: Default::default(),
            positions_write_errors: Default::default(),
            read_errors: Default::default(),
            balance_errors: Default::default(),
            kube_watch_errors: Default::default(),
            kube_last_event: Default::default(),
            annotations_invalid: Default::default(),
            reload_success: Default::default(),
            reload_fail: Default::default(),
            journal_lines: Default::default(),
            read_cpu_seconds: Default::default(),
            delivery_seconds: Histogram::new(DELIVERY_SECONDS),
            lag_bytes: Default::default(),
            lag_seconds_max: Default::default(),
            unacked_bytes: Default::default(),
            targets_failed: Default::default(),
            watch_degraded: Default::default(),
            open_files: Default::default(),
            active_targets: Default::default(),
            scan_seconds: Default::default(),
            push_requests: Default::default(),
            dropped_lines: Default::default(),
            mutated_lines: Default::default(),
            discarded_bytes: Default::default(),
            possible_loss: Default::default(),
            parse_errors: Default::default(),
            ignored_files: Default::default(),
            blocked: Default::default(),
        };
        // Counters that alerts watch exist at 0 from the start.
        PossibleLoss::ALL.into_iter().for_each(|loss| drop(metrics.possible_loss.get_or_create(&loss.reason())));
        DropReason::ALL.into_iter().for_each(|dropped| drop(metrics.dropped_lines.get_or_create(&dropped.reason())));
        TARGET_FAILURES.into_iter().for_each(|reason| drop(metrics.targets_failed.get_or_create(&Reason { reason })));
        Arc::new(metrics)
    }

    pub(crate) fn possible_loss(&self, loss: PossibleLoss) {
        self.possible_loss.get_or_create(&loss.reason()).inc();
    }

    pub(crate) fn possible_losses(&self) -> u64 {
        PossibleLoss::ALL.into_iter().map(|loss| self.possible_loss.get_or_create(&loss.reason()).get()).sum()
    }

    /// Counts lines that a reader leaves out, and their bytes.
    pub(crate) fn dropped_lines(&self, dropped: DropReason, lines: u64, bytes: u64) {
        self.dropped_lines.get_or_create(&dropped.reason()).inc_by(lines);
        self.clients.dropped_at_reading(dropped, lines, bytes);
    }

    /// Counts entries that a receiver did not take.
    pub(crate) fn refused_lines(&self, client: &ClientLabels, dropped: DropReason, lines: u64, bytes: u64) {
        self.dropped_lines.get_or_create(&dropped.reason()).inc_by(lines);
        self.clients.dropped(client, dropped, lines, bytes);
    }

    pub(crate) fn all_dropped_lines(&self) -> u64 {
        DropReason::ALL.into_iter().map(|dropped| self.dropped_lines.get_or_create(&dropped.reason()).get()).sum()
    }

    /// Counts lines sent without their ends, and how much that was.
    pub(crate) fn truncated_lines(&self, lines: u64, bytes: u64) {
        self.mutated_lines.get_or_create(&Reason { reason: "line_too_long" }).inc_by(lines);
        self.clients.shortened(lines, bytes);
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

    /// Counts a target that could be read and cannot any more.
    pub(crate) fn target_failed(&self) {
        self.targets_failed.get_or_create(&Reason { reason: TARGET_FAILURES[0] }).inc();
    }

    pub(crate) fn ignored_files(&self, reason: &'static str, files: i64) {
        self.ignored_files.get_or_create(&Reason { reason }).set(files);
    }

    pub(crate) fn blocked(&self, status: u16, is_blocked: bool) {
        self.blocked.get_or_create(&Status { status }).set(i64::from(is_blocked));
    }

    /// In the text format of Prometheus: ours, then Promtail's names.
    pub(crate) fn render(&self) -> String {
        let mut encoded = String::new();
        for registry in [self.registry(), self.promtail_registry()] {
            prometheus_client::encoding::text::encode(&mut encoded, &registry).expect("writing to a string cannot fail");
        }
        let mut text = as_text_format(&encoded);
        text.push_str("# HELP tailwater_agent_lines_total Lines by what became of them\n# TYPE tailwater_agent_lines_total counter\n");
        for (outcome, lines) in [("acknowledged", self.lines_acknowledged.get()), ("dropped", self.all_dropped_lines())] {
            sample(&mut text, "tailwater_agent_lines_total", &[("outcome", outcome)], lines);
        }
        for name in ["tailwater_agent_build_info", "promtail_build_info"] {
            text.push_str(&format!("# HELP {name} The program that runs\n# TYPE {name} gauge\n"));
            sample(&mut text, name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
        }
        self.files.render(&mut text);
        let targets = self.active_targets.get();
        text.push_str("# HELP promtail_targets_active_total Targets being read\n# TYPE promtail_targets_active_total gauge\n");
        sample(&mut text, "promtail_targets_active_total", &[], targets);
        process::render(&mut text);
        text
    }

    fn promtail_registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("promtail");
        self.clients.register(&mut registry);
        registry.register("targets_failed", "Targets that cannot be read", self.targets_failed.clone());
        registry.register("journal_target_lines", "Lines read of the journal", self.journal_lines.clone());
        registry.register("config_reload_success", "Configurations taken while running", self.reload_success.clone());
        registry.register("config_reload_fail", "Configurations refused while running", self.reload_fail.clone());
        registry
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
            ("balance_errors", "Files of which not every record became an entry, was dropped or joined: a bug", &self.balance_errors),
            ("annotations_invalid", "Annotations of pods and namespaces that cannot be understood", &self.annotations_invalid),
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
        let last_event = "When the Kubernetes API last told something, in seconds since the epoch";
        registry.register("kube_watch_last_event_timestamp_seconds", last_event, self.kube_last_event.clone());
        registry.register("read_cpu_seconds", "Processor time of the reader threads", self.read_cpu_seconds.clone());
        let delivery = "From the stamp of a request's oldest line to its acknowledgement";
        registry.register("delivery_seconds", delivery, self.delivery_seconds.clone());
        registry.register("lag_bytes", "Bytes on the node that are not acknowledged", self.lag_bytes.clone());
        registry.register(
            "lag_seconds_max",
            "Age of the last acknowledged line of the file that is furthest behind",
            self.lag_seconds_max.clone(),
        );
        registry.register("unacked_bytes", "Bytes read and not acknowledged", self.unacked_bytes.clone());
        registry
    }
}

/// Why a target cannot be read.
const TARGET_FAILURES: [&str; 1] = ["unreadable"];

/// What the encoder writes for OpenMetrics, as the plain text format: counters are described under the names of their samples.
fn as_text_format(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len());
    let mut counters: std::collections::HashSet<&str> = std::collections::HashSet::new();
    for line in encoded.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ")
            && let Some((name, "counter")) = rest.split_once(' ')
        {
            counters.insert(name);
        }
    }
    for line in encoded.lines().filter(|line| *line != "# EOF") {
        let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).and_then(|rest| rest.split_once(' '));
        match described {
            Some((name, rest)) if counters.contains(name) => text.push_str(&format!("{}{name}_total {rest}", &line[..7])),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
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
    fn promtails_names_exist_at_zero_once_a_receiver_is_known() {
        let metrics = Metrics::new();
        let client = ClientLabels { host: "loki:3100".to_owned(), tenant: "t".to_owned() };
        metrics.clients.expect(&client);
        metrics.dropped_lines(DropReason::StreamLimited, 2, 30);
        metrics.clients.answered(&client, Some(204), std::time::Duration::from_millis(20));
        metrics.clients.answered(&client, None, std::time::Duration::from_millis(20));
        let text = metrics.render();
        for line in [
            "promtail_dropped_entries_total{host=\"loki:3100\",tenant=\"t\",reason=\"ingester_error\"} 0",
            "promtail_dropped_bytes_total{host=\"loki:3100\",tenant=\"t\",reason=\"rate_limited\"} 0",
            "promtail_dropped_bytes_total{host=\"loki:3100\",tenant=\"t\",reason=\"stream_limited\"} 30",
            "promtail_mutated_entries_total{host=\"loki:3100\",tenant=\"t\",reason=\"line_too_long\"} 0",
            "promtail_sent_entries_total{host=\"loki:3100\"} 0",
            "promtail_batch_retries_total{host=\"loki:3100\",tenant=\"t\"} 0",
            "promtail_request_duration_seconds_count{status_code=\"204\",host=\"loki:3100\"} 1",
            "promtail_request_duration_seconds_count{status_code=\"-1\",host=\"loki:3100\"} 1",
            "promtail_config_reload_fail_total 0",
            "promtail_journal_target_lines_total 0",
            "promtail_targets_failed_total{reason=\"unreadable\"} 0",
            "tailwater_agent_lines_total{outcome=\"dropped\"} 2",
            "# TYPE promtail_sent_bytes_total counter",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert!(!text.contains("# EOF"));
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
