//! Which pieces of background work fail at the moment.
//!
//! Each is told once, when it begins to fail, and tried again after a pause; the others go on meanwhile. One that works again is told too.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// After a failure, before the next attempt.
const PAUSE: Duration = Duration::from_secs(5);

/// By piece, when it may be tried again.
#[derive(Debug)]
pub(super) struct Troubles<P> {
    failing: HashMap<P, Instant>,
}

impl<P: Hash + Eq + Display> Troubles<P> {
    pub(super) fn new() -> Self {
        Self { failing: HashMap::new() }
    }

    /// Whether a piece failed a moment ago.
    pub(super) fn waits(&self, piece: &P) -> bool {
        self.failing.get(piece).is_some_and(|until| Instant::now() < *until)
    }

    /// Whether any of these pieces failed when it was last tried.
    pub(super) fn any(&self, is_meant: impl Fn(&P) -> bool) -> bool {
        self.failing.keys().any(is_meant)
    }

    /// Takes note of an outcome; a failure is `None`.
    pub(super) fn note<T>(&mut self, piece: P, outcome: Result<T, impl Display>) -> Option<T> {
        match outcome {
            Ok(value) => {
                if self.failing.remove(&piece).is_some() {
                    tracing::info!("{piece} works again");
                }
                Some(value)
            }
            Err(error) => {
                if !self.failing.contains_key(&piece) {
                    tracing::warn!(%error, "{piece} failed; it is tried again, nothing is lost");
                }
                self.failing.insert(piece, Instant::now() + PAUSE);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_failed_waits_and_nothing_else_does() {
        let mut troubles = Troubles::new();
        assert_eq!(troubles.note("fold a", Err::<(), _>("no")), None);
        assert!(troubles.waits(&"fold a") && !troubles.waits(&"fold b"));
        assert!(troubles.any(|piece| piece.starts_with("fold")) && !troubles.any(|piece| piece.starts_with("merge")));
        tokio::time::advance(PAUSE).await;
        assert!(!troubles.waits(&"fold a") && troubles.any(|_| true), "it has not worked yet");
        assert_eq!(troubles.note("fold a", Ok::<_, String>(3)), Some(3));
        assert!(!troubles.waits(&"fold a") && !troubles.any(|_| true));
    }
}
