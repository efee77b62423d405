//! How many bytes a tenant may push in a second: a token bucket per tenant.
//!
//! A push that does not fit is refused whole and takes no tokens. Buckets that have filled up again carry no information and
//! are dropped, so that made-up tenants leave nothing behind.

use std::collections::HashMap;

use parking_lot::Mutex;
use tailwater_storage::entry::TenantId;

use crate::limits::IngestionRate;

/// Refused by the limiter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "ingestion rate limit exceeded for user {tenant} (limit: {limit} bytes/sec) while attempting to ingest '{lines}' lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased"
)]
pub struct RateExceeded {
    pub tenant: TenantId,
    /// Bytes a second.
    pub limit: u64,
    pub lines: usize,
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub struct RateLimiter {
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    /// Nanoseconds since the epoch.
    filled_at: i64,
    rate: IngestionRate,
}

impl Bucket {
    fn fill(&mut self, now: i64) {
        let seconds = now.saturating_sub(self.filled_at).max(0) as f64 / 1e9;
        self.tokens = (self.tokens + seconds * self.rate.bytes_per_second).min(self.rate.burst_bytes);
        self.filled_at = self.filled_at.max(now);
    }
}

/// More buckets than that and the full ones go.
const BUCKETS: usize = 1024;

impl RateLimiter {
    /// Takes `bytes` from the tenant's bucket at `now` (nanoseconds since the epoch).
    pub fn take(&self, tenant: &TenantId, rate: IngestionRate, lines: usize, bytes: u64, now: i64) -> Result<(), RateExceeded> {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS && !buckets.contains_key(tenant) {
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.tokens < bucket.rate.burst_bytes
            });
        }
        let full = Bucket { tokens: rate.burst_bytes, filled_at: now, rate };
        let bucket = buckets.entry(tenant.clone()).or_insert(full);
        bucket.fill(now);
        if bytes as f64 > bucket.tokens {
            return Err(RateExceeded { tenant: tenant.clone(), limit: rate.bytes_per_second as u64, lines, bytes });
        }
        bucket.tokens -= bytes as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: IngestionRate = IngestionRate { bytes_per_second: 100.0, burst_bytes: 200.0 };

    #[test]
    fn a_bucket_empties_and_fills() {
        let (limiter, tenant) = (RateLimiter::default(), TenantId::new("t"));
        let take = |bytes, second: i64| limiter.take(&tenant, RATE, 3, bytes, second * 1_000_000_000);
        assert_eq!(take(200, 0), Ok(()));
        assert_eq!(
            take(1, 0).expect_err("empty").to_string(),
            "ingestion rate limit exceeded for user t (limit: 100 bytes/sec) while attempting to ingest '3' lines totaling '1' bytes, \
             reduce log volume or contact your Loki administrator to see if the limit can be increased"
        );
        assert_eq!(take(100, 1), Ok(()));
        assert!(take(201, 60).is_err(), "more than the burst never fits");
        assert_eq!(take(200, 60), Ok(()));
        assert_eq!(limiter.take(&TenantId::new("other"), RATE, 1, 200, 0), Ok(()));
    }

    #[test]
    fn made_up_tenants_leave_nothing_behind() {
        let limiter = RateLimiter::default();
        for number in 0..10 * BUCKETS as i64 {
            let tenant = TenantId::new(&format!("t{number}"));
            assert_eq!(limiter.take(&tenant, RATE, 1, 1, number * 1_000_000_000), Ok(()));
        }
        assert!(limiter.buckets.lock().len() <= BUCKETS + 1);
    }
}
