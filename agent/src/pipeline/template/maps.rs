//! Functions over maps, and values as JSON. What changes a map in place is not there: maps are values.

use std::collections::BTreeMap;
use std::rc::Rc;

use tailwater_logql::template::{Call, CallResult, Function, Type, Value};

use super::lists::{items, kept, list, owned};
use super::texts::shown;
use crate::pipeline::go_json;

type Map = BTreeMap<Box<str>, Value<'static>>;

const ONE: &[Type] = &[Type::Any];
const WITH_KEY: &[Type] = &[Type::Any, Type::String];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("dict", &[], |call| {
        let mut made = Map::new();
        for index in (0..call.count()).step_by(2) {
            let key = shown(&call.take(index));
            let value = if index + 1 < call.count() { kept(call.take(index + 1)) } else { owned("") };
            made.insert(key.into(), value);
        }
        Ok(map(made))
    })
    .with_rest(Type::Any),
    Function::new("get", WITH_KEY, |call| {
        let key = call.string(1);
        Ok(entries(call.take(0)).get(&*key).cloned().unwrap_or_else(|| owned("")))
    }),
    Function::new("hasKey", WITH_KEY, |call| {
        let key = call.string(1);
        Ok(Value::Bool(entries(call.take(0)).contains_key(&*key)))
    }),
    Function::new("keys", &[], |call| {
        let all = (0..call.count()).flat_map(|index| entries(call.take(index)).keys().map(|key| owned(key)).collect::<Vec<_>>());
        Ok(list(all.collect::<Vec<_>>()))
    })
    .with_rest(Type::Any),
    Function::new("values", ONE, |call| Ok(list(entries(call.take(0)).values().cloned().collect::<Vec<_>>()))),
    Function::new("pluck", &[Type::String], |call| {
        let key = call.string(0);
        let found = (1..call.count()).filter_map(|index| entries(call.take(index)).get(&*key).cloned());
        Ok(list(found.collect::<Vec<_>>()))
    })
    .with_rest(Type::Any),
    Function::new("dig", &[Type::Any, Type::Any, Type::Any], dig).with_rest(Type::Any),
    Function::new("pick", ONE, |call| Ok(chosen(call, true))).with_rest(Type::String),
    Function::new("omit", ONE, |call| Ok(chosen(call, false))).with_rest(Type::String),
    // The first that has a key counts; or the last.
    Function::new("merge", &[], |call| Ok(merged(call, false))).with_rest(Type::Any),
    Function::new("mergeOverwrite", &[], |call| Ok(merged(call, true))).with_rest(Type::Any),
    Function::new("split", &[Type::String, Type::String], |call| {
        let (separator, text) = (call.string(0), call.string(1));
        Ok(numbered(text.split(&*separator)))
    }),
    Function::new("splitn", &[Type::String, Type::Int, Type::String], |call| {
        let (separator, count, text) = (call.string(0), call.integer(1), call.string(2));
        Ok(numbered(text.splitn(usize::try_from(count).unwrap_or(usize::MAX), &*separator)))
    }),
    Function::new("toJson", ONE, |call| Ok(Value::text(json(&call.take(0))))),
    Function::new("mustToJson", ONE, |call| Ok(Value::text(json(&call.take(0))))),
    // `<`, `>` and `&` as they are.
    Function::new("toRawJson", ONE, |call| {
        let escaped = json(&call.take(0));
        let raw =
            [("\\u003c", "<"), ("\\u003e", ">"), ("\\u0026", "&")].iter().fold(escaped, |text, (code, plain)| text.replace(code, plain));
        Ok(Value::text(raw))
    }),
    Function::new("mustFromJson", &[Type::String], |call| {
        let text = call.string(0);
        serde_json::from_str(&text).map(of_json).map_err(|error| error.to_string())
    }),
    Function::new("toPrettyJson", ONE, |call| Ok(Value::text(pretty(&call.take(0), 0)))),
];

fn of_json(value: serde_json::Value) -> Value<'static> {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(value) => Value::Float(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => owned(&text),
        serde_json::Value::Array(items) => list(items.into_iter().map(of_json).collect::<Vec<_>>()),
        serde_json::Value::Object(entries) => map(entries.into_iter().map(|(key, value)| (key.into(), of_json(value))).collect()),
    }
}

fn map(entries: Map) -> Value<'static> {
    Value::Map(Rc::new(entries))
}

/// The entries of a map; nothing else has any.
fn entries(value: Value<'_>) -> Rc<Map> {
    match value {
        Value::Map(entries) => entries,
        _ => Rc::default(),
    }
}

/// Parts by `_0`, `_1` and so on.
fn numbered<'a>(parts: impl Iterator<Item = &'a str>) -> Value<'static> {
    map(parts.enumerate().map(|(index, part)| (format!("_{index}").into(), owned(part))).collect())
}

fn chosen(call: &mut Call<'_, '_>, is_kept: bool) -> Value<'static> {
    let keys: Vec<String> = (1..call.count()).map(|index| call.string(index)).collect();
    let all = entries(call.take(0));
    let chosen = all.iter().filter(|(key, _)| keys.iter().any(|other| **other == ***key) == is_kept);
    map(chosen.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn merged(call: &mut Call<'_, '_>, is_last_right: bool) -> Value<'static> {
    let mut all = Map::new();
    for index in 0..call.count() {
        for (key, value) in entries(call.take(index)).iter() {
            if is_last_right || !all.contains_key(key) {
                all.insert(key.clone(), value.clone());
            }
        }
    }
    map(all)
}

/// Keys one below the other, then what to give without them, then the map.
fn dig<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let count = call.count();
    let mut value = kept(call.take(count - 1));
    let missing = kept(call.take(count - 2));
    for index in 0..count - 2 {
        let key = shown(&call.take(index));
        match entries(value).get(&*key) {
            Some(below) => value = below.clone(),
            None => return Ok(missing),
        }
    }
    Ok(value)
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    go_json::write_text(text, &mut out);
    out
}

/// As Go writes it.
fn json(value: &Value<'_>) -> String {
    match value {
        Value::Nothing | Value::Nil | Value::Root => "null".to_owned(),
        Value::Bool(_) | Value::Integer(..) | Value::Float(_) => shown(value),
        Value::Text(_) | Value::Time(_) => quoted(&shown(value)),
        Value::List(_) => format!("[{}]", items(kept(value.clone())).iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let pairs: Vec<String> = entries.iter().map(|(key, value)| format!("{}:{}", quoted(key), json(value))).collect();
            format!("{{{}}}", pairs.join(","))
        }
    }
}

/// The same in lines, two blanks deeper with each level.
fn pretty(value: &Value<'_>, depth: usize) -> String {
    let (inner, outer) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    match value {
        Value::List(_) => {
            let all = items(kept(value.clone()));
            let lines: Vec<String> = all.iter().map(|item| format!("{inner}{}", pretty(item, depth + 1))).collect();
            if lines.is_empty() { "[]".to_owned() } else { format!("[\n{}\n{outer}]", lines.join(",\n")) }
        }
        Value::Map(entries) => {
            let lines: Vec<String> =
                entries.iter().map(|(key, value)| format!("{inner}{}: {}", quoted(key), pretty(value, depth + 1))).collect();
            if lines.is_empty() { "{}".to_owned() } else { format!("{{\n{}\n{outer}}}", lines.join(",\n")) }
        }
        other => json(other),
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn maps_are_made_read_and_written_as_json() {
        for (template, expected) in [
            (
                "{{ $d := dict \"a\" .v \"b\" 2 }}{{ $d.a }}{{ get $d \"b\" }}{{ get $d \"c\" }}|{{ hasKey $d \"b\" }}|{{ keys $d | join \",\" }}",
                "x,y2|true|a,b",
            ),
            (
                "{{ (mustFromJson \"{\\\"a\\\":[1,{\\\"b\\\":null}]}\").a | first }} {{ mustFromJson \"[1.5,true]\" | join \"+\" }}",
                "1 1.5+true",
            ),
            ("{{ mustFromJson \"{\" }}", "x,y"),
            ("{{ (split \",\" .v)._1 }}{{ (splitn \",\" 2 .v)._0 }}", "yx"),
            ("{{ toJson (dict \"a\" (list 1 \"<\") \"b\" true) }}", "{\"a\":[1,\"\\u003c\"],\"b\":true}"),
            ("{{ toPrettyJson (dict \"a\" (list 1 \"<\") \"b\" (list)) }}", "{\n  \"a\": [\n    1,\n    \"\\u003c\"\n  ],\n  \"b\": []\n}"),
            ("{{ toRawJson (dict \"a\" \"<&>\") }}", "{\"a\":\"<&>\"}"),
            ("{{ dig \"a\" \"b\" \"none\" (dict \"a\" (dict \"b\" \"c\")) }}{{ dig \"x\" \"none\" (dict) }}", "cnone"),
            ("{{ $d := dict \"a\" 1 \"b\" 2 }}{{ omit $d \"a\" | toJson }}{{ pick $d \"a\" | toJson }}", "{\"b\":2}{\"a\":1}"),
            ("{{ merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3) | toJson }}{{ pluck \"a\" (dict \"a\" 1) | first }}", "{\"a\":1,\"b\":3}1"),
        ] {
            assert_eq!(result(template, "x,y").as_deref(), Some(expected), "{template}");
        }
    }
}
