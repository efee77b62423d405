//! `|> "text <_> text"`: whether a line has the form of a pattern.
//!
//! Literals are looked for from left to right, each at its first occurrence, without going back. The first one may
//! stand anywhere; a later one leaves room for the capture before it; a literal at the end must end the line.

use memchr::memmem::Finder;

use crate::validate::{PatternError, PatternPart, parse_pattern};

#[derive(Debug, Clone)]
pub(crate) struct PatternFilter {
    literals: Vec<Finder<'static>>,
    starts_with_capture: bool,
    ends_with_capture: bool,
}

impl PatternFilter {
    pub(crate) fn new(pattern: &str) -> Result<PatternFilter, PatternError> {
        let parts = parse_pattern(pattern)?;
        let mut literals = Vec::new();
        for part in &parts {
            match part {
                PatternPart::Literal(text) => literals.push(Finder::new(text).into_owned()),
                PatternPart::Capture(name) if name == "_" => {}
                PatternPart::Capture(name) => return Err(PatternError::Named(name.clone())),
            }
        }
        Ok(PatternFilter {
            literals,
            starts_with_capture: matches!(parts.first(), Some(PatternPart::Capture(_))),
            ends_with_capture: matches!(parts.last(), Some(PatternPart::Capture(_))),
        })
    }

    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        let mut rest = line;
        for (index, literal) in self.literals.iter().enumerate() {
            let Some(found) = literal.find(rest) else {
                return false;
            };
            let follows_capture = index > 0 || self.starts_with_capture;
            if follows_capture && found == 0 {
                return false;
            }
            rest = &rest[found + literal.needle().len()..];
        }
        rest.is_empty() != self.ends_with_capture
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tested_without_going_back() {
        let cases = [
            ("user <_> from <_>", "user ana from x", true),
            ("user <_> from <_>", "user ana from ", false),
            ("user <_>", "a user b", true),
            ("foo", "multi\nline foo", true),
            ("foo", "foo bar", false),
            ("foo", "foo foo", false),
            ("<_>foo", "barfoobazfoo", false),
            ("<_>foo", "barfoo", true),
            ("<_>foo", "foo", false),
            ("a<_>b<_>", "ab b c", false),
            ("<_>", "x", true),
            ("<_>", "", false),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, line, expected) in cases {
            let filter = PatternFilter::new(pattern).unwrap();
            assert_eq!(filter.matches(line.as_bytes()), expected, "{pattern:?} on {line:?}");
        }
    }

    #[test]
    fn captures_have_no_names_and_stand_apart() {
        let text = |pattern| PatternFilter::new(pattern).unwrap_err().to_string();
        assert_eq!(text("<name> x"), "named captures are not allowed: found '<name>'");
        assert_eq!(text("<_><_>"), "found consecutive capture '<_><_>': invalid expression");
    }
}
