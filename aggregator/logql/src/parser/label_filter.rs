//! `a="x" and b>5 or c=ip("10.0.0.0/8")`.
//!
//! `and` binds tighter than `or`. A comma, or nothing at all between two filters, also means *and*, but takes
//! everything to its right and stops on its left at the nearest connective. Both kinds are resolved with one
//! stack of operators, so that long chains do not recurse.

use super::Parser;
use crate::ast::{CompareOp, FilterValue, LabelFilter, MatchOp, Matcher};
use crate::error::ParseError;
use crate::lexer::{Symbol, TokenKind, Word};
use crate::literal::parse_go_float;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connective {
    Or,
    And,
    /// A comma, or nothing.
    Adjacent,
}

impl Parser {
    /// The next token begins a label filter.
    pub(super) fn at_label_filter(&self) -> bool {
        matches!(self.peek(), TokenKind::Identifier(_) | TokenKind::Symbol(Symbol::OpenParen))
    }

    pub(super) fn label_filter(&mut self) -> Result<LabelFilter, ParseError> {
        let mut operands = vec![self.label_filter_operand()?];
        let mut waiting: Vec<Connective> = Vec::new();
        while let Some(connective) = self.take_connective() {
            self.count_connective()?;
            while let Some(&previous) = waiting.last() {
                if !resolves_first(previous, connective) {
                    break;
                }
                waiting.pop();
                join(&mut operands, previous);
            }
            waiting.push(connective);
            operands.push(self.label_filter_operand()?);
        }
        while let Some(connective) = waiting.pop() {
            join(&mut operands, connective);
        }
        Ok(operands.pop().expect("one operand is left after all connectives are resolved"))
    }

    fn take_connective(&mut self) -> Option<Connective> {
        if self.at_label_filter() {
            return Some(Connective::Adjacent);
        }
        let connective = match self.peek() {
            TokenKind::Word(Word::Or) => Connective::Or,
            TokenKind::Word(Word::And) => Connective::And,
            TokenKind::Symbol(Symbol::Comma) => Connective::Adjacent,
            _ => return None,
        };
        self.advance();
        Some(connective)
    }

    fn label_filter_operand(&mut self) -> Result<LabelFilter, ParseError> {
        if self.take_symbol(Symbol::OpenParen) {
            let inner = self.nested(Self::label_filter)?;
            self.expect_symbol(Symbol::CloseParen, &[])?;
            return Ok(inner);
        }
        let name = self.expect_identifier(&["IDENTIFIER", "("])?;
        self.comparison(name)
    }

    /// What follows the name of a label filter.
    pub(super) fn comparison(&mut self, name: String) -> Result<LabelFilter, ParseError> {
        let match_op = self.match_operator();
        let compare_op = self.compare_operator();
        if match_op.is_none() && compare_op.is_none() {
            return Err(self.unexpected(&[]));
        }
        self.advance();
        if let Some(op) = match_op {
            if matches!(self.peek(), TokenKind::String(_)) || compare_op.is_none() {
                return self.matcher_value(name, op).map(LabelFilter::String);
            }
            if self.at_word(Word::Ip) {
                let pattern = self.ip_pattern()?;
                return Ok(LabelFilter::Ip { name, negated: op == MatchOp::NotEqual, pattern });
            }
        }
        let Some(op) = compare_op else { return Err(self.unexpected(&[])) };
        let value = self.filter_value()?;
        Ok(LabelFilter::Compare { name, op, value })
    }

    /// The comparison operator that comes next, which stays. `=` compares numbers like `==`.
    fn compare_operator(&self) -> Option<CompareOp> {
        let TokenKind::Symbol(symbol) = self.peek() else { return None };
        Some(match symbol {
            Symbol::Assign | Symbol::Equal => CompareOp::Equal,
            Symbol::NotEqual => CompareOp::NotEqual,
            Symbol::Greater => CompareOp::Greater,
            Symbol::GreaterOrEqual => CompareOp::GreaterOrEqual,
            Symbol::Less => CompareOp::Less,
            Symbol::LessOrEqual => CompareOp::LessOrEqual,
            _ => return None,
        })
    }

    fn filter_value(&mut self) -> Result<FilterValue, ParseError> {
        let value = match self.peek() {
            TokenKind::Duration(nanoseconds) => FilterValue::Duration(*nanoseconds),
            TokenKind::Bytes(bytes) => FilterValue::Bytes(*bytes),
            TokenKind::Number(_) | TokenKind::Symbol(Symbol::Add | Symbol::Sub) => {
                let (negative, text) = self.signed_number()?;
                // A number that cannot be read (`0x1F`) compares as zero, without an error.
                let magnitude = parse_go_float(&text).unwrap_or(0.0);
                return Ok(FilterValue::Number(if negative { -magnitude } else { magnitude }));
            }
            _ => return Err(self.unexpected(&[])),
        };
        self.advance();
        Ok(value)
    }

    /// An optional sign and a number as written.
    pub(super) fn signed_number(&mut self) -> Result<(bool, String), ParseError> {
        let negative = self.at_symbol(Symbol::Sub);
        if negative || self.at_symbol(Symbol::Add) {
            self.advance();
        }
        Ok((negative, self.expect_number(&["NUMBER"])?))
    }

    /// `ip("…")`, with the word still to be read.
    pub(super) fn ip_pattern(&mut self) -> Result<String, ParseError> {
        self.advance();
        self.expect_symbol(Symbol::OpenParen, &["("])?;
        let pattern = self.expect_string(&["STRING"])?;
        self.expect_symbol(Symbol::CloseParen, &[")"])?;
        Ok(pattern)
    }

    /// A name, or a matcher on it: what `drop` and `keep` take.
    pub(super) fn name_with_optional_matcher(&mut self) -> Result<(String, Option<Matcher>), ParseError> {
        let name = self.expect_identifier(&["IDENTIFIER"])?;
        let Some(op) = self.match_operator() else { return Ok((name, None)) };
        self.advance();
        let matcher = self.matcher_value(name.clone(), op)?;
        Ok((name, Some(matcher)))
    }
}

/// `previous` is resolved before `next` takes its left operand.
fn resolves_first(previous: Connective, next: Connective) -> bool {
    match (previous, next) {
        (Connective::Adjacent, _) | (_, Connective::Adjacent) => false,
        (Connective::And, _) => true,
        (Connective::Or, next) => next == Connective::Or,
    }
}

fn join(operands: &mut Vec<LabelFilter>, connective: Connective) {
    let right = Box::new(operands.pop().expect("each connective has a right operand"));
    let left = Box::new(operands.pop().expect("each connective has a left operand"));
    operands.push(match connective {
        Connective::Or => LabelFilter::Or { left, right },
        Connective::And | Connective::Adjacent => LabelFilter::And { left, right },
    });
}

#[cfg(test)]
mod tests {
    use crate::{format_query, parse};

    #[test]
    fn connectives_group_as_loki_groups_them() {
        for (filter, grouped) in [
            ("a=1 and b=2 or c=3", "( ( a==1 , b==2 ) or c==3 )"),
            ("a=1 or b=2 and c=3", "( a==1 or ( b==2 , c==3 ) )"),
            ("a=1 or b=2 or c=3", "( ( a==1 or b==2 ) or c==3 )"),
            ("a=1 and b=2 and c=3", "( ( a==1 , b==2 ) , c==3 )"),
            ("a=1 , b=2 or c=3", "( a==1 , ( b==2 or c==3 ) )"),
            ("a=1 or b=2 , c=3", "( a==1 or ( b==2 , c==3 ) )"),
            ("a=1 and b=2 , c=3 or d=4", "( a==1 , ( b==2 , ( c==3 or d==4 ) ) )"),
            ("a=1 b=2 c=3", "( a==1 , ( b==2 , c==3 ) )"),
            ("(a=1 b=2) c=3", "( ( a==1 , b==2 ) , c==3 )"),
            ("a=1 (b=2 or c=3)", "( a==1 , ( b==2 or c==3 ) )"),
        ] {
            let query = parse(&format!("{{x=\"y\"}} | {filter}")).expect(filter);
            assert_eq!(format_query(&query), format!("{{x=\"y\"}} | {grouped}"), "{filter}");
        }
    }
}
