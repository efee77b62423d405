//! A cache of remote objects on a local disk, in blocks of 1 MiB: what was read once is read from the disk the next time.
//!
//! ```text
//! ranges of an object → blocks ─ on disk, intact ─→ their bytes
//!                              └ else ─→ whole blocks from the store ─→ the reader, and (as far as it keeps up) the writer's thread
//! ```
//! Objects never change, so a block is right for ever or damaged; every piece that is read is verified, and a damaged, truncated or missing
//! file is a miss. Nothing here fails a read: a full or broken disk, or a lost folder, costs time alone. When the budget is full, rows leave
//! before indexes do, each by S3-FIFO. A new process finds the blocks of the one before it. What the store answered may have been wrong already:
//! a reader whose own checks fail asks for the bytes anew, and what was kept of them goes.

mod block;
mod queue;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::error::ReadError;
use crate::store::Store;
use crate::store::disk::block::{BLOCK_BYTES, BlockId, HEAD_BYTES, Head};
use crate::store::disk::queue::Queue;
use crate::store::disk::writer::{NewBlock, WriteFile, Writer, write_file};

pub use block::Content;

/// The folder within the one that is configured.
const FOLDER: &str = "blocks";

/// Blocks that wait to be written at most; more are not kept.
const WAITING_BLOCKS: usize = 8;

/// The folder cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot use folder `{path}` as a cache: {source}; make it writable for this user or leave `cache.dir` empty", path = path.display())]
pub struct CacheFolderError {
    path: PathBuf,
    source: io::Error,
}

/// Blocks of objects on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DiskCache {
    blocks: Arc<Blocks>,
    to_writer: SyncSender<NewBlock>,
}

/// What is on disk.
#[derive(Debug)]
struct Blocks {
    folder: PathBuf,
    capacity: u64,
    kept: Mutex<Kept>,
    counters: Counters,
}

/// Names and sizes of the blocks on disk.
#[derive(Debug, Default)]
struct Kept {
    index: Queue<BlockId>,
    rows: Queue<BlockId>,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    doubted: AtomicU64,
    written: AtomicU64,
    not_written: AtomicU64,
}

/// What is counted of the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCacheFigures {
    /// Blocks that were read from the disk.
    pub hits: u64,
    /// Blocks that were fetched from the store.
    pub misses: u64,
    /// Files that were damaged, truncated or gone.
    pub damaged: u64,
    /// Blocks fetched anew, because their bytes were not what the object says that they are.
    pub doubted: u64,
    /// Blocks written.
    pub written: u64,
    /// Blocks that were not: the disk was full, failed or too slow.
    pub not_written: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl DiskCache {
    /// Uses `folder` for at most `capacity` bytes. What is in it already is found in the background.
    pub fn open(folder: &Path, capacity: u64) -> Result<Self, CacheFolderError> {
        Self::with_writer(folder, capacity, Box::new(write_file))
    }

    fn with_writer(folder: &Path, capacity: u64, write: WriteFile) -> Result<Self, CacheFolderError> {
        let folder = folder.join(FOLDER);
        let failed = |source| CacheFolderError { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let blocks = Arc::new(Blocks { folder: folder.clone(), capacity, kept: Mutex::default(), counters: Counters::default() });
        let to_writer = Writer::start(blocks.clone(), WAITING_BLOCKS, write).map_err(failed)?;
        Ok(Self { blocks, to_writer })
    }

    pub fn figures(&self) -> DiskCacheFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.blocks.counters;
        DiskCacheFigures {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            damaged: read(&counters.damaged),
            doubted: read(&counters.doubted),
            written: read(&counters.written),
            not_written: read(&counters.not_written),
            bytes: self.blocks.kept.lock().bytes(),
        }
    }

    /// Byte ranges of an object of `size` bytes, in the order asked for, and how many bytes came from the store.
    pub(super) async fn ranges(
        &self,
        store: &Store,
        (key, size): (&str, u64),
        content: Content,
        ranges: &[Range<u64>],
    ) -> Result<(Vec<Bytes>, u64), ReadError> {
        let known = self.blocks.clone().read(key, content, wanted_of(ranges, size)).await;
        self.completed(store, (key, size), content, (ranges, known)).await
    }

    /// The same from the store alone, in place of what is kept, which did not check.
    pub(super) async fn ranges_anew(
        &self,
        store: &Store,
        (key, size): (&str, u64),
        content: Content,
        ranges: &[Range<u64>],
    ) -> Result<(Vec<Bytes>, u64), ReadError> {
        let unknown: Found = wanted_of(ranges, size).into_keys().map(|number| (number, None)).collect();
        self.blocks.counters.doubted.fetch_add(unknown.len() as u64, Ordering::Relaxed);
        unknown.keys().for_each(|number| self.blocks.forget(&BlockId::new(key, *number)));
        self.completed(store, (key, size), content, (ranges, unknown)).await
    }

    /// Fetches the blocks that are not known.
    async fn completed(
        &self,
        store: &Store,
        (key, size): (&str, u64),
        content: Content,
        (ranges, mut known): (&[Range<u64>], Found),
    ) -> Result<(Vec<Bytes>, u64), ReadError> {
        let missing: Vec<u64> = known.iter().filter(|(_, bytes)| bytes.is_none()).map(|(number, _)| *number).collect();
        let whole = |number: &u64| number * BLOCK_BYTES..((number + 1) * BLOCK_BYTES).min(size);
        let fetched = store.ranges(key, &missing.iter().map(whole).collect::<Vec<_>>()).await?;
        let mut fetched_bytes = 0;
        for (number, bytes) in missing.into_iter().zip(fetched) {
            fetched_bytes += bytes.len() as u64;
            self.offer(BlockId::new(key, number), content, &bytes);
            known.insert(number, Some(Piece { start: 0, bytes }));
        }
        Ok((ranges.iter().map(|range| joined(range, &known)).collect(), fetched_bytes))
    }

    /// Hands a block to the writer, unless enough of them wait already.
    fn offer(&self, id: BlockId, content: Content, data: &Bytes) {
        // A copy: the bytes are a slice of a longer answer, which shall not be held.
        let block = NewBlock { id, content, file: block::encode(&id, content, data) };
        if self.to_writer.try_send(block).is_err() {
            self.blocks.counters.not_written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Some bytes of a block.
#[derive(Debug, Clone)]
struct Piece {
    /// Where in the block they begin.
    start: u64,
    bytes: Bytes,
}

/// By number of the block; `None`: not on disk.
type Found = HashMap<u64, Option<Piece>>;

/// The part of each block (counted from its start) that covers what is wanted of it.
fn wanted_of(ranges: &[Range<u64>], size: u64) -> HashMap<u64, Range<u64>> {
    let mut wanted: HashMap<u64, Range<u64>> = HashMap::new();
    for range in ranges.iter().filter(|range| !range.is_empty() && range.end <= size) {
        for number in range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES {
            let first = number * BLOCK_BYTES;
            let part = range.start.max(first) - first..range.end.min(first + BLOCK_BYTES) - first;
            let of_block = wanted.entry(number).or_insert_with(|| part.clone());
            *of_block = of_block.start.min(part.start)..of_block.end.max(part.end);
        }
    }
    wanted
}

/// A range out of the blocks that hold it.
fn joined(range: &Range<u64>, known: &Found) -> Bytes {
    let mut joined = BytesMut::new();
    let mut at = range.start;
    while at < range.end {
        let (number, first) = (at / BLOCK_BYTES, at / BLOCK_BYTES * BLOCK_BYTES);
        let end = range.end.min(first + BLOCK_BYTES);
        let piece = known.get(&number).and_then(Option::as_ref).expect("every block of a range was read or fetched");
        let from = (at - first - piece.start) as usize;
        let bytes = piece.bytes.slice(from..from + (end - at) as usize);
        if (at, end) == (range.start, range.end) {
            return bytes;
        }
        joined.extend_from_slice(&bytes);
        at = end;
    }
    joined.freeze()
}

impl Blocks {
    /// What is on disk of the wanted parts of blocks.
    async fn read(self: Arc<Self>, key: &str, content: Content, wanted: HashMap<u64, Range<u64>>) -> Found {
        let (mut found, mut on_disk) = (Found::new(), Vec::new());
        {
            let mut kept = self.kept.lock();
            for (number, part) in wanted {
                let id = BlockId::new(key, number);
                match kept.touch(&id, content) {
                    true => on_disk.push((id, part)),
                    false => drop(found.insert(number, None)),
                }
            }
        }
        self.counters.misses.fetch_add(found.len() as u64, Ordering::Relaxed);
        if on_disk.is_empty() {
            return found;
        }
        let numbers: Vec<u64> = on_disk.iter().map(|(id, _)| id.number).collect();
        let read =
            move || -> Vec<(u64, Option<Piece>)> { on_disk.iter().map(|(id, part)| (id.number, self.read_block(id, part))).collect() };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => found.extend(read),
            // The runtime is shutting down.
            Err(_) => found.extend(numbers.into_iter().map(|number| (number, None))),
        }
        found
    }

    /// A part of a block; a file that is not intact is removed.
    fn read_block(&self, id: &BlockId, part: &Range<u64>) -> Option<Piece> {
        let read = read_part(&self.folder.join(id.file_name()), id, &(part.start as usize..part.end as usize));
        if read.is_some() {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return read;
        }
        self.counters.damaged.fetch_add(1, Ordering::Relaxed);
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        self.forget(id);
        None
    }

    fn forget(&self, id: &BlockId) {
        self.kept.lock().remove(id);
        self.remove_file(id);
    }

    /// A file that cannot be removed is written over, or found by a later process.
    fn remove_file(&self, id: &BlockId) {
        if let Err(error) = fs::remove_file(self.folder.join(id.file_name()))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "cannot remove a file of the cache");
        }
    }
}

/// `None`: the file is not there, not intact, or too short.
fn read_part(path: &Path, id: &BlockId, part: &Range<usize>) -> Option<Piece> {
    let mut file = File::open(path).ok()?;
    let mut head = [0; HEAD_BYTES];
    file.read_exact(&mut head).ok()?;
    let head = Head::parse(&head, id)?;
    let pieces = head.pieces_of(part)?;
    file.seek(SeekFrom::Start((HEAD_BYTES + pieces.start) as u64)).ok()?;
    let mut bytes = vec![0; pieces.len()];
    file.read_exact(&mut bytes).ok()?;
    head.is_intact(pieces.start, &bytes).then(|| Piece { start: pieces.start as u64, bytes: bytes.into() })
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.index.bytes() + self.rows.bytes()
    }

    /// Counts a use; false if the block is not there. A block of rows that is read as an index is kept as one from now on.
    fn touch(&mut self, id: &BlockId, content: Content) -> bool {
        if content == Content::Index
            && let Some(bytes) = self.rows.remove(id)
        {
            self.index.insert(*id, bytes);
        }
        self.index.touch(id) || self.rows.touch(id)
    }

    fn insert(&mut self, id: BlockId, content: Content, bytes: u64) {
        self.remove(&id);
        match content {
            Content::Index => self.index.insert(id, bytes),
            Content::Rows => self.rows.insert(id, bytes),
        }
    }

    fn remove(&mut self, id: &BlockId) {
        self.index.remove(id);
        self.rows.remove(id);
    }

    /// Takes out the block that is worth least: one of rows while there are any.
    fn evict(&mut self) -> Option<BlockId> {
        self.rows.evict().or_else(|| self.index.evict()).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests;
