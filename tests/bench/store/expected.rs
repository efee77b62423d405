//! Whether an answer is the truth.

use std::collections::BTreeMap;

use serde_json::Value;
use tailwater_e2e::generator;

use crate::quantiles::Quantile;

/// Sums of rates and quantiles are floating point.
const TOLERANCE: f64 = 1e-6;
/// A volume may be in proportion where an object lies across the window's edge, and count metadata with the lines.
const VOLUME_TOLERANCE: f64 = 0.2;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expected {
    /// One number; no sample is 0.
    Number(u64),
    /// So many entries, all with the text in their lines.
    Entries { needle: String, count: u64 },
    /// Entries with exactly these stamps.
    Stamps(Vec<i64>),
    /// A matrix of rates per second over windows of so many seconds that follow each other: all lines together.
    Rates { lines: u64, window_seconds: u64 },
    /// A matrix of counts by `level`; series without one are of other lines.
    Levels(BTreeMap<String, u64>),
    /// A matrix by `app`.
    Quantiles(Vec<Quantile>),
    /// Bytes, nearly.
    Volume(u64),
}

impl Expected {
    /// Says what is wrong with the JSON of an answer.
    pub(crate) fn judge(&self, answer: &Value) -> Result<(), String> {
        let result = answer["data"]["result"].as_array().ok_or("the answer has no result")?;
        match self {
            Self::Number(expected) => equal(*expected as f64, vector_sum(result)),
            Self::Entries { needle, count } => entries_hold(&entries(result), needle, *count),
            Self::Stamps(expected) => stamps_are(&entries(result), expected),
            Self::Rates { lines, window_seconds } => near(*lines as f64, matrix_sum(result) * *window_seconds as f64, TOLERANCE),
            Self::Levels(expected) => levels_are(result, expected),
            Self::Quantiles(expected) => quantiles_are(result, expected),
            Self::Volume(expected) => near(*expected as f64, vector_sum(result), VOLUME_TOLERANCE),
        }
    }
}

fn equal(expected: f64, found: f64) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{found} instead of {expected}")) }
}

fn near(expected: f64, found: f64, tolerance: f64) -> Result<(), String> {
    if (expected - found).abs() <= tolerance * expected.abs() { Ok(()) } else { Err(format!("{found} instead of {expected}")) }
}

/// The number of a sample, `[stamp, "number"]`.
fn number(sample: &Value) -> f64 {
    sample[1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn vector_sum(result: &[Value]) -> f64 {
    result.iter().map(|sample| number(&sample["value"])).sum()
}

fn samples(series: &Value) -> &[Value] {
    series["values"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn matrix_sum(result: &[Value]) -> f64 {
    result.iter().flat_map(samples).map(number).sum()
}

/// Stamps and lines of a log query's answer.
fn entries(result: &[Value]) -> Vec<(i64, &str)> {
    let entry = |value: &'_ Value| value[0].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    result.iter().flat_map(samples).map(|value| (entry(value), value[1].as_str().unwrap_or_default())).collect()
}

fn entries_hold(entries: &[(i64, &str)], needle: &str, count: u64) -> Result<(), String> {
    if let Some((_, line)) = entries.iter().find(|(_, line)| !line.contains(needle)) {
        return Err(format!("a line without the needle: `{line}`"));
    }
    equal(count as f64, entries.len() as f64)
}

fn stamps_are(entries: &[(i64, &str)], expected: &[i64]) -> Result<(), String> {
    let (mut found, mut expected): (Vec<i64>, Vec<i64>) = (entries.iter().map(|(stamp, _)| *stamp).collect(), expected.to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    if found == expected { Ok(()) } else { Err(format!("{} entries, not the {} expected ones", found.len(), expected.len())) }
}

fn levels_are(result: &[Value], expected: &BTreeMap<String, u64>) -> Result<(), String> {
    let mut found: BTreeMap<&str, f64> = BTreeMap::new();
    for series in result {
        if let Some(level) = series["metric"]["level"].as_str() {
            *found.entry(level).or_default() += samples(series).iter().map(number).sum::<f64>();
        }
    }
    let expected: BTreeMap<&str, f64> = expected.iter().map(|(level, count)| (level.as_str(), *count as f64)).collect();
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

fn quantiles_are(result: &[Value], expected: &[Quantile]) -> Result<(), String> {
    let mut found: BTreeMap<(&str, i64), f64> = BTreeMap::new();
    for series in result {
        let app = series["metric"]["app"].as_str().unwrap_or_default();
        for sample in samples(series) {
            let seconds = sample[0].as_f64().unwrap_or_default() as i64 - generator::START / 1_000_000_000;
            found.insert((app, seconds), number(sample));
        }
    }
    for one in expected {
        let value = found.get(&(one.app.as_str(), one.step_end_seconds)).copied().unwrap_or(f64::NAN);
        near(one.value, value, TOLERANCE).map_err(|what| format!("{} at {} s: {what}", one.app, one.step_end_seconds))?;
    }
    equal(expected.len() as f64, found.len() as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(result: Value) -> Value {
        json!({"status": "success", "data": {"result": result}})
    }

    fn judge(expected: Expected, result: Value) -> bool {
        expected.judge(&answer(result)).is_ok()
    }

    #[test]
    fn numbers_and_volumes() {
        assert!(judge(Expected::Number(0), json!([])));
        assert!(judge(Expected::Number(7), json!([{"metric": {}, "value": [1, "7"]}])));
        assert!(!judge(Expected::Number(7), json!([{"metric": {}, "value": [1, "8"]}])));
        assert!(!judge(Expected::Number(7), json!([{"metric": {}, "value": [1, "x"]}])));
        let volume = json!([{"metric": {}, "value": [1, "60"]}, {"metric": {}, "value": [1, "50"]}]);
        assert!(judge(Expected::Volume(100), volume.clone()));
        assert!(!judge(Expected::Volume(300), volume));
        assert!(Expected::Number(1).judge(&json!({})).is_err());
    }

    #[test]
    fn entries_are_compared_by_text_and_stamp() {
        let result = json!([{"stream": {}, "values": [["2", "a needle"], ["1", "needles"]]}]);
        let entries = |needle: &str, count| Expected::Entries { needle: needle.to_owned(), count };
        assert!(judge(entries("needle", 2), result.clone()));
        assert!(!judge(entries("needle", 3), result.clone()));
        assert!(!judge(entries("needles", 2), result.clone()));
        assert!(judge(Expected::Stamps(vec![2, 1]), result.clone()));
        assert!(!judge(Expected::Stamps(vec![3, 1]), result));
    }

    #[test]
    fn matrices_are_summed_or_compared_series_by_series() {
        let result = json!([{"metric": {"level": "info"}, "values": [[0, "0.5"], [60, "1"]]}, {"metric": {}, "values": [[0, "1"]]}]);
        assert!(judge(Expected::Rates { lines: 150, window_seconds: 60 }, result.clone()));
        assert!(!judge(Expected::Rates { lines: 151, window_seconds: 60 }, result));
        let counts = json!([{"metric": {"level": "info"}, "values": [[0, "5"], [60, "1"]]}, {"metric": {}, "values": [[0, "1"]]}]);
        assert!(judge(Expected::Levels(BTreeMap::from([("info".to_owned(), 6)])), counts.clone()));
        assert!(!judge(Expected::Levels(BTreeMap::from([("info".to_owned(), 7)])), counts));
        let start = generator::START / 1_000_000_000;
        let quantile = |value| Expected::Quantiles(vec![Quantile { app: "cart".to_owned(), step_end_seconds: 300, value }]);
        let result = json!([{"metric": {"app": "cart"}, "values": [[start + 300, "2.5"]]}]);
        assert!(judge(quantile(2.5), result.clone()));
        assert!(!judge(quantile(2.6), result.clone()));
        assert!(!judge(Expected::Quantiles(Vec::new()), result));
    }
}
