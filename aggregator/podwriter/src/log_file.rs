//! The files of one container: the live `0.log`, its buffer, and the rotated ones.
//!
//! Rotation as the kubelet does it: the live file is renamed to `0.log.<local time>`; until it is opened again
//! there is no `0.log` and records go on into the renamed file; then a new `0.log` is created. Rotated files beyond
//! `max_files - 1` are deleted, the oldest first. Only whole records reach the disk in one write.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::timestamp::{Calendar, UnixNanoseconds};

const LIVE: &str = "0.log";
const FLUSH_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct LogFile {
    folder: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Bytes of the open file, those in the buffer included.
    size: u64,
    /// Names of the rotated files, the oldest first.
    rotated: VecDeque<String>,
    /// Records that still go into a renamed file before the next `0.log` is opened.
    reopen_after: Option<u32>,
}

impl LogFile {
    /// Opens the container's files, creating what is missing; a last record that was torn off is ended.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))?;
        let rotated = rotated_in(&folder)?;
        let file = open_live(&folder)?;
        let size = file.metadata().map_err(Error::io("look at", &folder.join(LIVE)))?.len();
        let mut log = Self { folder, file, buffer: Vec::with_capacity(FLUSH_BYTES * 2), size, rotated, reopen_after: None };
        log.end_torn_record()?;
        Ok(log)
    }

    /// Records are appended here; tell [`LogFile::record_written`] after each.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Takes note of a record of `bytes` at the end of the buffer.
    #[inline]
    pub(crate) fn record_written(&mut self, bytes: usize) -> Result<(), Error> {
        self.size += bytes as u64;
        if let Some(left) = self.reopen_after {
            self.reopen_after = Some(left.saturating_sub(1));
            if left == 0 {
                return self.reopen();
            }
        }
        if self.buffer.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Bytes of the file that is written now; none while a rotation is under way.
    #[inline]
    pub(crate) fn size(&self) -> u64 {
        if self.reopen_after.is_some() { 0 } else { self.size }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer).map_err(Error::io("append to", &self.folder.join(LIVE)))?;
        self.buffer.clear();
        Ok(())
    }

    /// Renames the live file; `late_records` more go into it before the next one is opened.
    pub(crate) fn rotate(&mut self, calendar: &Calendar, late_records: u32, max_files: Option<usize>) -> Result<(), Error> {
        let mut later = 0;
        let mut name = format!("{LIVE}.{}", calendar.rotation_suffix(later));
        // Stamps of two rotations must differ and grow, however fast this goes.
        while self.rotated.back().is_some_and(|newest| *newest >= name) {
            later += 1;
            name = format!("{LIVE}.{}", calendar.rotation_suffix(later));
        }
        let live = self.folder.join(LIVE);
        fs::rename(&live, self.folder.join(&name)).map_err(Error::io("rotate", &live))?;
        self.rotated.push_back(name);
        while max_files.is_some_and(|most| self.rotated.len() >= most)
            && let Some(oldest) = self.rotated.pop_front()
        {
            let path = self.folder.join(oldest);
            fs::remove_file(&path).map_err(Error::io("delete", &path))?;
        }
        if late_records == 0 {
            return self.reopen();
        }
        self.reopen_after = Some(late_records - 1);
        Ok(())
    }

    /// Ends a rotation that is under way and writes out everything.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        if self.reopen_after.is_some() {
            self.reopen()?;
        }
        self.flush()
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.file = open_live(&self.folder)?;
        self.size = 0;
        self.reopen_after = None;
        Ok(())
    }

    fn end_torn_record(&mut self) -> Result<(), Error> {
        let path = self.folder.join(LIVE);
        if tail_of(&path, 1)?.last().is_some_and(|byte| *byte != b'\n') {
            self.buffer.push(b'\n');
            self.size += 1;
            self.flush()?;
        }
        Ok(())
    }

    /// The stamp of the last record, in the live file or else the newest rotated one.
    pub(crate) fn last_stamp(&self, longest_record: usize) -> Result<Option<UnixNanoseconds>, Error> {
        for name in [Some(LIVE), self.rotated.back().map(String::as_str)].into_iter().flatten() {
            let tail = tail_of(&self.folder.join(name), longest_record as u64)?;
            let mut records = tail.split(|byte| *byte == b'\n').rev();
            if let Some(stamp) = records.find_map(UnixNanoseconds::parse_rfc3339) {
                return Ok(Some(stamp));
            }
        }
        Ok(None)
    }
}

fn open_live(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LIVE);
    OpenOptions::new().append(true).create(true).open(&path).map_err(Error::io("open", &path))
}

fn rotated_in(folder: &Path) -> Result<VecDeque<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name();
        if let Some(name) = name.to_str()
            && name.strip_prefix(LIVE).is_some_and(|suffix| suffix.starts_with('.'))
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names.into())
}

/// The last `length` bytes of a file, fewer if it is shorter.
fn tail_of(path: &Path, length: u64) -> Result<Vec<u8>, Error> {
    let mut tail = Vec::new();
    let mut read = || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(length)))?;
        file.take(length).read_to_end(&mut tail)
    };
    read().map_err(Error::io("read", path))?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar() -> Calendar {
        let mut calendar = Calendar::new(0);
        calendar.set(UnixNanoseconds(1_768_471_200_000_000_000));
        calendar
    }

    fn write(log: &mut LogFile, text: &str) {
        log.buffer().extend_from_slice(text.as_bytes());
        log.record_written(text.len()).unwrap();
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn late_records_go_into_the_renamed_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(folder.path().to_owned()).unwrap();
        write(&mut log, "a\n");
        log.rotate(&calendar(), 2, None).unwrap();
        assert!(!folder.path().join("0.log").exists());
        for text in ["b\n", "c\n", "d\n"] {
            write(&mut log, text);
        }
        log.settle().unwrap();
        assert_eq!(read(folder.path(), "0.log.20260115-100000"), "a\nb\nc\n");
        assert_eq!(read(folder.path(), "0.log"), "d\n");
    }

    #[test]
    fn rotations_within_a_second_get_growing_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(folder.path().to_owned()).unwrap();
        for text in ["a\n", "b\n", "c\n"] {
            write(&mut log, text);
            log.rotate(&calendar(), 0, None).unwrap();
        }
        assert_eq!(read(folder.path(), "0.log.20260115-100000"), "a\n");
        assert_eq!(read(folder.path(), "0.log.20260115-100001"), "b\n");
        assert_eq!(read(folder.path(), "0.log.20260115-100002"), "c\n");
    }

    #[test]
    fn the_oldest_files_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(folder.path().to_owned()).unwrap();
        for text in ["a\n", "b\n", "c\n", "d\n"] {
            write(&mut log, text);
            log.rotate(&calendar(), 0, Some(3)).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.20260115-100002", "0.log.20260115-100003"]);
        assert_eq!(read(folder.path(), "0.log.20260115-100003"), "d\n");
    }

    #[test]
    fn a_torn_record_is_ended_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("0.log"), "2026-01-15T10:00:00Z stdout F a\n2026-01-15T10:00:01Z std").unwrap();
        let mut log = LogFile::open(folder.path().to_owned()).unwrap();
        assert_eq!(log.last_stamp(1000).unwrap(), Some(UnixNanoseconds(1_768_471_201_000_000_000)));
        write(&mut log, "next\n");
        log.settle().unwrap();
        assert!(read(folder.path(), "0.log").ends_with("std\nnext\n"));
    }

    #[test]
    fn the_last_stamp_is_found_in_the_rotated_file_when_the_live_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("0.log.20260115-100000"), "2026-01-15T10:00:00Z stdout F a\n").unwrap();
        let log = LogFile::open(folder.path().to_owned()).unwrap();
        assert_eq!(log.last_stamp(1000).unwrap(), Some(UnixNanoseconds(1_768_471_200_000_000_000)));
    }
}
