//! Random metric queries, entries for them, and answers as flat lists that can be compared.

use proptest::prelude::*;

use crate::world::Entry;

pub(crate) const SECOND: i64 = 1_000_000_000;

/// An entry of the first so many seconds.
pub(crate) fn entry(seconds: i64) -> impl Strategy<Value = Entry> {
    let value = prop_oneof![8 => (-9i32..30).prop_map(Some), 1 => Just(None)];
    ("[ab]", "[xy]", 0..seconds, value, "[pq]", proptest::option::weighted(0.2, "[12]")).prop_map(
        |(namespace, app, second, value, k, trace)| {
            let line = value.map_or_else(|| format!("k={k}"), |value| format!("v={value} k={k}"));
            // Stamps differ, so that first and last are certain.
            let jitter = i64::from(value.unwrap_or(40) + 50) * 1000
                + i64::from(k == "p") * 100
                + trace.as_ref().map_or(0, |trace| trace.len() as i64);
            let distinct = i64::from(namespace == "a") * 7 + i64::from(app == "x") * 13;
            Entry { trace, ..Entry::new(&namespace, &app, second * SECOND + jitter + distinct, &line) }
        },
    )
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

pub(crate) fn query() -> impl Strategy<Value = String> {
    let above =
        (proptest::sample::select(vec!["sum", "avg", "stddev", "stdvar", "max"]), grouping(), prop_oneof![rounded_range(), exact()])
            .prop_map(|(op, grouping, inner)| format!("{op} {grouping} ({inner})"));
    let divided = (rounded_range(), proptest::sample::select(vec!["/ 7", "^ 2", "% 3", "or vector(1)"]))
        .prop_map(|(inner, operation)| format!("{inner} {operation}"));
    prop_oneof![3 => exact(), 1 => rounded_range(), 1 => above, 1 => divided]
}

/// (labels, timestamp, value), sorted.
pub(crate) type Flat = Vec<(String, i64, f64)>;

pub(crate) fn sorted(mut points: Flat) -> Flat {
    points.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)).then(left.2.total_cmp(&right.2)));
    points
}

fn is_close(left: f64, right: f64) -> bool {
    (left.is_nan() && right.is_nan()) || left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0)
}

/// `None` if equal, else where they differ first.
pub(crate) fn difference(found: &Flat, expected: &Flat) -> Option<String> {
    let differs = |(found, expected): (&(String, i64, f64), &(String, i64, f64))| {
        (found.0 != expected.0 || found.1 != expected.1 || !is_close(found.2, expected.2)).then(|| format!("{found:?} is not {expected:?}"))
    };
    let lengths = (found.len() != expected.len()).then(|| format!("{} points, not {}", found.len(), expected.len()));
    found.iter().zip(expected).find_map(differs).or(lengths)
}
