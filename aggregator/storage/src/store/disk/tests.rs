//! Counts of requests behind the cache, and what becomes of damage, full disks and lost folders.

use super::*;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStore, PutPayload, path};
use proptest::prelude::*;
use tailwater_faultstore::{FaultStore, Operation};

const KEY: &str = "v1/t/data/2026-01-15/1-x.parquet";

/// A store with one object of so many bytes, whose calls are counted.
struct Remote {
    counts: FaultStore,
    store: Store,
    object: Vec<u8>,
}

impl Remote {
    async fn new(size: usize) -> Self {
        let object: Vec<u8> = (0..size).map(|place| (place * 7 % 253) as u8 ^ (place >> 13) as u8).collect();
        let counts = FaultStore::new(Arc::new(InMemory::new()));
        let put = PutPayload::from(object.clone());
        counts.inner().put_opts(&path::Path::from(KEY), put, Default::default()).await.expect("puts");
        Self { store: Store::new(Arc::new(counts.clone()), ""), counts, object }
    }

    /// Reads through a cache and checks what comes.
    async fn read(&self, cache: &DiskCache, content: Content, range: Range<u64>) -> u64 {
        let store = self.store.clone().with_disk_cache(cache.clone());
        let asked = [range.clone(), 5..5, range.start..range.start];
        let read = store.cached_ranges((KEY, self.object.len() as u64), content, &asked).await;
        let (found, fetched) = read.expect("reads");
        assert!(found[0] == self.object[range.start as usize..range.end as usize], "the bytes of {range:?}");
        assert!(found[1].is_empty() && found[2].is_empty());
        fetched
    }

    fn gets(&self) -> u64 {
        self.counts.counts().of(Operation::Get).calls
    }
}

fn open(folder: &Path) -> DiskCache {
    DiskCache::open(folder, 64 << 20).expect("opens")
}

/// Waits until the writer's thread has dealt with so many blocks.
async fn dealt_with(cache: &DiskCache, blocks: u64) {
    until(|| cache.figures().written + cache.figures().not_written >= blocks).await;
}

async fn until(is_so: impl Fn() -> bool) {
    let mut tries = 0;
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tries += 1;
        assert!(tries < 60_000, "the writer does not come to it");
    }
}

/// The files of a cache.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join(FOLDER)).expect("a folder").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_read_once_is_not_fetched_again_not_even_by_a_new_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = Remote::new((3 << 20) + 1000).await;
    let cache = open(folder.path());
    assert_eq!(remote.read(&cache, Content::Rows, 100..2_000_000).await, 2 << 20, "two blocks, whole");
    assert_eq!(remote.gets(), 1, "in one request");
    dealt_with(&cache, 2).await;
    assert_eq!(remote.read(&cache, Content::Rows, 1_000_000..1_100_000).await, 0);
    assert_eq!(remote.read(&cache, Content::Rows, (3 << 20) - 10..(3 << 20) + 1000).await, (1 << 20) + 1000, "the last block is shorter");
    assert_eq!(remote.gets(), 2);
    dealt_with(&cache, 4).await;
    drop(cache);
    let later = open(folder.path());
    until(|| later.figures().bytes == (3 << 20) + 1000 + 4 * HEAD_BYTES as u64).await;
    assert_eq!(remote.read(&later, Content::Rows, 0..(3 << 20) + 1000).await, 0);
    assert_eq!((remote.gets(), later.figures().hits), (2, 4));
}

#[tokio::test]
async fn a_damaged_truncated_or_missing_file_is_a_miss() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = Remote::new(1 << 20).await;
    let cache = open(folder.path());
    remote.read(&cache, Content::Rows, 0..1 << 20).await;
    dealt_with(&cache, 1).await;
    let file = files(folder.path()).pop().expect("a file");
    let whole = fs::read(&file).expect("reads");
    let mut flipped = whole.clone();
    flipped[HEAD_BYTES + 70_000] ^= 4;
    let damages: [Option<Vec<u8>>; 5] =
        [Some(flipped), Some(whole[..500_000].to_vec()), Some(whole[..50].to_vec()), Some(Vec::new()), None];
    for (number, damaged) in damages.into_iter().enumerate() {
        match damaged {
            Some(bytes) => fs::write(&file, bytes).expect("writes"),
            None => fs::remove_file(&file).expect("removes"),
        }
        assert_eq!(remote.read(&cache, Content::Rows, 60_000..900_000).await, 1 << 20);
        dealt_with(&cache, number as u64 + 2).await;
        assert_eq!(remote.read(&cache, Content::Rows, 60_000..900_000).await, 0, "it was written anew");
    }
    assert_eq!(cache.figures().damaged, 5);
    fs::remove_dir_all(folder.path()).expect("removes");
    assert_eq!(remote.read(&cache, Content::Rows, 60_000..900_000).await, 1 << 20, "a lost folder");
}

#[tokio::test]
async fn a_full_disk_is_slower_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = Remote::new(8 << 20).await;
    let room = Arc::new(AtomicU64::new(3));
    let left = room.clone();
    // Like a quota of so many files: the next is cut short.
    let write = move |path: &Path, bytes: &[u8]| {
        let is_room = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |files| files.checked_sub(1)).is_ok();
        write_file(path, if is_room { bytes } else { &bytes[..bytes.len() / 2] })?;
        if is_room { Ok(()) } else { Err(io::Error::from(io::ErrorKind::StorageFull)) }
    };
    let cache = DiskCache::with_writer(folder.path(), 64 << 20, Box::new(write)).expect("opens");
    for (dealt, block) in (0..8).enumerate() {
        remote.read(&cache, Content::Rows, block << 20..(block + 1) << 20).await;
        dealt_with(&cache, dealt as u64 + 1).await;
    }
    assert_eq!((cache.figures().written, cache.figures().not_written), (3, 5));
    assert_eq!(files(folder.path()).len(), 0, "it gave way: neither halves nor others");
    room.store(100, Ordering::Relaxed);
    assert_eq!(remote.read(&cache, Content::Rows, 0..8 << 20).await, 8 << 20);
    dealt_with(&cache, 16).await;
    assert_eq!(remote.read(&cache, Content::Rows, 0..8 << 20).await, 0, "once there is room it is used");
}

#[tokio::test]
async fn rows_leave_before_indexes_and_the_budget_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = Remote::new(16 << 20).await;
    let budget = 4 * ((1 << 20) + HEAD_BYTES as u64);
    let cache = DiskCache::open(folder.path(), budget).expect("opens");
    for (dealt, (block, content)) in (0u64..).zip((0..16).map(|block| (block, if block < 3 { Content::Index } else { Content::Rows }))) {
        remote.read(&cache, content, block << 20..(block + 1) << 20).await;
        dealt_with(&cache, dealt + 1).await;
        let on_disk: u64 = files(folder.path()).iter().map(|file| fs::metadata(file).expect("a file").len()).sum();
        assert!(on_disk <= budget && on_disk == cache.figures().bytes, "{on_disk} of {budget}");
    }
    assert_eq!(remote.read(&cache, Content::Index, 0..3 << 20).await, 0, "the indexes are there");
    drop(cache);
    let later = DiskCache::open(folder.path(), 2 * ((1 << 20) + HEAD_BYTES as u64)).expect("opens");
    until(|| files(folder.path()).len() == 2).await;
    let fetched = remote.read(&later, Content::Index, 0..3 << 20).await;
    assert_eq!(fetched, 1 << 20, "a smaller budget keeps two of the indexes");
}

#[tokio::test]
async fn a_failing_store_fails_as_without_a_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = Remote::new(1 << 20).await;
    let cache = open(folder.path());
    let store = remote.store.clone().with_disk_cache(cache);
    let gone = store.cached_ranges(("v1/gone", 10), Content::Rows, std::slice::from_ref(&(0..10))).await;
    assert!(gone.expect_err("nothing is there").is_not_found());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_ranges_are_those_of_the_object(
        size in 1u64..4_000_000, ranges in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let run = async {
            let folder = tempfile::tempdir().expect("a folder");
            let remote = Remote::new(size as usize).await;
            let store = remote.store.clone().with_disk_cache(open(folder.path()));
            let ends = |(start, end): &(prop::sample::Index, prop::sample::Index)| (start.index(size as usize + 1) as u64, end.index(size as usize + 1) as u64);
            let ranges: Vec<Range<u64>> = ranges.iter().map(ends).map(|(start, end)| start.min(end)..start.max(end)).collect();
            for _ in 0..3 {
                let (found, _) = store.cached_ranges((KEY, size), Content::Rows, &ranges).await.expect("reads");
                for (range, found) in ranges.iter().zip(found) {
                    prop_assert!(found == remote.object[range.start as usize..range.end as usize], "the bytes of {:?}", range);
                }
            }
            Ok(())
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(run)?;
    }
}
