//! `tailwater_canary_…`: what became of the lines.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::canary::ledger::Findings;
use crate::metrics::Metrics;

const SECONDS: [f64; 11] = [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct CanaryMetrics {
    written: Counter,
    missing: Counter,
    duplicate: Counter,
    out_of_order: Counter,
    latency: Histogram,
    queries: Family<OutcomeLabels, Counter>,
}

impl Default for CanaryMetrics {
    fn default() -> Self {
        let counter = Counter::default;
        let queries = Family::<OutcomeLabels, Counter>::default();
        ["ok", "error"].into_iter().for_each(|outcome| drop(queries.get_or_create(&OutcomeLabels { outcome })));
        Self {
            written: counter(),
            missing: counter(),
            duplicate: counter(),
            out_of_order: counter(),
            latency: Histogram::new(SECONDS),
            queries,
        }
    }
}

impl CanaryMetrics {
    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register("tailwater_canary_written_lines", "Lines that the canary has written", self.written.clone());
        metrics.register("tailwater_canary_missing_lines", "Lines that are not found though later ones are", self.missing.clone());
        metrics.register("tailwater_canary_duplicate_lines", "Lines that are found more than once", self.duplicate.clone());
        metrics.register(
            "tailwater_canary_out_of_order_lines",
            "Lines that are found before one that was written earlier",
            self.out_of_order.clone(),
        );
        metrics.register(
            "tailwater_canary_read_latency_seconds",
            "Time from writing a line to finding it, looked for once a second",
            self.latency.clone(),
        );
        metrics.register("tailwater_canary_queries", "Queries of the canary, by outcome", self.queries.clone());
    }

    pub(super) fn wrote(&self) {
        self.written.inc();
    }

    pub(super) fn asked(&self, is_answered: bool) {
        let outcome = if is_answered { "ok" } else { "error" };
        self.queries.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(super) fn found(&self, findings: &Findings) {
        findings.latencies.iter().for_each(|latency| self.latency.observe(latency.as_secs_f64()));
        self.missing.inc_by(findings.missing);
        self.duplicate.inc_by(findings.duplicate);
        self.out_of_order.inc_by(findings.out_of_order);
    }
}
