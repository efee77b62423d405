//! `logfmt`: keys of `key=value` pairs into extracted values. Pairs before a syntax error count, those after it do not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::entry::{Entry, Value};
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

#[derive(Debug, Clone)]
pub(crate) struct Logfmt {
    /// Names of values by the keys they come from.
    names: BTreeMap<String, String>,
    source: Option<String>,
}

impl Logfmt {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("logfmt", node, report)?;
        let mapping = settings.sources("mapping").unwrap_or_default();
        if mapping.is_empty() {
            let line = settings.line();
            settings.wrong(line, "`mapping` is required");
        }
        let source = settings.source();
        let names = mapping.into_iter().map(|(name, key)| (key, name)).collect();
        settings.finish().then_some(Self { names, source })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let input = match &self.source {
            None => Cow::Borrowed(entry.line.as_str()),
            Some(source) => match entry.extracted.text(source) {
                Some(text) => text,
                None => return,
            },
        };
        let mut found = Vec::new();
        for line in input.split('\n') {
            let mut pairs = Pairs { rest: line };
            while let Some((key, value)) = pairs.next_pair() {
                if let Some(name) = self.names.get(key) {
                    found.push((name.as_str(), value.into_owned()));
                }
            }
            if !pairs.rest.is_empty() {
                break;
            }
        }
        for (name, value) in found {
            entry.extracted.set(name, Value::Text(value));
        }
    }
}

/// Pairs of one line; after the last good one `rest` is empty unless there was a syntax error.
struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    fn next_pair(&mut self) -> Option<(&'a str, Cow<'a, str>)> {
        let is_blank = |character: char| character <= ' ';
        let text = self.rest.trim_start_matches(is_blank);
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        let end = text.find(|character: char| is_blank(character) || matches!(character, '=' | '"')).unwrap_or(text.len());
        let (key, after) = text.split_at(end);
        if key.is_empty() || after.starts_with('"') || key.contains('\u{fffd}') {
            self.rest = text;
            return None;
        }
        let Some(value) = after.strip_prefix('=') else {
            self.rest = after;
            return Some((key, Cow::Borrowed("")));
        };
        match value.strip_prefix('"') {
            Some(quoted) => self.quoted(key, quoted),
            None => self.bare(key, value),
        }
    }

    fn bare(&mut self, key: &'a str, text: &'a str) -> Option<(&'a str, Cow<'a, str>)> {
        let end = text.find(|character: char| character <= ' ' || matches!(character, '=' | '"')).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        if after.starts_with(['=', '"']) {
            self.rest = after;
            return None;
        }
        self.rest = after;
        Some((key, Cow::Borrowed(value)))
    }

    fn quoted(&mut self, key: &'a str, text: &'a str) -> Option<(&'a str, Cow<'a, str>)> {
        let mut is_escaped = false;
        let end = text.find(|character: char| {
            let is_end = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            is_end
        });
        let value = end.and_then(|end| {
            let inside = &text[..end];
            let value = if inside.contains('\\') { Cow::Owned(unescape(inside)?) } else { Cow::Borrowed(inside) };
            Some((value, &text[end + 1..]))
        });
        match value {
            Some((value, after)) => {
                self.rest = after;
                Some((key, value))
            }
            None => {
                self.rest = text;
                // What is left must not be empty, so that it shows as an error.
                if text.is_empty() {
                    self.rest = "\"";
                }
                None
            }
        }
    }
}

/// Escapes as in JSON, and `\'`.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(if character < ' ' { return None } else { character });
            continue;
        }
        match characters.next()? {
            same @ ('"' | '\\' | '/' | '\'') => out.push(same),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let first = hex4(&mut characters)?;
                let character = match first {
                    0xd800..0xdc00 => {
                        let mut ahead = characters.clone();
                        let second = (ahead.next() == Some('\\') && ahead.next() == Some('u')).then(|| hex4(&mut ahead)).flatten();
                        match second.filter(|second| (0xdc00..0xe000).contains(second)) {
                            Some(second) => {
                                characters = ahead;
                                char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
                            }
                            None => None,
                        }
                    }
                    other => char::from_u32(other),
                };
                out.push(character.unwrap_or('\u{fffd}'));
            }
            _ => return None,
        }
    }
    Some(out)
}

fn hex4(characters: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + characters.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn pairs_up_to_an_error_count() {
        for (line, expected) in [
            ("a=1 b=2", [Some("1"), Some("2")]),
            ("a=\"two words\" b=", [Some("two words"), Some("")]),
            ("a=\"esc \\\"q\\\" \\u00e9\" b", [Some("esc \"q\" é"), Some("")]),
            ("a=1 \"x\"=2 b=3", [Some("1"), None]),
            ("a=1 x=\"open b=3", [Some("1"), None]),
            ("a=1 x=\"", [Some("1"), None]),
            ("a=1 =x b=3", [Some("1"), None]),
            ("a=1=2 b=3", [None, None]),
            ("a=1\nb=2", [Some("1"), Some("2")]),
            ("  a=1\t\ta=2  ", [Some("2"), None]),
        ] {
            let entry = run_lines("- logfmt: {mapping: {a: , b: }}", &[line]).remove(0);
            let seen = ["a", "b"].map(|name| entry.extracted.text(name).map(std::borrow::Cow::into_owned));
            assert_eq!(seen.each_ref().map(Option::as_deref), expected, "{line}");
        }
    }
}
