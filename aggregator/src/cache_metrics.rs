//! `tailwater_cache_bytes{cache}`: what is kept so that it need not be read or computed again, read when it is asked for.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tailwater_engine::Engine;
use tailwater_storage::catalog::Catalog;

use crate::metrics::Metrics;

struct CacheFigures {
    catalog: Arc<Catalog>,
    engine: Engine,
}

impl fmt::Debug for CacheFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheFigures")
    }
}

impl CacheFigures {
    /// The disk's is there only with a folder for it.
    fn all(&self) -> Vec<(&'static str, u64)> {
        let mut caches = vec![
            ("footers_and_indexes", self.catalog.cached_bytes()),
            ("recent_rows", self.catalog.recent_bytes() as u64),
            ("results", self.engine.result_counters().bytes),
        ];
        caches.extend(self.catalog.store().disk_cache_figures().map(|disk| ("disk", disk.bytes)));
        caches
    }
}

impl Collector for CacheFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Bytes that are kept so that they need not be read or computed again";
        let mut family = encoder.encode_descriptor("tailwater_cache_bytes", help, None, MetricType::Gauge)?;
        for (cache, bytes) in self.all() {
            ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX)).encode(family.encode_family(&[("cache", cache)])?)?;
        }
        Ok(())
    }
}

/// Adds the metrics of all caches.
pub fn register(catalog: &Arc<Catalog>, engine: &Engine, metrics: &Metrics) {
    metrics.register_collector(Box::new(CacheFigures { catalog: catalog.clone(), engine: engine.clone() }));
}
