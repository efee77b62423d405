//! Kubernetes' events as a source of lines: one agent of the cluster, which holds a Lease, watches them and sends each as a line.
//!
//! ```text
//! lease (who sends) → feed (list, then watch) → line (labels, stamp, text) → batch → lane
//! ```
//! What an event becomes depends on the event alone, so that whoever sends it again sends the same entry, which counts once. How far events are
//! acknowledged is kept in the positions and, whenever the Lease is renewed, beside it: the next holder goes on from there. Nothing is sent by an
//! agent whose Lease may have passed to another.

mod feed;
mod lease;
mod line;
mod resume;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::batch::builder::{BatchBuilder, StreamSlot};
use crate::metrics::Metrics;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{FileId, Mark};
use crate::push::lane::LaneSender;
use crate::tail::balance::{Balance, BalancePart};
use feed::{Feed, FeedError};
use k8s_openapi::api::events::v1::Event;
use lease::Leadership;
pub(crate) use resume::CONTAINER;
use resume::ResumePoint;

/// After a broken watch, and its limit.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What the source is made of.
pub(crate) struct EventSource {
    pub(crate) client: Client,
    /// Names this agent in the Lease.
    pub(crate) identity: String,
    pub(crate) external_labels: BTreeMap<String, String>,
    /// Whether the receiver takes structured metadata.
    pub(crate) sends_metadata: bool,
    pub(crate) batch: BatchBuilder,
    pub(crate) lane: LaneSender,
    pub(crate) batch_wait: Duration,
    pub(crate) lease_duration: Duration,
    pub(crate) positions: SharedPositions,
    pub(crate) metrics: Arc<Metrics>,
}

struct Running {
    source: EventSource,
    /// As which the positions know the events.
    file: FileId,
    /// Behind everything put into a batch.
    read: ResumePoint,
    /// Something to acknowledge is in the batch.
    is_in_batch: bool,
    /// Streams of the batch by their labels.
    slots: HashMap<String, StreamSlot>,
}

impl EventSource {
    /// Sends events whenever this agent holds the Lease, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (file, known) = resume::remembered(&self.positions);
        let mut leadership = Leadership::new(self.client.clone(), self.identity.clone(), self.lease_duration, Arc::clone(&self.metrics));
        let mut running = Running { source: self, file, read: known, is_in_batch: false, slots: HashMap::new() };
        while let Some(told) = leadership.acquire(&stop).await {
            running.read = running.read.clone().later(told);
            let positions = running.source.positions.clone();
            let acknowledged = move || resume::remembered(&positions).1;
            tokio::select! {
                () = leadership.keep(&acknowledged) => tracing::info!("another agent may send the kubernetes events now"),
                () = running.send_events(&stop) => {}
            }
            if stop.is_cancelled() {
                running.hand_over_the_rest().await;
                leadership.release(&acknowledged).await;
            }
            // What was read and not acknowledged is read again, by whoever holds the Lease then.
            running.begin_anew();
        }
    }
}

impl Running {
    /// Lists and watches until `stop`.
    async fn send_events(&mut self, stop: &CancellationToken) {
        let mut wait = MIN_WAIT;
        while !stop.is_cancelled() {
            match self.follow(stop).await {
                Ok(()) => wait = MIN_WAIT,
                Err(FeedError::Expired) => {
                    // What happened in between is found by listing.
                    self.read.version = None;
                    wait = MIN_WAIT;
                }
                Err(error) => {
                    self.source.metrics.kube_watch_errors.inc();
                    tracing::warn!(error = %error, "watch of kubernetes events failed; trying again");
                    let share = 0.5 + crate::push::backoff::random() / 2.0;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(wait.mul_f64(share)) => {}
                    }
                    wait = (wait * 2).min(MAX_WAIT);
                }
            }
        }
    }

    /// Reads one list or one watch to its end.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), FeedError> {
        let feed = Feed::new(self.source.client.clone());
        let version = match self.read.version.clone() {
            Some(version) => version,
            None => {
                let (mut events, version) = feed.list().await?;
                events.retain(|event| self.read.may_be_new(line::time(event)));
                events.sort_by_key(line::time);
                for event in &events {
                    self.take(event).await;
                }
                self.read.version = Some(version.clone());
                self.is_in_batch = true;
                version
            }
        };
        let mut changes = std::pin::pin!(feed.watch(&version).await?);
        loop {
            let due = self.until_due();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(due), if self.is_in_batch => self.flush().await,
                change = feed::next(&mut changes) => match change? {
                    Some((event, version)) => {
                        if let Some(event) = event {
                            self.take(&event).await;
                        }
                        self.read.version = Some(version);
                        self.is_in_batch = true;
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    async fn take(&mut self, event: &Event) {
        let entry = line::entry(event, &self.source.external_labels);
        let batch = &mut self.source.batch;
        let slot = match self.slots.get(&entry.labels).copied().filter(|slot| batch.is_open(*slot)) {
            Some(slot) => slot,
            None => {
                let slot = batch.open(&Arc::from(entry.labels.as_bytes()), &Arc::default());
                self.slots.insert(entry.labels, slot);
                slot
            }
        };
        let metadata: Vec<(&str, &str)> = entry.metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
        batch.push_with_metadata(slot, entry.timestamp, entry.line.as_bytes(), if self.source.sends_metadata { &metadata } else { &[] });
        batch.touched(Instant::now());
        self.source.metrics.lines_read.inc();
        self.source.metrics.bytes_read.inc_by(entry.line.len() as u64);
        self.read.saw(entry.timestamp);
        self.is_in_batch = true;
        if self.source.batch.is_full() {
            self.flush().await;
        }
    }

    fn until_due(&self) -> Duration {
        if self.source.lane.is_idle() {
            return Duration::from_millis(1);
        }
        self.source.batch_wait.saturating_sub(self.source.batch.age(Instant::now())).max(Duration::from_millis(1))
    }

    /// Closes the batch and waits until the lane takes it.
    async fn flush(&mut self) {
        let mark = Mark { file: self.file, entry: self.read.entry() };
        self.source.batch.mark(mark);
        let entries = i64::try_from(self.source.batch.entries()).unwrap_or(i64::MAX);
        let part = Balance { records: entries, entries, ..Balance::default() };
        self.source.batch.balance(BalancePart { file: self.file, part, end: None });
        self.is_in_batch = false;
        self.slots.clear();
        let batch = self.source.batch.finish(Instant::now());
        self.source.lane.send(batch).await;
    }

    async fn hand_over_the_rest(&mut self) {
        if self.is_in_batch {
            self.flush().await;
        }
        self.source.lane.settled().await;
    }

    /// Forgets what was not acknowledged.
    fn begin_anew(&mut self) {
        self.source.batch.finish(Instant::now());
        self.is_in_batch = false;
        self.read = resume::remembered(&self.source.positions).1;
    }
}
