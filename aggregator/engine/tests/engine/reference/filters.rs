//! Filters of lines and labels.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use regex::Regex;
use tailwater_logql::ast::{CompareOp, FilterValue, LabelFilter, LineFilter, LineFilterArg, LineFilterOp, MatchOp, Matcher};

use super::entry::Entry;

/// Queries have few expressions, each of them asked for every entry.
pub(crate) fn regex(pattern: &str) -> Rc<Regex> {
    thread_local!(static COMPILED: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default());
    let compile = || Rc::new(Regex::new(pattern).expect("an expression that both dialects read alike"));
    COMPILED.with_borrow_mut(|compiled| compiled.entry(pattern.to_owned()).or_insert_with(compile).clone())
}

/// Whether a value fits a matcher of a selector, `drop` or `keep`: anchored, a dot stands for a line break too.
pub(crate) fn matches(matcher: &Matcher, value: &str) -> bool {
    fits(matcher, value, "(?s:")
}

fn fits(matcher: &Matcher, value: &str, group: &str) -> bool {
    let is_match = || regex(&format!("^{group}{})$", matcher.value)).is_match(value);
    match matcher.op {
        MatchOp::Equal => value == matcher.value,
        MatchOp::NotEqual => value != matcher.value,
        MatchOp::Regex => is_match(),
        MatchOp::NotRegex => !is_match(),
    }
}

pub(crate) fn keeps_line(filter: &LineFilter, line: &str) -> bool {
    use LineFilterOp::*;
    let holds = |argument: &LineFilterArg| match (filter.op, argument) {
        (_, LineFilterArg::Ip(range)) => holds_address(line, range),
        (Contains | NotContains, LineFilterArg::Text(text)) => line.contains(text.as_str()),
        (Regex | NotRegex, LineFilterArg::Text(text)) if text == ".+" => !line.is_empty(),
        (Regex | NotRegex, LineFilterArg::Text(text)) => text == ".*" || regex(text).is_match(line),
        (Pattern | NotPattern, LineFilterArg::Text(text)) => fits_pattern(text, line),
    };
    let any = filter.alternatives.iter().any(holds);
    any == matches!(filter.op, Contains | Regex | Pattern)
}

/// `<_>` stands for one byte or more; the first literal may stand anywhere.
fn fits_pattern(pattern: &str, line: &str) -> bool {
    let literals: Vec<&str> = pattern.split("<_>").collect();
    let mut at = 0;
    for (index, literal) in literals.iter().enumerate() {
        let is_last = index + 1 == literals.len();
        if literal.is_empty() {
            // The pattern begins or ends with a capture.
            if is_last {
                return if index == 0 { line.is_empty() } else { at < line.len() };
            }
            continue;
        }
        let Some(found) = line[at..].find(literal) else { return false };
        if index > 0 && found == 0 {
            return false;
        }
        at += found + literal.len();
        if is_last {
            return at == line.len();
        }
    }
    true
}

/// Whether the text holds an address of `a.b.c.d/bits`, `from-to` or a single one. Only version 4 is written.
fn holds_address(text: &str, range: &str) -> bool {
    let number = |text: &str| {
        text.parse::<IpAddr>().ok().and_then(|address| if let IpAddr::V4(address) = address { Some(u32::from(address)) } else { None })
    };
    let (first, last) = if let Some((network, bits)) = range.split_once('/') {
        let mask = u32::MAX << (32 - bits.parse::<u32>().expect("bits"));
        let network = number(network).expect("a network") & mask;
        (network, network | !mask)
    } else {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (number(first).expect("an address"), number(last).expect("an address"))
    };
    let runs = text.split(|char: char| !char.is_ascii_digit() && char != '.');
    runs.filter_map(number).any(|address| first <= address && address <= last)
}

/// Runs a label filter: whether the entry stays. May set its error.
pub(crate) fn keeps(filter: &LabelFilter, entry: &mut Entry<'_>) -> bool {
    match filter {
        // Here a dot stands for no line break.
        LabelFilter::String(matcher) => fits(matcher, entry.get(&matcher.name), "(?:"),
        LabelFilter::And { left, right } => keeps(left, entry) & keeps(right, entry),
        LabelFilter::Or { left, right } => keeps(left, entry) || keeps(right, entry),
        LabelFilter::Ip { name, negated, pattern } => {
            entry.error.is_some() || entry.find(name).is_some_and(|address| holds_address(address, pattern) != *negated)
        }
        LabelFilter::Compare { name, op, value } => {
            let Some(text) = entry.find(name) else { return false };
            let (found, wanted) = match value {
                FilterValue::Number(wanted) => (text.parse().ok(), *wanted),
                FilterValue::Duration(wanted) => (seconds(text), *wanted as f64 / 1e9),
                FilterValue::Bytes(wanted) => (bytes(text), *wanted as f64),
            };
            let Some(found) = found else {
                if entry.error.is_none() {
                    let details = text.to_owned();
                    entry.fail("LabelFilterErr", details);
                }
                return true;
            };
            match op {
                CompareOp::Equal => found == wanted,
                CompareOp::NotEqual => found != wanted,
                CompareOp::Greater => found > wanted,
                CompareOp::GreaterOrEqual => found >= wanted,
                CompareOp::Less => found < wanted,
                CompareOp::LessOrEqual => found <= wanted,
            }
        }
    }
}

/// Splits `12ms` into 12 and `ms`, again and again.
fn amounts(text: &str) -> Option<Vec<(f64, &str)>> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut amounts) = (text, Vec::new());
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let unit = rest[digits..].find(|char: char| char.is_ascii_digit()).map_or(rest.len(), |length| digits + length);
        amounts.push((rest[..digits].parse().ok()?, &rest[digits..unit]));
        rest = &rest[unit..];
    }
    Some(amounts)
}

/// The seconds of Go's `1m30s`; no days.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    if let Some(text) = text.strip_prefix('-') {
        return seconds(text).map(|seconds| -seconds);
    }
    let unit = |unit: &str| match unit {
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    amounts(text)?.into_iter().map(|(number, name)| Some(number * unit(name)?)).sum()
}

/// Whole bytes.
pub(crate) fn bytes(text: &str) -> Option<f64> {
    let amounts = amounts(text)?;
    let [(number, unit)] = amounts[..] else { return None };
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "kib" => 1024.0,
        "mb" => 1e6,
        "mib" => 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor).trunc())
}
