//! Pages of many streams go through a merge by halves: all rows come out, and no input holds more than half of a page.

use super::*;
use crate::compact::source::Source;

const STREAMS: u8 = 7;
/// Longest line: a few make a page of 1 MiB, and some are cut by its halves.
const LONGEST: usize = 40_000;

fn mixed(number: u64) -> u64 {
    (number ^ number >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Some lines of each stream; odd and even ones are for different files.
fn lines(seed: u64) -> Vec<(u8, i64, String)> {
    let line = |number: u64| {
        let noise = mixed(seed * 10_000 + number);
        let text = format!("{noise:016x} ").repeat((noise % LONGEST as u64) as usize / 17);
        ((number % u64::from(STREAMS)) as u8, 1 + number as i64, text)
    };
    (0..120 + seed * 40).map(line).collect()
}

fn pushed(lines: &[(u8, i64, String)], wanted: impl Fn(i64) -> bool) -> SegmentRows {
    let mut streams: std::collections::BTreeMap<u8, StreamEntries> = std::collections::BTreeMap::new();
    for (stream, second, text) in lines.iter().filter(|(_, second, _)| wanted(*second)) {
        let stream = streams.entry(*stream).or_insert_with(|| StreamEntries::new(Arc::new(labels(*stream))));
        let handle = stream.intern(Metadata { pushed: metadata((second % 3) as u8), derived: Pairs::default() });
        stream.push(second * SECOND, text, handle);
    }
    SegmentRows::from_pushes(&[PushBatch { tenant: tenant(), streams: streams.into_values().collect() }])
}

#[tokio::test]
async fn lines_come_out_whole_wherever_halves_are_cut() {
    for seed in 0..6 {
        let lines = lines(seed);
        let mut world = World::new();
        let compactor = world.compactor(&world.catalog, CompactionOptions::default());
        let middle = lines.len() as i64 / 2;
        for file in 0..2 {
            // Row by row in turn, or one after the other.
            let is_of_file = |second: i64| if seed % 2 == 0 { second % 2 == file } else { (second > middle) == (file == 1) };
            world.store("W", true, pushed(&lines, is_of_file)).await;
            compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds").expect("there was a segment");
        }
        world.now.fetch_add(2 * DAY, Ordering::Relaxed);
        let work = compactor.merge(&tenant(), nothing(), |_| true).await.expect("merges").expect("there were two files");
        assert_eq!((work.inputs, work.files), (2, 1));
        let (rows, snapshot) = seen(&world.catalog).await;
        assert_in_order(&snapshot);
        let row = |(stream, second, text): &(u8, i64, String)| {
            (labels(*stream).id().0, second * SECOND, text.clone(), metadata((second % 3) as u8))
        };
        assert!(sorted(rows) == sorted(lines.iter().map(row).collect()), "seed {seed}");
    }
}

#[tokio::test]
async fn an_input_holds_half_of_a_page_from_stream_to_stream() {
    let mut world = World::new();
    let compactor = world.compactor(&world.catalog, CompactionOptions::default());
    world.store("W", true, pushed(&lines(0), |_| true)).await;
    compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds").expect("there was a segment");
    let file = world.catalog.manifest(&tenant()).files().next().expect("a file").clone();
    let parts = world.catalog.data_file(&tenant(), file).await.expect("there").to_vec();
    let page = parts[0].pages().text_bytes(0) as usize;
    let mut source = Source::new(world.catalog.clone(), parts.clone(), 1 << 20);
    for span in &parts[0].table().streams {
        for mut stretch in source.stretches(span.id, i64::MIN, i64::MAX) {
            while source.next(&mut stretch).await.expect("reads").is_some() {
                assert!(source.held_bytes() <= page / 2 + LONGEST, "{} bytes of pages of {page}", source.held_bytes());
            }
        }
    }
}
