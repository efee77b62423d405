//! What a range aggregation takes: a log query with `[5m]` after its selector or at its end, an offset and an
//! unwrap, in any of the forms the language has grown.

use super::Parser;
use crate::ast::{Conversion, LogExpr, LogRange, Unwrap};
use crate::error::ParseError;
use crate::lexer::{Symbol, TokenKind, Word};

const LABEL_OR_CONVERSION: [&str; 4] = ["IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV"];

/// A log query in parentheses may still lack its range, which then follows the parentheses.
enum Enclosed {
    Complete(LogRange),
    WithoutRange { log: LogExpr, unwrap: Option<Unwrap> },
}

impl Parser {
    /// The next token begins a log range.
    pub(super) fn at_log_range(&self) -> bool {
        self.at_symbol(Symbol::OpenBrace) || self.at_symbol(Symbol::OpenParen)
    }

    pub(super) fn log_range(&mut self) -> Result<LogRange, ParseError> {
        if !self.take_symbol(Symbol::OpenParen) {
            return match self.bare_log_range()? {
                Enclosed::Complete(range) => Ok(range),
                Enclosed::WithoutRange { unwrap: Some(_), .. } => Err(self.unexpected(&["RANGE", "|"])),
                Enclosed::WithoutRange { .. } => Err(self.unexpected(&[])),
            };
        }
        let enclosed = self.nested(|parser| {
            if parser.at_symbol(Symbol::OpenParen) { parser.log_range().map(Enclosed::Complete) } else { parser.bare_log_range() }
        })?;
        match enclosed {
            Enclosed::Complete(range) => {
                self.expect_symbol(Symbol::CloseParen, &[")"])?;
                Ok(range)
            }
            Enclosed::WithoutRange { log, unwrap } => {
                self.expect_symbol(Symbol::CloseParen, &[])?;
                let range = self.range()?;
                let offset = self.offset()?;
                let unwrap = if unwrap.is_none() { self.unwrap()? } else { unwrap };
                Ok(LogRange { log, unwrap, range, offset })
            }
        }
    }

    /// A log range that begins with its selector.
    fn bare_log_range(&mut self) -> Result<Enclosed, ParseError> {
        let selector = self.selector()?;
        if matches!(self.peek(), TokenKind::Range(_)) {
            let range = self.range()?;
            let offset = self.offset()?;
            let stages = self.stages()?;
            let unwrap = self.unwrap()?;
            return Ok(Enclosed::Complete(LogRange { log: LogExpr { selector, stages }, unwrap, range, offset }));
        }
        let log = LogExpr { selector, stages: self.stages()? };
        let unwrap = self.unwrap()?;
        if !matches!(self.peek(), TokenKind::Range(_)) {
            return Ok(Enclosed::WithoutRange { log, unwrap });
        }
        let range = self.range()?;
        let offset = self.offset()?;
        Ok(Enclosed::Complete(LogRange { log, unwrap, range, offset }))
    }

    fn range(&mut self) -> Result<i64, ParseError> {
        let TokenKind::Range(nanoseconds) = *self.peek() else {
            return Err(self.unexpected(&["RANGE"]));
        };
        self.advance();
        Ok(nanoseconds)
    }

    /// Zero where there is none.
    fn offset(&mut self) -> Result<i64, ParseError> {
        if !self.take_word(Word::Offset) {
            return Ok(0);
        }
        let TokenKind::Duration(nanoseconds) = *self.peek() else {
            return Err(self.unexpected(&["DURATION"]));
        };
        self.advance();
        Ok(nanoseconds)
    }

    fn unwrap(&mut self) -> Result<Option<Unwrap>, ParseError> {
        if !self.at_symbol(Symbol::Pipe) {
            return Ok(None);
        }
        // Stages end only at a pipe that unwraps.
        self.advance();
        if !self.take_word(Word::Unwrap) {
            return Err(self.unexpected(&["unwrap"]));
        }
        let (label, conversion) = self.unwrapped_label()?;
        let mut post_filters = Vec::new();
        while self.take_symbol(Symbol::Pipe) {
            post_filters.push(self.label_filter()?);
        }
        Ok(Some(Unwrap { label, conversion, post_filters }))
    }

    fn unwrapped_label(&mut self) -> Result<(String, Option<Conversion>), ParseError> {
        let TokenKind::Conversion(conversion) = *self.peek() else {
            return Ok((self.expect_identifier(&LABEL_OR_CONVERSION)?, None));
        };
        self.advance();
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let label = self.expect_identifier(&["IDENTIFIER"])?;
        self.expect_symbol(Symbol::CloseParen, &[")"])?;
        Ok((label, Some(conversion)))
    }
}
