//! The end of a file: when nothing more can come, and what is left to do then.
//!
//! The kernel says whether a file has a writer. One that has none is final when it was rotated, when its name is gone for a moment (its successor, with
//! which a line may go on, is found meanwhile), or when its container has ended. One that has a writer is not, whatever else was seen: another process may
//! have closed it, or the file that had its name before. It is so only when it stood still for the grace of a rotation while its successor has data, its
//! container has ended, or it was deleted with its directory; or when a compressed copy of it is there. Where the kernel cannot say, a writer that was seen
//! to close it must do.

use std::io;
use std::time::Duration;

use tailwater_lease::Writers;

use super::balance::{FileEnd, Meter};
use super::container::{ContainerTail, FinishedFile, Passed, ReadContext, add_to_balance, count_denied};
use super::cuts::{cut_pending, record_clock};
use super::records::RecordSink;
use crate::discover::listing::Source;
use crate::metrics::PossibleLoss;
use crate::positions::table::Progress;

/// How long a file without a name stands at its end, and without a successor, before it is taken as final.
const UNLINKED_GRACE: Duration = Duration::from_secs(1);

impl ContainerTail {
    /// The front file stands at its end: goes on to the next if nothing more can come.
    pub(super) fn leave_front_if_final(&mut self, context: &mut ReadContext<'_>) -> io::Result<bool> {
        let is_forgotten = self.forgets_tail();
        if is_forgotten {
            // The planted fault knows what it leaves.
            self.files.front_mut().map(|front| front.look_whole(context.now)).transpose()?;
        } else if !self.is_front_final(context) {
            return Ok(false);
        }
        let next_instance = self.files.get(1).map(|next| next.parsed_name.instance);
        let (Some(front), Some((instance, state))) = (self.files.front_mut(), self.state.as_deref_mut()) else { return Ok(false) };
        let outlet = self.outlets.get_mut(*instance).expect("entering a file made its outlet");
        let meter = Meter::start(context.counts, context.batch);
        let mut sink = RecordSink { rules: context.rules, state, outlet, batch: context.batch, counts: context.counts };
        if !is_forgotten {
            front.read_unfinished_record(context.buffer, &mut sink)?;
        }
        let is_instance_over = next_instance != Some(*instance);
        if is_instance_over && state.has_pending() {
            cut_pending(front, &self.path, state, outlet, context);
        }
        count_denied(outlet, context.counts);
        add_to_balance(front, state, meter.stop(context.counts, context.batch));
        record_clock(front, &self.path, state, context.positions, context.batch);
        if front.is_damaged() {
            context.metrics.possible_loss(PossibleLoss::Compressed);
            tracing::warn!(
                container = &*self.path,
                file = front.name,
                "compressed log file is damaged; lines after the damage are missing"
            );
        }
        let is_drained = front.is_complete() || front.offset >= front.size;
        self.end_front(if is_drained { FileEnd::Drained } else { FileEnd::Unread });
        if next_instance.is_some() {
            context.metrics.rotations.inc();
        }
        context.positions.write_soon();
        Ok(true)
    }

    /// The front file is finished where it stands.
    pub(super) fn end_front(&mut self, end: FileEnd) {
        let Some(mut front) = self.files.pop_front() else { return };
        let progress = match self.state.as_deref() {
            Some((_, state)) if self.entered == Some(front.id) => state.progress_at(front.offset),
            _ => front.start.clone(),
        };
        let entry = front.entry(&self.path, Progress { is_finished: true, ..progress });
        self.ending.get_or_insert_default().balances.push(std::mem::take(&mut front.balance).finish(front.id, end));
        self.passed.push(Passed { id: front.id, entry: entry.clone() });
        self.finished.push(FinishedFile { id: front.id, entry, size: front.size, modified: Some(front.modified()) });
        self.hold_until_acknowledged(front, end);
        let is_instance_over =
            self.files.front().map(|next| next.parsed_name.instance) != self.state.as_deref().map(|(instance, _)| *instance);
        if is_instance_over {
            self.state = None;
            self.outlets.clear();
        }
        self.entered = None;
        self.is_in_batch = true;
    }

    fn is_front_final(&mut self, context: &ReadContext<'_>) -> bool {
        let successor_has_data = self.files.get_mut(1).is_some_and(|next| next.look(context.now).is_ok() && next.size > 0);
        // Its directory may be gone for good, the file having another name elsewhere, or for a while: then it has a writer.
        let is_gone = self.is_gone && matches!(self.source, Source::Container { .. });
        let may_be_over = self.files.len() > 1 || self.has_ended || is_gone;
        let Some(front) = self.files.front_mut() else { return false };
        if front.is_complete() {
            return true;
        }
        if !front.is_drained() {
            return false;
        }
        let rotate_grace = context.timing.rotate_grace;
        let is_deleted = front.links == 0;
        let is_over = successor_has_data || self.has_ended || (is_gone && is_deleted);
        if front.compressed_copy.is_some() || (is_over && front.unchanged_for(context.now) >= rotate_grace) {
            return true;
        }
        let was_deleted = is_deleted && front.watched_unchanged_for(context.now) >= UNLINKED_GRACE.min(rotate_grace);
        if !may_be_over && !was_deleted {
            return false;
        }
        match front.writers() {
            // A last writer may have written between the look before and the end of its descriptor.
            Writers::None => front.look_whole(context.now).is_ok() && front.is_drained(),
            Writers::Some => false,
            Writers::Unknown => was_deleted || (!is_deleted && front.is_closed()),
        }
    }
}
