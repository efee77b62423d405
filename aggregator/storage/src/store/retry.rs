//! Retries: the one layer that owns them. Full jitter, from 50 ms doubling to 2 s.

use std::future::Future;
use std::time::Duration;

use object_store::Error;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a read is tried again.
const READ_PATIENCE: Duration = Duration::from_secs(10);

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

/// Reads again after faults that may pass.
pub(crate) async fn read<T, F>(request: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut attempts = Attempts::until(READ_PATIENCE);
    loop {
        match attempts.run(request()).await {
            Err(error) if may_pass(&error) => {
                if !attempts.wait().await {
                    return Err(error);
                }
            }
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
