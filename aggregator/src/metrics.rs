//! Metrics: registered once here, handed to those who count.
//!
//! Our names begin with `tailwater_`; where dashboards made for Loki look for a name, the same numbers stand under that name
//! too. Label sets are closed but for the tenant, which a request names and which is validated before it is counted.
//! `received_bytes` divided by `received_lines` is the mean length of a line, metadata included.

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use tailwater_storage::entry::TenantId;

/// The version of Loki whose behaviour this is; Grafana asks for it.
pub const LOKI_VERSION: &str = "3.7.6";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub route: String,
    pub method: String,
    pub status_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TenantLabels {
    pub tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DiscardLabels {
    pub tenant: String,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BudgetLabels {
    pub budget: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VersionLabels {
    pub version: &'static str,
}

/// The handles of everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    pub request_duration: Family<RequestLabels, Histogram>,
    pub received_lines: Family<TenantLabels, Counter>,
    pub received_bytes: Family<TenantLabels, Counter>,
    pub discarded_lines: Family<DiscardLabels, Counter>,
    pub discarded_bytes: Family<DiscardLabels, Counter>,
    /// Bytes that were no UTF-8 and became U+FFFD.
    pub replaced_bytes: Family<TenantLabels, Counter>,
    pub memory_bytes: Family<BudgetLabels, Gauge>,
    pub memory_limit_bytes: Family<BudgetLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            received_lines: Family::default(),
            received_bytes: Family::default(),
            discarded_lines: Family::default(),
            discarded_bytes: Family::default(),
            replaced_bytes: Family::default(),
            memory_bytes: Family::default(),
            memory_limit_bytes: Family::default(),
        };
        metrics.register_all();
        metrics
    }
}

const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Metrics {
    fn register_all(&self) {
        for prefix in ["tailwater", "loki"] {
            let name = format!("{prefix}_request_duration_seconds");
            self.register(&name, "Time from request to the head of its answer", self.request_duration.clone());
        }
        self.register("tailwater_received_lines", "Lines of accepted entries", self.received_lines.clone());
        self.register("loki_distributor_lines_received", "Lines of accepted entries", self.received_lines.clone());
        self.register("tailwater_received_bytes", "Bytes of accepted lines and metadata", self.received_bytes.clone());
        self.register("loki_distributor_bytes_received", "Bytes of accepted lines and metadata", self.received_bytes.clone());
        self.register("tailwater_discarded_lines", "Lines refused, by reason", self.discarded_lines.clone());
        self.register("loki_discarded_samples", "Lines refused, by reason", self.discarded_lines.clone());
        self.register("loki_discarded_bytes", "Bytes of lines refused, by reason", self.discarded_bytes.clone());
        self.register("tailwater_replaced_bytes", "Bytes that were no UTF-8 and became U+FFFD", self.replaced_bytes.clone());
        self.register("tailwater_memory_bytes", "Bytes in use of each memory budget", self.memory_bytes.clone());
        self.register("tailwater_memory_limit_bytes", "Bytes of each memory budget", self.memory_limit_bytes.clone());
        for (name, version) in [("tailwater_build_info", env!("CARGO_PKG_VERSION")), ("loki_build_info", LOKI_VERSION)] {
            let info: Family<VersionLabels, Gauge> = Family::default();
            info.get_or_create(&VersionLabels { version }).set(1);
            self.register(name, "1, with the version", info);
        }
    }

    /// Adds a metric of another module. Counters get `_total` by themselves.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry.lock().register(name, help, metric);
    }

    /// Adds metrics that are computed when they are asked for.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.registry.lock().register_collector(collector);
    }

    pub fn tenant(tenant: &TenantId) -> TenantLabels {
        TenantLabels { tenant: tenant.to_string() }
    }

    /// The budget's gauge of bytes in use; notes its limit.
    pub fn budget(&self, budget: &'static str, limit: usize) -> Gauge {
        let labels = BudgetLabels { budget };
        self.memory_limit_bytes.get_or_create(&labels).set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.memory_bytes.get_or_create(&labels).clone()
    }

    /// Everything as text, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        encode(&mut out, &self.registry.lock()).expect("writing to memory cannot fail");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_our_names_and_lokis() {
        let metrics = Metrics::default();
        let tenant = Metrics::tenant(&TenantId::new("t"));
        metrics.received_lines.get_or_create(&tenant).inc_by(3);
        let labels = DiscardLabels { tenant: "t".to_owned(), reason: "line_too_long" };
        metrics.discarded_lines.get_or_create(&labels).inc();
        let request = RequestLabels { route: "loki_api_v1_push".to_owned(), method: "POST".to_owned(), status_code: 204 };
        metrics.request_duration.get_or_create(&request).observe(0.02);
        metrics.budget("push", 100).set(7);
        let text = metrics.text();
        for line in [
            "tailwater_received_lines_total{tenant=\"t\"} 3",
            "loki_distributor_lines_received_total{tenant=\"t\"} 3",
            "tailwater_discarded_lines_total{tenant=\"t\",reason=\"line_too_long\"} 1",
            "loki_discarded_samples_total{tenant=\"t\",reason=\"line_too_long\"} 1",
            "tailwater_request_duration_seconds_count{route=\"loki_api_v1_push\",method=\"POST\",status_code=\"204\"} 1",
            "loki_request_duration_seconds_count{route=\"loki_api_v1_push\",method=\"POST\",status_code=\"204\"} 1",
            "tailwater_memory_bytes{budget=\"push\"} 7",
            "tailwater_memory_limit_bytes{budget=\"push\"} 100",
            "loki_build_info{version=\"3.7.6\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
