//! How fast one agent asks one receiver: requests under way at once, and the time between them.
//!
//! While the receiver does not answer, one request probes it. Afterwards one more is allowed with every answer, and the time between requests is halved
//! with each from that of the first wait. After an outage that fleets notice together, an agent asks at most twice as often as before it, for a
//! while: what waited goes in fuller requests instead of more of them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An outage as long as this lets all agents come back at once.
const LONG_OUTAGE: Duration = Duration::from_secs(10);
/// How long an agent holds back after it.
const RECOVERY: Duration = Duration::from_secs(60);
/// The longest time between two requests while there is something to send and the receiver answers.
const MAX_PACE: Duration = Duration::from_secs(1);
/// Shorter times are not kept.
const MIN_PACE: Duration = Duration::from_millis(2);

/// What is allowed at a moment. Pure.
#[derive(Debug)]
struct Pacing {
    /// At most so many requests at once.
    most: usize,
    allowed: usize,
    /// Between two requests; zero: none.
    pace: Duration,
    first_pace: Duration,
    last_start: Option<Instant>,
    /// Between two requests in good times, on average.
    usual: Option<Duration>,
    down_since: Option<Instant>,
    recovers_until: Option<Instant>,
}

impl Pacing {
    fn new(most: usize, first_pace: Duration) -> Self {
        Self {
            most,
            allowed: most,
            pace: Duration::ZERO,
            first_pace: first_pace.min(MAX_PACE),
            last_start: None,
            usual: None,
            down_since: None,
            recovers_until: None,
        }
    }

    /// How long a request must wait that would begin now, with `under_way` others; `None`: until one of them has ended.
    fn wait(&self, under_way: usize, now: Instant) -> Option<Duration> {
        if under_way >= self.allowed {
            return None;
        }
        let earliest = self.last_start.map_or(now, |last| last + self.pace_at(now));
        Some(earliest.saturating_duration_since(now))
    }

    fn pace_at(&self, now: Instant) -> Duration {
        let recovering = self.recovers_until.is_some_and(|until| now < until);
        let usual = self.usual.filter(|_| recovering).map_or(Duration::ZERO, |usual| (usual / 2).min(MAX_PACE));
        self.pace.max(usual)
    }

    fn begin(&mut self, now: Instant) {
        if let Some(last) = self.last_start.filter(|_| self.down_since.is_none() && self.pace_at(now).is_zero()) {
            let since = now.saturating_duration_since(last);
            self.usual = Some(self.usual.map_or(since, |usual| usual.mul_f64(0.9) + since.mul_f64(0.1)));
        }
        self.last_start = Some(now);
    }

    fn succeed(&mut self, now: Instant) {
        if self.down_since.take().is_some_and(|since| now.saturating_duration_since(since) >= LONG_OUTAGE) {
            self.recovers_until = Some(now + RECOVERY);
        }
        self.allowed = (self.allowed + 1).min(self.most);
        self.pace /= 2;
        if self.pace < MIN_PACE {
            self.pace = Duration::ZERO;
        }
    }

    fn fail(&mut self, now: Instant) {
        self.down_since.get_or_insert(now);
        self.allowed = 1;
        self.pace = self.first_pace;
    }
}

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<(Pacing, usize)>,
    changed: Notify,
}

/// A request that may be under way.
pub(crate) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state.lock().1 -= 1;
        self.0.changed.notify_waiters();
    }
}

impl Gate {
    /// For at most `most` requests at once; after a failure the second follows the first no sooner than `first_pace`.
    pub(crate) fn new(most: usize, first_pace: Duration) -> Self {
        Self { state: Mutex::new((Pacing::new(most.max(1), first_pace), 0)), changed: Notify::new() }
    }

    /// Waits until a request may begin.
    pub(crate) async fn enter(&self) -> Pass<'_> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let wait = {
                let mut state = self.state.lock();
                let now = Instant::now();
                let wait = state.0.wait(state.1, now);
                if wait == Some(Duration::ZERO) {
                    state.0.begin(now);
                    state.1 += 1;
                    return Pass(self);
                }
                wait
            };
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep(wait.unwrap_or(MAX_PACE)) => {}
            }
        }
    }

    /// The receiver answered.
    pub(crate) fn succeeded(&self) {
        self.state.lock().0.succeed(Instant::now());
        self.changed.notify_waiters();
    }

    /// No answer came, or one that says that the receiver cannot serve anyone now.
    pub(crate) fn failed(&self) {
        self.state.lock().0.fail(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::backoff::{Backoff, BackoffBounds};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_request_probes_and_each_answer_allows_one_more() {
        let start = Instant::now();
        let mut pacing = Pacing::new(3, SECOND / 2);
        assert_eq!((pacing.wait(2, start), pacing.wait(3, start)), (Some(Duration::ZERO), None));
        pacing.begin(start);
        pacing.fail(start);
        assert_eq!((pacing.wait(1, start), pacing.wait(0, start)), (None, Some(SECOND / 2)));
        let later = start + SECOND;
        pacing.begin(later);
        pacing.succeed(later);
        assert_eq!((pacing.wait(1, later), pacing.wait(2, later)), (Some(SECOND / 4), None));
        for _ in 0..20 {
            pacing.succeed(later);
        }
        assert_eq!((pacing.wait(2, later), pacing.wait(3, later)), (Some(Duration::ZERO), None));
    }

    /// Case 56: 500 agents that sent a request a second come back after ten minutes, each with more to send than it can.
    #[test]
    fn a_fleet_that_comes_back_asks_at_most_twice_as_often_as_before() {
        const AGENTS: u32 = 500;
        const ANSWER: Duration = Duration::from_millis(20);
        let start = Instant::now();
        let (down, up) = (start + SECOND * 60, start + SECOND * 660);
        let mut asked = vec![0_u32; 1000];
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from((seed >> 33) as u32) / f64::from(u32::MAX >> 1)
        };
        for agent in 0..AGENTS {
            let mut pacing = Pacing::new(2, SECOND / 2);
            let mut backoff = Backoff::new(BackoffBounds::default());
            let mut now = start + SECOND * agent / AGENTS;
            while now < start + SECOND * 900 {
                asked[usize::try_from((now - start).as_secs()).unwrap()] += 1;
                pacing.begin(now);
                if (down..up).contains(&now) {
                    pacing.fail(now);
                    now += backoff.next_wait(random());
                    now += pacing.wait(0, now).unwrap();
                    continue;
                }
                now += ANSWER;
                pacing.succeed(now);
                backoff = Backoff::new(BackoffBounds::default());
                // Before the outage a batch a second; after it there is always another one.
                now += if now < down { SECOND - ANSWER } else { pacing.wait(0, now).unwrap() };
            }
        }
        let before = asked[30];
        let at_once = usize::try_from((up - start).as_secs()).unwrap();
        let after = &asked[at_once..at_once + 60];
        assert_eq!(before, AGENTS);
        // Seconds are counted as they fall: a few of the next one may be among them.
        assert!(after.iter().all(|count| *count <= 2 * before + before / 50), "{after:?}");
        assert!(after[..5].iter().all(|count| *count <= before), "it begins slowly: {after:?}");
        assert!(after[40..].iter().sum::<u32>() > 20 * before, "and does come back: {after:?}");
        let probes = asked[120..at_once].iter().max();
        assert!(probes < Some(&(before / 2)), "{probes:?}");
    }
}
