//! `tailwater_duplicates_merged_total{where}`: entries left out because an identical one was there, read when it is asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::Compactor;

use crate::ingest::buffer::Ingester;
use crate::metrics::Metrics;

struct Duplicates {
    ingester: Ingester,
    compactor: Compactor,
    catalog: Arc<Catalog>,
}

impl fmt::Debug for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duplicates")
    }
}

impl Duplicates {
    /// For good by a flush or a compaction, once that succeeded; while copies lie in different objects, by every question about them.
    fn all(&self) -> [(&'static str, u64); 3] {
        [
            ("flush", self.ingester.metrics().duplicates()),
            ("compaction", self.compactor.counters().duplicates.load(Ordering::Relaxed)),
            ("read", self.catalog.repeated_rows()),
        ]
    }
}

impl Collector for Duplicates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Entries left out because an identical one was there";
        let mut family = encoder.encode_descriptor("tailwater_duplicates_merged", help, None, MetricType::Counter)?;
        for (place, count) in self.all() {
            ConstCounter::new(count).encode(family.encode_family(&[("where", place)])?)?;
        }
        Ok(())
    }
}

/// Adds the metric.
pub fn register(ingester: &Ingester, compactor: &Compactor, catalog: &Arc<Catalog>, metrics: &Metrics) {
    let duplicates = Duplicates { ingester: ingester.clone(), compactor: compactor.clone(), catalog: catalog.clone() };
    metrics.register_collector(Box::new(duplicates));
}
