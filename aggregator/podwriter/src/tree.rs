//! The tree as a whole: whose turn it is, what the line is, how it is cut, when its file is rotated, what is counted.
//!
//! One call of [`PodTree::write_record`] writes one record. A line in pieces stays open in its stream while other
//! streams, the second of the same container among them, go on; so pieces interleave as they do under a
//! runtime. Counting happens when a line begins: its text is then fixed, whatever records and files it ends in.

use crate::content::{Composer, Trace};
use crate::error::Error;
use crate::log_file::LogFile;
use crate::manifest::{Manifest, NeedleCount, StreamCount};
use crate::needle::{NeedleSet, Needles};
use crate::options::TreeOptions;
use crate::pods::{Container, Loudness, Stream, containers};
use crate::random::Random;
use crate::record::{OpenLine, random_cuts, regular_cuts, write_record};
use crate::timestamp::{Calendar, UnixNanoseconds};

/// More than a record's stamp, stream and tag can be long.
const LONGEST_RECORD_HEAD: usize = 64 << 10;
/// Most records that go into a file after it was renamed.
const LATE_RECORDS: u64 = 4;

#[derive(Debug)]
pub(crate) struct PodTree {
    options: TreeOptions,
    random: Random,
    composer: Composer,
    needles: Needles,
    loudness: Loudness,
    calendar: Calendar,
    logs: Vec<ContainerLog>,
    /// The stream that has to write next: it repeats its line or is in the middle of a stack trace.
    next_turn: Option<(usize, Stream)>,
    /// The text of the line that begins.
    text: Vec<u8>,
    counts: Counts,
}

#[derive(Debug)]
struct ContainerLog {
    container: Container,
    file: LogFile,
    /// The file is large enough; it is rotated after the next piece of a line.
    wants_cut: bool,
    streams: [StreamState; 2],
}

#[derive(Debug, Default)]
struct StreamState {
    open: OpenLine,
    trace: Trace,
    repeat: Option<Repeat>,
    lines: u64,
    text_bytes: u64,
    last_stamp: Option<UnixNanoseconds>,
}

/// A line that is written once more.
#[derive(Debug)]
struct Repeat {
    text: Vec<u8>,
    needles: NeedleSet,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    records: u64,
    pieces: u64,
    file_bytes: u64,
    rotations: u64,
    cut_rotations: u64,
    repeated_lines: u64,
    equal_stamps: u64,
    first_stamp: Option<UnixNanoseconds>,
    last_stamp: UnixNanoseconds,
}

impl PodTree {
    /// Opens the files of every container. `content_seed` decides lines, `options.seed` who writes them.
    pub(crate) fn open(options: &TreeOptions, content_seed: u64, needles: Needles) -> Result<Self, Error> {
        let mut random = Random::new(content_seed);
        let composer = Composer::new(Random::new(random.next()));
        let mut logs = Vec::new();
        for container in containers(options.pods, options.seed) {
            let file = LogFile::open(options.directory.join(container.folder()))?;
            logs.push(ContainerLog { container, file, wants_cut: false, streams: Default::default() });
        }
        Ok(Self {
            loudness: Loudness::new(logs.len(), &mut Random::new(options.seed)),
            calendar: Calendar::new(options.utc_offset_minutes),
            options: options.clone(),
            random,
            composer,
            needles,
            logs,
            next_turn: None,
            text: Vec::new(),
            counts: Counts::default(),
        })
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.counts.file_bytes
    }

    /// The next record repeats the line just written.
    pub(crate) fn repeats_next(&self) -> bool {
        self.next_turn.is_some_and(|(index, stream)| self.logs[index].streams[stream.index()].repeat.is_some())
    }

    /// Writes one record stamped `now`; true if it begins a line.
    pub(crate) fn write_record(&mut self, now: UnixNanoseconds) -> Result<bool, Error> {
        let (index, stream) = self.turn();
        let begins = !self.logs[index].streams[stream.index()].open.is_open();
        self.write_piece(index, stream, now)?;
        Ok(begins)
    }

    /// Writes what is left of every line that has begun.
    pub(crate) fn finish_lines(&mut self, now: UnixNanoseconds) -> Result<(), Error> {
        for index in 0..self.logs.len() {
            for stream in [Stream::Stdout, Stream::Stderr] {
                while self.logs[index].streams[stream.index()].open.is_open() {
                    self.write_piece(index, stream, now)?;
                }
            }
        }
        Ok(())
    }

    /// Hands everything written so far to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.logs.iter_mut().try_for_each(|log| log.file.flush())
    }

    /// Ends rotations that are under way and flushes.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.logs.iter_mut().try_for_each(|log| log.file.settle())
    }

    /// The newest stamp that the files held when they were opened.
    pub(crate) fn last_stamp_on_disk(&self) -> Result<Option<UnixNanoseconds>, Error> {
        let longest = self.options.piece_bytes.saturating_add(LONGEST_RECORD_HEAD);
        let mut newest = None;
        for log in &self.logs {
            newest = newest.max(log.file.last_stamp(longest)?);
        }
        Ok(newest)
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let mut streams = Vec::new();
        for log in &self.logs {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let state = &log.streams[stream.index()];
                if state.lines == 0 {
                    continue;
                }
                streams.push(StreamCount {
                    namespace: log.container.namespace.to_owned(),
                    pod: log.container.pod.clone(),
                    uid: log.container.uid.clone(),
                    container: log.container.name.to_owned(),
                    stream,
                    lines: state.lines,
                    text_bytes: state.text_bytes,
                });
            }
        }
        let needles = self.needles.iter().map(|needle| NeedleCount {
            class: needle.class,
            text: String::from_utf8_lossy(&needle.text).into_owned(),
            lines: needle.lines,
        });
        Manifest {
            seed: self.options.seed,
            lines: streams.iter().map(|stream| stream.lines).sum(),
            text_bytes: streams.iter().map(|stream| stream.text_bytes).sum(),
            file_bytes: self.counts.file_bytes,
            records: self.counts.records,
            pieces: self.counts.pieces,
            rotations: self.counts.rotations,
            cut_rotations: self.counts.cut_rotations,
            repeated_lines: self.counts.repeated_lines,
            equal_stamps: self.counts.equal_stamps,
            first_stamp: self.counts.first_stamp.unwrap_or_default(),
            last_stamp: self.counts.last_stamp,
            needles: needles.collect(),
            streams,
        }
    }

    #[inline]
    fn turn(&mut self) -> (usize, Stream) {
        if let Some(turn) = self.next_turn.take() {
            return turn;
        }
        let index = self.loudness.draw(&mut self.random);
        let main = self.logs[index].container.main_stream;
        let stream = if self.random.chance(self.options.second_stream_share) { main.other() } else { main };
        (index, stream)
    }

    /// Writes the next piece of the stream's open line, or begins a line.
    fn write_piece(&mut self, index: usize, stream: Stream, now: UnixNanoseconds) -> Result<(), Error> {
        self.calendar.set(now);
        self.counts.first_stamp.get_or_insert(now);
        self.counts.last_stamp = now;
        let before = self.logs[index].file.buffer().len();
        let goes_on = if self.logs[index].streams[stream.index()].open.is_open() {
            let log = &mut self.logs[index];
            log.streams[stream.index()].open.write_next(&self.calendar, stream, log.file.buffer())
        } else {
            self.begin_line(index, stream, now)
        };
        let log = &mut self.logs[index];
        let bytes = log.file.buffer().len() - before;
        self.counts.records += 1;
        self.counts.pieces += u64::from(goes_on);
        self.counts.file_bytes += bytes as u64;
        let state = &log.streams[stream.index()];
        if !goes_on && (state.repeat.is_some() || state.trace.is_running()) {
            self.next_turn = Some((index, stream));
        }
        log.file.record_written(bytes)?;
        self.rotate_if_due(index, goes_on)
    }

    /// Writes a new line or its first piece; true if there is more of it.
    fn begin_line(&mut self, index: usize, stream: Stream, now: UnixNanoseconds) -> bool {
        self.compose(index, stream);
        let log = &mut self.logs[index];
        let state = &mut log.streams[stream.index()];
        state.lines += 1;
        state.text_bytes += self.text.len() as u64;
        self.counts.equal_stamps += u64::from(state.last_stamp == Some(now));
        state.last_stamp = Some(now);
        let piece_bytes = self.options.piece_bytes;
        let cuts = if log.wants_cut || self.random.chance(self.options.partial_share) {
            random_cuts(self.text.len(), piece_bytes, &mut self.random)
        } else if self.text.len() > piece_bytes {
            regular_cuts(self.text.len(), piece_bytes)
        } else {
            write_record(&self.calendar, stream, true, &self.text, log.file.buffer());
            return false;
        };
        state.open.start(&self.text, cuts);
        state.open.write_next(&self.calendar, stream, log.file.buffer())
    }

    /// Fills `text` with the next line of the stream.
    fn compose(&mut self, index: usize, stream: Stream) {
        let log = &mut self.logs[index];
        let state = &mut log.streams[stream.index()];
        self.text.clear();
        let needles = match state.repeat.take() {
            Some(repeat) => {
                self.text.extend_from_slice(&repeat.text);
                self.needles.count_again(repeat.needles);
                self.counts.repeated_lines += 1;
                repeat.needles
            }
            None => {
                let container = &log.container;
                if !state.trace.is_running() && self.random.chance(self.options.long_line_share) {
                    self.composer.compose_long(container.app, &self.calendar, &mut self.text);
                } else {
                    self.composer.compose(container.style, container.app, &self.calendar, &mut state.trace, &mut self.text);
                }
                self.needles.plant(self.counts.file_bytes, 0, &mut self.text)
            }
        };
        if self.random.chance(self.options.repeat_share) {
            state.repeat = Some(Repeat { text: self.text.clone(), needles });
        }
    }

    #[inline]
    fn rotate_if_due(&mut self, index: usize, line_goes_on: bool) -> Result<(), Error> {
        let log = &mut self.logs[index];
        if log.file.size() < self.options.rotate_bytes {
            return Ok(());
        }
        if log.wants_cut && !line_goes_on {
            return Ok(());
        }
        if !log.wants_cut && self.random.chance(self.options.rotation_cut_share) {
            log.wants_cut = true;
            return Ok(());
        }
        let late_records = if log.wants_cut { 0 } else { self.random.below(LATE_RECORDS) };
        log.wants_cut = false;
        self.counts.rotations += 1;
        let cuts = late_records == 0 && log.streams.iter().any(|state| state.open.is_open());
        self.counts.cut_rotations += u64::from(cuts);
        log.file.rotate(&self.calendar, late_records as u32, self.options.max_files)
    }
}
