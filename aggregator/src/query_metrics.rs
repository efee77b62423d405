//! What is counted of queries, read when it is asked for.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tailwater_engine::Engine;

use crate::metrics::Metrics;

#[derive(Debug)]
struct QueryFigures(Engine);

impl Collector for QueryFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let results = self.0.result_counters();
        for (name, help, value) in [
            ("tailwater_result_cache_hits", "Pieces of metric queries whose results were kept from an earlier query", results.hits),
            ("tailwater_result_cache_misses", "Pieces of metric queries that had to be computed", results.misses),
            (
                "tailwater_query_restarts",
                "Times that a query was begun again, because an object that it wanted to read had been replaced and deleted",
                self.0.restarted(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let (held, limit) = self.0.memory_bytes();
        for (name, help, value) in [
            ("tailwater_query_memory_bytes", "Bytes of memory that running queries hold", held as u64),
            ("tailwater_query_memory_limit_bytes", "Bytes of memory that running queries may hold together", limit as u64),
            ("tailwater_query_spilled_bytes", "Bytes that running queries have on disk for want of memory", self.0.spilled_bytes()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// Adds the metrics of an engine.
pub fn register(engine: &Engine, metrics: &Metrics) {
    metrics.register_collector(Box::new(QueryFigures(engine.clone())));
}
