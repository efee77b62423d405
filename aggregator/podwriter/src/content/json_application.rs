//! A service that logs one JSON object a line. Blanks stand in its message only, so that a needle planted
//! after a blank leaves it valid JSON.

use super::pen::Pen;
use super::{Composer, vocabulary};
use crate::timestamp::Calendar;

pub(super) fn write(composer: &mut Composer, app: &str, calendar: &Calendar, out: &mut Vec<u8>) {
    let level = match composer.random.below(100) {
        0..3 => "error",
        3..9 => "warn",
        9..24 => "debug",
        _ => "info",
    };
    let [trace_high, trace_low, span] = composer.request();
    let mut pen = Pen(out);
    pen.text("{\"ts\":\"").bytes(calendar.date()).text("T").bytes(calendar.time()).text(".");
    pen.padded(calendar.nanosecond() / 1_000_000, 3).bytes(calendar.zone()).text("\",\"level\":\"").text(level);
    pen.text("\",\"logger\":\"").text(app).text(".http\",\"msg\":\"");
    write_message(composer, level, &mut pen);
    pen.text("\",\"trace_id\":\"").hex(trace_high, 16).hex(trace_low, 16).text("\",\"span_id\":\"").hex(span, 16);
    pen.text("\",\"path\":\"").text(composer.random.pick(vocabulary::PATHS));
    pen.text("\",\"status\":").decimal(composer.status());
    let microseconds = composer.skewed(800_000);
    pen.text(",\"duration_ms\":").decimal(microseconds / 1_000).text(".").padded(microseconds % 1_000, 3);
    pen.text(",\"client\":\"").text(composer.client()).text("\"}");
}

fn write_message(composer: &mut Composer, level: &str, pen: &mut Pen<'_>) {
    let noun = composer.random.pick(vocabulary::NOUNS);
    if level == "error" {
        let fault = composer.random.pick(vocabulary::FAULTS);
        pen.text("cannot store ").text(noun).text(" ").uuid(&mut composer.random).text(": ").text(fault);
        return;
    }
    pen.text(noun).text(" ").decimal(composer.skewed(10_000_000)).text(" ").text(composer.random.pick(vocabulary::VERBS));
    pen.text(" for customer in ").text(composer.random.pick(vocabulary::CITIES));
}
