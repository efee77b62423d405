//! Whether anything was sent of which nobody knows if it is stored: such lines must be sent again as they were, and by nobody else.
//!
//! A batch is in doubt from its first request on, until it is settled and its positions are moved, or until every one of its requests was refused, or did not
//! even reach the receiver. A new configuration takes over only when nothing is in doubt: it would send the same lines under other labels.

use std::sync::Arc;

use parking_lot::Mutex;

/// What all lanes of a pass have in doubt.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    batches: usize,
    /// No other batch may come into doubt.
    is_closed: bool,
}

impl Doubts {
    /// From now on only what is in doubt is sent. Returns whether anything is.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.batches > 0
    }
}

/// One batch.
#[derive(Debug)]
pub(super) struct Doubt {
    all: Arc<Doubts>,
    /// Its requests that may have been taken.
    requests: Mutex<usize>,
}

impl Doubt {
    pub(super) fn new(all: &Arc<Doubts>) -> Arc<Self> {
        Arc::new(Self { all: Arc::clone(all), requests: Mutex::default() })
    }

    /// A request is about to be made. `false`: it may not be any more.
    fn begin(&self) -> bool {
        let mut requests = self.requests.lock();
        if *requests == 0 {
            let mut all = self.all.0.lock();
            if all.is_closed {
                return false;
            }
            all.batches += 1;
        }
        *requests += 1;
        true
    }

    /// A request was not taken.
    fn withdraw(&self) {
        let mut requests = self.requests.lock();
        *requests -= 1;
        if *requests == 0 {
            self.all.0.lock().batches -= 1;
        }
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        if *self.requests.get_mut() > 0 {
            self.all.0.lock().batches -= 1;
        }
    }
}

/// One request of a batch, in all its attempts and parts.
#[derive(Debug)]
pub(super) struct RequestDoubt {
    batch: Arc<Doubt>,
    may_be_taken: bool,
}

impl RequestDoubt {
    pub(super) fn new(batch: Arc<Doubt>) -> Self {
        Self { batch, may_be_taken: false }
    }

    /// Waits for ever if the request may not be made any more. Returns whether it may have been taken before.
    pub(super) async fn begin(&mut self) -> bool {
        let before = self.may_be_taken;
        if !before && !self.batch.begin() {
            std::future::pending::<()>().await;
        }
        self.may_be_taken = true;
        before
    }

    /// The receiver did not take it, and had not before.
    pub(super) fn withdraw(&mut self) {
        self.batch.withdraw();
        self.may_be_taken = false;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_batch_is_in_doubt_until_it_is_settled_or_all_of_it_was_refused() {
        let all = Arc::new(Doubts::default());
        let (one, other) = (Doubt::new(&all), Doubt::new(&all));
        let mut requests = [&one, &one, &other].map(|batch| RequestDoubt::new(Arc::clone(batch)));
        let [first, second, third] = &mut requests;
        assert_eq!((first.begin().now_or_never(), second.begin().now_or_never()), (Some(false), Some(false)));
        assert!(all.close());
        assert_eq!(third.begin().now_or_never(), None, "nothing new is sent");
        first.withdraw();
        assert!(all.close(), "the other request may be stored");
        assert_eq!(first.begin().now_or_never(), Some(false), "what is in doubt goes on");
        assert_eq!(second.begin().now_or_never(), Some(true));
        first.withdraw();
        second.withdraw();
        assert!(!all.close());
    }

    #[test]
    fn a_settled_batch_is_in_no_doubt() {
        let all = Arc::new(Doubts::default());
        let batch = Doubt::new(&all);
        let mut request = RequestDoubt::new(Arc::clone(&batch));
        request.begin().now_or_never();
        drop(request);
        assert!(all.close(), "its positions are not moved");
        drop(batch);
        assert!(!all.close());
    }
}
