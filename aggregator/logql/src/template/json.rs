//! JSON to values, as strict as Go's reader: the whole text must be one value.
//!
//! Numbers become floating point numbers, the last of equal keys counts, lone surrogates and bytes that are no text
//! become U+FFFD. Nesting is bounded by [`MAXIMUM_DEPTH`]; deeper texts are no JSON here.

use std::collections::BTreeMap;

use super::value::Value;

const MAXIMUM_DEPTH: usize = 100;

/// `None` if the text is no JSON.
pub(super) fn read(text: &[u8]) -> Option<Value<'static>> {
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader { text: &text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_blanks();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_taken = self.peek() == Some(byte);
        self.at += usize::from(is_taken);
        is_taken
    }

    fn value(&mut self, depth: usize) -> Option<Value<'static>> {
        self.skip_blanks();
        match self.peek()? {
            b'{' if depth < MAXIMUM_DEPTH => self.object(depth),
            b'[' if depth < MAXIMUM_DEPTH => self.array(depth),
            b'"' => self.string().map(Value::text),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Option<Value<'static>> {
        let words = [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Nil)];
        let (word, value) = words.into_iter().find(|(word, _)| self.text[self.at..].starts_with(word))?;
        self.at += word.len();
        Some(value)
    }

    fn object(&mut self, depth: usize) -> Option<Value<'static>> {
        self.at += 1;
        let mut entries = BTreeMap::new();
        if self.take(b'}') {
            return Some(Value::Map(entries.into()));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return None;
            }
            let key = self.string()?;
            if !self.take(b':') {
                return None;
            }
            entries.insert(key.into(), self.value(depth + 1)?);
            if self.take(b'}') {
                return Some(Value::Map(entries.into()));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value<'static>> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Some(Value::List(items.into()));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Some(Value::List(items.into()));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Value<'static>> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let number: f64 = self.text[start..self.at].parse().ok()?;
        number.is_finite().then_some(Value::Float(number))
    }

    fn string(&mut self) -> Option<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|character: char| matches!(character, '"' | '\\') || character < ' ')?;
            string.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Some(string),
                b'\\' => string.push(self.escape()?),
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.code_unit()?;
                let behind = self.at;
                if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    let second = self.code_unit()?;
                    if (0xdc00..0xe000).contains(&second) {
                        return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
                    }
                    self.at = behind;
                }
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_json_is_nothing() {
        for text in
            ["", "nope", "{", "[1,]", "{\"a\":1,}", "01", "1.", "-", "\"a", "\"\u{1}\"", "1 2", "tru", "1e400", "{\"a\" 1}", "{a:1}"]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn strings_are_unescaped() {
        let read = |text: &str| read(text.as_bytes());
        assert_eq!(read(r#""a\n\u00e9\ud83d\ude00\ud800x""#), Some(Value::text("a\né😀\u{fffd}x")));
        assert_eq!(read(r#"{"a":1,"a":2}"#), Some(Value::Map([("a".into(), Value::Float(2.0))].into_iter().collect())));
    }

    proptest! {
        #[test]
        fn other_readers_agree(text in r#"[\[\]{},:"a0-9.eE \\nul-]{0,12}"#) {
            let other = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(read(text.as_bytes()).is_some(), other.is_ok(), "{}", text);
        }
    }
}
