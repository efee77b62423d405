//! Label filters: strings, numbers, durations, sizes, addresses, joined by `and` and `or`.
//!
//! Only string filters read the entry's error, and so only they can drop an entry because of it; `ip()` keeps every entry that has one.
//! A value that cannot be converted keeps the entry and becomes its error, if it has none. A missing label is `""` for strings and drops
//! the entry otherwise. `and` evaluates both sides, `or` stops at the first that holds.

use regex::bytes::Regex;

use super::FilterOptions;
use super::ip::{AddressRange, IpPatternError};
use super::line_filter::plain_alternatives;
use super::regex::is_match;
use super::simplified::{Piece, Simplified, simplified};
use crate::ast::{self, CompareOp, FilterValue, MatchOp};
use crate::literal::{format_bytes_size, parse_bytes_size, parse_go_duration, parse_go_float};
use crate::pipeline::entry::{EntryLabels, Input};
use crate::pipeline::names::{ERROR_NAME, NameId, PipelineNames};
use crate::regex_dialect::{RegexError, translate};

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
    /// Plain alternatives; an empty one does not count. With `strict_loki`, whatever Loki takes for texts.
    AnyOf(Vec<Piece>),
    /// Anchored; `.` matches no line break.
    Matches(Regex),
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
                labels.error().is_some() || labels.find(*name, input).is_some_and(|value| range.is_found_in(value) != *is_negated)
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
        // What is compared as texts is well formed for all that.
        let regex = translate(&matcher.value)?;
        let form = if options.strict_loki { simplified(&matcher.value, true) } else { sane(&matcher.value) };
        Ok(match form {
            Some(Simplified::Always) => TextTest::Always,
            Some(Simplified::AnyOf(pieces)) => TextTest::AnyOf(pieces),
            None => TextTest::Matches(regex.surrounded("^(?:", ")$").compile_within(options.expression_bytes)?),
        })
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            TextTest::Always => true,
            TextTest::Equals(text) => value == &**text,
            TextTest::Matches(regex) => is_match(regex, value),
            TextTest::AnyOf(pieces) => pieces.iter().any(|piece| piece.matches(value)),
        }
    }
}

/// Expressions that are the same as texts.
fn sane(pattern: &str) -> Option<Simplified> {
    match pattern {
        "" | ".*" => Some(Simplified::Always),
        ".+" => Some(Simplified::AnyOf(vec![Piece::NotEmpty])),
        _ => {
            let whole = |text: &str| Piece::Text { text: text.to_owned(), any_case: false, is_whole: true };
            plain_alternatives(pattern).map(|texts| Simplified::AnyOf(texts.into_iter().map(whole).collect()))
        }
    }
}

/// A size as it reads once printed: with two significant digits. The reference compares with that.
fn as_printed(bytes: u64) -> u64 {
    parse_bytes_size(&format_bytes_size(bytes)).unwrap_or(bytes)
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

/// A number as Go reads it.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    parse_go_float(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_hold_for_whole_values() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "x", true),
            (".*", "a\nb", true),
            (".+", "\n", true),
            (".+", "", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("a|", "a", true),
            ("a|", "", false),
            ("|", "", true),
            ("a.b", "axb", true),
            ("a.b", "a\nb", false),
            ("f.*o", "fo\no", false),
            ("(?s)a.b", "a\nb", true),
            ("é|ü", "ü", true),
        ];
        for (pattern, value, expected) in cases {
            let matcher = ast::Matcher { name: "a".to_owned(), op: MatchOp::Regex, value: (*pattern).to_owned() };
            let test = TextTest::new(&matcher, FilterOptions::default()).expect("well formed");
            assert_eq!(test.matches(value.as_bytes()), *expected, "{pattern} {value:?}");
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
