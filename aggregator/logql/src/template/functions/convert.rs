//! Texts read as sizes, durations, numbers, JSON.

use crate::literal::{parse_bytes_size, parse_go_duration, parse_go_float};
use crate::template::function::{Call, CallResult, Function, Type};
use crate::template::json;
use crate::template::number;
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("bytes", &[Type::String], |call| {
        let size = parse_bytes_size(&call.string(0)).map_err(|error| error.to_string())?;
        Ok(Value::Float(size as f64))
    }),
    Function::new("duration", &[Type::String], seconds),
    Function::new("duration_seconds", &[Type::String], seconds),
    Function::new("int", &[Type::Any], |call| Ok(Value::int(to_integer(&call.take(0))))),
    Function::new("float64", &[Type::Any], |call| Ok(Value::Float(to_float(&call.take(0))))),
    Function::new("default", &[Type::Any], |call| {
        let is_empty = match call.arguments.get(1) {
            // A time is never empty.
            Some(Value::Time(_)) => false,
            Some(value) => !value.is_true(|| call.environment.pairs().is_empty()),
            None => true,
        };
        Ok(call.take(usize::from(!is_empty)))
    })
    .with_rest(Type::Any),
    Function::new("fromJson", &[Type::String], |call| Ok(json::read(&call.text(0)).unwrap_or(Value::Nil))),
];

fn seconds<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let nanoseconds = parse_go_duration(&call.string(0)).map_err(|error| error.to_string())?;
    const SECOND: i64 = 1_000_000_000;
    Ok(Value::Float((nanoseconds / SECOND) as f64 + (nanoseconds % SECOND) as f64 / SECOND as f64))
}

/// What cannot be read is 0. Digits behind a point are cut, those of an exponent not understood.
pub(super) fn to_integer(value: &Value<'_>) -> i64 {
    match value {
        Value::Integer(number, _) => *number,
        Value::Float(number) => whole(*number),
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => number::integer(whole_part(&String::from_utf8_lossy(text))).unwrap_or(0),
        _ => 0,
    }
}

/// What has no place among whole numbers becomes the lowest of them.
fn whole(number: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&number) { number as i64 } else { i64::MIN }
}

/// `2.675` without what follows the point, where there are but digits around it.
fn whole_part(text: &str) -> &str {
    let Some((whole, fraction)) = text.split_once('.') else { return text };
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let is_plain = digits.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    match (is_plain, digits) {
        (false, _) => text,
        (true, "") => "0",
        (true, _) => whole,
    }
}

pub(super) fn to_float(value: &Value<'_>) -> f64 {
    match value {
        Value::Integer(number, _) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Text(text) => parse_go_float(&String::from_utf8_lossy(text)).unwrap_or(0.0),
        _ => 0.0,
    }
}
