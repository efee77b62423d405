//! The stages of a pipeline, one a file: each is compiled once per query and run once per entry.
//!
//! A stage reads the line and the labels of the entry, sets or removes labels, sets the entry's error, replaces the
//! line, or drops the entry. None allocates per entry once its buffers have grown, except to report an error
//! and for what the functions of templates make.

pub(crate) mod decolorize;
pub(crate) mod drop_keep;
pub(crate) mod eight_bytes;
pub(crate) mod extraction;
pub(crate) mod ip;
pub(crate) mod json;
pub(crate) mod json_expression;
pub(crate) mod json_path;
pub(crate) mod json_paths;
pub(crate) mod json_text;
pub(crate) mod label_filter;
pub(crate) mod line_filter;
pub(crate) mod logfmt;
pub(crate) mod logfmt_expression;
pub(crate) mod logfmt_pairs;
pub(crate) mod pattern;
pub(crate) mod pattern_filter;
pub(crate) mod regex;
pub(crate) mod regexp;
pub(crate) mod simplified;
pub(crate) mod template_format;
pub(crate) mod unpack;
pub(crate) mod unwrap;

use crate::regex_dialect::SIZE_LIMIT;

/// How filters are compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterOptions {
    pub(crate) strict_loki: bool,
    /// What each regular expression may take.
    pub(crate) expression_bytes: usize,
}

impl Default for FilterOptions {
    fn default() -> Self {
        Self { strict_loki: false, expression_bytes: SIZE_LIMIT }
    }
}
