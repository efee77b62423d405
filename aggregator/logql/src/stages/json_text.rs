//! JSON as bytes: where values end, and what escaped strings say. Lenient as the reference's parser is: only what
//! has to be understood is checked.

use memchr::{memchr2, memchr3};

use super::eight_bytes;

/// Index of the first byte at or after `at` that is no JSON white space.
pub(crate) fn skip_blanks(text: &[u8], mut at: usize) -> Option<usize> {
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            _ => return Some(at),
        }
    }
    None
}

/// Bytes of a string that are looked at before a search is called.
const SHORT_STRING: usize = 32;

/// The end of a string whose first character is at `start`: the index of its closing quote, and whether it holds
/// escapes.
pub(crate) fn string_end(text: &[u8], start: usize) -> Option<(usize, bool)> {
    let short = &text[..text.len().min(start + SHORT_STRING)];
    let quote_or_escape = |bytes| eight_bytes::equal(bytes, b'"') | eight_bytes::equal(bytes, b'\\');
    let (Ok(mut at) | Err(mut at)) = eight_bytes::find(short, start, quote_or_escape);
    let mut is_escaped = false;
    loop {
        match text.get(at)? {
            b'"' => return Some((at, is_escaped)),
            b'\\' => {
                is_escaped = true;
                at += 2;
            }
            _ => {}
        }
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
    }
}

/// The end (behind the closing bracket) of an array or object that opens at `start`.
pub(crate) fn block_end(text: &[u8], start: usize) -> Option<usize> {
    let open = text[start];
    let close = if open == b'[' { b']' } else { b'}' };
    let mut depth = 0usize;
    let mut at = start;
    loop {
        at += memchr3(b'"', open, close, text.get(at..)?)?;
        match text[at] {
            b'"' => at = string_end(text, at + 1)?.0,
            byte if byte == open => depth += 1,
            _ => depth -= 1,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The end of a number, `true`, `false`, `null` or of anything else that is no string, array or object.
pub(crate) fn token_end(text: &[u8], start: usize) -> usize {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']');
    let may_be_end = |bytes| {
        let brackets = eight_bytes::equal(bytes, b'}') | eight_bytes::equal(bytes, b']');
        eight_bytes::below(bytes, b' ' + 1) | eight_bytes::equal(bytes, b',') | brackets
    };
    // Of control characters, some are no end; they are rare.
    let (Ok(at) | Err(at)) = eight_bytes::find(text, start, may_be_end);
    text[at..].iter().position(is_end).map_or(text.len(), |length| at + length)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String { is_escaped: bool },
    Number,
    Boolean,
    Null,
    Array,
    Object,
}

/// A value: of strings what is between the quotes, else the source text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where the text goes on.
    pub(crate) after: usize,
}

/// Why a text is no JSON; displayed in the reference's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("Malformed JSON error")]
    Malformed,
    #[error("Value is string, but can't find closing '\"' symbol")]
    String,
    #[error("Value is array, but can't find closing ']' symbol")]
    Array,
    #[error("Value looks like object, but can't find closing '}}' symbol")]
    Object,
    #[error("Unknown value type")]
    Unknown,
    #[error("Encountered an invalid escape sequence in a string")]
    Escape,
}

/// The value that begins at `start`, which is no blank.
// Inlined, so that values stay in registers: through memory, they cost as much as all else in an object together.
#[inline(always)]
pub(crate) fn value_at(text: &[u8], start: usize) -> Result<Value, JsonError> {
    match text[start] {
        b'"' => {
            let (end, is_escaped) = string_end(text, start + 1).ok_or(JsonError::String)?;
            Ok(Value { kind: Kind::String { is_escaped }, start: start + 1, end, after: end + 1 })
        }
        b'[' => block(text, start, Kind::Array).ok_or(JsonError::Array),
        b'{' => block(text, start, Kind::Object).ok_or(JsonError::Object),
        _ => scalar_at(text, start),
    }
}

fn block(text: &[u8], start: usize, kind: Kind) -> Option<Value> {
    let end = block_end(text, start)?;
    Some(Value { kind, start, end, after: end })
}

#[inline(always)]
fn scalar_at(text: &[u8], start: usize) -> Result<Value, JsonError> {
    let end = token_end(text, start);
    let kind = match &text[start..end] {
        b"true" | b"false" => Kind::Boolean,
        b"null" => Kind::Null,
        [b'0'..=b'9' | b'-', ..] => Kind::Number,
        _ => return Err(JsonError::Unknown),
    };
    Ok(Value { kind, start, end, after: end })
}

/// Appends the text of an escaped string. On a broken escape, what was appended is taken back.
pub(crate) fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let before = out.len();
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        match escape_at(&text[at..]) {
            Some((character, length)) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                text = &text[at + length..];
            }
            None => {
                out.truncate(before);
                return Err(JsonError::Escape);
            }
        }
    }
    out.extend_from_slice(text);
    Ok(())
}

/// The character an escape stands for, and the length of the escape.
fn escape_at(text: &[u8]) -> Option<(char, usize)> {
    let simple = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape_at(text),
        _ => return None,
    };
    Some((simple, 2))
}

fn unicode_escape_at(text: &[u8]) -> Option<(char, usize)> {
    let unit = hexadecimal_unit(text)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((character, 6));
    }
    let low = hexadecimal_unit(text.get(6..)?)?;
    let is_pair = (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(&low);
    let code = 0x1_0000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
    char::from_u32(code).filter(|_| is_pair).map(|character| (character, 12))
}

/// The four digits of `\uXXXX`.
pub(crate) fn hexadecimal_unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unescaped(text: &str) -> Option<String> {
        let mut out = b"kept".to_vec();
        let result = unescape(text.as_bytes(), &mut out);
        assert!(out.starts_with(b"kept") && (result.is_ok() || out == b"kept"));
        result.ok().map(|()| String::from_utf8(out[4..].to_vec()).unwrap())
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(unescaped(r#"x\ny\u00e9\t\"q\"\/\\"#).as_deref(), Some("x\nyé\t\"q\"/\\"));
        assert_eq!(unescaped(r"\ud83d\ude00!").as_deref(), Some("😀!"));
        for broken in [r"\x", r"\u12", r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\ude00", "\\"] {
            assert_eq!(unescaped(broken), None, "{broken}");
        }
    }

    #[test]
    fn blocks_end_at_their_own_bracket() {
        let text = br#"{"a":"}\"","b":{"c":[1]}} tail"#;
        assert_eq!(block_end(text, 0), Some(text.len() - 5));
        assert_eq!(block_end(br#"[1,"]",[2]]x"#, 0), Some(11));
        assert_eq!(block_end(b"{{}", 0), None);
        assert_eq!(block_end(br#"{"a"#, 0), None);
    }

    #[test]
    fn scalars_are_told_apart() {
        for (text, kind) in [("true,", Kind::Boolean), ("null}", Kind::Null), ("-1e3 ", Kind::Number)] {
            assert_eq!(value_at(text.as_bytes(), 0).unwrap().kind, kind);
        }
        for text in ["tru", "nul", "x", "'a'", "+1"] {
            assert_eq!(value_at(text.as_bytes(), 0).unwrap_err(), JsonError::Unknown);
        }
    }
}
