//! Numbers as Go's programs read them: constants of templates, and texts that functions take for numbers.

use super::tree::Number;
use crate::literal::{go_quote, go_unquote, parse_go_float};

/// A number or a character constant; `Err` is the message.
pub(super) fn constant(text: &str, is_character: bool) -> Result<Number, String> {
    if is_character {
        let code = character(text).ok_or_else(|| format!("malformed character constant: {text}"))?;
        let code = i64::from(u32::from(code));
        return Ok(Number { text: text.into(), integer: Some(code), float: Some(code as f64), is_written_as_float: false });
    }
    let is_hexadecimal = text.trim_start_matches(['+', '-']).get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    let is_written_as_float = text.contains(['.', 'p', 'P']) || (!is_hexadecimal && text.contains(['e', 'E']));
    if let Some(integer) = integer(text) {
        return Ok(Number { text: text.into(), integer: Some(integer), float: Some(integer as f64), is_written_as_float });
    }
    let float = parse_go_float(text).map_err(|_| format!("illegal number syntax: {}", go_quote(text)))?;
    if !is_written_as_float {
        return Err(format!("integer overflow: {}", go_quote(text)));
    }
    let is_whole = float.fract() == 0.0 && float.abs() < i64::MAX as f64;
    Ok(Number { text: text.into(), integer: is_whole.then_some(float as i64), float: Some(float), is_written_as_float })
}

/// The character of `'x'` with Go's escapes.
fn character(literal: &str) -> Option<char> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let text = match inner {
        r"\'" => "'".to_owned(),
        "\"" => inner.to_owned(),
        _ => go_unquote(&format!("\"{inner}\""))?,
    };
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// A whole number with its base in front (`0x`, `0o`, `0b`, a leading zero) and `_` between digits.
pub(super) fn integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bytes = unsigned.as_bytes();
    let (base, digits) = match bytes {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    // A `_` may stand behind the prefix, even behind the leading zero of an octal number, and between digits.
    let plain: String = digits.split('_').collect();
    let has_prefix = base != 10;
    let is_separated = digits.split('_').enumerate().all(|(index, part)| !part.is_empty() || (index == 0 && has_prefix));
    if plain.is_empty() || !is_separated || !plain.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{plain}"), base).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_bases() {
        for (text, value) in [
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("+7", Some(7)),
            ("0x1F", Some(31)),
            ("010", Some(8)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("0x_1", Some(1)),
            ("0", Some(0)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("09", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("9223372036854775808", None),
            ("7.5", None),
            (" 7", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn constants_are_ideal() {
        let number = constant("1.5e3", false).unwrap();
        assert_eq!((number.integer, number.float, number.is_written_as_float), (Some(1500), Some(1500.0), true));
        let number = constant("0x1e", false).unwrap();
        assert_eq!((number.integer, number.is_written_as_float), (Some(30), false));
        assert_eq!(constant("'a'", true).unwrap().integer, Some(97));
        assert_eq!(constant(r"'\n'", true).unwrap().integer, Some(10));
        assert_eq!(constant(r"'\''", true).unwrap().integer, Some(39));
        assert_eq!(constant("'ab'", true).unwrap_err(), "malformed character constant: 'ab'");
        assert_eq!(constant("9223372036854775808", false).unwrap_err(), "integer overflow: \"9223372036854775808\"");
        assert_eq!(constant("1_", false).unwrap_err(), "illegal number syntax: \"1_\"");
    }
}
