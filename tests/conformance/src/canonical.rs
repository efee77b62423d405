//! One text for one JSON value: keys sorted, `", "` and `": "` between parts, nothing beyond ASCII escaped.
//!
//! Used to key and to sort; the recorded answers of tail cases hold label sets in this very form, so the
//! spelling is fixed.

use serde_json::Value;

pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, text);
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut keys: Vec<&String> = members.keys().collect();
            keys.sort();
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                separate(index, text);
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(": ");
                write(&members[key], text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn separate(index: usize, text: &mut String) {
    if index > 0 {
        text.push_str(", ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_parts_are_spaced() {
        let value: Value = serde_json::from_str(r#"{"b":[1,2.5,null,true],"a":{"é":"q\"\n\u0001"}}"#).unwrap();
        assert_eq!(canonical(&value), r#"{"a": {"é": "q\"\n\u0001"}, "b": [1, 2.5, null, true]}"#);
    }
}
