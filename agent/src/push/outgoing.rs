//! The batch being filled and its way to the lanes: what every reading thread does with its lines.
//!
//! A batch goes when it is full, when its oldest line is old enough, or at once when no request is in flight. While a lane takes none, the closed batch
//! waits here and nothing more is to be read.

use std::time::{Duration, Instant};

use super::lane::LaneSender;
use crate::batch::Batch;
use crate::batch::builder::BatchBuilder;

pub(crate) struct Outgoing {
    pub(crate) batch: BatchBuilder,
    lane: LaneSender,
    batch_wait: Duration,
    /// Closed and not yet taken by the lane.
    outbox: Option<Batch>,
}

impl Outgoing {
    pub(crate) fn new(batch: BatchBuilder, lane: LaneSender, batch_wait: Duration) -> Self {
        Self { batch, lane, batch_wait, outbox: None }
    }

    /// Nothing is to be read: a closed batch waits for the lane.
    pub(crate) fn is_blocked(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether the batch should go now; `has_marks`: positions moved, if not for lines.
    pub(crate) fn is_due(&self, now: Instant, has_marks: bool) -> bool {
        if self.is_blocked() || (!has_marks && self.batch.is_empty()) {
            return false;
        }
        // While the lane has no room the batch goes on filling.
        self.lane.is_idle() || (self.batch.age(now) >= self.batch_wait && self.lane.has_room())
    }

    /// Closes the batch. Marks are to be in it.
    pub(crate) fn close(&mut self, now: Instant) {
        if !self.batch.is_empty() {
            self.outbox = Some(self.batch.finish(now));
        }
    }

    /// Gives a closed batch to the lane, if that has room.
    pub(crate) fn hand_over(&mut self) {
        if let Some(batch) = self.outbox.take() {
            self.outbox = self.lane.try_send(batch).err().map(|refused| *refused);
        }
    }

    /// How long to wait at most, where `wait` is the time until there is something to read.
    pub(crate) fn until_due(&self, wait: Duration, now: Instant) -> Duration {
        if self.batch.is_empty() { wait } else { wait.min(self.batch_wait.saturating_sub(self.batch.age(now))) }
    }

    /// At the end: waits until the lane takes what is closed.
    pub(crate) fn send_at_end(&mut self) {
        if let Some(batch) = self.outbox.take() {
            self.lane.send_at_end(batch);
        }
    }
}
