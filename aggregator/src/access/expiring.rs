//! Answers of the API server that are good for a while: what was allowed longer than what was denied. Bounded; losing one costs a review.

use std::hash::Hash;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

/// How long an answer is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    pub allowed: Duration,
    pub denied: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { allowed: Duration::from_secs(30), denied: Duration::from_secs(10) }
    }
}

/// Answers that are kept.
const CAPACITY: usize = 16_384;

#[derive(Debug)]
pub struct Expiring<K, V> {
    answers: Cache<K, Answer<V>>,
    lifetimes: Lifetimes,
}

#[derive(Debug, Clone)]
struct Answer<V> {
    /// `None`: denied.
    value: Option<V>,
    asked: Instant,
}

impl<K: Hash + Eq, V: Clone> Expiring<K, V> {
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self { answers: Cache::new(CAPACITY), lifetimes }
    }

    /// An answer that is good still and no older than that; within it, `None` is a denial.
    pub fn get(&self, key: &K, oldest: Duration) -> Option<Option<V>> {
        let answer = self.answers.get(key)?;
        let lifetime = if answer.value.is_some() { self.lifetimes.allowed } else { self.lifetimes.denied };
        (answer.asked.elapsed() < lifetime.min(oldest)).then_some(answer.value)
    }

    /// Keeps an answer to a question that was asked at this time.
    pub fn keep(&self, key: K, value: Option<V>, asked: Instant) {
        self.answers.insert(key, Answer { value, asked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn denials_are_forgotten_before_permissions() {
        let lifetimes @ Lifetimes { allowed, denied } = Lifetimes::default();
        let answers = Expiring::new(lifetimes);
        answers.keep("yes", Some(1), Instant::now());
        answers.keep("no", None, Instant::now());
        let seen = |key| answers.get(&key, allowed);
        assert_eq!((seen("yes"), seen("no"), seen("never")), (Some(Some(1)), Some(None), None));
        tokio::time::advance(denied).await;
        assert_eq!((seen("yes"), seen("no")), (Some(Some(1)), None));
        assert_eq!(answers.get(&"yes", denied), None, "a caller may want a newer one");
        tokio::time::advance(allowed - denied).await;
        assert_eq!(seen("yes"), None);
    }
}
