//! Functions of the template language itself.

use crate::template::encode;
use crate::template::format::{print, printf, println};
use crate::template::function::{Call, CallResult, Function, Type};
use crate::template::value::{IntegerType, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    // The evaluator stops at the first argument that decides; these two are never run.
    Function::new("and", &[Type::Value], |call| Ok(call.take(0))).with_rest(Type::Value),
    Function::new("or", &[Type::Value], |call| Ok(call.take(0))).with_rest(Type::Value),
    Function::new("not", &[Type::Value], |call| {
        let environment = call.environment;
        Ok(Value::Bool(!call.take(0).is_true(|| environment.pairs().is_empty())))
    }),
    Function::new("call", &[Type::Value], |call| match call.take(0) {
        value if value.is_nothing() => Err("call of nil".to_owned()),
        value => {
            let name = call.callee.map(ToString::to_string).unwrap_or_default();
            Err(format!("non-function {name} of type {}", value.type_name(call.data_type)))
        }
    })
    .with_rest(Type::Value),
    Function::new("index", &[Type::Value], index).with_rest(Type::Value),
    Function::new("slice", &[Type::Value], slice).with_rest(Type::Value),
    Function::new("len", &[Type::Value], |call| match call.take(0) {
        Value::Text(text) => Ok(Value::length(text.len())),
        Value::List(items) => Ok(Value::length(items.len())),
        Value::Map(entries) => Ok(Value::length(entries.len())),
        Value::Root => Ok(Value::length(call.environment.pairs().len())),
        Value::Nothing => Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        Value::Nil => Err("len of nil pointer".to_owned()),
        value => Err(format!("len of type {}", value.type_name(call.data_type))),
    }),
    Function::new("print", &[], |call| Ok(Value::text(printed(call)))).with_rest(Type::Any),
    Function::new("println", &[], |call| {
        let mut text = Vec::new();
        println(call.arguments, call.environment, call.data_type, &mut text);
        Ok(Value::text(text))
    })
    .with_rest(Type::Any),
    Function::new("printf", &[Type::String], |call| {
        let format = call.string(0);
        let mut text = Vec::new();
        printf(&format, &call.arguments[1..], call.environment, call.data_type, call.budget, &mut text)?;
        Ok(Value::text(text))
    })
    .with_rest(Type::Any),
    Function::new("html", &[], |call| Ok(Value::text(encode::html(&shown(call))))).with_rest(Type::Any),
    Function::new("js", &[], |call| Ok(Value::text(encode::javascript(&shown(call))))).with_rest(Type::Any),
    Function::new("urlquery", &[], |call| Ok(Value::text(encode::url_query(&shown(call))))).with_rest(Type::Any),
];

fn printed(call: &Call<'_, '_>) -> Vec<u8> {
    let mut text = Vec::new();
    print(call.arguments, call.environment, call.data_type, &mut text);
    text
}

/// What is to be escaped: as printed, but for what is not there.
fn shown(call: &mut Call<'_, '_>) -> Vec<u8> {
    for argument in call.arguments.iter_mut().filter(|argument| argument.is_nothing()) {
        *argument = Value::text("<no value>");
    }
    printed(call)
}

fn index<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let mut item = call.take(0);
    if item.is_nothing() {
        return Err("index of untyped nil".to_owned());
    }
    for at in 1..call.arguments.len() {
        let key = call.take(at);
        item = match item {
            Value::Text(text) => {
                let at = position(&key, text.len(), call.data_type)?;
                let byte = text.get(at).ok_or("reflect: string index out of range")?;
                Value::Integer(i64::from(*byte), IntegerType::Byte)
            }
            Value::List(items) => {
                let at = position(&key, items.len(), call.data_type)?;
                items.get(at).cloned().ok_or("reflect: slice index out of range")?
            }
            Value::Map(entries) => {
                let key = map_key(&key, call.data_type)?;
                entries.get(&key).unwrap_or(Value::Nil)
            }
            Value::Root => {
                let key = map_key(&key, call.data_type)?;
                let is_text = call.data_type == "map[string]string";
                let missing = if is_text { Value::borrowed(b"") } else { Value::Nil };
                call.environment.named(&key).map_or(missing, Value::borrowed)
            }
            Value::Nil | Value::Nothing => return Err("index of nil pointer".to_owned()),
            item => return Err(format!("can't index item of type {}", item.type_name(call.data_type))),
        };
    }
    Ok(item)
}

/// A place in a text or a list; one behind the end is let through.
fn position(key: &Value<'_>, length: usize, data_type: &'static str) -> Result<usize, String> {
    match key {
        Value::Integer(at, _) => usize::try_from(*at).ok().filter(|at| *at <= length).ok_or_else(|| format!("index out of range: {at}")),
        Value::Nothing | Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        key => Err(format!("cannot index slice/array with type {}", key.type_name(data_type))),
    }
}

fn map_key(key: &Value<'_>, data_type: &'static str) -> Result<String, String> {
    match key {
        Value::Text(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        Value::Nothing | Value::Nil => Err("value is nil; should be of type string".to_owned()),
        key => Err(format!("value has type {}; should be string", key.type_name(data_type))),
    }
}

fn slice<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let item = call.take(0);
    let indexes = &call.arguments[1..];
    if item.is_nothing() {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match &item {
        Value::Text(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".to_owned()),
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        item => return Err(format!("can't slice item of type {}", item.type_name(call.data_type))),
    };
    let mut ends = [0, length, length];
    for (end, index) in ends.iter_mut().zip(indexes) {
        *end = position(index, length, call.data_type)?;
    }
    for (low, high) in [(ends[0], ends[1]), (ends[1], ends[2])] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    match item {
        Value::Text(text) => Ok(Value::Text(super::text::cut(text, ends[0]..ends[1]))),
        Value::List(items) => Ok(Value::List(items[ends[0]..ends[1]].into())),
        item => Ok(item),
    }
}
