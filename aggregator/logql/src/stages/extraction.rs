//! What all parsers share: names from keys, and values as ranges of the line.

use super::label_filter::LabelFilter;
use crate::pipeline::entry::{EntryLabels, Input, Text};
use crate::pipeline::keys::{KeyCache, KeyIndex, NOBODY, ROOT};
use crate::pipeline::names::NameId;

/// Buffers a parser keeps between lines.
#[derive(Debug, Default)]
pub(crate) struct ParserScratch {
    pub(crate) keys: KeyCache,
    pub(crate) open_objects: Vec<super::json::OpenObject>,
    pub(crate) pending: Vec<(NameId, Text)>,
    pub(crate) paths: super::json_expression::PathScratch,
    pub(crate) unescaped: Vec<u8>,
    pub(crate) captures: Option<regex::bytes::CaptureLocations>,
    pub(crate) formats: super::template_format::FormatScratch,
}

/// Whether an entry goes on after a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Drop,
}

/// How a parser goes on after it has set a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    /// All that is needed was found, or the entry is to be dropped.
    Done(Verdict),
}

/// Label filters that test a label as soon as a parser sets it, by the number of its name.
pub(crate) type EarlyFilters = [Option<LabelFilter>];

/// A line on which a parser works, and the labels it fills.
pub(crate) struct Extraction<'e> {
    pub(crate) labels: &'e mut EntryLabels,
    pub(crate) line: &'e [u8],
    input: Input<'e>,
    early_filters: &'e EarlyFilters,
    /// Whether the line is the one that came in, so that values may refer to it.
    is_original: bool,
    is_ascii: bool,
}

impl<'e> Extraction<'e> {
    /// `line` may be `None`: the parser works on the line that came in.
    pub(crate) fn new(
        labels: &'e mut EntryLabels,
        line: Option<&'e [u8]>,
        input: Input<'e>,
        early_filters: &'e EarlyFilters,
    ) -> Extraction<'e> {
        let is_original = line.is_none();
        let line = line.unwrap_or(input.line);
        Extraction { labels, line, input, early_filters, is_original, is_ascii: line.is_ascii() }
    }

    /// The same extraction on another line.
    pub(crate) fn with_line<'o>(&'o mut self, line: &'o [u8]) -> Extraction<'o> {
        Extraction::new(self.labels, Some(line), self.input, self.early_filters)
    }

    /// Sets a label. An entry that a later filter will drop for it is dropped at once.
    pub(crate) fn extract(&mut self, target: NameId, text: Text) -> Progress {
        self.labels.set_parsed(target, text);
        if let Some(Some(filter)) = self.early_filters.get(target.index())
            && !filter.keeps(self.labels, self.input)
        {
            return Progress::Done(Verdict::Drop);
        }
        if self.labels.has_all_needed() { Progress::Done(Verdict::Keep) } else { Progress::More }
    }

    /// A range of the line as it is.
    pub(crate) fn range(&mut self, start: usize, end: usize) -> Text {
        if self.is_original {
            return Text::line(start, end);
        }
        let line = self.line;
        self.labels.store(|buffer| buffer.extend_from_slice(&line[start..end]))
    }

    /// A range of the line; bytes that are not UTF-8 and replacement characters become spaces.
    pub(crate) fn clean_range(&mut self, start: usize, end: usize) -> Text {
        if self.is_ascii || is_clean(&self.line[start..end]) {
            return self.range(start, end);
        }
        let line = self.line;
        self.labels.store(|buffer| append_clean(&line[start..end], buffer))
    }

    /// The key below `parent`, made known on its first occurrence.
    pub(crate) fn key(&mut self, keys: &mut KeyCache, parent: KeyIndex, raw: &[u8], unescaped: &[u8]) -> KeyIndex {
        if let Some(index) = keys.find(parent, raw) {
            return index;
        }
        if keys.is_full() {
            return NOBODY;
        }
        let mut joined = keys.get(parent).joined.to_string();
        join_sanitized(unescaped, &mut joined);
        let is_blank_key_of_line = parent == ROOT && joined.is_empty();
        let name = (!is_blank_key_of_line && !joined.is_empty()).then(|| self.labels.names.intern(&joined));
        let is_parent_of_needed = self.labels.names.is_prefix_needed(&joined);
        keys.insert(parent, raw, &joined, name, is_parent_of_needed)
    }

    /// Where to put the value of a key; `None` if it is not wanted.
    pub(crate) fn target(&mut self, keys: &KeyCache, key: KeyIndex) -> Option<NameId> {
        self.labels.extraction_target(keys.get(key).name?)
    }
}

/// Whether a value can be shown as it is.
pub(crate) fn is_clean(value: &[u8]) -> bool {
    value.is_ascii() || std::str::from_utf8(value).is_ok_and(|text| !text.contains(char::REPLACEMENT_CHARACTER))
}

/// Appends a value with a space for each byte that is not UTF-8 and for each replacement character.
pub(crate) fn append_clean(value: &[u8], buffer: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for (index, part) in chunk.valid().split(char::REPLACEMENT_CHARACTER).enumerate() {
            if index > 0 {
                buffer.push(b' ');
            }
            buffer.extend_from_slice(part.as_bytes());
        }
        buffer.resize(buffer.len() + chunk.invalid().len(), b' ');
    }
}

/// A valid label name from any key; empty where nothing is left of it.
pub(crate) fn sanitized(key: &[u8]) -> String {
    let mut name = String::new();
    join_sanitized(key, &mut name);
    name
}

/// Appends a key to a name, `_` between them: blanks around the key are trimmed, a key of nothing but blanks is
/// left out, a name never begins with a digit, and each character that no label name may have becomes `_`.
pub(crate) fn join_sanitized(key: &[u8], name: &mut String) {
    let lossy = String::from_utf8_lossy(key);
    if lossy.trim().is_empty() {
        return;
    }
    let is_first = name.is_empty();
    if !is_first {
        name.push('_');
    }
    let start = name.len();
    for chunk in trim_blanks(key).utf8_chunks() {
        name.extend(chunk.valid().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        name.extend(chunk.invalid().iter().map(|_| '_'));
    }
    if is_first && name[start..].starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(start, '_');
    }
}

fn trim_blanks(key: &[u8]) -> &[u8] {
    match std::str::from_utf8(key) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => key.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sanitised_by_character() {
        let cases: &[(&str, &str)] = &[
            ("foo.bar", "foo_bar"),
            ("foo-bar", "foo_bar"),
            ("1abc", "_1abc"),
            ("ключ", "____"),
            ("Ünïcödé", "_n_c_d_"),
            (" a b ", "a_b"),
            ("\u{a0}a", "a"),
            ("  ", ""),
            ("", ""),
            ("@ts", "_ts"),
            ("__x", "__x"),
        ];
        for (key, name) in cases {
            assert_eq!(sanitized(key.as_bytes()), *name, "{key:?}");
        }
        assert_eq!(sanitized(b" a\xff\xfe "), "a__");
    }

    #[test]
    fn nested_names_are_joined_and_blank_parts_left_out() {
        let mut name = String::new();
        for part in ["", "1a", " ", "2b", "c.d"] {
            join_sanitized(part.as_bytes(), &mut name);
        }
        assert_eq!(name, "_1a_2b_c_d");
    }

    #[test]
    fn unclean_bytes_become_spaces() {
        let mut buffer = Vec::new();
        append_clean("a\u{fffd}b".as_bytes(), &mut buffer);
        append_clean(b"\xff\xfec\xe2\x82", &mut buffer);
        assert_eq!(buffer, b"a b  c  ");
        assert!(is_clean("é".as_bytes()) && !is_clean(b"\xff") && !is_clean("\u{fffd}".as_bytes()));
    }
}
