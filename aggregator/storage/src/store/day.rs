//! Days (UTC) as data is filed by them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

const NANOSECONDS: i64 = 86_400_000_000_000;
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// Days since 1970-01-01, within what a stamp in nanoseconds can say (1677 to 2262). Shown as `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(i32);

/// The text is no `YYYY-MM-DD` within range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no day: wanted is YYYY-MM-DD between 1677-09-21 and 2262-04-11")]
pub struct DayError(String);

impl Day {
    pub const MIN: Self = Self(-106_752);
    pub const MAX: Self = Self(106_751);

    /// The day of a stamp (nanoseconds since the epoch).
    pub fn of(timestamp: i64) -> Self {
        Self(i32::try_from(timestamp.div_euclid(NANOSECONDS)).expect("nanoseconds in an i64 span fewer days than an i32 holds"))
    }

    /// `None` outside of the range of stamps.
    pub fn from_days(days: i32) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&days).then_some(Self(days))
    }

    pub fn days(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = EPOCH.checked_add(jiff::Span::new().days(self.0)).expect("a day within the range of stamps is a date");
        write!(f, "{date}")
    }
}

impl FromStr for Day {
    type Err = DayError;

    /// Only the form that [`Day`] is shown in.
    fn from_str(text: &str) -> Result<Self, DayError> {
        let refused = || DayError(text.to_owned());
        let date: Date = text.parse().map_err(|_| refused())?;
        let days = date.since(EPOCH).map_err(|_| refused())?.get_days();
        Self::from_days(days).filter(|day| day.to_string() == text).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_before_and_after_1970() {
        for (timestamp, text) in [
            (0, "1970-01-01"),
            (NANOSECONDS - 1, "1970-01-01"),
            (NANOSECONDS, "1970-01-02"),
            (-1, "1969-12-31"),
            (1_709_164_800_000_000_000, "2024-02-29"),
            (i64::MIN, "1677-09-21"),
            (i64::MAX, "2262-04-11"),
        ] {
            assert_eq!(Day::of(timestamp).to_string(), text);
            assert_eq!(text.parse(), Ok(Day::of(timestamp)));
        }
        assert_eq!((Day::of(i64::MIN), Day::of(i64::MAX)), (Day::MIN, Day::MAX));
        for text in ["", "2024-02-30", "2024-2-3", "20240203", "2024-02-03T00", "1600-01-01", "-000001-01-01"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
