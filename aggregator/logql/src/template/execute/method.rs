//! Methods of times, durations, months and weekdays. The receiver is the first argument; parameters list the others.

use crate::template::function::{Function, Type};
use crate::template::time::Time;
use crate::template::value::{IntegerType, Value};

/// The method of this name that a value has.
pub(super) fn method(value: &Value<'_>, name: &str) -> Option<&'static Function> {
    let methods = match value {
        Value::Time(_) => TIME,
        Value::Integer(_, IntegerType::Duration) => DURATION,
        Value::Integer(_, IntegerType::Month | IntegerType::Weekday) => NAMED,
        _ => return None,
    };
    methods.iter().find(|method| method.name == name)
}

fn int<'v>(value: i64) -> Result<Value<'v>, String> {
    Ok(Value::int(value))
}

fn int64<'v>(value: i64) -> Result<Value<'v>, String> {
    Ok(Value::Integer(value, IntegerType::Int64))
}

static TIME: &[Function] = &[
    Function::new("Format", &[Type::String], |call| {
        let (time, layout) = (call.time(0), call.string(1));
        let mut text = Vec::new();
        time.write(&layout, &mut text);
        Ok(Value::text(text))
    }),
    Function::new("String", &[], |call| {
        let mut text = Vec::new();
        call.time(0).write_default(&mut text);
        Ok(Value::text(text))
    }),
    Function::new("Unix", &[], |call| int64(call.time(0).since_epoch(1))),
    Function::new("UnixMilli", &[], |call| int64(call.time(0).since_epoch(1_000))),
    Function::new("UnixMicro", &[], |call| int64(call.time(0).since_epoch(1_000_000))),
    Function::new("UnixNano", &[], |call| int64(call.time(0).since_epoch(1_000_000_000))),
    Function::new("Year", &[], |call| int(call.time(0).civil().year)),
    Function::new("Month", &[], |call| Ok(Value::Integer(call.time(0).civil().month, IntegerType::Month))),
    Function::new("Day", &[], |call| int(call.time(0).civil().day)),
    Function::new("Hour", &[], |call| int(call.time(0).civil().hour)),
    Function::new("Minute", &[], |call| int(call.time(0).civil().minute)),
    Function::new("Second", &[], |call| int(call.time(0).civil().second)),
    Function::new("Nanosecond", &[], |call| int(i64::from(call.time(0).nanoseconds))),
    Function::new("Weekday", &[], |call| Ok(Value::Integer(call.time(0).civil().weekday(), IntegerType::Weekday))),
    Function::new("YearDay", &[], |call| int(call.time(0).civil().day_of_year())),
    Function::new("IsZero", &[], |call| Ok(Value::Bool(call.time(0).is_zero()))),
    Function::new("UTC", &[], |call| Ok(Value::Time(call.time(0).in_zone(crate::template::Zone::Utc)))),
    Function::new("Local", &[], |call| Ok(Value::Time(call.time(0).in_zone(crate::template::Zone::Utc)))),
    Function::new("Before", &[Type::Time], |call| Ok(Value::Bool(moment(&call.time(0)) < moment(&call.time(1))))),
    Function::new("After", &[Type::Time], |call| Ok(Value::Bool(moment(&call.time(0)) > moment(&call.time(1))))),
    Function::new("Equal", &[Type::Time], |call| Ok(Value::Bool(moment(&call.time(0)) == moment(&call.time(1))))),
    Function::new("Sub", &[Type::Time], |call| {
        let ((seconds, nanoseconds), (other, other_nanoseconds)) = (moment(&call.time(0)), moment(&call.time(1)));
        let between = (i128::from(seconds) - i128::from(other)) * 1_000_000_000 + i128::from(nanoseconds) - i128::from(other_nanoseconds);
        let between = between.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        Ok(Value::Integer(between, IntegerType::Duration))
    }),
];

fn moment(time: &Time) -> (i64, u32) {
    (time.seconds, time.nanoseconds)
}

static DURATION: &[Function] = &[
    Function::new("String", &[], |call| Ok(Value::text(crate::literal::format_go_duration(call.integer(0))))),
    Function::new("Nanoseconds", &[], |call| int64(call.integer(0))),
    Function::new("Microseconds", &[], |call| int64(call.integer(0) / 1_000)),
    Function::new("Milliseconds", &[], |call| int64(call.integer(0) / 1_000_000)),
    Function::new("Seconds", &[], |call| Ok(Value::Float(units(call.integer(0), 1_000_000_000)))),
    Function::new("Minutes", &[], |call| Ok(Value::Float(units(call.integer(0), 60_000_000_000)))),
    Function::new("Hours", &[], |call| Ok(Value::Float(units(call.integer(0), 3_600_000_000_000)))),
];

fn units(nanoseconds: i64, unit: i64) -> f64 {
    (nanoseconds / unit) as f64 + (nanoseconds % unit) as f64 / unit as f64
}

static NAMED: &[Function] = &[Function::new("String", &[], |call| {
    let text = match call.arguments[0] {
        Value::Integer(month, IntegerType::Month) => crate::template::time::Civil::month_name(month),
        Value::Integer(weekday, _) => crate::template::time::Civil::weekday_name(weekday),
        _ => String::new(),
    };
    Ok(Value::text(text))
})];
