//! Patterns of `| pattern`, `|>` and `!>`: literal text and captures `<name>` or `<_>`.
//!
//! Anything else between angle brackets is literal text. Two captures never touch.

use crate::error::ParseError;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternPart {
    Literal(String),
    /// `<name>`; `_` for one that is thrown away.
    Capture(String),
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("parse error at line 1, col 1: syntax error: unexpected $end, expecting IDENTIFIER or LITERAL")]
    Empty,
    #[error("at least one capture is required")]
    NoCapture,
    #[error("found consecutive capture '<{first}><{second}>': invalid expression")]
    Consecutive { first: String, second: String },
    #[error("duplicate capture name ({0}): invalid expression")]
    Duplicate(String),
    #[error("named captures are not allowed: found '<{0}>'")]
    Named(String),
}

/// Cuts a pattern into its parts; refuses captures that touch.
pub fn parse_pattern(pattern: &str) -> Result<Vec<PatternPart>, PatternError> {
    let mut parts: Vec<PatternPart> = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if let Some((name, after)) = capture(rest) {
            if let Some(PatternPart::Capture(first)) = parts.last() {
                return Err(PatternError::Consecutive { first: first.clone(), second: name.to_owned() });
            }
            parts.push(PatternPart::Capture(name.to_owned()));
            rest = after;
            continue;
        }
        match parts.last_mut() {
            Some(PatternPart::Literal(text)) => text.push(c),
            _ => parts.push(PatternPart::Literal(c.to_string())),
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(parts)
}

/// The name of the capture at the start of `text`, and the text after it.
fn capture(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('<')?.split_once('>')?;
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic());
    (starts_well && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())).then_some((name, after))
}

fn named(parts: &[PatternPart]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        PatternPart::Capture(name) if name != "_" => Some(name.as_str()),
        _ => None,
    })
}

/// What `| pattern` asks for: some capture with a name, no name twice.
pub(crate) fn check_pattern_parser(pattern: &str) -> Result<(), ParseError> {
    let check = || {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        let parts = parse_pattern(pattern)?;
        let mut seen: Vec<&str> = Vec::new();
        for name in named(&parts) {
            if seen.contains(&name) {
                return Err(PatternError::Duplicate(name.to_owned()));
            }
            seen.push(name);
        }
        if seen.is_empty() { Err(PatternError::NoCapture) } else { Ok(()) }
    };
    check().map_err(|error: PatternError| ParseError::semantic(format!("invalid pattern parser: {error}")))
}

/// What `|>` and `!>` ask for: only `<_>`.
pub(super) fn check_pattern_filter(pattern: &str) -> Result<(), PatternError> {
    let parts = parse_pattern(pattern)?;
    match named(&parts).next() {
        Some(name) => Err(PatternError::Named(name.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_in_brackets_are_captures() {
        let parts = parse_pattern("<a> - <_> [<1b>] <c-d> < e> <").expect("well formed");
        assert_eq!(
            parts,
            [
                PatternPart::Capture("a".into()),
                PatternPart::Literal(" - ".into()),
                PatternPart::Capture("_".into()),
                PatternPart::Literal(" [<1b>] <c-d> < e> <".into()),
            ]
        );
    }

    #[test]
    fn parser_patterns_are_checked() {
        for (pattern, reason) in [
            ("", "parse error at line 1, col 1: syntax error: unexpected $end, expecting IDENTIFIER or LITERAL"),
            ("plain", "at least one capture is required"),
            ("<_>", "at least one capture is required"),
            ("<1a> x", "at least one capture is required"),
            ("<a> <_> <a>", "duplicate capture name (a): invalid expression"),
            ("<xml><tag><v>", "found consecutive capture '<xml><tag>': invalid expression"),
        ] {
            let error = check_pattern_parser(pattern).expect_err(pattern);
            assert_eq!(error.message(), format!("invalid pattern parser: {reason}"));
        }
        assert_eq!(check_pattern_parser("<_> <a>"), Ok(()));
    }

    #[test]
    fn filter_patterns_have_no_names() {
        assert_eq!(check_pattern_filter(""), Ok(()));
        assert_eq!(check_pattern_filter("a<_>b"), Ok(()));
        assert_eq!(check_pattern_filter("<a>b"), Err(PatternError::Named("a".into())));
    }
}
