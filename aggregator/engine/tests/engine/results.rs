//! Kept results never show: whatever is pushed, folded, merged, deleted or past its retention meanwhile, an engine that keeps results answers
//! as one that keeps none. And they are used: a window that moves reads what is new, at its two ends.

use std::sync::Arc;
use std::time::Duration;

use crate::queries::{Flat, SECOND, difference, entry, query, sorted};
use crate::world::{self, Entry, Growing, run};
use proptest::prelude::*;
use tailwater_engine::answer::{MetricAnswer, MetricValue};
use tailwater_engine::request::{MetricRequest, QueryLimits};
use tailwater_engine::{Access, Engine, EngineOptions, QueryError, Scope};
use tailwater_storage::compact::{CompactionOptions, Compactor, DeletedRange, Erasure, FoldWhen, StreamErasure};
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest::TombstoneId;
use tailwater_storage::pairs::Pairs;

fn engine(world: &Growing) -> Engine {
    let options = EngineOptions { result_bytes: 4 << 20, ..EngineOptions::new(64 << 20) };
    Engine::with_options(world.catalog.clone(), options).expect("starts")
}

fn limits() -> QueryLimits {
    QueryLimits { max_series: 10_000, ..world::limits() }
}

/// What happens to a store between two queries.
#[derive(Debug, Clone)]
enum Event {
    Push {
        entries: Vec<Entry>,
        is_own: bool,
    },
    Fold,
    Merge,
    /// Entries of an app: those of some seconds, of all lines or those with a text.
    Delete {
        app: String,
        seconds: (i64, i64),
        text: Option<&'static str>,
    },
    /// Entries of an app before some second are past their retention.
    Expire {
        app: String,
        second: i64,
    },
}

/// Seconds of entries and queries.
const SECONDS: i64 = 400;

fn event() -> impl Strategy<Value = Event> {
    let push =
        (proptest::collection::vec(entry(SECONDS), 1..30), any::<bool>()).prop_map(|(entries, is_own)| Event::Push { entries, is_own });
    let text = proptest::option::of(prop_oneof![Just("k=p"), Just("v=")]);
    let delete = ("[xy]", 0..SECONDS, 0i64..90, text).prop_map(|(app, start, length, text)| Event::Delete {
        app,
        seconds: (start, start + length),
        text,
    });
    let expire = ("[xy]", 0i64..200).prop_map(|(app, second)| Event::Expire { app, second });
    prop_oneof![4 => push, 2 => Just(Event::Fold), 1 => Just(Event::Merge), 1 => delete, 1 => expire]
}

/// What was deleted and has expired so far.
#[derive(Debug, Clone, Default)]
struct Erased {
    deleted: Vec<(String, (i64, i64), Option<&'static str>)>,
    expired: Vec<(String, i64)>,
}

impl Erasure for Erased {
    fn of_stream(&self, labels: &Pairs) -> StreamErasure {
        let app = labels.get("app").unwrap_or_default();
        let deleted = self.deleted.iter().enumerate().filter(|(_, (of, ..))| of == app).map(|(number, (_, (start, end), text))| {
            let text = *text;
            DeletedRange {
                request: TombstoneId(ulid::Ulid::from(number as u128 + 1)),
                start: start * SECOND,
                end: end * SECOND,
                lines: text.map(|text| -> tailwater_storage::compact::LinePredicate {
                    Arc::new(move |line: &[u8]| String::from_utf8_lossy(line).contains(text))
                }),
            }
        });
        let keep_from = self.expired.iter().filter(|(of, _)| of == app).map(|(_, second)| second * SECOND).max();
        StreamErasure { keep_from: keep_from.unwrap_or(i64::MIN), deleted: deleted.collect() }
    }

    fn as_of(&self) -> u64 {
        0
    }
}

async fn apply(world: &mut Growing, erased: &mut Erased, event: &Event) {
    let options = CompactionOptions { merge_files: 2, ..CompactionOptions::default() };
    let compactor = Compactor::new(world.catalog.clone(), options, Arc::new(|| 1_000));
    match event {
        Event::Push { entries, is_own } => {
            world.add(world::push(entries), *is_own).await;
            world.catalog.discover(|_, _| ()).await.expect("lists");
        }
        Event::Fold => drop(compactor.fold(&world::tenant(), Arc::new(erased.clone()), FoldWhen::AtOnce).await.expect("folds")),
        Event::Merge => drop(compactor.merge(&world::tenant(), Arc::new(erased.clone()), |_| true).await.expect("merges")),
        Event::Delete { app, seconds, text } => erased.deleted.push((app.clone(), *seconds, *text)),
        Event::Expire { app, second } => erased.expired.push((app.clone(), *second)),
    }
}

fn flat(answer: &MetricAnswer) -> Flat {
    let MetricValue::Series(series) = &answer.value else { panic!("series") };
    let points =
        series.iter().flat_map(|series| series.points.iter().map(|point| (series.labels.to_string(), point.timestamp, point.value)));
    sorted(points.collect())
}

async fn answer(engine: &Engine, access: &Access, request: &MetricRequest) -> Result<Flat, String> {
    let answered = engine.metrics(access, request.clone(), &limits()).await;
    answered.map(|answer| flat(&answer)).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn answers_are_those_without_kept_results(
        events in proptest::collection::vec(event(), 1..10), queries in proptest::collection::vec(query(), 2),
        starts in proptest::collection::vec(0i64..120, 2), step in 1i64..9, length in 200..SECONDS, is_restricted: bool,
    ) {
        run(async {
            let mut world = Growing::default();
            let engine = engine(&world);
            let mut erased = Erased::default();
            for (number, event) in events.iter().enumerate() {
                apply(&mut world, &mut erased, event).await;
                let access = if is_restricted { world::only(&["a"]) } else { world::everything() };
                let access = access.without(Arc::new(erased.clone()));
                for (query, start) in queries.iter().zip(&starts) {
                    // The window moves on by a step with every event.
                    let start = (start / step + number as i64) * step * SECOND;
                    let request = MetricRequest { expr: world::metric_request(query, 0, 0, 1).expr, start, end: start + length * SECOND, step: step * SECOND };
                    let expected = answer(&engine.uncached(), &access, &request).await;
                    for attempt in ["computed", "kept"] {
                        match (answer(&engine, &access, &request).await, &expected) {
                            (Ok(found), Ok(expected)) => prop_assert_eq!(difference(&found, expected), None, "{} {} after {:?}", attempt, query, event),
                            (found, expected) => prop_assert_eq!(&found, expected, "{} {} after {:?}", attempt, query, event),
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}

const APPS: usize = 4;

/// An hour of lines, one a second and app, in one file.
async fn an_hour() -> Growing {
    let mut world = Growing::default();
    let line =
        |second: i64, app: usize| Entry::new("a", &format!("x{app}"), second * SECOND, &format!("v={second} k=p {}", "-".repeat(1_500)));
    let entries: Vec<Entry> = (0..3600).flat_map(|second| (0..APPS).map(move |app| line(second, app))).collect();
    world.add(world::push(&entries), false).await;
    world.catalog.discover(|_, _| ()).await.expect("lists");
    world::fold(&world.catalog).await;
    world
}

/// The answer for a window of half an hour from some second, and the lines that were read for it.
async fn rate(engine: &Engine, second: i64) -> (Flat, u64) {
    let query = r#"sum by (app) (sum_over_time({namespace="a"} | logfmt | unwrap v [1m]))"#;
    let request = world::metric_request(query, second * SECOND, (second + 1800) * SECOND, 15 * SECOND);
    let answer = engine.metrics(&world::everything(), request, &world::limits()).await.expect("answers");
    (flat(&answer), answer.statistics.lines_processed)
}

#[tokio::test]
async fn a_window_that_moves_reads_its_two_ends() {
    let world = an_hour().await;
    let engine = engine(&world);
    let (first, cold) = rate(&engine, 600).await;
    assert_eq!(cold, (1800 + 60) * APPS as u64, "everything");
    let (again, warm) = rate(&engine, 600).await;
    assert_eq!(first, again);
    // From 10:00 to 40:00 there is one piece of 15 minutes, from 15:00 on.
    assert_eq!(warm, (300 - 15 + 60 + 600 + 60) * APPS as u64, "the ends, and the windows before them");
    assert_eq!(engine.result_counters().hits, 1);
    let (moved, read) = rate(&engine, 615).await;
    assert_eq!((moved, read < cold * 6 / 10), (rate(&engine.uncached(), 615).await.0, true), "{read} of {cold}");
    assert!(engine.result_counters().bytes > 0);
    let before = engine.result_counters();
    rate(&engine.uncached(), 600).await;
    assert_eq!(engine.result_counters(), before, "neither used nor made");
}

#[tokio::test]
async fn limits_hold_for_kept_results_too() {
    let mut world = Growing::default();
    // Ten apps in the first piece, ten others in the second.
    let app = |second: i64| format!("x{}", second % 10 + second / 300 * 10);
    let entries: Vec<Entry> = (0..600).map(|second| Entry::new("a", &app(second), second * SECOND, "v=1")).collect();
    world.add(world::push(&entries), true).await;
    let engine = engine(&world);
    let ask = async |end: i64, max_series: usize, partial_series: bool| {
        let request = world::metric_request(r#"count_over_time({namespace="a"}[5s])"#, 0, end * SECOND, 5 * SECOND);
        let limits = QueryLimits { max_series, partial_series, timeout: Duration::from_secs(60), strict_loki: false };
        engine.metrics(&world::everything(), request, &limits).await
    };
    for _ in 0..2 {
        assert!(ask(295, 10, false).await.is_ok());
        assert!(matches!(ask(595, 15, false).await, Err(QueryError::TooManySeries { limit: 15 })));
        assert!(ask(595, 20, false).await.is_ok());
        let partial = ask(595, 15, true).await.expect("some series");
        assert_eq!((partial.warnings.len(), partial.statistics.entries_returned), (1, 15));
    }
    assert!(engine.result_counters().hits > 3);
}

#[tokio::test]
async fn another_tenant_or_other_namespaces_have_results_of_their_own() {
    let world = an_hour().await;
    let engine = engine(&world);
    let request = || world::metric_request(r#"sum(count_over_time({namespace=~".+"}[1m]))"#, 600 * SECOND, 2400 * SECOND, 15 * SECOND);
    let ask = async |access: Access| flat(&engine.metrics(&access, request(), &world::limits()).await.expect("answers"));
    for _ in 0..2 {
        assert!(!ask(world::everything()).await.is_empty() && !ask(world::only(&["a"])).await.is_empty());
        assert!(ask(world::only(&["b"])).await.is_empty());
        assert!(ask(Access::new(TenantId::new("other"), world::everything().namespaces().clone())).await.is_empty());
    }
}

#[tokio::test]
async fn what_depends_on_the_time_of_day_is_not_kept_and_what_is_of_several_tenants_is() {
    let world = an_hour().await;
    let engine = engine(&world);
    for template in ["{{ now | unixEpochNanos }}", r#"{{ date "05.000000" .app }}"#] {
        let query = format!("sum by (t) (count_over_time({{namespace=\"a\"}} | label_format t=`{template}` [1m]))");
        let request = || world::metric_request(&query, 600 * SECOND, 2400 * SECOND, 15 * SECOND);
        let ask = async || flat(&engine.metrics(&world::everything(), request(), &world::limits()).await.expect("answers"));
        assert_ne!(ask().await, ask().await, "{template}");
    }
    let several = Scope::of_all([world::everything(), Access::new(TenantId::new("other"), world::everything().namespaces().clone())]);
    let request = || {
        world::metric_request(r#"sum by (__tenant_id__) (count_over_time({namespace="a"}[1m]))"#, 600 * SECOND, 2400 * SECOND, 15 * SECOND)
    };
    let ask = async |engine: &Engine| flat(&engine.metrics(&several, request(), &world::limits()).await.expect("answers"));
    let (first, again) = (ask(&engine).await, ask(&engine).await);
    assert!(!first.is_empty() && first == again && first == ask(&engine.uncached()).await, "of several tenants");
    assert_eq!(engine.result_counters().hits, 1);
}
