//! Quantiles of a number in JSON lines by application and step, exact, as LogQL defines them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::truth::between;

/// Range and step of the question.
pub(crate) const STEP_SECONDS: i64 = 300;
const FIELD: &[u8] = b"\"duration_ms\":";

/// All values of the first hour: 8 bytes for each JSON line.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    values: BTreeMap<(String, i64), Vec<f64>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantile {
    pub app: String,
    /// Seconds from the beginning of the data to the step's stamp.
    pub step_end_seconds: i64,
    pub value: f64,
}

impl Durations {
    /// `since_start` is in nanoseconds.
    pub(crate) fn add(&mut self, app: &[u8], since_start: i64, line: &[u8]) {
        let Some(rest) = between(line, FIELD, b'}') else { return };
        // Planted needles follow as a field of their own.
        let number = rest.split(|byte| *byte == b',').next().unwrap_or_default();
        let Some(value) = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()) else { return };
        // A step's window is open at its beginning and closed at its end.
        let step = (since_start - 1).div_euclid(STEP_SECONDS * 1_000_000_000) + 1;
        let app = String::from_utf8_lossy(app).into_owned();
        self.values.entry((app, step * STEP_SECONDS)).or_default().push(value);
    }

    pub(crate) fn quantiles(&self, rank: f64) -> Vec<Quantile> {
        let quantile = |((app, end), values): (&(String, i64), &Vec<f64>)| Quantile {
            app: app.clone(),
            step_end_seconds: *end,
            value: quantile(values, rank),
        };
        self.values.iter().map(quantile).collect()
    }
}

/// Between two values it lies on the straight line.
fn quantile(values: &[f64], rank: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = rank * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.75), 1.75);
    }

    #[test]
    fn values_belong_to_the_step_that_ends_after_them() {
        let mut durations = Durations::default();
        let second = 1_000_000_000;
        durations.add(b"cart", 300 * second, br#"{"a":1,"duration_ms":5.25,"ref":"x"}"#);
        durations.add(b"cart", 300 * second + 1, br#"{"duration_ms":6}"#);
        durations.add(b"cart", second, br#"{"no":"duration"}"#);
        let found: Vec<(i64, f64)> = durations.quantiles(0.95).iter().map(|one| (one.step_end_seconds, one.value)).collect();
        assert_eq!(found, [(300, 5.25), (600, 6.0)]);
    }
}
