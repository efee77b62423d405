//! Go's texts for broken patterns.

/// What is wrong with a pattern, and the part of it that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {kind}: `{fragment}`")]
pub struct RegexError {
    pub kind: RegexErrorKind,
    pub fragment: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegexErrorKind {
    #[error("missing closing )")]
    MissingParen,
    #[error("unexpected )")]
    UnexpectedParen,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    #[error("invalid nested repetition operator")]
    InvalidRepeatOperator,
    #[error("invalid repeat count")]
    InvalidRepeatCount,
    #[error("invalid escape sequence")]
    InvalidEscape,
    #[error("invalid character class range")]
    InvalidCharRange,
    #[error("invalid named capture")]
    InvalidNamedCapture,
    #[error("invalid or unsupported Perl syntax")]
    InvalidPerlSyntax,
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    #[error("expression too large")]
    TooLarge,
    #[error("expression nests too deeply")]
    NestsTooDeeply,
}

impl RegexErrorKind {
    pub(super) fn at(self, fragment: impl Into<String>) -> RegexError {
        RegexError { kind: self, fragment: fragment.into() }
    }
}
