//! A token bucket: so many a second, and a burst that may come at once.

use std::time::{Duration, Instant};

/// Tokens, some of them lent out in advance.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    /// A second.
    rate: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl TokenBucket {
    pub(crate) fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, last: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = self.last.max(now);
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
    }

    /// Takes a token if there is one.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        self.refill(now);
        let is_there = self.tokens >= 1.0;
        if is_there {
            self.tokens -= 1.0;
        }
        is_there
    }

    /// Takes a token in any case; returns how long to wait until it is there.
    pub(crate) fn reserve(&mut self, now: Instant) -> Duration {
        self.reserve_many(1, now)
    }

    /// Whether it owes nothing.
    pub(crate) fn has_tokens(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens > 0.0
    }

    /// The same for many tokens at once, more than the burst if need be.
    pub(crate) fn reserve_many(&mut self, count: u64, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= count as f64;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::try_from_secs_f64(-self.tokens / self.rate).unwrap_or(Duration::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(2.0, 3.0, start);
        let allowed: Vec<bool> = (0..4).map(|_| bucket.allow(start)).collect();
        assert_eq!(allowed, [true, true, true, false]);
        assert!(bucket.allow(start + Duration::from_millis(500)));
        assert!(!bucket.allow(start + Duration::from_millis(600)));
    }

    #[test]
    fn reservations_wait_their_turn() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(2.0, 1.0, start);
        let waits: Vec<u128> = (0..3).map(|_| bucket.reserve(start).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000]);
    }
}
