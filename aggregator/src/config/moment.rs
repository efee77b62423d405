//! A moment as people write it: `2026-01-20T10:00:00Z`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::http::range::parse_rfc_3339;
use crate::ingest::stamp::Stamp;

/// Nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// RFC 3339, with `Z` or an offset.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_rfc_3339(text).map(Self).ok_or_else(|| format!("`{text}` is not a moment, write for instance 2026-01-20T10:00:00Z"))
    }

    pub fn nanoseconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stamp(self.0).fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_printed() {
        for (text, printed) in [("2026-01-20T10:00:00Z", "2026-01-20T10:00:00Z"), ("2026-01-20T11:00:00+01:00", "2026-01-20T10:00:00Z")] {
            assert_eq!(Moment::parse(text).map(|moment| moment.to_string()), Ok(printed.to_owned()));
        }
        assert_eq!(Moment::parse("tomorrow"), Err("`tomorrow` is not a moment, write for instance 2026-01-20T10:00:00Z".to_owned()));
    }
}
