//! The waits after a failed request of a watch: jittered, doubling up to a minute.
//!
//! Already the first is spread over ten seconds: when an API server comes back, the agents of all nodes lost it at the same moment.

use std::time::Duration;

use kube::runtime::utils::Backoff;

use crate::push::backoff::random;

/// The shortest wait.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) struct WatchBackoff {
    /// Bound of the first wait.
    spread: Duration,
    failures: u32,
}

impl WatchBackoff {
    pub(crate) fn new(spread: Duration) -> Self {
        Self { spread, failures: 0 }
    }

    /// The next wait: at `random` (0 to 1) between the shortest and a bound that doubles each time.
    fn wait(&mut self, random: f64) -> Duration {
        let bound = self.spread.saturating_mul(1 << self.failures.min(16)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        let least = LEAST.min(bound / 2);
        least + (bound - least).mul_f64(random.clamp(0.0, 1.0))
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.wait(random()))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_a_second_to_a_minute_and_spread_from_the_first_one() {
        let mut backoff = WatchBackoff::new(Duration::from_secs(10));
        let longest: Vec<u64> = (0..5).map(|_| backoff.wait(1.0).as_secs()).collect();
        assert_eq!(longest, [10, 20, 40, 60, 60]);
        assert_eq!(backoff.wait(0.0), LEAST);
        backoff.reset();
        assert_eq!(backoff.wait(0.5), Duration::from_millis(5500));
    }

    #[test]
    fn five_hundred_agents_that_lose_the_server_together_ask_it_one_after_another() {
        let mut by_second = [0; 11];
        for agent in 0..500 {
            // Any spread of random numbers; these are even.
            let wait = WatchBackoff::new(Duration::from_secs(10)).wait(f64::from(agent) / 500.0);
            by_second[usize::try_from(wait.as_secs()).unwrap()] += 1;
        }
        assert!(by_second[0] == 0 && by_second[1..10].iter().all(|count| *count <= 56), "{by_second:?}");
    }
}
