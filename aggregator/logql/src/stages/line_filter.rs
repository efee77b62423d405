//! Line filters: `|=`, `!=`, `|~`, `!~`, `|>`, `!>` with their `or` alternatives.
//!
//! A negated filter holds if none of its alternatives does. Regular expressions are searched, not anchored. Two
//! forms are read as Loki reads them: of plain alternatives an empty one does not count (`a|` is `a`), and `(?i)` in
//! front of plain alternatives compares lower case, which is not quite folding (`ſ` is no `s`).

use memchr::memmem::Finder;
use regex::bytes::Regex;
use thiserror::Error;

use super::FilterOptions;
use super::ip::{AddressRange, IpPatternError};
use super::pattern_filter::PatternFilter;
use super::regex::is_match;
use super::simplified::{Piece, Simplified, simplified};
use crate::ast::{LineFilter, LineFilterArg, LineFilterOp};
use crate::regex_dialect::{RegexError, translate};
use crate::validate::PatternError;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum LineFilterError {
    #[error("ip: invalid operation")]
    IpOperation,
    #[error(transparent)]
    Ip(#[from] IpPatternError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Regex(#[from] RegexError),
}

/// A compiled line filter.
#[derive(Debug, Clone)]
pub struct LineMatcher {
    alternatives: Vec<Test>,
    is_negated: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Always,
    NotEmpty,
    Contains(Box<Finder<'static>>),
    ContainsLower(LowerCase),
    Regex(Regex),
    /// With `strict_loki`: what it makes of an expression.
    Texts(Vec<Piece>),
    Pattern(PatternFilter),
    Address(AddressRange),
}

impl LineMatcher {
    /// With `strict_loki`, `ip()` beside other alternatives is a plain text; in chains of what lines must not hold it never is.
    pub(crate) fn new(filter: &LineFilter, options: FilterOptions) -> Result<LineMatcher, LineFilterError> {
        let is_negated = matches!(filter.op, LineFilterOp::NotContains | LineFilterOp::NotRegex | LineFilterOp::NotPattern);
        let is_text = options.strict_loki && filter.alternatives.len() > 1 && !is_negated;
        let alternatives = filter.alternatives.iter().map(|argument| match argument {
            LineFilterArg::Text(text) => Test::text(filter.op, text, options),
            LineFilterArg::Ip(text) if is_text => Test::text(filter.op, text, options),
            LineFilterArg::Ip(pattern) => Test::address(filter.op, pattern),
        });
        Ok(LineMatcher { alternatives: alternatives.collect::<Result<_, _>>()?, is_negated })
    }

    pub fn matches(&self, line: &[u8]) -> bool {
        self.alternatives.iter().any(|test| test.matches(line)) != self.is_negated
    }

    /// Bytes that every matching line holds; `None` if that is not known, or if lines must not hold them.
    pub fn required_literal(&self) -> Option<&[u8]> {
        match self.alternatives.as_slice() {
            [Test::Contains(finder)] if !self.is_negated => Some(finder.needle()),
            _ => None,
        }
    }
}

impl Test {
    fn text(op: LineFilterOp, text: &str, options: FilterOptions) -> Result<Test, LineFilterError> {
        Ok(match op {
            _ if text.is_empty() && !matches!(op, LineFilterOp::Pattern | LineFilterOp::NotPattern) => Test::Always,
            LineFilterOp::Contains | LineFilterOp::NotContains => Test::Contains(Box::new(Finder::new(text.as_bytes()).into_owned())),
            LineFilterOp::Regex | LineFilterOp::NotRegex => match text {
                ".*" => Test::Always,
                ".+" => Test::NotEmpty,
                _ => Test::regex(text, options)?,
            },
            LineFilterOp::Pattern | LineFilterOp::NotPattern => Test::Pattern(PatternFilter::new(text)?),
        })
    }

    fn regex(pattern: &str, options: FilterOptions) -> Result<Test, RegexError> {
        let compile = |pattern: &str| translate(pattern)?.compile_within(options.expression_bytes);
        if let Some(alternatives) = pattern.strip_prefix("(?i)").and_then(plain_alternatives) {
            let lowered: Vec<String> = alternatives.iter().map(|text| lower(text)).collect();
            let texts = lowered.iter().map(|text| Finder::new(text).into_owned()).collect();
            return Ok(Test::ContainsLower(LowerCase { ascii: compile(&format!("(?i){}", lowered.join("|")))?, texts }));
        }
        match simplified(pattern, false).filter(|_| options.strict_loki) {
            Some(Simplified::Always) => return Ok(Test::Always),
            Some(Simplified::AnyOf(pieces)) => {
                translate(pattern)?;
                return Ok(Test::Texts(pieces));
            }
            None => {}
        }
        let without_empty = plain_alternatives(pattern).map(|alternatives| alternatives.join("|"));
        Ok(Test::Regex(compile(without_empty.as_deref().unwrap_or(pattern))?))
    }

    fn address(op: LineFilterOp, pattern: &str) -> Result<Test, LineFilterError> {
        if !matches!(op, LineFilterOp::Contains | LineFilterOp::NotContains) {
            return Err(LineFilterError::IpOperation);
        }
        Ok(Test::Address(AddressRange::parse(pattern)?))
    }

    fn matches(&self, line: &[u8]) -> bool {
        match self {
            #[cfg(feature = "planted-faults")]
            Test::Always if tailwater_planted::Fault::EmptyFilterDrops.is_planted() => false,
            Test::Always => true,
            Test::NotEmpty => !line.is_empty(),
            Test::Contains(finder) => finder.find(line).is_some(),
            Test::ContainsLower(lower_case) => lower_case.is_found_in(line),
            Test::Regex(regex) => is_match(regex, line),
            Test::Texts(pieces) => pieces.iter().any(|piece| piece.matches(line)),
            Test::Pattern(pattern) => pattern.matches(line),
            Test::Address(range) => range.is_found_in(line),
        }
    }
}

/// Texts to be found in any case.
#[derive(Debug, Clone)]
struct LowerCase {
    /// For lines of ASCII, where folding and lower case are the same.
    ascii: Regex,
    texts: Vec<Finder<'static>>,
}

impl LowerCase {
    fn is_found_in(&self, line: &[u8]) -> bool {
        if line.is_ascii() {
            return self.ascii.is_match(line);
        }
        let line = lower(&String::from_utf8_lossy(line));
        self.texts.iter().any(|text| text.find(line.as_bytes()).is_some())
    }
}

/// Lower case by character.
fn lower(text: &str) -> String {
    text.chars().filter_map(|character| character.to_lowercase().next()).collect()
}

/// The alternatives that are not empty; `None` if one of them is more than plain text, or all are empty.
pub(super) fn plain_alternatives(pattern: &str) -> Option<Vec<&str>> {
    let is_plain = !pattern.contains(|c| r"\.+*?()[]{}^$".contains(c));
    let alternatives: Vec<&str> = pattern.split('|').filter(|text| !text.is_empty()).collect();
    (is_plain && !alternatives.is_empty()).then_some(alternatives)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filter(op: LineFilterOp, texts: &[&str]) -> LineMatcher {
        let alternatives = texts.iter().map(|text| LineFilterArg::Text(text.to_string())).collect();
        LineMatcher::new(&LineFilter { op, alternatives }, FilterOptions::default()).unwrap()
    }

    #[test]
    fn lines_are_kept_as_the_operator_says() {
        use LineFilterOp::*;
        let cases: &[(LineFilterOp, &[&str], &str, bool)] = &[
            (Contains, &["b"], "abc", true),
            (Contains, &["B"], "abc", false),
            (Contains, &[""], "", true),
            (NotContains, &["b"], "abc", false),
            (NotContains, &[""], "abc", false),
            (Contains, &["x", "b"], "abc", true),
            (NotContains, &["x", "b"], "abc", false),
            (NotContains, &["x", "y"], "abc", true),
            (Regex, &["b."], "abc", true),
            (Regex, &["^b"], "a\nb", false),
            (Regex, &["i.foo"], "i\nfoo", false),
            (Regex, &["(?s)i.foo"], "i\nfoo", true),
            (Regex, &[".+"], "\n", true),
            (Regex, &[".+"], "", false),
            (Regex, &[".*"], "", true),
            (Regex, &[""], "", true),
            (Regex, &["user|"], "GET", false),
            (NotRegex, &["user|"], "GET", true),
            (Regex, &["us.r|"], "GET", true),
            (Regex, &["(?i)straße|x"], "ſtraße", false),
            (Regex, &["(?i)straße"], "STRAßE", true),
            (Regex, &["(?i)ABC"], "xabcx", true),
            (NotRegex, &[".*"], "a", false),
            (NotRegex, &["b", "c"], "abd", false),
            (NotRegex, &["x", "y"], "abd", true),
            (Pattern, &["a<_>"], "abc", true),
            (NotPattern, &["a<_>", "b<_>"], "xbc", false),
            (Pattern, &[""], "a", false),
        ];
        for (op, texts, line, expected) in cases {
            assert_eq!(filter(*op, texts).matches(line.as_bytes()), *expected, "{op:?} {texts:?} on {line:?}");
        }
    }

    #[test]
    fn only_a_plain_text_is_required() {
        assert_eq!(filter(LineFilterOp::Contains, &["abc"]).required_literal(), Some(&b"abc"[..]));
        assert_eq!(filter(LineFilterOp::Contains, &["a", "b"]).required_literal(), None);
        assert_eq!(filter(LineFilterOp::NotContains, &["a"]).required_literal(), None);
        assert_eq!(filter(LineFilterOp::Regex, &["a"]).required_literal(), None);
    }

    #[test]
    fn expressions_are_read_as_loki_reads_them_only_for_the_strict() {
        let found = |pattern: &str, strict_loki, line: &str| {
            let filter = LineFilter { op: LineFilterOp::Regex, alternatives: vec![LineFilterArg::Text(pattern.to_owned())] };
            LineMatcher::new(&filter, FilterOptions { strict_loki, ..FilterOptions::default() }).unwrap().matches(line.as_bytes())
        };
        for (pattern, line, sane, strict) in [
            ("user.*(ana|bob)", "user is ana", true, false),
            ("user.*(ana|bob)", "userana", true, true),
            ("user.*(ana|bob).*x", "user is ana x", true, true),
            ("foo|.*", "bar", true, false),
            ("foo.*|bar", "a bar", true, true),
            ("fo+", "foo", true, true),
        ] {
            assert_eq!((found(pattern, false, line), found(pattern, true, line)), (sane, strict), "{pattern}");
        }
    }

    #[test]
    fn an_address_in_a_chain_is_a_text_only_for_the_strict() {
        let alternatives = vec![LineFilterArg::Text("v6".into()), LineFilterArg::Ip("10.0.0.1".into())];
        let chain = LineFilter { op: LineFilterOp::Contains, alternatives };
        assert!(!LineMatcher::new(&chain, FilterOptions::default()).unwrap().matches(b"10.0.0.1.5"));
        let strict = FilterOptions { strict_loki: true, ..FilterOptions::default() };
        assert!(LineMatcher::new(&chain, strict).unwrap().matches(b"10.0.0.1.5"));
        let negated = LineMatcher::new(&LineFilter { op: LineFilterOp::NotContains, ..chain }, strict).unwrap();
        assert!(negated.matches(b"10.0.0.1.5") && !negated.matches(b"at 10.0.0.1") && !negated.matches(b"v6"), "never where it is negated");
    }

    #[test]
    fn addresses_are_only_contained_or_not() {
        let filter = LineFilter { op: LineFilterOp::Regex, alternatives: vec![LineFilterArg::Ip("10.0.0.1".into())] };
        assert_eq!(LineMatcher::new(&filter, FilterOptions::default()).unwrap_err().to_string(), "ip: invalid operation");
    }
}
