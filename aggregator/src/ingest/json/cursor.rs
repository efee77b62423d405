//! Steps through JSON text where it lies: strings are bytes (an invalid one must not refuse a push), nothing is built.
//!
//! Depth is bounded by [`MAX_DEPTH`] where values are skipped, and by the callers' own structure elsewhere.

use std::borrow::Cow;
use std::fmt;

/// Nesting that is skipped without complaint.
const MAX_DEPTH: usize = 512;

/// The text is not the JSON that is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Nothing was sent.
    #[error("EOF")]
    Empty,
    #[error("loghttp.PushRequest: expect {expected}, but found {found}, {place}")]
    Unexpected { expected: &'static str, found: String, place: Place },
    #[error("loghttp.PushRequest: expect {expected}, but found the end, {place}")]
    Cut { expected: &'static str, place: Place },
}

/// Where in the text, with what stands around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where in `near`.
    offset: usize,
    near: String,
    wide: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error found in #{} byte of ...|{}|..., bigger context ...|{}|...", self.offset, self.near, self.wide)
    }
}

impl Place {
    fn new(text: &[u8], at: usize) -> Self {
        let around = |reach: usize| {
            let (start, end) = (at.saturating_sub(reach), text.len().min(at + reach));
            String::from_utf8_lossy(&text[start..end]).into_owned()
        };
        const NEAR: usize = 10;
        const WIDE: usize = 50;
        Self { offset: at.min(NEAR), near: around(NEAR), wide: around(WIDE) }
    }
}

#[derive(Debug, Clone)]
pub(in crate::ingest) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(in crate::ingest) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no white space, left where it is.
    pub(in crate::ingest) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    pub(in crate::ingest) fn unexpected(&mut self, expected: &'static str) -> JsonError {
        match self.peek() {
            None => self.cut(expected),
            Some(found) => {
                let place = Place::new(self.text, self.at);
                JsonError::Unexpected { expected, found: found.escape_ascii().to_string(), place }
            }
        }
    }

    fn cut(&self, expected: &'static str) -> JsonError {
        JsonError::Cut { expected, place: Place::new(self.text, self.text.len()) }
    }

    pub(in crate::ingest) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `null` if it comes next.
    pub(in crate::ingest) fn take_null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n') && self.text[self.at..].starts_with(b"null");
        if is_null {
            self.at += 4;
        }
        is_null
    }

    /// After an element: `true` if another follows, `false` if `close` ends the list.
    pub(in crate::ingest) fn another(&mut self, close: u8, expected: &'static str) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// Opens a list; `false` if it is closed at once.
    pub(in crate::ingest) fn open(&mut self, open: u8, close: u8, expected: &'static str) -> Result<bool, JsonError> {
        self.expect(open, expected)?;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// A key and its colon.
    pub(in crate::ingest) fn key(&mut self) -> Result<Cow<'a, [u8]>, JsonError> {
        let key = self.string("a key")?;
        self.expect(b':', "':' after a key")?;
        Ok(key)
    }

    /// A string, unescaped.
    pub(in crate::ingest) fn string(&mut self, expected: &'static str) -> Result<Cow<'a, [u8]>, JsonError> {
        self.expect(b'"', expected)?;
        let start = self.at;
        let mut owned: Vec<u8> = Vec::new();
        let mut copied = start;
        loop {
            let Some(found) = memchr::memchr2(b'"', b'\\', &self.text[self.at..]) else {
                self.at = self.text.len();
                return Err(self.cut("'\"'"));
            };
            self.at += found;
            if self.text[self.at] == b'"' {
                let piece = &self.text[copied..self.at];
                self.at += 1;
                if copied == start {
                    return Ok(Cow::Borrowed(piece));
                }
                owned.extend_from_slice(piece);
                return Ok(Cow::Owned(owned));
            }
            owned.extend_from_slice(&self.text[copied..self.at]);
            self.at += 1;
            self.escape(&mut owned)?;
            copied = self.at;
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let Some(&kind) = self.text.get(self.at) else { return Err(self.cut("an escape")) };
        let plain = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.at += 1;
                let character = self.code_point()?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// One `\u` escape, or two that make a surrogate pair; half a pair is U+FFFD.
    fn code_point(&mut self) -> Result<char, JsonError> {
        let high = self.hexadecimal()?;
        if !(0xd800..0xdc00).contains(&high) || !self.text[self.at..].starts_with(b"\\u") {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        self.at += 2;
        let low = self.hexadecimal()?;
        if !(0xdc00..0xe000).contains(&low) {
            self.at = before;
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        Ok(char::from_u32(code).expect("a surrogate pair is a character"))
    }

    fn hexadecimal(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.cut("4 hexadecimal digits"))?;
        let mut value = 0;
        for &digit in digits {
            let Some(digit) = char::from(digit).to_digit(16) else { return Err(self.unexpected("4 hexadecimal digits")) };
            value = value * 16 + digit;
        }
        self.at += 4;
        Ok(value)
    }

    /// Skips one value of any kind and answers its text.
    pub(in crate::ingest) fn skip_value(&mut self) -> Result<&'a [u8], JsonError> {
        self.peek();
        let start = self.at;
        let mut closers = Vec::new();
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if closers.len() >= MAX_DEPTH {
                        return Err(self.unexpected("no deeper nesting"));
                    }
                    self.at += 1;
                    closers.push(if open == b'{' { b'}' } else { b']' });
                    if self.peek() != closers.last().copied() {
                        self.take_key(&closers)?;
                        continue;
                    }
                }
                Some(b'"') => drop(self.string("a value")?),
                Some(byte) if byte.is_ascii_alphanumeric() || byte == b'-' => self.skip_scalar(),
                _ => return Err(self.unexpected("a value")),
            }
            loop {
                let Some(&close) = closers.last() else { return Ok(&self.text[start..self.at]) };
                if self.peek() == Some(close) {
                    self.at += 1;
                    closers.pop();
                    continue;
                }
                self.expect(b',', "',' or the end of a list")?;
                self.take_key(&closers)?;
                break;
            }
        }
    }

    fn take_key(&mut self, closers: &[u8]) -> Result<(), JsonError> {
        if closers.last() == Some(&b'}') {
            self.key()?;
        }
        Ok(())
    }

    fn skip_scalar(&mut self) {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        while self.text.get(self.at).is_some_and(is_part) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_are_unescaped() {
        for (text, expected) in [
            (r#""plain""#, "plain".as_bytes()),
            (r#""a\"\\\/\b\f\n\r\t""#, b"a\"\\/\x08\x0c\n\r\t"),
            (r#""\u00e9\ud83d\ude80""#, "é🚀".as_bytes()),
            (r#""\ud83dx\ud83d\u0041""#, "\u{fffd}x\u{fffd}A".as_bytes()),
        ] {
            let read = Cursor::new(text.as_bytes()).string("a string");
            assert_eq!(read.as_deref(), Ok(expected));
        }
        let read = Cursor::new(b"\"a\xffb\"").string("a string");
        assert_eq!(read.as_deref(), Ok(b"a\xffb".as_slice()));
        for text in ["\"abc", r#""\"#, r#""\u12"#, r#""\u12g4""#, r#""\x""#, "abc", ""] {
            assert!(Cursor::new(text.as_bytes()).string("a string").is_err(), "{text}");
        }
    }

    #[test]
    fn errors_show_where_the_text_went_wrong() {
        let mut cursor = Cursor::new(br#"{"streams": 5}"#);
        cursor.at = 12;
        let error = cursor.string("a string").expect_err("a number").to_string();
        let expected = r#"loghttp.PushRequest: expect a string, but found 5, error found in #10 byte of ...|streams": 5}|..., bigger context ...|{"streams": 5}|..."#;
        assert_eq!(error, expected);
    }

    #[test]
    fn values_are_skipped_whole() {
        for text in [r#"{"a":[1,{"b":"]}"}],"c":{}}"#, "[]", "[[],{}]", "-1.5e+7", "null", r#""x""#] {
            let padded = format!(" {text} ,");
            assert_eq!(Cursor::new(padded.as_bytes()).skip_value(), Ok(text.as_bytes()));
        }
        for text in ["", "{", "[1,", r#"{"a"}"#, "[1 2]", "{1:2}", "]", &"[".repeat(1_000_000)] {
            assert!(Cursor::new(text.as_bytes()).skip_value().is_err());
        }
    }

    proptest! {
        #[test]
        fn strings_are_read_as_serde_reads_them(text in ".{0,20}") {
            let written = serde_json::to_vec(&text).expect("a string");
            let read = Cursor::new(&written).string("a string");
            prop_assert_eq!(read.as_deref(), Ok(text.as_bytes()));
        }

        #[test]
        fn what_serde_takes_is_skipped_whole(text in r#"[\[\]{}:,"a1 ]{0,30}"#) {
            let ours = Cursor::new(text.as_bytes()).skip_value().map(<[u8]>::len);
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert_eq!(ours, Ok(text.trim().len()));
            }
        }
    }
}
