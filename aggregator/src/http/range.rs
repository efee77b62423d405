//! Parameters of time and amount: `start`, `end`, `time`, `since`, `step`, `interval`, `limit`, `direction`.
//!
//! Pure: texts and the time of now in, numbers or Loki's texts out. Everything is in nanoseconds since the epoch; times beyond
//! 64 bits (the years before 1677 and after 2262) are cut to what fits.

use tailwater_engine::request::Direction;

use crate::config::size::ByteSize;
use crate::config::span::{Span, SpanError};
use crate::http::form::Form;

const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;
/// Points a series may have.
const MAX_POINTS: i64 = 11_000;
const DEFAULT_SINCE: Span = Span::hours(1);
const DEFAULT_LIMIT: u32 = 100;
/// Points that the default step aims at.
const DEFAULT_POINTS: i64 = 250;

/// A parameter that cannot be used. Display is the whole text of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("could not parse '{name}' parameter: {reason}")]
    Time { name: &'static str, reason: NumberError },
    /// `time` of an instant query.
    #[error("{0}")]
    Instant(NumberError),
    #[error("could not parse 'since' parameter: {0}")]
    Since(SpanError),
    #[error("end timestamp must not be before or equal to start time")]
    EndBeforeStart,
    #[error("cannot parse {text:?} to a valid duration")]
    Duration { text: String },
    #[error("cannot parse {text:?} to a valid duration. It overflows int64")]
    DurationOverflow { text: String },
    #[error("zero or negative query resolution step widths are not accepted. Try a positive integer")]
    Step,
    #[error("exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter")]
    TooManyPoints,
    #[error("interval must be >= 0")]
    Interval,
    #[error("{0}")]
    LimitText(NumberError),
    #[error("limit must be a positive value")]
    Limit,
    #[error("delay_for can't be greater than {limit}")]
    Delay { limit: i64 },
    #[error("max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {allowed})")]
    TooManyEntries { limit: u32, allowed: usize },
    #[error(
        "context of all entries is {lines} lines, more than max_entries_limit_per_query ({allowed}), send a lower limit or ask for less context"
    )]
    TooMuchContext { lines: usize, allowed: usize },
    #[error("invalid direction '{text}'")]
    Direction { text: String },
    #[error("the query time range exceeds the limit (query length: {length}, limit: {limit})")]
    TooLong { length: GoDuration, limit: Span },
    #[error("[interval] value exceeds limit: [{range}] > [{limit}]")]
    RangeTooLong { range: Span, limit: Span },
    #[error("max streams matchers per query exceeded, matchers-count > limit ({count} > {limit})")]
    TooManyMatchers { count: usize, limit: usize },
    #[error(
        "stream selector is missing required matchers [{}], labels present in the query were [{}]",
        missing.join(", "),
        present.join(", ")
    )]
    MissingMatchers { missing: Vec<String>, present: Vec<String> },
    #[error(
        "the query would read too many bytes (query: {}, limit: {}); consider adding more specific stream selectors or reduce the time range of the query",
        bytes.rounded(),
        limit.rounded()
    )]
    TooManyBytes { bytes: ByteSize, limit: ByteSize },
}

/// Why a text is no number, as Go's strconv tells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{function}: parsing {text:?}: {problem}")]
pub struct NumberError {
    function: &'static str,
    text: String,
    problem: &'static str,
}

fn parse_integer(function: &'static str, text: &str) -> Result<i64, NumberError> {
    text.parse::<i64>().map_err(|_| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let problem = if is_number { "value out of range" } else { "invalid syntax" };
        NumberError { function, text: text.to_owned(), problem }
    })
}

/// A point in time: seconds with a fraction, whole seconds (up to 10 characters), nanoseconds, or RFC 3339.
pub fn parse_time(text: &str) -> Result<i64, NumberError> {
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        let milliseconds = (seconds.fract() * 1000.0).round() as i64;
        return Ok((seconds.trunc() as i64).saturating_mul(SECOND).saturating_add(milliseconds * MILLISECOND));
    }
    match parse_integer("ParseInt", text) {
        Ok(seconds) if text.len() <= 10 => Ok(seconds.saturating_mul(SECOND)),
        Ok(nanoseconds) => Ok(nanoseconds),
        Err(error) => parse_rfc_3339(text).ok_or(error),
    }
}

/// `2026-01-15T10:00:00Z`, with a fraction after `.` or `,` and an offset `+01:00` if wanted.
pub(crate) fn parse_rfc_3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0, |value: i64, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let date = jiff::civil::Date::new(number(0, 4)? as i16, number(5, 7)? as i8, number(8, 10)? as i8).ok()?;
    let time = jiff::civil::Time::new(number(11, 13)? as i8, number(14, 16)? as i8, number(17, 19)? as i8, 0).ok()?;
    let mut zone = 19;
    let mut nanoseconds = 0;
    if is(19, b'.') || is(19, b',') {
        let digits = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        zone = 20 + digits;
        let kept = number(20, 20 + digits.min(9))?;
        nanoseconds = kept * 10_i64.pow(9 - u32::try_from(digits.min(9)).ok()?);
        (digits > 0).then_some(())?;
    }
    let offset = match bytes.get(zone..)? {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
            (hours < 24 && minutes < 60).then_some(())?;
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let local = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some((local - offset).saturating_mul(SECOND).saturating_add(nanoseconds))
}

/// A range of time, `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub start: i64,
    pub end: i64,
}

impl Bounds {
    /// From `start`, `end` and `since`. `end` may come out before `start`: see [`Bounds::checked`].
    pub fn of(form: &Form, now: i64) -> Result<Self, ParameterError> {
        let time = |name: &'static str, default: i64| match form.get(name) {
            "" => Ok(default),
            text => parse_time(text).map_err(|reason| ParameterError::Time { name, reason }),
        };
        let since = match form.get("since") {
            "" => DEFAULT_SINCE,
            text => Span::parse(text).map_err(ParameterError::Since)?,
        };
        let end = time("end", now)?;
        let start = time("start", end.min(now).saturating_sub(since.nanoseconds()))?;
        Ok(Self { start, end })
    }

    /// Refuses a range that ends before it begins.
    pub fn checked(self) -> Result<Self, ParameterError> {
        if self.end < self.start { Err(ParameterError::EndBeforeStart) } else { Ok(self) }
    }

    pub fn length(self) -> i64 {
        self.end.saturating_sub(self.start)
    }

    /// The grid of a metric query: start rounded down, end rounded up to multiples of `step`.
    pub fn aligned(self, step: i64) -> Self {
        let down = |time: i64| time.saturating_sub(time.rem_euclid(step));
        let end = down(self.end);
        Self { start: down(self.start), end: if end == self.end { end } else { end.saturating_add(step) } }
    }

    /// Refuses a range longer than the limit (0: none), in whole milliseconds; `window` is what a metric query reads before `start`.
    pub fn limited(self, window: i64, limit: Span) -> Result<(), ParameterError> {
        let refuse = |length: i64| Err(ParameterError::TooLong { length: GoDuration(length), limit });
        if limit.is_zero() {
            return Ok(());
        }
        let whole = |time: i64| time.saturating_sub(time.rem_euclid(MILLISECOND));
        let length = whole(self.end).saturating_sub(whole(self.start));
        if length > limit.nanoseconds() {
            return refuse(length);
        }
        let with_window = length.saturating_add(window);
        if with_window > limit.nanoseconds() { refuse(with_window) } else { Ok(()) }
    }
}

/// Seconds as a number, or a Prometheus duration; nanoseconds.
fn parse_duration(text: &str) -> Result<i64, ParameterError> {
    if let Some(seconds) = parse_float(text) {
        let nanoseconds = seconds * SECOND as f64;
        if nanoseconds.is_nan() || nanoseconds.abs() > i64::MAX as f64 {
            return Err(ParameterError::DurationOverflow { text: text.to_owned() });
        }
        return Ok(nanoseconds as i64);
    }
    Span::parse(text).map(Span::nanoseconds).map_err(|_| ParameterError::Duration { text: text.to_owned() })
}

/// Decimal numbers and the names of the special ones.
fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The step, in nanoseconds, whole milliseconds; refuses too many points.
pub fn step(form: &Form, bounds: Bounds) -> Result<i64, ParameterError> {
    let step = match form.get("step") {
        "" => (bounds.length() / SECOND / DEFAULT_POINTS).max(1) * SECOND,
        text => parse_duration(text)?,
    };
    let step = step / MILLISECOND * MILLISECOND;
    if step <= 0 {
        return Err(ParameterError::Step);
    }
    if bounds.length() / step > MAX_POINTS {
        return Err(ParameterError::TooManyPoints);
    }
    Ok(step)
}

/// The least distance between two returned entries, in nanoseconds.
pub fn interval(form: &Form) -> Result<i64, ParameterError> {
    match form.get("interval") {
        "" => Ok(0),
        text => match parse_duration(text)? {
            negative if negative < 0 => Err(ParameterError::Interval),
            interval => Ok(interval),
        },
    }
}

/// How many entries are wanted. Loki cuts the number to 32 bits.
pub fn limit(form: &Form) -> Result<u32, ParameterError> {
    positive(form.get("limit"), DEFAULT_LIMIT)
}

/// A number above 0, cut to 32 bits.
pub fn positive(text: &str, default: u32) -> Result<u32, ParameterError> {
    if text.is_empty() {
        return Ok(default);
    }
    let limit = parse_integer("Atoi", text).map_err(ParameterError::LimitText)?;
    match limit as u32 {
        positive if limit > 0 && positive > 0 => Ok(positive),
        _ => Err(ParameterError::Limit),
    }
}

/// A whole number, refused as `limit` is.
pub fn integer(text: &str) -> Result<i64, ParameterError> {
    parse_integer("Atoi", text).map_err(ParameterError::LimitText)
}

pub fn direction(form: &Form) -> Result<Direction, ParameterError> {
    let text = form.get("direction");
    if text.is_empty() || text.eq_ignore_ascii_case("backward") {
        Ok(Direction::Backward)
    } else if text.eq_ignore_ascii_case("forward") {
        Ok(Direction::Forward)
    } else {
        Err(ParameterError::Direction { text: text.to_owned() })
    }
}

/// Nanoseconds; prints as Go prints a duration of a second and more, `799h54m18.7s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration(pub i64);

impl std::fmt::Display for GoDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0 / SECOND;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        let fraction = format!("{:09}", self.0 % SECOND);
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}{dot}{fraction}s", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::HeaderMap;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_252_000 * SECOND;

    fn form(query: &str) -> Form {
        Form::new(&HeaderMap::new(), Some(query), &Bytes::new())
    }

    #[test]
    fn times_are_read_as_loki_reads_them() {
        for (text, expected) in [
            ("1768471200", 1_768_471_200 * SECOND),
            ("1768471200.5", 1_768_471_200 * SECOND + 500 * MILLISECOND),
            ("1768471260.000000001", 1_768_471_260 * SECOND),
            ("1768471200000000001", 1_768_471_200 * SECOND + 1),
            ("1768471200000", 1_768_471_200_000),
            ("-5", -5 * SECOND),
            ("2026-01-15T10:00:00Z", 1_768_471_200 * SECOND),
            ("2026-01-15T10:00:00.000000001Z", 1_768_471_200 * SECOND + 1),
            ("2026-01-15T10:01:00,5Z", 1_768_471_260 * SECOND + 500 * MILLISECOND),
            ("2026-01-15T11:00:00+01:00", 1_768_471_200 * SECOND),
            ("2026-01-15T09:30:00-00:30", 1_768_471_200 * SECOND),
            ("9999-01-01T00:00:00Z", i64::MAX),
        ] {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
        for (text, problem) in [
            ("abc", "invalid syntax"),
            ("1e9", "invalid syntax"),
            ("now-1h", "invalid syntax"),
            ("2026-01-15", "invalid syntax"),
            ("2026-01-15T10:00:00", "invalid syntax"),
            ("2026-13-15T10:00:00Z", "invalid syntax"),
            ("1768471200 ", "invalid syntax"),
            ("99999999999999999999999999", "value out of range"),
        ] {
            assert_eq!(parse_time(text).expect_err(text).to_string(), format!("strconv.ParseInt: parsing \"{text}\": {problem}"));
        }
    }

    #[test]
    fn bounds_have_defaults_and_end_is_read_first() {
        let bounds = |query: &str| Bounds::of(&form(query), NOW).map(|bounds| ((NOW - bounds.start) / SECOND, (NOW - bounds.end) / SECOND));
        assert_eq!(bounds(""), Ok((3600, 0)));
        assert_eq!(bounds("since=90s"), Ok((90, 0)));
        assert_eq!(bounds("end=1795251900&since=0"), Ok((100, 100)));
        assert_eq!(bounds("start=1795251000&since=1d"), Ok((1000, 0)));
        assert_eq!(bounds("end=1795252100"), Ok((3600, -100)), "since counts from now where end is ahead of it");
        for (query, expected) in [
            ("start=abc&end=xyz", "could not parse 'end' parameter: strconv.ParseInt: parsing \"xyz\": invalid syntax"),
            ("start=abc", "could not parse 'start' parameter: strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("since=90", "could not parse 'since' parameter: not a valid duration string: \"90\""),
            ("since=1.5h", "could not parse 'since' parameter: unknown unit \".\" in duration \"1.5h\""),
        ] {
            assert_eq!(Bounds::of(&form(query), NOW).expect_err(query).to_string(), expected);
        }
        let backwards = Bounds { start: 2, end: 1 };
        assert_eq!(backwards.checked(), Err(ParameterError::EndBeforeStart));
    }

    #[test]
    fn steps_are_seconds_or_durations() {
        let half_hour = Bounds { start: 1_768_471_200 * SECOND, end: 1_768_473_000 * SECOND };
        for (query, expected) in [
            ("", Ok(7 * SECOND)),
            ("step=60", Ok(60 * SECOND)),
            ("step=1m", Ok(60 * SECOND)),
            ("step=1e3", Ok(1000 * SECOND)),
            ("step=3600.5", Ok(3_600_500 * MILLISECOND)),
            ("step=250ms", Ok(250 * MILLISECOND)),
            ("step=0", Err("zero or negative query resolution step widths are not accepted. Try a positive integer")),
            ("step=-1", Err("zero or negative query resolution step widths are not accepted. Try a positive integer")),
            ("step=abc", Err("cannot parse \"abc\" to a valid duration")),
            (
                "step=0.1",
                Err("exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter"),
            ),
            ("step=1e30", Err("cannot parse \"1e30\" to a valid duration. It overflows int64")),
        ] {
            assert_eq!(step(&form(query), half_hour).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
        }
        for (query, expected) in [
            ("interval=0.5", Ok(500 * MILLISECOND)),
            ("interval=2m", Ok(120 * SECOND)),
            ("interval=-1", Err("interval must be >= 0")),
            ("interval=-1s", Err("cannot parse \"-1s\" to a valid duration")),
        ] {
            assert_eq!(interval(&form(query)).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
        }
    }

    #[test]
    fn limits_are_cut_to_32_bits() {
        for (query, expected) in [
            ("", Ok(100)),
            ("limit=5001", Ok(5001)),
            ("limit=99999999999", Ok(1_215_752_191)),
            ("limit=0", Err("limit must be a positive value")),
            ("limit=-1", Err("limit must be a positive value")),
            ("limit=4294967296", Err("limit must be a positive value")),
            ("limit=1.5", Err("strconv.Atoi: parsing \"1.5\": invalid syntax")),
        ] {
            assert_eq!(limit(&form(query)).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
        }
    }

    #[test]
    fn directions_ignore_case() {
        for (query, expected) in [
            ("", Ok(Direction::Backward)),
            ("direction=FORWARD", Ok(Direction::Forward)),
            ("direction=Backward", Ok(Direction::Backward)),
            ("direction=sideways", Err("invalid direction 'sideways'")),
        ] {
            assert_eq!(direction(&form(query)).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
        }
    }

    #[test]
    fn metric_ranges_are_aligned_outwards() {
        let aligned = |start: i64, end: i64, step: i64| {
            let bounds = Bounds { start, end }.aligned(step);
            (bounds.start, bounds.end)
        };
        assert_eq!(aligned(1_768_471_200, 1_768_474_800, 700), (1_768_470_900, 1_768_475_100));
        assert_eq!(aligned(480, 490, 10), (480, 490));
        assert_eq!(aligned(-5, 5, 10), (-10, 10));
    }

    #[test]
    fn ranges_that_are_too_long_are_refused_with_their_length() {
        let limit = Span::hours(721);
        let text = |start: i64, end: i64, window: i64| Bounds { start, end }.limited(window, limit).map_err(|error| error.to_string());
        assert_eq!(text(0, 721 * 3600 * SECOND, 0), Ok(()));
        assert_eq!(
            text(-SECOND, 1_768_471_201 * SECOND, 0),
            Err("the query time range exceeds the limit (query length: 491242h0m2s, limit: 30d1h)".to_owned())
        );
        assert_eq!(
            text(1_768_471_200_000, 1_768_474_800 * SECOND, 0),
            Err("the query time range exceeds the limit (query length: 491242h30m31.529s, limit: 30d1h)".to_owned())
        );
        assert_eq!(
            text(0, 3600 * SECOND, 721 * 3600 * SECOND),
            Err("the query time range exceeds the limit (query length: 722h0m0s, limit: 30d1h)".to_owned())
        );
        assert_eq!(GoDuration(799 * 3600 * SECOND + 54 * 60 * SECOND + 18 * SECOND + 700 * MILLISECOND).to_string(), "799h54m18.7s");
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "[-0-9T:.Z+,a ]{0,30}") {
            drop(parse_time(&text));
        }

        #[test]
        fn rfc_3339_is_read_as_jiff_reads_it(nanoseconds in any::<i64>()) {
            let timestamp = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).expect("in range");
            prop_assert_eq!(parse_rfc_3339(&timestamp.to_string()), Some(nanoseconds));
        }
    }
}
