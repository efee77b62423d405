//! What is wrong with a query, in the words clients know.
//!
//! Two forms: with a position (`parse error at line 1, col 9: …`) for everything the lexer and the grammar
//! refuse, without one (`parse error : …`) for what is grammatical and yet not allowed. Tokens made of several
//! scanned pieces (`|=`, `[5m]`, `10KB`) report line 0 with the column where they begin.

use std::fmt;

/// Where a token begins: lines and columns from 1, columns counted in characters. Line 0 marks tokens made of
/// several pieces; line 0 and column 0 together mean "no position".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// A refused query. `Display` is the exact text of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    position: Position,
    message: String,
}

impl ParseError {
    /// A lexical or syntactic error at a place in the text.
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }

    /// An error of meaning, without a place.
    pub fn semantic(message: impl Into<String>) -> Self {
        Self { position: Position::default(), message: message.into() }
    }

    /// A stage that cannot be built. `stage_text` is the stage as the printer writes it.
    pub fn in_stage(stage_text: &str, reason: impl fmt::Display) -> Self {
        Self::semantic(format!("stage '{stage_text}' : {reason}"))
    }

    /// The place of the offending token; the default (0, 0) for errors without one.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The text without the `parse error…:` in front.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.position == Position::default() {
            return write!(f, "parse error : {}", self.message);
        }
        write!(f, "parse error at line {}, col {}: {}", self.position.line, self.position.column, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_left_out_only_when_there_is_none() {
        assert_eq!(ParseError::semantic("x").to_string(), "parse error : x");
        let column_only = ParseError::at(Position { line: 0, column: 3 }, "x");
        assert_eq!(column_only.to_string(), "parse error at line 0, col 3: x");
        assert_eq!(ParseError::in_stage("| unpack", "y").to_string(), "parse error : stage '| unpack' : y");
    }
}
