//! Finished files that grew: read on their own, beside the files that come after them.
//!
//! Their lines go on with the stamps that followed their end. Nothing waits for them; they are over when nothing was added for the grace of a rotation.

use std::io;

use tailwater_lease::Writers;

use super::balance::{FileEnd, Meter};
use super::container::{ContainerTail, FinishedFile, LateFile, READ_QUANTUM, ReadContext, Turn, add_to_balance, count_denied};
use super::cuts::cut_pending;
use super::file::{Look, ReadEnd};
use super::records::RecordSink;
use super::staged::equip;
use crate::metrics::PossibleLoss;
use crate::positions::table::{Mark, Progress};

impl ContainerTail {
    /// Reads a finished file that grew.
    pub(super) fn read_late(&mut self, index: usize, context: &mut ReadContext<'_>) -> io::Result<Turn> {
        let instance = self.late[index].file.parsed_name.instance;
        let first_stamp = self.late[index].file.modified_nanos();
        if !self.ensure_outlet(instance, first_stamp, context) {
            return Ok(Turn::Idle);
        }
        let outlet = self.outlets.get_mut(instance).expect("made a moment ago");
        let LateFile { file, state } = &mut self.late[index];
        if file.offset == file.start.offset {
            equip(state, outlet, &file.start);
        }
        let look = file.look(context.now)?;
        let meter = Meter::start(context.counts, context.batch);
        let mut sink = RecordSink { rules: context.rules, state, outlet, batch: context.batch, counts: context.counts };
        let read = match look {
            Look { has_shrunk: true, .. } => Ok(ReadEnd::Truncated),
            Look { has_news: true, .. } => file.read(context.buffer, (READ_QUANTUM, u64::MAX), &mut sink),
            _ => Ok(ReadEnd::EndOfFile),
        };
        self.is_in_batch |= look.has_news;
        let is_at_end = matches!(read, Ok(ReadEnd::EndOfFile));
        let may_grow = file.unchanged_for(context.now) < context.timing.rotate_grace && (file.links > 0 || file.writers() == Writers::Some);
        let is_over = is_at_end && !may_grow;
        let is_truncated = matches!(read, Ok(ReadEnd::Truncated));
        if is_over {
            file.read_unfinished_record(context.buffer, &mut sink)?;
        }
        if is_over || is_truncated {
            if state.has_pending() {
                cut_pending(file, &self.path, state, outlet, context);
            }
            count_denied(outlet, context.counts);
            add_to_balance(file, state, meter.stop(context.counts, context.batch));
            let LateFile { mut file, state } = self.late.swap_remove(index);
            if is_truncated {
                context.metrics.truncated.inc();
                context.metrics.possible_loss(PossibleLoss::Truncated);
                tracing::warn!(container = &*self.path, file = file.name, "finished log file was truncated; lines may be missing");
            }
            let end = if is_truncated { FileEnd::Counted } else { FileEnd::Drained };
            self.ending.get_or_insert_default().balances.push(std::mem::take(&mut file.balance).finish(file.id, end));
            let progress = Progress { is_finished: true, ..state.progress_at(file.offset) };
            let entry = file.entry(&self.path, progress);
            self.ending.get_or_insert_default().marks.push(Mark { file: file.id, entry: entry.clone() });
            self.finished.push(FinishedFile { id: file.id, entry, size: file.size, modified: Some(file.modified()) });
            self.hold_until_acknowledged(file, end);
            self.is_in_batch = true;
        } else {
            count_denied(outlet, context.counts);
            add_to_balance(file, state, meter.stop(context.counts, context.batch));
        }
        Ok(match read? {
            ReadEnd::BatchFull => Turn::BatchFull,
            _ if look.has_news => Turn::Progress,
            _ => Turn::Idle,
        })
    }
}
