//! Metric queries over chosen entries. Random ones are compared in `reference`.

use crate::world::{self, Entry};
use tailwater_engine::answer::MetricValue;
use tailwater_engine::request::{MetricRequest, QueryLimits};
use tailwater_engine::{Engine, QueryError};
use tailwater_logql::ast::MetricExpr;

const SECOND: i64 = 1_000_000_000;

fn metric(query: &str) -> MetricExpr {
    world::metric_request(query, 0, 0, 1).expr
}

fn limits() -> QueryLimits {
    QueryLimits { max_series: 10_000, ..world::limits() }
}

/// (labels, timestamp, value), sorted.
type Flat = Vec<(String, i64, f64)>;

fn sorted(mut points: Flat) -> Flat {
    points.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)).then(left.2.total_cmp(&right.2)));
    points
}

async fn answer(engine: &Engine, expr: &MetricExpr, start: i64, end: i64, step: i64) -> Result<Flat, QueryError> {
    let request = MetricRequest { expr: expr.clone(), start, end, step };
    match engine.metrics(&world::everything(), request, &limits()).await?.value {
        MetricValue::Scalar(value) => Ok(vec![("scalar".into(), 0, value)]),
        MetricValue::Series(series) => {
            let points = series
                .iter()
                .flat_map(|series| series.points.iter().map(|point| (series.labels.to_string(), point.timestamp, point.value)));
            Ok(sorted(points.collect()))
        }
    }
}

fn counters() -> Vec<Vec<Entry>> {
    let at = |second: i64, value: i64| Entry::new("a", "x", second * SECOND, &format!("v={value}"));
    vec![vec![at(10, 5), at(30, 2)], vec![at(20, 9), at(40, 6)]]
}

#[tokio::test]
async fn a_counter_that_is_spread_over_parts_is_put_in_order() {
    let engine = world::engine(&counters()).await;
    let expr = metric(r#"rate_counter({app="x"} | logfmt | unwrap v [1m])"#);
    let found = answer(&engine, &expr, 60 * SECOND, 60 * SECOND, 1).await.expect("answers");
    // 5, 9, 2, 6: up by 4, a restart, 2 from zero, up by 4.
    assert_eq!(found.len(), 1);
    assert!((found[0].2 - 10.0 / 60.0).abs() < 1e-5, "{found:?}");
}

#[tokio::test]
async fn sorting_orders_an_instant_answer_by_value() {
    let engine =
        world::engine(&[(0..3).map(|app| Entry::new("a", &format!("x{app}"), 5, &format!("v={}", [2, 3, 1][app]))).collect()]).await;
    let order = async |query: &str| -> Vec<f64> {
        let request = MetricRequest { expr: metric(query), start: SECOND, end: SECOND, step: 1 };
        match engine.metrics(&world::everything(), request, &limits()).await.expect("answers").value {
            MetricValue::Series(series) => series.iter().map(|series| series.points[0].value).collect(),
            MetricValue::Scalar(value) => vec![value],
        }
    };
    let values = r#"sum by (app) (sum_over_time({namespace="a"} | logfmt | unwrap v [1m]))"#;
    assert_eq!(order(&format!("sort({values})")).await, [1.0, 2.0, 3.0]);
    assert_eq!(order(&format!("sort_desc({values}) * 2")).await, [6.0, 4.0, 2.0]);
    assert_eq!(order(&format!("topk(2, {values})")).await, [2.0, 3.0], "by labels");
    assert_eq!(order(&format!("topk(2, sort({values}))")).await, [3.0, 2.0]);
}

/// A label without a value is not shown: it decides neither what comes first among equals nor what is a group of its own.
#[tokio::test]
async fn ties_go_by_the_labels_that_are_shown() {
    let at = |app: &str, line: &str| Entry::new("a", app, 5, line);
    let engine = world::engine(&[vec![at("x1", "b=1"), at("x2", "a= b=1"), at("x3", "a=1 b=1")]]).await;
    let kept = async |query: &str| -> Vec<String> {
        let found = answer(&engine, &metric(query), SECOND, SECOND, 1).await.expect("answers");
        found.into_iter().map(|(labels, ..)| labels.split("app=\"").nth(1).expect("an app")[..2].to_owned()).collect()
    };
    let counted = r#"count_over_time({namespace="a"} | logfmt --keep-empty | drop c [1m])"#;
    assert_eq!(kept(&format!("topk(1, {counted})")).await, ["x3"], "`a` comes before `app`");
    assert_eq!(kept(&format!("topk(2, {counted})")).await, ["x3", "x1"]);
    assert_eq!(kept(&format!("bottomk by (a) (1, {counted})")).await, ["x3", "x1"]);
    let shown = r#"count_over_time({namespace="a"} | logfmt --keep-empty [1m])"#;
    assert_eq!(
        kept(&format!("topk(2, {shown})")).await,
        ["x2", "x3"],
        "without a stage that takes labels away, `a` is shown without a value"
    );
    assert_eq!(kept(&format!("bottomk by (a) (1, {shown})")).await, ["x2", "x3", "x1"]);
}

#[tokio::test]
async fn labels_without_a_value_are_shown_where_samples_are_grouped_by_them_alone() {
    let at = |second: i64, line: &str| Entry::new("a", "x", second * SECOND, line);
    let engine = world::engine(&[vec![at(5, "v=1"), at(6, "a= v=2"), at(7, "a= v=3")]]).await;
    let counted = r#"count_over_time({namespace="a"} | logfmt --keep-empty | keep a [1m])"#;
    let shown = async |query: &str| answer(&engine, &metric(query), 10 * SECOND, 10 * SECOND, 1).await.expect("answers");
    let series = |labels: &str, value: f64| (labels.to_owned(), 10 * SECOND, value);
    assert_eq!(shown(&format!("sum by (a) ({counted})")).await, [series(r#"{a=""}"#, 2.0), series("{}", 1.0)]);
    assert_eq!(shown(&format!("sum without (v) ({counted})")).await, [series("{}", 3.0)]);
    assert_eq!(shown(&format!("max by (a) ({counted})")).await, [series("{}", 2.0)]);
    let greatest = r#"max_over_time({namespace="a"} | logfmt --keep-empty | keep a, v | unwrap v [1m]) without (b)"#;
    assert_eq!(shown(greatest).await, [series("{}", 1.0), series("{}", 3.0)]);
}

#[tokio::test]
async fn variants_share_a_range_and_each_has_its_limit() {
    let entries = (0..4).map(|app| Entry::new("a", &format!("x{app}"), 5, &format!("v={app}"))).collect();
    let engine = world::engine(&[entries]).await;
    let query = r#"variants(sum(count_over_time({app="ignored"}[9m])), count_over_time({app="ignored"}[9m])) of ({namespace="a"}[1m])"#;
    let request = MetricRequest { expr: metric(query), start: SECOND, end: SECOND, step: 1 };
    let limits = QueryLimits { max_series: 3, ..limits() };
    let answer = engine.metrics(&world::everything(), request, &limits).await.expect("answers");
    assert_eq!(answer.warnings, ["maximum of series (3) reached for variant (1)"]);
    let MetricValue::Series(series) = answer.value else { panic!("series") };
    let shown: Vec<(String, f64)> = series.iter().map(|series| (series.labels.to_string(), series.points[0].value)).collect();
    assert_eq!(shown, [(r#"{__variant__="0"}"#.to_owned(), 4.0)]);
}

#[tokio::test]
async fn too_many_series_end_a_query_before_it_is_done() {
    let entries = (0..50).map(|app| Entry::new("a", &format!("x{app}"), 5, "v=1")).collect();
    let engine = world::engine(&[entries]).await;
    let limits = QueryLimits { max_series: 20, ..limits() };
    let outcome = async |query: &str| {
        let request = MetricRequest { expr: metric(query), start: SECOND, end: SECOND, step: 1 };
        engine.metrics(&world::everything(), request, &limits).await
    };
    for query in [r#"count_over_time({namespace="a"}[1m])"#, r#"-1 * sort(count_over_time({namespace="a"}[1m]))"#] {
        assert!(matches!(outcome(query).await, Err(QueryError::TooManySeries { limit: 20 })), "{query}");
    }
    for query in [r#"sum(count_over_time({namespace="a"}[1m]))"#, r#"topk(3, count_over_time({namespace="a"}[1m]))"#] {
        assert!(outcome(query).await.is_ok(), "{query}");
    }
}

#[tokio::test]
async fn partners_are_certain_also_where_a_comparison_drops_them() {
    let entries = ["x", "y", "y", "y"].iter().zip(1..).map(|(app, second)| Entry::new("a", app, second * SECOND, "line")).collect();
    let engine = world::engine(&[entries]).await;
    let by_app = r#"sum by (namespace, app) (count_over_time({namespace="a"}[1m]))"#;
    let whole = r#"max by (namespace) (count_over_time({namespace="a"}[1m]))"#;
    // Of both series that have one partner, no more than one would stay.
    for (query, expected) in [
        (
            format!("{by_app} >= on (namespace) {whole}"),
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        (
            format!("{by_app} < on (namespace) {whole}"),
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        (
            format!("{by_app} > on (namespace) group_left (app) {whole}"),
            "multiple matches for labels: grouping labels must ensure unique matches",
        ),
        (
            format!("{whole} < on (namespace) group_right (app) {by_app}"),
            "multiple matches for labels: grouping labels must ensure unique matches",
        ),
    ] {
        let outcome = answer(&engine, &metric(&query), 10 * SECOND, 10 * SECOND, 1).await;
        assert_eq!(outcome.map_err(|error| error.to_string()), Err(expected.to_owned()), "{query}");
    }
    let kept = answer(&engine, &metric(&format!("{by_app} >= on (namespace) group_left {whole}")), 10 * SECOND, 10 * SECOND, 1).await;
    assert_eq!(kept.expect("answers"), [("{app=\"y\", namespace=\"a\"}".to_owned(), 10 * SECOND, 3.0)]);
}
