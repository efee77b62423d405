//! Points in time with a zone, as Go's programs print and read them.
//!
//! The local zone is UTC, as on the servers clients know. Zones by name come from the bundled database, never from
//! the machine, so that a query means the same everywhere.

mod civil;
mod layout;
mod read;
mod write;
mod zone;

pub(crate) use civil::Civil;
pub use zone::Zone;

/// Seconds and nanoseconds since 1970, and where the clock hangs that shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    pub(crate) seconds: i64,
    /// Below a second.
    pub(crate) nanoseconds: u32,
    pub(crate) zone: Zone,
}

const NANOSECONDS: i64 = 1_000_000_000;
/// The year 1, which Go takes for "no time".
const ZERO_SECONDS: i64 = -62_135_596_800;

impl Time {
    /// On a clock that shows UTC.
    pub fn utc(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds, zone: Zone::Utc }
    }

    /// Go's zero time: the first of January of the year 1.
    pub(crate) fn zero() -> Time {
        Time::utc(ZERO_SECONDS, 0)
    }

    /// Since 1970, on a clock that shows UTC.
    pub fn from_nanoseconds(nanoseconds: i64) -> Time {
        Time::utc(nanoseconds.div_euclid(NANOSECONDS), nanoseconds.rem_euclid(NANOSECONDS) as u32)
    }

    /// The same moment on another clock.
    pub fn in_zone(mut self, zone: Zone) -> Time {
        self.zone = zone;
        self
    }

    /// Reads a text by a layout; a text without a zone is of this one. `None` where Go has an error.
    pub fn parse(layout: &str, text: &str, zone: &Zone) -> Option<Time> {
        read::read(layout, text, zone)
    }

    /// Appends the time in a layout.
    pub fn write(&self, layout: &str, out: &mut Vec<u8>) {
        write::write(self, layout, out);
    }

    /// The form in which Go prints times: `2026-01-15 10:00:00.123 +0000 UTC`.
    pub(crate) fn write_default(&self, out: &mut Vec<u8>) {
        self.write("2006-01-02 15:04:05.999999999 -0700 MST", out);
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanoseconds == 0
    }

    /// Units below a second in a second: 1 for seconds, a thousand for milliseconds. Out of range it wraps, as in Go.
    pub fn since_epoch(&self, units: i64) -> i64 {
        let fraction = i64::from(self.nanoseconds) / (NANOSECONDS / units);
        self.seconds.wrapping_mul(units).wrapping_add(fraction)
    }

    /// The moment so many nanoseconds later, or earlier.
    pub fn plus(self, nanoseconds: i64) -> Time {
        let below = i64::from(self.nanoseconds) + nanoseconds.rem_euclid(NANOSECONDS);
        let seconds = self.seconds.saturating_add(nanoseconds.div_euclid(NANOSECONDS) + below / NANOSECONDS);
        Time { seconds, nanoseconds: (below % NANOSECONDS) as u32, zone: self.zone }
    }

    pub(crate) fn civil(&self) -> Civil {
        Civil::from_seconds(self.seconds.saturating_add(i64::from(self.zone.at(self.seconds).0)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(time: &Time, layout: &str) -> String {
        let mut out = Vec::new();
        time.write(layout, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn shown(time: &Time) -> String {
        let mut out = Vec::new();
        time.write_default(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_in_layouts() {
        let time = Time::utc(1_768_471_509, 12_345_678);
        for (layout, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2026-01-15T10:05:09Z"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Thu, 15 Jan 2026 10:05:09 UTC"),
            ("Monday, 02-Jan-06 15:04:05 -0700", "Thursday, 15-Jan-26 10:05:09 +0000"),
            ("January _2 3:4:5PM", "January 15 10:5:9AM"),
            ("2006-01-02 15:04:05.000", "2026-01-15 10:05:09.012"),
            ("15:04:05.000000", "10:05:09.012345"),
            ("15:04:05.999999999", "10:05:09.012345678"),
            ("05,000 .9 .99", "09,012  .01"),
            ("1/2 002 __2 _2", "1/15 015  15 15"),
            ("03 pm", "10 am"),
            ("Jan January Janet", "Jan January Janet"),
            ("Z0700 Z07 -07 -07:00:00", "Z Z +00 +00:00:00"),
            ("no layout", "no layout"),
            ("", ""),
        ] {
            assert_eq!(written(&time, layout), expected, "{layout}");
        }
        assert_eq!(written(&Time::utc(1_767_225_600, 500_000_000), "5.9 5.99 5.000"), "0.5 0.5 0.500");
        assert_eq!(shown(&Time::zero()), "0001-01-01 00:00:00 +0000 UTC");
        assert_eq!(shown(&Time::from_nanoseconds(-1)), "1969-12-31 23:59:59.999999999 +0000 UTC");
    }

    #[test]
    fn zones_follow_their_rules() {
        let berlin = Zone::load("Europe/Berlin").unwrap();
        let winter = Time::utc(1_768_471_200, 0).in_zone(berlin.clone());
        assert_eq!(shown(&winter), "2026-01-15 11:00:00 +0100 CET");
        let summer = Time::utc(1_784_109_600, 0).in_zone(berlin.clone());
        assert_eq!(shown(&summer), "2026-07-15 12:00:00 +0200 CEST");
        assert_eq!(shown(&Time::parse("2006-01-02", "2026-07-15", &berlin).unwrap()), "2026-07-15 00:00:00 +0200 CEST");
        assert!(Zone::load("Nope/Zone").is_none() && Zone::load("europe/berlin").is_none());
        assert_eq!(Zone::load("UTC"), Some(Zone::Utc));
    }

    #[test]
    fn texts_are_read_by_layouts() {
        for (layout, text, expected) in [
            ("2006-01-02", "2026-01-15", "2026-01-15 00:00:00 +0000 UTC"),
            ("2006-01-02T15:04:05Z07:00", "2026-01-15T10:00:00Z", "2026-01-15 10:00:00 +0000 UTC"),
            ("2006-01-02T15:04:05Z07:00", "2026-01-15T10:00:00+02:00", "2026-01-15 10:00:00 +0200 +0200"),
            ("2006-01-02T15:04:05Z07:00", "2026-01-15T10:00:00.25Z", "2026-01-15 10:00:00.25 +0000 UTC"),
            ("02/Jan/2006:15:04:05 -0700", "15/Jan/2026:10:00:00 -0330", "2026-01-15 10:00:00 -0330 -0330"),
            ("Mon Jan _2 15:04:05 2006", "Thu Jan  5 10:00:00 2026", "2026-01-05 10:00:00 +0000 UTC"),
            ("Jan 2 06 3:04PM", "mar 5 70 12:30AM", "1970-03-05 00:30:00 +0000 UTC"),
            ("Jan 2 06 3:04PM", "Mar 5 68 1:30PM", "2068-03-05 13:30:00 +0000 UTC"),
            ("2006 002", "2024 060", "2024-02-29 00:00:00 +0000 UTC"),
            ("15:04:05 MST 2006", "10:00:00 CET 2026", "2026-01-01 10:00:00 +0000 CET"),
            ("15:04:05 MST 2006", "10:00:00 UTC 2026", "2026-01-01 10:00:00 +0000 UTC"),
            ("2006 MST", "2026 GMT+3", "2026-01-01 00:00:00 +0300 GMT+3"),
            ("15:04:05.000 2006", "10:00:00.125 2026", "2026-01-01 10:00:00.125 +0000 UTC"),
        ] {
            let time = Time::parse(layout, text, &Zone::Utc).unwrap_or_else(|| panic!("{text} is not read by {layout}"));
            assert_eq!(shown(&time), expected, "{text}");
        }
        for (layout, text) in [
            ("2006-01-02", "2026-13-01"),
            ("2006-01-02", "2026-02-29"),
            ("2006-01-02", "2026-1-02"),
            ("2006-01-02", "2026-01-02 "),
            ("2006-01-02", "x"),
            ("2006-01-02", ""),
            ("15:04", "24:00"),
            ("15:04:05.000", "10:00:00.12"),
            ("Jan", "Foo"),
            ("-0700", "0700"),
        ] {
            assert_eq!(Time::parse(layout, text, &Zone::Utc), None, "{text}");
        }
    }
}
