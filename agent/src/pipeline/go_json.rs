//! JSON text as Go's encoder writes it: HTML characters escaped, floats in its notation, keys sorted.

use jmespath::Variable;

/// Appends `variable` to `out`.
pub(super) fn write(variable: &Variable, out: &mut String) {
    match variable {
        Variable::Null | Variable::Expref(_) => out.push_str("null"),
        Variable::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Variable::Number(number) => write_number(number.as_f64().unwrap_or(0.0), out),
        Variable::String(text) => write_text(text, out),
        Variable::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Variable::Object(fields) => {
            out.push('{');
            for (index, (key, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// Appends a quoted text.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Floats without exponent but for the very small and the very large.
fn write_number(number: f64, out: &mut String) {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        // The exponent has a sign, and one digit where one is enough.
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => out.push_str(&format!("{digits}e+{exponent}")),
            _ => out.push_str(&text),
        }
    } else {
        out.push_str(&number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_does() {
        for (json, expected) in [
            ("{\"b\":1.50,\"a\":[1,\"<x>&\",null,true]}", "{\"a\":[1,\"\\u003cx\\u003e\\u0026\",null,true],\"b\":1.5}"),
            ("[1e21, 1e20, 1e-7, 0, -2.5]", "[1e+21,100000000000000000000,1e-7,0,-2.5]"),
            ("\"\\u0001\\n\"", "\"\\u0001\\n\""),
        ] {
            let mut out = String::new();
            write(&Variable::from_json(json).unwrap(), &mut out);
            assert_eq!(out, expected);
        }
    }
}
