//! A web server's access log in the combined format, with the request's time and id at the end.

use super::pen::Pen;
use super::{Composer, vocabulary};
use crate::timestamp::Calendar;

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

pub(super) fn write(composer: &mut Composer, calendar: &Calendar, out: &mut Vec<u8>) {
    let [request_high, request_low, _] = composer.request();
    let mut pen = Pen(out);
    pen.text(composer.client()).text(" - - [");
    write_date(calendar, &mut pen);
    pen.text("] \"").text(composer.random.pick(vocabulary::METHODS)).text(" ").text(composer.random.pick(vocabulary::PATHS));
    pen.text("?id=").decimal(composer.skewed(1_000_000)).text(" HTTP/1.1\" ").decimal(composer.status());
    pen.text(" ").decimal(composer.skewed(90_000)).text(" \"-\" \"").text(composer.random.pick(vocabulary::AGENTS)).text("\" ");
    let milliseconds = composer.skewed(3_000);
    pen.decimal(milliseconds / 1_000).text(".").padded(milliseconds % 1_000, 3);
    pen.text(" ").hex(request_high, 16).hex(request_low, 16);
}

/// `15/Jan/2026:10:00:00 +0000`.
fn write_date(calendar: &Calendar, pen: &mut Pen<'_>) {
    let date = calendar.date();
    let month = usize::from(date[5] - b'0') * 10 + usize::from(date[6] - b'0');
    pen.bytes(&date[8..]).text("/").bytes(&MONTHS[month * 3 - 3..month * 3]).text("/").bytes(&date[..4]);
    pen.text(":").bytes(calendar.time()).text(" ");
    match calendar.zone() {
        [sign, h1, h2, _, m1, m2] => pen.bytes(&[*sign, *h1, *h2, *m1, *m2]),
        _ => pen.text("+0000"),
    };
}
