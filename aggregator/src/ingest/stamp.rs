//! Points in time as refusals print them.

use std::fmt;

use jiff::Timestamp;

/// Nanoseconds since the epoch; prints as RFC 3339 with whole seconds, `2026-01-20T09:56:40Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp(pub(crate) i64);

impl Stamp {
    fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.0)).expect("64 bits of nanoseconds are the years 1677 to 2262")
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// The same as Go prints a time: `2026-11-21 06:08:41.300837246 +0000 UTC`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ZonedStamp(pub(crate) Stamp);

impl fmt::Display for ZonedStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +0000 UTC", self.0.timestamp().strftime("%Y-%m-%d %H:%M:%S%.f"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_print_as_loki_prints_them() {
        let stamp = Stamp(1_795_241_321_300_837_246);
        assert_eq!(stamp.to_string(), "2026-11-21T06:08:41Z");
        assert_eq!(ZonedStamp(stamp).to_string(), "2026-11-21 06:08:41.300837246 +0000 UTC");
        assert_eq!(ZonedStamp(Stamp(0)).to_string(), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(Stamp(-1).to_string(), "1969-12-31T23:59:59Z");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(Stamp(extreme).to_string().ends_with('Z'));
        }
    }
}
