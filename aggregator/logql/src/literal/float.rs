//! Floating point numbers in Go's syntax: decimal and hexadecimal, `_` between digits, `Inf`, `NaN`.

use super::go_quote;

/// Why a text is no number. `Display` is Go's wording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FloatError {
    #[error("strconv.ParseFloat: parsing {}: invalid syntax", go_quote(.0))]
    Syntax(String),
    #[error("strconv.ParseFloat: parsing {}: value out of range", go_quote(.0))]
    Range(String),
}

/// Reads a number as Go's `strconv.ParseFloat(text, 64)` does: no blanks, no thousands separators.
pub fn parse_go_float(text: &str) -> Result<f64, FloatError> {
    if is_plain(text)
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if let Some(special) = special_value(unsigned) {
        return Ok(sign * special);
    }
    let syntax = || FloatError::Syntax(text.to_owned());
    if unsigned.contains('_') && !underscores_separate_digits(unsigned) {
        return Err(syntax());
    }
    let digits = unsigned.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    let value = match lower.strip_prefix("0x") {
        Some(hexadecimal) => parse_hexadecimal(hexadecimal).ok_or_else(syntax)?,
        None if is_decimal(&lower) => lower.parse::<f64>().map_err(|_| syntax())?,
        None => return Err(syntax()),
    };
    if value.is_infinite() {
        return Err(FloatError::Range(text.to_owned()));
    }
    Ok(sign * value)
}

/// The shortest decimal digits that read back as `value`, never with an exponent.
pub fn format_go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Rust's `{}` never uses an exponent and prints the shortest digits that read back.
    format!("{value}")
}

/// Digits and points, few enough that they cannot be out of range: read without copies.
fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    digits.len() < 20 && digits.first().is_some_and(u8::is_ascii_digit) && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

fn special_value(unsigned: &str) -> Option<f64> {
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(f64::INFINITY);
    }
    unsigned.eq_ignore_ascii_case("nan").then_some(f64::NAN)
}

/// `_` stands between two digits, or between a base prefix and a digit.
fn underscores_separate_digits(unsigned: &str) -> bool {
    let bytes = unsigned.as_bytes();
    let has_prefix = bytes.len() >= 2 && bytes[0] == b'0' && matches!(bytes[1] | 0x20, b'b' | b'o' | b'x');
    let hexadecimal = has_prefix && bytes[1] | 0x20 == b'x';
    let (mut previous, rest) = if has_prefix { (b'0', &bytes[2..]) } else { (b'^', bytes) };
    for &byte in rest {
        let is_digit = byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit());
        let class = if is_digit {
            b'0'
        } else if byte == b'_' {
            b'_'
        } else {
            b'!'
        };
        if (class == b'_' && previous != b'0') || (class == b'!' && previous == b'_') {
            return false;
        }
        previous = class;
    }
    previous != b'_'
}

/// Digits with at most one point and an optional exponent; at least one digit in each part that is there.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| signed_digits(exponent).is_some())
}

/// An exponent, cut to a size beyond which every value is zero or infinite anyway.
fn signed_digits(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse::<i32>().unwrap_or(i32::MAX).min(100_000);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// `1.8p3` after `0x`; the exponent is required.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let mut exponent = signed_digits(exponent)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    let mut inexact = false;
    for (index, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = u64::from(char::from(byte).to_digit(16)?);
        let in_fraction = index >= whole.len();
        if value >> 59 == 0 {
            value = value << 4 | digit;
            exponent = exponent.saturating_sub(if in_fraction { 4 } else { 0 });
        } else {
            inexact |= digit != 0;
            exponent = exponent.saturating_add(if in_fraction { 0 } else { 4 });
        }
    }
    // The lost digits only matter for ties: a sticky lowest bit decides them.
    let rounded = (value | u64::from(inexact)) as f64;
    let half = exponent / 2;
    Some(rounded * 2f64.powi(half) * 2f64.powi(exponent - half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_go_accepts() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("1_000", 1000.0),
            ("007", 7.0),
            ("0x1p4", 16.0),
            ("0x1.8p1", 3.0),
            ("0x_1p0", 1.0),
            ("-Inf", f64::NEG_INFINITY),
            ("infinity", f64::INFINITY),
            ("1e-400", 0.0),
            ("0XAp0", 10.0),
        ] {
            assert_eq!(parse_go_float(text), Ok(value), "{text}");
        }
        assert!(parse_go_float("nAn").expect("NaN is a number").is_nan());
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", " 3 ", "1,000", "0x1F", "1__0", "_1", "1_", "1e", "1e+", ".", "e5", "0b1", "--1", "1_.5", "1f", "infin", "٣"] {
            let error = parse_go_float(text).expect_err(text);
            assert_eq!(error.to_string(), format!("strconv.ParseFloat: parsing {}: invalid syntax", go_quote(text)));
        }
        let error = parse_go_float("1e400").expect_err("too big");
        assert_eq!(error.to_string(), "strconv.ParseFloat: parsing \"1e400\": value out of range");
    }

    #[test]
    fn prints_without_exponent() {
        assert_eq!(format_go_float(7.0), "7");
        assert_eq!(format_go_float(1e21), "1000000000000000000000");
        assert_eq!(format_go_float(1e-7), "0.0000001");
        assert_eq!(format_go_float(f64::NEG_INFINITY), "-Inf");
    }
}
