//! The functions of templates, in tables by subject, and the dialects made of them.

mod builtin;
mod compare;
mod convert;
mod date;
mod decimal;
mod entry;
mod number;
mod search;
mod text;

use super::function::{Dialect, Function};

/// What every template has: `and`, `eq`, `index`, `len`, `printf` and the like.
pub const BUILTIN: &[Function] = builtin::FUNCTIONS;
/// `eq`, `lt` and the like.
pub const COMPARE: &[Function] = compare::FUNCTIONS;
/// Texts: case, trimming, cutting, replacing, padding, encodings.
pub const TEXT: &[Function] = text::FUNCTIONS;
/// `regexReplaceAll` and `count`.
pub const SEARCH: &[Function] = search::FUNCTIONS;
/// Arithmetic.
pub const NUMBER: &[Function] = number::FUNCTIONS;
/// `bytes`, `duration`, `int`, `float64`, `default`, `fromJson`.
pub const CONVERT: &[Function] = convert::FUNCTIONS;
/// Times in layouts and since 1970.
pub const DATE: &[Function] = date::FUNCTIONS;
/// `__line__` and `__timestamp__`.
pub const ENTRY: &[Function] = entry::FUNCTIONS;

/// `line_format` and `label_format`.
pub static LOGQL: Dialect =
    Dialect { functions: &[BUILTIN, COMPARE, TEXT, SEARCH, NUMBER, CONVERT, DATE, ENTRY], without: &[], is_data_text: true };
