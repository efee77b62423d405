//! A chunk of a file, cut at newlines, through the stages of a pipeline: the way of targets that a `promtail.yaml` names.

use std::time::{Duration, Instant, SystemTime};

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::records::RecordReader;
use super::stages::{StageOutlet, StageState};
use super::state::CleanPoint;
use crate::pipeline::context::StageContext;
use crate::pipeline::entry::{Entry, Origin};
use crate::positions::table::Progress;

impl RecordReader<'_> {
    /// Reads the whole lines of `chunk`, which begins at `offset`, until the batch is full or reading should pause. Returns the bytes taken.
    pub(super) fn read_lines(&mut self, chunk: &[u8], offset: u64) -> usize {
        let mut start = 0;
        let encoding = self.outlet.stages().and_then(|stages| stages.encoding);
        for end in memchr::memchr_iter(b'\n', chunk) {
            let width = if encoding == Some(UTF_16LE) || encoding == Some(UTF_16BE) { 2 } else { 1 };
            let Some((text_end, next)) = line_end(chunk, start, end, width, encoding == Some(UTF_16BE)) else { continue };
            self.read_line(&chunk[start..text_end], 0, offset + start as u64, offset + next as u64);
            start = next;
            if self.batch.is_full() || self.outlet.stages().is_some_and(|stages| !stages.pause.is_zero()) {
                break;
            }
        }
        self.counts.bytes += start as u64;
        start
    }

    /// Reads a line of which only `head` was kept and `unread` bytes more were skipped.
    pub(super) fn read_long_line(&mut self, head: &[u8], unread: u64, offset: u64) {
        self.counts.bytes += head.len() as u64 + unread + 1;
        self.counts.truncated_lines += u64::from(unread > 0);
        self.read_line(head, unread, offset, offset + head.len() as u64 + unread + 1);
    }

    fn read_line(&mut self, bytes: &[u8], unread: u64, offset: u64, next_offset: u64) {
        self.counts.lines += 1;
        let (Some(outlet), Some(stages)) = (self.outlet.stages_mut(), &mut self.state.stages) else { return };
        let (text, is_replaced) = outlet.decode(bytes);
        self.counts.invalid_utf8 += u64::from(is_replaced && unread == 0);
        if !may_read(outlet) {
            return;
        }
        stages.settle_clock(offset, self.batch.epoch());
        let can_hold = stages.pipeline.can_hold();
        let before = can_hold.then(|| CleanPoint { file: self.file, progress: progress_before(stages, offset) });
        let place = stages.next_place;
        stages.next_place += 1;
        let entry = Entry::new(&outlet.labels, text, place);
        let touched = run(stages, outlet, self.batch, offset, &mut self.counts.clock_steps, |stages, context, out| {
            stages.process(entry, context, out);
        });
        let decisions = stages.stamps.clock.decisions.drain(..).map(|(offset, stamp)| (self.file, offset, stamp));
        stages.clock_decisions.extend(decisions);
        if let Some(before) = before {
            let held = stages.held();
            self.state.frozen = stages.boundaries.line(place, before, &touched, &held);
        }
        debug_assert!(next_offset > offset);
    }

    /// Ends the block of `key`.
    pub(super) fn flush_block(&mut self, key: u64, offset: u64) {
        let (Some(outlet), Some(stages)) = (self.outlet.stages_mut(), &mut self.state.stages) else { return };
        stages.settle_clock(offset, self.batch.epoch());
        run(stages, outlet, self.batch, offset, &mut self.counts.clock_steps, |stages, context, out| stages.flush(key, context, out));
        let decisions = stages.stamps.clock.decisions.drain(..).map(|(offset, stamp)| (self.file, offset, stamp));
        stages.clock_decisions.extend(decisions);
        let held = stages.held();
        self.state.frozen = stages.boundaries.settle(&held);
    }
}

/// The state before a line, as a checkpoint.
fn progress_before(stages: &StageState, offset: u64) -> Progress {
    let last_stamp = stages.stamps.giver.last_given();
    Progress { offset, stages: stages.progress(Some(u64::MAX)), ..Progress::start(last_stamp) }
}

/// Whether the process may read one more line now; one that may not is dropped, or makes reading pause.
fn may_read(outlet: &mut StageOutlet) -> bool {
    let Some((bucket, drops)) = &outlet.limits.read_rate else { return true };
    let now = Instant::now();
    if *drops {
        let is_allowed = bucket.lock().allow(now);
        if !is_allowed {
            outlet.limits.counters.dropped("global_rate_limiter_drop");
        }
        return is_allowed;
    }
    let wait = bucket.lock().reserve(now);
    outlet.pause = outlet.pause.max(wait);
    true
}

/// Lets `act` run the stages and sends what comes out. Returns where those entries came from.
fn run(
    stages: &mut StageState,
    outlet: &mut StageOutlet,
    batch: &mut crate::batch::builder::BatchBuilder,
    offset: u64,
    clock_steps: &mut u64,
    act: impl FnOnce(&mut crate::pipeline::Pipeline, &mut StageContext<'_>, &mut Vec<Entry>),
) -> Vec<Origin> {
    let mut out = std::mem::take(&mut stages.out);
    let limits = std::sync::Arc::clone(&outlet.limits);
    let mut context = StageContext {
        stamps: &mut stages.stamps,
        counters: &limits.counters,
        offset,
        file_key: stages.file_key,
        now: now(),
        pause: Duration::ZERO,
        clock_steps: 0,
    };
    act(&mut stages.pipeline, &mut context, &mut out);
    let mut touched = Vec::new();
    for entry in out.drain(..) {
        let timestamp = entry.timestamp.unwrap_or_else(|| context.read_stamp());
        touched.push(entry.origin);
        outlet.push(batch, entry, timestamp);
    }
    *clock_steps += context.clock_steps;
    outlet.pause = outlet.pause.max(context.pause);
    stages.out = out;
    touched
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// Where a line's text ends and the next line begins, given a newline byte at `at`; none if that byte is part of another character.
fn line_end(chunk: &[u8], start: usize, at: usize, width: usize, is_big_endian: bool) -> Option<(usize, usize)> {
    if width == 1 {
        return Some((at, at + 1));
    }
    let (first, other) = if is_big_endian { (at.checked_sub(1)?, at - 1) } else { (at, at + 1) };
    let is_newline = first >= start && (first - start) % 2 == 0 && chunk.get(other) == Some(&0);
    is_newline.then_some((first, first + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_of_two_bytes_are_told_from_other_characters() {
        let little: Vec<u8> = "aĊ\nb".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let ends: Vec<_> = memchr::memchr_iter(b'\n', &little).filter_map(|at| line_end(&little, 0, at, 2, false)).collect();
        assert_eq!(ends, [(4, 6)]);
        let big: Vec<u8> = "aਊ\nb".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let ends: Vec<_> = memchr::memchr_iter(b'\n', &big).filter_map(|at| line_end(&big, 0, at, 2, true)).collect();
        assert_eq!(ends, [(4, 6)]);
        assert_eq!(line_end(b"ab\nc", 0, 2, 1, false), Some((2, 3)));
    }
}
