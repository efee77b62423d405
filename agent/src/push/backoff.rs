//! Exponential backoff with full jitter, reset by success.

use std::time::Duration;

/// Bounds of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffBounds {
    /// Bound of the first wait.
    pub min_period: Duration,
    /// Bound of every wait.
    pub max_period: Duration,
    /// Attempts before a batch is dropped; 0 is without end, since the files are the buffer.
    pub max_retries: u32,
}

impl Default for BackoffBounds {
    fn default() -> Self {
        Self { min_period: Duration::from_millis(500), max_period: Duration::from_secs(60), max_retries: 0 }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    bounds: BackoffBounds,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(bounds: BackoffBounds) -> Self {
        Self { bounds, attempts: 0 }
    }

    /// The wait before the next attempt: `random` (0 to 1) of a bound that doubles each time.
    pub(crate) fn next_wait(&mut self, random: f64) -> Duration {
        let doubled = self.bounds.min_period.saturating_mul(1 << self.attempts.min(20));
        self.attempts = self.attempts.saturating_add(1);
        doubled.min(self.bounds.max_period).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Whether the attempts are used up.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.bounds.max_retries > 0 && self.attempts >= self.bounds.max_retries
    }
}

/// A random number from 0 to 1.
pub(crate) fn random() -> f64 {
    // Without the system's randomness the waits are merely not spread.
    let value = getrandom::u32().unwrap_or(u32::MAX);
    f64::from(value) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let bounds = BackoffBounds { min_period: Duration::from_millis(500), max_period: Duration::from_secs(3), max_retries: 4 };
        let mut backoff = Backoff::new(bounds);
        let waits: Vec<_> = (0..4).map(|_| backoff.next_wait(1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 3000]);
        assert!(backoff.is_exhausted());
        assert_eq!(backoff.next_wait(0.0), Duration::ZERO);
        assert_eq!(backoff.next_wait(0.5).as_millis(), 1500);
    }

    #[test]
    fn without_a_limit_attempts_never_end() {
        let mut backoff = Backoff::new(BackoffBounds::default());
        for _ in 0..100 {
            assert!(backoff.next_wait(1.0) <= Duration::from_secs(60));
        }
        assert!(!backoff.is_exhausted());
    }
}
