//! Queries that need more memory than there is: the same answers from the disk, an error that says what to do, and nothing left behind.

use std::path::Path;
use std::sync::Arc;

use crate::world::{self, Entry};
use tailwater_engine::answer::MetricValue;
use tailwater_engine::request::{Direction, QueryLimits};
use tailwater_engine::{Engine, EngineOptions, QueryError, SpillFolder};
use tailwater_storage::catalog::Catalog;

const SECOND: i64 = 1_000_000_000;
const TRACES: i64 = 6_000;
const MEMORY: usize = 10 << 20;

/// Entries of many traces, an entry a second.
async fn catalog() -> Arc<Catalog> {
    let entry = |second: i64| Entry {
        trace: Some(format!("trace-{second:08}-{}", "x".repeat(40))),
        ..Entry::new("a", "x", second * SECOND, &format!("v={} {}", second % 97, "y".repeat(300)))
    };
    let segments: Vec<Vec<Entry>> = (0..3).map(|part| (part * TRACES / 3..(part + 1) * TRACES / 3).map(entry).collect()).collect();
    world::catalog(&segments, false).await
}

fn engine(catalog: &Arc<Catalog>, memory_bytes: usize, spill: Option<&Path>) -> Engine {
    let spill = spill.map(|path| SpillFolder { path: path.to_owned(), bytes: 1 << 30 });
    Engine::with_options(catalog.clone(), EngineOptions { spill, ..EngineOptions::new(memory_bytes) }).expect("starts")
}

/// (labels, time, value) in the order of the answer.
async fn points(engine: &Engine, query: &str) -> Result<Vec<(String, i64, f64)>, QueryError> {
    let request = world::metric_request(query, 600 * SECOND, TRACES * SECOND, 600 * SECOND);
    let limits = QueryLimits { max_series: 1_000_000, ..world::limits() };
    let MetricValue::Series(series) = engine.metrics(&world::everything(), request, &limits).await?.value else { panic!("series") };
    let of = |series: &tailwater_engine::answer::Series| -> Vec<_> {
        series.points.iter().map(|point| (series.labels.to_string(), point.timestamp, point.value)).collect()
    };
    Ok(series.iter().flat_map(of).collect())
}

const QUERIES: &[&str] = &[
    // The final phase of many series, and groups of many points.
    r#"sum(count by (trace_id) (count_over_time({namespace="a"}[20m])))"#,
    r#"max(sum_over_time({namespace="a"} | logfmt | unwrap v [20m]))"#,
    r#"sum(avg by (trace_id) (quantile_over_time(0.5, {namespace="a"} | logfmt | unwrap v [20m]) by (trace_id, app)))"#,
];

#[tokio::test]
async fn aggregations_go_on_from_disk() {
    let catalog = catalog().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (roomy, small) = (engine(&catalog, 256 << 20, None), engine(&catalog, MEMORY, Some(folder.path())));
    let without_disk = engine(&catalog, MEMORY, None);
    for query in QUERIES {
        let expected = points(&roomy, query).await.expect("has room");
        assert!(!expected.is_empty());
        let found = points(&small, query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(found, expected, "{query}");
    }
    let refused = points(&without_disk, QUERIES[0]).await.expect_err("has no room");
    assert!(matches!(refused, QueryError::OutOfMemory { limit } if limit == MEMORY), "{refused}");
    for engine in [&roomy, &small, &without_disk] {
        assert_eq!((engine.memory_bytes().0, engine.spilled_bytes()), (0, 0), "everything is given back");
    }
}

#[tokio::test]
async fn a_long_answer_that_does_not_fit_is_refused() {
    let catalog = catalog().await;
    let engine = engine(&catalog, 2 << 20, None);
    let request = |limit| world::log_request(r#"{namespace="a"}"#, 0, TRACES * SECOND, limit, Direction::Backward);
    let refused = engine.logs(&world::everything(), request(6_000), &world::limits()).await.expect_err("has no room");
    assert!(matches!(refused, QueryError::OutOfMemory { .. }), "{refused}");
    let few = engine.logs(&world::everything(), request(10), &world::limits()).await.expect("has room for ten");
    assert_eq!(few.statistics.entries_returned, 10);
    assert_eq!(engine.memory_bytes().0, 0);
}
