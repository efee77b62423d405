//! Times: nanoseconds since the epoch, and how the node's clock and calendar write them.
//!
//! [`Calendar`] remembers the fields of the current second, so that a stamp costs a copy and nine digits.
//! RFC 3339 as containerd writes it: trailing zeros of the fraction are cut, UTC is `Z`.

use crate::content::pen::Pen;

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanoseconds(pub i64);

impl UnixNanoseconds {
    /// The present time of the machine.
    pub fn now() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one place where this crate reads the real clock")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The stamp at the head of a CRI record; `None` if the text does not begin with one.
    pub(crate) fn parse_rfc3339(text: &[u8]) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = text.get(from..to)?;
            digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
        };
        let days = days_from_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let seconds = days * SECONDS_PER_DAY + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
        let mut at = 19;
        let mut nanoseconds = 0;
        if text.get(at) == Some(&b'.') {
            let digits = text[at + 1..].iter().take_while(|digit| digit.is_ascii_digit()).count().min(9);
            let missing = u32::try_from(9 - digits).ok()?;
            nanoseconds = number(at + 1, at + 1 + digits)? * 10_i64.pow(missing);
            at += 1 + digits;
        }
        let offset_minutes = match text.get(at)? {
            b'Z' => 0,
            b'+' => number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?,
            b'-' => -(number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?),
            _ => return None,
        };
        Some(Self((seconds - offset_minutes * 60) * NANOSECONDS_PER_SECOND + nanoseconds))
    }
}

/// The fields of the current second in the node's zone.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    offset_seconds: i64,
    /// `Z` or `+02:00`.
    zone: Vec<u8>,
    second: i64,
    nanosecond: u64,
    /// `2026-01-15`.
    date: [u8; 10],
    /// `10:00:00`.
    time: [u8; 8],
}

impl Calendar {
    pub(crate) fn new(utc_offset_minutes: i32) -> Self {
        let mut zone = Vec::new();
        if utc_offset_minutes == 0 {
            zone.push(b'Z');
        } else {
            let minutes = u64::from(utc_offset_minutes.unsigned_abs());
            let sign = if utc_offset_minutes < 0 { "-" } else { "+" };
            Pen(&mut zone).text(sign).padded(minutes / 60, 2).text(":").padded(minutes % 60, 2);
        }
        let mut calendar = Self {
            offset_seconds: i64::from(utc_offset_minutes) * 60,
            zone,
            second: i64::MIN,
            nanosecond: 0,
            date: [b'0'; 10],
            time: [b'0'; 8],
        };
        calendar.set(UnixNanoseconds(0));
        calendar
    }

    pub(crate) fn set(&mut self, now: UnixNanoseconds) {
        self.nanosecond = now.0.rem_euclid(NANOSECONDS_PER_SECOND) as u64;
        let second = now.0.div_euclid(NANOSECONDS_PER_SECOND) + self.offset_seconds;
        if second == self.second {
            return;
        }
        self.second = second;
        let (year, month, day) = civil_from_days(second.div_euclid(SECONDS_PER_DAY));
        let of_day = second.rem_euclid(SECONDS_PER_DAY) as u64;
        let mut text = Vec::with_capacity(18);
        Pen(&mut text).padded(year, 4).text("-").padded(month, 2).text("-").padded(day, 2);
        Pen(&mut text).padded(of_day / 3600, 2).text(":").padded(of_day / 60 % 60, 2).text(":").padded(of_day % 60, 2);
        self.date.copy_from_slice(&text[..10]);
        self.time.copy_from_slice(&text[10..]);
    }

    /// Nanoseconds within the second.
    pub(crate) fn nanosecond(&self) -> u64 {
        self.nanosecond
    }

    pub(crate) fn date(&self) -> &[u8; 10] {
        &self.date
    }

    pub(crate) fn time(&self) -> &[u8; 8] {
        &self.time
    }

    /// `Z` or `+02:00`.
    pub(crate) fn zone(&self) -> &[u8] {
        &self.zone
    }

    /// The stamp of a record, such as `2026-01-15T10:00:00.25Z`.
    #[inline]
    pub(crate) fn write_rfc3339(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.date);
        out.push(b'T');
        out.extend_from_slice(&self.time);
        if self.nanosecond > 0 {
            out.push(b'.');
            Pen(out).padded(self.nanosecond, 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.extend_from_slice(&self.zone);
    }

    /// `YYYYMMDD-HHMMSS`, so many seconds after the current one: the suffix of a rotated file.
    pub(crate) fn rotation_suffix(&self, seconds_later: i64) -> String {
        let second = self.second + seconds_later;
        let (year, month, day) = civil_from_days(second.div_euclid(SECONDS_PER_DAY));
        let of_day = second.rem_euclid(SECONDS_PER_DAY);
        format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
    }
}

/// Year, month and day of the Gregorian calendar; days count from 1970-01-01. Years begin in March inside,
/// so that the leap day is the last of its year.
fn civil_from_days(days: i64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u64, month as u64, day as u64)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(nanoseconds: i64, offset: i32) -> String {
        let mut calendar = Calendar::new(offset);
        calendar.set(UnixNanoseconds(nanoseconds));
        let mut out = Vec::new();
        calendar.write_rfc3339(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stamps_are_written_as_containerd_does() {
        for (nanoseconds, offset, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_768_471_200_250_000_000, 0, "2026-01-15T10:00:00.25Z"),
            (1_768_471_200_000_000_001, 120, "2026-01-15T12:00:00.000000001+02:00"),
            (1_768_471_200_000_000_000, -210, "2026-01-15T06:30:00-03:30"),
            (951_782_400_000_000_000, 0, "2000-02-29T00:00:00Z"),
        ] {
            assert_eq!(written(nanoseconds, offset), text);
        }
    }

    #[test]
    fn rotation_suffix_is_local_time() {
        let mut calendar = Calendar::new(60);
        calendar.set(UnixNanoseconds(1_768_471_200_250_000_000));
        assert_eq!(calendar.rotation_suffix(0), "20260115-110000");
        assert_eq!(calendar.rotation_suffix(61), "20260115-110101");
    }

    #[test]
    fn text_that_is_no_stamp_is_none() {
        for text in ["", "2026", "2026-01-15T10:00:00", "2026-01-15T10:00:00.5", "x026-01-15T10:00:00Z", "2026-01-15T10:00:00+0"] {
            assert_eq!(UnixNanoseconds::parse_rfc3339(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_stamp_is_read_back(nanoseconds in 0_i64..4_000_000_000_000_000_000, offset in -840_i32..=840) {
            let text = written(nanoseconds, offset);
            prop_assert_eq!(UnixNanoseconds::parse_rfc3339(text.as_bytes()), Some(UnixNanoseconds(nanoseconds)));
        }
    }
}
