//! Binary operators, their modifiers, and arithmetic between literals, which is done while parsing.

use super::{DeferredMetric, Operand, Parser};
use crate::ast::{BinaryOp, BinaryOperation, GroupSide, LogExpr, MetricExpr, VectorMatching};
use crate::error::ParseError;
use crate::lexer::{Symbol, TokenKind, Word};

/// What may stand between an operator and its right operand.
struct Modifiers {
    return_bool: bool,
    matching: Option<VectorMatching>,
}

impl Parser {
    /// The binary operator that comes next, which stays.
    pub(super) fn binary_operator(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            TokenKind::Word(Word::Or) => BinaryOp::Or,
            TokenKind::Word(Word::And) => BinaryOp::And,
            TokenKind::Word(Word::Unless) => BinaryOp::Unless,
            TokenKind::Symbol(symbol) => match symbol {
                Symbol::Add => BinaryOp::Add,
                Symbol::Sub => BinaryOp::Sub,
                Symbol::Mul => BinaryOp::Mul,
                Symbol::Div => BinaryOp::Div,
                Symbol::Mod => BinaryOp::Mod,
                Symbol::Pow => BinaryOp::Pow,
                Symbol::Equal => BinaryOp::Equal,
                Symbol::NotEqual => BinaryOp::NotEqual,
                Symbol::Greater => BinaryOp::Greater,
                Symbol::GreaterOrEqual => BinaryOp::GreaterOrEqual,
                Symbol::Less => BinaryOp::Less,
                Symbol::LessOrEqual => BinaryOp::LessOrEqual,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Reads the operator, its modifiers and the right operand.
    pub(super) fn binary_operation(&mut self, op: BinaryOp, left: Operand) -> Result<DeferredMetric, ParseError> {
        self.advance();
        let modifiers = self.modifiers()?;
        let minimum = if op.is_right_associative() { op.precedence() - 1 } else { op.precedence() };
        let right = self.expression(minimum)?;
        Ok(combine(op, modifiers, left, right))
    }

    fn modifiers(&mut self) -> Result<Modifiers, ParseError> {
        let return_bool = self.take_word(Word::Bool);
        let on = self.at_word(Word::On);
        if !on && !self.at_word(Word::Ignoring) {
            return Ok(Modifiers { return_bool, matching: None });
        }
        self.advance();
        let labels = self.label_list()?;
        let group = if self.take_word(Word::GroupLeft) {
            Some(GroupSide::Left { include: self.optional_label_list()? })
        } else if self.take_word(Word::GroupRight) {
            Some(GroupSide::Right { include: self.optional_label_list()? })
        } else {
            None
        };
        Ok(Modifiers { return_bool, matching: Some(VectorMatching { on, labels, group }) })
    }

    fn optional_label_list(&mut self) -> Result<Vec<String>, ParseError> {
        if self.at_symbol(Symbol::OpenParen) { self.label_list() } else { Ok(Vec::new()) }
    }
}

fn combine(op: BinaryOp, modifiers: Modifiers, left: Operand, right: Operand) -> DeferredMetric {
    let left = require_metric(op, "left", left)?;
    let right = require_metric(op, "right", right)?;
    if op.is_set_operator() {
        refuse_literal(op, "left", &left)?;
        refuse_literal(op, "right", &right)?;
    }
    let (left, right) = (left?, right?);
    if let (MetricExpr::Literal(left), MetricExpr::Literal(right)) = (&*left, &*right) {
        return Ok(Box::new(MetricExpr::Literal(fold(op, *left, *right))));
    }
    let Modifiers { return_bool, matching } = modifiers;
    Ok(Box::new(MetricExpr::Binary(BinaryOperation { op, return_bool, matching, left, right })))
}

fn require_metric(op: BinaryOp, side: &str, operand: Operand) -> Result<DeferredMetric, ParseError> {
    match operand {
        Operand::Metric(metric) => Ok(metric),
        Operand::Log(log) => {
            let kind = log_kind(&log);
            let message = format!("unexpected type for {side} leg of binary operation ({}): {kind}", op.name());
            Err(ParseError::semantic(message))
        }
    }
}

/// The names under which clients see log queries in this one error text.
fn log_kind(log: &LogExpr) -> &'static str {
    if log.stages.is_empty() { "*syntax.MatchersExpr" } else { "*syntax.PipelineExpr" }
}

fn refuse_literal(op: BinaryOp, side: &str, metric: &DeferredMetric) -> Result<(), ParseError> {
    let Some(MetricExpr::Literal(value)) = metric.as_deref().ok() else { return Ok(()) };
    Err(ParseError::semantic(format!("unexpected literal for {side} leg of logical/set binary operation ({}): {value:.6}", op.name())))
}

/// Comparisons give 1 or 0, with or without `bool`; division and remainder by zero give NaN.
fn fold(op: BinaryOp, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div | BinaryOp::Mod if right == 0.0 => f64::NAN,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Equal => truth(left == right),
        BinaryOp::NotEqual => truth(left != right),
        BinaryOp::Greater => truth(left > right),
        BinaryOp::GreaterOrEqual => truth(left >= right),
        BinaryOp::Less => truth(left < right),
        BinaryOp::LessOrEqual => truth(left <= right),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => unreachable!("set operators refuse literals"),
    }
}

#[cfg(test)]
mod tests {
    use crate::ast::{Expr, MetricExpr};
    use crate::parse;

    fn constant(text: &str) -> f64 {
        match parse(text) {
            Ok(Expr::Metric(MetricExpr::Literal(value))) => value,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn literals_are_folded() {
        for (text, value) in [
            ("1+2*3", 7.0),
            ("(1+2)*3", 9.0),
            ("2^3^2", 512.0),
            ("-2 ^ 2", 4.0),
            ("10-3-2", 5.0),
            ("2 > 1", 1.0),
            ("1 > bool 2", 0.0),
            ("1 + 1 == 2", 1.0),
            ("-3 % 2", -1.0),
            ("5.5 % 2", 1.5),
            ("1 - -1", 2.0),
            ("1_000 + 1", 1001.0),
            ("1 --2", 3.0),
        ] {
            assert_eq!(constant(text), value, "{text}");
        }
        assert!(constant("10/0").is_nan());
        assert!(constant("10 % 0").is_nan());
    }
}
