//! Where reading of a file begins when lines before an instant are not to be read.
//!
//! At the first record stamped then or later, looked for from the front, so that the answer depends on the bytes before it alone and is the same whenever
//! it is asked for. A line whose pieces lie on both sides is read whole. A file in which no record has a stamp is read from its beginning; one that was
//! not written to since then is not read at all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;

use crate::clock;
use crate::parse::cri::{self, OutputStream};
use crate::parse::docker;
use crate::parse::time::StampReader;

/// What is looked at of a record; docker's may say their time behind the text.
const RECORD_BYTES: u64 = 64 << 10;
/// How far the time of a file may be behind that of what was written to it.
const FILE_TIME_LAG: Duration = Duration::from_secs(10);
/// Read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Where to begin in `file`, in bytes of its content. `not_before` is in nanoseconds since the epoch.
pub(super) fn start_of(file: &File, modified: SystemTime, not_before: i64) -> io::Result<u64> {
    if is_older(modified, not_before) {
        return end_of_last_record(file);
    }
    first_record(FromStart { file, at: 0 }, not_before)
}

/// The same for a compressed file, which nobody writes to; `None`: nothing of it is to be read.
pub(super) fn start_of_compressed(file: &File, modified: SystemTime, not_before: i64) -> Option<u64> {
    if is_older(modified, not_before) {
        return None;
    }
    // What is damaged is found out, and counted, when it is read.
    Some(first_record(MultiGzDecoder::new(FromStart { file, at: 0 }), not_before).unwrap_or(0))
}

/// Whether a file was not written to since then. File systems tell times that lag behind the clock, some by seconds.
fn is_older(modified: SystemTime, not_before: i64) -> bool {
    clock::nanoseconds(modified.checked_add(FILE_TIME_LAG).unwrap_or(modified)) < not_before
}

/// A descriptor others read from as well.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Behind the last newline.
fn end_of_last_record(file: &File) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut end = file.metadata()?.len();
    while end > 0 {
        let from = end.saturating_sub(BUFFER_BYTES as u64);
        let length = usize::try_from(end - from).unwrap_or(BUFFER_BYTES);
        file.read_exact_at(&mut buffer[..length], from)?;
        if let Some(newline) = memchr::memrchr(b'\n', &buffer[..length]) {
            return Ok(from + newline as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Where the first record stamped `not_before` or later begins, or the first piece of a line that is not at its end there.
fn first_record(content: impl Read, not_before: i64) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, content);
    let mut stamps = StampReader::default();
    let (mut offset, mut has_stamps) = (0, false);
    let mut pieces_from: [Option<u64>; 2] = [None, None];
    let mut record = Vec::new();
    loop {
        record.clear();
        let Some(length) = read_record(&mut reader, &mut record)? else { break };
        if let Some((stamp, stream, is_partial)) = parse(&mut stamps, &record) {
            has_stamps = true;
            let from = &mut pieces_from[stream.index()];
            from.get_or_insert(offset);
            if stamp >= not_before {
                return Ok(pieces_from.into_iter().flatten().min().unwrap_or(offset));
            }
            if !is_partial {
                *from = None;
            }
        }
        offset += length;
    }
    Ok(if has_stamps { pieces_from.into_iter().flatten().min().unwrap_or(offset) } else { 0 })
}

/// Reads a record without its newline into `head`, as far as it is looked at. Returns its length with the newline; `None` if no whole one is left.
fn read_record(reader: &mut impl BufRead, head: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut length = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let newline = memchr::memchr(b'\n', buffer);
        let part = &buffer[..newline.unwrap_or(buffer.len())];
        let room = usize::try_from(RECORD_BYTES).unwrap_or(usize::MAX).saturating_sub(head.len());
        head.extend_from_slice(&part[..part.len().min(room)]);
        let taken = part.len() + usize::from(newline.is_some());
        length += taken as u64;
        reader.consume(taken);
        if newline.is_some() {
            return Ok(Some(length));
        }
    }
}

/// Stamp and stream of a record, and whether it is a piece of a line.
fn parse(stamps: &mut StampReader, record: &[u8]) -> Option<(i64, OutputStream, bool)> {
    // A crash may have left NUL bytes before it.
    let nul = super::records::leading_nul(record);
    let record = &record[nul..];
    let of_cri = cri::parse(stamps, record).map(|record| (record.timestamp, record.stream, record.is_partial));
    of_cri.or_else(|| docker::parse(stamps, record).map(|record| (record.timestamp, record.stream, record.is_partial)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn record(second: u32, stream: &str, tag: &str, text: &str) -> String {
        format!("2026-03-01T10:00:{second:02}Z {stream} {tag} {text}\n")
    }

    fn stamp(second: i64) -> i64 {
        (1_772_359_200 + second) * 1_000_000_000
    }

    fn begins_with(content: &str, not_before: i64) -> &str {
        let offset = first_record(content.as_bytes(), not_before).unwrap();
        &content[usize::try_from(offset).unwrap()..]
    }

    #[test]
    fn reading_begins_at_the_first_record_that_is_young_enough() {
        let content: String = (0..10).map(|second| record(second, "stdout", "F", "x")).collect();
        assert_eq!(begins_with(&content, 0), content);
        assert_eq!(begins_with(&content, stamp(7)), &content[7 * content.len() / 10..]);
        assert_eq!(begins_with(&content, stamp(10)), "");
        let docker = "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-03-01T10:00:00Z\"}\n";
        assert_eq!(begins_with(&docker.repeat(2), stamp(0)), docker.repeat(2));
        assert_eq!(begins_with(docker, stamp(1)), "");
    }

    #[test]
    fn what_is_being_written_and_what_has_no_stamps_is_not_left_out() {
        let half = record(0, "stdout", "F", "x") + "2026-03-01T10:00:09Z stdout F ha";
        assert_eq!(begins_with(&half, stamp(5)), "2026-03-01T10:00:09Z stdout F ha");
        assert_eq!(begins_with("no\nstamps\n", stamp(5)), "no\nstamps\n");
        let long = format!("{}{}", record(0, "stdout", "F", &"x".repeat(200_000)), record(6, "stdout", "F", "y"));
        assert_eq!(begins_with(&long, stamp(5)), record(6, "stdout", "F", "y"));
    }

    #[test]
    fn a_line_whose_pieces_lie_on_both_sides_is_read_whole() {
        let old = record(0, "stdout", "F", "old");
        let pieces = record(1, "stdout", "P", "a") + &record(2, "stderr", "F", "other") + &record(6, "stdout", "F", "b");
        assert_eq!(begins_with(&(old.clone() + &pieces), stamp(5)), pieces);
        let open = record(1, "stdout", "P", "a");
        assert_eq!(begins_with(&(old + &open), stamp(5)), open);
    }

    #[test]
    fn a_file_nobody_wrote_to_since_is_left_at_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        let content = record(0, "stdout", "F", "x") + "cut";
        file.write_all(content.as_bytes()).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_359_201);
        for not_before in [stamp(5), stamp(60)] {
            assert_eq!(start_of(&file, modified, not_before).unwrap(), content.len() as u64 - 3);
        }
        assert_eq!(start_of(&file, modified, stamp(0)).unwrap(), 0);
        assert_eq!(start_of_compressed(&file, modified, stamp(60)), None);
    }

    #[test]
    fn a_file_time_that_lags_behind_leaves_nothing_out() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(record(5, "stdout", "F", "written since").as_bytes()).unwrap();
        let lagging = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_359_204);
        assert_eq!(start_of(&file, lagging, stamp(5)).unwrap(), 0);
    }

    #[test]
    fn a_compressed_file_is_begun_by_the_bytes_of_its_content() {
        let content: String = (0..10).map(|second| record(second, "stdout", "F", "x")).collect();
        let mut encoder = flate2::write::GzEncoder::new(tempfile::tempfile().unwrap(), flate2::Compression::fast());
        encoder.write_all(content.as_bytes()).unwrap();
        let file = encoder.finish().unwrap();
        assert_eq!(start_of_compressed(&file, SystemTime::now(), stamp(7)), Some(content.len() as u64 * 7 / 10));
    }
}
