//! The torture table of the agent's contract: each case by its number, checked by arithmetic.
//!
//! The agent (the library, or the real program where signals, limits or -9 matter) reads a temporary tree written as a runtime and a kubelet write it,
//! and pushes to a receiver that records every request and keeps one of identical entries. That receiver stands in for the aggregator: what a real one
//! makes of the pushes is tested in `tests/e2e`. Times are scaled down by configuration; nothing is asserted about the wall clock. Which case is which
//! test, and which are missing, stands in `../../README.md`.

use std::time::Duration;

mod content;
mod flood;
mod late;
mod node;
#[cfg(feature = "planted-faults")]
mod planted;
mod positions;
mod receiver;
mod restart;
mod rotation;
mod stamps;

/// Whether cases are as long and as large as the table has them, which takes an hour in all; `tests/run --all` says so.
pub(crate) fn is_full() -> bool {
    std::env::var_os("TAILWATER_TORTURE_FULL").is_some()
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
