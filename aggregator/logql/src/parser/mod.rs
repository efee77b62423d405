//! Tokens to a valid syntax tree, by recursive descent with precedence climbing.
//!
//! Two classes of errors, as in Loki: what the grammar refuses (and matcher, `regexp` and `pattern` arguments
//! that do not compile) ends parsing at once; what is grammatical but not allowed is carried upwards in
//! [`Deferred`] and reported only if the rest of the text is grammatical, the outermost and leftmost first.
//! The offending token is always the first one no query with the same beginning could have.
//!
//! Nesting is bounded ([`MAX_NESTING`]), as is the number of connectives ([`MAX_CONNECTIVES`]), which bounds the
//! height of every tree: no query can overflow the stack of a later walk. Stages are not built here (see
//! [`crate::validate`]).

mod binary;
mod expression;
mod label_filter;
mod log_range;
mod selector;
mod stage;

use crate::ast::{Expr, LogExpr, MetricExpr, Selector};
use crate::error::ParseError;
use crate::lexer::{Symbol, Token, TokenKind, Word, tokenize};
use crate::validate::{check_names, check_selector};

/// Texts of this many bytes and more are refused.
pub const MAX_QUERY_BYTES: usize = 131_072;
/// Parentheses, functions and right operands within each other.
pub const MAX_NESTING: usize = 200;
/// Binary operators between metrics plus `and`, `or`, `,` between label filters, in one query.
pub const MAX_CONNECTIVES: usize = 2_000;

/// Grammatical, but perhaps not allowed.
type Deferred<T> = Result<T, ParseError>;

/// A metric on its way up. Boxed, to keep the frames of the descent small.
type DeferredMetric = Deferred<Box<MetricExpr>>;

/// A complete expression: a log query or a metric.
enum Operand {
    Log(Box<LogExpr>),
    Metric(DeferredMetric),
}

/// Parses and validates a query. Stages are checked separately, because instant log queries are refused before
/// their stages are looked at: see [`crate::validate::check_stages`].
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text)?;
    let operand = parser.expression(0)?;
    if !parser.at(&TokenKind::End) {
        return Err(parser.unexpected(&[]));
    }
    let expression = match operand {
        Operand::Log(log) => {
            check_selector(&log.selector)?;
            Expr::Log(*log)
        }
        Operand::Metric(metric) => Expr::Metric(*metric?),
    };
    check_names(&expression)?;
    Ok(expression)
}

/// What the grammar refuses in `text`, if anything.
pub(crate) fn syntax_error(text: &str) -> Option<ParseError> {
    let mut parser = match Parser::new(text) {
        Ok(parser) => parser,
        Err(error) => return Some(error),
    };
    match parser.expression(0) {
        Ok(_) if parser.at(&TokenKind::End) => None,
        Ok(_) => Some(parser.unexpected(&[])),
        Err(error) => Some(error),
    }
}

/// Parses a log query; metric queries are refused.
pub fn parse_log(text: &str) -> Result<LogExpr, ParseError> {
    match parse(text)? {
        Expr::Log(log) => Ok(log),
        Expr::Metric(_) => Err(ParseError::semantic("only log selector is supported")),
    }
}

/// What the endpoints that take only matchers (labels, series, stats, volume) refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A pipeline, or a metric query.
    #[error("only label matchers are supported")]
    NotASelector,
}

/// Parses `{…}` that must hold a matcher which cannot match the empty string.
pub fn parse_selector(text: &str) -> Result<Selector, SelectorError> {
    let selector = parse_any_selector(text)?;
    check_selector(&selector)?;
    Ok(selector)
}

/// Parses `{…}` with any matchers or none.
pub fn parse_any_selector(text: &str) -> Result<Selector, SelectorError> {
    let mut parser = Parser::new(text)?;
    let operand = parser.expression(0)?;
    if !parser.at(&TokenKind::End) {
        return Err(parser.unexpected(&[]).into());
    }
    match operand {
        Operand::Log(log) if log.stages.is_empty() => {
            let expression = Expr::Log(*log);
            check_names(&expression)?;
            match expression {
                Expr::Log(log) => Ok(log.selector),
                Expr::Metric(_) => Err(SelectorError::NotASelector),
            }
        }
        Operand::Metric(Err(error)) => Err(error.into()),
        Operand::Log(_) | Operand::Metric(Ok(_)) => Err(SelectorError::NotASelector),
    }
}

struct Parser {
    tokens: Vec<Token>,
    /// Of the next token; never beyond the last one.
    next: usize,
    nesting: usize,
    connectives: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Self, ParseError> {
        if text.len() >= MAX_QUERY_BYTES {
            let message = format!("input size too long ({} > {MAX_QUERY_BYTES})", text.len());
            return Err(ParseError::semantic(message));
        }
        Ok(Self { tokens: tokenize(text), next: 0, nesting: 0, connectives: 0 })
    }

    fn peek(&self) -> &TokenKind {
        &self.tokens[self.next].kind
    }

    fn peek_second(&self) -> &TokenKind {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].kind
    }

    fn at(&self, kind: &TokenKind) -> bool {
        self.peek() == kind
    }

    fn at_symbol(&self, symbol: Symbol) -> bool {
        *self.peek() == TokenKind::Symbol(symbol)
    }

    fn at_word(&self, word: Word) -> bool {
        *self.peek() == TokenKind::Word(word)
    }

    /// Moves past the next token. The last one, which ends every text, stays.
    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn take_symbol(&mut self, symbol: Symbol) -> bool {
        let found = self.at_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn take_word(&mut self, word: Word) -> bool {
        let found = self.at_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect_symbol(&mut self, symbol: Symbol, expected: &[&str]) -> Result<(), ParseError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn expect_identifier(&mut self, expected: &[&str]) -> Result<String, ParseError> {
        let TokenKind::Identifier(name) = self.peek() else {
            return Err(self.unexpected(expected));
        };
        let name = name.clone();
        self.advance();
        Ok(name)
    }

    fn expect_string(&mut self, expected: &[&str]) -> Result<String, ParseError> {
        let TokenKind::String(value) = self.peek() else {
            return Err(self.unexpected(expected));
        };
        let value = value.clone();
        self.advance();
        Ok(value)
    }

    fn expect_number(&mut self, expected: &[&str]) -> Result<String, ParseError> {
        let TokenKind::Number(text) = self.peek() else {
            return Err(self.unexpected(expected));
        };
        let text = text.clone();
        self.advance();
        Ok(text)
    }

    /// The next token cannot stand here. `expected` is given where the possibilities are few.
    fn unexpected(&self, expected: &[&str]) -> ParseError {
        let token = &self.tokens[self.next];
        if let TokenKind::Invalid(message) = &token.kind {
            return ParseError::at(token.position, message.clone());
        }
        let mut message = format!("syntax error: unexpected {}", token.kind.name());
        if !expected.is_empty() {
            message.push_str(", expecting ");
            message.push_str(&expected.join(" or "));
        }
        ParseError::at(token.position, message)
    }

    /// Runs `inner` one level deeper, unless that is too deep.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::NestingUnbounded.is_planted() {
            return inner(self);
        }
        if self.nesting == MAX_NESTING {
            return Err(ParseError::semantic(format!("query is nested too deeply (more than {MAX_NESTING} levels)")));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    fn count_connective(&mut self) -> Result<(), ParseError> {
        self.connectives += 1;
        if self.connectives > MAX_CONNECTIVES {
            let message = format!("query has too many operators (more than {MAX_CONNECTIVES})");
            return Err(ParseError::semantic(message));
        }
        Ok(())
    }
}
