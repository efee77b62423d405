//! The syntax tree of a template, and its nodes back to text as error messages show them.
//!
//! Nodes carry the byte where they begin; lines and columns are reckoned when an error needs them. Names of fields
//! are numbered across the template, so that whoever resolves them does it by number.

use std::fmt;
use std::sync::Arc;

use super::function::Function;
use crate::regex_dialect::Translated;
use regex::bytes::Regex;

#[derive(Debug, Clone, Default)]
pub(super) struct List {
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(Box<str>),
    /// `{{pipeline}}`: printed unless it sets a variable.
    Action(Pipeline),
    /// `if` and `with`, whose `else if` and `else with` follow as further branches.
    Conditional {
        is_with: bool,
        branches: Vec<(Pipeline, List)>,
        otherwise: Option<List>,
    },
    Range {
        pipeline: Pipeline,
        body: List,
        otherwise: Option<List>,
    },
    Call(TemplateCall),
    Break,
    Continue,
}

/// `{{template "name" pipeline}}`, also what is left of a `block`.
#[derive(Debug, Clone)]
pub(super) struct TemplateCall {
    pub(super) position: usize,
    pub(super) name: Box<str>,
    pub(super) pipeline: Option<Pipeline>,
}

#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) position: usize,
    /// `=` instead of `:=`.
    pub(super) is_assignment: bool,
    /// With their `$`.
    pub(super) variables: Vec<Box<str>>,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) position: usize,
    /// At least one.
    pub(super) operands: Vec<Operand>,
    /// The pattern of a function that searches, compiled where it is written as a constant.
    pub(super) pattern: Option<Arc<Pattern>>,
}

/// A regular expression in Go's dialect.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) translated: Translated,
    pub(super) regex: Regex,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) position: usize,
    pub(super) kind: OperandKind,
}

#[derive(Debug, Clone)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    String {
        quoted: Box<str>,
        text: Box<str>,
    },
    /// `.a.b`
    Field(Vec<FieldName>),
    /// `$x.a`; the name has its `$`.
    Variable {
        name: Box<str>,
        fields: Vec<FieldName>,
    },
    /// `(pipeline).a`, `function.a`
    Chain {
        inner: Box<Operand>,
        fields: Vec<FieldName>,
    },
    Function(&'static Function),
    Pipeline(Box<Pipeline>),
}

#[derive(Debug, Clone)]
pub(super) struct FieldName {
    pub(super) text: Box<str>,
    /// Among the fields of the template.
    pub(super) index: usize,
}

/// A constant with all it can be taken for.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) text: Box<str>,
    pub(super) integer: Option<i64>,
    pub(super) float: Option<f64>,
    /// Written as a fraction or with an exponent.
    pub(super) is_written_as_float: bool,
}

/// The node that is being evaluated.
#[derive(Debug, Clone, Copy)]
pub(super) enum NodeRef<'t> {
    Action(&'t Pipeline),
    Call(&'t TemplateCall),
    Pipeline(&'t Pipeline),
    Command(&'t Command),
    Operand(&'t Operand),
}

impl NodeRef<'_> {
    pub(super) fn position(self) -> usize {
        match self {
            NodeRef::Action(pipeline) | NodeRef::Pipeline(pipeline) => pipeline.position,
            NodeRef::Call(call) => call.position,
            NodeRef::Command(command) => command.position,
            NodeRef::Operand(operand) => operand.position,
        }
    }
}

impl fmt::Display for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeRef::Action(pipeline) => write!(f, "{{{{{pipeline}}}}}"),
            NodeRef::Call(call) => call.fmt(f),
            NodeRef::Pipeline(pipeline) => pipeline.fmt(f),
            NodeRef::Command(command) => command.fmt(f),
            NodeRef::Operand(operand) => operand.fmt(f),
        }
    }
}

impl fmt::Display for TemplateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", crate::literal::go_quote(&self.name))?;
        if let Some(pipeline) = &self.pipeline {
            write!(f, " {pipeline}")?;
        }
        f.write_str("}}")
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, variable) in self.variables.iter().enumerate() {
            write!(f, "{}{variable}", if index > 0 { ", " } else { "" })?;
        }
        if !self.variables.is_empty() {
            f.write_str(if self.is_assignment { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted = |f: &mut fmt::Formatter<'_>, fields: &[FieldName]| fields.iter().try_for_each(|field| write!(f, ".{}", field.text));
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::String { quoted, .. } => f.write_str(quoted),
            OperandKind::Field(fields) => dotted(f, fields),
            OperandKind::Variable { name, fields } => {
                f.write_str(name)?;
                dotted(f, fields)
            }
            OperandKind::Chain { inner, fields } => {
                inner.fmt(f)?;
                dotted(f, fields)
            }
            OperandKind::Function(function) => f.write_str(function.name),
            OperandKind::Pipeline(pipeline) => write!(f, "({pipeline})"),
        }
    }
}
