//! One journal file that is being read: its place, its lines on their way through the stages, and what of it is decided and counted.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use thin_vec::ThinVec;

use super::file::{JournalError, JournalFile};
use super::format::RawEntry;
use super::source::SourceContext;
use crate::batch::builder::BatchBuilder;
use crate::observe::journals::JournalView;
use crate::parse::cri::OutputStream;
use crate::parse::time::StampReader;
use crate::positions::keeper::SharedPositions;
use crate::positions::table::{ContainerPath, CutKind, FileEntry, FileId, InstanceKey, LineCut, Progress, StageProgress};
use crate::tail::balance::{FileBalance, Meter};
use crate::tail::fingerprint::Fingerprint;
use crate::tail::outlet::Outlet;
use crate::tail::records::{RecordReader, RecordSink};
use crate::tail::state::LineState;

/// A journal file that is being read, with stamps and stages of its own.
pub(super) struct OpenJournal {
    pub(super) file: JournalFile,
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    /// The next entry, if it was looked at.
    pub(super) head: Option<RawEntry>,
    pub(super) state: LineState,
    pub(super) outlet: Outlet,
    /// Where this process began.
    pub(super) start: Progress,
    /// Number of the next entry at the earliest.
    pub(super) next: u64,
    /// Entries before are not read; microseconds since the epoch.
    pub(super) not_before: u64,
    /// It was begun before: what is not read any more is counted.
    pub(super) is_resumed: bool,
    pub(super) cuts: VecDeque<LineCut>,
    /// Something changed since the last batch.
    pub(super) is_in_batch: bool,
    pub(super) failures: u32,
    /// What happened to its entries.
    pub(super) balance: FileBalance,
    /// Why it could not be read on, if that is so.
    pub(super) last_error: Option<String>,
    /// Not looked at again in this turn.
    pub(super) has_failed: bool,
}

impl OpenJournal {
    pub(super) fn fail(&mut self, error: &JournalError) {
        self.failures += 1;
        self.has_failed = true;
        self.last_error = Some(error.to_string());
        tracing::debug!(path = %self.path.display(), error = %error, failures = self.failures, "cannot read on in a journal file");
    }

    /// Lets `act` read with this file's stages.
    pub(super) fn reader(&mut self, context: &mut SourceContext<'_>, act: impl FnOnce(&mut RecordReader<'_>)) {
        let mut stamp_reader = StampReader::default();
        let meter = Meter::start(context.counts, context.batch);
        let mut sink = RecordSink {
            rules: context.rules,
            state: &mut self.state,
            outlet: &mut self.outlet,
            batch: context.batch,
            counts: context.counts,
        };
        act(&mut sink.reader(self.id, &mut stamp_reader));
        self.balance.add_of_stages(meter.stop(context.counts, context.batch));
        context.batch.touched(context.now);
    }

    /// Ends blocks where the file stands, which no byte decides: recorded before anything that rests on it is sent.
    pub(super) fn flush(&mut self, container: &ContainerPath, keys: Vec<u64>, context: &mut SourceContext<'_>) {
        for key in keys {
            let kind = CutKind::Flush { key };
            let offset = self.next;
            self.reader(context, |reader| reader.cut_pending(OutputStream::Stdout, kind, offset));
            self.record_clock(container, context.batch, context.positions);
            self.decide(container, LineCut { offset, stream: OutputStream::Stdout, kind }, context.batch, context.positions);
            self.is_in_batch = true;
        }
    }

    /// Records the times of reading that stages took.
    pub(super) fn record_clock(&mut self, container: &ContainerPath, batch: &mut BatchBuilder, positions: &SharedPositions) {
        for (_, offset, stamp) in self.state.take_clock_decisions() {
            let kind = CutKind::Clock { stamp, until: self.next };
            self.decide(container, LineCut { offset, stream: OutputStream::Stdout, kind }, batch, positions);
        }
    }

    fn decide(&self, container: &ContainerPath, cut: LineCut, batch: &mut BatchBuilder, positions: &SharedPositions) {
        let entry = self.entry(container, self.start.clone());
        batch.rest_on(positions.lock().decide_cut(self.id, cut, entry));
    }

    /// As which the positions know it: its id.
    pub(super) fn name(&self) -> String {
        format!("{:032x}", self.file.id())
    }

    pub(super) fn view(&self, labels: &BTreeMap<String, String>) -> JournalView {
        JournalView {
            path: self.path.to_string_lossy().into_owned(),
            labels: labels.clone(),
            start: self.start.offset.max(self.file.begin()),
            next: self.next.max(self.file.begin()),
            end: self.file.end().max(self.next),
            last_error: self.last_error.clone(),
        }
    }

    /// The latest place from which everything after it can be read again.
    pub(super) fn clean_progress(&self) -> Progress {
        let Some(frozen) = &self.state.frozen else { return self.state.progress_at(self.next) };
        let mut progress = frozen.progress.clone();
        if let Some(stages) = &progress.stages
            && let Some((last, _)) = stages.clock
        {
            progress.stages = Some(Arc::new(StageProgress { clock: Some((last, self.next)), ..StageProgress::clone(stages) }));
        }
        progress
    }

    pub(super) fn entry(&self, container: &ContainerPath, progress: Progress) -> FileEntry {
        FileEntry {
            instance: InstanceKey { container: ContainerPath::clone(container), number: 0 },
            name: self.name().into(),
            device: 0,
            inode: 0,
            fingerprint: Fingerprint::default(),
            progress,
            cuts: ThinVec::new(),
        }
    }
}
