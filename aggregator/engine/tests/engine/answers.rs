//! Answers against plain reckoning over the list of entries.

use std::collections::BTreeMap;

use crate::world::{self, Entry, entries, points, run};
use proptest::prelude::*;
use tailwater_engine::answer::{LogAnswer, MetricAnswer};
use tailwater_engine::request::{Direction, EqualStamps, LogRequest, QueryLimits, TimeRange};
use tailwater_engine::{Access, Engine, QueryError};

async fn metric(engine: &Engine, access: &Access, query: &str, start: i64, end: i64, step: i64) -> Result<MetricAnswer, QueryError> {
    engine.metrics(access, world::metric_request(query, start, end, step), &world::limits()).await
}

fn segments() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let entry = ("[ab]", "[xy]", 0i64..40, "(err|ok|none)( err)?", proptest::option::of("[12]"))
        .prop_map(|(namespace, app, timestamp, line, trace)| Entry { trace, ..Entry::new(&namespace, &app, timestamp, &line) });
    proptest::collection::vec(proptest::collection::vec(entry, 0..25), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn counts_and_bytes_are_those_of_the_distinct_entries(
        segments in segments(), start in 0i64..30, length in 0i64..30, step in 1i64..9, range in 1i64..20, offset in 0i64..5,
    ) {
        run(async {
            let engine = world::engine(&segments).await;
            let (mut counts, mut bytes) = (BTreeMap::new(), BTreeMap::new());
            let truth = world::distinct(&segments);
            let steps = (0..).map(|k| start + k * step).take_while(|t| *t <= start + length);
            for t in steps.clone() {
                let within = |entry: &&Entry| t - range - offset < entry.timestamp && entry.timestamp <= t - offset && entry.line.contains("err");
                for entry in truth.iter().filter(within) {
                    *counts.entry((format!("{{app=\"{}\"}}", entry.app), t)).or_insert(0.0) += 1.0;
                    *bytes.entry((String::from("{}"), t)).or_insert(0.0) += entry.line.len() as f64;
                }
            }
            let flat = |map: BTreeMap<(String, i64), f64>| map.into_iter().map(|((labels, t), value)| (labels, t, value)).collect::<Vec<_>>();
            let query = format!(r#"sum by (app) (count_over_time({{namespace=~".+"}} |= "err" [{range}ns] offset {offset}ns))"#);
            let Ok(tailwater_logql::ast::Expr::Metric(mut expr)) = tailwater_logql::parse(&query.replace("ns]", "s]").replace("ns))", "s))")) else {
                panic!("parses")
            };
            // Windows of nanoseconds cannot be written; they keep the numbers of the test small.
            shrink(&mut expr);
            let request = tailwater_engine::request::MetricRequest { expr: expr.clone(), start, end: start + length, step };
            let answer = engine.metrics(&world::everything(), request, &world::limits()).await.expect("answers");
            prop_assert_eq!(points(&answer), flat(counts));

            let tailwater_logql::ast::MetricExpr::Vector(outer) = &mut expr else { panic!("a vector aggregation") };
            outer.grouping = None;
            if let tailwater_logql::ast::MetricExpr::Range(inner) = outer.inner.as_mut() {
                inner.op = tailwater_logql::ast::RangeOp::BytesOverTime;
            }
            let request = tailwater_engine::request::MetricRequest { expr, start, end: start + length, step };
            let answer = engine.metrics(&world::everything(), request, &world::limits()).await.expect("answers");
            prop_assert_eq!(points(&answer), flat(bytes));
            Ok(())
        })?;
    }

    #[test]
    fn logs_come_in_order_up_to_the_limit(segments in segments(), start in 0i64..30, length in 1i64..30, limit in 1usize..20, forward: bool) {
        run(async {
            let engine = world::engine(&segments).await;
            let direction = if forward { Direction::Forward } else { Direction::Backward };
            let request = world::log_request(r#"{namespace=~"a|b"} != "none""#, start, start + length, limit, direction);
            let answer = engine.logs(&world::everything(), request, &world::limits()).await.expect("answers");
            let mut truth: Vec<Entry> = world::distinct(&segments)
                .into_iter()
                .filter(|entry| (start..start + length).contains(&entry.timestamp) && !entry.line.contains("none"))
                .collect();
            truth.sort_by_key(|entry| entry.timestamp);
            if !forward {
                truth.reverse();
            }
            let found = entries(&answer);
            prop_assert_eq!(found.len(), truth.len().min(limit));
            let mut found_stamps: Vec<i64> = found.iter().map(|(_, stamp, _)| *stamp).collect();
            found_stamps.sort_unstable();
            let mut true_stamps: Vec<i64> = truth.iter().take(limit).map(|entry| entry.timestamp).collect();
            true_stamps.sort_unstable();
            prop_assert_eq!(found_stamps, true_stamps);
            for stream in &answer.streams {
                let stamps: Vec<i64> = stream.entries.iter().map(|entry| entry.timestamp).collect();
                let is_ordered = if forward { stamps.is_sorted() } else { stamps.iter().rev().is_sorted() };
                prop_assert!(is_ordered, "stamps of one stream are out of order");
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_restricted_answer_is_the_unrestricted_one_filtered(segments in segments()) {
        run(async {
            let engine = world::engine(&segments).await;
            let filtered: Vec<Vec<Entry>> =
                segments.iter().map(|segment| segment.iter().filter(|entry| entry.namespace == "a").cloned().collect()).collect();
            let alone = world::engine(&filtered).await;
            let (restricted, all) = (world::only(&["a"]), world::everything());
            let range = TimeRange { start: 0, end: 100 };
            let request = || world::log_request(r#"{app=~".+"}"#, 0, 100, 1000, Direction::Forward);
            let logs = async |engine: &Engine, access| entries(&engine.logs(access, request(), &world::limits()).await.expect("answers"));
            prop_assert_eq!(logs(&engine, &restricted).await, logs(&alone, &all).await);
            for query in [r#"count_over_time({app=~".+"}[1m])"#, r#"sum by (namespace) (bytes_rate({app=~".+"}[1m]))"#] {
                let seen = metric(&engine, &restricted, query, 50, 50, 1).await.expect("answers");
                let truth = metric(&alone, &all, query, 50, 50, 1).await.expect("answers");
                prop_assert_eq!(points(&seen), points(&truth));
            }
            prop_assert_eq!(
                engine.label_values(&restricted, "namespace", None, range).await.expect("answers"),
                alone.label_values(&all, "namespace", None, range).await.expect("answers")
            );
            prop_assert_eq!(engine.series(&restricted, &[], range).await.expect("answers"), alone.series(&all, &[], range).await.expect("answers"));
            prop_assert_eq!(engine.label_names(&restricted, None, range).await.expect("answers"), alone.label_names(&all, None, range).await.expect("answers"));
            let selector = tailwater_logql::parse_selector(r#"{app=~".+"}"#).expect("parses");
            let (seen, truth) = (
                engine.index_stats(&restricted, &selector, range).await.expect("answers"),
                alone.index_stats(&all, &selector, range).await.expect("answers"),
            );
            prop_assert_eq!((seen.streams, seen.entries), (truth.streams, truth.entries));
            prop_assert_eq!(truth.entries as usize, world::distinct(&filtered).len());
            Ok(())
        })?;
    }
}

/// Turns every second of a query's windows into a nanosecond.
fn shrink(expr: &mut tailwater_logql::ast::MetricExpr) {
    match expr {
        tailwater_logql::ast::MetricExpr::Vector(outer) => shrink(&mut outer.inner),
        tailwater_logql::ast::MetricExpr::Range(range) => {
            range.range.range /= 1_000_000_000;
            range.range.offset /= 1_000_000_000;
        }
        _ => {}
    }
}

#[tokio::test]
async fn metadata_splits_series_and_another_tenant_sees_nothing() {
    let mut traced = Entry::new("a", "x", 5, "line");
    traced.trace = Some("1".into());
    let engine = world::engine(&[vec![traced.clone(), Entry::new("a", "x", 5, "line")], vec![traced]]).await;
    let query = r#"count_over_time({app="x"}[1m])"#;
    let answer = metric(&engine, &world::everything(), query, 10, 10, 1).await.expect("answers");
    let expected = [(r#"{app="x", namespace="a"}"#, 10, 1.0), (r#"{app="x", namespace="a", trace_id="1"}"#, 10, 1.0)];
    assert_eq!(points(&answer), expected.map(|(labels, t, value)| (labels.to_owned(), t, value)));
    let stranger = Access::new(tailwater_storage::entry::TenantId::new("u"), tailwater_engine::access::AllowedNamespaces::All);
    assert_eq!(points(&metric(&engine, &stranger, query, 10, 10, 1).await.expect("answers")), []);
}

#[tokio::test]
async fn a_sample_with_an_error_fails_the_query_that_needs_its_labels() {
    let engine = world::engine(&[vec![Entry::new("a", "x", 5, "no json")]]).await;
    let failing = metric(&engine, &world::everything(), r#"sum by (f) (count_over_time({app="x"} | json [1m]))"#, 10, 10, 1).await;
    let text = failing.expect_err("fails").to_string();
    assert!(text.starts_with("pipeline error: 'JSONParserErr' for series: '{"), "{text}");
    let passing = metric(&engine, &world::everything(), r#"sum(count_over_time({app="x"} | json [1m]))"#, 10, 10, 1).await;
    assert_eq!(points(&passing.expect("answers")), [("{}".to_owned(), 10, 1.0)]);
}

#[tokio::test]
async fn an_interval_spaces_the_entries_of_all_streams() {
    const MINUTE: i64 = 60_000_000_000;
    let entries = (0..90).flat_map(|minute| ["x", "y"].map(|app| Entry::new("a", app, minute * MINUTE, "line"))).collect();
    let engine = world::engine(&[entries]).await;
    for (strict_loki, direction, expected) in [
        (false, Direction::Forward, vec![0, 25, 50, 75]),
        (false, Direction::Backward, vec![89, 64, 39, 14]),
        // Loki begins anew in each hour.
        (true, Direction::Forward, vec![0, 25, 50, 60, 85]),
        (true, Direction::Backward, vec![89, 64, 59, 34, 9]),
    ] {
        let mut request = world::log_request(r#"{namespace="a"}"#, 0, 100 * MINUTE, 100, direction);
        request.interval = 25 * MINUTE;
        let limits = QueryLimits { strict_loki, ..world::limits() };
        let answer = engine.logs(&world::everything(), request, &limits).await.expect("answers");
        let mut found: Vec<i64> = world::entries(&answer).iter().map(|(_, timestamp, _)| timestamp / MINUTE).collect();
        found.sort_by_key(|minute| if direction == Direction::Forward { *minute } else { -*minute });
        assert_eq!(found, expected, "{direction:?}");
    }
}

#[tokio::test]
async fn entries_that_stages_make_equal_are_one() {
    let entries = |app: &str| -> Vec<Entry> {
        (1..=20).flat_map(|stamp| ["one", "two", "three"].map(|line| Entry::new("a", app, stamp, line))).collect()
    };
    let engine = world::engine(&[entries("x"), entries("y")]).await;
    let found = async |query: &str, limit, equal_stamps| {
        let request = LogRequest { equal_stamps, ..world::log_request(query, 0, 100, limit, Direction::Backward) };
        let answer = engine.logs(&world::everything(), request, &world::limits()).await.expect("answers");
        world::entries(&answer).len()
    };
    let formatted = r#"{app="x"} | line_format "same""#;
    assert_eq!(found(formatted, 100, EqualStamps::AsLoki).await, 20);
    assert_eq!(found(formatted, 15, EqualStamps::AsLoki).await, 15, "as many as are asked for");
    assert_eq!(found(formatted, 100, EqualStamps::InArrivalOrder).await, 60);
    assert_eq!(found(r#"{app="x"} | label_format text="{{__line__}}" | line_format "same""#, 100, EqualStamps::AsLoki).await, 60);
    assert_eq!(found(r#"{namespace="a"} | keep namespace | line_format "same""#, 100, EqualStamps::AsLoki).await, 40, "streams stay apart");
}

#[tokio::test]
async fn too_many_series_are_an_error_or_a_warning() {
    let entries = (0..20).map(|number| Entry::new("a", &format!("app-{number}"), 5, "line")).collect();
    let engine = world::engine(&[entries]).await;
    let request = || world::metric_request(r#"count_over_time({namespace="a"}[1m])"#, 10, 10, 1);
    let limits = QueryLimits { max_series: 7, ..world::limits() };
    assert!(matches!(engine.metrics(&world::everything(), request(), &limits).await, Err(QueryError::TooManySeries { limit: 7 })));
    let partial = QueryLimits { partial_series: true, ..limits };
    let answer = engine.metrics(&world::everything(), request(), &partial).await.expect("answers");
    assert_eq!((points(&answer).len(), answer.warnings.len()), (7, 1));
}

#[tokio::test]
async fn a_filter_behind_a_parser_that_is_not_needed_sees_the_line() {
    let engine = world::engine(&[vec![Entry::new("a", "x", 5, "n=1"), Entry::new("a", "x", 6, "n=2")]]).await;
    let answer = metric(&engine, &world::everything(), r#"sum(count_over_time({app="x"} | unpack |= "1" [1m]))"#, 10, 10, 1).await;
    assert_eq!(points(&answer.expect("answers")), [("{}".to_owned(), 10, 1.0)]);
}

#[tokio::test]
async fn an_error_between_windows_fails_nothing() {
    const SECOND: i64 = 1_000_000_000;
    let engine =
        world::engine(&[vec![Entry::new("a", "x", 5 * SECOND, "no json"), Entry::new("a", "x", 20 * SECOND, "{\"f\":\"1\"}")]]).await;
    let query = r#"sum by (f) (count_over_time({app="x"} | json [2s]))"#;
    let answer = metric(&engine, &world::everything(), query, 0, 20 * SECOND, 10 * SECOND).await.expect("answers");
    assert_eq!(points(&answer), [("{f=\"1\"}".to_owned(), 20 * SECOND, 1.0)]);
    assert!(metric(&engine, &world::everything(), query, 0, 20 * SECOND, 5 * SECOND).await.is_err());
}

/// More work than any time allows, in loops over rows that never pause: it ends with its time, and leaves the threads to others.
#[tokio::test]
async fn a_query_ends_with_its_time_however_busy_the_threads_are() {
    let entries = (0..20_000).map(|number| Entry::new("a", "x", number, "line")).collect();
    let engine = world::engine(&[entries]).await;
    let limits = QueryLimits { timeout: std::time::Duration::from_millis(300), ..world::limits() };
    for stages in [vec!["|= \"e\""; 9_000].join(" "), vec!["| app=~\"x\""; 2_000].join(" ")] {
        let ask = || {
            let request = world::log_request(&format!("{{app=\"x\"}} {stages}"), 0, 100_000, 10, Direction::Forward);
            let (engine, limits) = (engine.clone(), limits.clone());
            async move { engine.logs(&world::everything(), request, &limits).await }
        };
        let asked = tokio::join!(ask(), ask(), ask(), ask());
        for outcome in [asked.0, asked.1, asked.2, asked.3] {
            assert!(matches!(outcome, Err(QueryError::Timeout)), "{outcome:?}");
        }
        let request = world::log_request(r#"{app="x"}"#, 0, 100_000, 10, Direction::Forward);
        assert_eq!(entries_of(&engine.logs(&world::everything(), request, &world::limits()).await.expect("answers")), 10);
    }
}

fn entries_of(answer: &LogAnswer) -> usize {
    answer.streams.iter().map(|stream| stream.entries.len()).sum()
}
