//! Functions over times. The local zone is UTC.

use crate::literal::go_quote;
use crate::template::function::{Call, CallResult, Function, Type};
use crate::template::time::{Time, Zone};
use crate::template::value::{IntegerType, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("now", &[], |call| Ok(Value::Time(Time::from_nanoseconds(call.environment.now())))),
    Function::new("date", &[Type::String, Type::Any], date),
    Function::new("toDate", &[Type::String, Type::String], |call| {
        let (layout, text) = (call.string(0), call.string(1));
        Ok(Value::Time(Time::parse(&layout, &text, &Zone::Utc).unwrap_or_else(Time::zero)))
    }),
    Function::new("toDateInZone", &[Type::String, Type::String, Type::String], |call| {
        let (layout, zone, text) = (call.string(0), call.string(1), call.string(2));
        let zone = Zone::load(&zone).unwrap_or(Zone::Utc);
        Ok(Value::Time(Time::parse(&layout, &text, &zone).unwrap_or_else(Time::zero)))
    }),
    Function::new("unixEpoch", &[Type::Time], |call| Ok(since_epoch(call, 1))),
    Function::new("unixEpochMillis", &[Type::Time], |call| Ok(since_epoch(call, 1_000))),
    Function::new("unixEpochNanos", &[Type::Time], |call| Ok(since_epoch(call, 1_000_000_000))),
    Function::new("unixToTime", &[Type::String], unix_to_time),
];

fn since_epoch<'v>(call: &mut Call<'_, 'v>, units: i64) -> Value<'v> {
    Value::text(call.time(0).since_epoch(units).to_string())
}

/// A time, or a number of seconds since 1970. All else means now.
fn date<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let layout = call.string(0);
    let time = match call.take(1) {
        Value::Time(time) => time,
        Value::Integer(seconds, IntegerType::Int | IntegerType::Int64) => Time::utc(seconds, 0),
        _ => Time::from_nanoseconds(call.environment.now()),
    };
    let mut text = Vec::new();
    time.in_zone(Zone::Utc).write(&layout, &mut text);
    Ok(Value::text(text))
}

/// The number of digits says the unit: days, seconds, milliseconds, microseconds, nanoseconds.
fn unix_to_time<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let text = call.string(0);
    let failure = |reason: String| Err(format!("unable to parse time '{text}': {reason}"));
    let is_number = {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number {
        return failure(format!("strconv.ParseInt: parsing {}: invalid syntax", go_quote(&text)));
    }
    let Ok(number) = text.parse::<i64>() else {
        return failure(format!("strconv.ParseInt: parsing {}: value out of range", go_quote(&text)));
    };
    Ok(Value::Time(match text.len() {
        5 => Time::utc(number * 86_400, 0),
        10 => Time::utc(number, 0),
        13 => Time::from_nanoseconds(number.saturating_mul(1_000_000)),
        16 => Time::from_nanoseconds(number.saturating_mul(1_000)),
        19 => Time::from_nanoseconds(number),
        _ => return failure("%!w(<nil>)".to_owned()),
    }))
}
