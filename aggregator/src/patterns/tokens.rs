//! A line as words: what may become a placeholder, and what stands between.
//!
//! Plain text is cut at blanks and punctuation, but names, numbers, times and paths stay whole; logfmt at its keys and values; of a JSON
//! object only the message counts. Words and what follows each give the line again, so that a pattern made of them finds it.

/// How a line was cut; lines of different formats are never one pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Format {
    Text,
    Logfmt,
    Json,
}

/// The words of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens<'a> {
    format: Format,
    words: Vec<&'a str>,
    /// Whether a blank follows the word.
    is_spaced: Vec<bool>,
}

/// Keys of a JSON object that hold its message, most preferred first.
const MESSAGE_KEYS: [&str; 6] = ["log", "message", "msg", "msg_", "_msg", "content"];

impl<'a> Tokens<'a> {
    /// `None` for a JSON object without a message.
    pub(super) fn of(line: &'a str) -> Option<Self> {
        let trimmed = line.trim();
        if trimmed.starts_with('{') && trimmed.ends_with('}') {
            return message_of(trimmed).map(|message| Self::cut(Format::Json, message, ends_text_word));
        }
        if is_logfmt(line) {
            return Some(Self::logfmt(line));
        }
        Some(Self::cut(Format::Text, line, ends_text_word))
    }

    fn empty(format: Format) -> Self {
        Self { format, words: Vec::new(), is_spaced: Vec::new() }
    }

    fn push(&mut self, word: &'a str, is_spaced: bool) {
        self.words.push(word);
        self.is_spaced.push(is_spaced);
    }

    /// Cuts at blanks, and before and after every character that ends a word.
    fn cut(format: Format, text: &'a str, ends_word: fn(char) -> bool) -> Self {
        let mut tokens = Self::empty(format);
        let mut start = 0;
        for (at, character) in text.char_indices() {
            if character == ' ' {
                tokens.end_word(text, start, at);
                start = at + 1;
            } else if ends_word(character) {
                if start < at {
                    tokens.push(&text[start..at], false);
                }
                start = at + character.len_utf8();
                tokens.push(&text[at..start], false);
            }
        }
        if start < text.len() {
            tokens.push(&text[start..], false);
        }
        tokens
    }

    /// A blank at `at` ends the word that began at `start`; two blanks in a row are a word without letters between them.
    fn end_word(&mut self, text: &'a str, start: usize, at: usize) {
        match self.is_spaced.last_mut() {
            Some(is_spaced) if start == at && !*is_spaced => *is_spaced = true,
            _ => self.push(&text[start..at], true),
        }
    }

    /// Keys, `=` and values; a quoted value is one word.
    fn logfmt(line: &'a str) -> Self {
        let mut tokens = Self::empty(Format::Logfmt);
        let mut start = 0;
        let mut is_quoted = false;
        let mut is_escaped = false;
        for (at, character) in line.char_indices() {
            match character {
                _ if std::mem::take(&mut is_escaped) => {}
                '\\' if is_quoted => is_escaped = true,
                '"' => is_quoted = !is_quoted,
                ' ' if !is_quoted => {
                    tokens.end_word(line, start, at);
                    start = at + 1;
                }
                '=' if !is_quoted => {
                    if start < at {
                        tokens.push(&line[start..at], false);
                    }
                    tokens.push(&line[at..at + 1], false);
                    start = at + 1;
                }
                _ => {}
            }
        }
        if start < line.len() {
            tokens.push(&line[start..], false);
        }
        tokens
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn words(&self) -> &[&'a str] {
        &self.words
    }

    pub(super) fn is_spaced(&self) -> &[bool] {
        &self.is_spaced
    }
}

/// Punctuation that stands alone; what names, numbers, times and paths are written with does not.
fn ends_text_word(character: char) -> bool {
    character.is_ascii_punctuation()
        && !matches!(character, '_' | '-' | '.' | ':' | '/' | '<' | '>' | '+' | '$' | '^' | '`' | '|' | '~' | '%' | '#' | '@')
}

/// Whether most of a line is `key=value`: the first word is one, and no fewer than half of the words are.
fn is_logfmt(line: &str) -> bool {
    let is_pair = |word: &&str| {
        word.split_once('=')
            .is_some_and(|(key, _)| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)))
    };
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    words.next().is_some_and(|first| is_pair(&first)) && words.filter(is_pair).take(2).count() == 2
}

/// The text of the message of a JSON object, as it stands there (escapes are not undone).
fn message_of(object: &str) -> Option<&str> {
    let mut best: Option<(usize, &str)> = None;
    let bytes = object.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(bytes, at)?;
                let key = &object[at + 1..end];
                at = end;
                let rank = MESSAGE_KEYS.iter().position(|known| *known == key);
                if depth == 1
                    && let Some(rank) = rank
                    && let Some(start) = value_start(bytes, end + 1)
                {
                    let value_end = string_end(bytes, start)?;
                    if best.is_none_or(|(known, _)| rank < known) {
                        best = Some((rank, &object[start + 1..value_end]));
                    }
                    at = value_end;
                }
            }
            _ => {}
        }
        at += 1;
    }
    best.map(|(_, message)| message)
}

/// Where the quote is that ends the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Where a string begins that is the value of the key before `at`.
fn value_start(bytes: &[u8], at: usize) -> Option<usize> {
    let skip = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let colon = skip(at);
    let value = (bytes.get(colon) == Some(&b':')).then(|| skip(colon + 1))?;
    (bytes.get(value) == Some(&b'"')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(tokens: &Tokens<'_>) -> String {
        tokens.words.iter().zip(&tokens.is_spaced).map(|(word, is_spaced)| format!("{word}{}", if *is_spaced { " " } else { "" })).collect()
    }

    #[test]
    fn lines_are_cut_by_their_format() {
        for (line, format, words) in [
            ("a b=c, [d/e-1.2:3]", Format::Text, vec!["a", "b", "=", "c", ",", "[", "d/e-1.2:3", "]"]),
            (r#"ts=1 msg="a \" b=c" x=y z"#, Format::Logfmt, vec!["ts", "=", "1", "msg", "=", r#""a \" b=c""#, "x", "=", "y", "z"]),
            (r#"{"a":{"msg":"no"},"msg" : "yes \"it\" is","log":5}"#, Format::Json, vec!["yes", "\\", "\"", "it", "\\", "\"", "is"]),
            (r#"{"message":"second","log":"first"}"#, Format::Json, vec!["first"]),
        ] {
            let tokens = Tokens::of(line).expect("words");
            assert_eq!((tokens.format, tokens.words), (format, words), "{line}");
        }
        for line in [r#"{"a":"b"}"#, "{}", r#"{"msg":5}"#, r#"{"msg":"cut}"#] {
            assert_eq!(Tokens::of(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn words_give_the_line_again(line in "[a-b =,\"é\\\\]{0,30}") {
            let tokens = Tokens::of(&line).expect("no JSON");
            prop_assert_eq!(joined(&tokens), line);
        }

        #[test]
        fn any_line_is_cut_without_panic(line in "\\PC{0,60}", object in "\\{[\"a-m:{}\\[\\], \\\\]{0,40}\\}") {
            drop((Tokens::of(&line), Tokens::of(&object)));
        }
    }
}
