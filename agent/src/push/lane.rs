//! One lane: the batches of one reader thread, and of each tenant one request after another.
//!
//! Streams belong to one reader, so one request of a tenant at a time keeps their order; how many lanes send at once is for the receiver's gate to say. A
//! batch leaves the lane acknowledged, or with its refused entries counted; then its marks move positions, and not before. Requests are tried again without
//! end unless the configuration says otherwise ([`super::delivery`]); at shutdown the lane is simply dropped, and nothing was committed that was not
//! acknowledged. Batches that wait for a limited tenant alone make room for a few others ([`super::unsettled`]).

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::doubt::{Doubts, RequestDoubt};
use super::limited::Tenant;
use super::receiver::Receiver;
use super::unsettled::{Begun, Unsettled};
use crate::batch::Batch;
use crate::clock;
use crate::metrics::Metrics;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::Mark;
use crate::tail::balance::SettledBalances;
use crate::tail::worker::WorkerHandle;

/// Between two looks at how many batches there are.
const LOOK_EVERY: Duration = Duration::from_millis(20);
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
    pub(super) fn clear(&self) -> Option<u16> {
        self.0.lock().take().map(|(status, _)| status)
    }

    /// The status that blocks for longer than is tolerated.
    pub(crate) fn blocked_for_long(&self, now: Instant) -> Option<u16> {
        self.0.lock().filter(|(_, since)| now.saturating_duration_since(*since) >= BLOCKED_TOLERATED).map(|(status, _)| status)
    }
}

/// Batches that were handed over.
#[derive(Debug, Default)]
struct LaneCounts {
    /// Those that take room: not delivered, and not only waiting for a limited tenant.
    in_flight: AtomicUsize,
    unsettled: AtomicUsize,
    /// So many were settled.
    settled: AtomicU64,
}

impl LaneCounts {
    fn one_more(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.unsettled.fetch_add(1, Ordering::AcqRel);
    }

    fn less(count: &AtomicUsize, by: usize) {
        count.fetch_sub(by, Ordering::AcqRel);
    }
}

/// The reader's end, for lanes to one or several receivers: each gets every batch.
#[derive(Debug)]
pub(crate) struct LaneSender {
    ends: Vec<LaneEnd>,
    /// At most so many in flight to any of them.
    room: usize,
}

#[derive(Debug)]
struct LaneEnd {
    batches: mpsc::Sender<Batch>,
    counts: Arc<LaneCounts>,
}

impl LaneSender {
    /// Nothing that was handed over is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.ends.iter().all(|end| end.counts.in_flight.load(Ordering::Acquire) == 0)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.ends.iter().all(|end| end.counts.in_flight.load(Ordering::Acquire) < self.room)
    }

    fn is_closed(&self) -> bool {
        self.ends.iter().any(|end| end.batches.is_closed())
    }

    /// Hands a batch over, or gives it back if there is no room.
    pub(crate) fn try_send(&self, batch: Batch) -> Result<(), Box<Batch>> {
        if !self.has_room() {
            return Err(Box::new(batch));
        }
        // All or none: what one receiver got out of order would come twice.
        let Ok(permits) = self.ends.iter().map(|end| end.batches.try_reserve()).collect::<Result<Vec<_>, _>>() else {
            return Err(Box::new(batch));
        };
        self.give(permits, batch);
        Ok(())
    }

    fn give(&self, permits: Vec<mpsc::Permit<'_, Batch>>, batch: Batch) {
        let batches = repeat_n(batch, permits.len());
        for ((end, permit), batch) in self.ends.iter().zip(permits).zip(batches) {
            end.counts.one_more();
            permit.send(batch);
        }
    }

    /// Waits for room and hands a batch over. Given up before that, nothing was handed over.
    pub(crate) async fn send(&self, batch: Batch) {
        while !self.has_room() && !self.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        match futures::future::try_join_all(self.ends.iter().map(|end| end.batches.reserve())).await {
            Ok(permits) => self.give(permits, batch),
            Err(_) => tracing::debug!("a batch was not sent before the end"),
        }
    }

    /// Waits until everything handed over is settled.
    pub(crate) async fn settled(&self) {
        while self.ends.iter().any(|end| end.counts.unsettled.load(Ordering::Acquire) > 0) && !self.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the lanes to take a batch; what a lane that has ended did not take stays unacknowledged.
    pub(crate) fn send_at_end(&self, batch: Batch) {
        for (end, batch) in self.ends.iter().zip(repeat_n(batch, self.ends.len())) {
            end.counts.one_more();
            if end.batches.blocking_send(batch).is_err() {
                tracing::debug!("a batch was not sent before the end; its lines are read again at the next start");
            }
        }
    }
}

/// The sending end.
pub(crate) struct Lane {
    pub(crate) receiver: Receiver,
    /// Of its client among those that are read for together.
    pub(crate) place: usize,
    pub(crate) positions: SharedPositions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) blocked: Arc<BlockedState>,
    pub(crate) reader: WorkerHandle,
    /// Of all lanes that end together.
    pub(crate) doubts: Arc<Doubts>,
}

/// Lanes to so many receivers, each of which holds `room` batches, the one being sent among them.
pub(crate) fn channel(room: usize, receivers: usize) -> (LaneSender, Vec<LaneBatches>) {
    let lane = || {
        let (sender, batches) = mpsc::channel(room);
        let counts = Arc::new(LaneCounts::default());
        (LaneEnd { batches: sender, counts: Arc::clone(&counts) }, LaneBatches { batches, counts, room })
    };
    let (ends, batches) = std::iter::repeat_with(lane).take(receivers).unzip();
    (LaneSender { ends, room }, batches)
}

/// How full a lane is.
#[derive(Debug)]
pub(crate) struct LaneLoad {
    counts: Arc<LaneCounts>,
    room: usize,
}

impl LaneLoad {
    pub(super) fn has_room(&self) -> bool {
        self.counts.in_flight.load(Ordering::Acquire) < self.room
    }

    /// How many batches were settled so far; `None` if none is on its way.
    pub(super) fn settled_while_busy(&self) -> Option<u64> {
        (self.counts.unsettled.load(Ordering::Acquire) > 0).then(|| self.counts.settled.load(Ordering::Acquire))
    }
}

pub(crate) struct LaneBatches {
    batches: mpsc::Receiver<Batch>,
    counts: Arc<LaneCounts>,
    room: usize,
}

impl LaneBatches {
    pub(crate) fn load(&self) -> LaneLoad {
        LaneLoad { counts: Arc::clone(&self.counts), room: self.room }
    }
}

impl Lane {
    /// Sends until the reader has ended and everything is settled.
    pub(crate) async fn run(self, incoming: LaneBatches) {
        self.metrics.clients.expect(&self.receiver.labels);
        let LaneBatches { mut batches, counts, .. } = incoming;
        let (mut unsettled, mut balances) = (Unsettled::new(Arc::clone(&self.doubts)), SettledBalances::default());
        let mut requests = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !unsettled.is_empty() {
            let limited = self.receiver.limited.changed();
            let parked = unsettled.park(|tenant| self.receiver.limited.is_limited(tenant));
            if parked > 0 {
                LaneCounts::less(&counts.in_flight, parked);
                self.reader.wake();
            }
            tokio::select! {
                batch = batches.recv(), if is_open => match batch {
                    Some(batch) => {
                        #[cfg(feature = "planted-faults")]
                        self.acknowledge_early(&batch).await;
                        requests.extend(unsettled.take(batch).into_iter().map(|begun| self.request(begun)));
                    }
                    None => is_open = false,
                },
                Some((batch, tenant, dropped)) = requests.next() => {
                    requests.extend(unsettled.settle(batch, &tenant, dropped).map(|begun| self.request(begun)));
                    let had_room = self.count_delivered(&unsettled, batch);
                    self.move_positions(unsettled.take_marks());
                    while let Some(batch) = unsettled.pop() {
                        self.metrics.balance_errors.inc_by(balances.settle(&batch.balances, batch.entries));
                        // Whoever waits for its end waits for all batches before it as well.
                        drop(batch.on_its_way);
                        LaneCounts::less(&counts.unsettled, 1);
                        counts.settled.fetch_add(1, Ordering::AcqRel);
                    }
                    LaneCounts::less(&counts.in_flight, usize::from(had_room));
                    self.reader.wake();
                }
                () = limited => {}
            }
        }
    }

    /// Makes a request until it is settled. Returns of which batch and tenant it was, and how many entries were refused for good.
    async fn request(&self, begun: Begun) -> (u64, Tenant, u64) {
        let Begun { batch, tenant, part, rests_on, doubt } = begun;
        self.positions.ensure_durable(rests_on).await;
        let dropped = match part {
            Some(part) => self.deliver(&tenant, part, RequestDoubt::new(doubt)).await,
            None => 0,
        };
        (batch, tenant, dropped)
    }

    /// Counts a batch, if all of it is delivered. Returns whether that makes room in the lane.
    fn count_delivered(&self, unsettled: &Unsettled, number: u64) -> bool {
        let Some((batch, dropped, had_room)) = unsettled.delivered(number) else { return false };
        self.metrics.lines_acknowledged.inc_by(batch.entries - dropped.min(batch.entries));
        self.observe_delivery(batch);
        self.metrics.bytes_acknowledged.inc_by(batch.line_bytes);
        #[cfg(feature = "planted-faults")]
        tailwater_planted::Fault::SenderPanics.panics_at(5);
        tracing::trace!(entries = batch.entries, dropped, since_closed = ?batch.finished_at.elapsed(), "batch settled");
        had_room
    }

    fn move_positions(&self, marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        let has_finished = marks.iter().any(|mark| mark.entry.progress.is_finished);
        {
            let mut positions = self.positions.lock();
            marks.iter().for_each(|mark| positions.acknowledge(self.place, mark));
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
            batch.marks.iter().for_each(|mark| positions.acknowledge(self.place, mark));
            positions.revision()
        };
        self.positions.ensure_durable(revision).await;
    }

    fn observe_delivery(&self, batch: &Batch) {
        if let Some(oldest) = batch.oldest_stamp.filter(|stamp| *stamp >= 0) {
            self.metrics.delivery_seconds.observe((clock::now() - oldest).max(0) as f64 / 1e9);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchLimits};

    fn batch() -> Batch {
        BatchBuilder::new(BatchLimits { batch_bytes: 1, max_line_bytes: 1 }).finish(Instant::now())
    }

    #[test]
    fn a_lane_takes_as_many_batches_as_it_has_room_for() {
        let (sender, mut lanes) = channel(2, 1);
        let lane = &mut lanes[0];
        assert!(sender.is_idle() && sender.try_send(batch()).is_ok());
        // One that is being sent is in the lane as long as it is not settled.
        assert!(lane.batches.try_recv().is_ok() && sender.has_room());
        assert!(sender.try_send(batch()).is_ok() && !sender.has_room());
        assert!(sender.try_send(batch()).is_err());
        LaneCounts::less(&lane.counts.in_flight, 1);
        assert!(sender.try_send(batch()).is_ok());
    }

    #[test]
    fn of_several_lanes_all_get_a_batch_or_none() {
        let (sender, mut lanes) = channel(1, 2);
        assert!(sender.try_send(batch()).is_ok());
        assert!(lanes.iter_mut().all(|lane| lane.batches.try_recv().is_ok()));
        LaneCounts::less(&lanes[0].counts.in_flight, 1);
        assert!(!sender.is_idle() && sender.try_send(batch()).is_err(), "the second has no room");
        LaneCounts::less(&lanes[1].counts.in_flight, 1);
        drop(lanes.pop());
        assert!(sender.try_send(batch()).is_err() && lanes[0].batches.try_recv().is_err(), "the second has ended");
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
