//! Durations: Prometheus' (`1d2h`, descending whole units) and Go's (`1.5h`, `-300ms`). Nanoseconds in `i64`.

use super::go_quote;

/// Why a text is no duration. `Display` is the wording of the respective library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {}", go_quote(.0))]
    Invalid(String),
    #[error("unknown unit {} in duration {}", go_quote(.unit), go_quote(.text))]
    UnknownUnit { unit: String, text: String },
    #[error("duration out of range")]
    OutOfRange,
    #[error("time: invalid duration {}", quoted_bytes(.0))]
    GoInvalid(String),
    #[error("time: missing unit in duration {}", quoted_bytes(.0))]
    GoMissingUnit(String),
    #[error("time: unknown unit {} in duration {}", quoted_bytes(.unit), quoted_bytes(.text))]
    GoUnknownUnit { unit: String, text: String },
}

/// In quotes as Go's clock library has it: all but printable ASCII as bytes.
fn quoted_bytes(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=0x7f => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

const MILLISECOND: u64 = 1_000_000;
/// Descending; a unit may follow only larger ones. `true`: printed only when it divides the rest exactly.
const PROMETHEUS_UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000 * MILLISECOND, true),
    ("w", 7 * 86_400_000 * MILLISECOND, true),
    ("d", 86_400_000 * MILLISECOND, false),
    ("h", 3_600_000 * MILLISECOND, false),
    ("m", 60_000 * MILLISECOND, false),
    ("s", 1_000 * MILLISECOND, false),
    ("ms", MILLISECOND, false),
];

/// Reads `5m`, `1d2h`, `0`: whole numbers, units from large to small, each once.
pub fn parse_prometheus_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut allowed = &PROMETHEUS_UNITS[..];
    while !rest.is_empty() {
        let (digits, after) = split_while(rest, |c| c.is_ascii_digit());
        let (name, after) = split_while(after, |c| !c.is_ascii_digit());
        if digits.is_empty() || name.is_empty() {
            return Err(invalid());
        }
        let count: u64 = digits.parse().map_err(|_| invalid())?;
        if !PROMETHEUS_UNITS.iter().any(|unit| unit.0 == name) {
            return Err(DurationError::UnknownUnit { unit: name.to_owned(), text: text.to_owned() });
        }
        let index = allowed.iter().position(|unit| unit.0 == name).ok_or_else(invalid)?;
        total = count
            .checked_mul(allowed[index].1)
            .and_then(|nanoseconds| total.checked_add(nanoseconds))
            .filter(|&total| total <= i64::MAX as u64)
            .ok_or(DurationError::OutOfRange)?;
        allowed = &allowed[index + 1..];
        rest = after;
    }
    i64::try_from(total).map_err(|_| DurationError::OutOfRange)
}

/// Prints whole milliseconds as Prometheus does (`1h30m`, `1w`, `0s`); the rest below a millisecond is cut.
pub fn format_prometheus_duration(nanoseconds: i64) -> String {
    let mut rest = nanoseconds.unsigned_abs() / MILLISECOND * MILLISECOND;
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut printed = if nanoseconds < 0 { "-".to_owned() } else { String::new() };
    for (name, size, only_exact) in PROMETHEUS_UNITS {
        if rest < size || (only_exact && !rest.is_multiple_of(size)) {
            continue;
        }
        printed.push_str(&format!("{}{name}", rest / size));
        rest %= size;
    }
    printed
}

/// Reads `1h2m3.5s`, `-300ms`, `2us`, `0`: Go's units from hours to nanoseconds, in any order, with fractions.
pub fn parse_go_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::GoInvalid(text.to_owned());
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_while(rest, |c| c.is_ascii_digit());
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_while(after, |c| c.is_ascii_digit()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        // Numbers too large for any unit are refused before the unit is looked at.
        let count = if whole.is_empty() { Ok(0) } else { whole.parse::<u64>() };
        let count = count.ok().filter(|&count| count <= 1 << 63).ok_or_else(invalid)?;
        let (name, after) = split_while(after, |c| c != '.' && !c.is_ascii_digit());
        if name.is_empty() {
            return Err(DurationError::GoMissingUnit(text.to_owned()));
        }
        let unit = go_unit(name).ok_or_else(|| DurationError::GoUnknownUnit { unit: name.to_owned(), text: text.to_owned() })?;
        total = count
            .checked_mul(unit)
            .and_then(|part| part.checked_add(fraction_of(fraction, unit)))
            .and_then(|part| total.checked_add(part))
            .filter(|&total| total <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        // 2^63 itself is the one magnitude that only fits with the sign.
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// Prints as Go does: `5m0s`, `1.5s`, `300ms`, `2µs`, `0s`.
pub fn format_go_duration(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let printed = match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{magnitude}ns"),
        1_000..1_000_000 => format!("{}µs", with_fraction(magnitude, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", with_fraction(magnitude, 1_000_000)),
        _ => {
            let minutes = magnitude / 60_000_000_000;
            let seconds = with_fraction(magnitude % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{printed}")
}

fn split_while(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !accept(c)).unwrap_or(text.len()))
}

fn go_unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `digits` as a fraction of `unit`, cut to whole nanoseconds.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1.0f64;
    for byte in digits.bytes() {
        // Further digits are below a nanosecond of the largest unit.
        if value >= (1 << 63) / 10 {
            break;
        }
        value = value * 10 + u64::from(byte - b'0');
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn with_fraction(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { (value / unit).to_string() } else { format!("{}.{fraction}", value / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn refused_texts_are_quoted_by_bytes() {
        for (text, expected) in [
            ("é\t", r#"time: invalid duration "\xc3\xa9\x09""#),
            ("a\"\\\u{7f}", "time: invalid duration \"a\\\"\\\\\u{7f}\""),
            ("1\tB", r#"time: unknown unit "\x09B" in duration "1\x09B""#),
        ] {
            assert_eq!(parse_go_duration(text).expect_err("no duration").to_string(), expected);
        }
    }

    #[test]
    fn prometheus_durations_read() {
        for (text, value) in [
            ("5m", 300 * SECOND),
            ("1h30m", 5400 * SECOND),
            ("1d2h", 93_600 * SECOND),
            ("1w", 604_800 * SECOND),
            ("1y", 31_536_000 * SECOND),
            ("100ms", SECOND / 10),
            ("0", 0),
            ("0s", 0),
            ("90s", 90 * SECOND),
        ] {
            assert_eq!(parse_prometheus_duration(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn prometheus_errors_name_the_unit() {
        for (text, message) in [
            ("", "empty duration string"),
            ("90", "not a valid duration string: \"90\""),
            ("-5m", "not a valid duration string: \"-5m\""),
            ("m", "not a valid duration string: \"m\""),
            ("5m5", "not a valid duration string: \"5m5\""),
            ("5m1h", "not a valid duration string: \"5m1h\""),
            ("5m5m", "not a valid duration string: \"5m5m\""),
            ("1.5h", "unknown unit \".\" in duration \"1.5h\""),
            ("5m:1m", "unknown unit \"m:\" in duration \"5m:1m\""),
            ("1ns", "unknown unit \"ns\" in duration \"1ns\""),
            ("300y", "duration out of range"),
        ] {
            assert_eq!(parse_prometheus_duration(text).expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn prometheus_durations_print() {
        for (text, printed) in
            [("60s", "1m"), ("90m", "1h30m"), ("7d", "1w"), ("8d", "8d"), ("365d", "1y"), ("1500ms", "1s500ms"), ("0s", "0s")]
        {
            let value = parse_prometheus_duration(text).expect(text);
            assert_eq!(format_prometheus_duration(value), printed);
        }
    }

    #[test]
    fn go_durations_read_and_print() {
        for (text, value, printed) in [
            ("5m", 300 * SECOND, "5m0s"),
            ("1.5h", 5400 * SECOND, "1h30m0s"),
            ("-1h", -3600 * SECOND, "-1h0m0s"),
            ("2us", 2000, "2µs"),
            ("1500ns", 1500, "1.5µs"),
            ("3.25ms", 3_250_000, "3.25ms"),
            ("1h2m3.5s", 3723 * SECOND + SECOND / 2, "1h2m3.5s"),
            ("0", 0, "0s"),
            ("-0", 0, "0s"),
            (".5s", SECOND / 2, "500ms"),
            ("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(parse_go_duration(text), Ok(value), "{text}");
            assert_eq!(format_go_duration(value), printed);
        }
    }

    #[test]
    fn go_errors_as_go_words_them() {
        for (text, message) in [
            ("", "time: invalid duration \"\""),
            ("abc", "time: invalid duration \"abc\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("12345678901234567890", "time: invalid duration \"12345678901234567890\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
        ] {
            assert_eq!(parse_go_duration(text).expect_err(text).to_string(), message);
        }
    }
}
