//! Waits until the program's background work is done.
//!
//! The program tells it by two gauges. One without them is taken to be quiet when it uses no processor and its folder does not change.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tailwater_e2e::aggregator::Aggregator;

use crate::metrics::{COMPACTION_PENDING_BYTES, Metrics, RETIRED_OBJECTS};
use crate::progress::Progress;
use crate::stored::Stored;

const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Each look is a scrape of all metrics, which is work of the program, too.
const PAUSE: Duration = Duration::from_secs(1);
/// How long both gauges have to stand at zero.
const CALM: Duration = Duration::from_secs(3);
/// How long a program without gauges has to be idle.
const LONG_CALM: Duration = Duration::from_secs(5);
/// Processor seconds in one pause that still count as idle.
const IDLE_SECONDS: f64 = 0.021;

/// How it was seen that nothing is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Gauges,
    Idleness,
}

pub(crate) async fn background_work_is_done(aggregator: &Aggregator, store: &Path) -> Result<Seen> {
    let base = format!("http://{}", aggregator.address());
    let mut progress = Progress::start("waiting for background work");
    let (started, mut busy_until) = (Instant::now(), Instant::now());
    let (mut processor, mut stored) = (aggregator.usage()?.processor_seconds, Stored::measure(store)?);
    while started.elapsed() < LIMIT {
        tokio::time::sleep(PAUSE).await;
        let metrics = Metrics::read(&base).await?;
        let gauges = metrics.sum(COMPACTION_PENDING_BYTES).zip(metrics.sum(RETIRED_OBJECTS));
        let (is_busy, calm, seen, state) = match gauges {
            Some((pending, retired)) => {
                let state = format!("{:.0} MB to compact, {retired} objects retired", pending / 1e6);
                (pending > 0.0 || retired > 0.0, CALM, Seen::Gauges, state)
            }
            None => {
                let (used, is_now) = (aggregator.usage()?.processor_seconds, Stored::measure(store)?);
                let is_busy = used - processor > IDLE_SECONDS || is_now != stored;
                (processor, stored) = (used, is_now);
                (is_busy, LONG_CALM, Seen::Idleness, format!("{} objects", is_now.objects))
            }
        };
        if is_busy {
            busy_until = Instant::now();
        } else if busy_until.elapsed() >= calm {
            progress.done();
            return Ok(seen);
        }
        progress.at(|| state);
    }
    bail!("the background work is not done after {LIMIT:?}")
}
