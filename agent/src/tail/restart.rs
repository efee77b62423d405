//! Beginning anew with one container after a panic in its turn, while the others go on.
//!
//! What the panic left is not trusted: of the container only its descriptors are kept, since a deleted file has no other way back. What it put into
//! batches goes out, for it was right when it was put there and a replay gives the same; what the clock decided for it is recorded. Once all of that is
//! settled, so that no mark of before comes after one of later, its files are taken up again from the positions, as after a restart of the agent. A
//! container that panics again and again waits longer each time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::balance::{Balance, BalancePart, FileEnd};
use super::container::{ContainerTail, Turn};
use super::cuts::record_clock_until;
use super::worker::{ERROR_WAIT, ERROR_WAIT_MAX, Running};
use crate::batch::builder::BatchBuilder;
use crate::discover::listing::{ContainerListing, Source};
use crate::positions::keeper::SharedPositions;

/// After so long without another panic the waits are short again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// The panics of one container.
#[derive(Debug)]
pub(super) struct Restart {
    wait: Duration,
    last: Instant,
    /// Lives as long as something that was read before is on its way; `None` once reading has begun anew.
    on_its_way: Option<Weak<()>>,
}

impl Restart {
    /// After a panic at `now`; `before`: the one before.
    fn new(before: Option<&Self>, on_its_way: Weak<()>, now: Instant) -> Self {
        let recent = before.filter(|before| now.saturating_duration_since(before.last) < FORGIVEN_AFTER);
        let wait = recent.map_or(ERROR_WAIT, |before| (before.wait * 2).min(ERROR_WAIT_MAX));
        Self { wait, last: now, on_its_way: Some(on_its_way) }
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_settled = self.on_its_way.as_ref().is_none_or(|batch| batch.strong_count() == 0);
        is_settled && now.saturating_duration_since(self.last) >= self.wait
    }
}

impl ContainerTail {
    /// A panic took its state, and it has not begun anew.
    pub(crate) fn is_restarting(&self) -> bool {
        self.restart.as_ref().is_some_and(|restart| restart.on_its_way.is_some())
    }

    /// Entries it put into the batch being filled and has not told of.
    fn untold_entries(&self) -> i64 {
        let of_files: i64 = self.unfinished().map(|file| file.balance.unsent_entries()).sum();
        let ended = self.ending.iter().flat_map(|ending| &ending.balances);
        of_files + ended.map(|part| part.part.entries).sum::<i64>()
    }

    /// Its balances, none of which can be compared any more.
    fn take_interrupted_balances(&mut self) -> Vec<BalancePart> {
        let ended = self.ending.take().map_or_else(Vec::new, |ending| ending.balances);
        let of_files = self.unfinished_mut().map(|file| std::mem::take(&mut file.balance).finish(file.id, FileEnd::Interrupted));
        let ended = ended.into_iter().map(|part| BalancePart { end: Some((Balance::default(), FileEnd::Interrupted)), ..part });
        ended.chain(of_files).collect()
    }

    /// Records what the clock decided for lines that are in the batch.
    fn record_interrupted_clock(&mut self, positions: &SharedPositions, batch: &mut BatchBuilder) {
        if let (Some(front), Some((_, state))) = (self.files.front(), self.state.as_deref_mut()) {
            record_clock_until((front, front.read_to()), &self.path, state, positions, batch);
        }
        for late in &mut self.late {
            record_clock_until((&late.file, late.file.read_to()), &self.path, &mut late.state, positions, batch);
        }
    }
}

impl Running {
    /// Lets the container at `index` take its turn; a panic costs nobody else anything.
    pub(super) fn guarded_turn(&mut self, index: usize, now: Instant) -> Turn {
        if self.containers[index].is_restarting() {
            self.look_at_restart(index, now);
            return Turn::Idle;
        }
        // Of what a panic leaves behind only what the module names is used.
        catch_unwind(AssertUnwindSafe(|| self.turn(index, now))).unwrap_or_else(|_| {
            self.begin_anew(index, now);
            Turn::Idle
        })
    }

    /// Takes a listing into the container at `index`. Returns whether anything is to be read soon.
    pub(super) fn guarded_reconcile(&mut self, index: usize, listing: &ContainerListing, now: Instant) -> bool {
        if let Some(restart) = &mut self.containers[index].restart
            && restart.on_its_way.is_some()
        {
            if !restart.is_due(now) {
                // It is listed again once it begins anew.
                self.containers[index].is_gone = listing.is_gone;
                return false;
            }
            restart.on_its_way = None;
            self.containers[index].remembered = self.worker.positions.lock().files_of(&listing.path);
        }
        catch_unwind(AssertUnwindSafe(|| self.reconcile(index, listing, now))).unwrap_or_else(|_| {
            self.begin_anew(index, now);
            false
        })
    }

    /// Marks of the containers that are in the batch go into it.
    pub(super) fn guarded_marks(&mut self, now: Instant) {
        for index in 0..self.containers.len() {
            if !self.containers[index].is_in_batch {
                continue;
            }
            let (container, worker) = (&mut self.containers[index], &mut self.worker);
            let marked = catch_unwind(AssertUnwindSafe(|| container.add_marks(&mut worker.outgoing.batch, &worker.positions)));
            if marked.is_err() {
                self.begin_anew(index, now);
            }
        }
    }

    /// Asks for a listing once nothing of before is on its way.
    fn look_at_restart(&mut self, index: usize, now: Instant) {
        let container = &mut self.containers[index];
        let Some(restart) = &container.restart else { return };
        container.next_turn = now + self.worker.timing.poll_max;
        if !restart.is_due(now) {
            return;
        }
        match container.source {
            Source::Target(_) if !container.is_gone => self.worker.handover.ask_for_listing(&container.path),
            Source::Target(_) => {
                container.postponed = Some(Box::new(ContainerListing {
                    path: container.path.clone(),
                    directory: container.directory.clone(),
                    source: container.source.clone(),
                    files: Vec::new(),
                    is_gone: true,
                }));
                container.needs_listing = true;
            }
            Source::Container { .. } => container.needs_listing = true,
        }
    }

    /// Replaces a container in which a panic happened by one that has only its descriptors.
    fn begin_anew(&mut self, index: usize, now: Instant) {
        self.worker.metrics.panics.inc();
        let batch = &mut self.worker.outgoing.batch;
        let broken = &mut self.containers[index];
        let restart = Restart::new(broken.restart.as_deref(), batch.on_its_way(), now);
        tracing::error!(container = &*broken.path, wait = ?restart.wait, "a panic while this container was read; it is read again from its position");
        let positions = &self.worker.positions;
        if catch_unwind(AssertUnwindSafe(|| broken.record_interrupted_clock(positions, batch))).is_err() {
            tracing::error!(
                container = &*broken.path,
                "what the clock decided for its last lines is not recorded; they may be stored twice"
            );
        }
        broken.take_interrupted_balances().into_iter().for_each(|part| batch.balance(part));
        self.reading_on -= usize::from(broken.is_reading_on);
        let mut anew = ContainerTail::new(broken.container(), Vec::new(), now);
        anew.restart = Some(Box::new(restart));
        anew.is_gone = broken.is_gone;
        anew.rate_limit = broken.rate_limit;
        let mut broken = std::mem::replace(broken, Box::new(anew));
        broken.forget_pending(&self.worker.pending_bytes);
        let (_, handed) = broken.into_handed();
        self.containers[index].handed = handed.files;
        self.tell_untold_entries();
        self.worker.outgoing.batch.touched(now);
    }

    /// Entries that the turn put into the batch and no file's balance has: told as those of a file that is no more.
    fn tell_untold_entries(&mut self) {
        let batch = &mut self.worker.outgoing.batch;
        let told = batch.told_entries() + self.containers.iter().map(|container| container.untold_entries()).sum::<i64>();
        let entries = i64::try_from(batch.entries()).unwrap_or(i64::MAX) - told;
        let part = Balance { entries, ..Balance::default() };
        let file = self.worker.positions.lock().new_file();
        batch.balance(BalancePart { file, part, end: Some((part, FileEnd::Interrupted)) });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_container_begins_anew_when_its_batch_is_settled_and_its_wait_is_over() {
        let (now, batch) = (Instant::now(), Arc::new(()));
        let restart = Restart::new(None, Arc::downgrade(&batch), now);
        assert!(!restart.is_due(now + ERROR_WAIT), "something is on its way");
        drop(batch);
        assert!(!restart.is_due(now) && restart.is_due(now + ERROR_WAIT));
    }

    #[test]
    fn waits_grow_with_every_panic_and_are_forgiven_later() {
        let mut now = Instant::now();
        let mut restart = Restart::new(None, Weak::new(), now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(restart.wait.as_secs());
            now += Duration::from_secs(60);
            restart = Restart::new(Some(&restart), Weak::new(), now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(Restart::new(Some(&restart), Weak::new(), now + FORGIVEN_AFTER).wait, ERROR_WAIT);
    }
}
