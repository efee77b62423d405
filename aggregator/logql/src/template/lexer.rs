//! Templates cut into tokens: text outside of `{{…}}`, and what stands inside.
//!
//! All tokens are made at once; the text of a template is limited by that of a query. An error is the last token
//! and carries its message, so that the parser reports it where it meets it. Blanks inside of actions are tokens,
//! because they separate arguments. `{{- ` and ` -}}` cut the white space of the text beside them.

/// A token with its place: bytes from the start of the template, and lines from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) position: usize,
    pub(super) line: usize,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The text is the message.
    Error,
    End,
    Text,
    LeftDelimiter,
    RightDelimiter,
    Space,
    Bool,
    /// A printable character without a meaning of its own, like `,`.
    Character,
    CharacterConstant,
    Number,
    String,
    RawString,
    /// `.name`
    Field,
    /// `$name`, or `$` alone.
    Variable,
    Identifier,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    Keyword(Keyword),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Dot,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, position: 0, start: 0, line: 1, open_parens: 0, tokens: Vec::new() };
    if let Err(message) = lexer.run() {
        let line = lexer.line_at(lexer.start);
        lexer.tokens.push(Token { kind: Kind::Error, position: lexer.start, line, text: message });
    }
    lexer.tokens
}

struct Lexer<'t> {
    text: &'t str,
    position: usize,
    start: usize,
    /// The line of `start`, counted as tokens are emitted.
    line: usize,
    open_parens: usize,
    tokens: Vec<Token>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn accept(&mut self, characters: &str) -> bool {
        let is_accepted = self.peek().is_some_and(|character| characters.contains(character));
        if is_accepted {
            self.next();
        }
        is_accepted
    }

    fn accept_run(&mut self, characters: &str) {
        while self.accept(characters) {}
    }

    fn accept_word(&mut self) {
        while self.peek().is_some_and(is_word) {
            self.next();
        }
    }

    fn line_at(&self, position: usize) -> usize {
        self.line + self.text[self.start.min(position)..position].matches('\n').count()
    }

    fn emit(&mut self, kind: Kind) {
        self.emit_to(kind, self.position);
        self.skip();
    }

    fn emit_to(&mut self, kind: Kind, end: usize) {
        let text = self.text[self.start..end].to_owned();
        self.tokens.push(Token { kind, position: self.start, line: self.line, text });
    }

    /// What was read since the last token is none.
    fn skip(&mut self) {
        self.line = self.line_at(self.position);
        self.start = self.position;
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(before) = self.rest().find(LEFT) {
            self.position += before;
            let after = &self.text[self.position + LEFT.len()..];
            let is_trimmed = trims_left(after);
            let kept = if is_trimmed { self.text[self.start..self.position].trim_end_matches(BLANKS).len() } else { before };
            if kept > 0 {
                self.emit_to(Kind::Text, self.start + kept);
            }
            self.skip();
            let marker = if is_trimmed { 2 } else { 0 };
            if after[marker..].starts_with("/*") {
                self.comment(LEFT.len() + marker)?;
            } else {
                self.position += LEFT.len();
                self.emit(Kind::LeftDelimiter);
                self.position += marker;
                self.skip();
                self.open_parens = 0;
                self.action()?;
            }
        }
        self.position = self.text.len();
        if self.start < self.position {
            self.emit(Kind::Text);
        }
        self.emit(Kind::End);
        Ok(())
    }

    fn comment(&mut self, opening: usize) -> Result<(), String> {
        self.position += opening;
        let end = self.rest().find("*/").ok_or("unclosed comment")?;
        self.position += end + 2;
        let is_trimmed = self.is_trimmed_right();
        if !is_trimmed && !self.rest().starts_with(RIGHT) {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.close(is_trimmed);
        Ok(())
    }

    /// Whether ` -}}` stands here.
    fn is_trimmed_right(&self) -> bool {
        let rest = self.rest();
        rest.starts_with(BLANKS) && rest[1..].starts_with("-}}")
    }

    /// Goes behind the closing delimiter, and behind the white space that it trims.
    fn close(&mut self, is_trimmed: bool) {
        self.position += if is_trimmed { RIGHT.len() + 2 } else { RIGHT.len() };
        if is_trimmed {
            self.position += self.rest().len() - self.rest().trim_start_matches(BLANKS).len();
        }
        self.skip();
    }

    /// The tokens of one action, closing delimiter included.
    fn action(&mut self) -> Result<(), String> {
        loop {
            let is_trimmed = self.is_trimmed_right();
            if is_trimmed || self.rest().starts_with(RIGHT) {
                if self.open_parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                let start = self.start;
                self.emit_to(Kind::RightDelimiter, start);
                self.close(is_trimmed);
                return Ok(());
            }
            self.inside()?;
        }
    }

    fn inside(&mut self) -> Result<(), String> {
        let Some(character) = self.next() else { return Err("unclosed action".to_owned()) };
        match character {
            character if BLANKS.contains(&character) => {
                while self.peek().is_some_and(|next| BLANKS.contains(&next)) && !self.is_trimmed_right() {
                    self.next();
                }
                self.emit(Kind::Space);
            }
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return Err("expected :=".to_owned());
                }
                self.emit(Kind::Declare);
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', "unterminated quoted string", Kind::String)?,
            '\'' => self.quoted('\'', "unterminated character constant", Kind::CharacterConstant)?,
            '`' => {
                let end = self.rest().find('`').ok_or("unterminated raw quoted string")?;
                self.position += end + 1;
                self.emit(Kind::RawString);
            }
            '$' => self.field_or_variable(Kind::Variable)?,
            '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => self.field_or_variable(Kind::Field)?,
            '.' | '+' | '-' | '0'..='9' => {
                self.position -= 1;
                self.number()?;
            }
            character if is_word(character) => self.word()?,
            '(' => {
                self.open_parens += 1;
                self.emit(Kind::LeftParen);
            }
            ')' => {
                self.open_parens = self.open_parens.checked_sub(1).ok_or("unexpected right paren")?;
                self.emit(Kind::RightParen);
            }
            ' '..='~' => self.emit(Kind::Character),
            character => return Err(format!("unrecognized character in action: {}", described(character))),
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char, unterminated: &str, kind: Kind) -> Result<(), String> {
        loop {
            let mut character = self.next();
            let is_escape = character == Some('\\');
            if is_escape {
                character = self.next();
            }
            match character {
                None | Some('\n') => return Err(unterminated.to_owned()),
                Some(character) if character == quote && !is_escape => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn word(&mut self) -> Result<(), String> {
        self.accept_word();
        self.require_end_of_word()?;
        let kind = match &self.text[self.start..self.position] {
            "block" => Kind::Keyword(Keyword::Block),
            "break" => Kind::Keyword(Keyword::Break),
            "continue" => Kind::Keyword(Keyword::Continue),
            "define" => Kind::Keyword(Keyword::Define),
            "else" => Kind::Keyword(Keyword::Else),
            "end" => Kind::Keyword(Keyword::End),
            "if" => Kind::Keyword(Keyword::If),
            "nil" => Kind::Keyword(Keyword::Nil),
            "range" => Kind::Keyword(Keyword::Range),
            "template" => Kind::Keyword(Keyword::Template),
            "with" => Kind::Keyword(Keyword::With),
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn field_or_variable(&mut self, kind: Kind) -> Result<(), String> {
        if self.is_end_of_word() {
            self.emit(if kind == Kind::Variable { kind } else { Kind::Keyword(Keyword::Dot) });
            return Ok(());
        }
        self.accept_word();
        self.require_end_of_word()?;
        self.emit(kind);
        Ok(())
    }

    fn require_end_of_word(&self) -> Result<(), String> {
        match self.peek() {
            Some(character) if !self.is_end_of_word() => Err(format!("bad character {}", described(character))),
            _ => Ok(()),
        }
    }

    fn is_end_of_word(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(character) => BLANKS.contains(&character) || self.rest().starts_with(RIGHT),
        }
    }

    fn number(&mut self) -> Result<(), String> {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let has_exponent = match digits.len() {
            11 => self.accept("eE"),
            23 => self.accept("pP"),
            _ => false,
        };
        if has_exponent {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        if self.peek().is_some_and(is_word) {
            self.next();
            let number = crate::literal::go_quote(&self.text[self.start..self.position]);
            return Err(format!("bad number syntax: {number}"));
        }
        self.emit(Kind::Number);
        Ok(())
    }
}

fn trims_left(after: &str) -> bool {
    after.strip_prefix('-').is_some_and(|rest| rest.starts_with(BLANKS))
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// `U+0040 '@'`
fn described(character: char) -> String {
    format!("U+{:04X} '{character}'", u32::from(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, String)> {
        tokens(text).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    fn error(text: &str) -> String {
        let last = tokens(text).pop().expect("a last token");
        assert_eq!(last.kind, Kind::Error, "{text}");
        last.text
    }

    #[test]
    fn actions_are_cut_at_blanks() {
        let expected: Vec<(Kind, String)> = [
            (Kind::Text, "a "),
            (Kind::LeftDelimiter, "{{"),
            (Kind::Variable, "$x"),
            (Kind::Space, " "),
            (Kind::Declare, ":="),
            (Kind::Space, "  "),
            (Kind::Identifier, "printf"),
            (Kind::Space, " "),
            (Kind::String, r#""%d\"""#),
            (Kind::Space, " "),
            (Kind::Number, "-1.5e3"),
            (Kind::Pipe, "|"),
            (Kind::Field, ".a"),
            (Kind::Field, ".b"),
            (Kind::RightDelimiter, ""),
            (Kind::Text, " b"),
            (Kind::End, ""),
        ]
        .map(|(kind, text)| (kind, text.to_owned()))
        .into();
        assert_eq!(kinds(r#"a {{$x :=  printf "%d\"" -1.5e3|.a.b}} b"#), expected);
    }

    #[test]
    fn trim_markers_and_comments_leave_no_blanks() {
        let text = |template: &str| -> String {
            kinds(template).into_iter().filter(|(kind, _)| *kind == Kind::Text).map(|(_, text)| text).collect()
        };
        assert_eq!(text("a \n {{- .x -}} \n b"), "ab");
        assert_eq!(text("a {{.x -}} b{{- .x}} c"), "a b c");
        assert_eq!(text("a {{/* x */}} b {{- /* y */ -}} c"), "a  bc");
        assert_eq!(text("a {{-1}} b"), "a  b");
        assert_eq!(text("}}"), "}}");
    }

    #[test]
    fn errors_are_named() {
        for (text, message) in [
            ("{{.num", "unclosed action"),
            ("{{", "unclosed action"),
            ("{{ \"x }}", "unterminated quoted string"),
            ("{{ `x }}", "unterminated raw quoted string"),
            ("{{ 'x }}", "unterminated character constant"),
            ("{{ \u{7} }}", "unrecognized character in action: U+0007 '\u{7}'"),
            ("{{/* x }}", "unclosed comment"),
            ("{{/* x */ .y }}", "comment ends before closing delimiter"),
            ("{{ (1 }}", "unclosed left paren"),
            ("{{ 1) }}", "unexpected right paren"),
            ("{{ a:b }}", "expected :="),
            ("{{ .x@y }}", "bad character U+0040 '@'"),
            ("{{ 3k }}", "bad number syntax: \"3k\""),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let tokens = tokens("a\nb{{ .x\n}}\n{{.y}}");
        let lines: Vec<_> = tokens.iter().filter(|token| token.kind == Kind::Field).map(|token| token.line).collect();
        assert_eq!(lines, [2, 4]);
    }
}
