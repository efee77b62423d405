//! A pattern in Rust's dialect, with the names of its groups.

use super::{RegexError, RegexErrorKind, SIZE_LIMIT};
use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// As the user wrote it; named by errors.
    pub(super) original: String,
    pub(super) pattern: String,
    /// By group index; the first is the whole match.
    pub(super) group_names: Vec<Option<String>>,
}

impl Translated {
    /// In the dialect of `regex::bytes`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The names the user gave to groups, by index. Index 0 is the whole match and has none.
    pub fn group_names(&self) -> &[Option<String>] {
        &self.group_names
    }

    /// Compiles for matching on bytes. Too large an expression is the only error left.
    pub fn compile(&self) -> Result<Regex, RegexError> {
        self.compile_within(SIZE_LIMIT)
    }

    /// The same with another limit, in bytes, of what is compiled.
    pub fn compile_within(&self, bytes: usize) -> Result<Regex, RegexError> {
        RegexBuilder::new(&self.pattern).size_limit(bytes).build().map_err(|_| RegexErrorKind::TooLarge.at(self.original.clone()))
    }

    /// Whether the empty text matches. Nothing is compiled for it: a query may have thousands of matchers.
    pub(crate) fn matches_empty(&self) -> bool {
        let parsed = ParserBuilder::new().utf8(false).build().parse(&self.pattern);
        parsed.is_ok_and(|expression| is_empty_matched(&expression))
    }

    /// Appends `template` with `$1`, `${1}`, `$name`, `${name}` and `$$` replaced, as Go's `Expand` does: the
    /// longest name counts (`$1x` is the group named `1x`), unknown and absent groups are empty.
    pub fn expand(&self, template: &str, captures: &Captures<'_>, out: &mut Vec<u8>) {
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            out.extend_from_slice(before.as_bytes());
            if let Some(after) = after.strip_prefix('$') {
                out.push(b'$');
                rest = after;
            } else if let Some((name, after)) = reference(after) {
                out.extend_from_slice(self.group(name, captures));
                rest = after;
            } else {
                out.push(b'$');
                rest = after;
            }
        }
        out.extend_from_slice(rest.as_bytes());
    }

    /// The text of a group by number or name; of several of one name, the first that took part.
    fn group<'h>(&self, name: &str, captures: &Captures<'h>) -> &'h [u8] {
        let text = |index: usize| captures.get(index).map(|found| found.as_bytes());
        let found = match group_number(name) {
            Some(number) => text(number),
            None => (0..self.group_names.len()).filter(|&index| self.group_names[index].as_deref() == Some(name)).find_map(text),
        };
        found.unwrap_or_default()
    }

    pub(crate) fn surrounded(mut self, before: &str, after: &str) -> Self {
        self.pattern = format!("{before}{}{after}", self.pattern);
        self
    }
}

/// The name after a `$`, and the text after it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c == '_' || c.is_alphanumeric();
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, after))
}

/// Whether an expression matches the empty text as a whole.
fn is_empty_matched(expression: &Hir) -> bool {
    match expression.kind() {
        HirKind::Empty => true,
        HirKind::Literal(_) | HirKind::Class(_) => false,
        HirKind::Look(look) => !matches!(
            look,
            Look::WordAscii | Look::WordUnicode | Look::WordStartAscii | Look::WordStartUnicode | Look::WordEndAscii | Look::WordEndUnicode
        ),
        HirKind::Repetition(repetition) => repetition.min == 0 || is_empty_matched(&repetition.sub),
        HirKind::Capture(capture) => is_empty_matched(&capture.sub),
        HirKind::Concat(parts) => parts.iter().all(is_empty_matched),
        HirKind::Alternation(parts) => parts.iter().any(is_empty_matched),
    }
}

/// Digits without a leading zero are a group's index.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if !is_number {
        return None;
    }
    // A number too large for any group is still no name.
    Some(name.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use crate::regex_dialect::{Anchoring, translate, translate_anchored};

    fn expand(pattern: &str, text: &str, template: &str) -> String {
        let translated = translate(pattern).expect(pattern);
        let regex = translated.compile().expect(pattern);
        let captures = regex.captures(text.as_bytes()).expect("matches");
        let mut out = Vec::new();
        translated.expand(template, &captures, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn templates_expand_as_in_go() {
        for (pattern, text, template, expected) in [
            ("(a)(b)", "ab", "$2-$1", "b-a"),
            ("(a)(b)", "ab", "${1}x$1x|", "ax|"),
            ("(?P<n>a)", "a", "$n${n}$$n$", "aa$n$"),
            ("(?P<1x>a)", "a", "$1x", "a"),
            ("(?P<n>a)|(?P<n>b)", "b", "[$n]", "[b]"),
            ("(a)", "a", "$0 $9 $name ${1 ${}", "a   ${1 ${}"),
        ] {
            assert_eq!(expand(pattern, text, template), expected, "{template}");
        }
    }

    #[test]
    fn whether_the_empty_text_matches_is_known_without_compiling() {
        for pattern in [
            "",
            "a",
            ".*",
            ".+",
            "a?",
            "(a|)",
            "a|b",
            "(?:a*)(?:b*)",
            "(a*)b",
            "a{0,3}",
            "^$",
            r"\b",
            r"\B",
            r"\A\z",
            "[a-z]*",
            "(?i)x*",
            "a{2}",
        ] {
            let translated = translate_anchored(pattern, Anchoring::Matcher).expect("well formed");
            assert_eq!(translated.matches_empty(), translated.compile().expect("small").is_match(b""), "{pattern}");
        }
    }

    #[test]
    fn anchors_take_the_whole_text() {
        let matches = |pattern, anchoring, text: &str| {
            translate_anchored(pattern, anchoring).expect("well formed").compile().expect("small").is_match(text.as_bytes())
        };
        assert!(!matches("a|b", Anchoring::Matcher, "ab"));
        assert!(matches("a.b", Anchoring::Matcher, "a\nb"));
        assert!(!matches("a.b", Anchoring::Full, "a\nb"));
        assert!(matches("", Anchoring::Matcher, ""));
        let error = translate_anchored("(", Anchoring::Full).expect_err("open");
        assert_eq!(error.to_string(), "error parsing regexp: missing closing ): `^(?:()$`");
    }
}
