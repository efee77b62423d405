//! What every entry that passes a pipeline must hold as text: what a text index is asked.
//!
//! A [`Requirement`] speaks of the rows of an entry: its line as it came in, and each value of its structured metadata.
//! Labels of the stream are no rows; a filter on one requires nothing.
//!
//! Invariant: an entry that passes satisfies the requirement, also where a stage replaces the line, escapes are undone
//! or bytes are no UTF-8. In doubt nothing is required. Sizes are bounded by the query's own and, for regular
//! expressions, by [`regex_literals`].

mod label_filter;
mod line_filter;
mod provenance;
mod regex_literals;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::ast::Stage;
use provenance::Provenance;

/// What the rows of a passing entry hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing is known.
    Anything,
    /// Some row holds these bytes in any ASCII case; with `fold_case` in any case of Unicode, by its simple folding.
    Text { bytes: Vec<u8>, fold_case: bool },
    /// All of these, not necessarily in one row.
    All(Vec<Requirement>),
    /// At least one of these.
    Any(Vec<Requirement>),
}

/// What entries that pass the stages hold. `is_known_label` says whether a stream that the query selects may have a
/// label of this name.
pub fn required_text(stages: &[Stage], is_known_label: impl Fn(&str) -> bool) -> Requirement {
    let mut provenance = Provenance::new(&is_known_label);
    let mut required = Vec::new();
    for stage in stages {
        match stage {
            Stage::LineFilter(filter) if provenance.is_line_original() => required.push(line_filter::required(filter)),
            Stage::LineFilter(_) => {}
            Stage::LabelFilter(filter) => required.push(label_filter::required(filter, &provenance)),
            other => provenance.pass(other),
        }
    }
    Requirement::all(required)
}

impl Requirement {
    pub(crate) fn text(bytes: &[u8]) -> Requirement {
        Requirement::literal(bytes, false)
    }

    /// Of no bytes nothing is required.
    pub(crate) fn literal(bytes: &[u8], fold_case: bool) -> Requirement {
        if bytes.is_empty() { Requirement::Anything } else { Requirement::Text { bytes: bytes.to_vec(), fold_case } }
    }

    pub(crate) fn all(parts: Vec<Requirement>) -> Requirement {
        let mut joined = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Requirement::Anything => {}
                Requirement::All(inner) => joined.extend(inner),
                other => joined.push(other),
            }
        }
        match joined.len() {
            0 => Requirement::Anything,
            1 => joined.remove(0),
            _ => Requirement::All(joined),
        }
    }

    /// Of no parts nothing is required, so that a mistake about them excludes nothing.
    pub(crate) fn any(parts: Vec<Requirement>) -> Requirement {
        let mut joined = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Requirement::Anything => return Requirement::Anything,
                Requirement::Any(inner) => joined.extend(inner),
                other => joined.push(other),
            }
        }
        match joined.len() {
            0 => Requirement::Anything,
            1 => joined.remove(0),
            _ => Requirement::Any(joined),
        }
    }
}

/// The text without its separators as requirements, all of which hold.
pub(crate) fn pieces(bytes: &[u8], fold_case: bool, is_separator: impl Fn(char) -> bool) -> Requirement {
    let mut pieces = Vec::new();
    for chunk in bytes.utf8_chunks() {
        pieces.extend(chunk.valid().split(&is_separator).map(|piece| Requirement::literal(piece.as_bytes(), fold_case)));
    }
    Requirement::all(pieces)
}
