//! Label filters: strings, numbers, durations, sizes, addresses, joined by `and` and `or`.
//!
//! Only string filters read the entry's error, and so only they can drop an entry because of it. A value that cannot
//! be converted keeps the entry and becomes its error, if it has none. A missing label is `""` for strings and drops
//! the entry otherwise. `and` evaluates both sides, `or` stops at the first that holds.

use regex::bytes::Regex;

use super::FilterOptions;
use super::ip::{AddressRange, IpPatternError};
use super::regex::is_match;
use crate::ast::{self, CompareOp, FilterValue, MatchOp};
use crate::literal::{format_bytes_size, parse_bytes_size, parse_go_duration, parse_go_float};
use crate::pipeline::entry::{EntryLabels, Input};
use crate::pipeline::names::{ERROR_NAME, NameId, PipelineNames};
use crate::regex_dialect::{Anchoring, RegexError, translate_anchored};

const LABEL_FILTER_ERROR: &str = "LabelFilterErr";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LabelFilterError {
    #[error(transparent)]
    Regex(#[from] RegexError),
    #[error(transparent)]
    Ip(#[from] IpPatternError),
}

#[derive(Debug, Clone)]
pub(crate) enum LabelFilter {
    Text { name: NameId, test: TextTest, is_negated: bool },
    Number { name: NameId, op: CompareOp, value: f64 },
    Duration { name: NameId, op: CompareOp, nanoseconds: i64 },
    Size { name: NameId, op: CompareOp, bytes: u64 },
    Address { name: NameId, range: AddressRange, is_negated: bool },
    All(Vec<LabelFilter>),
    Any(Vec<LabelFilter>),
}

#[derive(Debug, Clone)]
pub(crate) enum TextTest {
    /// The empty pattern matches every value.
    Always,
    Equals(Box<[u8]>),
    /// Anchored.
    Matches(Regex),
    /// The strict reading of a pattern like `x.*`.
    ContainsAny(Vec<Box<[u8]>>),
}

impl LabelFilter {
    pub(crate) fn new(
        filter: &ast::LabelFilter,
        names: &mut PipelineNames,
        options: FilterOptions,
    ) -> Result<LabelFilter, LabelFilterError> {
        Ok(match filter {
            ast::LabelFilter::String(matcher) => LabelFilter::Text {
                name: names.intern(&matcher.name),
                test: TextTest::new(matcher, options)?,
                is_negated: matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex),
            },
            ast::LabelFilter::Compare { name, op, value } => {
                let (name, op) = (names.intern(name), *op);
                match *value {
                    FilterValue::Number(value) => LabelFilter::Number { name, op, value },
                    FilterValue::Duration(nanoseconds) => LabelFilter::Duration { name, op, nanoseconds },
                    FilterValue::Bytes(bytes) => LabelFilter::Size { name, op, bytes: as_printed(bytes) },
                }
            }
            ast::LabelFilter::Ip { name, negated, pattern } => {
                LabelFilter::Address { name: names.intern(name), range: AddressRange::parse(pattern)?, is_negated: *negated }
            }
            ast::LabelFilter::And { .. } => LabelFilter::All(Self::operands(filter, true, names, options)?),
            ast::LabelFilter::Or { .. } => LabelFilter::Any(Self::operands(filter, false, names, options)?),
        })
    }

    /// The operands of a chain of the same connective, in order: long chains do not nest.
    fn operands(
        filter: &ast::LabelFilter,
        is_and: bool,
        names: &mut PipelineNames,
        options: FilterOptions,
    ) -> Result<Vec<LabelFilter>, LabelFilterError> {
        let mut operands = Vec::new();
        let mut pending = vec![filter];
        while let Some(next) = pending.pop() {
            match next {
                ast::LabelFilter::And { left, right } if is_and => pending.extend([&**right, &**left]),
                ast::LabelFilter::Or { left, right } if !is_and => pending.extend([&**right, &**left]),
                _ => operands.push(LabelFilter::new(next, names, options)?),
            }
        }
        Ok(operands)
    }

    /// The label a filter without connectives tests.
    pub(crate) fn single_name(&self) -> Option<NameId> {
        match self {
            LabelFilter::Text { name, .. }
            | LabelFilter::Number { name, .. }
            | LabelFilter::Duration { name, .. }
            | LabelFilter::Size { name, .. }
            | LabelFilter::Address { name, .. } => Some(*name).filter(|name| *name != ERROR_NAME),
            LabelFilter::All(_) | LabelFilter::Any(_) => None,
        }
    }

    /// Whether the entry is kept.
    pub(crate) fn keeps(&self, labels: &mut EntryLabels, input: Input<'_>) -> bool {
        match self {
            LabelFilter::Text { name, test, is_negated } => {
                let value = match *name {
                    ERROR_NAME => labels.error().unwrap_or_default().as_bytes(),
                    name => labels.get(name, input).unwrap_or_default(),
                };
                test.matches(value) != *is_negated
            }
            LabelFilter::Number { name, op, value } => {
                compare(labels, input, *name, |text| Ok(holds(number(text)?.partial_cmp(value), *op)))
            }
            LabelFilter::Duration { name, op, nanoseconds } => compare(labels, input, *name, |text| {
                let parsed = parse_go_duration(text).map_err(|error| error.to_string())?;
                Ok(holds(Some(parsed.cmp(nanoseconds)), *op))
            }),
            LabelFilter::Size { name, op, bytes } => compare(labels, input, *name, |text| {
                let parsed = parse_bytes_size(text).map_err(|error| error.to_string())?;
                Ok(holds(Some(parsed.cmp(bytes)), *op))
            }),
            LabelFilter::Address { name, range, is_negated } => {
                let has_error = labels.error().is_some();
                let test = |value| has_error || range.is_found_in(value) != *is_negated;
                labels.get(*name, input).is_some_and(test)
            }
            LabelFilter::All(filters) => {
                let mut is_kept = true;
                for filter in filters {
                    // Each is asked, as each may set the error.
                    is_kept &= filter.keeps(labels, input);
                }
                is_kept
            }
            LabelFilter::Any(filters) => filters.iter().any(|filter| filter.keeps(labels, input)),
        }
    }
}

impl TextTest {
    fn new(matcher: &ast::Matcher, options: FilterOptions) -> Result<TextTest, RegexError> {
        if matches!(matcher.op, MatchOp::Equal | MatchOp::NotEqual) {
            return Ok(TextTest::Equals(matcher.value.as_bytes().into()));
        }
        if matcher.value.is_empty() {
            return Ok(TextTest::Always);
        }
        let regex = translate_anchored(&matcher.value, Anchoring::Matcher)?.compile_within(options.expression_bytes)?;
        let contained = options.strict_loki.then(|| contained_texts(&matcher.value)).flatten();
        Ok(contained.map_or(TextTest::Matches(regex), TextTest::ContainsAny))
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            TextTest::Always => true,
            TextTest::Equals(text) => value == &**text,
            TextTest::Matches(regex) => is_match(regex, value),
            TextTest::ContainsAny(texts) => texts.iter().any(|text| memchr::memmem::find(value, text).is_some()),
        }
    }
}

/// A size as it reads once printed: with two significant digits. The reference compares with that.
fn as_printed(bytes: u64) -> u64 {
    parse_bytes_size(&format_bytes_size(bytes)).unwrap_or(bytes)
}

/// For `x.*`, `.*x` and `.*x.*`, where `x` is plain or a group of plain alternatives: the alternatives.
fn contained_texts(pattern: &str) -> Option<Vec<Box<[u8]>>> {
    let without_start = pattern.strip_prefix(".*").unwrap_or(pattern);
    let core = without_start.strip_suffix(".*").unwrap_or(without_start);
    if core.len() == pattern.len() || core.is_empty() {
        return None;
    }
    let group = core.strip_prefix("(?:").or_else(|| core.strip_prefix('(')).and_then(|core| core.strip_suffix(')'));
    let alternatives: Vec<&str> = group.map_or_else(|| vec![core], |group| group.split('|').collect());
    let is_plain = |text: &&str| !text.contains(|c| r"\.+*?()|[]{}^$".contains(c)) && !text.is_empty();
    alternatives.iter().all(is_plain).then(|| alternatives.iter().map(|text| text.as_bytes().into()).collect())
}

/// Compares a converted value. A missing label drops the entry, a value that cannot be converted keeps it.
fn compare(labels: &mut EntryLabels, input: Input<'_>, name: NameId, test: impl FnOnce(&str) -> Result<bool, String>) -> bool {
    let Some(value) = labels.find(name, input) else {
        return false;
    };
    match test(&String::from_utf8_lossy(value)) {
        Ok(is_kept) => is_kept,
        Err(reason) => {
            if labels.error().is_none() {
                labels.set_error(LABEL_FILTER_ERROR, |details| details.push_str(&reason));
            }
            true
        }
    }
}

fn holds(order: Option<std::cmp::Ordering>, op: CompareOp) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match op {
        CompareOp::Equal => order == Some(Equal),
        CompareOp::NotEqual => order != Some(Equal),
        CompareOp::Greater => order == Some(Greater),
        CompareOp::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        CompareOp::Less => order == Some(Less),
        CompareOp::LessOrEqual => matches!(order, Some(Less | Equal)),
    }
}

/// A number as Go reads it; plain decimals take the short way.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.len() < 20
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_plain && let Ok(number) = text.parse() {
        return Ok(number);
    }
    parse_go_float(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_patterns_are_taken_apart() {
        let texts = |pattern| contained_texts(pattern).map(|texts| texts.len());
        assert_eq!(texts("wor.*"), Some(1));
        assert_eq!(texts(".*wor.*"), Some(1));
        assert_eq!(texts(".*(a|b)"), Some(2));
        for pattern in ["wor", ".*", "w.r.*", "a|b.*", ".*[ab]"] {
            assert_eq!(texts(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn nan_is_only_unequal() {
        assert!(holds(f64::NAN.partial_cmp(&1.0), CompareOp::NotEqual));
        for op in [CompareOp::Equal, CompareOp::Greater, CompareOp::LessOrEqual] {
            assert!(!holds(f64::NAN.partial_cmp(&1.0), op));
        }
    }

    #[test]
    fn the_short_way_reads_as_the_long_one() {
        for text in ["0", "1", "-1", "007", "5.", "1.5", "-0.25", "1.2.3", "1e3", "x", "", "-", "123456789012345678901"] {
            assert_eq!(number(text), parse_go_float(text).map_err(|error| error.to_string()), "{text}");
        }
    }
}
