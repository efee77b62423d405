//! A gauge of what there is at a moment.

use prometheus_client::metrics::gauge::Gauge;

/// Is counted as long as it lives, however it ends: a request may be given up.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(crate) fn in_gauge(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
