//! From tokens to the tree, by the rules of Go's templates.
//!
//! Functions and variables are checked here, so that a template that parses can only fail on its data. Blocks and
//! parentheses nest at most [`MAXIMUM_NESTING`] deep (Go has no such bound); chains of `else if` do not nest.
//! Imaginary numbers are refused.

mod pipeline;

use std::collections::BTreeMap;

use super::function::Dialect;
use super::lexer::{Keyword, Kind, Token, tokens};
use super::tree::{List, Node, TemplateCall};
use crate::literal::{go_quote, go_unquote};

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
                self.error(format!("template: multiple definition of template {}", go_quote(&name)))
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
