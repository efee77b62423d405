//! What is counted of flushes.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::ingest::buffer::Ingester;
use crate::metrics::Metrics;

const PUT_SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 8.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// The handles of the flusher; since the start of the process.
#[derive(Debug)]
pub struct FlushMetrics {
    puts: Family<OutcomeLabels, Counter>,
    put_seconds: Histogram,
    segment_bytes: Counter,
    duplicates: Counter,
}

impl Default for FlushMetrics {
    fn default() -> Self {
        let metrics = Self {
            puts: Family::default(),
            put_seconds: Histogram::new(PUT_SECONDS),
            segment_bytes: Counter::default(),
            duplicates: Counter::default(),
        };
        // Alerts divide by these: they are there from the start.
        drop(metrics.puts.get_or_create(&OutcomeLabels { outcome: "ok" }));
        drop(metrics.puts.get_or_create(&OutcomeLabels { outcome: "failed" }));
        metrics
    }
}

impl FlushMetrics {
    pub(super) fn stored(&self, bytes: u64, seconds: f64, duplicates: u64) {
        self.puts.get_or_create(&OutcomeLabels { outcome: "ok" }).inc();
        self.put_seconds.observe(seconds);
        self.segment_bytes.inc_by(bytes);
        self.duplicates.inc_by(duplicates);
    }

    /// Repetitions that were left out of segments.
    pub fn duplicates(&self) -> u64 {
        self.duplicates.get()
    }

    pub(super) fn failed(&self) {
        self.puts.get_or_create(&OutcomeLabels { outcome: "failed" }).inc();
    }

    /// Segments stored.
    pub fn segments_stored(&self) -> u64 {
        self.puts.get_or_create(&OutcomeLabels { outcome: "ok" }).get()
    }
}

/// The age of what waits, as it is when it is asked for.
#[derive(Debug)]
struct FlushAge(Ingester);

impl Collector for FlushAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let age = ConstGauge::new(self.0.oldest_waiting().as_secs_f64());
        let help = "Age of the oldest entry that is not stored";
        let metric = encoder.encode_descriptor("tailwater_segment_flush_age_seconds", help, None, age.metric_type())?;
        age.encode(metric)
    }
}

/// Adds the metrics of an ingester.
pub fn register(ingester: &Ingester, metrics: &Metrics) {
    let flush = ingester.metrics();
    metrics.register("tailwater_segment_puts", "Segments by what became of their PUT", flush.puts.clone());
    metrics.register("tailwater_segment_put_seconds", "Time of a segment's PUT, retries included", flush.put_seconds.clone());
    metrics.register("tailwater_segment_bytes", "Bytes of stored segments", flush.segment_bytes.clone());
    metrics.register_collector(Box::new(FlushAge(ingester.clone())));
}
