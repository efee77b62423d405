//! How often a task of this process panicked: each time is a mistake of ours, which the request in question pays for and nobody else.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::metrics::Metrics;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts from now on; what is printed of a panic stays as it is. To be called once.
pub fn count() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        print(panic);
    }));
}

#[derive(Debug)]
struct PanicFigure;

impl Collector for PanicFigure {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new(PANICS.load(Ordering::Relaxed));
        let metric = encoder.encode_descriptor("loki_panic", "Tasks that panicked", None, counter.metric_type())?;
        counter.encode(metric)
    }
}

/// Adds the metric.
pub fn register(metrics: &Metrics) {
    metrics.register_collector(Box::new(PanicFigure));
}
