//! Functions over maps, and values as JSON. The template's data is a map as well, which cannot be changed.

use tailwater_logql::template::{Call, CallResult, Entries, Function, Type, Value};

use super::lists::{items, kept, list, owned};
use super::texts::shown;
use crate::pipeline::go_json;

const ONE: &[Type] = &[Type::Any];
const WITH_KEY: &[Type] = &[Type::Any, Type::String];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("dict", &[], |call| {
        let count = call.count();
        let pair = |index| {
            let key = shown(&call.take(index)).into();
            (key, if index + 1 < count { kept(call.take_whole(index + 1)) } else { owned("") })
        };
        Ok(Value::Map((0..count).step_by(2).map(pair).collect()))
    })
    .with_rest(Type::Any),
    Function::new("get", WITH_KEY, |call| {
        let key = call.string(1);
        Ok(entries(call, 0).get(&key).unwrap_or_else(|| owned("")))
    }),
    Function::new("hasKey", WITH_KEY, |call| {
        let key = call.string(1);
        Ok(Value::Bool(entries(call, 0).has(&key)))
    }),
    Function::new("set", &[Type::Any, Type::String, Type::Any], |call| {
        let (key, value) = (call.string(1), kept(call.take_whole(2)));
        let map = changed(call, 0)?;
        map.set(&key, value)?;
        Ok(Value::Map(map))
    }),
    Function::new("unset", WITH_KEY, |call| {
        let key = call.string(1);
        let map = changed(call, 0)?;
        map.remove(&key);
        Ok(Value::Map(map))
    }),
    Function::new("keys", &[], |call| {
        let all = (0..call.count()).flat_map(|index| entries(call, index).all());
        Ok(list(all.map(|(key, _)| owned(&key)).collect::<Vec<_>>()))
    })
    .with_rest(Type::Any),
    Function::new("values", ONE, |call| Ok(list(entries(call, 0).all().into_iter().map(|(_, value)| value).collect::<Vec<_>>()))),
    Function::new("pluck", &[Type::String], |call| {
        let key = call.string(0);
        let found = (1..call.count()).filter_map(|index| entries(call, index).get(&key));
        Ok(list(found.collect::<Vec<_>>()))
    })
    .with_rest(Type::Any),
    Function::new("dig", &[Type::Any, Type::Any, Type::Any], dig).with_rest(Type::Any),
    Function::new("pick", ONE, |call| Ok(chosen(call, true))).with_rest(Type::String),
    Function::new("omit", ONE, |call| Ok(chosen(call, false))).with_rest(Type::String),
    // Into the first map; the first that has a key counts, or the last.
    Function::new("merge", &[], |call| merged(call, false)).with_rest(Type::Any),
    Function::new("mergeOverwrite", &[], |call| merged(call, true)).with_rest(Type::Any),
    Function::new("split", &[Type::String, Type::String], |call| {
        let (separator, text) = (call.string(0), call.string(1));
        Ok(numbered(text.split(&*separator)))
    }),
    Function::new("splitn", &[Type::String, Type::Int, Type::String], |call| {
        let (separator, count, text) = (call.string(0), call.integer(1), call.string(2));
        Ok(numbered(text.splitn(usize::try_from(count).unwrap_or(usize::MAX), &*separator)))
    }),
    Function::new("toJson", ONE, |call| Ok(Value::text(json(&call.take_whole(0))))),
    Function::new("mustToJson", ONE, |call| Ok(Value::text(json(&call.take_whole(0))))),
    // `<`, `>` and `&` as they are.
    Function::new("toRawJson", ONE, |call| {
        let escaped = json(&call.take_whole(0));
        let raw =
            [("\\u003c", "<"), ("\\u003e", ">"), ("\\u0026", "&")].iter().fold(escaped, |text, (code, plain)| text.replace(code, plain));
        Ok(Value::text(raw))
    }),
    Function::new("mustFromJson", &[Type::String], |call| {
        let text = call.string(0);
        serde_json::from_str(&text).map(of_json).map_err(|error| error.to_string())
    }),
    Function::new("toPrettyJson", ONE, |call| Ok(Value::text(pretty(&call.take_whole(0), 0)))),
];

fn of_json(value: serde_json::Value) -> Value<'static> {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(value) => Value::Float(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => owned(&text),
        serde_json::Value::Array(items) => list(items.into_iter().map(of_json).collect::<Vec<_>>()),
        serde_json::Value::Object(entries) => Value::Map(entries.into_iter().map(|(key, value)| (key.into(), of_json(value))).collect()),
    }
}

/// The entries of a map; nothing else has any.
fn entries(call: &mut Call<'_, '_>, index: usize) -> Entries {
    match call.take_whole(index) {
        Value::Map(entries) => entries,
        _ => Entries::default(),
    }
}

/// A map that is to be changed.
fn changed(call: &mut Call<'_, '_>, index: usize) -> Result<Entries, String> {
    match call.take(index) {
        Value::Map(entries) => Ok(entries),
        Value::Root => Err("the data of the template cannot be changed".to_owned()),
        _ => Err("that is no map".to_owned()),
    }
}

/// Parts by `_0`, `_1` and so on.
fn numbered<'a>(parts: impl Iterator<Item = &'a str>) -> Value<'static> {
    Value::Map(parts.enumerate().map(|(index, part)| (format!("_{index}").into(), owned(part))).collect())
}

fn chosen(call: &mut Call<'_, '_>, is_kept: bool) -> Value<'static> {
    let keys: Vec<String> = (1..call.count()).map(|index| call.string(index)).collect();
    let chosen = entries(call, 0).all().into_iter().filter(|(key, _)| keys.iter().any(|other| **other == **key) == is_kept);
    Value::Map(chosen.collect())
}

fn merged<'v>(call: &mut Call<'_, 'v>, is_last_right: bool) -> CallResult<'v> {
    if call.count() == 0 {
        return Ok(Value::Map(Entries::default()));
    }
    let all = changed(call, 0)?;
    for index in 1..call.count() {
        for (key, value) in entries(call, index).all() {
            if is_last_right || !all.has(&key) {
                all.set(&key, value)?;
            }
        }
    }
    Ok(Value::Map(all))
}

/// Keys one below the other, then what to give without them, then the map.
fn dig<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let count = call.count();
    let mut value = kept(call.take_whole(count - 1));
    let missing = kept(call.take(count - 2));
    for index in 0..count - 2 {
        let key = shown(&call.take(index));
        let Value::Map(entries) = value else { return Ok(missing) };
        let Some(below) = entries.get(&key) else { return Ok(missing) };
        value = below;
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
            let pairs: Vec<String> = entries.all().iter().map(|(key, value)| format!("{}:{}", quoted(key), json(value))).collect();
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
                entries.all().iter().map(|(key, value)| format!("{inner}{}: {}", quoted(key), pretty(value, depth + 1))).collect();
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
            (
                "{{ $d := dict }}{{ $e := $d }}{{ $_ := set $d \"a\" .v }}{{ $_ := unset (set $e \"b\" 1) \"c\" }}{{ toJson $d }}",
                "{\"a\":\"x,y\",\"b\":1}",
            ),
            ("{{ $d := dict \"a\" 1 }}{{ $_ := unset $d \"a\" }}{{ $_ := mergeOverwrite $d (dict \"b\" 2) }}{{ $d }}", "map[b:2]"),
            ("{{ $d := dict }}{{ set $d \"a\" $d }}", "x,y"),
            ("{{ get . \"v\" }} {{ hasKey . \"none\" }} {{ pick . \"v\" | toJson }} {{ set . \"v\" 1 }}", "x,y"),
            ("{{ get . \"v\" }} {{ hasKey . \"none\" }} {{ pick . \"v\" | toJson }}", "x,y false {\"v\":\"x,y\"}"),
            (
                "{{ toString (dict \"a\" (list 1 .v)) }} {{ toDate \"2006\" \"2026\" | toString }}",
                "map[a:[1 x,y]] 2026-01-01 00:00:00 +0000 UTC",
            ),
            ("{{ toJson . }}", "{\"Entry\":\"x,y\",\"Value\":\"x,y\",\"job\":\"t\",\"v\":\"x,y\"}"),
        ] {
            assert_eq!(result(template, "x,y").as_deref(), Some(expected), "{template}");
        }
    }
}
