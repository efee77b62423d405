//! Escapes that stand for one character, and how characters are written for Rust.

use super::{RegexError, RegexErrorKind};
use std::fmt::Write;

/// The character an escape at the start of `text` (a backslash) stands for, and the text after it.
pub(super) fn character(text: &str) -> Result<(char, &str), RegexError> {
    let after = &text[1..];
    let Some(c) = after.chars().next() else {
        return Err(RegexErrorKind::TrailingBackslash.at(""));
    };
    let rest = &after[c.len_utf8()..];
    let plain = match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '1'..='7' if !rest.starts_with(|next: char| ('0'..='7').contains(&next)) => return invalid(text, rest),
        '0'..='7' => return Ok(octal(after)),
        'x' => return hexadecimal(text, rest),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return invalid(text, rest),
    };
    Ok((plain, rest))
}

/// Up to three octal digits.
fn octal(digits: &str) -> (char, &str) {
    let length = digits.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let code = digits[..length].bytes().fold(0, |code, digit| code * 8 + u32::from(digit - b'0'));
    (char::from_u32(code).unwrap_or('\0'), &digits[length..])
}

/// `\x41` or `\x{41}`; `digits` is the text after the `x`.
fn hexadecimal<'a>(text: &'a str, digits: &'a str) -> Result<(char, &'a str), RegexError> {
    let mut code: u32 = 0;
    let mut count = 0;
    let braced = digits.strip_prefix('{');
    let mut rest = braced.unwrap_or(digits);
    loop {
        let Some(c) = rest.chars().next() else { return invalid(text, rest) };
        rest = &rest[c.len_utf8()..];
        if braced.is_some() && c == '}' && count > 0 {
            break;
        }
        let Some(digit) = c.to_digit(16) else { return invalid(text, rest) };
        code = code * 16 + digit;
        count += 1;
        if code > u32::from(char::MAX) {
            return invalid(text, rest);
        }
        if braced.is_none() && count == 2 {
            break;
        }
    }
    // Half of a surrogate pair matches nothing but what Go reads for broken bytes.
    Ok((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

fn invalid<T>(text: &str, rest: &str) -> Result<T, RegexError> {
    Err(RegexErrorKind::InvalidEscape.at(&text[..text.len() - rest.len()]))
}

/// Writes a character so that Rust takes it literally, inside and outside of classes.
pub(super) fn push_literal(out: &mut String, c: char) {
    if c.is_alphanumeric() || (!c.is_ascii() && !c.is_control()) {
        out.push(c);
    } else {
        write!(out, "\\x{{{:X}}}", u32::from(c)).expect("writing to a string cannot fail");
    }
}
