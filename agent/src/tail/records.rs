//! A chunk of a file, cut at newlines, into entries of the batch: the fast path.
//!
//! Whole records of valid UTF-8 go from the read buffer straight into the outgoing entry. Everything else (pieces, long lines, invalid bytes,
//! NUL runs, records that do not parse) leaves that path for a slower one with the same result for the same bytes, however the chunks fall.

use crate::batch::builder::BatchBuilder;
use crate::parse::cri::{self, CriRecord, OutputStream};
use crate::parse::docker::{self, DockerRecord};
use crate::parse::format::RecordFormat;
use crate::parse::pieces::PendingLine;
use crate::parse::text;
use crate::parse::time::StampReader;
use crate::positions::table::{CutKind, FileId};
use crate::tail::counts::ReadCounts;
use crate::tail::outlet::Outlet;
use crate::tail::rate::RateLimit;
use crate::tail::state::{CleanPoint, LineState};

/// What is kept of a pending line when memory is short, in bytes.
pub(crate) const SHORTENED_BYTES: usize = 16 << 10;

/// What to do with a line longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongLine {
    /// Keep the head, say how much is missing.
    Truncate,
    /// Send it in pieces, each with its number.
    Split,
    /// Leave it out and count it.
    Drop,
}

/// What to do with a record that is not in its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unparsed {
    /// Send its bytes as a line.
    Keep,
    /// Leave it out and count it.
    Drop,
}

/// What the configuration says about lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineRules {
    /// After joining of pieces.
    pub(crate) max_line_bytes: usize,
    /// Of one physical line.
    pub(crate) max_record_bytes: usize,
    /// As the operator says.
    pub(crate) format: RecordFormat,
    pub(crate) long_line: LongLine,
    pub(crate) unparsed: Unparsed,
    /// Of each container.
    pub(crate) rate: RateLimit,
}

impl LineRules {
    /// How many bytes of a line are kept at most; one more than a line may have shows that it is too long.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self.long_line {
            LongLine::Split => self.max_record_bytes.max(self.max_line_bytes + 1),
            LongLine::Truncate | LongLine::Drop => self.max_line_bytes.saturating_add(1),
        }
    }

    /// How long the pieces of a line may be together; what follows is another line. Without it a writer that never ends its line would be neither sent nor passed.
    fn max_joined_bytes(&self) -> u64 {
        self.max_record_bytes.max(self.kept_bytes()) as u64
    }
}

/// Where records of an instance go.
pub(crate) struct RecordSink<'a> {
    pub(crate) rules: LineRules,
    pub(crate) state: &'a mut LineState,
    pub(crate) outlet: &'a mut Outlet,
    pub(crate) batch: &'a mut BatchBuilder,
    pub(crate) counts: &'a mut ReadCounts,
}

impl RecordSink<'_> {
    /// Whether no further record should be read now.
    pub(crate) fn must_stop(&self) -> bool {
        self.batch.is_full() || self.outlet.stages().is_some_and(|stages| !stages.pause.is_zero())
    }

    /// A reader of `file`'s records.
    pub(crate) fn reader<'a>(&'a mut self, file: FileId, stamp_reader: &'a mut StampReader) -> RecordReader<'a> {
        RecordReader {
            rules: self.rules,
            file,
            stamp_reader,
            state: self.state,
            outlet: self.outlet,
            batch: self.batch,
            counts: self.counts,
        }
    }
}

/// Everything a record touches.
pub(crate) struct RecordReader<'a> {
    pub(super) rules: LineRules,
    pub(super) file: FileId,
    pub(super) stamp_reader: &'a mut StampReader,
    pub(super) state: &'a mut LineState,
    pub(super) outlet: &'a mut Outlet,
    pub(super) batch: &'a mut BatchBuilder,
    pub(super) counts: &'a mut ReadCounts,
}

/// A record, or the head of one too long to be held.
#[derive(Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes beyond, which were skipped.
    pub(super) unread: u64,
    pub(super) offset: u64,
    pub(super) is_known_valid: bool,
}

impl RecordReader<'_> {
    /// Reads the whole records of `chunk`, which begins at `offset` of the file, until the batch is full. Returns the bytes taken.
    pub(crate) fn read_chunk(&mut self, chunk: &[u8], offset: u64) -> usize {
        if self.outlet.is_of_target() {
            return self.read_lines(chunk, offset);
        }
        if self.is_staged() {
            return self.read_staged_chunk(chunk, offset);
        }
        let is_known_valid = simdutf8::basic::from_utf8(chunk).is_ok();
        let reads_cri = self.format().reads_cri();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let bytes = &chunk[start..end];
            match if reads_cri { cri::parse(self.stamp_reader, bytes) } else { None } {
                Some(record) if self.is_plain(&record, is_known_valid) => {
                    self.state.last_stream = record.stream;
                    let stamp = self.state.stamps.give(record.timestamp, &mut self.counts.clock_steps);
                    self.outlet.push(self.batch, record.stream, stamp, record.text);
                }
                parsed => self.read_slowly(RawRecord { bytes, unread: 0, offset: offset + start as u64, is_known_valid }, parsed),
            }
            self.counts.lines += 1;
            start = end + 1;
            if self.batch.is_full() {
                break;
            }
        }
        self.counts.bytes += start as u64;
        start
    }

    /// Reads one record of which only `head` was kept and `unread` bytes more were skipped.
    pub(crate) fn read_long_record(&mut self, head: &[u8], unread: u64, offset: u64) {
        if self.outlet.is_of_target() {
            self.read_long_line(head, unread, offset);
            return;
        }
        let raw = RawRecord { bytes: head, unread, offset, is_known_valid: false };
        if self.is_staged() {
            self.read_staged(raw);
        } else {
            let parsed = self.parse_cri(head);
            self.read_slowly(raw, parsed);
            self.counts.lines += 1;
        }
        self.counts.bytes += head.len() as u64 + unread + 1;
    }

    /// Makes a decision about lines that are held, at `offset`.
    pub(crate) fn cut_pending(&mut self, stream: OutputStream, kind: CutKind, offset: u64) {
        match kind {
            CutKind::Labels { set } => self.change_set(set, offset),
            CutKind::Flush { key } => self.flush_block(key, offset),
            CutKind::Clock { stamp, until } => {
                self.state.decide_clock(stamp, until);
            }
            CutKind::End => {
                if let Some(line) = self.state.take_pending(stream) {
                    self.counts.joined -= 1;
                    self.emit_pending(stream, &line);
                    self.hand_on(offset, None);
                }
            }
            CutKind::Shorten => {
                if let Some(line) = &mut self.state.pending[stream.index()] {
                    line.shorten(SHORTENED_BYTES);
                }
            }
        }
    }

    /// How records are read where it stands.
    pub(super) fn format(&self) -> RecordFormat {
        self.rules.format.or(self.outlet.wished_format())
    }

    /// A record of the CRI, unless records are of another format.
    pub(super) fn parse_cri<'a>(&mut self, bytes: &'a [u8]) -> Option<CriRecord<'a>> {
        if self.format().reads_cri() { cri::parse(self.stamp_reader, bytes) } else { None }
    }

    #[inline]
    fn is_plain(&self, record: &CriRecord<'_>, is_known_valid: bool) -> bool {
        is_known_valid
            && !record.is_partial
            && record.text.len() <= self.rules.max_line_bytes
            && self.state.pending[record.stream.index()].is_none()
    }

    #[cold]
    pub(super) fn read_slowly(&mut self, raw: RawRecord<'_>, parsed: Option<CriRecord<'_>>) {
        match parsed {
            Some(record) => self.read_record(raw, &record),
            None => match raw.bytes.first() {
                Some(0) => self.skip_nul(raw),
                _ if self.format() == RecordFormat::Raw => self.read_raw(raw),
                Some(b'{') if self.format().reads_docker() => self.read_docker(raw),
                _ => self.read_unparsed(raw),
            },
        }
    }

    fn read_docker(&mut self, raw: RawRecord<'_>) {
        let Some(record) = docker::parse(self.stamp_reader, raw.bytes) else { return self.read_unparsed(raw) };
        let DockerRecord { timestamp, stream, is_partial, .. } = record;
        self.read_record(RawRecord { is_known_valid: true, ..raw }, &CriRecord { timestamp, stream, is_partial, text: record.text() });
    }

    fn read_record(&mut self, raw: RawRecord<'_>, record: &CriRecord<'_>) {
        let stream = record.stream;
        if record.is_partial {
            self.append_piece(raw, record);
            self.state.last_stream = stream;
            return;
        }
        self.state.last_stream = stream;
        if let Some(mut line) = self.state.take_pending(stream) {
            line.append(record.text, raw.unread, record.timestamp);
            self.emit_pending(stream, &line);
            return;
        }
        self.emit(stream, record.timestamp, RawRecord { bytes: record.text, ..raw });
    }

    fn append_piece(&mut self, raw: RawRecord<'_>, record: &CriRecord<'_>) {
        if self.state.frozen.is_none() {
            self.state.frozen = Some(CleanPoint { file: self.file, progress: self.state.progress_at(raw.offset) });
        }
        let keep = self.rules.kept_bytes();
        let line = self.state.pending[record.stream.index()].get_or_insert_with(|| Box::new(PendingLine::new(keep)));
        line.append(record.text, raw.unread, record.timestamp);
        if line.total() < self.rules.max_joined_bytes() {
            self.counts.joined += 1;
        } else if let Some(line) = self.state.take_pending(record.stream) {
            self.emit_pending(record.stream, &line);
        }
    }

    fn emit_pending(&mut self, stream: OutputStream, line: &PendingLine) {
        let unread = line.total() - line.text().len() as u64;
        let raw = RawRecord { bytes: line.text(), unread, offset: 0, is_known_valid: false };
        self.emit(stream, line.last_stamp(), raw);
    }

    /// Emits a line, or the head of one, wherever it is from.
    pub(super) fn emit(&mut self, stream: OutputStream, raw_stamp: i64, text: RawRecord<'_>) {
        let RawRecord { bytes: raw_text, unread, is_known_valid, .. } = text;
        let (valid, is_replaced) = if is_known_valid { (raw_text.into(), false) } else { text::valid_utf8(raw_text) };
        let is_too_long = unread > 0 || valid.len() > self.rules.max_line_bytes;
        if is_too_long && self.rules.long_line == LongLine::Drop {
            self.counts.too_long_dropped += 1;
            self.counts.dropped_bytes += valid.len() as u64 + unread;
            return;
        }
        // Cutting the head of a long line may have cut a character; that is not the writer's doing.
        self.counts.invalid_utf8 += u64::from(is_replaced && !is_too_long);
        if is_too_long && unread == 0 && self.rules.long_line == LongLine::Split {
            self.emit_in_pieces(stream, raw_stamp, &valid);
            return;
        }
        let stamp = self.state.stamps.give(raw_stamp, &mut self.counts.clock_steps);
        if !is_too_long {
            self.send(stream, stamp, &valid, None);
            return;
        }
        let (line, left_out) = text::truncate(&valid, raw_text.len() as u64 + unread, self.rules.max_line_bytes);
        self.counts.truncated_lines += 1;
        self.counts.truncated_bytes += left_out;
        self.send(stream, stamp, &line, Some(("truncated", left_out.to_string())));
    }

    /// Sends a whole line, or keeps it for the stages that it goes through.
    fn send(&mut self, stream: OutputStream, stamp: i64, line: &[u8], pair: Option<(&'static str, String)>) {
        if self.is_staged() {
            self.keep_for_stages(stream, stamp, line, pair);
            return;
        }
        match pair {
            Some((name, value)) => self.outlet.push_with(self.batch, stream, stamp, line, (name, &value)),
            None => self.outlet.push(self.batch, stream, stamp, line),
        }
    }

    /// Emits a line in pieces that fit, each with its number and how many there are.
    fn emit_in_pieces(&mut self, stream: OutputStream, raw_stamp: i64, text: &[u8]) {
        let pieces = text::pieces(text, self.rules.max_line_bytes);
        let count = pieces.len();
        self.counts.split_lines += 1;
        // One record becomes several entries.
        self.counts.joined -= i64::try_from(count).unwrap_or(i64::MAX) - 1;
        for (index, piece) in pieces.into_iter().enumerate() {
            let stamp = self.state.stamps.give(raw_stamp, &mut self.counts.clock_steps);
            self.send(stream, stamp, piece, Some(("split", format!("{}/{count}", index + 1))));
        }
    }

    /// NUL bytes at a record's start are no text: a crash left them. What follows them is the record.
    fn skip_nul(&mut self, raw: RawRecord<'_>) {
        let length = leading_nul(raw.bytes);
        self.counts.nul_bytes += length as u64;
        let rest = RawRecord { bytes: &raw.bytes[length..], offset: raw.offset + length as u64, ..raw };
        if rest.bytes.is_empty() && rest.unread == 0 {
            self.counts.nul_records += 1;
            return;
        }
        let parsed = self.parse_cri(rest.bytes);
        self.read_slowly(rest, parsed);
    }

    fn read_unparsed(&mut self, raw: RawRecord<'_>) {
        match self.format() {
            RecordFormat::Docker => self.counts.docker_errors += 1,
            _ => self.counts.parse_errors += 1,
        }
        if self.rules.unparsed == Unparsed::Drop {
            self.counts.unparsed_dropped += 1;
            return;
        }
        let (valid, is_replaced) = text::valid_utf8(raw.bytes);
        let stream = self.state.last_stream;
        if raw.unread > 0 || valid.len() > self.rules.max_line_bytes {
            if self.rules.long_line == LongLine::Drop {
                self.counts.too_long_dropped += 1;
                self.counts.dropped_bytes += valid.len() as u64 + raw.unread;
                return;
            }
            let stamp = self.state.stamps.give_next(self.outlet.first_stamp);
            let (line, left_out) = text::truncate(&valid, raw.bytes.len() as u64 + raw.unread, self.rules.max_line_bytes);
            self.counts.truncated_lines += 1;
            self.counts.truncated_bytes += left_out;
            self.send(stream, stamp, &line, Some(("truncated", left_out.to_string())));
            return;
        }
        let stamp = self.state.stamps.give_next(self.outlet.first_stamp);
        self.counts.invalid_utf8 += u64::from(is_replaced);
        self.send(stream, stamp, &valid, Some(("parse_error", self.format().name_of_errors().to_owned())));
    }
}

/// How many bytes at the start of `bytes` are NUL.
pub(crate) fn leading_nul(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::batch::builder::BatchLimits;
    use crate::positions::pairs::PackedPairs;
    use crate::positions::table::{InstanceEntry, LabelSet, Progress};
    use crate::tail::outlet::RenderedSet;
    use proptest::prelude::*;
    use tailwater_proto::{read, snappy};

    const FIRST_STAMP: i64 = 42;
    const RULES: LineRules = LineRules {
        max_line_bytes: 64,
        max_record_bytes: 1 << 20,
        format: RecordFormat::Auto,
        long_line: LongLine::Truncate,
        unparsed: Unparsed::Keep,
        rate: RateLimit { bytes: 0, lines: 0, drops: false },
    };

    type Entry = (String, i64, String, Vec<(String, String)>);

    /// Reads `bytes` from `progress` on, in chunks that end at the given places, and returns the entries, the counts and the clean points.
    struct Harness {
        rules: LineRules,
        state: LineState,
        counts: ReadCounts,
        entries: Vec<Entry>,
        offset: u64,
    }

    impl Harness {
        fn new(rules: LineRules, progress: &Progress) -> Self {
            let state = LineState::at(progress);
            Self { rules, state, counts: ReadCounts::default(), entries: Vec::new(), offset: progress.offset }
        }

        fn feed(&mut self, chunk: &[u8]) {
            let mut batch = BatchBuilder::new(BatchLimits { batch_bytes: usize::MAX, max_line_bytes: 64 });
            let set = LabelSet { metadata: Some(PackedPairs::default()), ..LabelSet::default() };
            let entry = InstanceEntry { label_sets: smallvec::smallvec![set], first_stamp: FIRST_STAMP, revision: 0 };
            let mut outlet = Outlet::of_sets(vec![RenderedSet::new(entry.into(), 0, true)], 0, FIRST_STAMP);
            let mut reader = RecordReader {
                rules: self.rules,
                file: FileId(1),
                stamp_reader: &mut StampReader::default(),
                state: &mut self.state,
                outlet: &mut outlet,
                batch: &mut batch,
                counts: &mut self.counts,
            };
            self.offset += reader.read_chunk(chunk, self.offset) as u64;
            self.collect(&batch.finish(Instant::now()).body);
        }

        fn collect(&mut self, body: &[u8]) {
            if body.is_empty() {
                return;
            }
            let mut request = Vec::new();
            snappy::decompress(body, 1 << 24, &mut request).unwrap();
            let mut entries = Vec::new();
            for stream in read::streams(&request) {
                let stream = stream.unwrap();
                let labels = String::from_utf8(stream.labels().unwrap().to_vec()).unwrap();
                let name = labels.trim_start_matches("{stream=\"").trim_end_matches("\"}").to_owned();
                for entry in stream.entries() {
                    let entry = entry.unwrap();
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let pairs = entry.metadata().map(Result::unwrap).map(|(n, v)| (text(n), text(v))).collect();
                    entries.push((name.clone(), entry.timestamp().unwrap(), text(entry.line), pairs));
                }
            }
            entries.sort_by_key(|entry| entry.1);
            self.entries.extend(entries);
        }

        fn clean_point(&self) -> Progress {
            self.state.frozen.clone().map_or_else(|| self.state.progress_at(self.offset), |frozen| frozen.progress)
        }
    }

    fn run(bytes: &[u8]) -> Harness {
        let mut harness = Harness::new(RULES, &Progress::start(None));
        harness.feed(bytes);
        harness
    }

    fn lines(harness: &Harness) -> Vec<(&str, i64, &str)> {
        harness.entries.iter().map(|(stream, stamp, line, _)| (stream.as_str(), *stamp % 1_000_000_000, line.as_str())).collect()
    }

    #[test]
    fn both_streams_pieces_and_equal_stamps() {
        let harness = run(b"2026-11-21T09:00:00.000000005Z stdout P one \n\
            2026-11-21T09:00:00.000000006Z stderr F other\n\
            2026-11-21T09:00:00.000000006Z stdout P:x two \n\
            2026-11-21T09:00:00.000000006Z stdout F three\n\
            2026-11-21T09:00:00.000000006Z stdout F \n");
        assert_eq!(lines(&harness), [("stderr", 6, "other"), ("stdout", 7, "one two three"), ("stdout", 8, "")]);
    }

    #[test]
    fn unparsed_records_are_sent_with_the_previous_stream_and_the_next_stamp() {
        let harness = run(b"junk\n2026-11-21T09:00:00.000000006Z stderr F x\n\xffcut header\n");
        let (first, last) = (&harness.entries[0], &harness.entries[2]);
        assert_eq!((first.0.as_str(), first.1, first.2.as_str()), ("stdout", FIRST_STAMP, "junk"));
        assert_eq!((last.0.as_str(), last.1 % 1_000_000_000, last.2.as_str()), ("stderr", 7, "\u{fffd}cut header"));
        assert_eq!(last.3, [("parse_error".to_owned(), "cri".to_owned())]);
        assert_eq!((harness.counts.parse_errors, harness.counts.invalid_utf8), (2, 1));
    }

    #[test]
    fn nul_runs_are_discarded_and_counted() {
        let harness = run(b"\0\0\0\n\0\x002026-11-21T09:00:00.000000006Z stderr F a\0b\n");
        assert_eq!(lines(&harness), [("stderr", 6, "a\0b")]);
        assert_eq!((harness.counts.nul_bytes, harness.counts.parse_errors), (5, 0));
    }

    #[test]
    fn a_character_cut_between_pieces_is_whole_again() {
        let harness = run(b"2026-11-21T09:00:00Z stdout P caf\xc3\n2026-11-21T09:00:00Z stdout F \xa9!\n");
        assert_eq!(harness.entries[0].2, "caf\u{e9}!");
        assert_eq!(harness.counts.invalid_utf8, 0);
    }

    #[test]
    fn a_joined_line_over_the_limit_is_truncated_or_dropped_and_counted() {
        let mut bytes = Vec::new();
        for tag in ["P", "P", "F"] {
            bytes.extend_from_slice(format!("2026-11-21T09:00:00Z stdout {tag} {}\n", "x".repeat(50)).as_bytes());
        }
        let harness = run(&bytes);
        let (_, _, line, pairs) = &harness.entries[0];
        assert_eq!(line.len(), 64);
        assert!(line.ends_with("x...[truncated 110 bytes]"), "{line}");
        assert_eq!(pairs, &[("truncated".to_owned(), "110".to_owned())]);
        assert_eq!(harness.counts.truncated_lines, 1);

        let mut harness = Harness::new(LineRules { long_line: LongLine::Drop, ..RULES }, &Progress::start(None));
        harness.feed(&bytes);
        assert_eq!((harness.entries.len(), harness.counts.too_long_dropped), (0, 1));

        let mut harness = Harness::new(LineRules { long_line: LongLine::Split, ..RULES }, &Progress::start(None));
        harness.feed(&bytes);
        let pieces: Vec<(usize, i64, &str)> =
            harness.entries.iter().map(|(_, stamp, line, pairs)| (line.len(), *stamp, pairs[0].1.as_str())).collect();
        let stamp = harness.entries[0].1;
        assert_eq!(pieces, [(64, stamp, "1/3"), (64, stamp + 1, "2/3"), (22, stamp + 2, "3/3")]);
        assert_eq!((harness.counts.split_lines, harness.counts.joined), (1, 0));
    }

    #[test]
    fn pieces_that_never_end_are_a_line_as_often_as_they_are_as_long_as_a_record_may_be() {
        let bytes: Vec<u8> =
            (0..7).flat_map(|number| format!("2026-11-21T09:00:00.00000000{number}Z stdout P {}\n", "x".repeat(50)).into_bytes()).collect();
        for (long_line, expected) in [(LongLine::Truncate, vec![(64, 2), (64, 5)]), (LongLine::Drop, Vec::new())] {
            let mut harness = Harness::new(LineRules { max_record_bytes: 150, long_line, ..RULES }, &Progress::start(None));
            harness.feed(&bytes);
            let seen: Vec<(usize, i64)> = lines(&harness).iter().map(|(_, stamp, line)| (line.len(), *stamp)).collect();
            assert_eq!(seen, expected, "{long_line:?}");
            let counts = &harness.counts;
            assert_eq!(counts.truncated_lines + counts.too_long_dropped, 2, "each is counted");
            assert_eq!((counts.lines, counts.joined), (7, 5), "two ended, and the pieces of one are pending");
            assert_eq!(harness.clean_point().offset, 6 * (bytes.len() as u64 / 7), "what was sent is not read again");
        }
    }

    #[test]
    fn a_format_that_is_set_overrides_what_records_look_like() {
        let cri = "2026-11-21T09:00:00.000000006Z stderr F a";
        let docker = r#"{"log":"b\n","stream":"stderr","time":"2026-11-21T09:00:00.000000007Z"}"#;
        let bytes = format!("{cri}\n{docker}\n");
        for (format, expected, errors) in [
            (RecordFormat::Auto, ["a", "b"], 0),
            (RecordFormat::Cri, ["a", docker], 1),
            (RecordFormat::Docker, [cri, "b"], 1),
            (RecordFormat::Raw, [cri, docker], 0),
        ] {
            let mut harness = Harness::new(LineRules { max_line_bytes: 100, format, ..RULES }, &Progress::start(None));
            harness.feed(bytes.as_bytes());
            let seen: Vec<&str> = harness.entries.iter().map(|entry| entry.2.as_str()).collect();
            assert_eq!(
                (seen.as_slice(), harness.counts.parse_errors + harness.counts.docker_errors),
                (expected.as_slice(), errors),
                "{format:?}"
            );
            let of_errors: Vec<_> = harness.entries.iter().flat_map(|entry| &entry.3).map(|(_, value)| value.as_str()).collect();
            assert_eq!(of_errors, if format == RecordFormat::Docker { vec!["docker"] } else { vec!["cri"; errors as usize] });
        }
    }

    #[test]
    fn raw_lines_have_the_time_of_reading_and_are_cut_as_others_are() {
        let mut harness =
            Harness::new(LineRules { format: RecordFormat::Raw, long_line: LongLine::Split, ..RULES }, &Progress::start(None));
        harness.feed(&[b"\0\0one\n", "x".repeat(100).as_bytes(), b"\n\nlast \xff\n"].concat());
        let first = harness.entries[0].1;
        let seen: Vec<(i64, usize, &str)> =
            harness.entries.iter().map(|(name, stamp, line, _)| (stamp - first, line.len(), name.as_str())).collect();
        assert_eq!(seen, [(0, 3, "stdout"), (1, 64, "stdout"), (2, 36, "stdout"), (3, 0, "stdout"), (4, 8, "stdout")]);
        assert_eq!(harness.state.take_clock_decisions(), [(FileId(1), 2, first)]);
    }

    /// So that lines of random pieces reach it.
    const SHORT: LineRules = LineRules { max_record_bytes: 100, ..RULES };

    fn record() -> impl Strategy<Value = Vec<u8>> {
        let stamp = (0u32..8).prop_map(|n| format!("2026-11-21T09:{:02}:00.00000000{n}Z", [0, 0, 0, 0, 0, 0, 30, 10][n as usize]));
        let text = proptest::collection::vec(any::<u8>().prop_map(|b| if b == b'\n' { b'n' } else { b }), 0..40);
        let cri = (stamp, prop_oneof!["stdout", "stderr"], prop_oneof!["F", "P"], text)
            .prop_map(|(stamp, stream, tag, text)| [format!("{stamp} {stream} {tag} ").into_bytes(), text, b"\n".to_vec()].concat());
        prop_oneof![12 => cri, 1 => Just(b"junk\n".to_vec()), 1 => Just(b"\0\0\n".to_vec())]
    }

    /// A set clock lets stamps go back, and a request does not tell how its streams were mixed.
    fn sorted(entries: &[Entry]) -> Vec<Entry> {
        let mut sorted = entries.to_vec();
        sorted.sort();
        sorted
    }

    proptest! {
        /// Whatever was sent before a crash is sent again byte for byte, from whatever clean point the checkpoint holds.
        #[test]
        fn a_replay_from_any_clean_point_repeats_every_entry(records in proptest::collection::vec(record(), 1..40)) {
            let mut first = Harness::new(SHORT, &Progress::start(None));
            let mut checkpoints = vec![(first.clean_point(), 0)];
            for record in &records {
                first.feed(record);
                checkpoints.push((first.clean_point(), first.entries.len()));
            }
            let all = records.concat();
            for (progress, sent) in checkpoints {
                let mut replay = Harness::new(SHORT, &progress);
                replay.feed(&all[usize::try_from(progress.offset).unwrap()..]);
                // What was sent up to the checkpoint and is not in the replay lies wholly before the clean point.
                let tail = &first.entries[first.entries.len() - replay.entries.len()..];
                prop_assert_eq!(sorted(&replay.entries), sorted(tail));
                prop_assert!(first.entries.len() - replay.entries.len() <= sent);
            }
        }

        #[test]
        fn entries_do_not_depend_on_how_the_chunks_fall(records in proptest::collection::vec(record(), 1..30)) {
            let mut whole = Harness::new(SHORT, &Progress::start(None));
            whole.feed(&records.concat());
            let mut single = Harness::new(SHORT, &Progress::start(None));
            records.iter().for_each(|record| single.feed(record));
            prop_assert_eq!(sorted(&whole.entries), sorted(&single.entries));
            prop_assert_eq!(whole.counts.lines, single.counts.lines);
        }
    }
}
