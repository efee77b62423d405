//! The thread that writes blocks, finds those of an earlier process, and keeps to the budget.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::store::disk::Blocks;
use crate::store::disk::block::{BlockId, Content, HEAD_BYTES, Head};

/// Blocks that are given up where one could not be written: the disk may be full of other things.
const GIVEN_UP: usize = 2;

/// A block on its way to the disk.
pub(super) struct NewBlock {
    pub(super) id: BlockId,
    pub(super) content: Content,
    /// Its file.
    pub(super) file: Vec<u8>,
}

impl std::fmt::Debug for NewBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.id)
    }
}

/// Writes a file; what it leaves behind if it fails is removed.
pub(super) type WriteFile = Box<dyn Fn(&Path, &[u8]) -> io::Result<()> + Send>;

/// Not synced: a file that a crash cuts short fails its checksum.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::create(path)?.write_all(bytes)
}

pub(super) struct Writer {
    blocks: Arc<Blocks>,
    write: WriteFile,
    is_failing: bool,
}

impl Writer {
    /// Starts the thread. It ends when the senders are gone.
    pub(super) fn start(blocks: Arc<Blocks>, waiting: usize, write: WriteFile) -> io::Result<SyncSender<NewBlock>> {
        let (to_writer, coming) = sync_channel(waiting);
        let writer = Self { blocks, write, is_failing: false };
        std::thread::Builder::new().name("cache".to_owned()).spawn(move || writer.run(&coming))?;
        Ok(to_writer)
    }

    fn run(mut self, coming: &Receiver<NewBlock>) {
        self.find();
        while let Ok(block) = coming.recv() {
            self.keep(&block);
        }
    }

    /// Finds the blocks of an earlier process.
    fn find(&self) {
        let entries = match fs::read_dir(&self.blocks.folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, folder = %self.blocks.folder.display(), "cannot read the folder of the cache; it starts empty");
                return;
            }
        };
        for entry in entries.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(BlockId::of_file_name) else { continue };
            match head_of(&entry.path(), &id) {
                Some(head) => self.add(id, head.content, (HEAD_BYTES + head.length) as u64),
                None => self.blocks.remove_file(&id),
            }
        }
    }

    fn add(&self, id: BlockId, content: Content, bytes: u64) {
        self.blocks.kept.lock().insert(id, content, bytes);
        self.shrink_to(self.blocks.capacity);
    }

    fn shrink_to(&self, capacity: u64) {
        loop {
            let mut kept = self.blocks.kept.lock();
            if kept.bytes() <= capacity {
                return;
            }
            let Some(id) = kept.evict() else { return };
            drop(kept);
            self.blocks.remove_file(&id);
        }
    }

    fn keep(&mut self, block: &NewBlock) {
        let bytes = block.file.len() as u64;
        if bytes > self.blocks.capacity {
            return;
        }
        // Room is made first, so that the folder is never over its budget.
        self.shrink_to(self.blocks.capacity - bytes);
        match (self.write)(&self.blocks.folder.join(block.id.file_name()), &block.file) {
            Ok(()) => {
                self.add(block.id, block.content, bytes);
                self.blocks.counters.written.fetch_add(1, Ordering::Relaxed);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the cache can be written again");
                }
            }
            Err(error) => self.give_way(&block.id, &error),
        }
    }

    /// Without the block, and with some others less.
    fn give_way(&mut self, id: &BlockId, error: &io::Error) {
        self.blocks.counters.not_written.fetch_add(1, Ordering::Relaxed);
        self.blocks.kept.lock().remove(id);
        self.blocks.remove_file(id);
        for _ in 0..GIVEN_UP {
            let given_up = self.blocks.kept.lock().evict();
            given_up.iter().for_each(|id| self.blocks.remove_file(id));
        }
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, folder = %self.blocks.folder.display(), "cannot write to the cache; reads go to the store");
        }
    }
}

fn head_of(path: &Path, id: &BlockId) -> Option<Head> {
    let mut file = File::open(path).ok()?;
    let mut head = [0; HEAD_BYTES];
    file.read_exact(&mut head).ok()?;
    let head = Head::parse(&head, id)?;
    let length = file.metadata().ok()?.len();
    (length == (HEAD_BYTES + head.length) as u64).then_some(head)
}
