//! Relabelling with Prometheus' semantics: rules that run in order over the labels of one target.
//!
//! Pure. A label with an empty value does not exist. Regular expressions are anchored at both ends and written in RE2's dialect.

mod config;
mod rule;

pub(crate) use config::read_rules;
pub(crate) use rule::{Rule, relabel};

use std::collections::BTreeMap;

/// Labels of a target; none is empty.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether `name` may be a label's name.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_start) && bytes.all(|byte| is_start(byte) || byte.is_ascii_digit())
}
