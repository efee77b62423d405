//! Create-only puts of names that several authors want at once, such as the next manifest version.
//!
//! Other than with [`Store::create`], an object of equal length may be somebody else's, so "taken" is never success here: the caller
//! looks at what the object says. The same bytes are put again until one of the two outcomes is certain, since an attempt without an
//! answer may land later, and other bytes under the same name could then lose to it unnoticed.

use std::time::Duration;

use bytes::Bytes;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::store::Store;
use crate::store::retry::{Attempts, may_pass};

/// What became of a contended put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contended {
    /// The object is there and it is ours.
    Stored,
    /// An object is there: another author's, or ours from an attempt whose answer was lost. Its content tells.
    Taken,
    /// Neither could be found out in time; the object may still land.
    Unknown { reason: String },
}

impl Store {
    /// Stores `bytes` under `key` unless the name is taken.
    pub async fn create_contended(&self, key: &str, bytes: Bytes, timeout: Duration) -> Contended {
        let path = self.path(key);
        let mut attempts = Attempts::until(timeout);
        loop {
            let put = self.objects.put_opts(&path, PutPayload::from(bytes.clone()), PutOptions::from(PutMode::Create));
            let reason = match attempts.run(put).await {
                Ok(_) => return Contended::Stored,
                // The library says the same for 412 (it is there) and 409 (another attempt is under way, its end unknown): look.
                Err(Error::AlreadyExists { .. }) => match attempts.run(self.objects.head(&path)).await {
                    Ok(_) => return Contended::Taken,
                    Err(Error::NotFound { .. }) => "the store says that it exists, but does not show it".to_owned(),
                    Err(error) if may_pass(&error) => error.to_string(),
                    Err(error) => return Contended::Unknown { reason: error.to_string() },
                },
                Err(error) if may_pass(&error) => error.to_string(),
                Err(error) => return Contended::Unknown { reason: error.to_string() },
            };
            if !attempts.wait().await {
                return Contended::Unknown { reason };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};

    use super::*;

    const KEY: &str = "v1/t/manifest/1.pb";
    const PATIENCE: Duration = Duration::from_secs(5);

    fn faulty() -> (FaultStore, Store) {
        let faults = FaultStore::new(Arc::new(InMemory::new()));
        (faults.clone(), Store::new(Arc::new(faults), "p"))
    }

    async fn put(store: &Store, bytes: &'static [u8]) -> Contended {
        store.create_contended(KEY, Bytes::from_static(bytes), PATIENCE).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_of_equal_length_is_not_taken_for_our_own() {
        let (_, store) = faulty();
        assert_eq!(put(&store, b"one").await, Contended::Stored);
        assert_eq!(put(&store, b"two").await, Contended::Taken);
        assert_eq!(put(&store, b"longer").await, Contended::Taken);
        assert_eq!(store.get(KEY).await.expect("no fault"), Some(Bytes::from_static(b"one")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_not_done_is_made_again() {
        for answer in [Answer::Timeout, Answer::Reset, Answer::ServerError, Answer::SlowDown, Answer::Conflict, Answer::Exists] {
            let (faults, store) = faulty();
            faults.script(Rule::new(Operation::Put, Fault::Refused(answer)).times(3));
            assert_eq!(put(&store, b"x").await, Contended::Stored, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_done_unseen_shows_as_taken() {
        for answer in [Answer::Timeout, Answer::Reset, Answer::ServerError, Answer::SlowDown, Answer::Conflict, Answer::Exists] {
            let (faults, store) = faulty();
            faults.script(Rule::new(Operation::Put, Fault::Done(answer)));
            faults.script(Rule::new(Operation::Head, Fault::Refused(Answer::SlowDown)));
            faults.script(Rule::new(Operation::Head, Fault::Refused(Answer::NotFound)));
            assert_eq!(put(&store, b"x").await, Contended::Taken, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_unanswered_is_unknown_and_may_land_later() {
        for fault in [Fault::Refused(Answer::Never), Fault::Held(Answer::Timeout), Fault::Refused(Answer::Denied)] {
            let (faults, store) = faulty();
            faults.script(Rule::new(Operation::Put, fault).always());
            assert!(matches!(put(&store, b"x").await, Contended::Unknown { .. }), "{fault:?}");
            let landed = faults.release_held().await;
            assert_eq!(landed, usize::from(matches!(fault, Fault::Held(_))));
        }
    }
}
