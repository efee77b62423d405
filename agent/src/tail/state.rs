//! What one record leaves for the next: stamps, pending pieces, and the last point from which everything could be read again.
//!
//! The *clean point* is the latest record boundary with no pending line. Reading from there with its last stamp repeats everything
//! after it exactly, so it is the only kind of place a checkpoint may name. While pieces are pending it stays where the oldest of an
//! unbroken chain of pending lines began, even if lines of the other stream were sent meanwhile: those are sent again, the same.

use super::raw::RawClock;
use super::stages::StageState;
use crate::parse::cri::OutputStream;
use crate::parse::pieces::PendingLine;
use crate::parse::stamps::StampGiver;
use crate::pipeline::Pipeline;
use crate::positions::table::{FileId, Progress};

/// A place in a file, and the state a reader had there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CleanPoint {
    pub(crate) file: FileId,
    pub(crate) progress: Progress,
}

/// State of one instance between two records.
#[derive(Debug)]
pub(crate) struct LineState {
    pub(crate) stamps: StampGiver,
    /// Of the last record, for those that name none.
    pub(crate) last_stream: OutputStream,
    /// Boxed, since mostly there is none.
    pub(crate) pending: [Option<Box<PendingLine>>; 2],
    /// Where the clean point stands while something is pending.
    pub(crate) frozen: Option<CleanPoint>,
    /// The time of reading, for files whose lines bring none; boxed, since few do.
    pub(crate) raw: Option<Box<RawClock>>,
    /// Where lines go through stages. Of a target the fields above but for `frozen` are not used then.
    pub(crate) stages: Option<Box<StageState>>,
    /// Lines went through stages that are gone: what was joined by them is not counted record by record.
    pub(crate) had_stages: bool,
}

impl LineState {
    /// At the start of an instance, or at a clean point of it.
    pub(crate) fn at(progress: &Progress) -> Self {
        Self {
            stamps: StampGiver::after(progress.last_stamp),
            last_stream: progress.last_stream,
            pending: [None, None],
            frozen: None,
            raw: None,
            stages: None,
            had_stages: false,
        }
    }

    /// The same for lines that go through stages.
    pub(crate) fn with_stages(progress: &Progress, pipeline: Pipeline, file_key: u64) -> Self {
        Self { stages: Some(Box::new(StageState::at(pipeline, file_key, progress))), ..Self::at(progress) }
    }

    /// The state as a checkpoint at `offset`.
    pub(crate) fn progress_at(&self, offset: u64) -> Progress {
        let (last_stamp, stages) = match &self.stages {
            None => (self.stamps.last_given(), None),
            Some(stages) => (stages.stamps.giver.last_given(), stages.progress(None)),
        };
        Progress { offset, last_stamp, last_stream: self.last_stream, is_finished: false, stages }
    }

    /// What the clock decided and is not yet recorded.
    pub(crate) fn take_clock_decisions(&mut self) -> Vec<(FileId, u64, i64)> {
        let of_stages = self.stages.as_mut().map(|stages| &mut stages.clock.decisions);
        let of_raw = self.raw.as_mut().map(|raw| &mut raw.scope.decisions);
        of_stages.into_iter().chain(of_raw).flat_map(std::mem::take).collect()
    }

    /// A decision of an earlier process about the time of reading.
    pub(crate) fn decide_clock(&mut self, stamp: i64, until: u64) {
        match &mut self.stages {
            Some(stages) => stages.decide_clock(stamp, until),
            None => self.raw.get_or_insert_default().decide(stamp, until),
        }
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.pending.iter().any(Option::is_some) || self.stages.as_ref().is_some_and(|stages| !stages.held().is_empty())
    }

    /// Whether pieces of a split line are pending.
    pub(crate) fn has_pieces(&self) -> bool {
        self.pending.iter().any(Option::is_some)
    }

    /// Bytes of text held for pending lines.
    pub(crate) fn pending_bytes(&self) -> usize {
        let held = self.stages.as_ref().map_or(0, |stages| stages.pipeline.held_bytes());
        held + self.piece_bytes()
    }

    /// The same of pieces of split lines alone.
    pub(crate) fn piece_bytes(&self) -> usize {
        self.pending.iter().flatten().map(|line| line.text().len()).sum()
    }

    /// The output with the longest pending text.
    pub(crate) fn longest_pending(&self) -> Option<OutputStream> {
        let length = |stream: &OutputStream| self.pending[stream.index()].as_ref().map_or(0, |line| line.text().len());
        OutputStream::ALL.into_iter().max_by_key(length).filter(|stream| length(stream) > 0)
    }

    /// Takes the pending line of `stream`, and unfreezes the clean point if it was the last one.
    pub(crate) fn take_pending(&mut self, stream: OutputStream) -> Option<Box<PendingLine>> {
        let line = self.pending[stream.index()].take();
        if !self.has_pending() {
            self.frozen = None;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clean_point_stays_until_nothing_is_pending() {
        let mut state = LineState::at(&Progress::start(Some(7)));
        let frozen = CleanPoint { file: FileId(1), progress: state.progress_at(100) };
        state.frozen = Some(frozen.clone());
        state.pending = [Some(Box::new(PendingLine::new(10))), Some(Box::new(PendingLine::new(10)))];
        state.take_pending(OutputStream::Stdout);
        assert_eq!(state.frozen, Some(frozen));
        state.take_pending(OutputStream::Stderr);
        assert_eq!(state.frozen, None);
        assert_eq!(state.progress_at(5).last_stamp, Some(7));
    }
}
