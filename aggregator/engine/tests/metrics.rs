//! Random metric queries over random entries: the engine against the plain evaluation, and against itself.

mod naive;
#[allow(dead_code)]
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use tailwater_engine::answer::MetricValue;
use tailwater_engine::request::{MetricRequest, QueryLimits};
use tailwater_engine::{Engine, QueryError};
use tailwater_logql::ast::MetricExpr;
use world::Entry;

const SECOND: i64 = 1_000_000_000;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

fn segments() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let value = prop_oneof![8 => (-9i32..30).prop_map(Some), 1 => Just(None)];
    let entry = ("[ab]", "[xy]", 0i64..60, value, "[pq]", proptest::option::weighted(0.2, "[12]")).prop_map(
        |(namespace, app, second, value, k, trace)| {
            let line = value.map_or_else(|| format!("k={k}"), |value| format!("v={value} k={k}"));
            // Stamps differ, so that first and last are certain.
            let jitter = i64::from(value.unwrap_or(40) + 50) * 1000
                + i64::from(k == "p") * 100
                + trace.as_ref().map_or(0, |trace| trace.len() as i64);
            let distinct = i64::from(namespace == "a") * 7 + i64::from(app == "x") * 13;
            Entry { trace, ..Entry::new(&namespace, &app, second * SECOND + jitter + distinct, &line) }
        },
    );
    proptest::collection::vec(proptest::collection::vec(entry, 0..40), 1..4)
}

fn grouping() -> impl Strategy<Value = String> {
    let labels = proptest::sample::subsequence(vec!["app", "namespace", "k", "trace_id", "missing"], 0..3);
    ("by|without", labels).prop_map(|(how, labels)| format!("{how} ({})", labels.join(", ")))
}

fn window() -> impl Strategy<Value = String> {
    let offset = prop_oneof![3 => Just(String::new()), 1 => (-5i32..9).prop_map(|offset| format!(" offset {offset}s"))];
    (1u32..30, offset).prop_map(|(range, offset)| format!("[{range}s]{offset}"))
}

fn selector() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![r#"{app=~".+"}"#, r#"{app="x"}"#, r#"{namespace="a", app=~".+"}"#, r#"{app="none"}"#])
        .prop_map(str::to_owned)
}

/// Range aggregations whose values are whole numbers or halves, computed without rounding.
fn exact_range() -> impl Strategy<Value = String> {
    let filter = proptest::sample::select(vec!["", r#" |= "k=p""#, " | logfmt"]);
    let counted = (proptest::sample::select(vec!["count_over_time", "bytes_over_time", "absent_over_time"]), selector(), filter, window())
        .prop_map(|(function, selector, filter, window)| format!("{function}({selector}{filter} {window})"));
    let chosen = (proptest::sample::select(vec!["min", "max", "first", "last"]), selector(), window(), grouping()).prop_map(
        |(function, selector, window, grouping)| format!("{function}_over_time({selector} | logfmt | unwrap v {window}) {grouping}"),
    );
    let quantile = (proptest::sample::select(vec!["0", "0.5", "1"]), selector(), window(), grouping()).prop_map(
        |(share, selector, window, grouping)| format!("quantile_over_time({share}, {selector} | logfmt | unwrap v {window}) {grouping}"),
    );
    let summed = (selector(), window()).prop_map(|(selector, window)| format!("sum_over_time({selector} | logfmt | unwrap v {window})"));
    prop_oneof![2 => counted, 1 => chosen, 1 => quantile, 1 => summed]
}

fn rounded_range() -> impl Strategy<Value = String> {
    let rates = (proptest::sample::select(vec!["rate", "bytes_rate"]), selector(), window())
        .prop_map(|(function, selector, window)| format!("{function}({selector} {window})"));
    let unwrapped = (selector(), window()).prop_map(|(selector, window)| format!("rate({selector} | logfmt | unwrap v {window})"));
    let moments = (proptest::sample::select(vec!["avg", "stddev", "stdvar"]), selector(), window(), proptest::option::of(grouping()))
        .prop_map(|(function, selector, window, grouping)| {
            format!("{function}_over_time({selector} | logfmt | unwrap v {window}) {}", grouping.unwrap_or_default())
        });
    prop_oneof![rates, unwrapped, moments]
}

fn matching() -> impl Strategy<Value = String> {
    let labels = proptest::sample::subsequence(vec!["app", "namespace", "k"], 0..3);
    let group = proptest::sample::select(vec!["", "", "group_left ()", "group_right ()", "group_left (namespace)", "group_right (k)"]);
    let modified = ("on|ignoring", labels, group).prop_map(|(how, labels, group)| format!("{how} ({}) {group}", labels.join(", ")));
    prop_oneof![1 => Just(String::new()), 2 => modified]
}

/// Comparisons and choices are made between exact values only.
fn exact() -> impl Strategy<Value = String> {
    exact_range().prop_recursive(3, 8, 2, |inner| {
        let aggregation = (proptest::sample::select(vec!["sum", "min", "max", "count"]), grouping(), inner.clone())
            .prop_map(|(op, grouping, inner)| format!("{op} {grouping} ({inner})"));
        let ranking = (proptest::sample::select(vec!["topk", "bottomk"]), grouping(), 1u32..4, inner.clone())
            .prop_map(|(op, grouping, k, inner)| format!("{op} {grouping} ({k}, {inner})"));
        let sort = inner.clone().prop_map(|inner| format!("sort_desc({inner})"));
        let arithmetic = proptest::sample::select(vec!["+", "-", "*", ">", "<=", "==", "!=", "> bool", "== bool"]);
        let scalar = (arithmetic.clone(), -3i32..30, inner.clone(), any::<bool>()).prop_map(|(op, scalar, inner, is_left)| match is_left {
            true => format!("({scalar} {op} {inner})"),
            false => format!("({inner} {op} {scalar})"),
        });
        let joined = (arithmetic, matching(), inner.clone(), inner.clone())
            .prop_map(|(op, matching, left, right)| format!("({left} {op} {matching} {right})"));
        let sets = (proptest::sample::select(vec!["and", "or", "unless"]), proptest::option::of(grouping()), inner.clone(), inner.clone())
            .prop_map(|(op, how, left, right)| {
                let how = how.unwrap_or_default().replace("by", "on").replace("without", "ignoring");
                format!("({left} {op} {how} {right})")
            });
        let replaced = (proptest::sample::select(vec!["new", "app"]), proptest::sample::select(vec!["namespace", "k"]), inner)
            .prop_map(|(to, from, inner)| format!(r#"label_replace({inner}, "{to}", "$1", "{from}", "(.).*")"#));
        prop_oneof![aggregation, ranking, sort, scalar, joined, sets, replaced]
    })
}

fn query() -> impl Strategy<Value = String> {
    let above =
        (proptest::sample::select(vec!["sum", "avg", "stddev", "stdvar", "max"]), grouping(), prop_oneof![rounded_range(), exact()])
            .prop_map(|(op, grouping, inner)| format!("{op} {grouping} ({inner})"));
    let divided = (rounded_range(), proptest::sample::select(vec!["/ 7", "^ 2", "% 3", "or vector(1)"]))
        .prop_map(|(inner, operation)| format!("{inner} {operation}"));
    prop_oneof![3 => exact(), 1 => rounded_range(), 1 => above, 1 => divided]
}

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

fn plain(expr: &MetricExpr, entries: &BTreeSet<Entry>, start: i64, end: i64, step: i64) -> Result<Flat, String> {
    let mut flat = Vec::new();
    for time in (0..).map(|k| start + k * step).take_while(|time| *time <= end) {
        let points = naive::evaluate(expr, entries, time)?;
        let text = |labels: naive::Labels| tailwater_logql::labels::LabelSet::from_pairs(labels).to_string();
        flat.extend(points.into_iter().map(|(labels, value)| (text(labels), time, value)));
    }
    Ok(sorted(flat))
}

fn is_close(left: f64, right: f64) -> bool {
    (left.is_nan() && right.is_nan()) || left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0)
}

/// `None` if equal, else where they differ first.
fn difference(found: &Flat, expected: &Flat) -> Option<String> {
    let differs = |(found, expected): (&(String, i64, f64), &(String, i64, f64))| {
        (found.0 != expected.0 || found.1 != expected.1 || !is_close(found.2, expected.2)).then(|| format!("{found:?} is not {expected:?}"))
    };
    let lengths = (found.len() != expected.len()).then(|| format!("{} points, not {}", found.len(), expected.len()));
    found.iter().zip(expected).find_map(differs).or(lengths)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn answers_are_those_of_plain_evaluation(
        segments in segments(), queries in proptest::collection::vec(query(), 4), start in 0i64..40, length in 0i64..40, step in 1i64..20,
    ) {
        let (start, end, step) = (start * SECOND, (start + length) * SECOND, step * SECOND);
        run(async {
            let engine = world::engine(&segments).await;
            let entries = world::distinct(&segments);
            for query in &queries {
                let expr = metric(query);
                match (answer(&engine, &expr, start, end, step).await, plain(&expr, &entries, start, end, step)) {
                    (Ok(found), Ok(expected)) => prop_assert_eq!(difference(&found, &expected), None, "{}", query),
                    (Err(QueryError::Evaluation(text)), Err(_)) => prop_assert!(text.contains("match"), "{}", text),
                    (found, expected) => prop_assert!(false, "{}: {:?} is not {:?}", query, found, expected),
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_range_is_the_sum_of_its_parts_and_filters_that_are_always_true_change_nothing(
        segments in segments(), query in query(), start in 0i64..30, length in 1i64..40, step in 1i64..9, cut in 0i64..40,
    ) {
        let count = length / step;
        let cut = cut.min(count);
        let (start, step) = (start * SECOND, step * SECOND);
        run(async {
            let engine = world::engine(&segments).await;
            let expr = metric(&query);
            let Ok(whole) = answer(&engine, &expr, start, start + count * step, step).await else { return Ok(()) };
            let mut parts = answer(&engine, &expr, start, start + cut * step, step).await.expect("answers");
            if cut < count {
                parts.extend(answer(&engine, &expr, start + (cut + 1) * step, start + count * step, step).await.expect("answers"));
            }
            prop_assert_eq!(difference(&sorted(parts), &whole), None, "{}", query);
            for filter in [r#"} |= """#, r#"} |~ ".*""#, r#"} | app=~".+""#] {
                let filtered = answer(&engine, &metric(&query.replace('}', filter)), start, start + count * step, step).await.expect("answers");
                prop_assert_eq!(difference(&filtered, &whole), None, "{}", filter);
            }
            Ok(())
        })?;
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
