//! The first difference between two normal forms.
//!
//! Everything must be equal, but for two things: numbers inside metric samples may deviate by a relative
//! 1e-9 (`NaN` equals `NaN`; an infinity equals only itself), whether they are written as numbers or as text;
//! and a `cardinality`, being an estimate, by one or five percent.

use serde_json::{Map, Value};

const RELATIVE_TOLERANCE: f64 = 1e-9;
/// Characters of a value that a report shows.
const SHOWN: usize = 400;

/// Where and how `got` differs from `want`, or `None`.
pub(crate) fn first_difference(want: &Value, got: &Value) -> Option<String> {
    differ(want, got, "", false)
}

/// `in_sample` is set inside metric samples.
fn differ(want: &Value, got: &Value, place: &str, in_sample: bool) -> Option<String> {
    if place.ends_with("/cardinality")
        && let (Some(a), Some(b)) = (integer(want), integer(got))
    {
        let allowed = (0.05 * a).max(1.0);
        return ((a - b).abs() > allowed).then(|| format!("{place}: expected about {a}, got {b}"));
    }
    if in_sample && let (Some(a), Some(b)) = (sample(want), sample(got)) {
        return (!close(a, b)).then(|| unequal(place, want, got));
    }
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => differ_in_members(want, got, place, in_sample),
        (Value::Array(want), Value::Array(got)) => differ_in_items(want, got, place, in_sample),
        (Value::Number(a), Value::Number(b)) => (a != b && a.as_f64() != b.as_f64()).then(|| unequal(place, want, got)),
        _ => (want != got).then(|| unequal(place, want, got)),
    }
}

fn differ_in_members(want: &Map<String, Value>, got: &Map<String, Value>, place: &str, in_sample: bool) -> Option<String> {
    if let Some(missing) = want.keys().find(|key| !got.contains_key(*key)) {
        return Some(format!("{place}: missing {} (has {})", cut(missing), cut(&names(got))));
    }
    if let Some(extra) = got.keys().find(|key| !want.contains_key(*key)) {
        return Some(format!("{place}: unexpected {} (expected only {})", cut(extra), cut(&names(want))));
    }
    let of_samples = matches!(want.get("resultType").and_then(Value::as_str), Some("vector" | "matrix" | "scalar"));
    want.iter().find_map(|(key, value)| {
        let in_sample = (in_sample || (of_samples && key == "result")) && key != "metric" && key != "resultType";
        differ(value, &got[key], &format!("{place}/{key}"), in_sample)
    })
}

fn differ_in_items(want: &[Value], got: &[Value], place: &str, in_sample: bool) -> Option<String> {
    if want.len() != got.len() {
        let (want_text, got_text) = (shown(&Value::from(want)), shown(&Value::from(got)));
        return Some(format!("{place}: expected {} items, got {}: {want_text} / {got_text}", want.len(), got.len()));
    }
    want.iter().zip(got).enumerate().find_map(|(index, (a, b))| differ(a, b, &format!("{place}[{index}]"), in_sample))
}

/// A sample value or time as a number, whether written as number or text.
fn sample(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<f64> {
    let number = value.as_number()?;
    if number.is_f64() { None } else { number.as_f64() }
}

fn close(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a.is_infinite() || b.is_infinite() {
        return a == b;
    }
    (a - b).abs() <= RELATIVE_TOLERANCE * a.abs().max(b.abs())
}

fn unequal(place: &str, want: &Value, got: &Value) -> String {
    format!("{place}: expected {}, got {}", shown(want), shown(got))
}

fn names(members: &Map<String, Value>) -> String {
    let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
    names.sort_unstable();
    Value::from(names).to_string()
}

/// A value for a report: text as it is, anything else as JSON; cut when long.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
