//! RE2's dialect of regular expressions, as Go has it, on top of the crate `regex`.
//!
//! Both engines are linear in time; their dialects differ in what some constructs mean, in what they accept and
//! in error texts. A pattern is read here once by the rules of Go and written again in the dialect of Rust, so
//! that it means the same; what Go refuses is refused with Go's text.
//!
//! Invariants: the translation has the same groups in the same order. Names that Rust does not take (beginning
//! with a digit, or used twice) are left out of it; [`Translated`] keeps them all. Compiled expressions work on
//! bytes in Unicode mode: text that may hold invalid UTF-8 is cleaned (U+FFFD) before matching, because Go reads
//! each invalid byte as that character. Repetition is bounded as in Go, nesting at 50 groups, the
//! compiled size by [`SIZE_LIMIT`].

mod class;
mod class_name;
mod error;
mod escape;
mod translation;
mod translator;
mod tree;

pub use class_name::ClassNames;
pub use error::{RegexError, RegexErrorKind};
pub use translation::Translated;
pub(crate) use tree::{Node, tree};

use regex::bytes::Regex;

/// Bytes a compiled expression may take.
pub const SIZE_LIMIT: usize = 16 << 20;

/// Bytes that all compiled expressions of the filters of one query, or of its matchers, may take.
pub const EXPRESSIONS_LIMIT: usize = 32 << 20;

/// How an expression is tied to the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchoring {
    /// Found anywhere: line filters.
    Search,
    /// The whole text, `.` matching line breaks too: matchers of streams and labels.
    Matcher,
    /// The whole text: `label_replace`. Errors name the pattern with its anchors.
    Full,
}

/// Translates a pattern of a filter, which is searched for.
pub fn translate(pattern: &str) -> Result<Translated, RegexError> {
    translate_with(pattern, ClassNames::Exact)
}

/// Translates a pattern that is searched for.
pub fn translate_with(pattern: &str, class_names: ClassNames) -> Result<Translated, RegexError> {
    translator::Translator::new(pattern, class_names).translate()
}

/// Translates a pattern and ties it to the text.
pub fn translate_anchored(pattern: &str, anchoring: Anchoring) -> Result<Translated, RegexError> {
    match anchoring {
        Anchoring::Search => translate(pattern),
        Anchoring::Matcher => translate(pattern).map(|translated| translated.surrounded("^(?s:", ")$")),
        Anchoring::Full => translate_with(&format!("^(?:{pattern})$"), ClassNames::Loose),
    }
}

/// Translates and compiles.
pub fn compile(pattern: &str, anchoring: Anchoring) -> Result<Regex, RegexError> {
    translate_anchored(pattern, anchoring)?.compile()
}
