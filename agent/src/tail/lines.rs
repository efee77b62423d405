//! A chunk of a file, cut at newlines, through the stages of a pipeline: the way of targets that a `promtail.yaml` names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::boundaries;
use super::outlet::Outlet;
use super::records::RecordReader;
use super::stages::{StageLimits, StageState};
use super::state::CleanPoint;
use crate::clock;
use crate::pipeline::context::{KnownStamp, StageContext};
use crate::pipeline::entry::{Entry, Origin, Place};
use crate::positions::table::Progress;
use crate::relabel::Labels;

impl RecordReader<'_> {
    /// Reads the whole lines of `chunk`, which begins at `offset`, until the batch is full or reading should pause. Returns the bytes taken.
    pub(super) fn read_lines(&mut self, chunk: &[u8], offset: u64) -> usize {
        if let (Some(outlet), Some(stages)) = (self.outlet.stages_mut(), &self.state.stages) {
            outlet.ask_plain(&stages.pipeline);
            if outlet.plain.as_ref().is_some_and(Option::is_some) {
                return self.read_plain_lines(chunk, offset);
            }
        }
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
        self.counts.truncated_bytes += unread;
        self.read_line(head, unread, offset, offset + head.len() as u64 + unread + 1);
    }

    pub(super) fn read_line(&mut self, bytes: &[u8], unread: u64, offset: u64, next_offset: u64) {
        let Some(outlet) = self.outlet.stages_mut() else { return };
        let bytes = bytes.strip_suffix(b"\r").filter(|_| outlet.drops_returns && unread == 0).unwrap_or(bytes);
        let (text, is_replaced) = outlet.decode(bytes);
        self.counts.invalid_utf8 += u64::from(is_replaced && unread == 0);
        let labels = Arc::clone(&outlet.labels);
        self.read_text(&labels, text, None, offset);
        debug_assert!(next_offset > offset);
    }

    /// Reads a line with its labels and, where its source stamps it, that stamp; the next one begins behind `offset`.
    pub(crate) fn read_text(&mut self, labels: &Arc<Labels>, text: String, raw_stamp: Option<i64>, offset: u64) {
        self.counts.lines += 1;
        let Some(stages) = &mut self.state.stages else { return };
        stages.settle_clock(offset, self.batch.epoch());
        let can_hold = stages.pipeline.can_hold();
        let before = can_hold.then(|| CleanPoint { file: self.file, progress: progress_before(stages, offset) });
        let place = stages.next_place;
        stages.next_place += 1;
        let mut entry = Entry::new(labels, text, place);
        let (touched, learned) = run(stages, self.outlet, self.batch, offset, &mut self.counts.clock_steps, |stages, context, out| {
            entry.timestamp = raw_stamp.map(|raw| context.runtime_stamp(raw));
            stages.process(entry, context, out);
        });
        stages.note_clock(self.file);
        if let Some(mut before) = before {
            for (origin, stamp) in learned {
                stages.boundaries.learn(origin, stamp);
                if origin < place {
                    boundaries::learn(&mut before.progress, stamp);
                }
            }
            let held = stages.held();
            self.state.frozen = stages.boundaries.line(place, before, &touched, &held);
        }
    }

    /// Ends the block of `key`.
    pub(super) fn flush_block(&mut self, key: u64, offset: u64) {
        let Some(stages) = &mut self.state.stages else { return };
        stages.settle_clock(offset, self.batch.epoch());
        let (_, learned) = run(stages, self.outlet, self.batch, offset, &mut self.counts.clock_steps, |stages, context, out| {
            stages.flush(key, context, out);
        });
        learned.into_iter().for_each(|(origin, stamp)| stages.boundaries.learn(origin, stamp));
        stages.note_clock(self.file);
        let held = stages.held();
        self.state.frozen = stages.boundaries.settle(&held);
    }
}

/// The state before a line, as a checkpoint.
fn progress_before(stages: &StageState, offset: u64) -> Progress {
    let last_stamp = stages.stamps.giver.last_given();
    Progress { offset, stages: stages.progress(Some(u64::MAX)), ..Progress::start(last_stamp) }
}

/// Whether the process may send what came out of the stages now; what it may not is dropped, or makes reading pause. What stages leave out needs no room.
fn may_send(limits: &StageLimits, context: &mut StageContext<'_>) -> bool {
    let Some((bucket, drops)) = &limits.read_rate else { return true };
    let now = Instant::now();
    if *drops {
        let is_allowed = bucket.lock().allow(now);
        if !is_allowed {
            limits.counters.dropped("global_rate_limiter_drop");
        }
        return is_allowed;
    }
    let wait = bucket.lock().reserve(now);
    context.pause_for(wait);
    true
}

/// Lets `act` run the stages and sends what comes out. Returns where those entries came from.
pub(super) fn run(
    stages: &mut StageState,
    outlet: &mut Outlet,
    batch: &mut crate::batch::builder::BatchBuilder,
    offset: u64,
    clock_steps: &mut u64,
    act: impl FnOnce(&mut crate::pipeline::Pipeline, &mut StageContext<'_>, &mut Vec<Entry>),
) -> (Vec<Origin>, Vec<(Place, KnownStamp)>) {
    let Some(limits) = outlet.stages().map(|outlet| Arc::clone(&outlet.limits)) else { return Default::default() };
    let mut out = std::mem::take(&mut stages.out);
    let mut context = StageContext {
        stamps: &mut stages.stamps,
        counters: &limits.counters,
        origin: 0,
        learned: Vec::new(),
        offset,
        file_key: stages.file_key,
        now: clock::now(),
        pause: Duration::ZERO,
        clock_steps: 0,
        inspects: limits.inspects,
    };
    act(&mut stages.pipeline, &mut context, &mut out);
    let mut touched = Vec::new();
    for entry in out.drain(..) {
        let timestamp = entry.timestamp.unwrap_or_else(|| context.read_stamp());
        touched.push(entry.origin);
        if may_send(&limits, &mut context) {
            outlet.push_entry(batch, entry, timestamp, &mut context);
        }
    }
    *clock_steps += context.clock_steps;
    let pause = context.pause;
    stages.out = out;
    let learned = context.learned;
    if let Some(outlet) = outlet.stages_mut() {
        outlet.pause = outlet.pause.max(pause);
    }
    (touched, learned)
}

/// Where a line's text ends and the next line begins, given a newline byte at `at`; none if that byte is part of another character.
fn line_end(chunk: &[u8], start: usize, at: usize, width: usize, is_big_endian: bool) -> Option<(usize, usize)> {
    if width == 1 {
        return Some((at, at + 1));
    }
    let (first, other) = if is_big_endian { (at.checked_sub(1)?, at - 1) } else { (at, at + 1) };
    let is_newline = first >= start && (first - start).is_multiple_of(2) && chunk.get(other) == Some(&0);
    is_newline.then_some((first, first + 2))
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use proptest::prelude::*;
    use tailwater_proto::{read, snappy};

    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchLimits};
    use crate::parse::cri::OutputStream;
    use crate::parse::format::RecordFormat;
    use crate::parse::time::StampReader;
    use crate::pipeline::{Pipeline, TokenBucket, build};
    use crate::positions::table::{CutKind, FileId, StageProgress};
    use crate::tail::counts::ReadCounts;
    use crate::tail::rate::RateLimit;
    use crate::tail::records::{LineRules, LongLine, RecordSink, Unparsed};
    use crate::tail::stages::{StageLimits, StageOutlet};
    use crate::tail::state::LineState;

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

    /// A reader of lines with its batches, as a container's tail uses it.
    struct Reader {
        state: LineState,
        outlet: Outlet,
        batch: Option<BatchBuilder>,
        counts: ReadCounts,
        offset: u64,
        /// Decisions that were recorded: offset, stamp, until.
        clocks: Vec<(u64, i64, u64)>,
        entries: Vec<(String, i64, String)>,
    }

    const RULES: LineRules = LineRules {
        max_line_bytes: 1 << 20,
        max_record_bytes: 1 << 20,
        format: RecordFormat::Auto,
        long_line: LongLine::Truncate,
        unparsed: Unparsed::Keep,
        rate: RateLimit { bytes: 0, lines: 0, drops: false },
    };

    fn pipeline(text: &str) -> Pipeline {
        let mut report = crate::promtail::Report::default();
        let node = crate::promtail::yaml::parse(text).unwrap();
        let stages = build::stages(&node, &mut build::Surroundings::new(Arc::default()), &mut report);
        Pipeline::new(stages.unwrap_or_else(|| panic!("{report}")))
    }

    impl Reader {
        fn new(stages: &str, progress: &Progress, clocks: Vec<(u64, i64, u64)>) -> Self {
            Self::within(StageLimits::none(crate::metrics::Metrics::new()), stages, progress, clocks)
        }

        fn within(limits: StageLimits, stages: &str, progress: &Progress, clocks: Vec<(u64, i64, u64)>) -> Self {
            let labels = Labels::from([("job".to_owned(), "t".to_owned())]);
            Self {
                state: LineState::with_stages(progress, pipeline(stages), 7),
                outlet: Outlet::of_stages(StageOutlet::new(labels, None, Arc::new(limits))),
                batch: Some(BatchBuilder::new(BatchLimits { batch_bytes: 1 << 20, max_line_bytes: 1 << 16 })),
                counts: ReadCounts::default(),
                offset: progress.offset,
                clocks,
                entries: Vec::new(),
            }
        }

        /// Reads `bytes` as one batch, stopping where earlier decisions were made.
        fn feed(&mut self, bytes: &[u8]) {
            let mut batch = self.batch.take().unwrap();
            let mut rest = bytes;
            while !rest.is_empty() {
                let here = self.clocks.iter().filter(|(offset, _, _)| *offset == self.offset).copied().collect::<Vec<_>>();
                let next = self.clocks.iter().map(|(offset, _, _)| *offset).filter(|offset| *offset > self.offset).min();
                let length = next.map_or(rest.len(), |next| usize::try_from(next - self.offset).unwrap().min(rest.len()));
                let mut sink = RecordSink {
                    rules: RULES,
                    state: &mut self.state,
                    outlet: &mut self.outlet,
                    batch: &mut batch,
                    counts: &mut self.counts,
                };
                let mut stamps = StampReader::default();
                let mut reader = sink.reader(FileId(1), &mut stamps);
                for (offset, stamp, until) in here {
                    reader.cut_pending(OutputStream::Stdout, CutKind::Clock { stamp, until }, offset);
                }
                assert_eq!(reader.read_chunk(&rest[..length], self.offset), length);
                self.offset += length as u64;
                rest = &rest[length..];
            }
            self.close(batch);
        }

        fn flush(&mut self) {
            let mut batch = self.batch.take().unwrap();
            let keys = self.state.stages.as_ref().unwrap().held_keys();
            let mut sink =
                RecordSink { rules: RULES, state: &mut self.state, outlet: &mut self.outlet, batch: &mut batch, counts: &mut self.counts };
            let mut stamps = StampReader::default();
            for key in keys {
                sink.reader(FileId(1), &mut stamps).cut_pending(OutputStream::Stdout, CutKind::Flush { key }, self.offset);
            }
            self.close(batch);
        }

        /// What closing a batch records, and what the batch holds.
        fn close(&mut self, mut builder: BatchBuilder) {
            let offset = self.offset;
            let decided = self.state.stages.as_mut().unwrap().clock.decisions.drain(..).map(|(_, at, stamp)| (at, stamp, offset));
            self.clocks.extend(decided);
            let batch = builder.finish(Instant::now());
            self.batch = Some(builder);
            if batch.body.is_empty() {
                return;
            }
            let mut request = Vec::new();
            snappy::decompress(&batch.body, 1 << 24, &mut request).unwrap();
            for stream in read::streams(&request).map(Result::unwrap) {
                let labels = String::from_utf8(stream.labels().unwrap().to_vec()).unwrap();
                for entry in stream.entries().map(Result::unwrap) {
                    let line = String::from_utf8(entry.line.to_vec()).unwrap();
                    self.entries.push((labels.clone(), entry.timestamp().unwrap(), line));
                }
            }
        }

        /// What a checkpoint made now would hold.
        fn checkpoint(&self) -> Progress {
            match self.state.frozen.clone() {
                None => self.state.progress_at(self.offset),
                Some(frozen) => {
                    let mut progress = frozen.progress;
                    if let Some(stages) = &progress.stages
                        && let Some((last, _)) = stages.clock
                    {
                        progress.stages =
                            Some(Arc::new(StageProgress { clock: Some((last, self.offset)), ..StageProgress::clone(stages) }));
                    }
                    progress
                }
            }
        }
    }

    #[test]
    fn a_return_at_the_end_of_a_line_is_dropped_where_that_is_said() {
        let lines = |drops: bool| -> Vec<String> {
            let mut reader = Reader::new("[]", &Progress::start(None), Vec::new());
            reader.outlet.stages_mut().unwrap().drops_returns = drops;
            reader.feed(b"a\r\nb\r\r\n\r\nc\n");
            reader.entries.into_iter().map(|(_, _, line)| line).collect()
        };
        assert_eq!(
            (lines(true), lines(false)),
            (["a", "b\r", "", "c"].map(str::to_owned).to_vec(), ["a\r", "b\r\r", "\r", "c"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn what_stages_leave_out_needs_no_room_of_the_rate() {
        let bucket = TokenBucket::new(0.001, 2.0, Instant::now());
        let limits = StageLimits { read_rate: Some((Mutex::new(bucket), true)), ..StageLimits::none(crate::metrics::Metrics::new()) };
        let counters = Arc::clone(&limits.counters);
        let mut reader = Reader::within(limits, "[{drop: {expression: '^no'}}]", &Progress::start(None), Vec::new());
        reader.feed(b"no 1\nno 2\nno 3\nyes 1\nno 4\nyes 2\nyes 3\n");
        let lines: Vec<&str> = reader.entries.iter().map(|(_, _, line)| line.as_str()).collect();
        assert_eq!(lines, ["yes 1", "yes 2"]);
        let mut counted = String::new();
        counters.render(&mut counted);
        assert!(counted.contains("{reason=\"global_rate_limiter_drop\"} 1\n"), "{counted}");
    }

    const PIPELINES: [&str; 6] = [
        "[]",
        "- cri: {}",
        "- cri: {}\n- static_labels: {x: z}\n- labeldrop: [stream]",
        "- multiline: {firstline: '^[A-Z]'}",
        "- regex: {expression: '^(?P<s>[a-zA-Z])(?P<ts>[0-9]*)'}\n- template: {source: s, template: '{{ ToLower .Value }}'}\n- labels: {s: }\n- multiline: {firstline: '^[A-Z]', max_lines: 3}\n- timestamp: {source: ts, format: Unix}",
        "- cri: {}\n- regex: {expression: '^(?P<ts>[0-9]+)'}\n- timestamp: {source: ts, format: Unix}\n- multiline: {firstline: '^[A-Z0-9]'}",
    ];

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => "[ABabx][0-9]{0,2} ?[a-z]{0,2}",
            4 => ("[0-3]", prop_oneof!["stdout", "stderr"], prop_oneof![3 => "F", 1 => "P"], "[A-C0-2a]{1,2}")
                .prop_map(|(second, stream, tag, text)| format!("2026-11-21T09:08:0{second}Z {stream} {tag} {text}")),
        ]
    }

    /// A record, and what looks like one.
    fn record() -> impl Strategy<Value = Vec<u8>> {
        let text = proptest::collection::vec(prop_oneof![9 => 32u8..127, 1 => any::<u8>()], 0..6)
            .prop_map(|text| text.into_iter().map(|byte| if byte == b'\n' { b'n' } else { byte }).collect::<Vec<u8>>());
        let time =
            prop_oneof![9 => "2001-11-21T09:08:0[0-3](\\.[0-9]{1,9})?Z", 1 => "2001-11-21T0[78]:5[0-9]:00\\+01:00", 1 => "[0-9T:]{3,9}"];
        let tag = prop_oneof![9 => "F", 2 => "P", 1 => "F:x", 1 => "P:x", 1 => "[A-Z\t]{1,2}"];
        (time, prop_oneof![9 => "stdout", 9 => "stderr", 1 => "std"], tag, text).prop_map(|(time, stream, tag, text)| {
            let mut record = format!("{time} {stream} {tag} ").into_bytes();
            record.extend(text);
            record.push(b'\n');
            record
        })
    }

    proptest! {
        /// A stage that lets everything pass makes lines go through the stages one by one.
        #[test]
        fn the_way_without_stages_gives_what_the_stages_give(
            records in proptest::collection::vec(record(), 1..40),
            cut in 1..8usize,
            rest in prop_oneof![Just(""), Just("\n- static_labels: {x: z}"), Just("\n- labelallow: [stream]")],
        ) {
            let mut plain = Reader::new(&format!("- cri: {{}}{rest}"), &Progress::start(None), Vec::new());
            let mut staged = Reader::new(&format!("- cri: {{}}{rest}\n- drop: {{longer_than: 1mb}}"), &Progress::start(None), Vec::new());
            for batch in records.chunks(cut) {
                plain.feed(&batch.concat());
                staged.feed(&batch.concat());
                let without_clock = |reader: &Reader| {
                    let progress = reader.checkpoint();
                    let mut known = progress.stages.as_ref().map(|stages| stages.known.to_vec()).unwrap_or_default();
                    known.sort_by_key(|known| known.key);
                    (progress.offset, progress.last_stamp, known)
                };
                prop_assert_eq!(without_clock(&plain), without_clock(&staged));
            }
            // The time of reading differs from one reading to the next.
            let is_read_now = |stamp: i64| stamp > 1_600_000_000_000_000_000;
            let comparable = |reader: &Reader| -> Vec<(String, i64, String)> {
                reader.entries.iter().map(|(labels, stamp, line)| (labels.clone(), if is_read_now(*stamp) { 0 } else { *stamp }, line.clone())).collect()
            };
            prop_assert_eq!(comparable(&plain), comparable(&staged));
            prop_assert_eq!(plain.counts.lines, staged.counts.lines);
        }

        /// From every checkpoint a replay sends what was sent after it, the same, and nothing else.
        #[test]
        fn a_replay_through_stages_repeats_every_entry(stages in 0..PIPELINES.len(), lines in proptest::collection::vec(line(), 1..30), cut in 1..6usize) {
            let mut first = Reader::new(PIPELINES[stages], &Progress::start(None), Vec::new());
            let mut checkpoints = Vec::new();
            for batch in lines.chunks(cut) {
                first.feed(batch.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes());
                checkpoints.push((first.checkpoint(), first.entries.len()));
            }
            first.flush();
            let all: String = lines.iter().map(|line| format!("{line}\n")).collect();
            for (progress, sent) in checkpoints {
                let kept = first.clocks.iter().filter(|(offset, _, _)| *offset >= progress.offset).copied().collect();
                let mut replay = Reader::new(PIPELINES[stages], &progress, kept);
                replay.feed(&all.as_bytes()[usize::try_from(progress.offset).unwrap()..]);
                replay.flush();
                for entry in &first.entries[sent..] {
                    prop_assert!(replay.entries.contains(entry), "{entry:?} is missing in {:?}", replay.entries);
                }
                for entry in &replay.entries {
                    prop_assert!(first.entries.contains(entry), "{entry:?} is new, there was {:?}", first.entries);
                }
            }
        }
    }
}
