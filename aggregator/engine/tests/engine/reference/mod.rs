//! Random queries over random entries: the engine against a plain evaluation that shares nothing with it but the syntax tree, and
//! against itself asked in other ways.
//!
//! Entries lie in data files, in segments and in memory, some in several places. `TAILWATER_REFERENCE_QUERIES` says how many queries are
//! compared (10,000; 500 in a build without optimization). They are the same in every run (`PROPTEST_RNG_SEED` in `.cargo/config.toml`); another
//! number there draws others, and repeats them. What differs is shrunk and printed with query and data.

mod by_hand;
mod data;
mod entry;
mod filters;
mod json;
mod metamorphic;
mod metrics;
mod needs;
mod parsers;
mod pipeline;
mod queries;
mod template;

use std::collections::BTreeMap;

use self::data::{Data, Record, SECOND};
use self::entry::Labels;
use self::metrics::Failure;
use proptest::prelude::*;
use tailwater_engine::answer::MetricValue;
use tailwater_engine::request::{Direction, EqualStamps, MetricRequest, QueryLimits};
use tailwater_engine::{Engine, EngineOptions, QueryError};
use tailwater_logql::ast::{Expr, LogExpr, MetricExpr};

use crate::world;

/// On average; fewer when a difference is shrunk.
const QUERIES_A_CASE: usize = 10;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

/// How often a property is tried that looks at so many queries each time.
fn cases(queries_a_case: usize, share: f64) -> ProptestConfig {
    let usual = if cfg!(debug_assertions) { 500 } else { 10_000 };
    let queries = std::env::var("TAILWATER_REFERENCE_QUERIES").ok().map_or(usual, |count| count.parse().expect("a number of queries"));
    let cases = (queries as f64 * share / queries_a_case as f64).ceil() as u32;
    ProptestConfig { max_shrink_iters: 3_000, ..ProptestConfig::with_cases(cases) }
}

fn limits() -> QueryLimits {
    QueryLimits { max_series: 100_000, ..world::limits() }
}

async fn engine(data: &Data) -> Engine {
    Engine::with_options(data.stored().await, EngineOptions::new(64 << 20)).expect("starts")
}

fn log_query(query: &str) -> LogExpr {
    match tailwater_logql::parse(query) {
        Ok(Expr::Log(log)) => log,
        other => panic!("`{query}` is no log query: {other:?}"),
    }
}

fn metric_query(query: &str) -> MetricExpr {
    match tailwater_logql::parse(query) {
        Ok(Expr::Metric(metric)) => metric,
        other => panic!("`{query}` is no metric query: {other:?}"),
    }
}

/// (labels, timestamp, line) of log queries, sorted.
type Shown = Vec<(Labels, i64, String)>;

/// Labels as they are shown. What details an error has is the parser's own business.
fn shown(labels: Labels) -> Labels {
    labels.into_iter().filter(|(name, value)| !value.is_empty() && name != "__error_details__").collect()
}

fn to_map(labels: &tailwater_logql::labels::LabelSet) -> Labels {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn logs(engine: &Engine, expr: &LogExpr, (start, end): (i64, i64), limit: usize, direction: Direction) -> Result<Shown, QueryError> {
    let request = tailwater_engine::request::LogRequest {
        expr: expr.clone(),
        start,
        end,
        limit,
        direction,
        interval: 0,
        categorize: false,
        equal_stamps: EqualStamps::AsLoki,
    };
    let answer = engine.logs(&world::everything(), request, &limits()).await?;
    let mut entries = Vec::new();
    for stream in &answer.streams {
        let stamps = stream.entries.iter().map(|entry| entry.timestamp);
        assert!(if direction == Direction::Forward { stamps.is_sorted() } else { stamps.rev().is_sorted() }, "out of order: {stream:?}");
        let entry = |entry: &tailwater_engine::answer::LogEntry| {
            (shown(to_map(&stream.labels)), entry.timestamp, String::from_utf8_lossy(&entry.line).into_owned())
        };
        entries.extend(stream.entries.iter().map(entry));
    }
    entries.sort();
    Ok(entries)
}

fn plain_logs(expr: &LogExpr, data: &Data, (start, end): (i64, i64)) -> Shown {
    let (needs, stages) = (needs::of_log(expr), pipeline::as_run(&expr.stages));
    let selected = |record: &Record| (start..end).contains(&record.timestamp) && pipeline::selects(&expr.selector, record);
    let records = data.distinct();
    let kept = records.iter().filter(|record| selected(record)).filter_map(|record| pipeline::run(&stages, record, &needs));
    let mut entries: Shown = kept.map(|entry| (shown(entry.labels()), entry.timestamp, entry.line)).collect();
    entries.sort();
    entries
}

/// (labels, timestamp, value) of metric queries, sorted.
type Flat = Vec<(Labels, i64, f64)>;

fn sorted(mut points: Flat) -> Flat {
    // One and the same, whatever its sign.
    points.iter_mut().filter(|(.., value)| value.is_nan()).for_each(|(.., value)| *value = f64::NAN);
    points.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)).then(left.2.total_cmp(&right.2)));
    points
}

/// Step times: `start + k * step` for `k` up to `count`.
#[derive(Debug, Clone, Copy)]
struct Steps {
    start: i64,
    step: i64,
    count: i64,
}

impl Steps {
    fn times(self) -> impl Iterator<Item = i64> {
        (0..=self.count).map(move |k| self.start + k * self.step)
    }
}

fn steps() -> impl Strategy<Value = Steps> {
    (90i64..240, 1i64..25, 0i64..12).prop_map(|(start, step, count)| Steps { start: start * SECOND, step: step * SECOND, count })
}

async fn points(engine: &Engine, expr: &MetricExpr, steps: Steps) -> Result<Flat, QueryError> {
    let (start, step) = (steps.start, steps.step);
    let request = MetricRequest { expr: expr.clone(), start, end: start + steps.count * step, step };
    match engine.metrics(&world::everything(), request, &limits()).await?.value {
        MetricValue::Scalar(value) => Ok(vec![(Labels::new(), start, value)]),
        MetricValue::Series(series) => {
            let of = |series: &tailwater_engine::answer::Series| -> Vec<_> {
                series.points.iter().map(|point| (shown(to_map(&series.labels)), point.timestamp, point.value)).collect()
            };
            Ok(sorted(series.iter().flat_map(of).collect()))
        }
    }
}

fn plain_points(expr: &MetricExpr, data: &Data, steps: Steps) -> Result<Flat, Failure> {
    let records = data.distinct();
    let mut flat = Vec::new();
    for time in steps.times() {
        let points = metrics::evaluate(expr, &records, time)?;
        flat.extend(points.into_iter().map(|(labels, value)| (shown(labels), time, value)));
    }
    Ok(sorted(flat))
}

fn is_close(left: f64, right: f64, share: f64) -> bool {
    (left.is_nan() && right.is_nan()) || left == right || (left - right).abs() <= share * left.abs().max(right.abs()).max(1.0)
}

/// `None` if equal, else where they differ first. A counter's rate is known to five digits.
fn difference(query: &str, found: &Flat, expected: &Flat) -> Option<String> {
    let share = if query.contains("rate_counter") { 1e-5 } else { 1e-9 };
    let differs = |(found, expected): (&(Labels, i64, f64), &(Labels, i64, f64))| {
        let is_same = found.0 == expected.0 && found.1 == expected.1 && is_close(found.2, expected.2, share);
        (!is_same).then(|| format!("found {found:?}, expected {expected:?}"))
    };
    let lengths = (found.len() != expected.len()).then(|| format!("found {found:?}, expected {expected:?}"));
    lengths.or_else(|| found.iter().zip(expected).find_map(differs))
}

/// Whether the order of entries with one stamp shows.
fn needs_order(query: &str) -> bool {
    ["first_over_time", "last_over_time", "rate_counter"].iter().any(|function| query.contains(function))
}

fn counted(entries: &Shown) -> BTreeMap<&(Labels, i64, String), usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry).or_default() += 1;
    }
    counts
}

proptest! {
    #![proptest_config(cases(QUERIES_A_CASE, 0.6))]

    #[test]
    fn metric_answers_are_those_of_plain_evaluation(
        data in data::data(), asked in proptest::collection::vec((queries::metric(), steps()), 1..2 * QUERIES_A_CASE),
    ) {
        run(async {
            let engine = engine(&data).await;
            for (query, steps) in asked.iter().filter(|(query, _)| !needs_order(query) || !data.has_ties()) {
                let expr = metric_query(query);
                let told = || format!("{query} at {steps:?}");
                match (points(&engine, &expr, *steps).await, plain_points(&expr, &data, *steps)) {
                    (Ok(found), Ok(expected)) => prop_assert_eq!(difference(query, &found, &expected), None, "{}", told()),
                    // Of several reasons to fail, either may be told.
                    (Err(QueryError::Evaluation(_) | QueryError::Pipeline { .. }), Err(_)) => {}
                    (found, expected) => prop_assert!(false, "{found:?} is not {expected:?}: {}", told()),
                }
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(cases(QUERIES_A_CASE, 0.4))]

    #[test]
    fn log_answers_are_those_of_plain_evaluation(
        data in data::data(), asked in proptest::collection::vec(queries::log(), 1..2 * QUERIES_A_CASE),
        start in 90i64..200, length in 1i64..140, limit in 1usize..40, forward: bool,
    ) {
        run(async {
            let engine = engine(&data).await;
            let range = (start * SECOND, (start + length) * SECOND);
            let direction = if forward { Direction::Forward } else { Direction::Backward };
            for query in &asked {
                let expr = log_query(query);
                let expected = plain_logs(&expr, &data, range);
                let found = logs(&engine, &expr, range, 10_000, direction).await.expect("log queries do not fail");
                prop_assert_eq!(&found, &expected, "{}", query);
                let few = logs(&engine, &expr, range, limit, direction).await.expect("log queries do not fail");
                let mut stamps: Vec<i64> = expected.iter().map(|(_, timestamp, _)| *timestamp).collect();
                stamps.sort_unstable();
                let cut = if forward { &stamps[..limit.min(stamps.len())] } else { &stamps[stamps.len().saturating_sub(limit)..] };
                let mut few_stamps: Vec<i64> = few.iter().map(|(_, timestamp, _)| *timestamp).collect();
                few_stamps.sort_unstable();
                prop_assert_eq!(&few_stamps[..], cut, "{} with limit {}", query, limit);
                let all = counted(&expected);
                prop_assert!(counted(&few).iter().all(|(entry, count)| all.get(entry).is_some_and(|all| count <= all)), "{}", query);
            }
            Ok(())
        })?;
    }
}
