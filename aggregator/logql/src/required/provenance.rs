//! Where the values of labels come from at a place of a pipeline, and so in what form their text is in the rows.
//!
//! A value that is no stream label's is a metadata value, which is a row as it is, or comes from the line through the
//! parsers before. Those that copy leave its text as it is (bytes that are no UTF-8 become U+FFFD); those that undo
//! escapes may have found any character escaped, ASCII ones as `\u00..`, which is then in the line.

use super::{Requirement, pieces};
use crate::ast::Stage;

/// With what every `\u` escape of an ASCII character begins.
const ASCII_ESCAPE: &[u8] = br"\u00";

pub(super) struct Provenance<'a> {
    is_known_label: &'a dyn Fn(&str) -> bool,
    is_line_original: bool,
    /// Whether a parser worked on a line that a stage had made.
    is_lost: bool,
    undoes_escapes: bool,
    /// Labels that `label_format` set.
    formatted: Vec<&'a str>,
}

impl<'a> Provenance<'a> {
    pub(super) fn new(is_known_label: &'a dyn Fn(&str) -> bool) -> Provenance<'a> {
        Provenance { is_known_label, is_line_original: true, is_lost: false, undoes_escapes: false, formatted: Vec::new() }
    }

    /// Whether stages see the line as it came in.
    pub(super) fn is_line_original(&self) -> bool {
        self.is_line_original
    }

    /// Takes note of a stage that is no filter.
    pub(super) fn pass(&mut self, stage: &'a Stage) {
        match stage {
            Stage::Json { .. } | Stage::Logfmt { .. } => {
                self.undoes_escapes = true;
                self.is_lost |= !self.is_line_original;
            }
            Stage::Regexp { .. } | Stage::Pattern { .. } => self.is_lost |= !self.is_line_original,
            Stage::Unpack => {
                self.is_lost = true;
                self.is_line_original = false;
            }
            Stage::LineFormat { .. } | Stage::Decolorize => self.is_line_original = false,
            Stage::LabelFormat { formats } => self.formatted.extend(formats.iter().map(|format| format.target.as_str())),
            Stage::LineFilter(_) | Stage::LabelFilter(_) | Stage::Drop { .. } | Stage::Keep { .. } => {}
        }
    }

    /// What the rows hold if the value of a label holds this text.
    pub(super) fn of_value(&self, name: &str, bytes: &[u8], fold_case: bool) -> Requirement {
        // Names like `__error__` are the pipeline's own.
        let is_traced = !self.is_lost && !name.starts_with("__") && !self.formatted.contains(&name) && !(self.is_known_label)(name);
        if !is_traced {
            return Requirement::Anything;
        }
        if !self.undoes_escapes {
            return pieces(bytes, fold_case, |character| character == char::REPLACEMENT_CHARACTER);
        }
        let literal = pieces(bytes, fold_case, may_be_written_otherwise);
        Requirement::any(vec![literal, Requirement::text(ASCII_ESCAPE)])
    }
}

/// Whether JSON or logfmt have another way to write the character than itself and `\u00..`, or a value may hold it
/// for something else, as it holds blanks for bytes that are no UTF-8.
fn may_be_written_otherwise(character: char) -> bool {
    !character.is_ascii() || character.is_ascii_control() || matches!(character, ' ' | '"' | '\'' | '\\' | '/')
}
