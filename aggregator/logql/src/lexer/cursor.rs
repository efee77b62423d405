//! A place in the query text, with line and column.

use crate::error::Position;

pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    /// Characters of the current line that have been read.
    column: u32,
}

impl<'a> Cursor<'a> {
    /// A byte order mark in front is skipped, and counted as a column like any character.
    pub(super) fn new(text: &'a str) -> Self {
        let mut cursor = Self { text, offset: 0, line: 1, column: 0 };
        if text.starts_with('\u{feff}') {
            cursor.take_one();
        }
        cursor
    }

    /// The text not yet read.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    /// Of the next character; an empty text has no position at all.
    pub(super) fn position(&self) -> Position {
        if self.text.is_empty() {
            return Position::default();
        }
        Position { line: self.line, column: self.column + 1 }
    }

    /// Reads `count` bytes, which must end at a character boundary.
    pub(super) fn advance_bytes(&mut self, count: usize) -> &'a str {
        let read = &self.text[self.offset..self.offset + count];
        for c in read.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 0;
            } else {
                self.column += 1;
            }
        }
        self.offset += count;
        read
    }

    pub(super) fn take_one(&mut self) -> &'a str {
        let length = self.peek().map_or(0, char::len_utf8);
        self.advance_bytes(length)
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        self.advance_bytes(rest.find(|c| !accept(c)).unwrap_or(rest.len()))
    }

    /// Reads a literal with its quotes, checking its escapes but not resolving them.
    pub(super) fn take_quoted(&mut self, quote: char) -> Result<&'a str, &'static str> {
        const OPEN: &str = "literal not terminated";
        let rest = self.rest();
        if quote == '`' {
            let end = rest[1..].find('`').ok_or(OPEN)?;
            return Ok(self.advance_bytes(1 + end + 1));
        }
        let mut characters = 0;
        let mut at = 1;
        loop {
            let c = rest[at..].chars().next().filter(|&c| c != '\n').ok_or(OPEN)?;
            at += c.len_utf8();
            if c == quote {
                break;
            }
            if c == '\\' {
                at += escape_length(&rest[at..], quote).ok_or("invalid char escape")?;
            }
            characters += 1;
        }
        if quote == '\'' && characters != 1 {
            return Err("invalid char literal");
        }
        Ok(self.advance_bytes(at))
    }
}

/// Bytes of the escape after its backslash, if it is one.
fn escape_length(after: &str, quote: char) -> Option<usize> {
    let c = after.chars().next()?;
    let (skipped, width, base) = match c {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Some(1),
        _ if c == quote => return Some(1),
        '0'..='7' => (0, 3, 8),
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        _ => return None,
    };
    let digits = after.get(skipped..skipped + width)?;
    digits.chars().all(|c| c.is_digit(base)).then_some(skipped + width)
}
