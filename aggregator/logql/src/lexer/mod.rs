//! Text to tokens.
//!
//! Follows the habits of the scanner behind Loki, because its error positions are part of the contract:
//! Go-like identifiers, numbers, strings and comments (`//…`, `/*…*/`), plus `#` comments, and on top of that
//! the tokens of the language's own that are put together from several pieces (`|=`, `[5m]`, `10KB`, `-1h`,
//! `--strict`), which report line 0. Words are functions only in front of `(`.
//!
//! The first thing that is no token ends the list with [`TokenKind::Invalid`]; it becomes an error only when
//! the parser gets there, so that an earlier syntax error is reported first.

mod cursor;
mod number;
mod token;

use cursor::Cursor;
pub(crate) use token::{Flag, Symbol, Token, TokenKind, Word};
use token::{LONG_SYMBOLS, SHORT_SYMBOLS};

use crate::error::Position;
use crate::literal::{go_unquote, parse_bytes_size, parse_go_duration, parse_prometheus_duration};

/// All tokens of `text`; the last one is `End` or `Invalid`.
pub(crate) fn tokenize(text: &str) -> Vec<Token> {
    let mut cursor = Cursor::new(text);
    let mut tokens = Vec::new();
    loop {
        let token = next_token(&mut cursor);
        let is_last = matches!(token.kind, TokenKind::End | TokenKind::Invalid(_));
        tokens.push(token);
        if is_last {
            return tokens;
        }
    }
}

fn next_token(cursor: &mut Cursor<'_>) -> Token {
    if let Err(token) = skip_blanks_and_comments(cursor) {
        return token;
    }
    let position = cursor.position();
    let pieces = Position { line: 0, column: position.column };
    let Some(first) = cursor.peek() else {
        return Token { kind: TokenKind::End, position };
    };
    match first {
        '"' | '`' | '\'' => Token { kind: quoted(cursor, first), position },
        '[' => Token { kind: range(cursor), position: pieces },
        '0'..='9' => number_token(cursor, position),
        '.' if cursor.peek_second().is_some_and(|c| c.is_ascii_digit()) => number_token(cursor, position),
        '-' => match signed_duration(cursor).or_else(|| flag(cursor)) {
            Some(kind) => Token { kind, position: pieces },
            None => symbol(cursor, position),
        },
        '\0' => Token { kind: TokenKind::Invalid("invalid character NUL".to_owned()), position },
        c if is_identifier_start(c) => Token { kind: word(cursor), position },
        _ => symbol(cursor, position),
    }
}

fn is_identifier_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// Fails with an `Invalid` token for a comment without an end.
fn skip_blanks_and_comments(cursor: &mut Cursor<'_>) -> Result<(), Token> {
    loop {
        cursor.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
        let rest = cursor.rest();
        if rest.starts_with('#') || rest.starts_with("//") {
            cursor.take_while(|c| c != '\n');
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let position = cursor.position();
            let Some(end) = comment.find("*/") else {
                let kind = TokenKind::Invalid("comment not terminated".to_owned());
                return Err(Token { kind, position });
            };
            cursor.advance_bytes(2 + end + 2);
        } else {
            return Ok(());
        }
    }
}

fn word(cursor: &mut Cursor<'_>) -> TokenKind {
    let word = cursor.take_while(|c| is_identifier_start(c) || c.is_numeric());
    let is_function = continues_as_function(cursor.rest());
    TokenKind::of_word(word, is_function).unwrap_or_else(|| TokenKind::Identifier(word.to_owned()))
}

/// `(`, or `by (`, or `without (`, with blanks before and between.
fn continues_as_function(rest: &str) -> bool {
    let rest = rest.trim_start();
    if rest.starts_with('(') {
        return true;
    }
    ["by", "without"].iter().any(|keyword| {
        rest.get(..keyword.len()).is_some_and(|start| start.eq_ignore_ascii_case(keyword))
            && rest[keyword.len()..].trim_start().starts_with('(')
    })
}

/// `"…"`, `` `…` ``, or a character literal, which the language has no use for and takes as a name.
fn quoted(cursor: &mut Cursor<'_>, quote: char) -> TokenKind {
    let literal = match cursor.take_quoted(quote) {
        Ok(literal) => literal,
        Err(message) => return TokenKind::Invalid(message.to_owned()),
    };
    if quote == '\'' {
        return TokenKind::Identifier(literal.to_owned());
    }
    match go_unquote(literal) {
        Some(value) => TokenKind::String(value),
        None => TokenKind::Invalid("invalid UTF-8 rune".to_owned()),
    }
}

fn range(cursor: &mut Cursor<'_>) -> TokenKind {
    cursor.advance_bytes(1);
    let content = cursor.take_while(|c| c != ']');
    if cursor.peek().is_none() {
        return TokenKind::Invalid("missing closing ']' in duration".to_owned());
    }
    cursor.advance_bytes(1);
    match parse_prometheus_duration(content) {
        Ok(nanoseconds) => TokenKind::Range(nanoseconds),
        Err(error) => TokenKind::Invalid(error.to_string()),
    }
}

/// A number, or a duration or size when a unit follows at once. Durations are tried first: `5m` is time.
fn number_token(cursor: &mut Cursor<'_>, position: Position) -> Token {
    let start = cursor.rest();
    let length = match number::scan(start) {
        Ok(length) => length,
        Err(message) => return Token { kind: TokenKind::Invalid(message), position },
    };
    let (number, rest) = start.split_at(length);
    let with_unit = duration_after(start, length).map(|(value, length)| (TokenKind::Duration(value), length)).or_else(|| {
        let unit = rest.len() - rest.trim_start_matches(|c| is_unit_continuation(c, "BikKMGTP")).len();
        let size = parse_bytes_size(&start[..length + unit]).ok().filter(|_| unit > 0)?;
        Some((TokenKind::Bytes(size), length + unit))
    });
    if let Some((kind, length)) = with_unit {
        cursor.advance_bytes(length);
        return Token { kind, position: Position { line: 0, ..position } };
    }
    let kind = TokenKind::Number(number.to_owned());
    cursor.advance_bytes(length);
    Token { kind, position }
}

/// `-5m`; also `-0`, which is a duration too.
fn signed_duration(cursor: &mut Cursor<'_>) -> Option<TokenKind> {
    let (value, length) = duration_after(cursor.rest(), 1)?;
    cursor.advance_bytes(length);
    Some(TokenKind::Duration(value))
}

/// The duration at the start of `text`, whose first `length` bytes are a number or sign, and its whole length.
fn duration_after(text: &str, length: usize) -> Option<(i64, usize)> {
    let rest = &text[length..];
    let unit = rest.len() - rest.trim_start_matches(|c| is_unit_continuation(c, "nsuµmhdwy")).len();
    if unit == 0 {
        return None;
    }
    let candidate = &text[..length + unit];
    let value = parse_prometheus_duration(candidate).or_else(|_| parse_go_duration(candidate)).ok()?;
    Some((value, length + unit))
}

fn is_unit_continuation(c: char, units: &str) -> bool {
    c == '.' || c.is_numeric() || units.contains(c)
}

fn flag(cursor: &mut Cursor<'_>) -> Option<TokenKind> {
    let name = cursor.rest().strip_prefix("--")?;
    let name = &name[..name.find(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).unwrap_or(name.len())];
    let flag = match name {
        "strict" => Flag::Strict,
        "keep-empty" => Flag::KeepEmpty,
        _ => return None,
    };
    cursor.advance_bytes(2 + name.len());
    Some(TokenKind::Flag(flag))
}

/// A symbol; any other character stands for itself as a name, as in Loki.
fn symbol(cursor: &mut Cursor<'_>, position: Position) -> Token {
    let rest = cursor.rest();
    if let Some((text, symbol)) = LONG_SYMBOLS.iter().find(|(text, _)| rest.starts_with(text)) {
        cursor.advance_bytes(text.len());
        return Token { kind: TokenKind::Symbol(*symbol), position: Position { line: 0, ..position } };
    }
    if let Some((text, symbol)) = SHORT_SYMBOLS.iter().find(|(text, _)| rest.starts_with(text)) {
        cursor.advance_bytes(text.len());
        return Token { kind: TokenKind::Symbol(*symbol), position };
    }
    let character = cursor.take_one();
    Token { kind: TokenKind::Identifier(character.to_owned()), position }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::{RangeOp, VectorOp};

    fn kinds(text: &str) -> Vec<TokenKind> {
        let mut kinds: Vec<_> = tokenize(text).into_iter().map(|token| token.kind).collect();
        assert_eq!(kinds.pop(), Some(TokenKind::End), "{text}");
        kinds
    }

    fn invalid(text: &str) -> (String, Position) {
        match tokenize(text).pop() {
            Some(Token { kind: TokenKind::Invalid(message), position }) => (message, position),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn words_are_functions_only_in_front_of_a_parenthesis() {
        assert_eq!(kinds("SUM (")[0], TokenKind::VectorFunction(VectorOp::Sum));
        assert_eq!(kinds("sum BY (")[0], TokenKind::VectorFunction(VectorOp::Sum));
        assert_eq!(kinds("rate\twithout\n(")[0], TokenKind::RangeFunction(RangeOp::Rate));
        assert_eq!(kinds("sum by x")[0], TokenKind::Identifier("sum".into()));
        assert_eq!(kinds("Ip")[0], TokenKind::Identifier("Ip".into()));
        assert_eq!(kinds("LogFmt")[0], TokenKind::Word(Word::Logfmt));
    }

    #[test]
    fn numbers_take_units_only_when_they_make_a_whole() {
        for (text, expected) in [
            ("5m", vec![TokenKind::Duration(300_000_000_000)]),
            ("1.5h", vec![TokenKind::Duration(5_400_000_000_000)]),
            ("1d", vec![TokenKind::Duration(86_400_000_000_000)]),
            ("2µs", vec![TokenKind::Duration(2_000)]),
            ("-5s", vec![TokenKind::Duration(-5_000_000_000)]),
            ("-0", vec![TokenKind::Duration(0)]),
            ("10KB", vec![TokenKind::Bytes(10_000)]),
            ("1.5MiB", vec![TokenKind::Bytes(1_572_864)]),
            ("4kb", vec![TokenKind::Bytes(4_000), TokenKind::Identifier("b".into())]),
            ("1h1", vec![TokenKind::Number("1".into()), TokenKind::Identifier("h1".into())]),
            ("5zz", vec![TokenKind::Number("5".into()), TokenKind::Identifier("zz".into())]),
            ("1..2", vec![TokenKind::Number("1.".into()), TokenKind::Number(".2".into())]),
            ("-5", vec![TokenKind::Symbol(Symbol::Sub), TokenKind::Number("5".into())]),
            ("0x1F", vec![TokenKind::Number("0x1F".into())]),
            ("1_000", vec![TokenKind::Number("1_000".into())]),
        ] {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn positions_count_characters_and_put_compound_tokens_on_line_zero() {
        let positions: Vec<_> = tokenize("é |= `a\nb` \n x").iter().map(|t| (t.position.line, t.position.column)).collect();
        assert_eq!(positions, [(1, 1), (0, 3), (1, 6), (3, 2), (3, 3)]);
        assert_eq!(tokenize("")[0].position, Position::default());
        assert_eq!(tokenize("# c")[0].position, Position { line: 1, column: 4 });
        assert_eq!(tokenize("a\n")[1].position, Position { line: 2, column: 1 });
    }

    #[test]
    fn comments_of_three_kinds_are_skipped() {
        assert_eq!(kinds("1 # a\n /* b\n */ + // c\n 2").len(), 3);
        assert_eq!(invalid("1 /* b").0, "comment not terminated");
    }

    #[test]
    fn what_is_no_token_is_named() {
        for (text, message, line, column) in [
            ("a \"b", "literal not terminated", 1, 3),
            ("\"a\nb\"", "literal not terminated", 1, 1),
            ("`a", "literal not terminated", 1, 1),
            ("'api'", "invalid char literal", 1, 1),
            (r#""\q""#, "invalid char escape", 1, 1),
            (r#""\xff""#, "invalid UTF-8 rune", 1, 1),
            ("a[5m", "missing closing ']' in duration", 0, 2),
            ("[90]", "not a valid duration string: \"90\"", 0, 1),
            ("1e", "exponent has no digits", 1, 1),
            ("0B", "decimal literal has no digits", 1, 1),
        ] {
            assert_eq!(invalid(text), (message.to_owned(), Position { line, column }), "{text}");
        }
    }

    #[test]
    fn flags_are_whole_words() {
        assert_eq!(kinds("--strict --keep-empty"), [TokenKind::Flag(Flag::Strict), TokenKind::Flag(Flag::KeepEmpty)]);
        assert_eq!(kinds("--bad").len(), 3);
        assert_eq!(kinds("--strictly").len(), 3);
    }
}
