//! The tokens of the language and the names they carry in error texts.

use crate::ast::{Conversion, RangeOp, VectorOp};
use crate::error::Position;

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) position: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    End,
    /// What the lexer refuses, in its words. The last token of its text.
    Invalid(String),
    Identifier(String),
    /// Unquoted.
    String(String),
    /// As written; read as a number only where its value is needed.
    Number(String),
    /// Nanoseconds.
    Duration(i64),
    Bytes(u64),
    /// `[5m]`, in nanoseconds.
    Range(i64),
    Flag(Flag),
    /// Words that are functions only in front of `(`.
    RangeFunction(RangeOp),
    VectorFunction(VectorOp),
    Conversion(Conversion),
    Word(Word),
    Symbol(Symbol),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    Strict,
    KeepEmpty,
}

/// Reserved words, and the functions that are neither range nor vector aggregations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    And,
    Bool,
    By,
    Decolorize,
    Drop,
    GroupLeft,
    GroupRight,
    Ignoring,
    Ip,
    Json,
    Keep,
    LabelFormat,
    LabelReplace,
    LineFormat,
    Logfmt,
    Of,
    Offset,
    On,
    Or,
    Pattern,
    Regexp,
    Unless,
    Unpack,
    Unwrap,
    Variants,
    Vector,
    Without,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    Comma,
    Dot,
    Pipe,
    Assign,
    Equal,
    NotEqual,
    RegexMatch,
    RegexNotMatch,
    PipeEqual,
    PipeRegex,
    PipePattern,
    NotPattern,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl TokenKind {
    /// What the token is called after `unexpected`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::End | Self::Invalid(_) => "$end",
            Self::Identifier(_) => "IDENTIFIER",
            Self::String(_) => "STRING",
            Self::Number(_) => "NUMBER",
            Self::Duration(_) => "DURATION",
            Self::Bytes(_) => "BYTES",
            Self::Range(_) => "RANGE",
            Self::Flag(_) => "FUNCTION_FLAG",
            Self::RangeFunction(op) => range_function_name(*op),
            Self::VectorFunction(op) => vector_function_name(*op),
            Self::Conversion(Conversion::Bytes) => "BYTES_CONV",
            Self::Conversion(Conversion::Duration) => "DURATION_CONV",
            Self::Conversion(Conversion::DurationSeconds) => "DURATION_SECONDS_CONV",
            Self::Word(word) => word.name(),
            Self::Symbol(symbol) => symbol.name(),
        }
    }

    /// The reserved word or function a word of the text stands for, if any, in any case.
    /// `is_function`: the text goes on as after a function name.
    pub(crate) fn of_word(word: &str, is_function: bool) -> Option<Self> {
        let lower = word.to_ascii_lowercase();
        if let Some(reserved) = reserved_word(&lower) {
            return Some(Self::Word(reserved));
        }
        if !is_function {
            return None;
        }
        RangeOp::from_name(&lower)
            .map(Self::RangeFunction)
            .or_else(|| VectorOp::from_name(&lower).map(Self::VectorFunction))
            .or_else(|| Conversion::from_name(&lower).map(Self::Conversion))
            .or_else(|| {
                Some(Self::Word(match lower.as_str() {
                    "ip" => Word::Ip,
                    "label_replace" => Word::LabelReplace,
                    "vector" => Word::Vector,
                    _ => return None,
                }))
            })
    }
}

fn reserved_word(lower: &str) -> Option<Word> {
    Some(match lower {
        "and" => Word::And,
        "bool" => Word::Bool,
        "by" => Word::By,
        "decolorize" => Word::Decolorize,
        "drop" => Word::Drop,
        "group_left" => Word::GroupLeft,
        "group_right" => Word::GroupRight,
        "ignoring" => Word::Ignoring,
        "json" => Word::Json,
        "keep" => Word::Keep,
        "label_format" => Word::LabelFormat,
        "line_format" => Word::LineFormat,
        "logfmt" => Word::Logfmt,
        "of" => Word::Of,
        "offset" => Word::Offset,
        "on" => Word::On,
        "or" => Word::Or,
        "pattern" => Word::Pattern,
        "regexp" => Word::Regexp,
        "unless" => Word::Unless,
        "unpack" => Word::Unpack,
        "unwrap" => Word::Unwrap,
        "variants" => Word::Variants,
        "without" => Word::Without,
        _ => return None,
    })
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Bool => "bool",
            Self::By => "by",
            Self::Decolorize => "decolorize",
            Self::Drop => "drop",
            Self::GroupLeft => "group_left",
            Self::GroupRight => "group_right",
            Self::Ignoring => "ignoring",
            Self::Ip => "ip",
            Self::Json => "json",
            Self::Keep => "keep",
            Self::LabelFormat => "label_format",
            Self::LabelReplace => "LABEL_REPLACE",
            Self::LineFormat => "line_format",
            Self::Logfmt => "logfmt",
            Self::Of => "of",
            Self::Offset => "offset",
            Self::On => "on",
            Self::Or => "or",
            Self::Pattern => "pattern",
            Self::Regexp => "regexp",
            Self::Unless => "unless",
            Self::Unpack => "unpack",
            Self::Unwrap => "unwrap",
            Self::Variants => "variants",
            Self::Vector => "VECTOR",
            Self::Without => "without",
        }
    }
}

/// Symbols of one and of two characters; the longer ones are tried first.
pub(crate) const LONG_SYMBOLS: [(&str, Symbol); 10] = [
    ("==", Symbol::Equal),
    ("!=", Symbol::NotEqual),
    ("=~", Symbol::RegexMatch),
    ("!~", Symbol::RegexNotMatch),
    ("|=", Symbol::PipeEqual),
    ("|~", Symbol::PipeRegex),
    ("|>", Symbol::PipePattern),
    ("!>", Symbol::NotPattern),
    (">=", Symbol::GreaterOrEqual),
    ("<=", Symbol::LessOrEqual),
];
pub(crate) const SHORT_SYMBOLS: [(&str, Symbol); 16] = [
    ("{", Symbol::OpenBrace),
    ("}", Symbol::CloseBrace),
    ("(", Symbol::OpenParen),
    (")", Symbol::CloseParen),
    (",", Symbol::Comma),
    (".", Symbol::Dot),
    ("|", Symbol::Pipe),
    ("=", Symbol::Assign),
    (">", Symbol::Greater),
    ("<", Symbol::Less),
    ("+", Symbol::Add),
    ("-", Symbol::Sub),
    ("*", Symbol::Mul),
    ("/", Symbol::Div),
    ("%", Symbol::Mod),
    ("^", Symbol::Pow),
];

impl Symbol {
    fn name(self) -> &'static str {
        LONG_SYMBOLS
            .iter()
            .chain(&SHORT_SYMBOLS)
            .find_map(|(text, symbol)| (*symbol == self).then_some(*text))
            .expect("each symbol is in one of the tables")
    }
}

fn range_function_name(op: RangeOp) -> &'static str {
    match op {
        RangeOp::Rate => "RATE",
        RangeOp::RateCounter => "RATE_COUNTER",
        RangeOp::CountOverTime => "COUNT_OVER_TIME",
        RangeOp::BytesRate => "BYTES_RATE",
        RangeOp::BytesOverTime => "BYTES_OVER_TIME",
        RangeOp::SumOverTime => "SUM_OVER_TIME",
        RangeOp::AvgOverTime => "AVG_OVER_TIME",
        RangeOp::MinOverTime => "MIN_OVER_TIME",
        RangeOp::MaxOverTime => "MAX_OVER_TIME",
        RangeOp::StdvarOverTime => "STDVAR_OVER_TIME",
        RangeOp::StddevOverTime => "STDDEV_OVER_TIME",
        RangeOp::QuantileOverTime => "QUANTILE_OVER_TIME",
        RangeOp::FirstOverTime => "FIRST_OVER_TIME",
        RangeOp::LastOverTime => "LAST_OVER_TIME",
        RangeOp::AbsentOverTime => "ABSENT_OVER_TIME",
    }
}

fn vector_function_name(op: VectorOp) -> &'static str {
    match op {
        VectorOp::Sum => "SUM",
        VectorOp::Avg => "AVG",
        VectorOp::Count => "COUNT",
        VectorOp::Min => "MIN",
        VectorOp::Max => "MAX",
        VectorOp::Stddev => "STDDEV",
        VectorOp::Stdvar => "STDVAR",
        VectorOp::Topk => "TOPK",
        VectorOp::Bottomk => "BOTTOMK",
        VectorOp::ApproxTopk => "APPROX_TOPK",
        VectorOp::Sort => "SORT",
        VectorOp::SortDesc => "SORT_DESC",
    }
}
