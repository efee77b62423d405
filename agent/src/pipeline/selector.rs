//! The selector of a `match` stage: `{name="value", …}` and line filters, with strings in double quotes only.

use regex::bytes::Regex;
use tailwater_logql::regex_dialect::{self, Anchoring, RegexError};

use crate::relabel::Labels;

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("expected {expected} at `{rest}`")]
    Syntax { expected: &'static str, rest: String },
    #[error(transparent)]
    Regex(#[from] RegexError),
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    Regex(Regex),
}

/// A test and whether it must hold.
#[derive(Debug, Clone)]
struct Matcher {
    /// A label; `None` is the line.
    label: Option<String>,
    test: Test,
    is_positive: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Selector {
    matchers: Vec<Matcher>,
}

impl Selector {
    pub(super) fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut reader = Reader { rest: text };
        let mut matchers = Vec::new();
        reader.expect("{", "`{`")?;
        if !reader.accept("}") {
            loop {
                matchers.push(reader.label_matcher()?);
                if reader.accept("}") {
                    break;
                }
                reader.expect(",", "`,` or `}`")?;
            }
        }
        while !reader.rest().is_empty() {
            matchers.push(reader.line_filter()?);
        }
        Ok(Self { matchers })
    }

    pub(super) fn matches(&self, labels: &Labels, line: &str) -> bool {
        self.matchers.iter().all(|matcher| {
            let holds = match (&matcher.test, &matcher.label) {
                (Test::Equal(text), None) => memchr::memmem::find(line.as_bytes(), text.as_bytes()).is_some(),
                (Test::Equal(text), Some(label)) => labels.get(label).map_or("", String::as_str) == text,
                (Test::Regex(regex), None) => regex.is_match(line.as_bytes()),
                (Test::Regex(regex), Some(label)) => regex.is_match(labels.get(label).map_or("", String::as_str).as_bytes()),
            };
            holds == matcher.is_positive
        })
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// What is left, without blanks before it.
    fn rest(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn accept(&mut self, token: &str) -> bool {
        match self.rest().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), SelectorError> {
        if self.accept(token) { Ok(()) } else { Err(self.syntax(expected)) }
    }

    fn syntax(&self, expected: &'static str) -> SelectorError {
        SelectorError::Syntax { expected, rest: self.rest.to_owned() }
    }

    fn label_matcher(&mut self) -> Result<Matcher, SelectorError> {
        let text = self.rest();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(self.syntax("a label name"));
        }
        self.rest = rest;
        let (is_regex, is_positive) = self.operator([("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)])?;
        let value = self.string()?;
        let test = if is_regex { Test::Regex(regex_dialect::compile(&value, Anchoring::Matcher)?) } else { Test::Equal(value) };
        Ok(Matcher { label: Some(name.to_owned()), test, is_positive })
    }

    fn line_filter(&mut self) -> Result<Matcher, SelectorError> {
        let (is_regex, is_positive) =
            self.operator([("|=", false, true), ("|~", true, true), ("!=", false, false), ("!~", true, false)])?;
        let value = self.string()?;
        let test = if is_regex { Test::Regex(regex_dialect::compile(&value, Anchoring::Search)?) } else { Test::Equal(value) };
        Ok(Matcher { label: None, test, is_positive })
    }

    fn operator(&mut self, operators: [(&str, bool, bool); 4]) -> Result<(bool, bool), SelectorError> {
        for (operator, is_regex, is_positive) in operators {
            if self.accept(operator) {
                return Ok((is_regex, is_positive));
            }
        }
        Err(self.syntax("an operator"))
    }

    /// A string in double quotes, with Go's escapes.
    fn string(&mut self) -> Result<String, SelectorError> {
        let Some(inside) = self.rest().strip_prefix('"') else { return Err(self.syntax("a string in double quotes")) };
        let mut out = Vec::new();
        let mut characters = inside.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &inside[at + 1..];
                    return Ok(String::from_utf8_lossy(&out).into_owned());
                }
                '\\' => {
                    let escaped = characters.next().map(|(_, escaped)| escaped);
                    if escape(escaped, &mut characters, &mut out).is_none() {
                        return Err(self.syntax("a valid escape"));
                    }
                }
                '\n' => return Err(self.syntax("a closing quote")),
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err(self.syntax("a closing quote"))
    }
}

fn escape(first: Option<char>, rest: &mut std::str::CharIndices<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut digits =
        |count: usize, radix: u32, start: u32| (0..count).try_fold(start, |value, _| Some(value * radix + rest.next()?.1.to_digit(radix)?));
    let byte = match first? {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        same @ ('\\' | '"') => u8::try_from(same).ok()?,
        'x' => u8::try_from(digits(2, 16, 0)?).ok()?,
        octal @ '0'..='7' => u8::try_from(digits(2, 8, octal.to_digit(8)?)?).ok()?,
        unicode @ ('u' | 'U') => {
            let character = char::from_u32(digits(if unicode == 'u' { 4 } else { 8 }, 16, 0)?)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    out.push(byte);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, line: &str) -> bool {
        let labels = Labels::from([("app".to_owned(), "shop-eu".to_owned()), ("env".to_owned(), "dev".to_owned())]);
        Selector::parse(selector).unwrap().matches(&labels, line)
    }

    #[test]
    fn matchers_and_filters_must_all_hold() {
        for (selector, expected) in [
            ("{app=\"shop-eu\"}", true),
            ("{app=~\"shop\"}", false),
            ("{app=~\"shop.*\", env!=\"prod\",none=\"\"}", true),
            ("{app!~\"shop.*\"}", false),
            ("{} |= \"err\" != \"db\" |~ \"e[rx]+$\"", true),
            ("{env=\"dev\"} !~ \"^an\"", false),
            ("{env=\"dev\"} |= \"\\u0065rr\"", true),
        ] {
            assert_eq!(matches(selector, "an err"), expected, "{selector}");
        }
    }

    #[test]
    fn other_grammar_is_refused() {
        for selector in
            ["", "{a=b}", "{a=`b`}", "{a=\"b\"} | json", "{a=\"b\"} |= \"x\" or \"y\"", "{a=\"b\"", "{a=~\"(\"}", "{a=\"b\"} |= \"x"]
        {
            assert!(Selector::parse(selector).is_err(), "{selector}");
        }
    }
}
