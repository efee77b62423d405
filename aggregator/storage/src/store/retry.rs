//! Retries: the one layer that owns them. Full jitter, from 50 ms doubling to 2 s.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use object_store::Error;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a read is tried again.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A read that has got no answer for so long is made once more beside it.
const HEDGE_AFTER: Duration = Duration::from_secs(2);

/// One operation's attempts against a deadline.
pub(crate) struct Attempts {
    deadline: Instant,
    longest: Duration,
    pause: Duration,
}

impl Attempts {
    pub(crate) fn until(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, longest: timeout, pause: FIRST_PAUSE }
    }

    /// The same; one that gets no answer leaves time for another.
    pub(crate) fn twice_until(timeout: Duration) -> Self {
        Self { longest: timeout / 2, ..Self::until(timeout) }
    }

    /// Runs one request; it is cut off at the deadline, if not before.
    pub(crate) async fn run<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        tokio::time::timeout_at(self.deadline.min(Instant::now() + self.longest), request)
            .await
            .unwrap_or_else(|_| Err(Error::Generic { store: "deadline", source: "no answer in time".into() }))
    }

    /// The same of a request that may be made twice: after a while without an answer a second one is sent, on another connection, and the first
    /// to answer counts. A slow store loses no time by it, and one hung connection costs no read.
    async fn run_hedged<T, F>(&self, request: &impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let hedged = async {
            let first = pin!(request());
            match select(first, pin!(tokio::time::sleep(HEDGE_AFTER))).await {
                Either::Left((answer, _)) => answer,
                Either::Right(((), first)) => select(first, pin!(request())).await.factor_first().0,
            }
        };
        self.run(hedged).await
    }

    /// Waits before the next attempt; false if there is no time for one.
    pub(crate) async fn wait(&mut self) -> bool {
        let pause = self.pause.mul_f64(jitter());
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// Reads again after faults that may pass, or none.
pub(crate) async fn read<T, F>(request: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut attempts = Attempts::until(READ_PATIENCE);
    loop {
        match attempts.run_hedged(&request).await {
            Err(error) if may_pass(&error) && attempts.wait().await => {}
            outcome => return outcome,
        }
    }
}

/// Does again what faults kept from being done, if doing it twice is doing it once. An attempt without an answer leaves time for another.
pub(crate) async fn again<T, F>(patience: Duration, request: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut attempts = Attempts::twice_until(patience);
    loop {
        match attempts.run(request()).await {
            Err(error) if may_pass(&error) && attempts.wait().await => {}
            outcome => return outcome,
        }
    }
}

/// Errors of the server or the network, as opposed to plain answers.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Generic { .. } | Error::JoinError { .. })
}

/// A number in 0.5..1.0, from the clock's low digits: spread, not secrecy, is what is needed.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.subsec_nanos());
    0.5 + f64::from(nanos % 1000) / 2000.0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn failed() -> Error {
        Error::Generic { store: "test", source: "reset".into() }
    }

    /// A request of which the first `hung` get no answer; a later one takes `pause` and says how many came before it.
    async fn count(made: &AtomicU32, hung: u32, pause: Duration) -> object_store::Result<u32> {
        let before = made.fetch_add(1, Ordering::Relaxed);
        if before < hung {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(pause).await;
        Ok(before)
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_is_made_once_more_beside_it() {
        let (made, begun) = (AtomicU32::new(0), Instant::now());
        assert_eq!(read(|| count(&made, 1, Duration::ZERO)).await.expect("the second answers"), 1);
        assert_eq!((begun.elapsed(), made.load(Ordering::Relaxed)), (HEDGE_AFTER, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_read_is_waited_for() {
        let (made, begun) = (AtomicU32::new(0), Instant::now());
        let slow = READ_PATIENCE - Duration::from_secs(1);
        assert_eq!(read(|| count(&made, 0, slow)).await.expect("answers"), 0);
        assert_eq!((begun.elapsed(), made.load(Ordering::Relaxed)), (slow, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_without_an_answer_ends_with_its_time() {
        let (made, begun) = (AtomicU32::new(0), Instant::now());
        read(|| count(&made, u32::MAX, Duration::ZERO)).await.expect_err("no answer");
        assert!(begun.elapsed() <= READ_PATIENCE && made.load(Ordering::Relaxed) == 2, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_or_hung_is_done_again_within_its_time() {
        let patience = Duration::from_secs(30);
        let made = AtomicU32::new(0);
        assert_eq!(again(patience, || count(&made, 1, Duration::ZERO)).await.expect("the second"), 1);
        let begun = Instant::now();
        again(patience, || async { Err::<(), _>(failed()) }).await.expect_err("fails each time");
        assert!(begun.elapsed() <= patience, "{:?}", begun.elapsed());
        let denied = || async { Err::<(), _>(Error::NotImplemented { operation: String::new(), implementer: String::new() }) };
        let begun = Instant::now();
        again(patience, denied).await.expect_err("another time changes nothing");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
