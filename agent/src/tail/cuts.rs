//! Decisions about pending lines that no byte makes: ended when their end does not come, shortened when memory is short.
//!
//! Each is recorded with its place before anything that rests on it is sent, and made again at the same place in a replay.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::balance::Meter;
use super::container::{ContainerTail, ReadContext, add_to_balance, count_denied};
use super::file::TailFile;
use super::outlet::Outlet;
use super::records::{RecordSink, SHORTENED_BYTES};
use super::state::LineState;
use crate::batch::builder::BatchBuilder;
use crate::parse::cri::OutputStream;
use crate::parse::time::StampReader;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{ContainerPath, CutKind, LineCut};

impl ContainerTail {
    /// Ends pending lines of an instance whose files did not grow for long.
    pub(super) fn cut_idle_lines(&mut self, context: &mut ReadContext<'_>) {
        self.cut_full_lines(context);
        let (Some(front), Some((instance, state))) = (self.files.front_mut(), self.state.as_deref_mut()) else { return };
        if !front.is_drained() {
            return;
        }
        let expired = state.stages.as_ref().map_or_else(Vec::new, |stages| stages.expired_keys(context.now));
        let is_idle = state.has_pending() && front.watched_unchanged_for(context.now) >= context.timing.partial_idle;
        if expired.is_empty() && !is_idle {
            return;
        }
        let outlet = self.outlets.get_mut(*instance).expect("entering a file made its outlet");
        let meter = Meter::start(context.counts, context.batch);
        flush_blocks(front, &self.path, expired, state, outlet, context);
        if is_idle {
            let lines = state.pending.iter().flatten().count() + state.stages.as_ref().map_or(0, |stages| stages.held_keys().len());
            context.metrics.partial_idle.inc_by(lines as u64);
            cut_pending(front, &self.path, state, outlet, context);
        }
        count_denied(outlet, context.counts);
        add_to_balance(front, state, meter.stop(context.counts, context.batch));
        self.is_in_batch = true;
    }

    /// Ends pending lines that were too long for long: what still comes would not be sent, and the position waits for them while other lines go on.
    fn cut_full_lines(&mut self, context: &mut ReadContext<'_>) {
        let (Some(front), Some((instance, state))) = (self.files.front_mut(), self.state.as_deref_mut()) else { return };
        // Decisions of an earlier process come first.
        if !state.has_pieces() || !front.cuts.is_empty() {
            return;
        }
        for stream in OutputStream::ALL {
            let full_for = state.pending[stream.index()].as_mut().map_or(Duration::ZERO, |line| line.is_full_for(context.now));
            if full_for < context.timing.partial_idle {
                continue;
            }
            let outlet = self.outlets.get_mut(*instance).expect("entering a file made its outlet");
            let meter = Meter::start(context.counts, context.batch);
            context.metrics.partial_idle.inc();
            decide_cut(front, &self.path, (stream, CutKind::End), state, outlet, context);
            count_denied(outlet, context.counts);
            add_to_balance(front, state, meter.stop(context.counts, context.batch));
            self.is_in_batch = true;
        }
    }

    /// Counts the text held for pending lines, and shortens the longest when all containers together hold too much.
    pub(super) fn bound_pending(&mut self, context: &mut ReadContext<'_>) {
        self.count_pending(context.pending_bytes);
        let Some(front) = self.files.front().filter(|front| self.entered == Some(front.id)) else { return };
        let Some((instance, state)) = self.state.as_deref_mut() else { return };
        // What stages hold is bounded by themselves.
        if context.pending_bytes.load(Ordering::Relaxed) <= context.max_pending_bytes || state.piece_bytes() <= 2 * SHORTENED_BYTES {
            return;
        }
        if let Some(stream) = state.longest_pending() {
            let outlet = self.outlets.get_mut(*instance).expect("entering a file made its outlet");
            decide_cut(front, &self.path, (stream, CutKind::Shorten), state, outlet, context);
            self.count_pending(context.pending_bytes);
        }
    }

    /// Whether text of pending lines is held for it.
    pub(crate) fn has_pending_bytes(&self) -> bool {
        self.own_pending_bytes > 0
    }

    /// It is no more, and nothing is held for it.
    pub(super) fn forget_pending(&mut self, all: &AtomicUsize) {
        all.fetch_sub(std::mem::take(&mut self.own_pending_bytes), Ordering::Relaxed);
    }

    /// Brings its part of the count up to date.
    pub(crate) fn count_pending(&mut self, all: &AtomicUsize) {
        let now = if self.is_over() { 0 } else { self.state.as_deref().map_or(0, |(_, state)| state.pending_bytes()) };
        all.fetch_add(now, Ordering::Relaxed);
        all.fetch_sub(self.own_pending_bytes, Ordering::Relaxed);
        self.own_pending_bytes = now;
    }
}

/// Ends, as recorded in the checkpoint, the pending line of a stream.
pub(super) fn apply_cut(file: &mut TailFile, sink: &mut RecordSink<'_>) {
    if let Some(cut) = file.cuts.pop_front() {
        let mut stamp_reader = StampReader::default();
        sink.reader(file.id, &mut stamp_reader).cut_pending(cut.stream, cut.kind, cut.offset);
    }
}

/// Ends all pending lines; for a file whose bytes are gone, so that nothing of it is ever repeated.
pub(super) fn flush_all(file: &TailFile, sink: &mut RecordSink<'_>) {
    let mut stamp_reader = StampReader::default();
    for stream in OutputStream::ALL {
        sink.reader(file.id, &mut stamp_reader).cut_pending(stream, CutKind::End, file.offset);
    }
    for key in sink.state.stages.as_ref().map_or_else(Vec::new, |stages| stages.held_keys()) {
        sink.reader(file.id, &mut stamp_reader).cut_pending(OutputStream::Stdout, CutKind::Flush { key }, file.offset);
    }
}

/// Ends pending lines where `file` stands.
pub(super) fn cut_pending(
    file: &TailFile,
    path: &ContainerPath,
    state: &mut LineState,
    outlet: &mut Outlet,
    context: &mut ReadContext<'_>,
) {
    for stream in OutputStream::ALL {
        if state.pending[stream.index()].is_some() {
            decide_cut(file, path, (stream, CutKind::End), state, outlet, context);
        }
    }
    let held = state.stages.as_ref().map_or_else(Vec::new, |stages| stages.held_keys());
    flush_blocks(file, path, held, state, outlet, context);
}

/// Ends blocks of stages where `file` stands.
fn flush_blocks(
    file: &TailFile,
    path: &ContainerPath,
    keys: Vec<u64>,
    state: &mut LineState,
    outlet: &mut Outlet,
    context: &mut ReadContext<'_>,
) {
    for key in keys {
        decide_cut(file, path, (OutputStream::Stdout, CutKind::Flush { key }), state, outlet, context);
    }
}

/// Records what the clock decided for lines of the front file, which is read up to `offset`.
pub(super) fn record_clock(
    file: &TailFile,
    path: &ContainerPath,
    state: &mut LineState,
    positions: &SharedPositions,
    batch: &mut BatchBuilder,
) {
    record_clock_until((file, file.offset), path, state, positions, batch);
}

/// The same for a front file of which lines were sent up to `read_to` at most.
pub(super) fn record_clock_until(
    (file, read_to): (&TailFile, u64),
    path: &ContainerPath,
    state: &mut LineState,
    positions: &SharedPositions,
    batch: &mut BatchBuilder,
) {
    for (id, offset, stamp) in state.take_clock_decisions() {
        let until = if id == file.id { read_to } else { u64::MAX };
        let cut = LineCut { offset, stream: OutputStream::Stdout, kind: CutKind::Clock { stamp, until } };
        batch.rest_on(positions.lock().decide_cut(id, cut, file.entry(path, file.start.clone())));
    }
}

/// Cuts a pending line where `file` stands, which no byte decides: recorded before anything that rests on it is sent.
pub(super) fn decide_cut(
    file: &TailFile,
    path: &ContainerPath,
    (stream, kind): (OutputStream, CutKind),
    state: &mut LineState,
    outlet: &mut Outlet,
    context: &mut ReadContext<'_>,
) {
    let mut stamp_reader = StampReader::default();
    let mut sink = RecordSink { rules: context.rules, state, outlet, batch: context.batch, counts: context.counts };
    sink.reader(file.id, &mut stamp_reader).cut_pending(stream, kind, file.offset);
    // What the clock said for it comes first, as it will be needed first.
    record_clock(file, path, state, context.positions, context.batch);
    let cut = LineCut { offset: file.offset, stream, kind };
    let revision = context.positions.lock().decide_cut(file.id, cut, file.entry(path, file.start.clone()));
    context.batch.rest_on(revision);
}
