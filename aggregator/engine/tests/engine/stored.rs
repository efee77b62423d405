//! The same answers however entries are stored and found: in memory, in segments, in data files, with the text index and without, and
//! whatever is erased; and that few bytes are read for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::world::{self, Entry, entries, run};
use proptest::prelude::*;
use tailwater_engine::answer::{MetricAnswer, MetricValue};
use tailwater_engine::request::{Direction, MetricRequest, TimeRange};
use tailwater_engine::{Engine, EngineOptions};
use tailwater_logql::ast::{Expr, MetricExpr};
use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::{DeletedRange, Erasure, StreamErasure};
use tailwater_storage::manifest::TombstoneId;
use tailwater_storage::pairs::Pairs;

fn engine_over(catalog: &Arc<Catalog>, text_index: bool) -> Engine {
    Engine::with_options(catalog.clone(), EngineOptions { text_index, ..EngineOptions::new(256 << 20) }).expect("starts")
}

/// Engines over the same entries, stored in every way.
async fn engines(segments: &[Vec<Entry>]) -> Vec<(&'static str, Engine)> {
    let memory = world::catalog(segments, true).await;
    let stored = world::catalog(segments, false).await;
    let (folded, partly) = (world::catalog(segments, false).await, world::catalog(segments, true).await);
    world::fold(&folded).await;
    world::fold(&partly).await;
    vec![
        ("half in memory", engine_over(&memory, true)),
        ("in segments", engine_over(&stored, true)),
        ("in files", engine_over(&folded, true)),
        ("in files, without index", engine_over(&folded, false)),
        ("in files, out of memory", engine_over(&partly, true)),
    ]
}

/// What tests erase: of one app what is old, and a range; of all a range of lines with a text.
#[derive(Debug, Clone)]
struct Erased {
    app: String,
    keep_from: i64,
    deleted: Option<(i64, i64)>,
    lines: Option<(i64, i64, &'static str)>,
}

impl Erased {
    fn keeps(&self, entry: &Entry) -> bool {
        self.of_app(&entry.app).keeps(entry.timestamp, entry.line.as_bytes())
    }

    fn of_app(&self, app: &str) -> StreamErasure {
        let range = |start, end| DeletedRange { request: TombstoneId(Default::default()), start, end, lines: None };
        let mut erasure = StreamErasure::default();
        if let Some((start, end, text)) = self.lines {
            let is_meant = move |line: &[u8]| String::from_utf8_lossy(line).contains(text);
            erasure.deleted.push(DeletedRange { lines: Some(Arc::new(is_meant)), ..range(start, end) });
        }
        if app == self.app {
            erasure.keep_from = self.keep_from;
            erasure.deleted.extend(self.deleted.map(|(start, end)| range(start, end)));
        }
        erasure
    }
}

impl Erasure for Erased {
    fn of_stream(&self, labels: &Pairs) -> StreamErasure {
        self.of_app(labels.get("app").unwrap_or_default())
    }

    fn as_of(&self) -> u64 {
        0
    }
}

const END: i64 = 60;

fn erased() -> impl Strategy<Value = Erased> {
    let range = || (0..END, 0i64..20).prop_map(|(start, length)| (start, start + length));
    let lines = (range(), prop_oneof![Just("err"), Just("ERROR"), Just("0")]).prop_map(|((start, end), text)| (start, end, text));
    ("[xy]", prop_oneof![Just(i64::MIN), 0i64..40], proptest::option::of(range()), proptest::option::of(lines))
        .prop_map(|(app, keep_from, deleted, lines)| Erased { app, keep_from, deleted, lines })
}

/// Segments of lines, some so long that row groups have several pages.
fn segments() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let line = ("(err|ok|none|ERROR|Error 7)( err| key=value)?", prop_oneof![6 => Just(0usize), 2 => 100_000usize..300_000]);
    let line = (line, any::<u16>()).prop_map(|((line, padding), seed)| format!("{line} {}", noise(seed.into(), padding)));
    let entry = ("[ab]", "[xy]", 0..END, line, proptest::option::weighted(0.2, "[12]"))
        .prop_map(|(namespace, app, timestamp, line, trace)| Entry { trace, ..Entry::new(&namespace, &app, timestamp, &line) });
    proptest::collection::vec(proptest::collection::vec(entry, 0..30), 1..4)
}

/// Hexadecimal digits, so that nothing compresses to nothing.
fn noise(mut seed: u64, length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{seed:016x}"));
    }
    text.truncate(length);
    text
}

/// A metric query whose windows are in nanoseconds.
fn metric_request(query: &str, (start, end, step): (i64, i64, i64)) -> MetricRequest {
    let Ok(Expr::Metric(mut expr)) = tailwater_logql::parse(query) else { panic!("`{query}` is a metric query") };
    let mut inner = &mut expr;
    while let MetricExpr::Vector(outer) = inner {
        inner = outer.inner.as_mut();
    }
    let MetricExpr::Range(range) = inner else { panic!("`{query}` aggregates a range") };
    range.range.range /= 1_000_000_000;
    MetricRequest { expr, start, end, step }
}

type Points = BTreeMap<(String, i64), f64>;

fn points(answer: &MetricAnswer) -> Points {
    let MetricValue::Series(series) = &answer.value else { panic!("series") };
    let of = |series: &tailwater_engine::answer::Series| -> Vec<_> {
        series.points.iter().map(|point| ((series.labels.to_string(), point.timestamp), point.value)).collect()
    };
    series.iter().flat_map(of).collect()
}

/// Stages, and which lines pass them.
type Stages = (&'static str, fn(&str) -> bool);

const STAGES: &[Stages] = &[
    ("", |_| true),
    (r#"|= "err""#, |line| line.contains("err")),
    (r#"|= "Error 7""#, |line| line.contains("Error 7")),
    (r#"|~ "(?i)error""#, |line| line.to_lowercase().contains("error")),
    (r#"|~ "ERROR|none err" != "key""#, |line| (line.contains("ERROR") || line.contains("none err")) && !line.contains("key")),
    (r#"|= "absent everywhere""#, |_| false),
    (r#"| logfmt | key="value""#, |line| line.contains("key=value")),
    (r#"!= "none" | drop foo"#, |line| !line.contains("none")),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn counts_and_bytes_are_the_naive_ones_however_entries_are_stored(
        segments in segments(), erased in erased(), stages in 0..STAGES.len(),
        start in 0i64..40, length in 0i64..40, step in 1i64..15, range in 1i64..50, is_erased: bool,
    ) {
        run(async {
            let (stages, passes) = STAGES[stages];
            let access = if is_erased { world::everything().without(Arc::new(erased.clone())) } else { world::everything() };
            let truth = world::distinct(&segments);
            let truth: Vec<&Entry> = truth.iter().filter(|entry| passes(&entry.line) && (!is_erased || erased.keeps(entry))).collect();
            let (mut counts, mut bytes) = (Points::new(), Points::new());
            for t in (0..).map(|k| start + k * step).take_while(|t| *t <= start + length) {
                for entry in truth.iter().filter(|entry| t - range < entry.timestamp && entry.timestamp <= t) {
                    *counts.entry((format!("{{app=\"{}\"}}", entry.app), t)).or_default() += 1.0;
                    *bytes.entry(("{}".to_owned(), t)).or_default() += entry.line.len() as f64;
                }
            }
            for (how, engine) in engines(&segments).await {
                let count = format!(r#"sum by (app) (count_over_time({{namespace=~".+"}} {stages} [{range}s]))"#);
                let sum = format!(r#"sum (bytes_over_time({{namespace=~".+"}} {stages} [{range}s]))"#);
                for (query, expected) in [(count, &counts), (sum, &bytes)] {
                    let request = metric_request(&query, (start, start + length, step));
                    let answer = engine.metrics(&access, request, &world::limits()).await.expect("answers");
                    prop_assert_eq!(&points(&answer), expected, "{} {}", how, query);
                }
                let selector = tailwater_logql::parse_selector(r#"{namespace=~".+"}"#).expect("parses");
                let range = TimeRange { start, end: start + length };
                let stats = engine.index_stats(&access, &selector, range).await.expect("answers");
                let all = world::distinct(&segments);
                let within = |entry: &&Entry| (start..=start + length).contains(&entry.timestamp) && (!is_erased || erased.keeps(entry));
                prop_assert_eq!(stats.entries as usize, all.iter().filter(within).count(), "{}", how);
            }
            Ok(())
        })?;
    }

    #[test]
    fn log_queries_find_the_first_entries_however_they_are_stored(
        segments in segments(), erased in erased(), stages in 0..STAGES.len(),
        start in 0i64..50, length in 1i64..60, limit in 1usize..40, forward: bool, is_erased: bool,
    ) {
        run(async {
            let (stages, passes) = STAGES[stages];
            let access = if is_erased { world::everything().without(Arc::new(erased.clone())) } else { world::everything() };
            let truth = world::distinct(&segments);
            let is_wanted = |entry: &&Entry| {
                (start..start + length).contains(&entry.timestamp) && passes(&entry.line) && (!is_erased || erased.keeps(entry))
            };
            let mut stamps: Vec<i64> = truth.iter().filter(is_wanted).map(|entry| entry.timestamp).collect();
            stamps.sort_unstable();
            if !forward {
                stamps.reverse();
            }
            stamps.truncate(limit);
            stamps.sort_unstable();
            let direction = if forward { Direction::Forward } else { Direction::Backward };
            let query = format!(r#"{{namespace=~".+"}} {stages}"#);
            let mut first: Option<Vec<(String, i64, String)>> = None;
            for (how, engine) in engines(&segments).await {
                let request = world::log_request(&query, start, start + length, limit, direction);
                let found = entries(&engine.logs(&access, request, &world::limits()).await.expect("answers"));
                let mut of_found: Vec<i64> = found.iter().map(|(_, stamp, _)| *stamp).collect();
                of_found.sort_unstable();
                prop_assert_eq!(&of_found, &stamps, "{} {}", how, query);
                for (_, stamp, line) in &found {
                    prop_assert!(truth.iter().filter(is_wanted).any(|entry| entry.timestamp == *stamp && entry.line == *line));
                }
                let expected = first.get_or_insert_with(|| found.clone());
                prop_assert!(expected == &found, "{} {}: other entries than half in memory", how, query);
            }
            Ok(())
        })?;
    }
}

const SECOND: i64 = 1_000_000_000;
const APPS: usize = 12;
const LINES: i64 = 600;

/// A store of some 20 MiB in one data file: 12 streams, an entry a second each; one line holds a uuid.
async fn large_store() -> Arc<Catalog> {
    let mut segments = vec![Vec::new(); 3];
    for second in 0..LINES {
        for app in 0..APPS {
            let mut line = format!("level=info app={app} n={second} {}", noise((second as u64) << 8 | app as u64, 2_900));
            if (second, app) == (371, 5) {
                line.push_str(" request 5f0c9b1e-7d52-4c38-9a60-d2b81f6f00aa done");
            }
            segments[(second * 3 / LINES) as usize].push(Entry::new("prod", &format!("app-{app:02}"), second * SECOND, &line));
        }
    }
    let catalog = world::catalog(&segments, false).await;
    world::fold(&catalog).await;
    catalog
}

/// What a question makes the catalog read, once footers are known.
async fn bytes_read<T>(catalog: &Catalog, question: impl Future<Output = T>) -> (T, u64) {
    let before = catalog.read_bytes();
    let answer = question.await;
    (answer, catalog.read_bytes() - before)
}

#[tokio::test]
async fn few_bytes_are_read() {
    let catalog = large_store().await;
    let engine = engine_over(&catalog, true);
    let (access, limits) = (world::everything(), world::limits());
    let stored: u64 = catalog.manifest(&world::tenant()).files().map(|file| file.size).sum();
    let selector = tailwater_logql::parse_selector(r#"{namespace="prod"}"#).expect("parses");
    let all = TimeRange { start: 0, end: LINES * SECOND };
    let total = LINES as u64 * APPS as u64;

    assert_eq!(engine.series(&access, &[], all).await.expect("answers").len(), APPS);
    let (stats, read) = bytes_read(&catalog, engine.index_stats(&access, &selector, all)).await;
    assert_eq!((stats.expect("answers").entries, read), (total, 0), "statistics come from tables");

    let count = world::metric_request(r#"sum(count_over_time({namespace="prod"}[20m]))"#, LINES * SECOND, LINES * SECOND, 1);
    let (answer, read) = bytes_read(&catalog, engine.metrics(&access, count, &limits)).await;
    let answer = points(&answer.expect("answers"));
    assert_eq!((answer.into_values().collect::<Vec<_>>(), read), (vec![total as f64], 0), "a count of everything reads no page");

    let bytes = world::metric_request(r#"sum(bytes_over_time({namespace="prod"}[20m]))"#, LINES * SECOND, LINES * SECOND, 1);
    let (_, read) = bytes_read(&catalog, engine.metrics(&access, bytes, &limits)).await;
    assert_eq!(read, 0, "a sum of all bytes reads no page");

    let rate = world::metric_request(r#"sum by (app) (rate({namespace="prod"}[1m]))"#, 0, LINES * SECOND, 60 * SECOND);
    let (_, read) = bytes_read(&catalog, engine.metrics(&access, rate, &limits)).await;
    assert!(read < stored / 100, "rates read {read} of {stored}, no more than stamps");

    let needle = r#"{namespace="prod"} |= "5f0c9b1e-7d52-4c38-9a60-d2b81f6f00aa""#;
    let request = || world::log_request(needle, 0, LINES * SECOND, 100, Direction::Backward);
    let (answer, read) = bytes_read(&catalog, engine.logs(&access, request(), &limits)).await;
    assert_eq!(entries(&answer.expect("answers")).len(), 1);
    assert!(read < stored / 6, "a needle reads {read} of {stored}: its page and the index");
    let without_index = engine_over(&catalog, false);
    let (answer, read_all) = bytes_read(&catalog, without_index.logs(&access, request(), &limits)).await;
    assert_eq!(entries(&answer.expect("answers")).len(), 1);
    assert!(read_all > stored / 2, "without the index everything is searched");

    let absent = world::metric_request(
        r#"sum(count_over_time({namespace="prod"} |= "00000000-1111-2222-3333-444444444444"[20m]))"#,
        LINES * SECOND,
        LINES * SECOND,
        1,
    );
    let (answer, read) = bytes_read(&catalog, engine.metrics(&access, absent, &limits)).await;
    assert!(points(&answer.expect("answers")).is_empty());
    assert!(read < stored / 20, "an absent needle reads {read} of {stored}: the index alone");

    let newest = world::log_request(r#"{app="app-03"}"#, 0, LINES * SECOND, 100, Direction::Backward);
    let (answer, read) = bytes_read(&catalog, engine.logs(&access, newest, &limits)).await;
    let answer = entries(&answer.expect("answers"));
    assert_eq!((answer.len(), answer.last().map(|entry| entry.1)), (100, Some((LINES - 100) * SECOND)));
    assert!(read < stored / 8, "the newest lines of an app read {read} of {stored}");
}

#[tokio::test]
async fn a_sum_of_bytes_reads_the_pages_at_its_two_ends() {
    let line = |second: i64| format!("n={second} {}", noise(second as u64, 2_900 + second as usize % 50));
    let entries: Vec<Entry> = (0..6000).map(|second| Entry::new("prod", "app", second * SECOND, &line(second))).collect();
    let catalog = world::catalog(&[entries], false).await;
    world::fold(&catalog).await;
    let engine = engine_over(&catalog, true);
    let stored: u64 = catalog.manifest(&world::tenant()).files().map(|file| file.size).sum();
    let request = world::metric_request(r#"sum(bytes_over_time({namespace="prod"}[50m]))"#, 4500 * SECOND, 4500 * SECOND, 1);
    let (answer, read) = bytes_read(&catalog, engine.metrics(&world::everything(), request, &world::limits())).await;
    let expected: usize = (1501..=4500).map(|second| line(second).len()).sum();
    assert_eq!(points(&answer.expect("answers")).into_values().collect::<Vec<_>>(), [expected as f64]);
    // The footer, and two of 17 pages.
    assert!(read < stored / 6, "a sum of bytes reads {read} of {stored}");
}
