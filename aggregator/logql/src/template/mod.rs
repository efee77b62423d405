//! Go's templates: parsed once, executed for every entry into a buffer.
//!
//! ```text
//! text → lexer → parser → tree ──execute(environment)──→ bytes
//!                  ▲                 ▲
//!               dialect: tables of functions
//! ```
//! The engine knows nothing of queries: names of the data are resolved by an [`Environment`], by number (see
//! [`Template::fields`]), and functions come from a [`Dialect`]. Values, printing, comparison and error texts are
//! those of Go's `text/template`, missing keys being empty. A template that parses fails only on its data. Every
//! execution is bounded in steps, depth and text, so that no template can take the stack, the memory or for ever.

mod analysis;
mod budget;
mod encode;
mod entries;
mod execute;
mod format;
mod function;
pub mod functions;
mod json;
mod lexer;
mod number;
mod parser;
mod rune;
mod time;
mod tree;
mod value;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;

pub use analysis::FieldsRead;
pub use entries::Entries;
pub(crate) use format::shortest_float;
pub use function::{Call, CallResult, Dialect, Function, Type};
pub use time::{Time, Zone};
pub use value::{IntegerType, Value};

use tree::List;

/// The data of one execution.
pub trait Environment {
    /// The text of a field of the template, by its number in [`Template::fields`]; `None` where there is none.
    fn field(&self, index: usize) -> Option<&[u8]>;

    /// The text of any name.
    fn named(&self, name: &str) -> Option<&[u8]>;

    /// All names with their texts, sorted by name: what `.` alone means.
    fn pairs(&self) -> Vec<(&str, &[u8])>;

    /// What `__line__` means.
    fn line(&self) -> &[u8];

    /// What `__timestamp__` means, in nanoseconds.
    fn timestamp(&self) -> i64;

    /// What `now` means, in nanoseconds.
    fn now(&self) -> i64;
}

/// A template that cannot be parsed. The text is Go's: `template: line:1: unclosed action`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    message: String,
}

/// A template that failed on its data. The text is Go's: `template: line:1:3: executing "line" at <…>: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExecutionError {
    message: String,
}

/// A compiled template. `Send + Sync`.
#[derive(Debug, Clone)]
pub struct Template {
    name: Box<str>,
    text: Box<str>,
    dialect: &'static Dialect,
    root: List,
    definitions: BTreeMap<Box<str>, List>,
    fields: Vec<Box<str>>,
}

impl Template {
    /// `name` stands in error texts.
    pub fn parse(name: &str, text: &str, dialect: &'static Dialect) -> Result<Template, TemplateError> {
        let parsed = parser::parse(name, text, dialect).map_err(|message| TemplateError { message })?;
        let parser::Parsed { root, definitions, fields } = parsed;
        Ok(Template { name: name.into(), text: text.into(), dialect, root, definitions, fields })
    }

    /// Appends the result to `out`. After an error nothing is appended.
    pub fn execute(&self, environment: &dyn Environment, out: &mut Vec<u8>) -> Result<(), ExecutionError> {
        let start = out.len();
        execute::execute(self, environment, out).map_err(|message| {
            out.truncate(start);
            ExecutionError { message }
        })
    }

    /// The names behind points anywhere in the template, by number. Not all need be names of the data.
    pub fn fields(&self) -> &[Box<str>] {
        &self.fields
    }

    /// Which names of the data can be read.
    pub fn fields_read(&self) -> FieldsRead {
        analysis::fields_read(self)
    }

    /// Whether a function of this name is called anywhere.
    pub fn calls(&self, function: &str) -> bool {
        analysis::calls(self, function)
    }

    /// The number of the field if the template is `{{.field}}` and nothing more.
    pub fn single_field(&self) -> Option<usize> {
        analysis::single_field(self)
    }
}
