//! Arithmetic: whole numbers wrap, fractions are reckoned in decimals.

use super::convert::{to_float, to_integer};
use super::decimal::Decimal;
use crate::template::function::{Call, CallResult, Function, Type};
use crate::template::value::{IntegerType, Value};

const ONE: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("add", &[], |call| Ok(integers(call, 0, i64::wrapping_add))).with_rest(Type::Any),
    Function::new("mul", ONE, |call| Ok(integers(call, 1, i64::wrapping_mul))).with_rest(Type::Any),
    Function::new("sub", TWO, |call| Ok(int64(to_integer(&call.take(0)).wrapping_sub(to_integer(&call.take(1)))))),
    Function::new("div", TWO, |call| divided(call, i64::wrapping_div)),
    Function::new("mod", TWO, |call| divided(call, i64::wrapping_rem)),
    Function::new("max", ONE, |call| Ok(folded(call, i64::max))).with_rest(Type::Any),
    Function::new("min", ONE, |call| Ok(folded(call, i64::min))).with_rest(Type::Any),
    Function::new("addf", &[], |call| decimals(call, true, |left, right| Ok(left.add(&right)))).with_rest(Type::Any),
    Function::new("subf", ONE, |call| decimals(call, false, |left, right| Ok(left.subtract(&right)))).with_rest(Type::Any),
    Function::new("mulf", ONE, |call| decimals(call, false, |left, right| Ok(left.multiply(&right)))).with_rest(Type::Any),
    Function::new("divf", ONE, |call| {
        decimals(call, false, |left, right| left.divide(&right).ok_or_else(|| "decimal division by 0".to_owned()))
    })
    .with_rest(Type::Any),
    Function::new("maxf", ONE, |call| Ok(folded_float(call, maximum))).with_rest(Type::Any),
    Function::new("minf", ONE, |call| Ok(folded_float(call, minimum))).with_rest(Type::Any),
    Function::new("ceil", ONE, |call| Ok(Value::Float(to_float(&call.take(0)).ceil()))),
    Function::new("floor", ONE, |call| Ok(Value::Float(to_float(&call.take(0)).floor()))),
    Function::new("round", &[Type::Any, Type::Int], round).with_rest(Type::Float64),
];

fn int64<'v>(number: i64) -> Value<'v> {
    Value::Integer(number, IntegerType::Int64)
}

fn integers<'v>(call: &Call<'_, 'v>, start: i64, step: fn(i64, i64) -> i64) -> Value<'v> {
    int64(call.arguments.iter().map(to_integer).fold(start, step))
}

fn folded<'v>(call: &Call<'_, 'v>, step: fn(i64, i64) -> i64) -> Value<'v> {
    int64(call.arguments.iter().map(to_integer).reduce(step).unwrap_or(0))
}

fn folded_float<'v>(call: &Call<'_, 'v>, step: fn(f64, f64) -> f64) -> Value<'v> {
    Value::Float(call.arguments.iter().map(to_float).reduce(step).unwrap_or(0.0))
}

/// NaN wins, unlike in Rust's own.
fn maximum(left: f64, right: f64) -> f64 {
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.max(right) }
}

fn minimum(left: f64, right: f64) -> f64 {
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.min(right) }
}

fn divided<'v>(call: &Call<'_, 'v>, divide: fn(i64, i64) -> i64) -> CallResult<'v> {
    match to_integer(&call.arguments[1]) {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        divisor => Ok(int64(divide(to_integer(&call.arguments[0]), divisor))),
    }
}

/// From left to right. Numbers that are none of the decimal ones fail as in Go.
fn decimals<'v>(call: &Call<'_, 'v>, starts_with_zero: bool, step: impl Fn(Decimal, Decimal) -> Result<Decimal, String>) -> CallResult<'v> {
    let mut result = starts_with_zero.then(Decimal::zero);
    for argument in call.arguments.iter() {
        let number = to_float(argument);
        let decimal =
            Decimal::new(number).ok_or_else(|| format!("Cannot create a Decimal from {}", if number.is_nan() { "NaN" } else { "Inf" }))?;
        result = Some(match result {
            Some(result) => step(result, decimal)?,
            None => decimal,
        });
    }
    Ok(Value::Float(result.map_or(0.0, |result| result.to_float())))
}

/// To so many digits behind the point; from the threshold on a fraction counts as one.
fn round<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let number = to_float(&call.take(0));
    let scale = 10f64.powf(call.integer(1) as f64);
    let threshold = if call.arguments.len() > 2 { call.float(2) } else { 0.5 };
    let scaled = scale * number;
    let rounded = if scaled.fract() >= threshold { scaled.ceil() } else { scaled.floor() };
    Ok(Value::Float(rounded / scale))
}
