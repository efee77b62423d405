//! One lane: the batches of one reader thread, sent one after another.
//!
//! Streams belong to one reader, so one request at a time keeps their order; how many lanes send at once is for the receiver's gate to say. A batch leaves the lane
//! acknowledged, or with its refused entries counted; then its marks move positions, and not before. A batch is tried again without end unless the
//! configuration says otherwise; at shutdown the lane is simply dropped, and nothing was committed that was not acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::answer::{self, Verdict};
use super::backoff::{Backoff, random};
use super::receiver::{Answer, OnClientError, Receiver};
use crate::batch::Batch;
use crate::batch::builder::MAX_REQUEST_BYTES;
use crate::batch::split::{self, Part, SplitError};
use crate::clock;
use crate::metrics::{DropReason, Metrics, PushOutcome};
use crate::observe::clients::ClientLabels;
use crate::positions::keeper::SharedPositions;
use crate::tail::balance::SettledBalances;
use crate::tail::worker::WorkerHandle;

/// A wait a receiver asks for is honoured up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Blocked for longer than this, the agent is not ready.
const BLOCKED_TOLERATED: Duration = Duration::from_secs(60);

/// Since when receivers refuse for a reason of configuration or access.
#[derive(Debug, Default)]
pub(crate) struct BlockedState(Mutex<Option<(u16, Instant)>>);

impl BlockedState {
    pub(crate) fn set(&self, status: u16, now: Instant) {
        let mut state = self.0.lock();
        let since = state.map_or(now, |(_, since)| since);
        *state = Some((status, since));
    }

    /// Forgets it; returns the status that blocked.
    fn clear(&self) -> Option<u16> {
        self.0.lock().take().map(|(status, _)| status)
    }

    /// The status that blocks for longer than is tolerated.
    pub(crate) fn blocked_for_long(&self, now: Instant) -> Option<u16> {
        self.0.lock().filter(|(_, since)| now.saturating_duration_since(*since) >= BLOCKED_TOLERATED).map(|(status, _)| status)
    }
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct LaneSender {
    batches: mpsc::Sender<Batch>,
    /// Handed over and not yet settled.
    in_flight: Arc<AtomicUsize>,
    /// At most so many.
    room: usize,
}

impl LaneSender {
    /// Nothing is handed over that is not settled.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) < self.room
    }

    /// Hands a batch over, or gives it back if there is no room.
    pub(crate) fn try_send(&self, batch: Batch) -> Result<(), Box<Batch>> {
        if !self.has_room() {
            return Err(Box::new(batch));
        }
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.batches.try_send(batch).map_err(|refused| {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            Box::new(refused.into_inner())
        })
    }

    /// Waits for room and hands a batch over. Given up before that, nothing was handed over.
    pub(crate) async fn send(&self, batch: Batch) {
        match self.batches.reserve().await {
            Ok(permit) => {
                self.in_flight.fetch_add(1, Ordering::AcqRel);
                permit.send(batch);
            }
            Err(_) => tracing::debug!("a batch was not sent before the end"),
        }
    }

    /// Waits until everything handed over is settled.
    pub(crate) async fn settled(&self) {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        while !self.is_idle() && !self.batches.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for room; once the lane has ended, what it did not take stays unacknowledged.
    pub(crate) fn send_at_end(&self, batch: Batch) {
        if self.batches.blocking_send(batch).is_err() {
            tracing::debug!("a batch was not sent before the end; its lines are read again at the next start");
        }
    }
}

/// The sending end.
pub(crate) struct Lane {
    pub(crate) receiver: Receiver,
    pub(crate) positions: SharedPositions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) blocked: Arc<BlockedState>,
    pub(crate) reader: WorkerHandle,
}

/// A lane that holds `room` batches, the one being sent among them.
pub(crate) fn channel(room: usize) -> (LaneSender, LaneBatches) {
    let (sender, batches) = mpsc::channel(room);
    let in_flight = Arc::new(AtomicUsize::new(0));
    (LaneSender { batches: sender, in_flight: Arc::clone(&in_flight), room }, LaneBatches { batches, in_flight })
}

pub(crate) struct LaneBatches {
    batches: mpsc::Receiver<Batch>,
    in_flight: Arc<AtomicUsize>,
}

/// How an attempt at a part ended.
enum Settled {
    Acknowledged,
    /// Entries that will never be stored.
    Dropped(u64, DropReason),
    /// The receiver refused the part without saying how much of it.
    RefusedWhole,
    /// Beyond the number of bytes that the receiver tells, if it does.
    TooLarge(Option<usize>),
}

/// A part of a request, and what was done to it.
struct Piece {
    part: Part,
    /// A refusal of it as a whole was bisected.
    is_bisected: bool,
    /// Its one entry was cut to the receiver's limit.
    is_shortened: bool,
}

impl Piece {
    /// Puts its halves on `pieces`, the first on top.
    fn halve_into(&self, pieces: &mut Vec<Self>) -> Result<(), SplitError> {
        let [first, second] = split::halve(&self.part.body, self.part.entries)?;
        pieces.extend([second, first].map(|part| Self { part, ..*self }));
        Ok(())
    }
}

impl Lane {
    /// Sends until the reader has ended and everything is settled.
    pub(crate) async fn run(self, mut incoming: LaneBatches) {
        self.metrics.clients.expect(&self.receiver.labels);
        let mut balances = SettledBalances::default();
        while let Some(batch) = incoming.batches.recv().await {
            self.reader.wake();
            let (parts, entries, on_its_way) = (batch.balances.clone(), batch.entries, batch.on_its_way.clone());
            self.settle(batch).await;
            self.metrics.balance_errors.inc_by(balances.settle(&parts, entries));
            drop(on_its_way);
            // Saturating: batches handed over at the end are not counted.
            incoming.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| Some(count.saturating_sub(1))).ok();
            self.reader.wake();
        }
    }

    async fn settle(&self, batch: Batch) {
        self.positions.ensure_durable(batch.rests_on).await;
        #[cfg(feature = "planted-faults")]
        self.acknowledge_early(&batch).await;
        let of_tenants: u64 = batch.tenants.iter().map(|request| request.entries).sum();
        let own = (!batch.body.is_empty()).then(|| (None, Part { body: batch.body.clone(), entries: batch.entries - of_tenants }));
        let others = batch.tenants.iter().map(|request| {
            let part = Part { body: request.body.clone(), entries: request.entries };
            (Some(&*request.tenant), part)
        });
        // A tenant that is refused does not hold up the others of the batch.
        let delivered = futures::future::join_all(own.into_iter().chain(others).map(|(tenant, part)| self.deliver(tenant, part))).await;
        let dropped: u64 = delivered.into_iter().sum();
        self.metrics.lines_acknowledged.inc_by(batch.entries - dropped.min(batch.entries));
        self.observe_delivery(&batch);
        self.metrics.bytes_acknowledged.inc_by(batch.line_bytes);
        #[cfg(feature = "planted-faults")]
        tailwater_planted::Fault::SenderPanics.panics_at(5);
        tracing::trace!(entries = batch.entries, dropped, since_closed = ?batch.finished_at.elapsed(), "batch settled");
        let has_finished = batch.marks.iter().any(|mark| mark.entry.progress.is_finished);
        {
            let mut positions = self.positions.lock();
            batch.marks.iter().for_each(|mark| positions.acknowledge(mark));
        }
        if has_finished {
            self.positions.write_soon();
        }
    }

    /// Planted: positions move, durably, before the push is sent.
    #[cfg(feature = "planted-faults")]
    async fn acknowledge_early(&self, batch: &Batch) {
        if !tailwater_planted::Fault::PositionBeforeAnswer.is_planted() {
            return;
        }
        let revision = {
            let mut positions = self.positions.lock();
            batch.marks.iter().for_each(|mark| positions.acknowledge(mark));
            positions.revision()
        };
        self.positions.ensure_durable(revision).await;
    }

    fn observe_delivery(&self, batch: &Batch) {
        if let Some(oldest) = batch.oldest_stamp.filter(|stamp| *stamp >= 0) {
            self.metrics.delivery_seconds.observe((clock::now() - oldest).max(0) as f64 / 1e9);
        }
    }

    /// Who gets the entries of `tenant`, as metrics name it.
    fn labels(&self, tenant: Option<&str>) -> ClientLabels {
        let own = &self.receiver.labels;
        ClientLabels { host: own.host.clone(), tenant: tenant.map_or_else(|| own.tenant.clone(), str::to_owned) }
    }

    /// Counts `entries` of `part` that will never be stored.
    fn count_dropped(&self, tenant: Option<&str>, part: &Part, entries: u64, reason: DropReason) -> u64 {
        let entries = entries.min(part.entries);
        let bytes = split::line_bytes(&part.body).unwrap_or_default() * entries / part.entries.max(1);
        self.metrics.refused_lines(&self.labels(tenant), reason, entries, bytes);
        entries
    }

    /// Delivers a request, in parts if need be. Returns the entries that were refused for good.
    async fn deliver(&self, tenant: Option<&str>, whole: Part) -> u64 {
        let mut dropped = 0;
        self.metrics.clients.encoded(&self.labels(tenant), whole.body.len() as u64);
        // In order.
        let mut pieces = vec![Piece { part: whole, is_bisected: false, is_shortened: false }];
        while let Some(piece) = pieces.pop() {
            let part = &piece.part;
            if part.entries > 1 && split::request_bytes(&part.body) > MAX_REQUEST_BYTES && piece.halve_into(&mut pieces).is_ok() {
                continue;
            }
            let settled = self.attempt_until_settled(tenant, part).await;
            let is_split = match settled {
                Settled::Acknowledged => continue,
                Settled::Dropped(entries, reason) => {
                    dropped += self.count_dropped(tenant, part, entries, reason);
                    continue;
                }
                Settled::RefusedWhole => !piece.is_bisected && part.entries > 1,
                Settled::TooLarge(limit) => {
                    let limit = limit.filter(|_| part.entries == 1 && !piece.is_shortened);
                    if let Some(part) = limit.and_then(|limit| self.shorten(part, limit)) {
                        pieces.push(Piece { part, is_shortened: true, ..piece });
                        continue;
                    }
                    part.entries > 1
                }
            };
            let is_bisected = piece.is_bisected || matches!(settled, Settled::RefusedWhole);
            let piece = Piece { is_bisected, ..piece };
            match is_split.then(|| piece.halve_into(&mut pieces)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!(error = %error, "request not split; its entries are dropped");
                    dropped += self.count_dropped(tenant, &piece.part, piece.part.entries, DropReason::IngesterError);
                }
                None => {
                    tracing::warn!(entries = piece.part.entries, "entries that the receiver does not take as they are; dropped");
                    dropped += self.count_dropped(tenant, &piece.part, piece.part.entries, DropReason::IngesterError);
                }
            }
        }
        dropped
    }

    /// The one entry of `part`, cut so that it fits the receiver's limit; counted.
    fn shorten(&self, part: &Part, limit: usize) -> Option<Part> {
        match split::shorten(&part.body, limit) {
            Ok(shortened) => {
                let (body, left_out) = shortened?;
                tracing::warn!(limit, left_out, "an entry is too large for the receiver; sent without its end");
                self.metrics.truncated_lines(1, left_out);
                Some(Part { body, entries: 1 })
            }
            Err(error) => {
                tracing::error!(error = %error, "entry not shortened");
                None
            }
        }
    }

    async fn attempt_until_settled(&self, tenant: Option<&str>, part: &Part) -> Settled {
        let mut backoff = Backoff::new(self.receiver.config.backoff);
        loop {
            let wait = match self.attempt(tenant, &part.body).await {
                Some(answer) => match self.judge(&answer, tenant, part) {
                    Ok(settled) => return settled,
                    Err(wait) => wait,
                },
                None => None,
            };
            if backoff.is_exhausted() {
                tracing::warn!(entries = part.entries, "attempts used up; entries dropped");
                return Settled::Dropped(part.entries, DropReason::IngesterError);
            }
            self.metrics.clients.retried(&self.labels(tenant));
            let own_wait = backoff.next_wait(random());
            tokio::time::sleep(wait.unwrap_or_default().max(own_wait)).await;
        }
    }

    async fn attempt(&self, tenant: Option<&str>, body: &Bytes) -> Option<Answer> {
        let _pass = self.receiver.gate.enter().await;
        self.metrics.pushes_in_flight.inc();
        let began = Instant::now();
        let answered = self.receiver.push(body.clone(), tenant).await;
        self.metrics.pushes_in_flight.dec();
        let status = answered.as_ref().ok().map(|answer| answer.status);
        // A limit of one tenant says nothing of the others.
        match status {
            Some(status) if status == 429 || answer::verdict(status) != Verdict::Retry => self.receiver.gate.succeeded(),
            _ => self.receiver.gate.failed(),
        }
        self.metrics.clients.answered(&self.labels(tenant), status, began.elapsed());
        match answered {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.metrics.push_request(PushOutcome::Retried);
                tracing::warn!(url = %self.receiver.url, error = %error, "no answer to a push; trying again");
                None
            }
        }
    }

    /// What an answer means for a part: settled, or the wait before the next attempt.
    fn judge(&self, answer: &Answer, tenant: Option<&str>, part: &Part) -> Result<Settled, Option<Duration>> {
        let verdict = answer::verdict(answer.status);
        if verdict != Verdict::Blocked
            && let Some(status) = self.blocked.clear()
        {
            self.metrics.blocked(status, false);
        }
        match verdict {
            Verdict::Acknowledged => {
                self.metrics.push_request(PushOutcome::Acknowledged);
                self.metrics.sent_bytes.inc_by(part.body.len() as u64);
                self.metrics.clients.sent(&self.labels(tenant), part.body.len() as u64, part.entries);
                Ok(Settled::Acknowledged)
            }
            Verdict::Retry if answer.status == 429 && self.receiver.config.drops_rate_limited => {
                self.metrics.push_request(PushOutcome::Refused);
                tracing::warn!(answer = answer.body.trim_end(), "receiver limits the rate; entries dropped as configured");
                Ok(Settled::Dropped(part.entries, DropReason::RateLimited))
            }
            Verdict::Retry => {
                self.metrics.push_request(PushOutcome::Retried);
                tracing::warn!(status = answer.status, answer = answer.body.trim_end(), "push not taken; trying again");
                Err(answer.retry_after.map(|wait| wait.min(RETRY_AFTER_MAX)))
            }
            Verdict::TooLarge => {
                self.metrics.push_request(PushOutcome::Refused);
                Ok(Settled::TooLarge(answer::limit_told(&answer.body)))
            }
            Verdict::Refused => {
                self.metrics.push_request(PushOutcome::Refused);
                tracing::warn!(status = answer.status, answer = answer.body.trim_end(), "receiver refused entries");
                let named = |entries| Settled::Dropped(entries, DropReason::IngesterError);
                Ok(answer::ignored_entries(&answer.body).map_or(Settled::RefusedWhole, named))
            }
            Verdict::Blocked => self.judge_blocked(answer, part),
        }
    }

    fn judge_blocked(&self, answer: &Answer, part: &Part) -> Result<Settled, Option<Duration>> {
        self.metrics.push_request(PushOutcome::Blocked);
        if self.receiver.config.on_4xx == OnClientError::Drop {
            return Ok(Settled::Dropped(part.entries, DropReason::IngesterError));
        }
        self.blocked.set(answer.status, Instant::now());
        self.metrics.blocked(answer.status, true);
        tracing::warn!(status = answer.status, url = %self.receiver.url, answer = answer.body.trim_end(),
            "receiver refuses this agent; lines are kept, check `clients[0].url` and its credentials");
        Err(Some(self.receiver.config.backoff.max_period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchLimits};

    #[test]
    fn a_lane_takes_as_many_batches_as_it_has_room_for() {
        let (sender, mut batches) = channel(2);
        let batch = || BatchBuilder::new(BatchLimits { batch_bytes: 1, max_line_bytes: 1 }).finish(Instant::now());
        assert!(sender.is_idle() && sender.try_send(batch()).is_ok());
        // One that is being sent is in the lane as long as it is not settled.
        assert!(batches.batches.try_recv().is_ok() && sender.has_room());
        assert!(sender.try_send(batch()).is_ok() && !sender.has_room());
        assert!(sender.try_send(batch()).is_err());
        batches.in_flight.fetch_sub(1, Ordering::AcqRel);
        assert!(sender.try_send(batch()).is_ok());
    }

    #[test]
    fn blocked_is_told_only_after_a_minute_and_forgotten_on_success() {
        let state = BlockedState::default();
        let start = Instant::now();
        state.set(404, start);
        state.set(403, start + Duration::from_secs(50));
        assert_eq!(state.blocked_for_long(start + Duration::from_secs(59)), None);
        assert_eq!(state.blocked_for_long(start + Duration::from_secs(60)), Some(403));
        assert_eq!(state.clear(), Some(403));
        assert_eq!(state.blocked_for_long(start + Duration::from_secs(600)), None);
    }
}
