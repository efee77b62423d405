//! Comparison: only like with like.

use crate::template::function::{Call, Function, Type};
use crate::template::value::Value;
use std::cmp::Ordering;

const TWO: &[Type] = &[Type::Value, Type::Value];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("eq", &[Type::Value], |call| {
        if call.arguments.len() < 2 {
            return Err("missing argument for comparison".to_owned());
        }
        for other in 1..call.arguments.len() {
            if is_equal(call, other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    })
    .with_rest(Type::Value),
    Function::new("ne", TWO, |call| Ok(Value::Bool(!is_equal(call, 1)?))),
    Function::new("lt", TWO, |call| Ok(Value::Bool(is_less(call)?))),
    Function::new("le", TWO, |call| Ok(Value::Bool(is_less(call)? || is_equal(call, 1)?))),
    Function::new("gt", TWO, |call| Ok(Value::Bool(!(is_less(call)? || is_equal(call, 1)?)))),
    Function::new("ge", TWO, |call| Ok(Value::Bool(!is_less(call)?))),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Integer,
    Float,
    Text,
    Other,
}

fn kind(value: &Value<'_>) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Integer(..) => Kind::Integer,
        Value::Float(_) => Kind::Float,
        Value::Text(_) => Kind::Text,
        _ => Kind::Other,
    }
}

fn incompatible(call: &Call<'_, '_>, left: &Value<'_>, right: &Value<'_>) -> String {
    format!("incompatible types for comparison: {} and {}", left.type_name(call.data_type), right.type_name(call.data_type))
}

/// Whether the first argument equals another one.
fn is_equal(call: &Call<'_, '_>, other: usize) -> Result<bool, String> {
    let (left, right) = (&call.arguments[0], &call.arguments[other]);
    match (kind(left), kind(right)) {
        (left_kind, right_kind) if left_kind != right_kind => {
            if left.is_nothing() || right.is_nothing() {
                return Ok(false);
            }
            Err(incompatible(call, left, right))
        }
        (Kind::Other, _) => match (left, right) {
            (left, right) if left.is_nothing() || right.is_nothing() => Ok(left.is_nothing() && right.is_nothing()),
            (Value::Time(left), Value::Time(right)) => Ok(left == right),
            (Value::List(_) | Value::Map(_) | Value::Root, _) | (_, Value::List(_) | Value::Map(_) | Value::Root) => {
                let mut shown = Vec::new();
                crate::template::format::print_value(right, call.environment, call.data_type, &mut shown);
                Err(format!("non-comparable type {}: {}", String::from_utf8_lossy(&shown), right.type_name(call.data_type)))
            }
            _ => Ok(false),
        },
        (Kind::Integer, _) => match (left, right) {
            (Value::Integer(left, _), Value::Integer(right, _)) => Ok(left == right),
            _ => Ok(false),
        },
        _ => Ok(left == right),
    }
}

fn is_less(call: &Call<'_, '_>) -> Result<bool, String> {
    let (left, right) = (&call.arguments[0], &call.arguments[1]);
    let not_basic = || Err("invalid type for comparison".to_owned());
    if kind(left) == Kind::Other || kind(right) == Kind::Other {
        return not_basic();
    }
    let ordering = match (left, right) {
        (Value::Integer(left, _), Value::Integer(right, _)) => left.partial_cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.partial_cmp(right),
        (Value::Bool(_), Value::Bool(_)) => return not_basic(),
        (left, right) => return Err(incompatible(call, left, right)),
    };
    Ok(ordering == Some(Ordering::Less))
}
