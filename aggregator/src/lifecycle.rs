//! What `/ready` is answered from: whether this replica is stopping, and when the store last answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shared by the server and `/ready`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    is_stopping: Arc<AtomicBool>,
}

impl Lifecycle {
    /// From now on `/ready` answers 503, so that no new requests are sent here.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}

/// When the store last answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreContact {
    last: Arc<Mutex<Instant>>,
}

/// A store that is silent for longer is in doubt.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

impl Default for StoreContact {
    /// The store answered just now.
    fn default() -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())) }
    }
}

impl StoreContact {
    /// Notes an answer.
    pub fn answered(&self) {
        *self.last.lock() = Instant::now();
    }

    pub fn is_in_doubt(&self) -> bool {
        self.last.lock().elapsed() > LONGEST_SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_is_in_doubt_until_it_answers() {
        let contact = StoreContact::default();
        tokio::time::advance(LONGEST_SILENCE).await;
        assert!(!contact.is_in_doubt());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(contact.is_in_doubt());
        contact.answered();
        assert!(!contact.is_in_doubt());
    }
}
