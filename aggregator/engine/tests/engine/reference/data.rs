//! Random entries, how they are stored, and the entries that count: each once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::entry::{Metadata, PushBatch, StreamEntries, StreamLabels};
use tailwater_storage::pairs::Pairs;

use crate::world::{self, Growing};

pub(crate) const SECOND: i64 = 1_000_000_000;

/// Labels of the streams. Parsed names and metadata clash with some of them.
pub(crate) const STREAMS: [&[(&str, &str)]; 5] = [
    &[("app", "x"), ("env", "p"), ("level", "info")],
    &[("app", "x"), ("env", "q")],
    &[("app", "y"), ("env", "p")],
    &[("a", "stream"), ("app", "y"), ("env", "q")],
    &[("app", "z"), ("namespace", "n-1")],
];

const METADATA: [&[(&str, &str)]; 6] =
    [&[], &[], &[("trace_id", "t1")], &[("a", "meta"), ("trace_id", "t2")], &[("env", "other")], &[("level", "debug"), ("n", "4")]];

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    /// Index in [`STREAMS`].
    pub(crate) stream: usize,
    pub(crate) timestamp: i64,
    pub(crate) line: String,
    /// Index in [`METADATA`].
    metadata: usize,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?} {:?}", self.timestamp, self.labels(), self.line, self.metadata())
    }
}

impl Record {
    pub(crate) fn labels(&self) -> &'static [(&'static str, &'static str)] {
        STREAMS[self.stream]
    }

    pub(crate) fn metadata(&self) -> &'static [(&'static str, &'static str)] {
        METADATA[self.metadata]
    }
}

/// How a batch of entries is stored at the time of the queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Segment,
    Memory,
}

#[derive(Clone)]
pub(crate) struct Data {
    records: Vec<Record>,
    /// Batches of indices of records; a record may be in several.
    batches: Vec<(Place, Vec<usize>)>,
}

/// One line an entry, as they are stored.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, batch) in &self.batches {
            writeln!(f, "\n  {place:?}:")?;
            for record in self.batch(batch) {
                writeln!(f, "    {record:?}")?;
            }
        }
        Ok(())
    }
}

impl Data {
    /// All entries that are stored, each once.
    pub(crate) fn distinct(&self) -> BTreeSet<Record> {
        let stored = self.batches.iter().flat_map(|(_, batch)| self.batch(batch));
        stored.cloned().collect()
    }

    /// Whether two entries have one stamp, so that the first and the last of them are not told apart.
    pub(crate) fn has_ties(&self) -> bool {
        let distinct = self.distinct();
        distinct.iter().map(|record| record.timestamp).collect::<BTreeSet<_>>().len() < distinct.len()
    }

    fn batch<'d>(&'d self, indices: &'d [usize]) -> impl Iterator<Item = &'d Record> {
        indices.iter().map(|index| &self.records[*index])
    }

    /// Entries of (index in [`STREAMS`], second, line, index in [`METADATA`]) in all three places, some of them in two.
    pub(crate) fn by_hand(entries: &[(usize, i64, &str, usize)]) -> Self {
        let record = |&(stream, second, line, metadata): &(usize, i64, &str, usize)| Record {
            stream,
            timestamp: second * SECOND,
            line: line.to_owned(),
            metadata,
        };
        let mut records: Vec<Record> = entries.iter().map(record).collect();
        set_apart(&mut records);
        let of_place = |(number, place)| {
            let is_in = |index: &usize| index % 3 == number || index % 5 == number + 1;
            (place, (0..records.len()).filter(is_in).collect())
        };
        let batches = [Place::File, Place::Segment, Place::Memory].into_iter().enumerate().map(of_place).collect();
        Self { records, batches }
    }

    /// Stores every batch in its place.
    pub(crate) async fn stored(&self) -> Arc<Catalog> {
        let mut growing = Growing::default();
        for place in [Place::File, Place::Segment, Place::Memory] {
            let of_place = self.batches.iter().filter(|(other, _)| *other == place).enumerate();
            for (number, (_, batch)) in of_place {
                // Files are folded from both kinds.
                let is_own = place == Place::Memory || place == Place::File && number % 2 == 0;
                growing.add(push(self.batch(batch)), is_own).await;
            }
            if place == Place::File {
                world::fold(&growing.discovered().await).await;
            }
        }
        growing.discovered().await
    }
}

fn push<'r>(records: impl Iterator<Item = &'r Record>) -> PushBatch {
    let mut streams: BTreeMap<usize, StreamEntries> = BTreeMap::new();
    for record in records {
        let labels = || Arc::new(StreamLabels::new(Pairs::from_pairs(record.labels().iter().copied()), None));
        let stream = streams.entry(record.stream).or_insert_with(|| StreamEntries::new(labels()));
        let metadata = Metadata { pushed: Pairs::from_pairs(record.metadata().iter().copied()), derived: Pairs::default() };
        let handle = stream.intern(metadata);
        stream.push(record.timestamp, &record.line, handle);
    }
    PushBatch { tenant: world::tenant(), streams: streams.into_values().collect() }
}

pub(crate) fn data() -> impl Strategy<Value = Data> {
    let place = select(vec![Place::File, Place::Segment, Place::Memory]);
    let batch = (place, proptest::collection::vec(any::<prop::sample::Index>(), 1..30));
    let batches = proptest::collection::vec(batch, 1..6);
    let records = proptest::collection::vec(record(), 1..50);
    (records, batches, prop::bool::weighted(0.8)).prop_map(|(mut records, batches, is_apart)| {
        if is_apart {
            set_apart(&mut records);
        }
        let indices = |batch: Vec<prop::sample::Index>| batch.iter().map(|index| index.index(records.len())).collect();
        let batches = batches.into_iter().map(|(place, batch)| (place, indices(batch))).collect();
        Data { records, batches }
    })
}

/// Gives every record a stamp of its own; most stay on a whole second, where windows begin and end.
fn set_apart(records: &mut [Record]) {
    let mut taken = BTreeSet::new();
    for record in records {
        while !taken.insert(record.timestamp) {
            record.timestamp += 1;
        }
    }
}

fn record() -> impl Strategy<Value = Record> {
    let jitter = prop_oneof![6 => Just(0), 1 => -1i64..2, 1 => 0..SECOND];
    (0..STREAMS.len(), 0i64..120, jitter, line(), 0..METADATA.len()).prop_map(|(stream, second, jitter, line, metadata)| Record {
        stream,
        timestamp: 100 * SECOND + second * SECOND + jitter,
        line,
        metadata,
    })
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![20 => json_line(), 20 => logfmt_line(), 12 => text_line(), 4 => packed_line(), 1 => long_line()]
}

/// Values that numeric filters, `unwrap` and comparisons meet.
fn scalar() -> impl Strategy<Value = String> {
    let texts = vec!["1", "2", "-3", "4.5", "0", "12ms", "1m30s", "3KB", "1.5MiB", "x", "err", "10.0.0.7", "a b", "é", "NaN", "1e2"];
    select(texts).prop_map(str::to_owned)
}

fn json_line() -> impl Strategy<Value = String> {
    let key = select(vec!["a", "b", "n", "n", "d", "size", "app", "level", "trace_id", "k-1", "9x", "o", "msg"]);
    let whole = prop_oneof![
        4 => scalar().prop_map(|text| format!("\"{text}\"")),
        4 => select(vec!["1", "2", "-3", "4.5", "100", "1e2", "0"]).prop_map(str::to_owned),
        1 => select(vec!["true", "false", "null", "[1,\"x\"]", "\"\"", r#""q\"u\\o""#, r#""\u00e9\n""#, "{}"]).prop_map(str::to_owned),
        1 => (select(vec!["a", "n", "p q"]), scalar()).prop_map(|(key, text)| format!("{{\"{key}\":\"{text}\",\"deep\":{{\"m\":1}}}}")),
    ];
    let fields = proptest::collection::vec((key, whole), 0..5);
    let end = select(vec!["}", "}", "}", "}", "}", "}", "} trailing", ",\"bro"]);
    (fields, end).prop_map(|(fields, end)| {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let end = if fields.is_empty() { "}" } else { end };
        format!("{{{}{end}", fields.join(","))
    })
}

fn logfmt_line() -> impl Strategy<Value = String> {
    let key = select(vec!["a", "b", "n", "n", "d", "size", "app", "level", "trace_id", "k-1", "9x", "msg"]);
    let pair = prop_oneof![
        8 => (key.clone(), scalar()).prop_map(|(key, text)| if text.contains(' ') { format!("{key}=\"{text}\"") } else { format!("{key}={text}") }),
        1 => key.clone().prop_map(|key| format!("{key}=")),
        1 => key.clone().prop_map(|key| format!("{key}=\"with \\\" quote\"")),
        1 => select(vec!["bare", "=v", "a=x\"y", "b=1=2", "q\"k=1"]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join(" "))
}

fn text_line() -> impl Strategy<Value = String> {
    let fixed = vec!["", "err", "foo bar foo", "two\nlines foo", "\u{1b}[31mred\u{1b}[0m foo", "GET /a/b 200 12ms", "at 10.0.0.7: refused"];
    prop_oneof![
        2 => select(fixed).prop_map(str::to_owned),
        1 => ("(GET|PUT)", "/[ab]/[xy]", 0u32..4, scalar()).prop_map(|(verb, path, code, text)| format!("{verb} {path} {code} {text}")),
    ]
}

/// Text on both sides of what fills pages.
fn long_line() -> impl Strategy<Value = String> {
    (text_line(), 1_000usize..60_000, "( foo| n=2|é| err)?")
        .prop_map(|(line, length, end)| format!("{line} {}{end}", "0y".repeat(length / 2)))
}

fn packed_line() -> impl Strategy<Value = String> {
    (scalar(), scalar(), any::<bool>()).prop_map(|(a, entry, has_entry)| {
        let key = if has_entry { "_entry" } else { "entry" };
        format!(r#"{{"a":"{a}","app":"packed","n":3,"{key}":"n={entry} foo"}}"#)
    })
}
