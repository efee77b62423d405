//! `{app="a", pod=~"x.*"}`.

use super::Parser;
use crate::ast::{MatchOp, Matcher, Selector};
use crate::error::ParseError;
use crate::lexer::{Symbol, TokenKind};
use crate::regex_dialect;

const MATCH_OPERATORS: [&str; 4] = ["=", "=~", "!~", "!="];

impl Parser {
    pub(super) fn selector(&mut self) -> Result<Selector, ParseError> {
        self.expect_symbol(Symbol::OpenBrace, &["{"])?;
        let mut matchers = Vec::new();
        if self.take_symbol(Symbol::CloseBrace) {
            return Ok(Selector { matchers });
        }
        let mut name = self.expect_identifier(&["IDENTIFIER", "}"])?;
        loop {
            let op = self.match_operator().ok_or_else(|| self.unexpected(&MATCH_OPERATORS))?;
            self.advance();
            matchers.push(self.matcher_value(name, op)?);
            if self.take_symbol(Symbol::CloseBrace) {
                return Ok(Selector { matchers });
            }
            self.expect_symbol(Symbol::Comma, &["}", ","])?;
            name = self.expect_identifier(&["IDENTIFIER"])?;
        }
    }

    /// The match operator that comes next, which stays.
    pub(super) fn match_operator(&self) -> Option<MatchOp> {
        let TokenKind::Symbol(symbol) = self.peek() else { return None };
        Some(match symbol {
            Symbol::Assign => MatchOp::Equal,
            Symbol::NotEqual => MatchOp::NotEqual,
            Symbol::RegexMatch => MatchOp::Regex,
            Symbol::RegexNotMatch => MatchOp::NotRegex,
            _ => return None,
        })
    }

    /// The string after a match operator; regular expressions must be well formed.
    pub(super) fn matcher_value(&mut self, name: String, op: MatchOp) -> Result<Matcher, ParseError> {
        let value = self.expect_string(&["STRING"])?;
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            regex_dialect::translate(&value).map_err(|error| ParseError::semantic(error.to_string()))?;
        }
        Ok(Matcher { name, op, value })
    }
}
