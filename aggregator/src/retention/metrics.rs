//! What is counted of retention and deletion, read when it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::Compactor;

use crate::metrics::Metrics;
use crate::retention::progress::RetentionProgress;

struct RetentionFigures {
    catalog: Arc<Catalog>,
    compactor: Compactor,
    progress: Arc<RetentionProgress>,
}

impl std::fmt::Debug for RetentionFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RetentionFigures")
    }
}

impl RetentionFigures {
    /// Delete requests that are not processed.
    fn pending_requests(&self) -> usize {
        let of_tenant = |tenant| self.catalog.manifest(tenant).tombstones().filter(|request| request.processed_at.is_none()).count();
        self.catalog.tenants().iter().map(of_tenant).sum()
    }
}

impl Collector for RetentionFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = self.compactor.retention_counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, value) in [
            (
                "tailwater_retention_dropped_files",
                "Data files dropped whole: past their retention, over a size, or deleted",
                read(&counters.dropped_files),
            ),
            ("tailwater_retention_dropped_bytes", "Stored bytes of data files dropped whole", read(&counters.dropped_bytes)),
            (
                "tailwater_retention_rewritten_files",
                "Data files rewritten without what is past its retention or deleted",
                read(&counters.rewritten_files),
            ),
            ("tailwater_retention_rewritten_bytes", "Stored bytes of data files that were rewritten", read(&counters.rewritten_bytes)),
            ("tailwater_retention_processed_requests", "Delete requests of which nothing is left", read(&counters.processed_requests)),
            ("tailwater_retention_failures", "Pieces of retention or deletion that failed; they are tried again", read(&counters.failures)),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        for (name, help, value) in [
            (
                "tailwater_retention_pending_files",
                "Data files that wait to be rewritten for their age",
                self.progress.pending_files() as f64,
            ),
            (
                "tailwater_retention_pending_requests",
                "Delete requests that hide lines and are not processed yet",
                self.pending_requests() as f64,
            ),
            (
                "tailwater_retention_held",
                "1 while nothing is dropped for its age because the clock jumped",
                f64::from(self.progress.is_held()),
            ),
            (
                "tailwater_retention_last_success_timestamp_seconds",
                "When all retention and deletion that was due had been done",
                self.progress.last_success_seconds(),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// Adds the metrics of retention and deletion.
pub fn register(catalog: &Arc<Catalog>, compactor: &Compactor, progress: &Arc<RetentionProgress>, metrics: &Metrics) {
    let figures = RetentionFigures { catalog: catalog.clone(), compactor: compactor.clone(), progress: progress.clone() };
    metrics.register_collector(Box::new(figures));
}
