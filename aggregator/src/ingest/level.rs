//! Which level a log line states: the bytes of one line in, one of eight words out.
//!
//! Runs on every line that is pushed, so it looks at each byte about once and allocates nothing but for escapes in values of `key=value`
//! text: a JSON object or such text, read as queries read it, is scanned for a level key; where that finds no known word, free text is
//! searched for one.

use std::ops::ControlFlow;

use tailwater_logql::each_logfmt_pair;

/// The levels that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
    Fatal,
    Unknown,
}

impl Level {
    pub(crate) const COUNT: usize = 8;
    pub(crate) const ALL: [Level; Level::COUNT] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical, Level::Fatal, Level::Unknown];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Fatal => "fatal",
            Self::Unknown => "unknown",
        }
    }

    /// The level a word names, in any case; `None` for words that name none.
    pub(crate) fn of_word(word: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], Level); 14] = [
            (b"trace", Level::Trace),
            (b"trc", Level::Trace),
            (b"debug", Level::Debug),
            (b"dbg", Level::Debug),
            (b"info", Level::Info),
            (b"inf", Level::Info),
            (b"information", Level::Info),
            (b"warn", Level::Warn),
            (b"wrn", Level::Warn),
            (b"warning", Level::Warn),
            (b"error", Level::Error),
            (b"err", Level::Error),
            (b"critical", Level::Critical),
            (b"fatal", Level::Fatal),
        ];
        WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|&(_, level)| level)
    }

    /// The level of OpenTelemetry's severity numbers, which are 1 to 24. What is no number counts as information.
    pub(crate) fn of_severity_number(number: &str) -> Self {
        match number.parse::<i64>() {
            Err(_) => Self::Info,
            Ok(0 | 25..) => Self::Unknown,
            Ok(..=4) => Self::Trace,
            Ok(5..=8) => Self::Debug,
            Ok(9..=12) => Self::Info,
            Ok(13..=16) => Self::Warn,
            Ok(17..=20) => Self::Error,
            Ok(21..=24) => Self::Fatal,
        }
    }
}

/// Names of fields that state a level, in order of preference.
pub(crate) const LEVEL_NAMES: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// The level of a line.
pub(crate) fn level_of_line(line: &[u8]) -> Level {
    let trimmed = line.trim_ascii();
    let stated = if trimmed.first() == Some(&b'{') && trimmed.last() == Some(&b'}') {
        json_level(trimmed).and_then(Level::of_word)
    } else if memchr::memchr(b'=', line).is_some() {
        logfmt_level(line)
    } else {
        None
    };
    stated.unwrap_or_else(|| level_in_text(line))
}

/// Levels of nesting in which a JSON object is searched for a level key.
const JSON_DEPTH: usize = 2;

/// The value of the first key of [`LEVEL_NAMES`] that holds a string, in the order of the text.
fn json_level(object: &[u8]) -> Option<&[u8]> {
    let mut scan = JsonScan { bytes: object, at: 1 };
    let mut depth = 1;
    while depth > 0 {
        match scan.next_significant()? {
            b'}' => depth -= 1,
            b',' => {}
            b'"' => {
                let key = scan.string()?;
                (scan.next_significant()? == b':').then_some(())?;
                match scan.next_significant()? {
                    b'"' => {
                        let value = scan.string()?;
                        if is_level_name(key) {
                            return Some(value);
                        }
                    }
                    b'{' if depth < JSON_DEPTH => depth += 1,
                    b'{' | b'[' => scan.skip_nested()?,
                    _ => scan.skip_scalar(),
                }
            }
            _ => return None,
        }
    }
    None
}

fn is_level_name(key: &[u8]) -> bool {
    matches!(key.len(), 3 | 5 | 8 | 9 | 12 | 13) && LEVEL_NAMES.iter().any(|name| name.as_bytes() == key)
}

/// Steps through JSON text without judging it.
struct JsonScan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> JsonScan<'a> {
    fn next_significant(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
        }
    }

    /// The raw text up to the closing quote; the opening one is behind us.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            let found = memchr::memchr2(b'"', b'\\', self.bytes.get(self.at..)?)?;
            self.at += found + 1;
            if self.bytes[self.at - 1] == b'"' {
                return Some(&self.bytes[start..self.at - 1]);
            }
            self.at += 1;
        }
    }

    /// Past the end of the object or array whose opening bracket is behind us.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.next_significant()? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => drop(self.string()?),
                _ => {}
            }
        }
        Some(())
    }

    fn skip_scalar(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| !matches!(byte, b',' | b'}' | b']')) {
            self.at += 1;
        }
    }
}

/// The level that the key which is preferred most states in a `key=value` text; a malformed pair ends the search.
fn logfmt_level(line: &[u8]) -> Option<Level> {
    let mut rank = usize::MAX;
    let mut level = None;
    each_logfmt_pair(line, |key, value| {
        if let Some(found) = logfmt_rank(key).filter(|found| *found < rank) {
            rank = found;
            level = Level::of_word(value);
        }
        if rank == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    level
}

/// How much a key is preferred (0 is most); names differ only in case there.
fn logfmt_rank(key: &[u8]) -> Option<usize> {
    const RANKED: [&[u8]; 6] = [b"level", b"log.level", b"severity", b"severitytext", b"lvl", b"severity_text"];
    RANKED.iter().position(|name| name.eq_ignore_ascii_case(key))
}

/// The first whole word of a free text that names a level.
fn level_in_text(line: &[u8]) -> Level {
    let mut rest = line;
    loop {
        if let Some(level) = level_word(rest) {
            return level;
        }
        // Nothing but a look at a table between two words: most lines go through here to their end.
        match rest.iter().position(|&byte| BOUNDS[usize::from(byte)] & BEFORE_WORD != 0) {
            Some(bound) => rest = &rest[bound + 1..],
            None => return Level::Unknown,
        }
    }
}

/// The level that the text begins with, as a whole word. The longer of two words that begin alike comes first.
fn level_word(text: &[u8]) -> Option<Level> {
    // Two letters rule out nearly all words.
    let words: &[(&[u8], Level)] = match [text.first()? | 0x20, text.get(1)? | 0x20] {
        [b't', b'r'] => &[(b"trace", Level::Trace)],
        [b'd', b'e'] => &[(b"debug", Level::Debug)],
        [b'f', b'a'] => &[(b"fatal", Level::Fatal)],
        [b'c', b'r'] => &[(b"critical", Level::Critical)],
        [b'e', b'r'] => &[(b"error", Level::Error), (b"err", Level::Error)],
        [b'w', b'a'] => &[(b"warning", Level::Warn), (b"warn", Level::Warn)],
        [b'i', b'n'] => &[(b"info", Level::Info)],
        _ => return None,
    };
    let is_whole = |after: Option<&u8>| after.is_none_or(|&byte| BOUNDS[usize::from(byte)] & AFTER_WORD != 0);
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    words.iter().find(|(word, _)| begins(word) && is_whole(text.get(word.len()))).map(|&(_, level)| level)
}

const BEFORE_WORD: u8 = 1;
const AFTER_WORD: u8 = 2;

/// On which side of a word each byte may stand.
const BOUNDS: [u8; 256] = {
    let mut bounds = [0; 256];
    let (before, after) = (b" \t\n[({\"=", b" \t\n[](){}:,!\"=");
    let mut index = 0;
    while index < before.len() {
        bounds[before[index] as usize] |= BEFORE_WORD;
        index += 1;
    }
    index = 0;
    while index < after.len() {
        bounds[after[index] as usize] |= AFTER_WORD;
        index += 1;
    }
    bounds
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One line a row: the level, a tab, the log line. Recorded answers of Loki 3.7.6.
    const RECORDED: &str = include_str!("../../testdata/levels.tsv");

    #[test]
    fn levels_are_those_that_were_recorded() {
        let mut rows = 0;
        for row in RECORDED.lines() {
            let (expected, line) = row.split_once('\t').expect("level, tab, line");
            assert_eq!(level_of_line(line.as_bytes()).as_str(), expected, "{line}");
            rows += 1;
        }
        assert!(rows > 100);
    }

    #[test]
    fn structure_decides_before_words_do() {
        for (line, expected) in [
            ("", Level::Unknown),
            ("errors everywhere", Level::Unknown),
            ("critical failure and error", Level::Critical),
            (r#"{"level":"notice","m":"error z"}"#, Level::Error),
            (r#"  {"a":{"b":{"level":"error"}},"lvl":"warn"} "#, Level::Warn),
            (r#"{"level":3,"a":[{"level":"error"}],"severity":"dbg"}"#, Level::Debug),
            (r#"{"msg":"a\"level\":\"error","LEVEL":"info"}"#, Level::Info),
            (r#"{"level": "info", broken}"#, Level::Info),
            (r#"{"m":"x" broken "level":"warn"}"#, Level::Warn),
            ("x=1 lvl=dbg", Level::Debug),
            ("lvl=warn level=info", Level::Info),
            ("lvl=warn lvl=info", Level::Warn),
            (r#"msg="a b=c \" level=info" level=error"#, Level::Error),
            (r#"a=b"c" level=error"#, Level::Error),
            // Read as the parser of queries reads it: escapes count, and what is broken ends it.
            (r#"level="\u0065rr""#, Level::Error),
            (r#"a="\q" lvl=warn"#, Level::Warn),
            (r#"a="\q" lvl=dbg"#, Level::Unknown),
            ("level=", Level::Unknown),
            ("=x level=warn", Level::Warn),
            ("an Err!", Level::Error),
            ("[WARN]: x", Level::Warn),
        ] {
            assert_eq!(level_of_line(line.as_bytes()), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_level(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            level_of_line(&line);
        }

        #[test]
        fn json_like_text_has_a_level(line in r#"\{[{}\[\]":,a \\levl]{0,40}\}"#) {
            level_of_line(line.as_bytes());
        }
    }
}
