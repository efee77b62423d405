//! The stages of a pipeline, from line filters to `keep`.

use super::Parser;
use crate::ast::{Extraction, LabelFormat, LabelFormatSource, LineFilter, LineFilterArg, LineFilterOp, NameOrMatcher, Stage};
use crate::error::ParseError;
use crate::lexer::{Flag, Symbol, TokenKind, Word};
use crate::validate::{check_pattern_parser, check_regexp_parser};

impl Parser {
    /// All stages up to something that begins none. `| unwrap` begins none.
    pub(super) fn stages(&mut self) -> Result<Vec<Stage>, ParseError> {
        let mut stages = Vec::new();
        loop {
            if let Some(op) = self.line_filter_operator() {
                self.advance();
                stages.push(Stage::LineFilter(self.line_filter(op)?));
            } else if self.at_symbol(Symbol::Pipe) && *self.peek_second() != TokenKind::Word(Word::Unwrap) {
                self.advance();
                stages.push(self.stage()?);
            } else {
                return Ok(stages);
            }
        }
    }

    fn line_filter_operator(&self) -> Option<LineFilterOp> {
        let TokenKind::Symbol(symbol) = self.peek() else { return None };
        Some(match symbol {
            Symbol::PipeEqual => LineFilterOp::Contains,
            Symbol::NotEqual => LineFilterOp::NotContains,
            Symbol::PipeRegex => LineFilterOp::Regex,
            Symbol::RegexNotMatch => LineFilterOp::NotRegex,
            Symbol::PipePattern => LineFilterOp::Pattern,
            Symbol::NotPattern => LineFilterOp::NotPattern,
            _ => return None,
        })
    }

    fn line_filter(&mut self, op: LineFilterOp) -> Result<LineFilter, ParseError> {
        let mut alternatives = vec![self.line_filter_argument()?];
        while self.take_word(Word::Or) {
            alternatives.push(self.line_filter_argument()?);
        }
        Ok(LineFilter { op, alternatives })
    }

    fn line_filter_argument(&mut self) -> Result<LineFilterArg, ParseError> {
        if self.at_word(Word::Ip) {
            return self.ip_pattern().map(LineFilterArg::Ip);
        }
        self.expect_string(&["STRING", "ip"]).map(LineFilterArg::Text)
    }

    /// A stage after its `|`.
    fn stage(&mut self) -> Result<Stage, ParseError> {
        if self.at_label_filter() {
            return self.label_filter().map(Stage::LabelFilter);
        }
        let TokenKind::Word(word) = *self.peek() else { return Err(self.unexpected(&[])) };
        match word {
            Word::Json => {
                self.advance();
                Ok(Stage::Json { extractions: self.extractions()? })
            }
            Word::Logfmt => {
                self.advance();
                self.logfmt()
            }
            Word::Regexp => {
                self.advance();
                let pattern = self.expect_string(&["STRING"])?;
                check_regexp_parser(&pattern)?;
                Ok(Stage::Regexp { pattern })
            }
            Word::Pattern => {
                self.advance();
                let pattern = self.expect_string(&["STRING"])?;
                check_pattern_parser(&pattern)?;
                Ok(Stage::Pattern { pattern })
            }
            Word::Unpack => {
                self.advance();
                Ok(Stage::Unpack)
            }
            Word::Decolorize => {
                self.advance();
                Ok(Stage::Decolorize)
            }
            Word::LineFormat => {
                self.advance();
                Ok(Stage::LineFormat { template: self.expect_string(&["STRING"])? })
            }
            Word::LabelFormat => {
                self.advance();
                Ok(Stage::LabelFormat { formats: self.label_formats()? })
            }
            Word::Drop => {
                self.advance();
                Ok(Stage::Drop { targets: self.names_or_matchers()? })
            }
            Word::Keep => {
                self.advance();
                Ok(Stage::Keep { targets: self.names_or_matchers()? })
            }
            _ => Err(self.unexpected(&[])),
        }
    }

    fn logfmt(&mut self) -> Result<Stage, ParseError> {
        let (mut strict, mut keep_empty) = (false, false);
        while let TokenKind::Flag(flag) = self.peek() {
            match flag {
                Flag::Strict => strict = true,
                Flag::KeepEmpty => keep_empty = true,
            }
            self.advance();
        }
        Ok(Stage::Logfmt { strict, keep_empty, extractions: self.extractions()? })
    }

    /// `a="path", b`, or nothing.
    fn extractions(&mut self) -> Result<Vec<Extraction>, ParseError> {
        let mut extractions = Vec::new();
        if !matches!(self.peek(), TokenKind::Identifier(_)) {
            return Ok(extractions);
        }
        loop {
            let name = self.expect_identifier(&["IDENTIFIER"])?;
            let path = if self.take_symbol(Symbol::Assign) { self.expect_string(&["STRING"])? } else { name.clone() };
            extractions.push(Extraction { name, path });
            if !self.take_symbol(Symbol::Comma) {
                return Ok(extractions);
            }
        }
    }

    fn label_formats(&mut self) -> Result<Vec<LabelFormat>, ParseError> {
        let mut formats = Vec::new();
        loop {
            let target = self.expect_identifier(&["IDENTIFIER"])?;
            self.expect_symbol(Symbol::Assign, &["="])?;
            let source = match self.peek() {
                TokenKind::Identifier(label) => LabelFormatSource::Label(label.clone()),
                TokenKind::String(template) => LabelFormatSource::Template(template.clone()),
                _ => return Err(self.unexpected(&["IDENTIFIER", "STRING"])),
            };
            self.advance();
            formats.push(LabelFormat { target, source });
            if !self.take_symbol(Symbol::Comma) {
                return Ok(formats);
            }
        }
    }

    fn names_or_matchers(&mut self) -> Result<Vec<NameOrMatcher>, ParseError> {
        let mut targets = Vec::new();
        loop {
            let (name, matcher) = self.name_with_optional_matcher()?;
            targets.push(matcher.map_or(NameOrMatcher::Name(name), NameOrMatcher::Matcher));
            if !self.take_symbol(Symbol::Comma) {
                return Ok(targets);
            }
        }
    }
}
