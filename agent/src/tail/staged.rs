//! Records of a pod's container whose lines go through stages: read, joined and limited as all others are, then handed on.
//!
//! A record is one place in the order of lines; one that ends a split line stands for all of its pieces. What is pending, pieces and blocks alike, decides
//! from where it all could be read again ([`super::boundaries`]).

use std::sync::Arc;

use super::boundaries;
use super::lines::run;
use super::outlet::Outlet;
use super::records::{RawRecord, RecordReader};
use super::stages::StageState;
use super::state::{CleanPoint, LineState};
use crate::parse::cri::OutputStream;
use crate::parse::format::RecordFormat;
use crate::pipeline::entry::{Entry, Origin, Place};
use crate::positions::table::Progress;
use crate::relabel::Labels;

/// A whole line of a record, with a pair of its own.
#[derive(Debug)]
pub(crate) struct WholeLine {
    stream: OutputStream,
    stamp: i64,
    text: String,
    pair: Option<(&'static str, String)>,
}

impl RecordReader<'_> {
    /// Whether its records are those of a container whose lines go through stages.
    pub(super) fn is_staged(&self) -> bool {
        self.state.stages.is_some() && self.outlet.stages().is_some() && !self.outlet.is_of_target()
    }

    /// Reads the whole records of `chunk`, which begins at `offset`, until the batch is full or reading should pause. Returns the bytes taken.
    pub(super) fn read_staged_chunk(&mut self, chunk: &[u8], offset: u64) -> usize {
        let is_known_valid = simdutf8::basic::from_utf8(chunk).is_ok();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            self.read_staged(RawRecord { bytes: &chunk[start..end], unread: 0, offset: offset + start as u64, is_known_valid });
            start = end + 1;
            if self.batch.is_full() || self.outlet.stages().is_some_and(|stages| !stages.pause.is_zero()) {
                break;
            }
        }
        self.counts.bytes += start as u64;
        start
    }

    /// Reads one record.
    pub(super) fn read_staged(&mut self, raw: RawRecord<'_>) {
        let Some(stages) = &mut self.state.stages else { return };
        stages.stamps.giver = self.state.stamps;
        let place = stages.next_place;
        stages.next_place += 1;
        let progress = Progress {
            offset: raw.offset,
            last_stream: self.state.last_stream,
            stages: stages.progress(Some(u64::MAX)),
            ..Progress::start(self.state.stamps.last_given())
        };
        let parsed = self.parse_cri(raw.bytes);
        self.read_slowly(raw, parsed);
        self.counts.lines += 1;
        let stream = self.state.last_stream;
        if self.state.pending[stream.index()].is_some()
            && let Some(stages) = &mut self.state.stages
        {
            stages.pieces[stream.index()].get_or_insert(Origin { first: place, last: place }).last = place;
        }
        self.hand_on(raw.offset, Some((place, CleanPoint { file: self.file, progress })));
    }

    /// Keeps a whole line until its record is read.
    pub(super) fn keep_for_stages(&mut self, stream: OutputStream, stamp: i64, line: &[u8], pair: Option<(&'static str, String)>) {
        if let Some(stages) = &mut self.state.stages {
            stages.whole_lines.push(WholeLine { stream, stamp, text: String::from_utf8_lossy(line).into_owned(), pair });
        }
    }

    /// Lets the stages have the lines that are whole. `record` is the place of the record they came with, and the state before it; `None`: a decision that
    /// no byte makes.
    pub(super) fn hand_on(&mut self, offset: u64, record: Option<(Place, CleanPoint)>) {
        if !self.is_staged() {
            return;
        }
        let entries = self.entries(record.as_ref().map(|(place, _)| *place));
        let Some(stages) = &mut self.state.stages else { return };
        stages.stamps.giver = self.state.stamps;
        stages.settle_clock(offset, self.batch.epoch());
        let (touched, learned) = run(stages, self.outlet, self.batch, offset, &mut self.counts.clock_steps, |stages, context, out| {
            entries.into_iter().for_each(|entry| stages.process(entry, context, out));
        });
        self.state.stamps = stages.stamps.giver;
        stages.note_clock(self.file);
        let held = stages.held();
        self.state.frozen = match record {
            None => {
                learned.into_iter().for_each(|(origin, stamp)| stages.boundaries.learn(origin, stamp));
                stages.boundaries.settle(&held)
            }
            Some((place, mut before)) => {
                for (origin, stamp) in learned {
                    stages.boundaries.learn(origin, stamp);
                    if origin < place {
                        boundaries::learn(&mut before.progress, stamp);
                    }
                }
                stages.boundaries.line(place, before, &touched, &held)
            }
        };
    }

    /// The whole lines as entries, each with where it comes from.
    fn entries(&mut self, place: Option<Place>) -> Vec<Entry> {
        // Lines that are no records are stamped by the clock, which only the stages ask.
        let is_stamped = self.format() != RecordFormat::Raw;
        let (Some(outlet), Some(stages)) = (self.outlet.stages(), &mut self.state.stages) else { return Vec::new() };
        let StageState { pieces, whole_lines, .. } = &mut **stages;
        let ended = OutputStream::ALL.map(|stream| match &self.state.pending[stream.index()] {
            None => pieces[stream.index()].take(),
            Some(_) => None,
        });
        let entry = |line: WholeLine| {
            let pieces = ended[line.stream.index()];
            let last = place.or(pieces.map(|pieces| pieces.last)).unwrap_or_default();
            let mut entry = Entry::new(outlet.labels_of(line.stream), line.text, last);
            entry.origin.first = pieces.map_or(last, |pieces| pieces.first);
            entry.timestamp = Some(line.stamp).filter(|_| is_stamped);
            entry.metadata.extend(line.pair.filter(|_| outlet.takes_metadata()).map(|(name, value)| (name.to_owned(), value)));
            entry
        };
        whole_lines.drain(..).map(entry).collect()
    }

    /// The label set of this number holds from `offset` on; lines may go through other stages then. Blocks end, since none has lines with the labels of
    /// others.
    pub(super) fn change_set(&mut self, set: usize, offset: u64) {
        for key in self.state.stages.as_ref().map_or_else(Vec::new, |stages| stages.held_keys()) {
            self.flush_block(key, offset);
        }
        let changes_stages = self.outlet.would_change_stages(set);
        self.outlet.use_set(set);
        if changes_stages {
            let progress = self.state.progress_at(offset);
            // What the clock decided for blocks that have just ended is not recorded yet.
            let decisions = self.state.take_clock_decisions();
            self.state.had_stages |= self.state.stages.take().is_some();
            self.state.frozen = None;
            equip(self.state, self.outlet, &progress);
            if !decisions.is_empty() {
                self.state.raw.get_or_insert_default().scope.decisions.extend(decisions);
            }
        }
    }
}

/// Gives `state`, which is that at `progress`, the stages that lines to `outlet` go through.
pub(super) fn equip(state: &mut LineState, outlet: &Outlet, progress: &Progress) {
    if state.stages.is_none() && !outlet.is_of_target() {
        state.stages = outlet.stage_state(progress).map(Box::new);
    }
}

/// Labels of an instance's entries, by stream.
pub(super) fn by_stream(labels: &Labels) -> [Arc<Labels>; 2] {
    OutputStream::ALL.map(|stream| {
        let mut labels = labels.clone();
        labels.insert("stream".to_owned(), stream.name().to_owned());
        Arc::new(labels)
    })
}
