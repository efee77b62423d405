//! Waiting for something to become true, but not for ever.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Tries until `attempt` gives a value; after `limit`, fails with `what` and what came last in its place.
pub async fn eventually<T, F>(what: &str, limit: Duration, attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    try_again(what, limit, FIRST_PAUSE, LONGEST_PAUSE, attempt).await
}

/// As [`eventually`], with the same short pause all the time, where it is measured how long something takes.
pub async fn eventually_every<T, F>(what: &str, limit: Duration, pause: Duration, attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    try_again(what, limit, pause, pause, attempt).await
}

async fn try_again<T, F>(
    what: &str,
    limit: Duration,
    mut pause: Duration,
    longest_pause: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let started = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() >= limit => bail!("{what}: not within {limit:?}; last: {error:#}"),
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest_pause);
    }
}
