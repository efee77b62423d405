//! Queries made to exhaust the engine, with little memory and hardly any time: each ends in an answer or in an error of its own, takes
//! no more from the pool than there is, and when it ends nothing of it goes on. The drill `hostile-queries` asks the same of a process.

use std::sync::Arc;
use std::time::Duration;

use tailwater_engine::request::{Direction, QueryLimits};
use tailwater_engine::{Engine, EngineOptions, QueryError};
use tailwater_logql::ast::Expr;
use tailwater_storage::catalog::Catalog;

use crate::world::{self, Entry};

const SECOND: i64 = 1_000_000_000;
const LINES: i64 = 2_000;
const MEMORY: usize = 8 << 20;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines with identifiers of their own, objects in objects, an object of many keys, numbers out of range.
async fn catalog() -> Arc<Catalog> {
    let deep = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let wide = format!("{{\"wide\":1{}}}", (0..5_000).map(|key| format!(",\"k{key}\":{key}")).collect::<String>());
    let odd = ["odd=NaN", "odd=+Inf", "odd=-Inf", "odd=1e308", "odd=-1e308", "odd=1e999", "odd=0x1p1023"];
    let mut first: Vec<Entry> = odd.iter().zip(1..).map(|(line, at)| Entry::new("a", "odd", at * SECOND, line)).collect();
    first.extend([Entry::new("a", "odd", 50 * SECOND, &deep), Entry::new("a", "odd", 51 * SECOND, &wide)]);
    let many = |app: &str, from: i64| -> Vec<Entry> {
        (from..from + LINES / 2)
            .map(|id| Entry::new("b", app, id * SECOND / 4, &format!("line id={id:08x} n={} {}", id % 977, "x".repeat(60))))
            .collect()
    };
    world::catalog(&[first, many("x", 0), many("y", LINES / 2)], true).await
}

fn queries() -> Vec<String> {
    let all = "{app=~\".+\"}";
    let each = format!("count_over_time({all} | logfmt | __error__=`` [20m])");
    // As many series as there are lines, again and again.
    let copies = |count: usize| {
        let copy = |number| format!("label_replace({each}, \"copy\", \"{number}\", \"\", \"\")");
        (0..count).map(copy).collect::<Vec<_>>().join(" or ")
    };
    vec![
        format!("{all} |~ `{}`", "(x+x+)+y".repeat(65_536 / 8)),
        format!("{all} {}", vec!["|~ `l.*i.*n.*e`"; 200].join(" ")),
        format!("{all} {}", vec![r"|~ `(\pL{100}){10}`"; 200].join(" ")),
        format!("{{{}}}", vec!["app=~`.+`"; 10_000].join(",")),
        all.to_owned(),
        format!("{all} | json"),
        format!("{all} | json | line_format `{{{{.}}}}{{{{.}}}}` | json"),
        format!("count_over_time({all} |= `wide` | json [20m])"),
        format!("{all} | label_format a=`xxxxxxxxxxxxxxxx`{}", " | label_format a=`{{.a}}{{.a}}`".repeat(60)),
        format!("{all} | line_format `{{{{ repeat 1000000000 \"x\" }}}}`"),
        format!("{all} | line_format `{}x{}`", "{{range fromJson \"[1,2,3,4,5,6,7,8,9]\"}}".repeat(50), "{{end}}".repeat(50)),
        each.clone(),
        format!("count({})", copies(50)),
        format!("sum by (id, copy) ({})", copies(20)),
        format!("topk(1000000000, {each})"),
        format!("sort_desc({each})"),
        format!("{each} * on () group_left {each}"),
        format!("{each} and on () {each}"),
        format!("{each} + ignoring (id) {each}"),
        format!("quantile_over_time(0.5, {all} | logfmt | unwrap n | __error__=`` [20m]) by (id)"),
        format!("sum_over_time({all} | logfmt | unwrap odd | __error__=`` [20m])"),
        format!("stddev(sum_over_time({all} | logfmt | unwrap odd | __error__=`` [20m]))"),
        format!("rate_counter({all} | logfmt | unwrap odd | __error__=`` [20m])"),
        format!("{}vector(1)", "vector(1) + ".repeat(1_900)),
        vec![format!("count_over_time({all}[1m])"); 500].join(" or "),
        format!("rate({all}[200y])"),
        format!("rate({all}[5m] offset 290y)"),
        format!("rate({all}[5m] offset -2540000h)"),
        format!("rate({all}[0s])"),
    ]
}

/// The ends of time, and steps as short and as long as they come.
const RANGES: [(i64, i64, i64); 5] = [
    (600 * SECOND, 1_200 * SECOND, 60 * SECOND),
    (0, 10_999 * SECOND, SECOND),
    (i64::MIN, i64::MIN + SECOND, SECOND),
    (i64::MAX - SECOND, i64::MAX, SECOND),
    (i64::MIN / 2, i64::MAX / 2, i64::MAX / 100),
];

/// `Ok` tells of an answer, `Err` of a reason that a client can act on.
async fn outcome(engine: &Engine, query: &str, (start, end, step): (i64, i64, i64), timeout: Duration) -> Result<(), QueryError> {
    let limits = QueryLimits { timeout, max_series: 1_000_000, ..world::limits() };
    match tailwater_logql::parse(query) {
        Ok(Expr::Log(_)) => {
            let request = world::log_request(query, start, end, 5_000, Direction::Backward);
            engine.logs(&world::everything(), request, &limits).await.map(drop)
        }
        Ok(Expr::Metric(_)) => {
            engine.metrics(&world::everything(), world::metric_request(query, start, end, step), &limits).await.map(drop)
        }
        Err(error) => panic!("{error}: {query:.80}"),
    }
}

fn engine(catalog: &Arc<Catalog>) -> Engine {
    Engine::with_options(catalog.clone(), EngineOptions::new(MEMORY)).expect("starts")
}

/// Waits until nothing works on a query any more; whoever does holds the catalog.
async fn at_rest(engine: &Engine, catalog: &Arc<Catalog>, holders: usize, query: &str) {
    let rest = async {
        while engine.memory_bytes().0 > 0 || Arc::strong_count(catalog) > holders {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let is_at_rest = tokio::time::timeout(PATIENCE, rest).await.is_ok();
    assert!(
        is_at_rest,
        "{} bytes and {} of {holders} holders are left of {query:.80}",
        engine.memory_bytes().0,
        Arc::strong_count(catalog)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_queries_take_no_more_memory_than_there_is() {
    let catalog = catalog().await;
    let engine = engine(&catalog);
    let holders = Arc::strong_count(&catalog);
    let (mut answered, mut refused) = (0, 0);
    for query in queries() {
        let range = RANGES[0];
        match outcome(&engine, &query, range, Duration::from_secs(5)).await {
            Ok(()) => answered += 1,
            // Each tells what to do; what is left are errors of the engine's own, which nobody can do anything about.
            Err(QueryError::Engine(error)) => panic!("{error}: {query:.80}"),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
        at_rest(&engine, &catalog, holders, &query).await;
    }
    assert!(answered > 3 && refused > 0, "{answered} answered, {refused} refused: the data or the memory are not as they were");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_on_of_a_query_whose_time_is_over() {
    let catalog = catalog().await;
    let engine = engine(&catalog);
    let holders = Arc::strong_count(&catalog);
    let mut timeouts = 0;
    for query in queries() {
        for timeout in [Duration::ZERO, Duration::from_millis(10)] {
            let outcome = outcome(&engine, &query, RANGES[0], timeout).await;
            timeouts += usize::from(matches!(outcome, Err(QueryError::Timeout)));
            at_rest(&engine, &catalog, holders, &query).await;
        }
    }
    assert!(timeouts > 10, "{timeouts} queries met their end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_at_their_ends_are_asked_for_without_harm() {
    let catalog = catalog().await;
    let engine = engine(&catalog);
    let holders = Arc::strong_count(&catalog);
    for query in ["{app=~\".+\"}", "sum(rate({app=~\".+\"}[5m]))", "sum(rate({app=~\".+\"}[200y] offset -2540000h))", "vector(1)"] {
        for range in RANGES {
            outcome(&engine, query, range, PATIENCE).await.unwrap_or_else(|error| panic!("{error}: {query} {range:?}"));
            at_rest(&engine, &catalog, holders, query).await;
        }
    }
}

const MILLION: i64 = 1_000_000;

/// A million entries within ten minutes, each with an identifier of its own.
async fn a_million() -> Arc<Catalog> {
    const SEGMENT: i64 = 50_000;
    let entry = |id: i64| Entry { trace: Some(format!("{id:08x}")), ..Entry::new("a", "x", id * 600_000, &format!("n={}", id % 977)) };
    let mut world = world::Growing::default();
    for first in (0..MILLION).step_by(SEGMENT as usize) {
        let entries: Vec<Entry> = (first..first + SEGMENT).map(entry).collect();
        world.add(world::push(&entries), false).await;
    }
    world.discovered().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_series_end_in_time_and_within_memory() {
    let timeout = Duration::from_secs(10);
    let catalog = a_million().await;
    let folder = tempfile::tempdir().expect("a folder");
    let each = "count_over_time({app=\"x\"}[20m])";
    let without_disk = Engine::with_options(catalog.clone(), EngineOptions::new(8 * MEMORY)).expect("starts");
    let spill = Some(tailwater_engine::SpillFolder { path: folder.path().to_owned(), bytes: 4 << 30 });
    let with_disk = Engine::with_options(catalog.clone(), EngineOptions { spill, ..EngineOptions::new(8 * MEMORY) }).expect("starts");
    for engine in [&without_disk, &with_disk] {
        let holders = Arc::strong_count(&catalog);
        for query in [
            each.to_owned(),
            format!("sum(count by (trace_id) ({each}))"),
            format!("topk(1000000000, {each})"),
            format!("{each} * on () group_left {each}"),
            format!("{each} and ignoring (app) {each}"),
            "max(avg_over_time({app=\"x\"} | logfmt | unwrap n [20m]) by (trace_id))".to_owned(),
        ] {
            let started = std::time::Instant::now();
            let outcome = outcome(engine, &query, (600 * SECOND, 1_200 * SECOND, 60 * SECOND), timeout).await;
            let took = started.elapsed();
            assert!(took <= timeout + Duration::from_secs(1), "{query} took {took:?}");
            match outcome {
                Ok(()) | Err(QueryError::Timeout | QueryError::OutOfMemory { .. } | QueryError::TooManySeries { .. }) => {}
                Err(error) => assert!(error.to_string().contains("many-to-many"), "{error}: {query}"),
            }
            at_rest(engine, &catalog, holders, &query).await;
            assert_eq!(engine.spilled_bytes(), 0, "what was written to the disk is taken away");
        }
    }
    let counted = outcome(&with_disk, "sum(count_over_time({app=\"x\"}[20m]))", (600 * SECOND, 600 * SECOND, SECOND), PATIENCE).await;
    counted.expect("a million entries of one series are counted");
}
