//! RFC 3339 stamps as runtimes write them: 0 to 9 fractional digits, `Z` or a numeric offset.
//!
//! Lines of one minute share their first 16 bytes, so the calendar is worked out once a minute and file; the rest is a few
//! digits. Years 1970 to 2261 are taken; a leap second `:60` is the last nanosecond before it. Anything else is no stamp.

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// `2026-11-21T09:08`.
const MINUTE_LENGTH: usize = 16;

/// Reads stamps, remembering the minute last seen.
#[derive(Debug, Clone)]
pub(crate) struct StampReader {
    minute_text: [u8; MINUTE_LENGTH],
    /// Seconds since the epoch at the start of that minute, as if it were UTC.
    minute_seconds: i64,
}

impl Default for StampReader {
    fn default() -> Self {
        Self { minute_text: *b"1970-01-01T00:00", minute_seconds: 0 }
    }
}

impl StampReader {
    /// Reads the stamp at the start of `text`. Returns nanoseconds since the epoch and the bytes it took.
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8]) -> Option<(i64, usize)> {
        let (minute, rest) = text.split_first_chunk::<MINUTE_LENGTH>()?;
        if *minute != self.minute_text {
            self.minute_seconds = minute_to_seconds(minute)?;
            self.minute_text = *minute;
        }
        let ([colon, tens, ones], rest) = rest.split_first_chunk::<3>()?;
        if *colon != b':' {
            return None;
        }
        let mut second = digit(*tens)? * 10 + digit(*ones)?;
        if second > 60 {
            return None;
        }
        let (mut nanos, fraction_length) = read_fraction(rest)?;
        if second == 60 {
            (second, nanos) = (59, NANOS_PER_SECOND - 1);
        }
        let (offset_seconds, zone_length) = read_zone(rest.get(fraction_length..)?)?;
        let seconds = self.minute_seconds + second - offset_seconds;
        if seconds < 0 {
            return None;
        }
        let stamp = seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)?;
        Some((stamp, MINUTE_LENGTH + 3 + fraction_length + zone_length))
    }
}

#[inline]
fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

fn number(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| Some(value * 10 + digit(*byte)?))
}

fn minute_to_seconds(text: &[u8; MINUTE_LENGTH]) -> Option<i64> {
    let [year @ .., b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2] = text else { return None };
    let (year, month, day) = (number(year)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?);
    let is_valid = (1970..=2261).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60;
    is_valid.then(|| (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60)
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let days_before_year = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let days_before_month: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    days_before_year + days_before_month + day - 1
}

/// Nanoseconds and length of `.123`, or nothing at all.
#[inline]
fn read_fraction(text: &[u8]) -> Option<(i64, usize)> {
    if text.first() != Some(&b'.') {
        return Some((0, 0));
    }
    let mut nanos = 0;
    let mut digits = 0;
    for byte in &text[1..] {
        if !byte.is_ascii_digit() {
            break;
        }
        digits += 1;
        if digits > 9 {
            return None;
        }
        nanos = nanos * 10 + i64::from(byte - b'0');
    }
    if digits == 0 {
        return None;
    }
    const SCALE: [i64; 10] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    Some((nanos * SCALE[digits], digits + 1))
}

/// Seconds east of UTC and length of `Z`, `+05:30`.
#[inline]
fn read_zone(text: &[u8]) -> Option<(i64, usize)> {
    match text {
        [b'Z', ..] => Some((0, 1)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let offset = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
            Some((if *sign == b'+' { offset } else { -offset }, 6))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<i64> {
        StampReader::default().read(text.as_bytes()).filter(|(_, length)| *length == text.len()).map(|(stamp, _)| stamp)
    }

    #[test]
    fn stamps_as_runtimes_write_them() {
        let base = 1_795_252_121; // 2026-11-21T09:08:41Z
        let second = NANOS_PER_SECOND;
        for (text, expected) in [
            ("2026-11-21T09:08:41Z", Some(base * second)),
            ("2026-11-21T09:08:41.1Z", Some(base * second + 100_000_000)),
            ("2026-11-21T09:08:41.123456789Z", Some(base * second + 123_456_789)),
            ("2026-11-21T14:38:41.5+05:30", Some(base * second + 500_000_000)),
            ("2026-11-21T09:08:41-00:00", Some(base * second)),
            ("2026-11-21T01:08:41-08:00", Some(base * second)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_799 * second + 999_999_999)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800 * second)),
            ("1970-01-01T00:00:00+01:00", None),
            ("2023-02-29T00:00:00Z", None),
            ("2026-11-21T09:08:61Z", None),
            ("2026-11-21T24:08:41Z", None),
            ("2026-13-21T09:08:41Z", None),
            ("2262-01-01T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-21T09:08:41.Z", None),
            ("2026-11-21T09:08:41.1234567890Z", None),
            ("2026-11-21 09:08:41Z", None),
            ("2026-11-21T09:08:41", None),
            ("2026-11-21T09:08:41+24:00", None),
            ("2026-11-21T09:08:4", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn the_remembered_minute_is_not_used_for_another_one() {
        let mut reader = StampReader::default();
        let first = reader.read(b"2026-11-21T09:08:41Z").expect("a stamp").0;
        assert_eq!(reader.read(b"2026-11-21T09:7x:41Z"), None);
        assert_eq!(reader.read(b"2026-11-21T09:09:41Z").expect("a stamp").0 - first, 60 * NANOS_PER_SECOND);
        assert_eq!(reader.read(b"2026-11-21T09:08:41Z").expect("a stamp").0, first);
    }

    proptest! {
        #[test]
        fn seconds_round_trip_through_humantime(seconds in 0u64..9_214_646_400, nanos in 0u32..1_000_000_000) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanos);
            let text = humantime::format_rfc3339_nanos(time).to_string();
            prop_assert_eq!(read(&text), Some(i64::try_from(seconds).unwrap() * NANOS_PER_SECOND + i64::from(nanos)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let _ = StampReader::default().read(&bytes);
        }
    }
}
