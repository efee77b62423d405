//! What is written is read; what is damaged is told.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels, TenantId};
use crate::error::FileError;
use crate::file::columns::Wanted;
use crate::file::pages::{FetchPlan, Pages};
use crate::file::read::{FileFooter, FileIdentity, PageTable, SegmentName, TAIL_GUESS, Tail, parse_tail};
use crate::file::rows::RowGroupRows;
use crate::file::schema::NAMESPACE_UID;
use crate::pairs::Pairs;
use crate::segment::encode::encode;
use crate::segment::rows::SegmentRows;
use proptest::prelude::*;

fn name() -> SegmentName {
    SegmentName { writer: "01JABCDEFGHJKMNPQRSTVWXYZ0".into(), sequence: 7, flushed: 1_700_000_000_000_000_000 }
}

/// Stamp, line, and which metadata.
type TestEntry = (i64, String, u8);

fn push(tenant: &str, streams: Vec<(String, Vec<TestEntry>)>) -> PushBatch {
    let streams = streams.into_iter().map(|(app, entries)| {
        let labels = Pairs::from_pairs([("app", app.as_str()), ("zone", "z"), ("namespace", "ns")]);
        let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(labels, Some("svc"))));
        for (stamp, line, metadata) in entries {
            let pushed = match metadata % 4 {
                0 => Pairs::default(),
                1 => Pairs::from_pairs([(NAMESPACE_UID, "uid-1")]),
                2 => Pairs::from_pairs([("trace_id", "x"), (NAMESPACE_UID, "uid-2")]),
                other => Pairs::from_pairs([("a", other.to_string()), ("b", String::new())]),
            };
            let handle = stream.intern(Metadata { pushed, derived: Pairs::from_pairs([("detected_level", "info")]) });
            stream.push(stamp, &line, handle);
        }
        stream
    });
    PushBatch { tenant: TenantId::new(tenant), streams: streams.collect() }
}

fn open(bytes: &Bytes, tail: usize) -> Result<Arc<FileFooter>, FileError> {
    let size = bytes.len() as u64;
    let mut length = tail.min(bytes.len()) as u64;
    for _ in 0..4 {
        match parse_tail(&bytes.slice((size - length) as usize..), size)? {
            Tail::Footer(file) => return Ok(Arc::new(file.footer)),
            Tail::NeedBytes(needed) => length = needed,
        }
    }
    panic!("the tail was asked for again and again");
}

const ALL: Wanted = Wanted { timestamps: true, lines: true, metadata: true, line_hashes: true };

type Row = (i64, Vec<u8>, Pairs, u64);

/// Reads a row group as queries do: page by page.
fn load(footer: &Arc<FileFooter>, bytes: &Bytes, row_group: usize) -> Result<Vec<Row>, FileError> {
    let plan = FetchPlan::new(footer, row_group, 0..footer.row_groups[row_group].pages.len(), ALL);
    let fetch = |range: &Range<u64>| bytes.slice(range.start.min(bytes.len() as u64) as usize..range.end.min(bytes.len() as u64) as usize);
    let fetched: Vec<Bytes> = plan.ranges.iter().map(fetch).collect();
    rows_of(&Pages::Stored(plan.fetched(&fetched)?), &footer.row_groups[row_group].pages)
}

fn rows_of(pages: &Pages, table: &PageTable) -> Result<Vec<Row>, FileError> {
    let mut rows = Vec::new();
    for page in 0..table.len() {
        let (stamps, lines, metadata) = (pages.timestamps(page)?, pages.lines(page)?, pages.metadata(page)?);
        let hashes = pages.line_hashes(page)?;
        for row in 0..table.rows(page).len() {
            rows.push((stamps[row], lines.line(row).to_vec(), metadata.row(row).clone(), hashes[row]));
        }
        assert_eq!(pages.line_offsets(page)?.len(), lines.offsets.len());
        for some in [(0..table.rows(page).len()).step_by(97).collect::<Vec<_>>(), vec![table.rows(page).len() - 1], Vec::new()] {
            let expected: Vec<_> = some.iter().map(|row| lines.line(*row).to_vec()).collect();
            assert_eq!(pages.lines_of(page, &some)?, expected);
        }
        let some: Vec<usize> = (0..table.rows(page).len()).rev().step_by(7).collect();
        assert_eq!(pages.metadata_of(page, &some)?, some.iter().map(|row| metadata.row(*row).clone()).collect::<Vec<_>>());
    }
    Ok(rows)
}

fn in_memory(group: RowGroupRows) -> Vec<Row> {
    let table = group.pages.clone();
    rows_of(&Pages::Recent(Arc::new(group)), &table).expect("memory is sound")
}

fn sample() -> (SegmentRows, Bytes) {
    let entries = |n: i64| (0..n).map(|i| (i * 1000, format!("line number {i} of many"), (i % 5) as u8)).collect::<Vec<_>>();
    let rows = SegmentRows::from_pushes(&[
        push("one", vec![("a".into(), entries(300)), ("b".into(), entries(3))]),
        push("two", vec![("a".into(), entries(2))]),
    ]);
    let bytes = encode(&name(), &rows).expect("encodes").0;
    (rows, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_written_is_read(
        streams in proptest::collection::vec(("[a-c]", proptest::collection::vec((-5i64..50, ".{0,30}", any::<u8>()), 0..40)), 1..5),
        tail in 8usize..4000,
    ) {
        let rows = SegmentRows::from_pushes(&[push("t", streams)]);
        let bytes = encode(&name(), &rows).expect("encodes").0;
        let footer = open(&bytes, tail).expect("opens");
        prop_assert_eq!(&footer.identity, &FileIdentity::Segment(name()));
        prop_assert_eq!(footer.row_groups.len(), rows.row_groups.len());
        for (index, group) in rows.row_groups.into_iter().enumerate() {
            prop_assert_eq!(&footer.row_groups[index].table, &group.table);
            prop_assert_eq!(&footer.row_groups[index].pages, &group.pages);
            prop_assert_eq!(load(&footer, &bytes, index).expect("loads"), in_memory(group));
        }
    }
}

#[test]
fn long_text_is_cut_into_pages_of_a_mebibyte() {
    let entries = (0..40).map(|i| (i, "x".repeat(100_000 + i as usize % 2), 0)).collect();
    let rows = SegmentRows::from_pushes(&[push("t", vec![("a".into(), entries)])]);
    let bytes = encode(&name(), &rows).expect("encodes").0;
    let footer = open(&bytes, 64).expect("opens");
    let pages = &footer.row_groups[0].pages;
    assert_eq!((0..pages.len()).map(|page| pages.rows(page).len()).collect::<Vec<_>>(), [10, 10, 10, 10]);
    assert_eq!(pages.holding(&(9..11)), 0..2);
    assert_eq!(pages.holding(&(10..11)), 1..2);
    assert_eq!(pages.holding(&(0..40)), 0..4);
    let read = load(&footer, &bytes, 0).expect("loads");
    assert_eq!(read, in_memory(rows.row_groups.into_iter().next().expect("one")));
}

#[test]
fn metadata_too_various_for_a_dictionary_is_read() {
    let entries = (0..20).map(|i| (i, "x".to_owned(), (i % 5) as u8)).collect();
    let mut push = push("t", vec![("a".into(), entries)]);
    for row in 0..50_000 {
        let various = Pairs::from_pairs([("trace_id", format!("{row:032x}"))]);
        let handle = push.streams[0].intern(Metadata { pushed: various, derived: Pairs::default() });
        push.streams[0].push(100_000 + row, &"y".repeat(30), handle);
    }
    let rows = SegmentRows::from_pushes(&[push]);
    let bytes = encode(&name(), &rows).expect("encodes").0;
    let footer = open(&bytes, 64).expect("opens");
    assert_eq!(load(&footer, &bytes, 0).expect("loads"), in_memory(rows.row_groups.into_iter().next().expect("one")));
}

#[test]
fn every_flipped_bit_is_an_error_or_changes_nothing() {
    let (rows, bytes) = sample();
    let expected: Vec<_> = rows.row_groups.into_iter().map(in_memory).collect();
    let mut found = 0;
    for bit in (0..bytes.len() * 8).step_by(37) {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = Bytes::from(flipped);
        let read = open(&flipped, TAIL_GUESS as usize)
            .and_then(|footer| (0..expected.len()).map(|group| load(&footer, &flipped, group)).collect::<Result<Vec<_>, _>>());
        match read {
            Ok(read) => assert_eq!(read, expected, "bit {bit}"),
            Err(_) => found += 1,
        }
    }
    // Only the columns for foreign readers and the magic bytes may be hit unseen: they are not read here.
    assert!(found > bytes.len() * 8 / 37 / 2, "{found} found");
}

#[test]
fn every_truncation_is_an_error() {
    let (_, bytes) = sample();
    for length in (0..bytes.len()).step_by(11) {
        let cut = bytes.slice(..length);
        let read = open(&cut, TAIL_GUESS as usize).and_then(|footer| load(&footer, &cut, 0));
        assert!(read.is_err(), "cut to {length}");
    }
}
