//! Where a container's files stand, as the batch being closed will say once it is acknowledged.
//!
//! Files that lie wholly before the clean point are finished; the file with the clean point is acknowledged up to it. A file in which
//! nothing was read to a record's end is not named at all.

use std::sync::Arc;

use super::container::ContainerTail;
use super::cuts::record_clock;
use super::state::CleanPoint;
use crate::batch::builder::BatchBuilder;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{FileEntry, Mark, Progress, StageProgress};

impl ContainerTail {
    /// Puts into the batch where the container's files stand now.
    pub(crate) fn add_marks(&mut self, batch: &mut BatchBuilder, positions: &SharedPositions) {
        self.is_in_batch = false;
        self.record_clocks(batch, positions);
        let clean = self.clean_point();
        let first_open = clean.as_ref().and_then(|clean| self.passed.iter().position(|passed| passed.id == clean.file));
        for passed in self.passed.drain(..first_open.unwrap_or(self.passed.len())) {
            batch.mark(Mark { file: passed.id, entry: passed.entry });
        }
        if self.passed.is_empty() {
            self.passed = Vec::new();
        }
        if let Some(clean) = clean.filter(|clean| Some(clean) != self.last_marked.as_deref()) {
            if let Some(entry) = self.entry_of(&clean) {
                batch.mark(Mark { file: clean.file, entry });
            }
            self.last_marked = Some(Box::new(clean));
        }
        if let Some(ending) = self.ending.take() {
            ending.marks.into_iter().for_each(|mark| batch.mark(mark));
            ending.balances.into_iter().for_each(|part| batch.balance(part));
        }
        for file in self.unfinished_mut() {
            if let Some(part) = file.balance.take(file.id) {
                batch.balance(part);
            }
        }
        for late in &self.late {
            let clean = late.state.frozen.clone().map_or_else(|| late.state.progress_at(late.file.offset), |frozen| frozen.progress);
            let progress = Progress { is_finished: true, ..clean };
            batch.mark(Mark { file: late.file.id, entry: late.file.entry(&self.path, progress) });
        }
    }

    /// Records the times of reading that lines of this batch were stamped with.
    fn record_clocks(&mut self, batch: &mut BatchBuilder, positions: &SharedPositions) {
        if let (Some(front), Some((_, state))) = (self.files.front(), self.state.as_deref_mut()) {
            record_clock(front, &self.path, state, positions, batch);
        }
        for late in &mut self.late {
            record_clock(&late.file, &self.path, &mut late.state, positions, batch);
        }
    }

    /// The latest place from which everything after it can be read again.
    fn clean_point(&self) -> Option<CleanPoint> {
        let (_, state) = self.state.as_deref()?;
        let front = self.files.front().filter(|front| self.entered == Some(front.id));
        if let Some(mut frozen) = state.frozen.clone() {
            // The clock of the lines held goes on as far as they were read, and not for what comes later.
            if let (Some(stages), Some(front)) = (&frozen.progress.stages, front)
                && let Some((last, _)) = stages.clock
                && front.id == frozen.file
            {
                let clock = Some((last, front.offset));
                frozen.progress.stages = Some(Arc::new(StageProgress { clock, ..StageProgress::clone(stages) }));
            }
            return Some(frozen);
        }
        let front = front?;
        Some(CleanPoint { file: front.id, progress: state.progress_at(front.offset) })
    }

    fn entry_of(&self, clean: &CleanPoint) -> Option<FileEntry> {
        if let Some(passed) = self.passed.iter().find(|passed| passed.id == clean.file) {
            return Some(FileEntry { progress: clean.progress.clone(), ..passed.entry.clone() });
        }
        let front = self.files.front().filter(|front| front.id == clean.file)?;
        // A file without a whole record has no identity worth keeping.
        (clean.progress.offset > 0).then(|| front.entry(&self.path, clean.progress.clone()))
    }
}
