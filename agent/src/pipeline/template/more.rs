//! Functions of Sprig that few templates use: paths, kinds, further lists and encodings, and the names that fail instead of giving nothing.

use tailwater_logql::template::{Call, CallResult, Function, IntegerType, Type, Value};

use super::lists::{items, kept, list, listed, owned};
use super::texts::{compiled, is_empty, shown};

const ONE: &[Type] = &[Type::String];
const TWO: &[Type] = &[Type::String, Type::String];
const ANY: &[Type] = &[Type::Any];
const ANY_TWO: &[Type] = &[Type::Any, Type::Any];
/// Numbers that are made at once.
const MAX_ITEMS: usize = 10_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("hello", &[], |_| Ok(owned("Hello!"))),
    Function::new("fail", ONE, |call| Err(call.string(0))),
    Function::new("env", ONE, |call| Ok(Value::text(std::env::var(call.string(0)).unwrap_or_default()))),
    Function::new("base", ONE, |call| Ok(Value::text(base(&call.string(0))))),
    Function::new("osBase", ONE, |call| Ok(Value::text(base(&call.string(0))))),
    Function::new("dir", ONE, |call| Ok(Value::text(directory(&call.string(0))))),
    Function::new("osDir", ONE, |call| Ok(Value::text(directory(&call.string(0))))),
    Function::new("ext", ONE, |call| Ok(Value::text(extension(&call.string(0))))),
    Function::new("osExt", ONE, |call| Ok(Value::text(extension(&call.string(0))))),
    Function::new("clean", ONE, |call| Ok(Value::text(clean(&call.string(0))))),
    Function::new("osClean", ONE, |call| Ok(Value::text(clean(&call.string(0))))),
    Function::new("isAbs", ONE, |call| Ok(Value::Bool(call.string(0).starts_with('/')))),
    Function::new("osIsAbs", ONE, |call| Ok(Value::Bool(call.string(0).starts_with('/')))),
    Function::new("kindOf", ANY, |call| Ok(owned(kind(&call.take(0))))),
    Function::new("kindIs", &[Type::String, Type::Any], |call| {
        let wanted = call.string(0);
        Ok(Value::Bool(kind(&call.take(1)) == wanted))
    }),
    Function::new("typeOf", ANY, |call| Ok(owned(type_name(&call.take(0))))),
    Function::new("typeIs", &[Type::String, Type::Any], |call| {
        let wanted = call.string(0);
        Ok(Value::Bool(type_name(&call.take(1)) == wanted))
    }),
    Function::new("typeIsLike", &[Type::String, Type::Any], |call| {
        let wanted = call.string(0);
        Ok(Value::Bool(type_name(&call.take(1)) == wanted.trim_start_matches('*')))
    }),
    Function::new("deepCopy", ANY, |call| Ok(copied(&kept(call.take_whole(0))))),
    Function::new("add1f", ANY, |call| Ok(Value::Float(shown(&call.take(0)).parse::<f64>().unwrap_or(0.0) + 1.0))),
    Function::new("expandenv", ONE, |call| Ok(Value::text(expanded(&call.string(0))))),
    Function::new("deepEqual", ANY_TWO, |call| Ok(Value::Bool(kept(call.take(0)) == kept(call.take(1))))),
    Function::new("any", &[], |call| Ok(Value::Bool((0..call.count()).any(|index| !is_empty(&call.take(index)))))).with_rest(Type::Any),
    Function::new("all", &[], |call| Ok(Value::Bool((0..call.count()).all(|index| !is_empty(&call.take(index)))))).with_rest(Type::Any),
    Function::new("add1", ANY, |call| Ok(Value::Integer(super::texts::integer(&call.take(0)).wrapping_add(1), IntegerType::Int64))),
    Function::new("biggest", ANY, |call| {
        let largest = (0..call.count()).map(|index| super::texts::integer(&call.take(index))).max().unwrap_or_default();
        Ok(Value::Integer(largest, IntegerType::Int64))
    })
    .with_rest(Type::Any),
    Function::new("trimall", TWO, |call| {
        let (set, text) = (call.string(0), call.string(1));
        Ok(Value::text(text.trim_matches(|c| set.contains(c))))
    }),
    Function::new("mustRegexMatch", TWO, |call| {
        let (pattern, text) = (call.string(0), call.string(1));
        Ok(Value::Bool(compiled(&pattern)?.is_match(text.as_bytes())))
    }),
    Function::new("append", ANY_TWO, |call| pushed(call, false)),
    Function::new("push", ANY_TWO, |call| pushed(call, false)),
    Function::new("prepend", ANY_TWO, |call| pushed(call, true)),
    Function::new("concat", &[], |call| {
        let all: Vec<Value<'static>> = (0..call.count()).flat_map(|index| items(call.take(index)).to_vec()).collect();
        Ok(list(all))
    })
    .with_rest(Type::Any),
    Function::new("without", ANY, |call| {
        let out: Vec<Value<'static>> = (1..call.count()).map(|index| kept(call.take(index))).collect();
        let rest = listed(call.take(0))?;
        Ok(list(rest.iter().filter(|item| !out.contains(item)).cloned().collect::<Vec<_>>()))
    })
    .with_rest(Type::Any),
    Function::new("chunk", &[Type::Int, Type::Any], |call| {
        let size = usize::try_from(call.integer(0)).unwrap_or(0).max(1);
        let all = items(call.take(1));
        Ok(list(all.chunks(size).map(|part| list(part.to_vec())).collect::<Vec<_>>()))
    }),
    Function::new("toStrings", ANY, |call| Ok(list(items(call.take(0)).iter().map(|item| owned(&shown(item))).collect::<Vec<_>>()))),
    Function::new("untilStep", &[Type::Int, Type::Int, Type::Int], |call| {
        let (start, stop, step) = (call.integer(0), call.integer(1), call.integer(2));
        Ok(list(steps(start, stop, step, false).into_iter().map(Value::int).collect::<Vec<_>>()))
    }),
    Function::new("seq", &[], sequence).with_rest(Type::Int),
    Function::new("b32dec", ONE, |call| {
        let text = call.text(0);
        let decoded = data_encoding::BASE32.decode(&text);
        Ok(decoded.map_or_else(|error| Value::text(error.to_string()), Value::text))
    }),
    Function::new("sha512sum", ONE, |call| {
        use sha2::Digest;
        Ok(Value::text(data_encoding::HEXLOWER.encode(&sha2::Sha512::digest(call.text(0)))))
    }),
    Function::new("b32enc", ONE, |call| Ok(Value::text(data_encoding::BASE32.encode(&call.text(0))))),
    Function::new("adler32sum", ONE, |call| Ok(Value::text(adler2::adler32_slice(&call.text(0)).to_string()))),
];

fn pushed<'v>(call: &mut Call<'_, 'v>, is_first: bool) -> CallResult<'v> {
    let mut all = listed(call.take(0))?.to_vec();
    let item = kept(call.take(1));
    if is_first {
        all.insert(0, item)
    } else {
        all.push(item)
    }
    Ok(list(all))
}

/// From `start` to before `stop`, or to it.
fn steps(start: i64, stop: i64, step: i64, is_inclusive: bool) -> Vec<i64> {
    let is_within = |at: &i64| match step {
        0 => false,
        step if step > 0 => *at < stop || is_inclusive && *at == stop,
        _ => *at > stop || is_inclusive && *at == stop,
    };
    std::iter::successors(Some(start), |at| at.checked_add(step)).take_while(is_within).take(MAX_ITEMS).collect()
}

/// `seq LAST`, `seq FIRST LAST` or `seq FIRST STEP LAST`, as the shell has it.
fn sequence<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let toward = |first: i64, last: i64| if first <= last { 1 } else { -1 };
    let numbers = match call.count() {
        1 => steps(1, call.integer(0), toward(1, call.integer(0)), true),
        2 => steps(call.integer(0), call.integer(1), toward(call.integer(0), call.integer(1)), true),
        3 => steps(call.integer(0), call.integer(2), call.integer(1), true),
        _ => Vec::new(),
    };
    Ok(Value::text(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")))
}

/// Maps in it are maps of their own.
fn copied(value: &Value<'static>) -> Value<'static> {
    match value {
        Value::Map(entries) => Value::Map(entries.all().iter().map(|(key, value)| (key.clone(), copied(value))).collect()),
        Value::List(items) => list(items.iter().map(copied).collect::<Vec<_>>()),
        other => other.clone(),
    }
}

fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nothing | Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Integer(_, IntegerType::Int | IntegerType::Month | IntegerType::Weekday) => "int",
        Value::Integer(_, IntegerType::Byte) => "uint8",
        Value::Integer(..) => "int64",
        Value::Float(_) => "float64",
        Value::Text(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) | Value::Root => "map",
        Value::Time(_) => "struct",
    }
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nothing | Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(_) | Value::Root => "map[string]interface {}",
        Value::Time(_) => "time.Time",
        Value::Integer(_, IntegerType::Duration) => "time.Duration",
        other => kind(other),
    }
}

/// `$NAME` and `${NAME}` as the environment has them.
fn expanded(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, behind) = match after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        match name {
            "" => out.push('$'),
            name => out.push_str(&std::env::var(name).unwrap_or_default()),
        }
        rest = behind;
    }
    out + rest
}

/// The shortest path that means the same.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            ("..", None) if is_absolute => {}
            _ => parts.push(part),
        }
    }
    match (is_absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn base(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".".to_owned(),
        "" => "/".to_owned(),
        trimmed => trimmed.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

fn directory(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rfind('.').map_or_else(String::new, |at| name[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn paths_kinds_lists_and_encodings() {
        for (template, expected) in [
            ("{{ base .v }} {{ dir .v }} {{ ext .v }} {{ clean \"/a/../b//c/\" }} {{ isAbs .v }}", "app.log /var/log .log /b/c true"),
            ("{{ base \"\" }}{{ base \"/\" }}{{ dir \"x\" }}{{ clean \"../a/./..\" }}", "./..."),
            (
                "{{ kindOf .v }} {{ kindIs \"int\" 1 }} {{ typeOf (list 1) }} {{ deepEqual (list 1) (list 1) }}",
                "string true []interface {} true",
            ),
            (
                "{{ append (list 1) 2 | join \",\" }};{{ prepend (list 1) 2 | join \",\" }};{{ concat (list 1) (list 2 3) | join \",\" }}",
                "1,2;2,1;1,2,3",
            ),
            (
                "{{ without (list 1 2 3) 2 | join \",\" }};{{ len (chunk 2 (list 1 2 3)) }};{{ untilStep 0 6 2 | join \",\" }}",
                "1,3;2;0,2,4",
            ),
            ("{{ seq 3 }};{{ seq 2 4 }};{{ seq 6 -2 1 }}", "1 2 3;2 3 4;6 4 2"),
            ("{{ b32enc \"foobar\" }} {{ b32enc \"f\" }} {{ adler32sum \"Wikipedia\" }}", "MZXW6YTBOI====== MY====== 300286872"),
            ("{{ any \"\" 1 }}{{ all \"\" 1 }} {{ add1 1 }} {{ biggest 1 5 3 }} {{ trimall \"x\" \"xax\" }}", "truefalse 2 5 a"),
        ] {
            assert_eq!(result(template, "/var/log/app.log").as_deref(), Some(expected), "{template}");
        }
        assert_eq!(result("{{ fail \"no\" }}", "kept").as_deref(), Some("kept"));
    }
}
