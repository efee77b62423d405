//! A service that logs key=value pairs.

use super::pen::Pen;
use super::{Composer, vocabulary};
use crate::timestamp::Calendar;

pub(super) fn write(composer: &mut Composer, app: &str, calendar: &Calendar, out: &mut Vec<u8>) {
    let [trace_high, trace_low, _] = composer.request();
    let is_fault = composer.random.below(25) == 0;
    let mut pen = Pen(out);
    pen.text("ts=").bytes(calendar.date()).text("T").bytes(calendar.time()).text(".");
    pen.padded(calendar.nanosecond() / 1_000_000, 3).bytes(calendar.zone());
    pen.text(if is_fault { " level=error" } else { " level=info" });
    pen.text(" caller=").text(app).text(".go:").decimal(20 + composer.skewed(900));
    pen.text(" component=").text(composer.random.pick(vocabulary::COMPONENTS));
    if is_fault {
        pen.text(" msg=\"request failed\" err=\"").text(composer.random.pick(vocabulary::FAULTS)).text("\"");
    } else {
        pen.text(" msg=\"")
            .text(composer.random.pick(vocabulary::NOUNS))
            .text(" ")
            .text(composer.random.pick(vocabulary::VERBS))
            .text("\"");
    }
    pen.text(" trace_id=").hex(trace_high, 16).hex(trace_low, 16);
    pen.text(" peer=").text(composer.client()).text(":").decimal(30_000 + composer.random.below(30_000));
    pen.text(" duration=").decimal(composer.skewed(5_000)).text(".").decimal(composer.random.below(10)).text("ms");
    pen.text(" bytes=").decimal(composer.skewed(4_000_000));
}
