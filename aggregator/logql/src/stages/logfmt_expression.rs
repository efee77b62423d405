//! `| logfmt label="key", …`: the values of given keys; the last occurrence of a key counts.
//!
//! Each label is first set to nothing, unless the entry has it from its stream or its metadata. A key that no label asks for goes to the label
//! of its own name. Loki's reading is kept with `strict_loki` where it loses values: see [`LogfmtExpression::is_overlooked`].

use thiserror::Error;

use super::FilterOptions;
use super::extraction::{Extraction, ParserScratch, is_clean, sanitized};
use super::logfmt::{next_pair, report};
use super::logfmt_pairs::{Pair, Pairs, unquote};
use crate::ast;
use crate::literal::go_unquote;
use crate::pipeline::entry::Text;
use crate::pipeline::keys::ROOT;
use crate::pipeline::names::{NameId, PipelineNames};

/// Why a text is no key; displayed as the reference does.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot parse expression [{key}]: {reason}")]
pub(crate) struct KeyError {
    key: String,
    reason: String,
}

#[derive(Debug, Clone)]
pub(crate) struct LogfmtExpression {
    strict: bool,
    /// Labels, and the sanitised keys whose values they take. Of a label that is named twice, the last key.
    labels: Vec<(NameId, NameId)>,
    strict_loki: bool,
}

impl LogfmtExpression {
    pub(crate) fn new(
        strict: bool,
        extractions: &[ast::Extraction],
        names: &mut PipelineNames,
        options: FilterOptions,
    ) -> Result<LogfmtExpression, KeyError> {
        let mut labels = Vec::with_capacity(extractions.len());
        for extraction in extractions {
            let key = parse_key(&extraction.path)?;
            let key = if options.strict_loki { key } else { sanitized(key.as_bytes()) };
            let label = names.intern(&extraction.name);
            labels.retain(|(known, _)| *known != label);
            labels.push((label, names.intern(&key)));
        }
        Ok(LogfmtExpression { strict, labels, strict_loki: options.strict_loki })
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = NameId> {
        self.labels.iter().map(|(label, _)| *label)
    }

    pub(crate) fn run(&self, mut extraction: Extraction<'_>, scratch: &mut ParserScratch) {
        if extraction.labels.has_all_needed() {
            return;
        }
        for (label, _) in &self.labels {
            if extraction.labels.unsuffixed_or_suffixed(*label) == *label {
                extraction.labels.set_parsed(*label, Text::EMPTY);
            }
        }
        let ParserScratch { keys, unescaped, .. } = scratch;
        keys.start_line();
        let line = extraction.line;
        let mut pairs = Pairs::new(line, unescaped);
        loop {
            let mut known = None;
            let pair = match next_pair(&mut pairs, self.strict, |text| keys.guess_into(&mut known, ROOT, text, b'=')) {
                Ok(Some(pair)) => pair,
                Ok(None) => return,
                Err(error) => return report(&mut extraction, &error),
            };
            let raw = &line[pair.key_start..pair.key_end];
            let key = known.unwrap_or_else(|| extraction.key(keys, ROOT, raw, raw));
            let Some(key) = keys.get(key).name else {
                continue;
            };
            let is_asked_for = self.labels.iter().any(|(_, wanted)| *wanted == key);
            let is_label = self.labels.iter().any(|(label, _)| *label == key);
            if !(is_asked_for || is_label) || self.is_overlooked(key, is_label, &extraction) {
                continue;
            }
            let text = value_text(&mut extraction, pair);
            let takes = |(label, wanted): &&(NameId, NameId)| if is_asked_for { *wanted == key } else { *label == key };
            for (label, _) in self.labels.iter().filter(takes) {
                let target = extraction.labels.unsuffixed_or_suffixed(*label);
                if self.strict_loki && target != *label && !extraction.labels.may_extract(target) {
                    return;
                }
                extraction.labels.set_parsed(target, text);
            }
            if self.strict_loki && extraction.labels.has_all_needed() {
                return;
            }
        }
    }

    /// Loki passes over keys that are no label of the stage where the query needs no label of that name, or where a stage before has found
    /// one: `sum by (x) (count_over_time({…} | logfmt x="key" [1m]))` finds nothing there.
    fn is_overlooked(&self, key: NameId, is_label: bool, extraction: &Extraction<'_>) -> bool {
        self.strict_loki && !is_label && !extraction.labels.may_extract(key)
    }
}

/// A value as it is; one that cannot be shown counts as empty.
fn value_text(extraction: &mut Extraction<'_>, pair: Pair) -> Text {
    let line = extraction.line;
    let raw = &line[pair.value_start..pair.value_end];
    if pair.is_escaped {
        return extraction.labels.store(|buffer| {
            let start = buffer.len();
            if !unquote(raw, buffer) || !is_clean(&buffer[start..]) {
                buffer.truncate(start);
            }
        });
    }
    if !is_clean(raw) {
        return Text::EMPTY;
    }
    extraction.range(pair.value_start, pair.value_end)
}

/// An identifier, or any key in quotes.
fn parse_key(key: &str) -> Result<String, KeyError> {
    let refuse = |reason: &str| Err(KeyError { key: key.to_owned(), reason: reason.to_owned() });
    let text = key.trim();
    if text.is_empty() {
        return refuse("syntax error: unexpected $end, expecting STRING or KEY");
    }
    if text.starts_with('"') {
        return match go_unquote(text) {
            Some(quoted) => Ok(quoted),
            None => refuse("invalid quoted key"),
        };
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    match text[end..].chars().next() {
        None => Ok(text.to_owned()),
        Some(character) if character.is_whitespace() => refuse("syntax error: unexpected KEY"),
        Some(character) => refuse(&format!("unexpected char {character}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_identifiers_or_quoted() {
        assert_eq!(parse_key("a_1").unwrap(), "a_1");
        assert_eq!(parse_key(r#""a""#).unwrap(), "a");
        let cases = [
            ("foo.bar", "cannot parse expression [foo.bar]: unexpected char ."),
            ("a=b", "cannot parse expression [a=b]: unexpected char ="),
            ("a b", "cannot parse expression [a b]: syntax error: unexpected KEY"),
            ("", "cannot parse expression []: syntax error: unexpected $end, expecting STRING or KEY"),
        ];
        for (key, text) in cases {
            assert_eq!(parse_key(key).unwrap_err().to_string(), text);
        }
    }
}
