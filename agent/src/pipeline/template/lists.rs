//! Functions over lists: made, joined, split, searched.

use std::rc::Rc;

use tailwater_logql::template::{Call, CallResult, Function, Type, Value};

use super::texts::{compiled, integer, is_empty, shown};

const LIST: &[Type] = &[Type::Any];
/// Numbers that `until` makes.
const MAX_ITEMS: i64 = 10_000;

/// In the place of Go's own: it takes no text.
pub(super) const INSTEAD_OF_BUILTIN: &[Function] =
    &[Function::new("slice", LIST, part).with_rest(Type::Int), Function::new("mustSlice", LIST, part).with_rest(Type::Int)];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("list", &[], make).with_rest(Type::Any),
    Function::new("tuple", &[], make).with_rest(Type::Any),
    Function::new("join", &[Type::String, Type::Any], |call| {
        let (separator, items) = (call.string(0), items(call.take(1)));
        Ok(Value::text(items.iter().map(shown).collect::<Vec<_>>().join(&separator)))
    }),
    Function::new("splitList", &[Type::String, Type::String], |call| {
        let (separator, text) = (call.string(0), call.string(1));
        Ok(list(text.split(separator.as_str()).map(owned)))
    }),
    Function::new("regexSplit", &[Type::String, Type::String, Type::Int], |call| {
        let (pattern, text, count) = (call.string(0), call.string(1), call.integer(2));
        let regex = compiled(&pattern)?;
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        let parts = regex.splitn(text.as_bytes(), limit).map(|part| owned(&String::from_utf8_lossy(part)));
        Ok(list(parts.collect::<Vec<_>>()))
    }),
    Function::new("regexFindAll", &[Type::String, Type::String, Type::Int], |call| {
        let (pattern, text, count) = (call.string(0), call.string(1), call.integer(2));
        let regex = compiled(&pattern)?;
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        let found = regex.find_iter(text.as_bytes()).take(limit).map(|found| owned(&String::from_utf8_lossy(found.as_bytes())));
        Ok(list(found.collect::<Vec<_>>()))
    }),
    Function::new("first", LIST, |call| Ok(listed(call.take(0))?.first().cloned().unwrap_or(Value::Nil))),
    Function::new("last", LIST, |call| Ok(listed(call.take(0))?.last().cloned().unwrap_or(Value::Nil))),
    Function::new("rest", LIST, |call| Ok(list(listed(call.take(0))?.iter().skip(1).cloned()))),
    Function::new("initial", LIST, |call| {
        let items = listed(call.take(0))?;
        Ok(list(items.iter().take(items.len().saturating_sub(1)).cloned()))
    }),
    Function::new("reverse", LIST, |call| Ok(list(listed(call.take(0))?.iter().rev().cloned()))),
    Function::new("compact", LIST, |call| Ok(list(listed(call.take(0))?.iter().filter(|item| !is_empty(item)).cloned()))),
    Function::new("uniq", LIST, |call| {
        let mut unique: Vec<Value<'static>> = Vec::new();
        for item in listed(call.take(0))?.iter() {
            if !unique.contains(item) {
                unique.push(item.clone());
            }
        }
        Ok(list(unique))
    }),
    Function::new("sortAlpha", LIST, |call| {
        let mut texts: Vec<String> = items(call.take(0)).iter().map(shown).collect();
        texts.sort();
        Ok(list(texts.iter().map(|text| owned(text))))
    }),
    Function::new("has", &[Type::Any, Type::Any], |call| {
        let wanted = kept(call.take(0));
        Ok(Value::Bool(listed(call.take(1))?.contains(&wanted)))
    }),
    Function::new("until", &[Type::Int], |call| Ok(list((0..call.integer(0).clamp(0, MAX_ITEMS)).map(Value::int)))),
];

/// A list from one place to before another.
fn part<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let whole = listed(call.take(0))?;
    if whole.is_empty() {
        return Ok(Value::Nil);
    }
    let bound = |call: &mut Call<'_, '_>, index: usize, otherwise: usize| {
        if index < call.count() { usize::try_from(integer(&call.take(index))).unwrap_or(usize::MAX) } else { otherwise }
    };
    let (start, end) = (bound(call, 1, 0), bound(call, 2, whole.len()));
    whole.get(start..end).map(|part| list(part.to_vec())).ok_or_else(|| format!("no items {start} to {end} of {}", whole.len()))
}

fn make<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let values: Vec<Value<'static>> = (0..call.count()).map(|index| kept(call.take(index))).collect();
    Ok(list(values))
}

pub(super) fn list(items: impl IntoIterator<Item = Value<'static>>) -> Value<'static> {
    Value::List(items.into_iter().collect())
}

pub(super) fn owned(text: &str) -> Value<'static> {
    Value::text(text.to_owned())
}

/// A value that borrows nothing.
pub(super) fn kept(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::text(text.into_owned()),
        Value::Bool(value) => Value::Bool(value),
        Value::Integer(value, kind) => Value::Integer(value, kind),
        Value::Float(value) => Value::Float(value),
        Value::List(items) => Value::List(items),
        Value::Map(map) => Value::Map(map),
        Value::Time(time) => Value::Time(time),
        Value::Nothing | Value::Nil | Value::Root => Value::Nil,
    }
}

/// The items of a list; nothing else is taken for one.
pub(super) fn listed(value: Value<'_>) -> Result<Rc<[Value<'static>]>, String> {
    match kept(value) {
        Value::List(items) => Ok(items),
        _ => Err("expected a list".to_owned()),
    }
}

/// The items of a list; of anything else, itself.
pub(super) fn items(value: Value<'_>) -> Rc<[Value<'static>]> {
    match kept(value) {
        Value::List(items) => items,
        Value::Nil => Rc::new([]),
        other => Rc::new([other]),
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn lists_are_made_joined_and_searched() {
        for (template, expected) in [
            ("{{ list \"x\" \"y\" | join \"+\" }}", "x+y"),
            ("{{ range $i, $p := splitList \",\" .v }}{{ if $i }};{{ end }}{{ $i }}={{ $p }}{{ end }}", "0=b;1=a;2=b"),
            ("{{ splitList \",\" .v | uniq | sortAlpha | join \"\" }}", "ab"),
            ("{{ splitList \",\" .v | last }}{{ first (splitList \",\" .v) }}{{ has \"a\" (splitList \",\" .v) }}", "bbtrue"),
            ("{{ regexSplit \",\" .v -1 | reverse | join \"-\" }}{{ len (regexFindAll \"b\" .v -1) }}", "b-a-b2"),
            (
                "{{ $l := splitList \",\" .v }}{{ mustSlice $l 1 | join \"\" }}{{ mustSlice $l 0 1 | join \"\" }}{{ len (mustSlice $l) }}",
                "abb3",
            ),
            ("{{ mustSlice (list 1) 2 3 }}", "b,a,b"),
            ("{{ slice (list 1 2 3) 1 2 | join \"\" }}", "2"),
            ("{{ slice .v 0 1 }}", "b,a,b"),
            ("x{{ first .v }}", "b,a,b"),
            ("{{ has 1 (list \"1\") }}", "false"),
            ("{{ range until 3 }}{{ . }}{{ end }}", "012"),
        ] {
            assert_eq!(result(template, "b,a,b").as_deref(), Some(expected), "{template}");
        }
    }
}
