//! Pages of one stream that go over as they are stored: the same rows, the same answers of the text index, and never where rows are left out.

use super::*;
use crate::catalog::Part;

const STREAM: u8 = 3;

/// Seconds, lines of some 10 kB that tell them apart; one of a few metadata sets.
fn large(seconds: std::ops::Range<i64>) -> PushBatch {
    let mut stream = StreamEntries::new(Arc::new(labels(STREAM)));
    for second in seconds {
        let handle = stream.intern(Metadata { pushed: metadata((second % 3) as u8), derived: Pairs::default() });
        stream.push(second * SECOND, &line(second), handle);
    }
    let mut small = StreamEntries::new(Arc::new(labels(1)));
    let handle = small.intern(Metadata::default());
    small.push(SECOND, "a stream that comes first and shifts the pages", handle);
    PushBatch { tenant: tenant(), streams: vec![stream, small] }
}

fn line(second: i64) -> String {
    format!("second={second} trace={:016x} {}", (second as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), "filling ".repeat(1250))
}

/// Two level-1 files of a stream, merged: how many pages went over whole, and what is seen.
async fn merged(
    pushes: [std::ops::Range<i64>; 2],
    options: CompactionOptions,
    erasure: Arc<dyn Erasure>,
) -> (u64, Vec<Seen>, World, Snapshot) {
    let mut world = World::new();
    let compactor = world.compactor(&world.catalog, options);
    for seconds in pushes {
        world.store("W", true, SegmentRows::from_pushes(&[large(seconds)])).await;
        compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds").expect("there was a segment");
    }
    world.now.fetch_add(2 * DAY, Ordering::Relaxed);
    let work = compactor.merge(&tenant(), erasure, |_| true).await.expect("merges").expect("there were two files");
    assert_eq!((work.inputs, work.files), (2, 1));
    let (rows, snapshot) = seen(&world.catalog).await;
    (compactor.counters().whole_pages.load(Ordering::Relaxed), rows, world, snapshot)
}

fn expected(seconds: impl Iterator<Item = i64>) -> Vec<Seen> {
    let shared = (labels(1).id().0, SECOND, "a stream that comes first and shifts the pages".to_owned(), Pairs::default());
    let rows = seconds.map(|second| (labels(STREAM).id().0, second * SECOND, line(second), metadata((second % 3) as u8)));
    sorted(rows.chain([shared]).collect())
}

/// The pages of a part that may hold a text.
async fn pages_with(world: &World, part: &Part, needle: &str) -> Vec<usize> {
    let found = world.catalog.maybe_pages(part.file(), &Probe::text(needle)).await.expect("reads").expect("has an index");
    (0..part.pages().len()).filter(|page| found.contains(part.row_group(), *page)).collect()
}

#[tokio::test]
async fn pages_of_one_stream_go_over_as_they_are_and_are_found_as_before() {
    let (whole, rows, world, snapshot) = merged([0..450, 450..900], CompactionOptions::default(), nothing()).await;
    assert_eq!(sorted(rows), expected(0..900));
    let pages: Vec<usize> = (0..snapshot[0].pages().len()).map(|page| snapshot[0].pages().rows(page).len()).collect();
    // A line of another stream has a page for itself; 104 lines fill one, and the 34 left over of each file are not worth it.
    assert_eq!((whole, pages), (8, vec![1, 104, 104, 104, 104, 34, 104, 104, 104, 104, 34]));
    for second in 0..900 {
        let row = snapshot[0].table().find(labels(STREAM).id()).expect("the stream").rows.start + second as usize;
        let holder = snapshot[0].pages().holding(&(row..row + 1)).start;
        let found = pages_with(&world, &snapshot[0], &line(second)[..40]).await;
        assert!(found.contains(&holder), "second {second} is in page {holder}, the index has {found:?}");
        assert!(found.len() <= 2, "an id that is in one page: {found:?}");
    }
    assert!(!pages_with(&world, &snapshot[0], "meta2").await.is_empty(), "metadata values are in the planes");
}

#[tokio::test]
async fn a_page_of_which_a_row_is_left_out_is_written_anew() {
    // The second file repeats the end of the first.
    let (whole, rows, ..) = merged([0..450, 300..750], CompactionOptions::default(), nothing()).await;
    assert_eq!(sorted(rows), expected(0..750));
    let (apart, ..) = merged([0..450, 450..900], CompactionOptions::default(), nothing()).await;
    assert!(whole > 0 && whole < apart, "{whole} pages where some overlap, {apart} where none does");
}

#[tokio::test]
async fn what_is_erased_from_a_page_is_gone() {
    struct Early;
    impl Erasure for Early {
        fn as_of(&self) -> u64 {
            0
        }
        fn of_stream(&self, _labels: &Pairs) -> StreamErasure {
            StreamErasure { keep_from: 201 * SECOND, deleted: Vec::new() }
        }
    }
    let (_, rows, ..) = merged([0..450, 450..900], CompactionOptions::default(), Arc::new(Early)).await;
    let kept = rows.iter().map(|(_, stamp, ..)| *stamp).min();
    assert_eq!((rows.len(), kept), (699, Some(201 * SECOND)));
}

#[tokio::test]
async fn pages_are_compressed_anew_for_another_level() {
    let options = CompactionOptions { final_level: 6, ..CompactionOptions::default() };
    let (whole, rows, ..) = merged([0..450, 450..900], options, nothing()).await;
    assert_eq!((whole, sorted(rows)), (0, expected(0..900)));
}
