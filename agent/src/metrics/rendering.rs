//! All metrics in the text format of Prometheus: ours, then Promtail's names.

use prometheus_client::registry::Registry;

use super::Metrics;
use crate::observe::process;
use crate::pipeline::counters::sample;

impl Metrics {
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
        registry.register("journal_target_parsing_errors", "Entries of the journal that are not sent", self.journal_failures.clone());
        registry.register("config_reload_success", "Configurations taken while running", self.reload_success.clone());
        registry.register("config_reload_fail", "Configurations refused while running", self.reload_fail.clone());
        registry
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("tailwater_agent");
        let counters = [
            ("looks", "Times a container's files were looked at for something to read", &self.looks),
            ("lines_read", "Lines read from log files", &self.lines_read),
            ("lines_acknowledged", "Lines the receiver acknowledged", &self.lines_acknowledged),
            ("bytes_read", "Bytes read from log files", &self.bytes_read),
            ("bytes_acknowledged", "Line bytes the receiver acknowledged", &self.bytes_acknowledged),
            ("sent_bytes", "Compressed bytes of acknowledged requests", &self.sent_bytes),
            ("rotations", "Files that were replaced by a newer one of their container", &self.rotations),
            ("truncated", "Files that shrank or were refilled in place", &self.truncated),
            ("late_growth", "Files that grew after they were taken as finished", &self.late_growth),
            ("panics", "Containers that were begun anew after a panic while they were read", &self.panics),
            ("partial_idle", "Split lines sent without their end, which did not come", &self.partial_idle),
            ("clock_steps", "Stamps more than ten minutes behind the one before", &self.clock_steps),
            ("full_reread", "Files read again since positions were lost", &self.full_reread),
            ("invalid_utf8", "Lines with bytes replaced by U+FFFD", &self.invalid_utf8),
            ("metadata_missing", "Container instances labelled from their path alone", &self.metadata_missing),
            ("inotify_overflow", "Times events were lost and a scan took over", &self.inotify_overflow),
            ("directories_listed", "Directories of pods and containers that were listed", &self.directories_listed),
            (
                "directories_unchanged",
                "Directories of pods and containers that a scan passed over, as nothing in them had changed",
                &self.directories_unchanged,
            ),
            ("positions_write_errors", "Failed writes of positions", &self.positions_write_errors),
            ("read_errors", "Failed reads of log files and directories", &self.read_errors),
            ("balance_errors", "Files of which not every record became an entry, was dropped or joined: a bug", &self.balance_errors),
            ("annotations_invalid", "Annotations of pods and namespaces that cannot be understood", &self.annotations_invalid),
            ("labels_limited", "Labels beyond the limits, sent as structured metadata or not at all", &self.labels_limited),
            ("label_changes_ignored", "Changes of labels or metadata of an instance that had 64 before", &self.label_changes_ignored),
            ("kube_watch_errors", "Failed or broken watches of the Kubernetes API", &self.kube_watch_errors),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("pushes_in_flight", "Requests sent and not answered", self.pushes_in_flight.clone());
        registry.register(
            "watch_degraded",
            "1 while directories cannot be watched and scans do the work",
            self.watch_degraded.gauge().clone(),
        );
        registry.register("open_files", "Log files held open", self.open_files.clone());
        let resting = "Containers of which all is read and acknowledged and to which nothing is written: little is kept of each";
        registry.register("resting_containers", resting, self.resting_containers.clone());
        let passes = "Passes over the files being made: clients that are in step share one";
        registry.register("passes", passes, self.passes.clone());
        registry.register("active_targets", "Files that jobs of a promtail.yaml name", self.active_targets.clone());
        registry.register("scan_seconds", "Duration of the last full scan", self.scan_seconds.clone());
        registry.register("push_requests", "Requests by outcome", self.push_requests.clone());
        registry.register("dropped_lines", "Lines deliberately not delivered", self.dropped_lines.clone());
        registry.register("mutated_lines", "Lines delivered changed", self.mutated_lines.clone());
        registry.register("discarded_bytes", "Bytes that are no record", self.discarded_bytes.clone());
        registry.register("possible_loss", "Files of which bytes may be missing", self.possible_loss.clone());
        registry.register("parse_errors", "Records not in their format", self.parse_errors.clone());
        registry.register("ignored_files", "Names in the log tree that are not read, at the last scan", self.ignored_files.clone());
        registry.register("kube_requests", "Requests to the Kubernetes API", self.kube_requests.clone());
        registry.register("blocked", "1 while the receiver refuses with this status", self.blocked.clone());
        let last_event = "When the Kubernetes API last told something, in seconds since the epoch";
        registry.register("kube_watch_last_event_timestamp_seconds", last_event, self.kube_last_event.clone());
        registry.register("read_cpu_seconds", "Processor time of the reader threads", self.read_cpu_seconds.clone());
        let delivery = "From the stamp of a request's oldest line to its acknowledgement";
        registry.register("delivery_seconds", delivery, self.delivery_seconds.clone());
        registry.register(
            "lag_bytes",
            "Bytes on the node that are not acknowledged by the client that is furthest behind",
            self.lag_bytes.clone(),
        );
        registry.register(
            "lag_seconds_max",
            "Age of the last acknowledged line of the file that is furthest behind",
            self.lag_seconds_max.clone(),
        );
        registry.register(
            "buffer_seconds_min",
            "How long the node's files hold what the container that writes most writes",
            self.buffer_seconds_min.clone(),
        );
        registry.register("unacked_bytes", "Bytes read and not acknowledged", self.unacked_bytes.clone());
        registry
    }
}

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
