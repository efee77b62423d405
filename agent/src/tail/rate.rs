//! Limits of one container's lines: reading pauses, the file being the buffer, or what is beyond is dropped and counted.
//!
//! What was read is taken from the bucket, into debt if need be, so that a chunk may be larger than a second's worth and the average still holds. Dropping
//! depends on the clock: a line dropped before a crash may be sent after it, once.

use std::time::{Duration, Instant};

use crate::pipeline::TokenBucket;

/// What a container may write a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// 0: no limit.
    pub bytes: u64,
    /// 0: no limit.
    pub lines: u64,
    /// Lines beyond are dropped, instead of read later.
    pub drops: bool,
}

/// Buckets of one container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerRate {
    bytes: Option<TokenBucket>,
    lines: Option<TokenBucket>,
    now: Instant,
    /// Lines dropped and not yet counted.
    denied: u64,
}

impl ContainerRate {
    /// For a container that is limited at all. A second's worth may come at once.
    pub(crate) fn new(limit: RateLimit, now: Instant) -> Option<Box<Self>> {
        let bucket = |rate: u64| (rate > 0).then(|| TokenBucket::new(rate as f64, rate as f64, now));
        let (bytes, lines) = (bucket(limit.bytes), bucket(limit.lines));
        (bytes.is_some() || lines.is_some()).then(|| Box::new(Self { bytes, lines, now, denied: 0 }))
    }

    /// Takes what was read; returns how long reading should pause.
    pub(crate) fn take(&mut self, bytes: u64, lines: u64, now: Instant) -> Duration {
        let wait =
            |bucket: &mut Option<TokenBucket>, count| bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.reserve_many(count, now));
        wait(&mut self.bytes, bytes).max(wait(&mut self.lines, lines))
    }

    /// The time of the turn in which lines are asked for.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Whether a line of `bytes` may be sent; one that may not is counted.
    pub(crate) fn allows(&mut self, bytes: usize) -> bool {
        let now = self.now;
        let has_room = |bucket: &mut Option<TokenBucket>| bucket.as_mut().is_none_or(|bucket| bucket.has_tokens(now));
        let is_allowed = has_room(&mut self.bytes) && has_room(&mut self.lines);
        if is_allowed {
            self.take(bytes as u64, 1, now);
        } else {
            self.denied += 1;
        }
        is_allowed
    }

    /// Lines dropped since the last call.
    pub(crate) fn take_denied(&mut self) -> u64 {
        std::mem::take(&mut self.denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_limits_there_is_nothing_to_ask() {
        assert!(ContainerRate::new(RateLimit::default(), Instant::now()).is_none());
    }

    #[test]
    fn a_large_read_is_paid_for_by_a_pause() {
        let now = Instant::now();
        let mut rate = ContainerRate::new(RateLimit { bytes: 1000, lines: 0, drops: false }, now).unwrap();
        assert_eq!(rate.take(1000, 10, now), Duration::ZERO);
        assert_eq!(rate.take(3000, 10, now), Duration::from_secs(3));
        assert_eq!(rate.take(0, 0, now + Duration::from_secs(3)), Duration::ZERO);
    }

    #[test]
    fn lines_beyond_the_rate_are_denied_and_counted() {
        let now = Instant::now();
        let mut rate = ContainerRate::new(RateLimit { bytes: 0, lines: 3, drops: true }, now).unwrap();
        let allowed = (0..10).filter(|_| rate.allows(100)).count();
        assert_eq!((allowed, rate.take_denied(), rate.take_denied()), (3, 7, 0));
        rate.set_now(now + Duration::from_secs(1));
        assert_eq!((0..10).filter(|_| rate.allows(100)).count(), 3);
    }
}
