//! Functions over times that Sprig has beyond those of queries. The local zone is UTC.

use tailwater_logql::literal::{format_go_duration, parse_go_duration};
use tailwater_logql::template::{Call, CallResult, Function, IntegerType, Time, Type, Value, Zone};

use super::texts::{integer, shown};

const ANY: &[Type] = &[Type::Any];
const MODIFY: &[Type] = &[Type::String, Type::Time];
const IN_ZONE: &[Type] = &[Type::String, Type::Any, Type::String];
const SECOND: i64 = 1_000_000_000;
/// Years, months and so on as Sprig counts them, in seconds.
const UNITS: [(i64, &str); 6] = [(365 * 86_400, "y"), (30 * 86_400, "mo"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];

pub(super) const FUNCTIONS: &[Function] = &[
    // Seconds as a duration, not the other way round as in queries.
    Function::new("duration", ANY, |call| {
        let seconds = match call.take(0) {
            Value::Integer(seconds, IntegerType::Int64) => seconds,
            value @ Value::Text(_) => integer(&value),
            _ => 0,
        };
        Ok(Value::text(format_go_duration(seconds.saturating_mul(SECOND))))
    }),
    Function::new("durationRound", ANY, rounded),
    Function::new("ago", ANY, |call| {
        let passed = call.now() - moment(call, 0).since_epoch(SECOND);
        Ok(Value::text(format_go_duration((passed + SECOND / 2).div_euclid(SECOND) * SECOND)))
    }),
    Function::new("htmlDate", ANY, |call| Ok(written("2006-01-02", moment(call, 0), Zone::Utc))),
    Function::new("htmlDateInZone", &[Type::Any, Type::String], |call| {
        let zone = zone(&call.string(1));
        Ok(written("2006-01-02", moment(call, 0), zone))
    }),
    Function::new("dateInZone", IN_ZONE, in_zone),
    Function::new("date_in_zone", IN_ZONE, in_zone),
    Function::new("dateModify", MODIFY, |call| Ok(modified(call).unwrap_or_else(|_| Value::Time(call.time(1))))),
    Function::new("date_modify", MODIFY, |call| Ok(modified(call).unwrap_or_else(|_| Value::Time(call.time(1))))),
    Function::new("mustDateModify", MODIFY, modified),
    Function::new("must_date_modify", MODIFY, modified),
    Function::new("mustToDate", &[Type::String, Type::String], |call| {
        let (layout, text) = (call.string(0), call.string(1));
        Time::parse(&layout, &text, &Zone::Utc).map(Value::Time).ok_or_else(|| format!("cannot parse `{text}` as `{layout}`"))
    }),
];

/// A time, or a number of seconds since 1970. All else means now.
fn moment(call: &mut Call<'_, '_>, index: usize) -> Time {
    match call.take(index) {
        Value::Time(time) => time,
        Value::Integer(seconds, IntegerType::Int | IntegerType::Int64) => Time::utc(seconds, 0),
        _ => Time::from_nanoseconds(call.now()),
    }
}

fn zone(name: &str) -> Zone {
    Zone::load(name).unwrap_or(Zone::Utc)
}

fn written<'v>(layout: &str, time: Time, zone: Zone) -> Value<'v> {
    let mut text = Vec::new();
    time.in_zone(zone).write(layout, &mut text);
    Value::text(text)
}

fn in_zone<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let (layout, zone) = (call.string(0), zone(&call.string(2)));
    Ok(written(&layout, moment(call, 1), zone))
}

/// The time so much later.
fn modified<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let by = parse_go_duration(&call.string(0)).map_err(|error| error.to_string())?;
    Ok(Value::Time(call.time(1).plus(by)))
}

/// A duration in its largest unit, without its sign and what is left over.
fn rounded<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let nanos = match call.take(0) {
        Value::Integer(nanos, IntegerType::Int64 | IntegerType::Duration) => nanos,
        Value::Time(time) => call.now() - time.since_epoch(SECOND),
        other => parse_go_duration(&shown(&other)).unwrap_or_default(),
    };
    let nanos = nanos.unsigned_abs();
    let unit = UNITS.into_iter().map(|(seconds, name)| ((seconds * SECOND).unsigned_abs(), name)).find(|(length, _)| nanos > *length);
    Ok(Value::text(unit.map_or_else(|| "0s".to_owned(), |(length, name)| format!("{}{name}", nanos / length))))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn times_are_moved_and_written_in_zones() {
        for (template, expected) in [
            ("{{ $t := toDate \"2006-01-02 15:04\" .v }}{{ dateModify \"-1.5h\" $t | date \"02 15:04\" }}", "01 10:30"),
            ("{{ toDate \"2006-01-02 15:04\" .v | date_modify \"nonsense\" | date \"15:04\" }}", "12:00"),
            ("{{ dateInZone \"15:04 MST\" (toDate \"2006-01-02 15:04\" .v) \"Europe/Berlin\" }}", "14:00 CEST"),
            ("{{ htmlDate 86400 }} {{ htmlDateInZone 0 \"America/New_York\" }}", "1970-01-02 1969-12-31"),
            (
                "{{ duration \"95\" }} {{ duration (int64 3600) }} {{ durationRound \"-2h10m\" }} {{ durationRound \"900ms\" }}",
                "1m35s 1h0m0s 2h 0s",
            ),
            ("{{ mustToDate \"2006\" .v }}", "2026-06-01 12:00"),
        ] {
            assert_eq!(result(template, "2026-06-01 12:00").as_deref(), Some(expected), "{template}");
        }
    }
}
