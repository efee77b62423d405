//! One log file by its descriptor: what it looks like now, and its bytes as records.
//!
//! A look compares size, link count and head with what was there before; a file that shrank or begins otherwise was truncated. Bytes are
//! read into the worker's buffer; the tail of an incomplete record stays in the file and is read again, unless it is longer than the
//! buffer: then its head is held, bounded by the line limit, and the rest only counted while its newline is looked for.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{Whence, lseek};
use tailwater_lease::Writers;

use thin_vec::ThinVec;

use super::balance::FileBalance;
use super::content::Content;
use super::fingerprint::{COVERED_MAX, Fingerprint, Head};
use super::handover::HandedFile;
use super::records::{RecordSink, leading_nul};
use crate::clock;
use crate::discover::listing::SeenFile;
use crate::discover::paths::LogFileName;
use crate::parse::time::StampReader;
use crate::positions::table::{ContainerPath, FileEntry, FileId, InstanceKey, LineCut, Progress};
use crate::promtail::jobs::CompressedFormat;

/// Between two looks at links and times of a file whose size stays the same: asking for the size alone is many times cheaper.
const WHOLE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same of a file that was not written to for so long.
const QUIET_AFTER: Duration = Duration::from_secs(10);
const WHOLE_LOOK_OF_QUIET: Duration = Duration::from_secs(5);
/// Longest header of a record, generously.
const RECORD_HEAD_BYTES: usize = 256;

/// Why a name in the log tree is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("it is not a regular file")]
    NotRegular,
    #[error("another file has its name now")]
    Renamed,
    #[error("too many files are open")]
    NoRoom,
    #[error("cannot open it")]
    Io(#[from] io::Error),
}

/// Never through a link, never waiting, never a terminal.
const OPEN_FLAGS: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Opens `path` if it is a regular file and no symlink. Never blocks, whatever is there.
pub(crate) fn open_regular(path: &Path) -> Result<File, OpenError> {
    regular(OpenOptions::new().read(true).custom_flags(OPEN_FLAGS.bits()).open(path))
}

/// The same for a path below `root`, which is canonical; no link on the way may lead out of it.
pub(crate) fn open_beneath(root: &Path, path: &Path) -> Result<File, OpenError> {
    let leads_out = || OpenError::Io(Errno::EXDEV.into());
    let below = path.strip_prefix(root).map_err(|_| leads_out())?;
    let directory = OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits()).open(root)?;
    let how = OpenHow::new().flags(OPEN_FLAGS | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
    match openat2(&directory, below, how) {
        // A kernel before 5.6, or a profile of system calls from before it.
        Err(Errno::ENOSYS | Errno::EPERM) if path.canonicalize()?.starts_with(root) => open_regular(path),
        Err(Errno::ENOSYS | Errno::EPERM) => Err(leads_out()),
        opened => regular(opened.map(File::from).map_err(io::Error::from)),
    }
}

/// Opens what a job names. Links of the operator are followed; those in a directory that a pod may write to (`is_of_pod`) only below `docker_root`.
pub(crate) fn open_named(path: &Path, is_of_pod: bool, docker_root: Option<&Path>) -> Result<File, OpenError> {
    if !path.symlink_metadata()?.is_symlink() {
        return open_regular(path);
    }
    match (is_of_pod, docker_root) {
        (false, _) => open_regular(&path.canonicalize()?),
        (true, Some(root)) => open_beneath(root, &path.canonicalize()?),
        (true, None) => Err(OpenError::Io(Errno::EXDEV.into())),
    }
}

fn regular(opened: io::Result<File>) -> Result<File, OpenError> {
    let file = match opened {
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE)) => {
            return Err(OpenError::NoRoom);
        }
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(OpenError::NotRegular) }
}

/// A record longer than the buffer, of which the head is held.
#[derive(Debug)]
struct LongRecord {
    head: Vec<u8>,
    /// How much of it is held at most.
    limit: usize,
    /// Bytes seen, held or not.
    length: u64,
}

impl LongRecord {
    fn unread(&self) -> u64 {
        self.length - self.head.len() as u64
    }
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// All whole records were read.
    EndOfFile,
    /// The turn's share of bytes is used up.
    Quantum,
    BatchFull,
    /// A pending line is to be ended here before reading on.
    AtCut,
    /// No more of it is to be read now.
    AtBound,
    /// The file is not what it was.
    Truncated,
}

/// What a look saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// It is shorter than what was read of it, or begins otherwise.
    pub(crate) has_shrunk: bool,
    /// There are bytes that were not looked at before.
    pub(crate) has_news: bool,
}

#[derive(Debug)]
pub(crate) struct TailFile {
    pub(crate) id: FileId,
    file: File,
    content: Content,
    pub(crate) balance: FileBalance,
    /// As last seen under the root; a hint.
    pub(crate) name: String,
    pub(crate) parsed_name: LogFileName,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) fingerprint: Fingerprint,
    /// Where reading of it begins in this process.
    pub(crate) start: Progress,
    /// Up to here an earlier process may have sent it, acknowledged or not: what there was of it when it was opened.
    pub(crate) may_be_sent: u64,
    /// Start of the next record.
    pub(crate) offset: u64,
    pub(crate) cuts: VecDeque<LineCut>,
    long_record: Option<LongRecord>,
    /// Up to here it was looked at; an incomplete record at the end is not read again before the file grows.
    looked_at: u64,
    pub(crate) size: u64,
    pub(crate) links: u64,
    modified: SystemTime,
    /// A look saw that it shrank or begins otherwise. That stays until it is acted upon: meanwhile it may grow to where it was.
    is_replaced: bool,
    /// Its size when a writer last closed it.
    pub(crate) closed_at: Option<u64>,
    /// The kubelet compressed it, as this: what is written now is not kept.
    pub(super) compressed_copy: Option<Box<SeenFile>>,
    /// It was deleted, and the last listing, which came after that, does not have it under any name.
    pub(super) is_unlisted: bool,
    /// Since when it has no name any more.
    pub(crate) deleted_since: Option<Instant>,
    last_growth: Instant,
    next_whole_look: Instant,
    stamp_reader: StampReader,
}

impl TailFile {
    pub(crate) fn new(id: FileId, file: File, name: &str, parsed_name: LogFileName, start: Progress, now: Instant) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let fingerprint = Fingerprint::of(Head::read(&file)?.as_bytes());
        Ok(Self {
            id,
            name: name.to_owned(),
            parsed_name,
            device: metadata.dev(),
            inode: metadata.ino(),
            fingerprint,
            offset: start.offset,
            looked_at: start.offset,
            start: start.clone(),
            may_be_sent: metadata.len(),
            cuts: VecDeque::new(),
            long_record: None,
            size: metadata.len(),
            links: metadata.nlink(),
            modified: metadata.modified()?,
            is_replaced: false,
            closed_at: None,
            compressed_copy: None,
            is_unlisted: false,
            deleted_since: None,
            last_growth: now,
            next_whole_look: now,
            stamp_reader: StampReader::default(),
            content: Content::new(None),
            balance: FileBalance::default(),
            file,
        })
    }

    /// The same for a file of which the content is to be decompressed.
    pub(crate) fn decompressed(self, format: Option<CompressedFormat>) -> Self {
        // Its size says nothing of what is in it.
        let may_be_sent = if format.is_some() { u64::MAX } else { self.may_be_sent };
        Self { content: Content::new(format), may_be_sent, ..self }
    }

    /// The same for a rotated file that the kubelet compressed, of which the content begins with `head`.
    pub(crate) fn of_rotated_compressed(self, head: &Head) -> Self {
        Self { content: Content::of_rotated(), fingerprint: Fingerprint::of(head.as_bytes()), may_be_sent: u64::MAX, ..self }
    }

    /// As it was seen when it was read to where it begins now, all of that acknowledged: the next look tells what changed since.
    pub(super) fn seen_before(self, size: u64, modified: SystemTime, fingerprint: Fingerprint) -> Self {
        Self { size, modified, fingerprint, may_be_sent: self.start.offset, ..self }
    }

    /// Its end could not be decompressed.
    pub(crate) fn is_damaged(&self) -> bool {
        self.content.is_damaged()
    }

    /// Nothing more can come: a compressed file that was read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.content.is_over()
    }

    /// Its time of last change, nanoseconds since the epoch.
    pub(crate) fn modified_nanos(&self) -> i64 {
        clock::nanoseconds(self.modified)
    }

    pub(crate) fn modified(&self) -> SystemTime {
        self.modified
    }

    pub(crate) fn entry(&self, container: &ContainerPath, progress: Progress) -> FileEntry {
        FileEntry {
            instance: InstanceKey { container: ContainerPath::clone(container), number: self.parsed_name.instance },
            name: self.name.as_str().into(),
            device: self.device,
            inode: self.inode,
            fingerprint: self.fingerprint,
            progress,
            cuts: ThinVec::new(),
        }
    }

    /// What goes on over a reload. `None` for a compressed file, which is found again by its name.
    pub(super) fn into_handed(self) -> Option<HandedFile> {
        let is_plain = !self.content.is_compressed();
        is_plain.then_some(HandedFile { file: self.file, name: self.name, parsed_name: self.parsed_name })
    }

    /// Looks at the size, and now and then at links and times.
    pub(crate) fn look(&mut self, now: Instant) -> io::Result<Look> {
        if now < self.next_whole_look
            && !self.content.is_compressed()
            && lseek(&self.file, 0, Whence::SeekEnd)?.cast_unsigned() == self.size
        {
            return Ok(self.seen());
        }
        self.look_whole(now)
    }

    /// Whether it is read to its end and has the size it had, and nothing else of it is to be looked at.
    pub(super) fn stands_still(&self, now: Instant) -> bool {
        now < self.next_whole_look
            && self.cuts.is_empty()
            && self.links > 0
            && !self.is_replaced
            && !self.content.is_compressed()
            && self.looked_at == self.size
            && lseek(&self.file, 0, Whence::SeekEnd).is_ok_and(|size| size.cast_unsigned() == self.size)
    }

    /// Its name may be gone.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.next_whole_look = now;
    }

    /// Looks at size, links and times.
    pub(crate) fn look_whole(&mut self, now: Instant) -> io::Result<Look> {
        let metadata = self.file.metadata()?;
        let (size, modified) = (metadata.len(), metadata.modified()?);
        if size != self.size {
            self.last_growth = now;
        }
        // Written to and of the same size: it may have been cut and filled again to exactly where it was.
        let is_rewritten = size == self.size && modified != self.modified && !self.content.is_compressed() && !self.head_is_as_before()?;
        self.size = size;
        self.links = metadata.nlink();
        self.deleted_since = (self.links == 0).then(|| self.deleted_since.unwrap_or(now));
        self.modified = modified;
        let is_quiet = self.unchanged_for(now) >= QUIET_AFTER && self.links > 0;
        self.next_whole_look = now + if is_quiet { WHOLE_LOOK_OF_QUIET } else { WHOLE_LOOK_EVERY };
        if self.content.is_compressed() {
            return Ok(Look { has_shrunk: false, has_news: !self.content.is_over() });
        }
        self.is_replaced |= is_rewritten;
        Ok(self.seen())
    }

    fn seen(&mut self) -> Look {
        self.is_replaced |= self.size < self.seen_to();
        Look { has_shrunk: self.is_replaced, has_news: self.size > self.looked_at }
    }

    /// For how long it has stood as it is.
    pub(crate) fn unchanged_for(&self, now: Instant) -> Duration {
        let watched = now.saturating_duration_since(self.last_growth);
        let by_its_time = SystemTime::now().duration_since(self.modified).unwrap_or_default();
        watched.max(by_its_time)
    }

    /// How long this process saw it unchanged.
    pub(crate) fn watched_unchanged_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_growth)
    }

    /// Whether nobody wrote to it since a writer closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed_at == Some(self.size)
    }

    /// Whether anybody has it open for writing, as the kernel says. If not, nobody can write to it any more; its size may be another one by then.
    pub(crate) fn writers(&self) -> Writers {
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::WritersUnasked.is_planted() {
            return Writers::None;
        }
        tailwater_lease::writers(&self.file)
    }

    /// Everything up to the size last seen was looked at.
    pub(crate) fn is_drained(&self) -> bool {
        if self.content.is_compressed() { self.content.is_over() } else { self.looked_at >= self.size && !self.is_replaced }
    }

    /// No byte behind it was read.
    pub(super) fn read_to(&self) -> u64 {
        self.offset.max(self.looked_at)
    }

    fn seen_to(&self) -> u64 {
        self.offset + self.long_record.as_ref().map_or(0, |record| record.length)
    }

    /// Reads whole records into `sink` until one of the reasons to stop; at most about `quantum` bytes, and none at or after `until`.
    pub(crate) fn read(&mut self, buffer: &mut [u8], (quantum, until): (u64, u64), sink: &mut RecordSink<'_>) -> io::Result<ReadEnd> {
        let mut taken = 0;
        loop {
            let from = self.seen_to();
            let to_cut = self.cuts.front().map_or(u64::MAX, |cut| cut.offset.saturating_sub(from));
            if to_cut == 0 {
                return Ok(ReadEnd::AtCut);
            }
            if taken >= quantum {
                return Ok(ReadEnd::Quantum);
            }
            if from >= until {
                return Ok(ReadEnd::AtBound);
            }
            let to_cut = to_cut.min(until - from);
            let wanted = usize::try_from(to_cut).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.content.read_at(&self.file, &mut buffer[..wanted], from)?;
            if count == 0 {
                self.looked_at = self.looked_at.max(from);
                return Ok(ReadEnd::EndOfFile);
            }
            if !self.head_is_as_before()? {
                return Ok(ReadEnd::Truncated);
            }
            taken += count as u64;
            self.looked_at = from + count as u64;
            self.take_chunk(&buffer[..count], wanted, to_cut, sink);
            self.content.forget_before(self.seen_to());
            if sink.batch.is_full() {
                return Ok(ReadEnd::BatchFull);
            }
            if sink.must_stop() {
                return Ok(ReadEnd::Quantum);
            }
            if count < wanted && self.looked_at == from + count as u64 {
                return Ok(ReadEnd::EndOfFile);
            }
        }
    }

    /// Takes the records of `chunk`, which was read where [`Self::seen_to`] stands.
    /// It ends before the next cut, `to_cut` bytes on.
    fn take_chunk(&mut self, chunk: &[u8], wanted: usize, to_cut: u64, sink: &mut RecordSink<'_>) {
        if let Some(long) = self.long_record.take() {
            self.take_more_of(long, chunk, sink);
            return;
        }
        let taken = sink.reader(self.id, &mut self.stamp_reader).read_chunk(chunk, self.offset);
        self.offset += taken as u64;
        if taken == 0 && chunk.len() == wanted {
            self.begin_long_record(chunk, to_cut, sink);
        } else if sink.must_stop() {
            self.looked_at = self.offset;
            self.content.reopen();
        }
    }

    fn take_more_of(&mut self, mut long: LongRecord, chunk: &[u8], sink: &mut RecordSink<'_>) {
        let newline = memchr::memchr(b'\n', chunk);
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        let room = long.limit - long.head.len();
        long.head.extend_from_slice(&part[..part.len().min(room)]);
        long.length += part.len() as u64;
        if newline.is_none() {
            if long.unread() > 0 && leading_nul(chunk) == chunk.len() {
                let seen_to = self.offset + long.length;
                let next = self.content.next_data(&self.file, seen_to, self.size);
                long.length += next - seen_to;
                self.looked_at = self.looked_at.max(next);
            }
            self.long_record = Some(long);
            return;
        }
        sink.reader(self.id, &mut self.stamp_reader).read_long_record(&long.head, long.unread(), self.offset);
        self.offset += long.length + 1;
        // What follows in the chunk is read again from the new offset.
        self.looked_at = self.offset;
    }

    /// A full buffer without a newline: skips NUL bytes, or holds the head of a record.
    fn begin_long_record(&mut self, chunk: &[u8], to_cut: u64, sink: &mut RecordSink<'_>) {
        let nul = leading_nul(chunk);
        if nul > 0 {
            let before = self.offset;
            self.offset += nul as u64;
            if nul == chunk.len() {
                let next = self.content.next_data(&self.file, self.offset, self.size);
                self.offset = next.min(before.saturating_add(to_cut));
                self.looked_at = self.looked_at.max(self.offset);
            }
            sink.counts.nul_bytes += self.offset - before;
            return;
        }
        let limit = sink.rules.kept_bytes().min(sink.rules.max_record_bytes) + RECORD_HEAD_BYTES;
        let mut head = Vec::with_capacity(limit.min(2 * chunk.len()));
        head.extend_from_slice(&chunk[..chunk.len().min(limit)]);
        self.long_record = Some(LongRecord { head, limit, length: chunk.len() as u64 });
    }

    /// Reads what stands at the end without a newline; for a file that will not grow.
    pub(crate) fn read_unfinished_record(&mut self, buffer: &mut [u8], sink: &mut RecordSink<'_>) -> io::Result<()> {
        let long = match self.long_record.take() {
            Some(long) => long,
            None => {
                let count = self.content.read_at(&self.file, buffer, self.offset)?;
                LongRecord { head: buffer[..count].to_vec(), limit: count, length: count as u64 }
            }
        };
        if long.length > 0 {
            sink.reader(self.id, &mut self.stamp_reader).read_long_record(&long.head, long.unread(), self.offset);
            self.offset += long.length;
            self.looked_at = self.offset;
        }
        Ok(())
    }

    /// A compressed copy of it begins with `head`. A file that was empty when it was looked at last is looked at again.
    pub(crate) fn begins_like(&mut self, head: &[u8]) -> io::Result<bool> {
        if self.fingerprint.length == 0 && !self.content.is_compressed() {
            self.fingerprint = Fingerprint::of(Head::read(&self.file)?.as_bytes());
        }
        Ok(self.fingerprint.matches(head))
    }

    fn head_is_as_before(&mut self) -> io::Result<bool> {
        if self.content.is_rotated() {
            return Ok(true);
        }
        let head = Head::read(&self.file)?;
        let is_same = self.fingerprint.length == 0 || self.fingerprint.matches(head.as_bytes());
        if is_same && self.fingerprint.length < COVERED_MAX {
            self.fingerprint = Fingerprint::of(head.as_bytes());
        }
        Ok(is_same)
    }

    /// Whether a shrunk file still begins as it did.
    pub(crate) fn begins_as_before(&self) -> io::Result<bool> {
        Ok(self.size > 0 && self.fingerprint.matches(Head::read(&self.file)?.as_bytes()))
    }

    /// Goes on from `offset` of the same content.
    pub(crate) fn go_back_to(&mut self, offset: u64) {
        self.offset = offset;
        self.looked_at = offset;
        self.long_record = None;
        self.is_replaced = false;
    }

    /// Goes on where it is in a compressed copy, of which the content begins with `head`, and lets its own bytes go.
    pub(super) fn go_on_in_copy(&mut self, handle: File, copy: &SeenFile, head: &Head) -> io::Result<()> {
        let metadata = handle.metadata()?;
        self.modified = metadata.modified()?;
        (self.device, self.inode) = (metadata.dev(), metadata.ino());
        (self.size, self.links) = (metadata.len(), metadata.nlink());
        (self.file, self.content) = (handle, Content::of_rotated());
        self.fingerprint = Fingerprint::of(head.as_bytes());
        (self.name, self.parsed_name) = (copy.text.clone(), copy.name.clone());
        (self.compressed_copy, self.closed_at, self.deleted_since) = (None, None, None);
        self.go_back_to(self.offset);
        Ok(())
    }

    /// Begins anew as another file: its content was replaced.
    pub(crate) fn begin_anew(&mut self, id: FileId, start: Progress) -> io::Result<()> {
        self.id = id;
        self.start = start;
        self.fingerprint = Fingerprint::of(Head::read(&self.file)?.as_bytes());
        self.cuts.clear();
        self.closed_at = None;
        self.may_be_sent = 0;
        self.go_back_to(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), b"x").unwrap();
        symlink(path("file"), path("link")).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRUSR).unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        assert!(open_regular(&path("file")).is_ok());
        assert!(matches!(open_regular(&path("link")), Err(OpenError::Io(_))));
        assert!(matches!(open_regular(&path("fifo")), Err(OpenError::NotRegular)));
        assert!(matches!(open_regular(&path("directory")), Err(OpenError::NotRegular)));
        assert!(matches!(open_regular(Path::new("/dev/null")), Err(OpenError::NotRegular)));
    }

    #[test]
    fn a_file_that_nobody_wrote_to_for_a_while_is_looked_at_whole_less_often_from_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        for (name, age, expected) in [("0.log", 0, WHOLE_LOOK_EVERY), ("1.log", 3600, WHOLE_LOOK_OF_QUIET)] {
            let path = directory.path().join(name);
            let written = File::create(&path).unwrap();
            written.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            let (name, handle) = (LogFileName::parse(name).unwrap(), open_regular(&path).unwrap());
            let mut file = TailFile::new(FileId(1), handle, "0.log", name, Progress::start(None), now).unwrap();
            file.look(now).unwrap();
            assert_eq!(file.next_whole_look - now, expected, "{age} s old");
        }
    }

    #[test]
    fn what_a_look_saw_is_seen_until_the_file_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let written = |text: &[u8], changed: u64| {
            std::fs::write(&path, text).unwrap();
            File::options().append(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(changed)).unwrap();
        };
        // Filled again to the same size, at once or with a look in between.
        for sizes in [&[6][..], &[0, 6], &[2, 6]] {
            written(b"a 111\n", 1);
            let mut now = Instant::now();
            let (name, handle) = (LogFileName::parse("0.log").unwrap(), open_regular(&path).unwrap());
            let mut file = TailFile::new(FileId(1), handle, "0.log", name, Progress::start(None), now).unwrap();
            file.look(now).unwrap();
            file.go_back_to(6);
            assert!(file.is_drained() && file.stands_still(now), "read to its end");
            for (step, size) in sizes.iter().enumerate() {
                written(&b"b 222\n"[..*size], 2 + step as u64);
                now += WHOLE_LOOK_OF_QUIET;
                assert!(file.look(now).unwrap().has_shrunk, "{sizes:?}");
            }
            // Whoever looked could not read.
            for _ in 0..2 {
                assert!(file.look(now).unwrap().has_shrunk && !file.is_drained() && !file.stands_still(now), "{sizes:?}");
                now += WHOLE_LOOK_OF_QUIET;
            }
            assert!(!file.begins_as_before().unwrap());
            file.begin_anew(FileId(2), Progress::start(None)).unwrap();
            assert_eq!(file.look(now).unwrap(), Look { has_shrunk: false, has_news: true }, "{sizes:?}");
        }
    }

    #[test]
    fn no_link_leads_out_of_the_directory_that_files_must_lie_below() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        let root = base.join("containers");
        for name in ["containers/abc", "other"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
            std::fs::write(base.join(name).join("x-json.log"), b"x").unwrap();
        }
        symlink(base.join("other"), root.join("absolute")).unwrap();
        symlink("../other", root.join("relative")).unwrap();
        symlink("abc", root.join("inside")).unwrap();
        for (name, is_allowed) in [("abc", true), ("inside", true), ("absolute", false), ("relative", false), ("../other", false)] {
            let path = root.join(name).join("x-json.log");
            assert!(open_regular(&path).is_ok(), "by itself it is a file: {name}");
            assert_eq!(open_beneath(&root, &path).is_ok(), is_allowed, "{name}");
        }
        assert!(open_beneath(&root, &base.join("other/x-json.log")).is_err());
        assert!(matches!(open_beneath(&root, &root.join("abc")), Err(OpenError::NotRegular)));
    }
}
