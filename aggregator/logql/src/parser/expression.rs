//! Expressions: log queries, aggregations, functions, literals and what binary operators make of them.

use super::{DeferredMetric, Operand, Parser};
use crate::ast::{Grouping, LabelReplace, LogExpr, MetricExpr, RangeAggregation, RangeOp, VectorAggregation, VectorOp};
use crate::error::ParseError;
use crate::lexer::{Symbol, TokenKind, Word};
use crate::literal::parse_go_float;
use crate::validate;

const RANGE_ARGUMENT: [&str; 3] = ["NUMBER", "{", "("];

impl Parser {
    /// An expression whose operators all bind tighter than `minimum`.
    pub(super) fn expression(&mut self, minimum: u8) -> Result<Operand, ParseError> {
        self.nested(|parser| {
            let mut left = parser.operand()?;
            while let Some(op) = parser.binary_operator() {
                if op.precedence() <= minimum {
                    break;
                }
                parser.count_connective()?;
                left = Operand::Metric(parser.binary_operation(op, left)?);
            }
            Ok(left)
        })
    }

    /// An expression that must be a metric; the error is at what follows a log query.
    fn metric(&mut self) -> Result<DeferredMetric, ParseError> {
        match self.expression(0)? {
            Operand::Metric(metric) => Ok(metric),
            Operand::Log(_) => Err(self.unexpected(&[])),
        }
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        match *self.peek() {
            TokenKind::Symbol(Symbol::OpenBrace) => {
                let selector = self.selector()?;
                let log = LogExpr { selector, stages: self.stages()? };
                if self.at_symbol(Symbol::Pipe) {
                    // Only `| unwrap` ends the stages like this; it has no place outside of a range.
                    self.advance();
                    return Err(self.unexpected(&[]));
                }
                Ok(Operand::Log(Box::new(log)))
            }
            TokenKind::Symbol(Symbol::OpenParen) => {
                self.advance();
                let inner = self.expression(0)?;
                self.expect_symbol(Symbol::CloseParen, &[])?;
                Ok(inner)
            }
            TokenKind::Number(_) | TokenKind::Symbol(Symbol::Add | Symbol::Sub) => self.literal().map(Operand::Metric),
            TokenKind::RangeFunction(op) => self.range_aggregation(op).map(Operand::Metric),
            TokenKind::VectorFunction(op) => self.vector_aggregation(op).map(Operand::Metric),
            TokenKind::Word(Word::Vector) => self.vector_literal().map(Operand::Metric),
            TokenKind::Word(Word::LabelReplace) => self.label_replace().map(Operand::Metric),
            TokenKind::Word(Word::Variants) => self.variants().map(Operand::Metric),
            _ => Err(self.unexpected(&[])),
        }
    }

    fn literal(&mut self) -> Result<DeferredMetric, ParseError> {
        let (negative, text) = self.signed_number()?;
        Ok(match parse_go_float(&text) {
            Ok(value) => Ok(Box::new(MetricExpr::Literal(if negative { -value } else { value }))),
            Err(error) => Err(ParseError::semantic(format!("unable to parse literal as a float: {error}"))),
        })
    }

    fn vector_literal(&mut self) -> Result<DeferredMetric, ParseError> {
        self.advance();
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let text = self.expect_number(&["NUMBER"])?;
        self.expect_symbol(Symbol::CloseParen, &[")"])?;
        Ok(match parse_go_float(&text) {
            Ok(value) => Ok(Box::new(MetricExpr::VectorLiteral(value))),
            Err(error) => Err(ParseError::semantic(format!("unable to parse vectorExpr literal as a float: {error}"))),
        })
    }

    fn range_aggregation(&mut self, op: RangeOp) -> Result<DeferredMetric, ParseError> {
        self.advance();
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let parameter = match self.peek() {
            TokenKind::Number(_) => {
                let text = self.expect_number(&["NUMBER"])?;
                self.expect_symbol(Symbol::Comma, &[","])?;
                Some(text)
            }
            _ => None,
        };
        if !self.at_log_range() {
            return Err(self.unexpected(if parameter.is_none() { &RANGE_ARGUMENT } else { &RANGE_ARGUMENT[1..] }));
        }
        let range = self.log_range()?;
        self.expect_symbol(Symbol::CloseParen, &[")"])?;
        let grouping = self.grouping()?;
        let parameter = match validate::range_parameter(op, parameter.as_deref()) {
            Ok(parameter) => parameter,
            Err(error) => return Ok(Err(error)),
        };
        let aggregation = RangeAggregation { op, parameter, range, grouping };
        Ok(validate::check_range_aggregation(&aggregation).map(|()| Box::new(MetricExpr::Range(aggregation))))
    }

    fn vector_aggregation(&mut self, op: VectorOp) -> Result<DeferredMetric, ParseError> {
        self.advance();
        let mut grouping = self.grouping()?;
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let has_parameter = matches!(self.peek(), TokenKind::Number(_)) && *self.peek_second() == TokenKind::Symbol(Symbol::Comma);
        let parameter = if has_parameter {
            let text = self.expect_number(&["NUMBER"])?;
            self.advance();
            Some(text)
        } else {
            None
        };
        let inner = self.metric()?;
        self.expect_symbol(Symbol::CloseParen, &[])?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        Ok(vector_aggregation(op, parameter.as_deref(), grouping, inner))
    }

    /// `by (a, b)`, `without ()`, or nothing.
    fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = self.at_word(Word::Without);
        if !without && !self.at_word(Word::By) {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    /// `(a, b)` or `()`.
    pub(super) fn label_list(&mut self) -> Result<Vec<String>, ParseError> {
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let mut labels = Vec::new();
        if self.take_symbol(Symbol::CloseParen) {
            return Ok(labels);
        }
        labels.push(self.expect_identifier(&["IDENTIFIER", ")"])?);
        while !self.take_symbol(Symbol::CloseParen) {
            self.expect_symbol(Symbol::Comma, &[",", ")"])?;
            labels.push(self.expect_identifier(&["IDENTIFIER"])?);
        }
        Ok(labels)
    }

    fn label_replace(&mut self) -> Result<DeferredMetric, ParseError> {
        self.advance();
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let inner = self.metric()?;
        let mut arguments: [String; 4] = Default::default();
        for argument in &mut arguments {
            self.expect_symbol(Symbol::Comma, &[","])?;
            *argument = self.expect_string(&["STRING"])?;
        }
        self.expect_symbol(Symbol::CloseParen, &[")"])?;
        let [destination, replacement, source, regex] = arguments;
        if let Err(error) = validate::check_label_replace_regex(&regex) {
            return Ok(Err(error));
        }
        Ok(inner
            .and_then(validate::require_series)
            .map(|inner| Box::new(MetricExpr::LabelReplace(LabelReplace { inner, destination, replacement, source, regex }))))
    }

    fn variants(&mut self) -> Result<DeferredMetric, ParseError> {
        self.advance();
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let mut metrics = vec![self.metric()?];
        while !self.take_symbol(Symbol::CloseParen) {
            self.expect_symbol(Symbol::Comma, &[")", ","])?;
            metrics.push(self.metric()?);
        }
        if !self.take_word(Word::Of) {
            return Err(self.unexpected(&["of"]));
        }
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        if !self.at_log_range() {
            return Err(self.unexpected(&["{", "("]));
        }
        let of = self.log_range()?;
        self.expect_symbol(Symbol::CloseParen, &[")"])?;
        let metrics: Result<Vec<MetricExpr>, ParseError> = metrics.into_iter().map(|metric| Ok(*metric?)).collect();
        Ok(metrics.and_then(|metrics| {
            validate::check_selector(&of.log.selector)?;
            Ok(Box::new(MetricExpr::Variants { metrics, of }))
        }))
    }
}

fn vector_aggregation(op: VectorOp, parameter: Option<&str>, grouping: Option<Grouping>, inner: DeferredMetric) -> DeferredMetric {
    let parameter = validate::vector_parameter(op, parameter)?;
    validate::check_vector_grouping(op, grouping.as_ref())?;
    let grouping = grouping.filter(|grouping| grouping.without || !grouping.labels.is_empty());
    let inner = inner.and_then(validate::require_series)?;
    Ok(Box::new(MetricExpr::Vector(VectorAggregation { op, parameter, inner, grouping })))
}
