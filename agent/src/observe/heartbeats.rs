//! Whether every loop still turns: each has a beat that it renews, and one that stands still for too long is named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A loop that did not turn for longer is stuck.
const TOLERATED: Duration = Duration::from_secs(30);

type Beats = Mutex<BTreeMap<u64, (String, Arc<AtomicU64>)>>;

/// The beats of all loops.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    began: Instant,
    beats: Arc<Beats>,
    next: AtomicU64,
}

/// One loop's beat; dropped with the loop.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    began: Instant,
    number: u64,
    last: Arc<AtomicU64>,
    beats: Arc<Beats>,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { began: Instant::now(), beats: Arc::default(), next: AtomicU64::new(0) }
    }
}

impl Heartbeats {
    /// A beat for the loop `name`, renewed now.
    pub(crate) fn begin(&self, name: &str) -> Heartbeat {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let last = Arc::new(AtomicU64::new(0));
        self.beats.lock().insert(number, (name.to_owned(), Arc::clone(&last)));
        let beat = Heartbeat { began: self.began, number, last, beats: Arc::clone(&self.beats) };
        beat.renew();
        beat
    }

    /// A loop that stands still at `now`, and for how long.
    pub(crate) fn stuck(&self, now: Instant) -> Option<(String, Duration)> {
        let since_start = now.saturating_duration_since(self.began);
        let beats = self.beats.lock();
        let ages =
            beats.values().map(|(name, last)| (name, since_start.saturating_sub(Duration::from_millis(last.load(Ordering::Relaxed)))));
        ages.filter(|(_, age)| *age > TOLERATED).max_by_key(|(_, age)| *age).map(|(name, age)| (name.clone(), age))
    }
}

impl Heartbeat {
    pub(crate) fn renew(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.beats.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_turn_is_named_until_it_ends() {
        let beats = Heartbeats::default();
        let (first, second) = (beats.begin("scanner"), beats.begin("reader-0"));
        let now = Instant::now();
        assert_eq!(beats.stuck(now), None);
        let later = now + TOLERATED + Duration::from_secs(5);
        second.last.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(beats.stuck(later).map(|(name, _)| name).as_deref(), Some("scanner"));
        drop(first);
        assert_eq!(beats.stuck(later), None);
    }
}
