//! A Java service: one line a message and, after a failure, a stack trace of many lines.

use super::pen::Pen;
use super::{Composer, Trace, vocabulary};
use crate::timestamp::Calendar;

pub(super) fn write(composer: &mut Composer, app: &str, calendar: &Calendar, trace: &mut Trace, out: &mut Vec<u8>) {
    if trace.is_running() {
        trace.frames -= 1;
        return write_frame(composer, app, out);
    }
    let is_failure = composer.random.below(30) == 0;
    write_message(composer, app, calendar, is_failure, out);
    if is_failure {
        trace.frames = 6 + u32::try_from(composer.random.below(25)).unwrap_or(0);
    }
}

fn write_message(composer: &mut Composer, app: &str, calendar: &Calendar, is_failure: bool, out: &mut Vec<u8>) {
    let [trace_high, trace_low, span] = composer.request();
    let mut pen = Pen(out);
    pen.bytes(calendar.date()).text(" ").bytes(calendar.time()).text(".").padded(calendar.nanosecond() / 1_000_000, 3);
    pen.text(if is_failure { " ERROR [" } else { "  INFO [" }).text(app).text(",");
    pen.hex(trace_high, 16).hex(trace_low, 16).text(",").hex(span, 16).text("] 1 --- [nio-8080-exec-");
    pen.decimal(1 + composer.random.below(32)).text("] c.e.").text(app).text(".").text(composer.random.pick(vocabulary::CLASSES));
    if is_failure {
        pen.text(" : Failed to post entry ").uuid(&mut composer.random).text(": ").text(composer.random.pick(vocabulary::EXCEPTIONS));
    } else {
        pen.text(" : ").text(composer.random.pick(vocabulary::NOUNS)).text(" ").decimal(composer.skewed(10_000_000)).text(" ");
        pen.text(composer.random.pick(vocabulary::VERBS)).text(" in ").decimal(composer.skewed(2_000)).text(" ms, city=");
        pen.text(composer.random.pick(vocabulary::CITIES));
    }
}

fn write_frame(composer: &mut Composer, app: &str, out: &mut Vec<u8>) {
    let mut pen = Pen(out);
    if composer.random.below(14) == 0 {
        pen.text("Caused by: ")
            .text(composer.random.pick(vocabulary::EXCEPTIONS))
            .text(": ")
            .text(composer.random.pick(vocabulary::FAULTS));
        pen.text(" after ").decimal(composer.skewed(30_000)).text(" ms");
        return;
    }
    let class = composer.random.pick(vocabulary::CLASSES);
    pen.text("\tat com.example.").text(app).text(".").text(class).text(".").text(composer.random.pick(vocabulary::JAVA_METHODS));
    pen.text("(").text(class).text(".java:").decimal(10 + composer.skewed(900));
    pen.text(") ~[").text(app).text("-2.4.").decimal(composer.random.below(1000)).text(".jar!/:na]");
}
