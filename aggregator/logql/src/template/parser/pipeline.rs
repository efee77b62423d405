//! Pipelines: what stands inside of an action, from declarations to single operands.

use std::sync::Arc;

use super::{MAXIMUM_NESTING, Parser};
use crate::literal::{go_quote, go_unquote};
use crate::regex_dialect::{ClassNames, translate_with};
use crate::template::lexer::{Keyword, Kind, Token};
use crate::template::number;
use crate::template::tree::{Command, FieldName, Operand, OperandKind, Pattern, Pipeline};

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipeline, String> {
        self.kind_after_blanks();
        let position = self.peek().position;
        let mut pipeline = Pipeline { position, is_assignment: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipeline, context)?;
        loop {
            match self.kind_after_blanks() {
                kind if kind == end => {
                    self.advance();
                    self.check_pipeline(&pipeline, context)?;
                    return Ok(pipeline);
                }
                Kind::Bool
                | Kind::CharacterConstant
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen
                | Kind::Keyword(Keyword::Dot | Keyword::Nil) => pipeline.commands.push(self.command()?),
                _ => {
                    let token = self.advance();
                    return self.unexpected(&token, context);
                }
            }
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, pipeline: &mut Pipeline, context: &str) -> Result<(), String> {
        while self.kind_after_blanks() == Kind::Variable {
            let start = self.next;
            let variable = self.advance();
            let kind = self.kind_after_blanks();
            let is_comma = kind == Kind::Character && self.peek().text == ",";
            if !is_comma && !matches!(kind, Kind::Assign | Kind::Declare) {
                self.next = start;
                return Ok(());
            }
            self.advance();
            pipeline.is_assignment = kind == Kind::Assign;
            self.variables.push(variable.text.clone().into());
            pipeline.variables.push(variable.text.into());
            if !is_comma {
                return Ok(());
            }
            if context != "range" || pipeline.variables.len() >= 2 {
                return self.error(format!("too many declarations in {context}"));
            }
            if !matches!(self.kind_after_blanks(), Kind::Variable | Kind::RightDelimiter | Kind::RightParen) {
                return self.error("range can only initialize variables");
            }
        }
        Ok(())
    }

    fn check_pipeline(&self, pipeline: &Pipeline, context: &str) -> Result<(), String> {
        if pipeline.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in pipeline.commands.iter().enumerate().skip(1) {
            let first = &command.operands[0].kind;
            if matches!(
                first,
                OperandKind::Bool(_) | OperandKind::Dot | OperandKind::Nil | OperandKind::Number(_) | OperandKind::String { .. }
            ) {
                return self.error(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, String> {
        self.kind_after_blanks();
        let position = self.peek().position;
        let mut operands = Vec::new();
        loop {
            self.kind_after_blanks();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            match self.kind() {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParen => break,
                Kind::Pipe => {
                    self.advance();
                    break;
                }
                _ => {
                    let token = self.advance();
                    return self.unexpected(&token, "operand");
                }
            }
        }
        if operands.is_empty() {
            return self.error("empty command");
        }
        let pattern = constant_pattern(&operands);
        Ok(Command { position, operands, pattern })
    }

    fn operand(&mut self) -> Result<Option<Operand>, String> {
        let Some(operand) = self.term()? else { return Ok(None) };
        if self.kind() != Kind::Field {
            return Ok(Some(operand));
        }
        let position = self.peek().position;
        let mut fields = Vec::new();
        while self.kind() == Kind::Field {
            let token = self.advance();
            fields.push(self.field(&token));
        }
        let kind = match operand.kind {
            OperandKind::Field(mut first) => {
                first.append(&mut fields);
                OperandKind::Field(first)
            }
            OperandKind::Variable { name, .. } => OperandKind::Variable { name, fields },
            OperandKind::Bool(_) | OperandKind::String { .. } | OperandKind::Number(_) | OperandKind::Nil | OperandKind::Dot => {
                return self.error(format!("unexpected . after term {}", go_quote(&operand.to_string())));
            }
            kind => OperandKind::Chain { inner: Box::new(Operand { position: operand.position, kind }), fields },
        };
        Ok(Some(Operand { position, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand>, String> {
        let Token { kind, position, text, .. } = self.peek().clone();
        let term = match kind {
            Kind::Identifier => match self.dialect.function(&text) {
                Some(function) => OperandKind::Function(function),
                None => {
                    self.advance();
                    return self.error(format!("function {} not defined", go_quote(&text)));
                }
            },
            Kind::Keyword(Keyword::Dot) => OperandKind::Dot,
            Kind::Keyword(Keyword::Nil) => OperandKind::Nil,
            Kind::Variable => {
                if !self.variables.iter().any(|variable| **variable == text) {
                    self.advance();
                    return self.error(format!("undefined variable {}", go_quote(&text)));
                }
                OperandKind::Variable { name: text.into(), fields: Vec::new() }
            }
            Kind::Field => {
                let token = self.peek().clone();
                OperandKind::Field(vec![self.field(&token)])
            }
            Kind::Bool => OperandKind::Bool(text == "true"),
            Kind::Number | Kind::CharacterConstant => match number::constant(&text, kind == Kind::CharacterConstant) {
                Ok(number) => OperandKind::Number(number),
                Err(message) => return self.error(message),
            },
            Kind::String | Kind::RawString => match go_unquote(&text) {
                Some(unquoted) => OperandKind::String { text: unquoted.into(), quoted: text.into() },
                None => return self.error("invalid syntax"),
            },
            Kind::LeftParen => {
                self.advance();
                self.nesting += 1;
                if self.nesting > MAXIMUM_NESTING {
                    return self.error(format!("nested more than {MAXIMUM_NESTING} deep"));
                }
                let pipeline = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.nesting -= 1;
                return Ok(Some(Operand { position, kind: OperandKind::Pipeline(Box::new(pipeline)) }));
            }
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Operand { position, kind: term }))
    }

    /// A token `.name`, numbered.
    fn field(&mut self, token: &Token) -> FieldName {
        let name = token.text.trim_start_matches('.');
        let fields = &mut self.parsed.fields;
        let index = fields.iter().position(|field| **field == *name).unwrap_or_else(|| {
            fields.push(name.into());
            fields.len() - 1
        });
        FieldName { text: name.into(), index }
    }
}

/// The compiled pattern of a function that searches for a constant. A broken one is left for the execution to report.
fn constant_pattern(operands: &[Operand]) -> Option<Arc<Pattern>> {
    let [Operand { kind: OperandKind::Function(function), .. }, Operand { kind: OperandKind::String { text, .. }, .. }, ..] = operands
    else {
        return None;
    };
    if !function.is_search {
        return None;
    }
    let translated = translate_with(text, ClassNames::Loose).ok()?;
    let regex = translated.compile().ok()?;
    Some(Arc::new(Pattern { translated, regex }))
}
