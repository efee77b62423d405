//! Byte sizes: SI (powers of 1000) and IEC (powers of 1024) units, any case.

use super::FloatError;
use super::float::parse_go_float;

/// Why a text is no size. `Display` is the wording of the Go library Loki's users know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error(transparent)]
    Number(#[from] FloatError),
    #[error("unhandled size name: {0}")]
    Unit(String),
    #[error("too large: {0}")]
    TooLarge(String),
}

const SI_UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Reads `42`, `1.5MiB`, `10 kb`, `1,000B`: a number, blanks, a unit in any case. Fractions of a byte are cut.
pub fn parse_bytes_size(text: &str) -> Result<u64, SizeError> {
    let end = text.find(|c: char| !(c.is_numeric() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let value = parse_go_float(&number.replace(',', ""))?;
    let unit = unit.trim().to_lowercase();
    let factor = unit_factor(&unit).ok_or(SizeError::Unit(unit))?;
    let bytes = value * factor;
    if bytes >= u64::MAX as f64 {
        return Err(SizeError::TooLarge(text.to_owned()));
    }
    Ok(bytes as u64)
}

/// `5.0MB`, `82kB`: two significant digits, no blank. Loses precision; see the printer for exact forms.
pub fn format_bytes_size(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let mut exponent = 0;
    let mut scale = 1.0;
    while exponent + 1 < SI_UNITS.len() && bytes as f64 >= scale * 1000.0 {
        scale *= 1000.0;
        exponent += 1;
    }
    let value = (bytes as f64 / scale * 10.0 + 0.5).floor() / 10.0;
    let unit = SI_UNITS[exponent];
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

fn unit_factor(lower: &str) -> Option<f64> {
    let lower = lower.strip_suffix('b').unwrap_or(lower);
    let mut letters = lower.chars();
    let Some(prefix) = letters.next() else { return Some(1.0) };
    let power = i32::try_from("kmgtpe".find(prefix)?).ok()? + 1;
    match letters.as_str() {
        "" => Some(1000f64.powi(power)),
        "i" => Some(1024f64.powi(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_in_any_case() {
        for (text, bytes) in [
            ("0", 0),
            ("42", 42),
            ("42B", 42),
            ("1kB", 1000),
            ("1KB", 1000),
            ("1k", 1000),
            ("1Ki", 1024),
            ("4KiB", 4096),
            ("1.5 MiB", 1_572_864),
            ("10gb", 10_000_000_000),
            ("1,000", 1000),
            ("2PiB", 2 << 50),
            ("1eb", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(parse_bytes_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(parse_bytes_size("job failed").expect_err("no digits").to_string(), "strconv.ParseFloat: parsing \"\": invalid syntax");
        assert_eq!(parse_bytes_size("5 ms").expect_err("unit").to_string(), "unhandled size name: ms");
        assert_eq!(parse_bytes_size("99999EB").expect_err("size").to_string(), "too large: 99999EB");
    }

    #[test]
    fn prints_two_significant_digits() {
        for (bytes, text) in
            [(0, "0B"), (9, "9B"), (10, "10B"), (5_000_000, "5.0MB"), (82_854_982, "83MB"), (1000, "1.0kB"), (u64::MAX, "18EB")]
        {
            assert_eq!(format_bytes_size(bytes), text);
        }
    }
}
