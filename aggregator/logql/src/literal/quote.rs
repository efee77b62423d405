//! Go's quoted strings, as `%q` prints them and as `"…"` and `` `…` `` are written in queries.

use std::fmt::Write;

/// Quotes as Go's `%q`: printable characters stay, the rest becomes an escape.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_escaped(&mut quoted, c);
    }
    quoted.push('"');
    quoted
}

/// The value of a literal with its quotes: `"…"` with escapes, or `` `…` `` taken as it is. `None` if it is not
/// one or its bytes are no UTF-8.
pub fn go_unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        return raw.strip_suffix('`').filter(|raw| !raw.contains('`')).map(str::to_owned);
    }
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\n' => return None,
            '\\' => rest = push_unescaped(&mut value, rest)?,
            _ => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(value).ok()
}

fn push_escaped(quoted: &mut String, c: char) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => "",
    };
    if !short.is_empty() {
        quoted.push_str(short);
    } else if is_printable(c) {
        quoted.push(c);
    } else {
        let code = u32::from(c);
        let written = match code {
            0..0x80 => write!(quoted, "\\x{code:02x}"),
            0x80..0x1_0000 => write!(quoted, "\\u{code:04x}"),
            _ => write!(quoted, "\\U{code:08x}"),
        };
        written.expect("writing to a string cannot fail");
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // `escape_debug` of a string escapes exactly the unprintable ones, except that a leading mark is escaped
    // too: a letter in front avoids that.
    let mut pair = String::from("a");
    pair.push(c);
    pair.escape_debug().nth(1) == Some(c)
}

/// Appends what the escape at the start of `rest` (after the backslash) stands for; returns the text after it.
fn push_unescaped<'a>(value: &mut Vec<u8>, rest: &'a str) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let after = &rest[c.len_utf8()..];
    let byte = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' => c as u8,
        '0'..='7' => {
            value.push(u8::try_from(digits(rest, 3, 8)?).ok()?);
            return Some(&rest[3..]);
        }
        'x' => {
            value.push(u8::try_from(digits(after, 2, 16)?).ok()?);
            return Some(&after[2..]);
        }
        'u' | 'U' => {
            let width = if c == 'u' { 4 } else { 8 };
            let code = char::from_u32(digits(after, width, 16)?)?;
            value.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(&after[width..]);
        }
        _ => return None,
    };
    value.push(byte);
    Some(after)
}

fn digits(text: &str, width: usize, base: u32) -> Option<u32> {
    let digits = text.get(..width)?;
    if !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    u32::from_str_radix(digits, base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_as_go_does() {
        for (text, quoted) in [
            ("a\"b", r#""a\"b""#),
            ("é", "\"é\""),
            ("x\\y", r#""x\\y""#),
            ("\u{7}\t\0\u{7f}", r#""\a\t\x00\x7f""#),
            ("\u{a0}\u{feff}", r#""\u00a0\ufeff""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("e\u{301}", "\"e\u{301}\""),
        ] {
            assert_eq!(go_quote(text), quoted);
        }
    }

    #[test]
    fn unquotes_every_escape() {
        assert_eq!(go_unquote(r#""\a\b\f\n\r\t\v\\\"\101\x41\u00e9\U0001F600""#).as_deref(), Some("\x07\x08\x0c\n\r\t\x0b\\\"AAé😀"));
        assert_eq!(go_unquote("`a\"\\n`").as_deref(), Some("a\"\\n"));
        for bad in [r#""\q""#, r#""\xff""#, r#""\400""#, r#""\ud800""#, r#""\u12""#, "\"", "a", r#""a"b""#, "`a`b`"] {
            assert_eq!(go_unquote(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn unquote_reverses_quote(text in any::<String>()) {
            prop_assert_eq!(go_unquote(&go_quote(&text)), Some(text));
        }

        #[test]
        fn unquote_never_panics(text in any::<String>()) {
            drop(go_unquote(&text));
            drop(go_unquote(&format!("\"{text}\"")));
        }
    }
}
