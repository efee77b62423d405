//! Values as text, as Go's package for formatting writes them: `print`, `println`, `printf`.
//!
//! Nothing here fails: what does not fit together is written into the text (`%!d(string=7)`). Not written are forms
//! that no value of templates needs: pointers, and hexadecimal floating point numbers.

mod float;
mod printf;
mod verb;

pub(super) use printf::printf;

/// The shortest text that reads back as the number: with an exponent below -4 and from 6 on.
pub(crate) fn shortest_float(value: f64) -> String {
    float::float_text(value, 'g', None)
}

use super::Environment;
use super::value::Value;
use verb::Writer;

/// Appends a value as an action prints it.
pub(super) fn print_value(value: &Value<'_>, environment: &dyn Environment, data_type: &'static str, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => out.extend_from_slice(text),
        Value::Nothing | Value::Nil => out.extend_from_slice(b"<no value>"),
        value => Writer::new(out, environment, data_type).write(value, 'v'),
    }
}

impl Value<'_> {
    /// As `print` would; the template's data as an empty map.
    pub fn printed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        print_value(self, &NoData, "map[string]interface {}", &mut out);
        out
    }
}

struct NoData;

impl Environment for NoData {
    fn field(&self, _: usize) -> Option<&[u8]> {
        None
    }

    fn named(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn pairs(&self) -> Vec<(&str, &[u8])> {
        Vec::new()
    }

    fn line(&self) -> &[u8] {
        b""
    }

    fn timestamp(&self) -> i64 {
        0
    }

    fn now(&self) -> i64 {
        0
    }
}

/// `print`: a blank between two values of which neither is a text.
pub(super) fn print(values: &[Value<'_>], environment: &dyn Environment, data_type: &'static str, out: &mut Vec<u8>) {
    for (index, value) in values.iter().enumerate() {
        let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            out.push(b' ');
        }
        Writer::new(out, environment, data_type).write(value, 'v');
    }
}

/// `println`: a blank between any two, and a line break.
pub(super) fn println(values: &[Value<'_>], environment: &dyn Environment, data_type: &'static str, out: &mut Vec<u8>) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        Writer::new(out, environment, data_type).write(value, 'v');
    }
    out.push(b'\n');
}
