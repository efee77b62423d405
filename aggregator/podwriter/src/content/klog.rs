//! A Kubernetes component: severity letter, month and day, microseconds, source, structured message.

use super::pen::Pen;
use super::{Composer, vocabulary};
use crate::timestamp::Calendar;

pub(super) fn write(composer: &mut Composer, app: &str, calendar: &Calendar, out: &mut Vec<u8>) {
    let severity = match composer.random.below(50) {
        0 => "E",
        1..4 => "W",
        _ => "I",
    };
    let date = calendar.date();
    let mut pen = Pen(out);
    pen.text(severity).bytes(&date[5..7]).bytes(&date[8..]).text(" ").bytes(calendar.time()).text(".");
    pen.padded(calendar.nanosecond() / 1_000, 6).text("       1 ").text(composer.random.pick(vocabulary::SOURCES)).text(":");
    pen.decimal(50 + composer.skewed(1_500)).text("] \"").text(composer.random.pick(vocabulary::EVENTS)).text("\" pod=\"");
    pen.text(app).text("/worker-").decimal(composer.random.below(40)).text("\" podUID=\"").uuid(&mut composer.random).text("\"");
    if severity == "E" {
        pen.text(" err=\"").text(composer.random.pick(vocabulary::FAULTS)).text("\"");
    } else {
        pen.text(" duration=\"").decimal(composer.skewed(9_000)).text(".").padded(composer.random.below(1000), 3).text("ms\"");
    }
}
