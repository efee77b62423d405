//! A syntax tree back to text, in the form clients know from `format_query`.
//!
//! Two forms: compact, on one line, used in error texts; and the one of [`format_query`], which is the compact
//! one as long as it fits into [`LINE_LENGTH`] and breaks whatever is longer. Either reads back as the same tree:
//! where Loki's form would lose digits (sizes, `vector`) or meaning (broken binary operations of mixed
//! precedence), more is printed than there. [`format_query_as_loki`] prints what Loki prints, to the letter.

mod compact;
mod pretty;

use crate::ast::{Expr, LabelFilter, LogExpr, MetricExpr, Selector, Stage};
use std::fmt;

/// Bytes of compact text above which a node is broken into lines.
pub const LINE_LENGTH: usize = 100;

/// What is done about what Loki's printer loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fidelity {
    /// Written so that it reads back.
    Exact,
    /// Lost as there.
    Loki,
}

/// The text `format_query` answers with.
pub fn format_query(expression: &Expr) -> String {
    pretty(expression, Fidelity::Exact)
}

/// The text Loki's `format_query` answers with, which may read back as another query, or not at all.
pub fn format_query_as_loki(expression: &Expr) -> String {
    pretty(expression, Fidelity::Loki)
}

fn pretty(expression: &Expr, fidelity: Fidelity) -> String {
    let writer = pretty::Pretty(fidelity);
    match expression {
        Expr::Log(log) => writer.log(log, 0),
        Expr::Metric(metric) => writer.metric(metric, 0),
    }
}

/// One line that reads back.
fn exact(write: impl FnOnce(&mut compact::Text)) -> String {
    compact::text(Fidelity::Exact, write)
}

/// A whole query on one line.
pub(crate) fn format_compact(expression: &Expr) -> String {
    match expression {
        Expr::Log(log) => exact(|out| compact::log(out, log)),
        Expr::Metric(metric) => exact(|out| compact::metric(out, metric)),
    }
}

/// Stages with a blank between each, as in error texts.
pub fn format_stages(stages: &[Stage]) -> String {
    exact(|out| compact::stages(out, stages)).trim_start().to_owned()
}

pub(crate) fn format_label_filter(filter: &LabelFilter) -> String {
    exact(|out| compact::label_filter(out, filter))
}

/// Names of matchers are quoted unless they consist of ASCII letters, digits and `_`.
pub(crate) fn needs_quotes(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    !starts_well || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_compact(self))
    }
}

impl fmt::Display for LogExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(|out| compact::log(out, self)))
    }
}

impl fmt::Display for MetricExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(|out| compact::metric(out, self)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(|out| compact::selector(out, self)))
    }
}
