//! The program under test: its default configuration, but for the time that retired objects stay.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use tailwater_e2e::aggregator::{Aggregator, START_LIMIT, folder_invocation, knows_key};
use tailwater_e2e::deadline::eventually_every;

/// The key in the configuration, and its variable.
const RETIRE_AFTER_KEY: &str = "retire_after";
const RETIRE_AFTER_VARIABLE: &str = "TAILWATER_COMPACTION_RETIRE_AFTER";
/// Nothing reads while the store is filled, so nobody misses what is deleted early.
const RETIRE_AFTER: &str = "1s";

pub(crate) async fn start(logs: &Path, store: &Path) -> Result<Aggregator> {
    let (port, mut invocation) = folder_invocation(store)?;
    // A program that compacts nothing retires nothing.
    if knows_key(&invocation, RETIRE_AFTER_KEY)? {
        invocation = invocation.with_variable(RETIRE_AFTER_VARIABLE, RETIRE_AFTER);
    }
    Aggregator::start(logs, port, invocation).await
}

/// Starts it again after it was stopped; from start to ready.
pub(crate) async fn restart(aggregator: &mut Aggregator) -> Result<Duration> {
    let api = aggregator.api()?;
    let started = Instant::now();
    aggregator.start_again()?;
    let ready = eventually_every("the aggregator is ready", START_LIMIT, Duration::from_millis(2), || api.ready()).await;
    let took = started.elapsed();
    aggregator.process().require_running()?;
    ready.map(|()| took)
}
