//! Lengths of time as Prometheus writes them: `100ms`, `1h30m`, `30d1h`.
//!
//! Units `y w d h m s ms`, each at most once and in that order, whole numbers only; `0` needs no unit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    milliseconds: i64,
}

/// Why a text is no length of time; the texts are those of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {text:?}")]
    Invalid { text: String },
    #[error("unknown unit {unit:?} in duration {text:?}")]
    Unit { unit: String, text: String },
    #[error("duration out of range")]
    OutOfRange,
}

/// Unit, its milliseconds, and whether it is only printed where it leaves no rest.
const UNITS: [(&str, i64, bool); 7] = [
    ("y", 365 * 24 * 3_600_000, true),
    ("w", 7 * 24 * 3_600_000, true),
    ("d", 24 * 3_600_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1000, false),
    ("ms", 1, false),
];

/// Nanoseconds of it fit into 64 bits.
const LONGEST: i64 = i64::MAX / 1_000_000;

impl Span {
    pub const ZERO: Span = Span { milliseconds: 0 };

    pub const fn milliseconds(milliseconds: i64) -> Self {
        Self { milliseconds }
    }

    pub const fn seconds(seconds: i64) -> Self {
        Self { milliseconds: seconds * 1000 }
    }

    pub const fn minutes(minutes: i64) -> Self {
        Self::seconds(minutes * 60)
    }

    pub const fn hours(hours: i64) -> Self {
        Self::minutes(hours * 60)
    }

    pub fn parse(text: &str) -> Result<Self, SpanError> {
        match text {
            "" => return Err(SpanError::Empty),
            "0" => return Ok(Self::ZERO),
            _ => {}
        }
        let invalid = || SpanError::Invalid { text: text.to_owned() };
        let (mut total, mut rest, mut allowed) = (0i64, text, 0);
        while !rest.is_empty() {
            let unit_start = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if unit_start == 0 {
                return Err(invalid());
            }
            let number: i64 = rest[..unit_start].parse().map_err(|_| SpanError::OutOfRange)?;
            rest = &rest[unit_start..];
            let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit = &rest[..unit_end];
            if unit.is_empty() {
                return Err(invalid());
            }
            let Some(place) = UNITS.iter().position(|(name, ..)| *name == unit) else {
                return Err(SpanError::Unit { unit: unit.to_owned(), text: text.to_owned() });
            };
            if place < allowed {
                return Err(invalid());
            }
            allowed = place + 1;
            rest = &rest[unit_end..];
            let milliseconds = number.checked_mul(UNITS[place].1).and_then(|part| total.checked_add(part));
            total = milliseconds.filter(|total| *total <= LONGEST).ok_or(SpanError::OutOfRange)?;
        }
        Ok(Self { milliseconds: total })
    }

    pub fn is_zero(self) -> bool {
        self.milliseconds == 0
    }

    pub fn nanoseconds(self) -> i64 {
        self.milliseconds.saturating_mul(1_000_000)
    }

    /// Negative spans are zero.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.milliseconds).unwrap_or(0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.milliseconds;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, size, is_exact) in UNITS {
            let count = rest / size;
            if count == 0 || (is_exact && rest % size != 0) {
                continue;
            }
            write!(f, "{count}{unit}")?;
            rest -= count * size;
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed() {
        for (text, milliseconds, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("100ms", 100, "100ms"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("30d1h", 721 * 3_600_000, "30d1h"),
            ("721h", 721 * 3_600_000, "30d1h"),
            ("168h", 168 * 3_600_000, "1w"),
            ("1y", 365 * 86_400_000, "1y"),
            ("8d", 8 * 86_400_000, "8d"),
        ] {
            let span = Span::parse(text).expect(text);
            assert_eq!((span.milliseconds, span.to_string().as_str()), (milliseconds, printed), "{text}");
            assert_eq!(Span::parse(printed), Ok(span));
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_prometheus_says_it() {
        for (text, expected) in [
            ("", "empty duration string"),
            ("90", r#"not a valid duration string: "90""#),
            ("-1m", r#"not a valid duration string: "-1m""#),
            ("abc", r#"not a valid duration string: "abc""#),
            ("1m1h", r#"not a valid duration string: "1m1h""#),
            ("1x", r#"unknown unit "x" in duration "1x""#),
            ("1.5h", r#"unknown unit "." in duration "1.5h""#),
            ("99999999999999999999s", "duration out of range"),
            ("9999999y", "duration out of range"),
        ] {
            assert_eq!(Span::parse(text).expect_err(text).to_string(), expected, "{text}");
        }
    }
}
