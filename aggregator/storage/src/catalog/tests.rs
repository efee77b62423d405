//! What is visible, through restarts, lagging listings and damage.

use super::*;
use crate::compact::{CompactionOptions, Compactor, FoldWhen, NothingErased, RetentionEdges};
use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels};
use crate::manifest::{Tombstone, TombstoneId};
use crate::pairs::Pairs;
use crate::segment::encode::encode;
use crate::store::DiskCache;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use std::time::Duration;
use tailwater_faultstore::{Fault, FaultStore, Operation, Rule};
use tailwater_textindex::Probe;

fn rows(stamp: i64) -> SegmentRows {
    let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::from_pairs([("app", "a")]), None)));
    let handle = stream.intern(Metadata::default());
    stream.push(stamp, "a line", handle);
    SegmentRows::from_pushes(&[PushBatch { tenant: TenantId::new("t"), streams: vec![stream] }])
}

fn name(writer: &str, sequence: u64) -> SegmentName {
    SegmentName { writer: writer.into(), sequence, flushed: 1000 + i64::try_from(sequence).expect("small") }
}

async fn stored(store: &Store, name: &SegmentName) -> (u64, FileFooter) {
    let (bytes, footer) = encode(name, &rows(7)).expect("encodes");
    let size = bytes.len() as u64;
    store.create(&paths::segment(&name.writer, name.sequence), bytes, Duration::from_secs(1)).await.expect("stores");
    (size, footer)
}

/// What a catalog with so much memory for recent rows sees.
fn catalog(store: &Store, recent_rows: usize) -> Catalog {
    Catalog::new(store.clone(), CacheBudget { recent_rows, footers: 1 << 20, index: 1 << 20 }, "test", Arc::new(|| 0))
}

async fn visible(catalog: &Catalog, tenant: &str) -> Snapshot {
    catalog.snapshot(&TenantId::new(tenant), &[(i64::MIN, i64::MAX)], &Tolerance::default()).await.expect("reads")
}

async fn stamps_of(catalog: &Catalog, part: &Part) -> Vec<i64> {
    catalog.fetch(part, [0], STAMPS).await.expect("reads").timestamps(0).expect("intact").to_vec()
}

const STAMPS: Wanted = Wanted { timestamps: true, lines: false, metadata: false, line_hashes: false };

#[tokio::test]
async fn a_new_process_sees_what_an_old_one_stored_and_counts_nothing_twice() {
    let store = Store::new(Arc::new(InMemory::new()), "p");
    let own = catalog(&store, 1 << 20);
    for sequence in 0..3 {
        let (size, footer) = stored(&store, &name("W", sequence)).await;
        own.publish(&name("W", sequence), size, footer, rows(7));
    }
    assert_eq!(own.discover(|_, _| ()).await.expect("lists"), 0);

    let other = catalog(&store, 0);
    assert_eq!(other.discover(|_, _| ()).await.expect("lists"), 3);
    assert_eq!(other.discover(|_, _| ()).await.expect("lists"), 0);
    stored(&store, &name("W", 3)).await;
    assert_eq!(other.discover(|_, _| ()).await.expect("lists"), 1);
    let snapshot = visible(&other, "t").await;
    assert!(snapshot.is_sorted_by_key(|part| part.order().clone()));
    assert_eq!(stamps_of(&other, &snapshot[3]).await, [7]);
    assert!(visible(&other, "another").await.is_empty());
}

/// The listing of folders is older than the flush: the writer is forgotten, and its segment found once more.
#[tokio::test]
async fn a_segment_that_a_flush_and_a_listing_both_find_is_shown_once() {
    let store = Store::new(Arc::new(InMemory::new()), "p");
    let catalog = catalog(&store, 1 << 20);
    let (size, footer) = stored(&store, &name("W", 0)).await;
    catalog.publish(&name("W", 0), size, footer, rows(7));
    catalog.writers.lock().forget_others(&[]);
    catalog.discover(|_, _| ()).await.expect("lists");
    let snapshot = visible(&catalog, "t").await;
    assert_eq!(snapshot.len(), 1);
    assert!(snapshot[0].recent().is_some(), "the one whose rows are in memory");
}

#[tokio::test]
async fn a_listing_that_lags_is_caught_up_with() {
    let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let store = Store::new(faults.clone(), "p");
    let catalog = catalog(&store, 0);
    for sequence in 0..3 {
        stored(&store, &name("W", sequence)).await;
    }
    faults.lag_listings(1);
    assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 2);
    faults.heal();
    assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 1);
    assert_eq!((catalog.segment_count(), catalog.known_up_to("W")), (3, Some(2)));
}

#[tokio::test]
async fn a_writer_whose_first_segments_were_deleted_is_known_without_gaps() {
    let store = Store::new(Arc::new(InMemory::new()), "p");
    for sequence in 3..5 {
        stored(&store, &name("W", sequence)).await;
    }
    let catalog = catalog(&store, 0);
    assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 2);
    assert_eq!(catalog.known_up_to("W"), Some(4));
}

#[tokio::test]
async fn rows_leave_memory_at_the_budget_and_stay_readable() {
    let store = Store::new(Arc::new(InMemory::new()), "");
    let catalog = catalog(&store, rows(7).heap_bytes() + 1);
    for sequence in 0..2 {
        let (size, footer) = stored(&store, &name("W", sequence)).await;
        catalog.publish(&name("W", sequence), size, footer, rows(7));
    }
    let snapshot = visible(&catalog, "t").await;
    assert!(snapshot[0].recent().is_none() && snapshot[1].recent().is_some());
    for part in snapshot.iter() {
        assert_eq!(stamps_of(&catalog, part).await, [7]);
    }
}

#[tokio::test]
async fn a_damaged_segment_is_left_alone_and_named_by_queries_that_may_miss_its_rows() {
    let bucket = Arc::new(InMemory::new());
    let store = Store::new(bucket.clone(), "p");
    for sequence in 0..3 {
        stored(&store, &name("W", sequence)).await;
    }
    let key = paths::segment("W", 1);
    let whole = store.get(&key).await.expect("reads").expect("is there");
    let overwrite = |bytes: Bytes| {
        let (bucket, path) = (bucket.clone(), object_store::path::Path::from(format!("p/{key}")));
        async move { drop(bucket.put(&path, bytes.into()).await.expect("stores")) }
    };
    overwrite(whole.slice(..whole.len() - 1)).await;

    let catalog = catalog(&store, 0);
    assert_eq!(catalog.discover(|_, _| ()).await.expect("the others are read"), 2);
    assert_eq!((catalog.segment_count(), catalog.damaged_segments()), (2, 1));
    assert_eq!(catalog.known_up_to("W"), Some(0), "compaction passes none over");
    let tenant = TenantId::new("t");
    let error = catalog.snapshot(&tenant, &[(0, 1)], &Tolerance::default()).await.expect_err("rows may be missing");
    assert!(error.to_string().contains(&key), "{error}");

    overwrite(whole).await;
    assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 1);
    assert_eq!((visible(&catalog, "t").await.len(), catalog.damaged_segments(), catalog.known_up_to("W")), (3, 0, Some(2)));
}

/// Damage of one tenant's manifest, found at the start or while another process commits.
#[tokio::test]
async fn a_damaged_manifest_stops_its_tenant_alone() {
    let bucket = Arc::new(InMemory::new());
    let store = Store::new(bucket.clone(), "p");
    let overwrite = |key: &str, bytes: Bytes| {
        let (bucket, path) = (bucket.clone(), object_store::path::Path::from(format!("p/{key}")));
        async move { drop(bucket.put(&path, bytes.into()).await.expect("stores")) }
    };
    let (damaged, sound) = (TenantId::new("t"), TenantId::new("u"));
    let author = catalog(&store, 0);
    let running = catalog(&store, 0);
    for tenant in [&damaged, &sound] {
        let request = Tombstone::requested(TombstoneId(ulid::Ulid::from_parts(1, 1)), "{a=\"b\"}", 0, 1, 0);
        author.commit(tenant, |_| Ok(Change::AddTombstone(request.clone()))).await.expect("commits");
    }
    running.discover(|_, _| ()).await.expect("lists");
    stored(&store, &name("W", 0)).await;
    let key = paths::manifest(&damaged, 1);
    let whole = store.get(&key).await.expect("reads").expect("is there");
    // The version that was known stays; the newest one is none.
    let next = paths::manifest(&damaged, 2);
    overwrite(&next, whole.slice(..whole.len() - 1)).await;

    for catalog in [running, catalog(&store, 0)] {
        assert_eq!(catalog.discover(|_, _| ()).await.expect("the others are read"), 1);
        let error = catalog.snapshot(&damaged, &[(0, 9)], &Tolerance::of_damage()).await.expect_err("nothing can be told");
        assert!(error.to_string().contains(&next), "{error}");
        assert!(visible(&catalog, "u").await.is_empty());
        assert_eq!((catalog.damaged_manifests(), catalog.checksum_failures()), (1, 1));
        let (segments, _) = catalog.segments_and_manifest(&damaged);
        assert_eq!(segments.len(), 1, "what was pushed is kept");
        let catalog = Arc::new(catalog);
        let compactor = Compactor::new(catalog.clone(), CompactionOptions::default(), Arc::new(|| 0));
        let nothing = || Arc::new(NothingErased { as_of: 0 });
        assert!(compactor.fold(&damaged, nothing(), FoldWhen::AtOnce).await.expect_err("knows no watermarks").to_string().contains(&next));
        assert!(compactor.merge(&damaged, nothing(), |_| true).await.is_err());
        assert!(compactor.expire(&damaged, RetentionEdges::NONE, nothing()).await.is_err());
        assert!(compactor.erase(&damaged, nothing()).await.is_err());
        assert_eq!(store.list_after(&paths::data_files(&damaged), None).await.expect("lists"), [], "nothing is made in vain");

        store.delete(&next).await.expect("deletes");
        catalog.discover(|_, _| ()).await.expect("lists");
        assert_eq!((visible(&catalog, "t").await.len(), catalog.damaged_manifests()), (1, 0));
        overwrite(&next, whole.slice(..whole.len() - 1)).await;
    }
}

/// One bit of one answer of the store: the cache on disk keeps it, and lets it go as soon as somebody's checks fail.
#[tokio::test]
async fn what_the_store_answered_wrongly_is_read_anew_and_not_kept() {
    for damaged in 0..16 {
        let folder = tempfile::tempdir().expect("a folder");
        let faults = FaultStore::new(Arc::new(InMemory::new()));
        let store = Store::new(Arc::new(faults.clone()), "p");
        stored(&store, &name("W", 0)).await;
        let maker = Arc::new(catalog(&store, 0));
        maker.discover(|_, _| ()).await.expect("lists");
        let compactor = Compactor::new(maker, CompactionOptions::default(), Arc::new(|| 2000));
        compactor.fold(&TenantId::new("t"), Arc::new(NothingErased { as_of: 0 }), FoldWhen::AtOnce).await.expect("folds");

        let cache = DiskCache::open(folder.path(), 64 << 20).expect("opens");
        let read = async |catalog: &Catalog| {
            let snapshot = visible(catalog, "t").await;
            let found = stamps_of(catalog, &snapshot[0]).await;
            let probe = Probe::text(*b"a line");
            let maybe = catalog.maybe_pages(snapshot[0].file(), &probe).await.expect("reads").expect("an index");
            (found, maybe.count())
        };
        let of_store = |cache: &DiskCache| catalog(&store.clone().with_disk_cache(cache.clone()), 0);
        // The whole file is one block: any of its bits may be the one.
        let bits =
            8 * store.list_after("", None).await.expect("lists").iter().find(|object| object.key.contains("/data/")).expect("a file").size;
        faults.script(Rule::new(Operation::Get, Fault::Flip(bits * (2 * damaged + 1) / 32)).on("/data/"));
        let reader = of_store(&cache);
        reader.discover(|_, _| ()).await.expect("lists");
        assert_eq!(read(&reader).await, (vec![7], 1), "bit {damaged}");
        let wait = async || {
            while cache.figures().written + cache.figures().not_written < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
        };
        if cache.figures().doubted > 0 {
            tokio::time::timeout(Duration::from_secs(60), wait()).await.expect("both blocks are written");
        }
        // A process that starts then finds good bytes on disk.
        faults.reset_counts();
        let later = of_store(&cache);
        later.discover(|_, _| ()).await.expect("lists");
        assert_eq!((read(&later).await, later.checksum_failures()), ((vec![7], 1), 0));
        assert_eq!(cache.figures().doubted, u64::from(reader.checksum_failures() + reader.index_counters().damaged_parts() > 0));
    }
}

#[tokio::test]
async fn segments_under_each_others_names_are_damage() {
    let store = Store::new(Arc::new(InMemory::new()), "p");
    let (bytes, _) = encode(&name("W", 0), &rows(7)).expect("encodes");
    let key = paths::segment("W", 4);
    store.create(&key, bytes, Duration::from_secs(1)).await.expect("stores");
    let catalog = catalog(&store, 0);
    assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 0);
    let error = catalog.snapshot(&TenantId::new("t"), &[(0, 1)], &Tolerance::default()).await.expect_err("rows may be missing");
    assert!(error.to_string().contains(&key) && error.to_string().contains("another name"), "{error}");
}
