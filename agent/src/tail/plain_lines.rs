//! Lines of a pipeline that does not look at them (`cri`, then stages of labels alone): read as those of the native format are.
//!
//! A whole record of valid UTF-8 goes from the read buffer into the outgoing entry, with the labels that the stages would give it. Pieces, what follows
//! them, records that do not parse and long lines go through the stages; what these remember of stamps is kept up for them.

use super::records::RecordReader;
use crate::parse::cri::{self, OutputStream};
use crate::pipeline::context::KnownStamp;

/// What a record begins with, in front of its text.
const WHOLE: &[u8] = b" F ";

impl RecordReader<'_> {
    /// Reads the whole lines of `chunk`, which begins at `offset`, until the batch is full. Returns the bytes taken.
    pub(super) fn read_plain_lines(&mut self, chunk: &[u8], offset: u64) -> usize {
        let is_known_valid = simdutf8::basic::from_utf8(chunk).is_ok();
        let mut is_free = is_known_valid && !self.state.has_pending();
        let mut last_stamps = [None; 2];
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            if !(is_free && self.read_plain(&chunk[start..end], &mut last_stamps)) {
                self.remember(&mut last_stamps);
                self.read_line(&chunk[start..end], 0, offset + start as u64, offset + end as u64 + 1);
                is_free = is_known_valid && !self.state.has_pending();
            }
            start = end + 1;
            if self.batch.is_full() {
                break;
            }
        }
        self.remember(&mut last_stamps);
        self.counts.bytes += start as u64;
        start
    }

    /// Reads a record that needs no stage. Returns whether it is one.
    #[inline]
    fn read_plain(&mut self, bytes: &[u8], last_stamps: &mut [Option<i64>; 2]) -> bool {
        let Some(record) = cri::parse(self.stamp_reader, bytes) else { return false };
        let is_whole = bytes[..bytes.len() - record.text.len()].ends_with(WHOLE);
        let (Some(outlet), Some(stages)) = (self.outlet.stages_mut(), &mut self.state.stages) else { return false };
        let limit = outlet.limits.max_line_size;
        if !is_whole || (limit > 0 && record.text.len() > limit) {
            return false;
        }
        let stamp = stages.stamps.giver.give(record.timestamp, &mut self.counts.clock_steps);
        last_stamps[record.stream.index()] = Some(stamp);
        outlet.push_plain(self.batch, record.stream, stamp, record.text);
        self.counts.lines += 1;
        true
    }

    /// Lets the stages know the last stamps, as they would had the lines gone through them.
    fn remember(&mut self, last_stamps: &mut [Option<i64>; 2]) {
        let (Some(outlet), Some(stages)) = (self.outlet.stages(), &mut self.state.stages) else { return };
        let Some(Some(plain)) = &outlet.plain else { return };
        for stream in OutputStream::ALL {
            if let Some(stamp) = last_stamps[stream.index()].take() {
                stages.stamps.known.set(KnownStamp { key: plain.streams[stream.index()].stamp_key, parsed: stamp, given: stamp });
            }
        }
    }
}
