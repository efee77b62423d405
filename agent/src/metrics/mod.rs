//! Counters and gauges of the agent, registered once under `tailwater_agent_` and passed in; and the names that Promtail's users alert on.
//!
//! Readers count in plain integers per look ([`crate::tail::counts`]) and add them here, so no line costs an atomic.

mod counted;
mod reasons;
mod rendering;
mod shared_flag;

pub(crate) use reasons::{DropReason, JournalFailure, Namespace, PossibleLoss, PushOutcome};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

pub(crate) use counted::Counted;
pub(crate) use shared_flag::SharedFlag;

use reasons::{ErrorName, Format, KubeRequest, Outcome, Reason, Status};

use crate::observe::clients::{ClientCounts, ClientLabels};
use crate::observe::files::FileBoard;
use crate::observe::heartbeats::Heartbeats;
use crate::observe::journals::JournalBoard;
use crate::observe::kubelet_keeps::KubeletKeeps;

/// Seconds from the runtime's stamp to the acknowledgement.
const DELIVERY_SECONDS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// All handles. Cheap to read; shared by every part.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) files: FileBoard,
    pub(crate) journals: JournalBoard,
    pub(crate) clients: ClientCounts,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) kubelet_keeps: KubeletKeeps,
    pub(crate) looks: Counter,
    pub(crate) lines_read: Counter,
    pub(crate) lines_acknowledged: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) bytes_acknowledged: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) pushes_in_flight: Gauge,
    pub(crate) rotations: Counter,
    pub(crate) truncated: Counter,
    pub(crate) late_growth: Counter,
    pub(crate) panics: Counter,
    pub(crate) partial_idle: Counter,
    pub(crate) clock_steps: Counter,
    pub(crate) full_reread: Counter,
    pub(crate) invalid_utf8: Counter,
    pub(crate) metadata_missing: Counter,
    pub(crate) inotify_overflow: Counter,
    pub(crate) directories_listed: Counter,
    pub(crate) directories_unchanged: Counter,
    pub(crate) positions_write_errors: Counter,
    pub(crate) read_errors: Counter,
    pub(crate) balance_errors: Counter,
    pub(crate) kube_watch_errors: Counter,
    pub(crate) kube_last_event: Gauge,
    pub(crate) annotations_invalid: Counter,
    pub(crate) labels_limited: Counter,
    pub(crate) label_changes_ignored: Counter,
    pub(crate) reload_success: Counter,
    pub(crate) reload_fail: Counter,
    pub(crate) journal_lines: Counter,
    journal_failures: Family<ErrorName, Counter>,
    kube_requests: Family<KubeRequest, Counter>,
    pub(crate) read_cpu_seconds: Counter<f64, AtomicU64>,
    pub(crate) delivery_seconds: Histogram,
    pub(crate) lag_bytes: Family<Namespace, Gauge>,
    pub(crate) lag_seconds_max: Gauge<f64, AtomicU64>,
    pub(crate) buffer_seconds_min: Gauge<f64, AtomicU64>,
    pub(crate) unacked_bytes: Gauge,
    targets_failed: Family<Reason, Counter>,
    pub(crate) watch_degraded: SharedFlag,
    pub(crate) open_files: Gauge,
    pub(crate) resting_containers: Gauge,
    /// Over the files.
    pub(crate) passes: Gauge,
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
            journals: Default::default(),
            clients: Default::default(),
            heartbeats: Default::default(),
            kubelet_keeps: Default::default(),
            looks: Default::default(),
            lines_read: Default::default(),
            lines_acknowledged: Default::default(),
            bytes_read: Default::default(),
            bytes_acknowledged: Default::default(),
            sent_bytes: Default::default(),
            pushes_in_flight: Default::default(),
            rotations: Default::default(),
            truncated: Default::default(),
            late_growth: Default::default(),
            panics: Default::default(),
            partial_idle: Default::default(),
            clock_steps: Default::default(),
            full_reread: Default::default(),
            invalid_utf8: Default::default(),
            metadata_missing: Default::default(),
            inotify_overflow: Default::default(),
            directories_listed: Default::default(),
            directories_unchanged: Default::default(),
            positions_write_errors: Default::default(),
            read_errors: Default::default(),
            balance_errors: Default::default(),
            kube_watch_errors: Default::default(),
            kube_last_event: Default::default(),
            annotations_invalid: Default::default(),
            labels_limited: Default::default(),
            label_changes_ignored: Default::default(),
            reload_success: Default::default(),
            reload_fail: Default::default(),
            journal_lines: Default::default(),
            journal_failures: Default::default(),
            kube_requests: Default::default(),
            read_cpu_seconds: Default::default(),
            delivery_seconds: Histogram::new(DELIVERY_SECONDS),
            lag_bytes: Default::default(),
            lag_seconds_max: Default::default(),
            unacked_bytes: Default::default(),
            buffer_seconds_min: Default::default(),
            targets_failed: Default::default(),
            watch_degraded: Default::default(),
            open_files: Default::default(),
            resting_containers: Default::default(),
            passes: Default::default(),
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
        JournalFailure::ALL.into_iter().for_each(|failure| drop(metrics.journal_failures.get_or_create(&failure.error())));
        DropReason::ALL.into_iter().for_each(|dropped| drop(metrics.dropped_lines.get_or_create(&dropped.reason())));
        ["cri", "docker"].into_iter().for_each(|format| metrics.parse_errors(format, 0));
        metrics.split_lines(0);
        metrics.discarded_nul_bytes(0);
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

    /// Counts lines sent in pieces.
    pub(crate) fn split_lines(&self, lines: u64) {
        self.mutated_lines.get_or_create(&Reason { reason: "line_too_long" }).inc_by(lines);
        self.clients.shortened(lines, 0);
    }

    pub(crate) fn discarded_nul_bytes(&self, bytes: u64) {
        self.discarded_bytes.get_or_create(&Reason { reason: "nul" }).inc_by(bytes);
    }

    /// Counts a request to the Kubernetes API; `None`: no answer came.
    pub(crate) fn kube_request(&self, verb: &'static str, status: Option<u16>) {
        let code = status.map_or_else(|| "-1".to_owned(), |status| status.to_string());
        self.kube_requests.get_or_create(&KubeRequest { verb, code }).inc();
    }

    /// Counts an entry of the journal that is not sent, or not whole.
    pub(crate) fn journal_failure(&self, failure: JournalFailure) {
        self.journal_failures.get_or_create(&failure.error()).inc();
    }

    pub(crate) fn parse_errors(&self, format: &'static str, records: u64) {
        self.parse_errors.get_or_create(&Format { format }).inc_by(records);
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
}

/// Why a target cannot be read.
const TARGET_FAILURES: [&str; 1] = ["unreadable"];

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
            "tailwater_agent_mutated_lines_total{reason=\"line_too_long\"} 0",
            "tailwater_agent_discarded_bytes_total{reason=\"nul\"} 0",
            "tailwater_agent_parse_errors_total{format=\"cri\"} 0",
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
