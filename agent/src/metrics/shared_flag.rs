//! A gauge that is 1 while anybody says so: several scanners run where there are several receivers.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::metrics::gauge::Gauge;

#[derive(Debug, Default)]
pub(crate) struct SharedFlag {
    gauge: Gauge,
    raised: AtomicI64,
}

impl SharedFlag {
    /// Makes `own`, which is what one of them says, `now`.
    pub(crate) fn change(&self, own: &mut bool, now: bool) {
        let change = i64::from(now) - i64::from(std::mem::replace(own, now));
        let raised = self.raised.fetch_add(change, Ordering::AcqRel) + change;
        self.gauge.set(i64::from(raised > 0));
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_until_the_last_one_lowers_it() {
        let (flag, mut one, mut other) = (SharedFlag::default(), false, false);
        flag.change(&mut one, true);
        flag.change(&mut other, true);
        flag.change(&mut one, false);
        flag.change(&mut one, false);
        assert_eq!(flag.gauge().get(), 1);
        flag.change(&mut other, false);
        assert_eq!(flag.gauge().get(), 0);
    }
}
