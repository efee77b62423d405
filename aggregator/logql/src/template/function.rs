//! What a function of templates is: its name, the types it takes, and what it does.
//!
//! Functions come in tables; a [`Dialect`] is a list of tables. The evaluator checks number and types of arguments
//! before a call, so a function finds in [`Call`] what its signature says.

use std::borrow::Cow;

use super::Environment;
use super::budget::Budget;
use super::time::Time;
use super::tree::{Operand, Pattern};
use super::value::Value;

/// The functions that templates may call, and what their data is in Go's words.
#[derive(Debug)]
pub struct Dialect {
    /// Later tables cannot replace functions of earlier ones.
    pub functions: &'static [&'static [Function]],
    /// Names of those tables that are unknown all the same.
    pub without: &'static [&'static str],
    /// `map[string]string`: a missing name is an empty text. Otherwise it is nothing, and prints `<no value>`.
    pub is_data_text: bool,
}

impl Dialect {
    pub(super) fn function(&self, name: &str) -> Option<&'static Function> {
        let functions: &'static [&'static [Function]] = self.functions;
        if self.without.contains(&name) {
            return None;
        }
        functions.iter().copied().flatten().find(|function| function.name == name)
    }

    pub(super) fn data_type(&self) -> &'static str {
        if self.is_data_text { "map[string]string" } else { "map[string]interface {}" }
    }
}

/// The types of parameters, by their names in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    String,
    Int,
    Int64,
    Float64,
    Time,
    /// `interface {}`: whatever it is, [`Value::Nil`] for nothing.
    Any,
    /// Whatever it is, [`Value::Nothing`] for nothing.
    Value,
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::Int => "int",
            Type::Int64 => "int64",
            Type::Float64 => "float64",
            Type::Time => "time.Time",
            Type::Any => "interface {}",
            Type::Value => "reflect.Value",
        }
    }
}

/// A value, or the message behind `error calling <name>: `.
pub type CallResult<'v> = Result<Value<'v>, String>;

/// A function with its signature: the evaluator calls it only with arguments that fit.
pub struct Function {
    /// As templates and errors write it.
    pub name: &'static str,
    pub parameters: &'static [Type],
    /// The type of any number of further arguments.
    pub rest: Option<Type>,
    /// The first argument is a regular expression.
    pub is_search: bool,
    pub run: for<'c, 'v> fn(&mut Call<'c, 'v>) -> CallResult<'v>,
}

impl Function {
    pub const fn new(
        name: &'static str,
        parameters: &'static [Type],
        run: for<'c, 'v> fn(&mut Call<'c, 'v>) -> CallResult<'v>,
    ) -> Function {
        Function { name, parameters, rest: None, is_search: false, run }
    }

    pub const fn with_rest(mut self, rest: Type) -> Function {
        self.rest = Some(rest);
        self
    }

    pub const fn searching(mut self) -> Function {
        self.is_search = true;
        self
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One call: the arguments, already checked, and what surrounds them.
pub struct Call<'c, 'v> {
    /// The first argument as it is written.
    pub(super) callee: Option<&'v Operand>,
    pub(super) arguments: &'c mut [Value<'v>],
    pub(super) environment: &'v dyn Environment,
    pub(super) data_type: &'static str,
    pub(super) pattern: Option<&'v Pattern>,
    pub(super) budget: &'c mut Budget,
}

impl<'v> Call<'_, 'v> {
    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.arguments.len()
    }

    /// Takes an argument, of which there must be one at this place; nothing is left in it.
    pub fn take(&mut self, index: usize) -> Value<'v> {
        std::mem::replace(&mut self.arguments[index], Value::Nothing)
    }

    /// The same, the template's data being a map of texts.
    pub fn take_whole(&mut self, index: usize) -> Value<'v> {
        match self.take(index) {
            Value::Root => {
                let pairs = self.environment.pairs().into_iter();
                Value::Map(pairs.map(|(name, text)| (name.into(), Value::text(text))).collect())
            }
            value => value,
        }
    }

    /// Takes an argument of type [`Type::String`].
    pub fn text(&mut self, index: usize) -> Cow<'v, [u8]> {
        match self.take(index) {
            Value::Text(text) => text,
            _ => Cow::Borrowed(b""),
        }
    }

    /// Takes a text where only UTF-8 makes sense; other bytes become U+FFFD.
    pub fn string(&mut self, index: usize) -> String {
        String::from_utf8_lossy(&self.text(index)).into_owned()
    }

    /// An argument of type [`Type::Int`] or [`Type::Int64`].
    pub fn integer(&self, index: usize) -> i64 {
        match self.arguments[index] {
            Value::Integer(value, _) => value,
            _ => 0,
        }
    }

    /// An argument of type [`Type::Float64`].
    pub fn float(&self, index: usize) -> f64 {
        match self.arguments[index] {
            Value::Float(value) => value,
            _ => 0.0,
        }
    }

    /// What `now` means, in nanoseconds.
    pub fn now(&self) -> i64 {
        self.environment.now()
    }

    /// Takes an argument of type [`Type::Time`].
    pub fn time(&mut self, index: usize) -> Time {
        match self.take(index) {
            Value::Time(time) => time,
            _ => Time::utc(0, 0),
        }
    }
}
