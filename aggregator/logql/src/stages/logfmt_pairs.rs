//! Pairs of a logfmt line: `key=value key="quoted \"value\"" key`.
//!
//! Keys and unquoted values hold bytes above space. In lenient reading a malformed pair is left out up to the next
//! space, but for a quoted value with a broken escape, which ends with its quote; strict reading ends at the first one.

use std::ops::ControlFlow;

use thiserror::Error;

use super::eight_bytes;

/// A malformed pair; positions count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("logfmt syntax error at pos {position} : {reason}")]
pub(crate) struct LogfmtError {
    position: usize,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Reason {
    #[error("unexpected '{0}'")]
    Unexpected(char),
    #[error("unterminated quoted value")]
    Unterminated,
    #[error("invalid quoted value")]
    InvalidQuoted,
    #[error("invalid key")]
    InvalidKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key_start: usize,
    pub(crate) key_end: usize,
    /// Between the quotes of a quoted value.
    pub(crate) value_start: usize,
    pub(crate) value_end: usize,
    pub(crate) is_escaped: bool,
}

/// Calls `each` with the keys and values of a line as strict reading finds them, up to a malformed pair or until it breaks. A key without
/// `=` has an empty value.
pub fn each_logfmt_pair(line: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
    let (mut checked, mut value) = (Vec::new(), Vec::new());
    let mut pairs = Pairs::new(line, &mut checked);
    while let Some(Ok(pair)) = pairs.next_strict(|_| None) {
        let raw = &line[pair.value_start..pair.value_end];
        value.clear();
        let is_unquoted = pair.is_escaped && unquote(raw, &mut value);
        if each(&line[pair.key_start..pair.key_end], if is_unquoted { &value } else { raw }).is_break() {
            return;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pairs<'l> {
    line: &'l [u8],
    at: usize,
    /// No pair that is wanted begins here or behind.
    end: usize,
    /// Where unescaped values are checked.
    unescaped: &'l mut Vec<u8>,
}

impl<'l> Pairs<'l> {
    pub(crate) fn new(line: &'l [u8], unescaped: &'l mut Vec<u8>) -> Pairs<'l> {
        Pairs { line, at: 0, end: line.len(), unescaped }
    }

    /// Pairs that have an `=`, for lenient reading: words before the first and behind the last one are not looked at.
    pub(crate) fn with_equals(line: &'l [u8], unescaped: &'l mut Vec<u8>) -> Pairs<'l> {
        let (Some(first), Some(last)) = (memchr::memchr(b'=', line), memchr::memrchr(b'=', line)) else {
            return Pairs { line, at: 0, end: 0, unescaped };
        };
        let at = line[..first].iter().rposition(|byte| *byte <= b' ').map_or(0, |blank| blank + 1);
        Pairs { line, at, end: last, unescaped }
    }

    /// The next well-formed pair, past malformed ones. `known_key` is asked at each key: how long it is, if a well-formed one with `=` behind
    /// it is known to stand there.
    // Inlined, so that what it gives stays in registers: through memory, each pair costs as much as all else together.
    #[inline(always)]
    pub(crate) fn next_lenient(&mut self, mut known_key: impl FnMut(&[u8]) -> Option<usize>) -> Option<Pair> {
        loop {
            match self.next_strict(&mut known_key)? {
                Ok(pair) => return Some(pair),
                Err(LogfmtError { reason: Reason::InvalidQuoted, .. }) => {}
                Err(_) => self.at = self.end_of(self.at, blanks),
            }
        }
    }

    /// The next pair, or what is wrong with it. `known_key` as with [`Pairs::next_lenient`].
    #[inline(always)]
    pub(crate) fn next_strict(&mut self, mut known_key: impl FnMut(&[u8]) -> Option<usize>) -> Option<Result<Pair, LogfmtError>> {
        let key_start = self.at + self.line[self.at..].iter().take_while(|byte| **byte <= b' ').count();
        self.at = key_start;
        if key_start >= self.end {
            return None;
        }
        Some(match known_key(&self.line[key_start..]) {
            Some(length) => self.valued(key_start, key_start + length),
            None => self.pair(key_start),
        })
    }

    fn pair(&mut self, key_start: usize) -> Result<Pair, LogfmtError> {
        let key_end = self.end_of(key_start, ends_of_words);
        self.at = key_end;
        let key = &self.line[key_start..key_end];
        let next = self.line.get(key_end).copied();
        match next {
            Some(b'"') => return Err(self.error(Reason::Unexpected('"'))),
            Some(b'=') if key.is_empty() => return Err(self.error(Reason::Unexpected('='))),
            _ if !key.is_ascii() && !super::extraction::is_clean(key) => return Err(self.error(Reason::InvalidKey)),
            Some(b'=') => {}
            _ => return Ok(Pair { key_start, key_end, value_start: key_end, value_end: key_end, is_escaped: false }),
        }
        self.valued(key_start, key_end)
    }

    /// A pair of which the key is known, and that a `=` is behind it.
    #[inline(always)]
    fn valued(&mut self, key_start: usize, key_end: usize) -> Result<Pair, LogfmtError> {
        let start = key_end + 1;
        if self.line.get(start) == Some(&b'"') {
            let (value_end, is_escaped) = self.quoted(start + 1)?;
            return Ok(Pair { key_start, key_end, value_start: start + 1, value_end, is_escaped });
        }
        let value_end = self.end_of(start, ends_of_words);
        self.at = value_end;
        match self.line.get(value_end) {
            Some(b'=') => Err(self.error(Reason::Unexpected('='))),
            Some(b'"') => Err(self.error(Reason::Unexpected('"'))),
            _ => Ok(Pair { key_start, key_end, value_start: start, value_end, is_escaped: false }),
        }
    }

    /// The end of a quoted value that begins at `start`, and whether it holds escapes.
    fn quoted(&mut self, start: usize) -> Result<(usize, bool), LogfmtError> {
        let Some((end, is_escaped)) = super::json_text::string_end(self.line, start) else {
            self.at = self.line.len();
            return Err(self.error(Reason::Unterminated));
        };
        self.at = end + 1;
        if is_escaped {
            self.unescaped.clear();
            if !unquote(&self.line[start..end], self.unescaped) {
                return Err(self.error(Reason::InvalidQuoted));
            }
        }
        Ok((end, is_escaped))
    }

    /// Index of the first byte at or after `from` that `marks` finds among eight; the line's length if there is none. Blanks have
    /// to be among what it finds.
    fn end_of(&self, from: usize, marks: impl Fn(u64) -> u64) -> usize {
        let from = match eight_bytes::find(self.line, from, &marks) {
            Ok(end) => return end,
            Err(from) => from,
        };
        let rest = &self.line[from..];
        let mut bytes = [b' '; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        from + eight_bytes::first(marks(u64::from_le_bytes(bytes)))
    }

    fn error(&self, reason: Reason) -> LogfmtError {
        LogfmtError { position: self.at + 1, reason }
    }
}

const fn blanks(bytes: u64) -> u64 {
    eight_bytes::below(bytes, b' ' + 1)
}

const fn ends_of_words(bytes: u64) -> u64 {
    blanks(bytes) | eight_bytes::equal(bytes, b'=') | eight_bytes::equal(bytes, b'"')
}

/// Appends a quoted value without its escapes, which are JSON's and `\'`. A lone half of a surrogate pair becomes
/// a replacement character, as does each byte that is not UTF-8. False for control characters and broken escapes.
pub(crate) fn unquote(mut text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.iter().any(|byte| *byte < b' ') {
        return false;
    }
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        text = &text[at..];
        let length = match text.get(1) {
            Some(b'\'') => {
                out.push(b'\'');
                2
            }
            Some(b'u') => {
                let Some(length) = unquote_unicode(text, out) else {
                    return false;
                };
                length
            }
            Some(_) => {
                if super::json_text::unescape(&text[..2], out).is_err() {
                    return false;
                }
                2
            }
            None => return false,
        };
        text = &text[length..];
    }
    out.extend_from_slice(text);
    true
}

fn unquote_unicode(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = super::json_text::hexadecimal_unit(text)?;
    let is_surrogate = (0xd800..0xe000).contains(&unit);
    let length = if is_surrogate { 12 } else { 6 };
    let escape = text.get(..length);
    if escape.is_some_and(|escape| super::json_text::unescape(escape, out).is_ok()) {
        return Some(length);
    }
    out.extend_from_slice("\u{fffd}".as_bytes());
    Some(6)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unknown(_: &[u8]) -> Option<usize> {
        None
    }

    fn lenient(line: &str) -> Vec<(String, String)> {
        let mut unescaped = Vec::new();
        let mut pairs = Pairs::new(line.as_bytes(), &mut unescaped);
        let mut found = Vec::new();
        while let Some(pair) = pairs.next_lenient(unknown) {
            found.push((line[pair.key_start..pair.key_end].to_owned(), line[pair.value_start..pair.value_end].to_owned()));
        }
        found
    }

    fn strict_error(line: &str) -> Option<String> {
        let mut unescaped = Vec::new();
        let mut pairs = Pairs::new(line.as_bytes(), &mut unescaped);
        std::iter::from_fn(|| pairs.next_strict(unknown)).find_map(Result::err).map(|error| error.to_string())
    }

    proptest! {
        #[test]
        fn words_without_values_are_not_needed_to_find_values(line in "[ab\"\\\\= \t]{0,40}") {
            let valued = |mut pairs: Pairs<'_>| {
                let has_value = |pair: &Pair| pair.value_end > pair.value_start;
                std::iter::from_fn(move || pairs.next_lenient(unknown)).filter(has_value).collect::<Vec<_>>()
            };
            let (mut all, mut some) = (Vec::new(), Vec::new());
            prop_assert_eq!(valued(Pairs::with_equals(line.as_bytes(), &mut some)), valued(Pairs::new(line.as_bytes(), &mut all)));
        }

        #[test]
        fn ends_are_found_as_byte_by_byte(line in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'='), Just(b'"'), Just(b'!'), Just(b'a')], 0..40)) {
            let mut unescaped = Vec::new();
            let pairs = Pairs::new(&line, &mut unescaped);
            for from in 0..=line.len() {
                let first = |is_end: fn(u8) -> bool| (from..line.len()).find(|at| is_end(line[*at])).unwrap_or(line.len());
                prop_assert_eq!(pairs.end_of(from, blanks), first(|byte| byte <= b' '));
                prop_assert_eq!(pairs.end_of(from, ends_of_words), first(|byte| byte <= b' ' || byte == b'=' || byte == b'"'));
            }
        }
    }

    #[test]
    fn malformed_pairs_are_left_out_in_lenient_reading() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("a=1 b=\"x y\" c", &[("a", "1"), ("b", "x y"), ("c", "")]),
            ("=novalue a=1", &[("a", "1")]),
            ("a==b c=1", &[("c", "1")]),
            ("a\t=1 b=2", &[("a", ""), ("b", "2")]),
            ("key\"quoted=1 ok=2", &[("ok", "2")]),
            ("a=1,b=2 c=3", &[("c", "3")]),
            ("a=\"unterminated b=1", &[]),
            ("a= b=", &[("a", ""), ("b", "")]),
            ("a=\"x\"b=2", &[("a", "x"), ("b", "2")]),
            ("a=\"\\q\" b=2", &[("b", "2")]),
            ("a=\"\\q\"c=3 b=2", &[("c", "3"), ("b", "2")]),
            ("", &[]),
            (" \t ", &[]),
        ];
        for (line, expected) in cases {
            let expected: Vec<(String, String)> = expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            assert_eq!(lenient(line), expected, "{line:?}");
        }
    }

    #[test]
    fn each_pair_is_told_up_to_a_malformed_one() {
        let told = |line: &str, last: &str| {
            let mut pairs = Vec::new();
            each_logfmt_pair(line.as_bytes(), |key, value| {
                pairs.push(format!("{}:{}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
                if key == last.as_bytes() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            pairs.join(" ")
        };
        assert_eq!(told(r#"a=1 b c="x \"y\"" d="" e=5"#, "d"), r#"a:1 b: c:x "y" d:"#);
        for (line, expected) in [("a=1 =b c=2", "a:1"), ("a=1 b=c=d", "a:1"), ("a=1 b=\"x", "a:1"), ("a=1 b=\"\\q\" c=2", "a:1"), ("", "")]
        {
            assert_eq!(told(line, ""), expected, "{line}");
        }
    }

    #[test]
    fn strict_reading_says_where_and_what() {
        let cases = [
            ("=novalue a=1", Some("logfmt syntax error at pos 1 : unexpected '='")),
            ("a=\"unterminated", Some("logfmt syntax error at pos 16 : unterminated quoted value")),
            ("{\"foo.bar\":\"1\"}", Some("logfmt syntax error at pos 2 : unexpected '\"'")),
            ("a==b", Some("logfmt syntax error at pos 3 : unexpected '='")),
            ("a\t=1 b=2", Some("logfmt syntax error at pos 3 : unexpected '='")),
            ("key\"quoted=1 ok=2", Some("logfmt syntax error at pos 4 : unexpected '\"'")),
            ("a=1,b=2", Some("logfmt syntax error at pos 6 : unexpected '='")),
            ("a= b= c=3", None),
        ];
        for (line, expected) in cases {
            assert_eq!(strict_error(line).as_deref(), expected, "{line:?}");
        }
    }

    #[test]
    fn quoted_values_are_unescaped() {
        let cases = [
            (r#"esc\"aped"#, Some("esc\"aped")),
            (r"new\nline \u00e9 \'", Some("new\nline é '")),
            (r"\ud83d\ude00", Some("😀")),
            (r"\ud83d!", Some("\u{fffd}!")),
            (r"\x", None),
            ("a\tb", None),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            let is_valid = unquote(text.as_bytes(), &mut out);
            assert_eq!(is_valid.then(|| String::from_utf8(out).unwrap()).as_deref(), expected, "{text}");
        }
    }
}
