//! What is taken out is what queries show; what is taken in again changes nothing.

use std::io::{BufReader, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::*;
use crate::compact::{DeletedRange, Erasure, NothingErased, StreamErasure};
use crate::entry::{Metadata, StreamLabels, TenantId};
use crate::manifest::{RetireDelays, TombstoneId, clean_retired};
use crate::pairs::Pairs;
use crate::small_store::{Entry, SECOND, Seen, SmallStore, tenant, text, truth};
use crate::store::paths;

/// Derives as the entries of the small store were.
struct SmallDerive;

impl Derive for SmallDerive {
    type Stream = ();

    fn stream(&self, pushed: Pairs) -> Result<(StreamLabels, ()), String> {
        let stream: u8 = pushed.get("app").and_then(|app| app.parse().ok()).ok_or("it has no app")?;
        Ok((StreamLabels::new(pushed, stream.is_multiple_of(3).then_some("derived")), ()))
    }

    fn metadata(&self, (): &(), pushed: Pairs, _line: &str) -> Metadata {
        Metadata { pushed, derived: Pairs::default() }
    }
}

fn everything() -> ExportSelection {
    ExportSelection {
        tenant: tenant(),
        first: i64::MIN,
        last: i64::MAX,
        streams: Arc::new(|_| true),
        erasure: Arc::new(NothingErased { as_of: 0 }),
    }
}

async fn as_json(world: &SmallStore, selection: &ExportSelection) -> (Vec<u8>, Exported) {
    let mut output = Vec::new();
    let exported = export(&world.catalog, selection, &mut JsonLinesWriter::new(&mut output), |_| ()).await.expect("exports");
    (output, exported)
}

async fn as_parquet(world: &SmallStore, selection: &ExportSelection) -> (Vec<u8>, Exported) {
    let mut output = Vec::new();
    let mut writer = ParquetWriter::new(&mut output, tenant(), 0, 5).expect("begins");
    let exported = export(&world.catalog, selection, &mut writer, |_| ()).await.expect("exports");
    drop(writer);
    (output, exported)
}

fn file_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("writes");
    file.seek(SeekFrom::Start(0)).expect("seeks");
    file
}

fn entries(mut records: impl Records) -> Vec<ImportedEntry> {
    let mut all = Vec::new();
    while let Some(record) = records.next() {
        match record.expect("reads") {
            Record::Entry(entry) => all.push(entry),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(Some(records.done()), records.total());
    all
}

fn json(bytes: &[u8]) -> Vec<ImportedEntry> {
    entries(JsonLines::new(bytes, Some(bytes.len() as u64)))
}

fn parquet(bytes: &[u8]) -> Vec<ImportedEntry> {
    entries(ParquetRows::open(file_of(bytes), tenant()).expect("opens"))
}

fn as_seen(entries: &[ImportedEntry]) -> Vec<Seen> {
    let row = |entry: &ImportedEntry| {
        (StreamLabels::new(entry.labels.clone(), None).id().0, entry.timestamp, entry.line.clone(), entry.metadata.clone())
    };
    let mut rows: Vec<Seen> = entries.iter().map(row).collect();
    rows.sort();
    rows
}

/// Within a day stream by stream, within a stream by stamp; days ascend.
fn assert_in_order(entries: &[ImportedEntry]) {
    let day = |entry: &ImportedEntry| entry.timestamp.div_euclid(86_400 * SECOND);
    assert!(entries.is_sorted_by_key(day));
    for of_day in entries.chunk_by(|left, right| day(left) == day(right)) {
        let runs: Vec<_> = of_day.chunk_by(|left, right| left.labels == right.labels).collect();
        let distinct: std::collections::BTreeSet<_> = of_day.iter().map(|entry| &entry.labels).collect();
        assert_eq!(runs.len(), distinct.len(), "a stream is cut in two");
        assert!(runs.iter().all(|run| run.is_sorted_by_key(|entry| entry.timestamp)));
    }
}

async fn import(world: &mut SmallStore, writer: &str, records: impl Records, bytes: usize) -> Tally {
    let mut batches = Batches::new(records, SmallDerive, tenant(), bytes);
    let mut pushes = Vec::new();
    for batch in batches.by_ref() {
        let batch = batch.expect("reads");
        assert!(batch.line_bytes() <= bytes + 200);
        pushes.push(batch);
    }
    for push in pushes {
        world.flush_of(writer, &[push]).await;
    }
    batches.tally().clone()
}

fn entry() -> impl Strategy<Value = Entry> {
    (0u8..4, 86_392i64..86_408, 0u8..3, 0u8..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn an_export_is_what_queries_show_and_its_import_changes_nothing(
        rounds in proptest::collection::vec((proptest::collection::vec(proptest::collection::vec(entry(), 0..12), 1..4), any::<bool>()), 1..4),
        bytes in 1usize..2000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = SmallStore::new().await;
            for (flushes, compacts) in &rounds {
                for (number, entries) in flushes.iter().enumerate() {
                    world.flush(if number % 2 == 0 { "V" } else { "W" }, entries).await;
                }
                if *compacts {
                    world.compact(true).await;
                }
            }
            let truth = truth(rounds.iter().flat_map(|(flushes, _)| flushes).flatten().copied());
            let (lines, exported) = as_json(&world, &everything()).await;
            let (rows, of_parquet) = as_parquet(&world, &everything()).await;
            let read = json(&lines);
            assert_in_order(&read);
            prop_assert_eq!(as_seen(&read), truth.clone());
            prop_assert_eq!((exported.entries, exported), (truth.len() as u64, of_parquet));
            prop_assert_eq!(parquet(&rows), read);

            // Into the store it came from: twice nothing.
            let tally = import(&mut world, "X", JsonLines::new(lines.as_slice(), None), bytes).await;
            prop_assert_eq!((tally.read, tally.accepted, tally.refused), (truth.len() as u64, truth.len() as u64, 0));
            import(&mut world, "X", ParquetRows::open(file_of(&rows), tenant()).expect("opens"), bytes).await;
            prop_assert_eq!(world.seen().await, truth.clone());
            world.compact(true).await;
            prop_assert_eq!(world.seen().await, truth.clone());
            // Into an empty one: the same.
            let mut other = SmallStore::new().await;
            import(&mut other, "X", JsonLines::new(lines.as_slice(), None), bytes).await;
            prop_assert_eq!(other.seen().await, truth);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_store_that_is_compacted_meanwhile_is_taken_out_whole() {
    let mut world = SmallStore::new().await;
    let days: Vec<Vec<Entry>> = (0..3).map(|day| vec![(0, day * 86_400 + 1, 1, 0), (1, day * 86_400 + 2, 1, 0)]).collect();
    for day in &days {
        world.flush("W", day).await;
        world.compact(false).await;
    }
    world.flush("W", &days[1]).await;
    let old = world.catalog.clone();
    let old_manifest = old.manifest(&tenant());
    // Another process replaces and deletes all that the first one knows.
    let world = world.reopened();
    world.catalog.discover(|_, _| ()).await.expect("lists");
    world.compact(true).await;
    let log = world.catalog.manifest_log(&tenant());
    let at_once = RetireDelays { compacted: Duration::ZERO, dropped: Duration::ZERO };
    clean_retired(&log, i64::MAX, &at_once, |_| ()).await.expect("deletes");
    world.catalog.delete_folded_segments(i64::MAX, Duration::ZERO).await.expect("deletes");
    for file in old_manifest.files() {
        assert!(world.store.get(&file.key(&tenant())).await.expect("looks").is_none(), "{} is still there", file.id);
    }

    let mut output = Vec::new();
    let exported = export(&old, &everything(), &mut JsonLinesWriter::new(&mut output), |_| ()).await.expect("exports");
    assert_eq!(exported.entries, 6);
    assert_eq!(as_seen(&json(&output)), truth(days.concat()));
}

#[tokio::test]
async fn streams_times_and_what_is_erased_are_minded() {
    struct Erased;
    impl Erasure for Erased {
        fn of_stream(&self, labels: &Pairs) -> StreamErasure {
            let request = TombstoneId(ulid::Ulid::nil());
            let deleted = vec![DeletedRange { request, start: 4 * SECOND, end: 5 * SECOND, lines: None }];
            if labels.get("app") == Some("1") { StreamErasure { keep_from: i64::MIN, deleted } } else { StreamErasure::default() }
        }

        fn as_of(&self) -> u64 {
            0
        }
    }
    let mut world = SmallStore::new().await;
    let all: Vec<Entry> = (0..3).flat_map(|stream| (0..10).map(move |second| (stream, second, 1, 0))).collect();
    world.flush("W", &all[..20]).await;
    world.compact(false).await;
    world.flush("W", &all[15..]).await;
    let selection = ExportSelection {
        first: 2 * SECOND,
        last: 7 * SECOND,
        streams: Arc::new(|labels| labels.get("app") != Some("2")),
        erasure: Arc::new(Erased),
        ..everything()
    };
    let (lines, exported) = as_json(&world, &selection).await;
    let wanted = |(stream, second, ..): &Entry| *stream < 2 && (2..=7).contains(second) && !(*stream == 1 && (4..=5).contains(second));
    assert_eq!(as_seen(&json(&lines)), truth(all.into_iter().filter(wanted)));
    assert_eq!((exported.entries, exported.line_bytes), (10, 10 * text(1).len() as u64));
    let told = parking_lot::Mutex::new(Vec::new());
    let nothing = ExportSelection { streams: Arc::new(|_| false), ..everything() };
    let mut output = Vec::new();
    export(&world.catalog, &nothing, &mut JsonLinesWriter::new(&mut output), |progress| told.lock().push(progress)).await.expect("exports");
    let last = *told.lock().last().expect("told");
    assert_eq!((output.len(), last.days_done), (0, last.days_total));
    assert_eq!(parquet(&as_parquet(&world, &nothing).await.0), []);
}

#[tokio::test]
async fn one_entry_looks_as_it_is_documented() {
    let mut world = SmallStore::new().await;
    world.flush("W", &[(0, 3, 1, 1)]).await;
    let (lines, _) = as_json(&world, &everything()).await;
    let line = r#"{"ts":"3000000000","labels":{"app":"0","namespace":"n0","zone":"\"z\"\n"},"metadata":{"m":"meta1","namespace_uid":"u1"},"line":"line 1 with \"quotes\", 🌊 and\nanother row, needle-1-end"}"#;
    assert_eq!(String::from_utf8(lines).expect("text"), format!("{line}\n"));
}

#[tokio::test]
async fn our_own_objects_are_read_and_damaged_ones_refused() {
    let mut world = SmallStore::new().await;
    let all: Vec<Entry> = (0..40).map(|second| (second as u8 % 4, second, second as u8 % 3, second as u8 % 3)).collect();
    world.flush("W", &all).await;
    world.compact(false).await;
    let segment = world.bytes(&paths::segment("W", 0)).await;
    let data = world.bytes(&world.catalog.manifest(&tenant()).files().next().expect("one").key(&tenant())).await;
    for bytes in [&segment, &data] {
        assert_eq!(as_seen(&parquet(bytes)), truth(all.clone()));
        let mut refused = 0;
        for bit in (0..bytes.len() * 8).step_by(bytes.len() * 8 / 300) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match ParquetRows::open(file_of(&flipped), tenant()) {
                Err(_) => refused += 1,
                // The text index is not read here.
                Ok(rows) => assert_eq!(as_seen(&entries(rows)), truth(all.clone()), "bit {bit}"),
            }
        }
        assert!(refused > 60, "{refused}");
    }
    let others = ParquetRows::open(file_of(&segment), TenantId::new("other")).expect("opens");
    let mut batches = Batches::new(others, SmallDerive, TenantId::new("other"), 1000);
    assert!(batches.next().is_none());
    assert_eq!((batches.tally().of_others, batches.tally().accepted), (40, 0));
}

/// A file as others write them: `time` in milliseconds, texts that may be missing, other columns.
fn foreign(message: &str, write: impl Fn(&mut SerializedFileWriter<Vec<u8>>)) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(message).expect("a schema"));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("begins");
    write(&mut file);
    file.into_inner().expect("ends")
}

#[test]
fn parquet_of_others_is_read() {
    let message = "message m {
        REQUIRED INT64 timestamp (TIMESTAMP(MILLIS,true));
        OPTIONAL BYTE_ARRAY line (STRING);
        OPTIONAL BYTE_ARRAY app;
        REQUIRED DOUBLE ignored;
    }";
    let bytes = foreign(message, |file| {
        let mut group = file.next_row_group().expect("a group");
        let mut stamps = group.next_column().expect("writes").expect("a column");
        stamps.typed::<Int64Type>().write_batch(&[1500, -1, i64::MAX], None, None).expect("writes");
        stamps.close().expect("writes");
        for (values, levels) in [(["first", "third"], [1, 0, 1]), (["a", "b"], [1, 1, 0])] {
            let mut texts = group.next_column().expect("writes").expect("a column");
            texts.typed::<ByteArrayType>().write_batch(&values.map(ByteArray::from), Some(&levels), None).expect("writes");
            texts.close().expect("writes");
        }
        let mut doubles = group.next_column().expect("writes").expect("a column");
        doubles.typed::<parquet::data_type::DoubleType>().write_batch(&[0.0; 3], None, None).expect("writes");
        doubles.close().expect("writes");
        group.close().expect("writes");
    });
    let mut rows = ParquetRows::open(file_of(&bytes), tenant()).expect("opens");
    let labels = Pairs::from_pairs([("app", "a")]);
    let first = ImportedEntry { timestamp: 1_500_000_000, labels, metadata: Pairs::default(), line: "first".to_owned() };
    assert_eq!(rows.next().expect("one").expect("reads"), Record::Entry(first));
    assert_eq!(rows.next().expect("one").expect("reads"), Record::Refused("it has no line".to_owned()));
    assert!(matches!(rows.next().expect("one").expect("reads"), Record::Refused(reason) if reason.contains("1677")));
    assert!(rows.next().is_none());

    let without = foreign("message m { REQUIRED INT64 when; REQUIRED BYTE_ARRAY line; }", |_| ());
    let refused = ParquetRows::open(file_of(&without), tenant()).err().expect("no stamp").to_string();
    assert_eq!(refused, "the input has no column `ts`; its columns are `when`, `line`");
    assert!(ParquetRows::open(file_of(b"PAR1 and no more of it, which is too little"), tenant()).is_err());
}

#[test]
fn what_is_refused_is_told_with_its_place_and_the_rest_is_taken() {
    let mut input = String::new();
    for number in 0..60 {
        match number % 3 {
            0 => input.push_str("nonsense\n"),
            1 => input.push_str("{\"ts\":\"1\",\"line\":\"x\"}\n"),
            _ => input.push_str(&format!("{{\"ts\":\"{number}\",\"app\":\"1\",\"line\":\"x\"}}\n")),
        }
    }
    let mut batches = Batches::new(JsonLines::new(BufReader::new(input.as_bytes()), None), SmallDerive, tenant(), 1 << 20);
    let entries: usize = batches.by_ref().map(|batch| batch.expect("reads").entries()).sum();
    let tally = batches.tally();
    assert_eq!((entries, tally.read, tally.accepted, tally.refused, tally.refusals.len()), (20, 60, 20, 40, 20));
    assert_eq!(tally.refusals[0].place, 1);
    assert_eq!(tally.refusals[1], Refusal { place: 2, reason: "it has no app".to_owned() });
}

#[test]
fn an_input_that_breaks_off_gives_what_came_before() {
    struct Breaks;
    impl std::io::Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    let input = std::io::Read::chain(b"{\"ts\":\"1\",\"app\":\"1\",\"line\":\"x\"}\n{\"ts\"".as_slice(), Breaks);
    let mut batches = Batches::new(JsonLines::new(BufReader::new(input), None), SmallDerive, tenant(), 1 << 20);
    assert_eq!(batches.next().expect("one").expect("reads").entries(), 1);
    assert!(matches!(batches.next(), Some(Err(ImportError::Read(_)))));
}
