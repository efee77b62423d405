//! From tokens to the tree, by the rules of Go's templates.
//!
//! Functions and variables are checked here, so that a template that parses can only fail on its data. Blocks and
//! parentheses nest at most [`MAXIMUM_NESTING`] deep (Go has no such bound); chains of `else if` do not nest.
//! Imaginary numbers are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::function::Dialect;
use super::lexer::{Keyword, Kind, Token, tokens};
use super::number;
use super::tree::{Command, FieldName, List, Node, Operand, OperandKind, Pattern, Pipeline, TemplateCall};
use crate::literal::{go_quote, go_unquote};
use crate::regex_dialect::translate;

/// Blocks and parentheses around a node.
const MAXIMUM_NESTING: usize = 100;

/// A template with all it defines.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) root: List,
    pub(super) definitions: BTreeMap<Box<str>, List>,
    pub(super) fields: Vec<Box<str>>,
}

/// `Err` is the whole message: `template: line:1: unclosed action`.
pub(super) fn parse(name: &str, text: &str, dialect: &Dialect) -> Result<Parsed, String> {
    let mut parser = Parser {
        name,
        dialect,
        tokens: tokens(text),
        next: 0,
        action_line: None,
        variables: vec!["$".into()],
        open_ranges: 0,
        nesting: 0,
        parsed: Parsed::default(),
    };
    parser.template()?;
    Ok(parser.parsed)
}

struct Parser<'t> {
    name: &'t str,
    dialect: &'t Dialect,
    /// The last one is an end or an error; it is never passed.
    tokens: Vec<Token>,
    next: usize,
    /// The line on which the open action began.
    action_line: Option<usize>,
    variables: Vec<Box<str>>,
    open_ranges: usize,
    nesting: usize,
    parsed: Parsed,
}

/// How a list of nodes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
}

impl Ending {
    fn text(self) -> &'static str {
        match self {
            Ending::End => "{{end}}",
            Ending::Else => "{{else}}",
        }
    }
}

enum Parsing {
    Node(Node),
    Ending(Ending),
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    fn kind(&self) -> Kind {
        self.peek().kind
    }

    fn kind_after_blanks(&mut self) -> Kind {
        while self.kind() == Kind::Space {
            self.next += 1;
        }
        self.kind()
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    fn advance_over_blanks(&mut self) -> Token {
        self.kind_after_blanks();
        self.advance()
    }

    fn take(&mut self, kind: Kind) -> bool {
        let is_taken = self.kind_after_blanks() == kind;
        if is_taken {
            self.advance();
        }
        is_taken
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Result<T, String> {
        let line = self.tokens[self.next.saturating_sub(1)].line.max(self.action_line.unwrap_or(1));
        Err(format!("template: {}:{line}: {message}", self.name))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T, String> {
        if token.kind != Kind::Error {
            return self.error(format!("unexpected {} in {context}", described(token)));
        }
        let started = match self.action_line {
            Some(line) if line != token.line && token.text.ends_with(" action") => format!(" started at {}:{line}", self.name),
            Some(line) if line != token.line => format!(" in action started at {}:{line}", self.name),
            _ => String::new(),
        };
        Err(format!("template: {}:{}: {}{started}", self.name, token.line, token.text))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token, String> {
        let token = self.advance_over_blanks();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn template(&mut self) -> Result<(), String> {
        loop {
            if self.kind() == Kind::End {
                return Ok(());
            }
            if self.kind() == Kind::LeftDelimiter {
                let delimiter = self.next;
                self.advance();
                if self.kind_after_blanks() == Kind::Keyword(Keyword::Define) {
                    self.advance();
                    self.definition()?;
                    continue;
                }
                self.next = delimiter;
            }
            match self.text_or_action()? {
                Parsing::Node(node) => self.parsed.root.nodes.push(node),
                Parsing::Ending(ending) => return self.error(format!("unexpected {}", ending.text())),
            }
        }
    }

    fn definition(&mut self) -> Result<(), String> {
        let context = "define clause";
        let token = self.advance_over_blanks();
        let name = self.template_name(token, context)?;
        self.expect(Kind::RightDelimiter, context)?;
        self.body(name, context)
    }

    /// A template of its own, up to its `end`.
    fn body(&mut self, name: Box<str>, context: &str) -> Result<(), String> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let open_ranges = std::mem::take(&mut self.open_ranges);
        let (list, ending) = self.list()?;
        if ending != Ending::End {
            return self.error(format!("unexpected {} in {context}", ending.text()));
        }
        self.variables = variables;
        self.open_ranges = open_ranges;
        let is_empty = |list: &List| list.nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()));
        match self.parsed.definitions.get(&name) {
            Some(earlier) if !is_empty(earlier) && !is_empty(&list) => {
                Err(format!("template: multiple definition of template {}", go_quote(&name)))
            }
            Some(earlier) if !is_empty(earlier) => Ok(()),
            _ => {
                self.parsed.definitions.insert(name, list);
                Ok(())
            }
        }
    }

    fn template_name(&mut self, token: Token, context: &str) -> Result<Box<str>, String> {
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(&token, context);
        }
        match go_unquote(&token.text) {
            Some(name) => Ok(name.into()),
            None => self.error("invalid syntax"),
        }
    }

    fn list(&mut self) -> Result<(List, Ending), String> {
        self.nesting += 1;
        if self.nesting > MAXIMUM_NESTING {
            return self.error(format!("nested more than {MAXIMUM_NESTING} deep"));
        }
        let mut list = List::default();
        while self.kind_after_blanks() != Kind::End {
            match self.text_or_action()? {
                Parsing::Node(node) => list.nodes.push(node),
                Parsing::Ending(ending) => {
                    self.nesting -= 1;
                    return Ok((list, ending));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<Parsing, String> {
        let token = self.advance_over_blanks();
        match token.kind {
            Kind::Text => Ok(Parsing::Node(Node::Text(token.text.into()))),
            Kind::LeftDelimiter => {
                self.action_line = Some(token.line);
                let parsed = self.action();
                if parsed.is_ok() {
                    self.action_line = None;
                }
                parsed
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result<Parsing, String> {
        let Kind::Keyword(keyword) = self.kind_after_blanks() else {
            return self.pipeline("command", Kind::RightDelimiter).map(|pipeline| Parsing::Node(Node::Action(pipeline)));
        };
        let start = self.next;
        self.advance();
        match keyword {
            Keyword::Block => self.block(),
            Keyword::Break => self.loop_control("{{break}}", Node::Break),
            Keyword::Continue => self.loop_control("{{continue}}", Node::Continue),
            Keyword::Else => {
                // `if` and `with` behind it begin the next branch.
                let is_branch = matches!(self.kind_after_blanks(), Kind::Keyword(Keyword::If | Keyword::With));
                if !is_branch {
                    self.expect(Kind::RightDelimiter, "else")?;
                }
                Ok(Parsing::Ending(Ending::Else))
            }
            Keyword::End => {
                self.expect(Kind::RightDelimiter, "end")?;
                Ok(Parsing::Ending(Ending::End))
            }
            Keyword::If => self.conditional(false),
            Keyword::With => self.conditional(true),
            Keyword::Range => self.range(),
            Keyword::Template => self.template_call(),
            Keyword::Define | Keyword::Dot | Keyword::Nil => {
                self.next = start;
                self.pipeline("command", Kind::RightDelimiter).map(|pipeline| Parsing::Node(Node::Action(pipeline)))
            }
        }
    }

    fn loop_control(&mut self, context: &str, node: Node) -> Result<Parsing, String> {
        let token = self.advance_over_blanks();
        if token.kind != Kind::RightDelimiter {
            return self.unexpected(&token, context);
        }
        if self.open_ranges == 0 {
            return self.error(format!("{context} outside {{{{range}}}}"));
        }
        Ok(Parsing::Node(node))
    }

    fn conditional(&mut self, is_with: bool) -> Result<Parsing, String> {
        let (context, keyword) = if is_with { ("with", Keyword::With) } else { ("if", Keyword::If) };
        let outer = self.variables.len();
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            let pipeline = self.pipeline(context, Kind::RightDelimiter)?;
            let (list, ending) = self.list()?;
            branches.push((pipeline, list));
            if ending == Ending::End {
                break;
            }
            if self.take(Kind::Keyword(keyword)) {
                continue;
            }
            otherwise = Some(self.last_list()?);
            break;
        }
        self.variables.truncate(outer);
        Ok(Parsing::Node(Node::Conditional { is_with, branches, otherwise }))
    }

    /// What stands between `else` and `end`.
    fn last_list(&mut self) -> Result<List, String> {
        let (list, ending) = self.list()?;
        if ending != Ending::End {
            return self.error(format!("expected end; found {}", ending.text()));
        }
        Ok(list)
    }

    fn range(&mut self) -> Result<Parsing, String> {
        let outer = self.variables.len();
        let pipeline = self.pipeline("range", Kind::RightDelimiter)?;
        self.open_ranges += 1;
        let (body, ending) = self.list()?;
        self.open_ranges -= 1;
        let otherwise = if ending == Ending::Else { Some(self.last_list()?) } else { None };
        self.variables.truncate(outer);
        Ok(Parsing::Node(Node::Range { pipeline, body, otherwise }))
    }

    fn template_call(&mut self) -> Result<Parsing, String> {
        let context = "template clause";
        let token = self.advance_over_blanks();
        let position = token.position;
        let name = self.template_name(token, context)?;
        let pipeline = if self.take(Kind::RightDelimiter) { None } else { Some(self.pipeline(context, Kind::RightDelimiter)?) };
        Ok(Parsing::Node(Node::Call(TemplateCall { position, name, pipeline })))
    }

    fn block(&mut self) -> Result<Parsing, String> {
        let context = "block clause";
        let token = self.advance_over_blanks();
        let position = token.position;
        let name = self.template_name(token, context)?;
        let pipeline = self.pipeline(context, Kind::RightDelimiter)?;
        self.body(name.clone(), context)?;
        Ok(Parsing::Node(Node::Call(TemplateCall { position, name, pipeline: Some(pipeline) })))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipeline, String> {
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

/// A token as errors show it.
fn described(token: &Token) -> String {
    match token.kind {
        Kind::End => "EOF".to_owned(),
        Kind::Keyword(Keyword::Dot) => "<.>".to_owned(),
        Kind::Keyword(_) => format!("<{}>", token.text),
        Kind::RightDelimiter => "\"}}\"".to_owned(),
        _ if token.text.chars().count() > 10 => format!("{}...", go_quote(&token.text.chars().take(10).collect::<String>())),
        _ => go_quote(&token.text),
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
    let translated = translate(text).ok()?;
    let regex = translated.compile().ok()?;
    Some(Arc::new(Pattern { translated, regex }))
}
