//! The values of templates: what Go's reflection would show of them.
//!
//! Strings are bytes, as in Go, and borrow from the entry or the template where they can. Lists are shared,
//! never changed. Two kinds of nothing are told apart, because Go prints and refuses them differently:
//! [`Value::Nothing`] (no value at all) and [`Value::Nil`] (an empty place of a list or map).

use std::borrow::Cow;
use std::rc::Rc;

use super::entries::Entries;
use super::time::Time;

/// A value of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'v> {
    /// Printed as `<no value>`.
    Nothing,
    /// An interface that holds nothing: JSON's `null`, a missing key of a map.
    Nil,
    Bool(bool),
    Integer(i64, IntegerType),
    Float(f64),
    Text(Cow<'v, [u8]>),
    List(Rc<[Value<'static>]>),
    Map(Entries),
    /// The data of the template: its names are resolved by the environment.
    Root,
    Time(Time),
}

/// Integers differ in name and, some of them, in how they print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerType {
    Int,
    Int64,
    Byte,
    Month,
    Weekday,
    /// Nanoseconds.
    Duration,
}

impl IntegerType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Byte => "uint8",
            Self::Month => "time.Month",
            Self::Weekday => "time.Weekday",
            Self::Duration => "time.Duration",
        }
    }
}

impl<'v> Value<'v> {
    /// Go's `int`.
    pub fn int(value: i64) -> Value<'v> {
        Value::Integer(value, IntegerType::Int)
    }

    pub(super) fn length(length: usize) -> Value<'v> {
        Value::int(i64::try_from(length).unwrap_or(i64::MAX))
    }

    /// A text of its own.
    pub fn text(text: impl Into<Vec<u8>>) -> Value<'v> {
        Value::Text(Cow::Owned(text.into()))
    }

    /// A text that stands elsewhere.
    pub fn borrowed(text: &'v [u8]) -> Value<'v> {
        Value::Text(Cow::Borrowed(text))
    }

    /// The type's name in Go; `root` is that of the template's data.
    pub(super) fn type_name(&self, root: &'static str) -> &'static str {
        match self {
            Value::Nothing => "<nil>",
            Value::Nil => "interface {}",
            Value::Bool(_) => "bool",
            Value::Integer(_, integer) => integer.name(),
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
            Value::Root => root,
            Value::Time(_) => "time.Time",
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Value::Nothing | Value::Nil)
    }

    /// What `if`, `and`, `or` and `not` ask. `is_root_empty` says it for the template's data.
    pub(super) fn is_true(&self, is_root_empty: impl FnOnce() -> bool) -> bool {
        match self {
            Value::Nothing | Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Integer(value, _) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
            Value::Root => !is_root_empty(),
            Value::Time(_) => true,
        }
    }
}
