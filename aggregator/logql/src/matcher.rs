//! Matchers of stream labels, compiled. Regular expressions are anchored at both ends; a missing label has the
//! value `""`.

use regex::bytes::Regex;
use thiserror::Error;

use crate::ast::{MatchOp, Matcher};
use crate::regex_dialect::{Anchoring, EXPRESSIONS_LIMIT, RegexError, SIZE_LIMIT, translate_anchored};

/// A matcher whose regular expression cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("parse error : {source}")]
pub struct MatcherError {
    pub name: String,
    pub source: RegexError,
}

/// The label that holds the metric's name where there are metrics.
const METRIC_NAME: &str = "__name__";

/// A compiled [`Matcher`].
#[derive(Debug, Clone)]
pub struct StreamMatcher {
    name: String,
    op: MatchOp,
    value: String,
    /// Present exactly for the regular expression operators.
    regex: Option<Regex>,
}

impl StreamMatcher {
    pub fn new(matcher: &Matcher) -> Result<StreamMatcher, MatcherError> {
        Self::within(matcher, SIZE_LIMIT)
    }

    /// The matchers of a selector. Their expressions together take no more than [`EXPRESSIONS_LIMIT`].
    pub fn all(matchers: &[Matcher]) -> Result<Vec<StreamMatcher>, MatcherError> {
        let expressions = matchers.iter().filter(|matcher| matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex)).count();
        let bytes = (EXPRESSIONS_LIMIT / expressions.max(1)).min(SIZE_LIMIT);
        matchers.iter().map(|matcher| Self::within(matcher, bytes)).collect()
    }

    fn within(matcher: &Matcher, bytes: usize) -> Result<StreamMatcher, MatcherError> {
        let regex = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => {
                let compiled =
                    translate_anchored(&matcher.value, Anchoring::Matcher).and_then(|translated| translated.compile_within(bytes));
                Some(compiled.map_err(|source| MatcherError { name: matcher.name.clone(), source })?)
            }
        };
        Ok(StreamMatcher { name: matcher.name.clone(), op: matcher.op, value: matcher.value.clone(), regex })
    }

    /// Whether a stream is matched by all of them; `value_of` tells its labels by their names.
    pub fn all_match<'l>(matchers: &[StreamMatcher], value_of: impl Fn(&str) -> Option<&'l str>) -> bool {
        matchers.iter().all(|matcher| matcher.matches(value_of(&matcher.name).unwrap_or_default()))
    }

    /// Whether a stream whose label has this value is matched; pass `""` for a missing one. Streams have no metric
    /// name: a matcher of `__name__` asks for nothing.
    pub fn matches(&self, value: &str) -> bool {
        self.name == METRIC_NAME || self.matches_bytes(value.as_bytes())
    }

    pub(crate) fn matches_bytes(&self, value: &[u8]) -> bool {
        let is_hit = match &self.regex {
            Some(regex) => crate::stages::regex::is_match(regex, value),
            None => value == self.value.as_bytes(),
        };
        is_hit == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The text compared with, or the pattern.
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(op: MatchOp, pattern: &str, value: &str) -> bool {
        StreamMatcher::new(&Matcher { name: "a".into(), op, value: pattern.into() }).unwrap().matches(value)
    }

    #[test]
    fn operators_compare_as_written() {
        let cases = [
            (MatchOp::Equal, "x", "x", true),
            (MatchOp::Equal, "x", "X", false),
            (MatchOp::Equal, "", "", true),
            (MatchOp::NotEqual, "x", "", true),
            (MatchOp::NotEqual, "x", "x", false),
            (MatchOp::Regex, "a|b", "b", true),
            (MatchOp::Regex, "a|b", "ab", false),
            (MatchOp::Regex, "wor.*", "hello world", false),
            (MatchOp::Regex, ".*", "", true),
            (MatchOp::Regex, ".+", "", false),
            (MatchOp::NotRegex, "a.*", "ab", false),
            (MatchOp::NotRegex, "a.*", "ba", true),
        ];
        for (op, pattern, value, expected) in cases {
            assert_eq!(matches(op, pattern, value), expected, "{op:?} {pattern:?} on {value:?}");
        }
    }

    #[test]
    fn a_metric_name_matches_every_stream() {
        let matcher = Matcher { name: "__name__".into(), op: MatchOp::Equal, value: "x".into() };
        let compiled = StreamMatcher::new(&matcher).unwrap();
        assert!(compiled.matches("") && compiled.matches("y") && !compiled.matches_bytes(b"y"));
    }

    #[test]
    fn a_broken_pattern_is_refused_with_its_text() {
        let matcher = Matcher { name: "a".into(), op: MatchOp::Regex, value: "(".into() };
        let error = StreamMatcher::new(&matcher).unwrap_err().to_string();
        assert_eq!(error, "parse error : error parsing regexp: missing closing ): `(`");
    }
}
