//! The text of a stream's labels, `{a="b", c="d"}`: Prometheus' metric syntax, with its error texts and positions.
//!
//! A metric name in front becomes the label `__name__`. Order and repetitions are kept as written; what they mean is decided
//! in `stream.rs`. An empty value is no label. Positions are `line:column`, columns counted in bytes from 1.

use std::fmt;

/// The text is no label set. Display: `1:3: parse error: unexpected character inside braces: '-'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelTextError {
    line: usize,
    column: usize,
    reason: String,
}

impl fmt::Display for LabelTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.reason)
    }
}

impl std::error::Error for LabelTextError {}

/// The labels of a text, without those whose value is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelPairs {
    /// In the order of the text, repeated names too; no more than were asked for.
    pub(crate) kept: Vec<(String, String)>,
    /// How many more there were.
    pub(crate) left_out: usize,
}

impl LabelPairs {
    fn push(&mut self, name: String, value: String, keep: usize) {
        if value.is_empty() {
            return;
        }
        if self.kept.len() < keep {
            self.kept.push((name, value));
        } else {
            self.left_out += 1;
        }
    }
}

/// Reads label pairs, of which no more than `keep` take memory. An empty text is an empty set.
pub(crate) fn parse_label_text(text: &str, keep: usize) -> Result<LabelPairs, LabelTextError> {
    let mut reader = Reader { text, position: 0 };
    let mut pairs = LabelPairs::default();
    reader.skip_space();
    if let Some(name) = reader.metric_name() {
        let name = name.to_owned();
        pairs.push("__name__".to_owned(), name, keep);
        reader.skip_space();
    }
    match reader.peek() {
        Some('{') => reader.position += 1,
        None => return Ok(pairs),
        Some(other) => return Err(reader.fail(format!("unexpected character: {}", rune(other)))),
    }
    reader.pairs_in_braces(&mut pairs, keep)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(pairs),
        Some(other) => Err(reader.fail(format!("unexpected character: {}", rune(other)))),
    }
}

/// What stands inside braces.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Identifier(String),
    Text(String),
    /// `=`, `!=`, `=~`, `!~`, `,`, `}`
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier(name) => write!(f, "identifier {name:?}"),
            Self::Text(text) => write!(f, "string {:?}", format!("{text:?}")),
            Self::Sign(sign) => write!(f, "\"{sign}\""),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl Reader<'_> {
    fn pairs_in_braces(&mut self, pairs: &mut LabelPairs, keep: usize) -> Result<(), LabelTextError> {
        loop {
            let name = match self.token()? {
                (_, Token::Sign("}")) => return Ok(()),
                (_, Token::Identifier(name)) => name,
                (start, token) => return Err(self.unexpected(start, &token, "identifier or \"}\"")),
            };
            match self.token()? {
                (_, Token::Sign("=")) => {}
                (start, token) => return Err(self.unexpected(start, &token, "\"=\"")),
            }
            match self.token()? {
                (_, Token::Text(value)) => pairs.push(name, value, keep),
                (start, token) => return Err(self.unexpected(start, &token, "string")),
            }
            match self.token()? {
                (_, Token::Sign("}")) => return Ok(()),
                (_, Token::Sign(",")) => {}
                (start, token) => return Err(self.unexpected(start, &token, "\",\" or \"}\"")),
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.position..].chars().next()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.position += 1;
        }
    }

    fn metric_name(&mut self) -> Option<&str> {
        let start = self.position;
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
        if !self.peek().is_some_and(is_first) {
            return None;
        }
        while self.peek().is_some_and(|c| is_first(c) || c.is_ascii_digit()) {
            self.position += 1;
        }
        Some(&self.text[start..self.position])
    }

    /// The next token and where it starts.
    fn token(&mut self) -> Result<(usize, Token), LabelTextError> {
        self.skip_space();
        let start = self.position;
        let Some(first) = self.peek() else { return Err(self.fail("unexpected end of input inside braces")) };
        let token = match first {
            '}' => self.sign("}"),
            ',' => self.sign(","),
            '=' if self.text[start..].starts_with("=~") => self.sign("=~"),
            '=' => self.sign("="),
            '!' if self.text[start..].starts_with("!=") => self.sign("!="),
            '!' if self.text[start..].starts_with("!~") => self.sign("!~"),
            '!' => {
                let after = self.text[start + 1..].chars().next().unwrap_or('\u{fffd}');
                return Err(self.fail(format!("unexpected character after '!' inside braces: {}", rune(after))));
            }
            '"' | '\'' | '`' => Token::Text(self.quoted(first)?),
            letter if letter.is_ascii_alphabetic() || letter == '_' => self.identifier(),
            other => return Err(self.fail(format!("unexpected character inside braces: {}", rune(other)))),
        };
        Ok((start, token))
    }

    fn sign(&mut self, sign: &'static str) -> Token {
        self.position += sign.len();
        Token::Sign(sign)
    }

    fn identifier(&mut self) -> Token {
        let start = self.position;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.position += 1;
        }
        Token::Identifier(self.text[start..self.position].to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<String, LabelTextError> {
        let body = &self.text[self.position + 1..];
        if quote == '`' {
            let Some(end) = body.find('`') else { return Err(self.fail("unterminated raw string")) };
            self.position += end + 2;
            return Ok(body[..end].to_owned());
        }
        let mut value = Vec::new();
        let mut offset = 0;
        while let Some(length) = body[offset..].find([quote, '\\', '\n']) {
            value.extend_from_slice(&body.as_bytes()[offset..offset + length]);
            offset += length + 1;
            match body.as_bytes()[offset - 1] {
                b'\\' => offset += unescape(&body[offset..], quote, &mut value).map_err(|reason| self.fail(reason))?,
                b'\n' => break,
                _ => {
                    self.position += offset + 1;
                    return Ok(String::from_utf8_lossy(&value).into_owned());
                }
            }
        }
        Err(self.fail("unterminated quoted string"))
    }

    fn fail(&self, reason: impl Into<String>) -> LabelTextError {
        self.fail_at(self.position, reason.into())
    }

    fn fail_at(&self, position: usize, reason: String) -> LabelTextError {
        let before = &self.text[..position];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        LabelTextError { line: before.matches('\n').count() + 1, column: position - line_start + 1, reason }
    }

    fn unexpected(&self, start: usize, token: &Token, expected: &str) -> LabelTextError {
        self.fail_at(start, format!("unexpected {token} in label set, expected {expected}"))
    }
}

/// Writes what the escape after a backslash stands for; answers how many bytes it took.
fn unescape(rest: &str, quote: char, value: &mut Vec<u8>) -> Result<usize, String> {
    let Some(kind) = rest.chars().next() else { return Err("escape sequence not terminated".to_owned()) };
    let simple = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        same if same == quote => quote as u8,
        'x' => return numeric(&rest[1..], 2, 16, value, true).map(|taken| taken + 1),
        'u' => return numeric(&rest[1..], 4, 16, value, false).map(|taken| taken + 1),
        'U' => return numeric(&rest[1..], 8, 16, value, false).map(|taken| taken + 1),
        '0'..='7' => return numeric(rest, 3, 8, value, true),
        other => return Err(format!("unknown escape sequence U+{:04X} {}", other as u32, rune(other))),
    };
    value.push(simple);
    Ok(1)
}

fn numeric(rest: &str, digits: usize, radix: u32, value: &mut Vec<u8>, is_byte: bool) -> Result<usize, String> {
    let number = rest.get(..digits).and_then(|text| u32::from_str_radix(text, radix).ok());
    let Some(number) = number else { return Err("illegal character in escape sequence".to_owned()) };
    if is_byte {
        let byte = u8::try_from(number).map_err(|_| "escape sequence is an invalid byte".to_owned())?;
        value.push(byte);
    } else {
        let character = char::from_u32(number).ok_or("escape sequence is an invalid Unicode code point")?;
        value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(digits)
}

/// A character between single quotes, as Go prints it.
fn rune(character: char) -> String {
    match character {
        '\'' => r"'\''".to_owned(),
        '\\' => r"'\\'".to_owned(),
        plain => format!("'{}'", plain.escape_debug().to_string().replace("\\\"", "\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse_label_text(text, 10).expect("labels").kept
    }

    #[test]
    fn pairs_are_read_as_prometheus_reads_them() {
        for (text, expected) in [
            ("", vec![]),
            ("{}", vec![]),
            (r#"{a="b"}"#, vec![("a", "b")]),
            (r#" { c = "d" , a='b', } "#, vec![("c", "d"), ("a", "b")]),
            (r#"up{a=`x"\n`}"#, vec![("__name__", "up"), ("a", r#"x"\n"#)]),
            (r#"{a="q\"\\\n\t\x41\101\u00e9"}"#, vec![("a", "q\"\\\n\tAAé")]),
            (r#"{a="\xff"}"#, vec![("a", "\u{fffd}")]),
            (r#"{a="1", a="2"}"#, vec![("a", "1"), ("a", "2")]),
        ] {
            let expected: Vec<(String, String)> = expected.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text}");
        }
    }

    #[test]
    fn a_million_labels_take_the_room_of_those_that_are_kept() {
        let text = format!("{{{}}}", r#"a="b","#.repeat(1_000_000));
        let pairs = parse_label_text(&text, 16).expect("labels");
        assert_eq!((pairs.kept.len(), pairs.left_out), (16, 999_984));
        assert_eq!(parse_label_text(r#"{a="", b="c"}"#, 16).expect("labels").kept, [("b".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, expected) in [
            ("{bad", "1:5: parse error: unexpected end of input inside braces"),
            (r#"{a-b="c"}"#, "1:3: parse error: unexpected character inside braces: '-'"),
            (r#"{1a="c"}"#, "1:2: parse error: unexpected character inside braces: '1'"),
            (r#"{é="b"}"#, "1:2: parse error: unexpected character inside braces: 'é'"),
            (r#"{="b"}"#, r#"1:2: parse error: unexpected "=" in label set, expected identifier or "}""#),
            (r#"{a=~"b"}"#, r#"1:3: parse error: unexpected "=~" in label set, expected "=""#),
            (r#"{a=b}"#, r#"1:4: parse error: unexpected identifier "b" in label set, expected string"#),
            (r#"{a="b" c="d"}"#, r#"1:8: parse error: unexpected identifier "c" in label set, expected "," or "}""#),
            (r#"{a="b"#, "1:4: parse error: unterminated quoted string"),
            ("{\n a!b}", "2:3: parse error: unexpected character after '!' inside braces: 'b'"),
            (r#"{a="b"} x"#, "1:9: parse error: unexpected character: 'x'"),
        ] {
            assert_eq!(parse_label_text(text, 10).expect_err(text).to_string(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".*") {
            drop(parse_label_text(&text, 10));
        }

        #[test]
        fn what_pairs_write_is_read_back(pairs in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,5}", ".{1,8}", 0..5)) {
            let text = tailwater_storage::pairs::Pairs::from_pairs(&pairs).canonical_text();
            let read = parse_label_text(&text, 10).map(|pairs| pairs.kept);
            prop_assert_eq!(read, Ok(pairs.into_iter().collect::<Vec<_>>()));
        }
    }
}
