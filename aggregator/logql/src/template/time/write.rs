//! Times to text by a layout.

use std::io::Write;

use super::layout::{Element, MONTHS, OffsetForm, WEEKDAYS, next_element};
use super::{Civil, Time};

pub(super) fn write(time: &Time, mut layout: &str, out: &mut Vec<u8>) {
    let (offset, zone_name) = time.zone.at(time.seconds);
    let civil = time.civil();
    while let Some((before, element, rest)) = next_element(layout) {
        out.extend_from_slice(before.as_bytes());
        match element {
            Element::Offset(form) => write_offset(offset, form, out),
            Element::ZoneName if !zone_name.is_empty() => out.extend_from_slice(zone_name.as_bytes()),
            Element::ZoneName => write_offset(offset, OffsetForm { is_iso: false, has_colons: false, parts: 2 }, out),
            Element::Fraction { digits, is_comma, is_trimmed } => write_fraction(time.nanoseconds, digits, is_comma, is_trimmed, out),
            element => write_civil(civil, element, out),
        }
        layout = rest;
    }
    out.extend_from_slice(layout.as_bytes());
}

fn write_civil(civil: Civil, element: Element, out: &mut Vec<u8>) {
    let hour12 = if civil.hour % 12 == 0 { 12 } else { civil.hour % 12 };
    let month = MONTHS[civil.month as usize - 1];
    let weekday = WEEKDAYS[civil.weekday() as usize];
    let written = match element {
        Element::LongMonth => out.write_all(month.as_bytes()),
        Element::Month => out.write_all(&month.as_bytes()[..3]),
        Element::NumericMonth => write!(out, "{}", civil.month),
        Element::ZeroMonth => write!(out, "{:02}", civil.month),
        Element::LongWeekday => out.write_all(weekday.as_bytes()),
        Element::Weekday => out.write_all(&weekday.as_bytes()[..3]),
        Element::Day => write!(out, "{}", civil.day),
        Element::UnderDay => write!(out, "{:2}", civil.day),
        Element::ZeroDay => write!(out, "{:02}", civil.day),
        Element::UnderYearDay => write!(out, "{:3}", civil.day_of_year()),
        Element::ZeroYearDay => write!(out, "{:03}", civil.day_of_year()),
        Element::Hour => write!(out, "{:02}", civil.hour),
        Element::Hour12 => write!(out, "{hour12}"),
        Element::ZeroHour12 => write!(out, "{hour12:02}"),
        Element::Minute => write!(out, "{}", civil.minute),
        Element::ZeroMinute => write!(out, "{:02}", civil.minute),
        Element::Second => write!(out, "{}", civil.second),
        Element::ZeroSecond => write!(out, "{:02}", civil.second),
        Element::LongYear if civil.year < 0 => write!(out, "-{:04}", -civil.year),
        Element::LongYear => write!(out, "{:04}", civil.year),
        Element::Year => write!(out, "{:02}", civil.year.rem_euclid(100)),
        Element::HalfDay { is_upper: true } => out.write_all(if civil.hour >= 12 { b"PM" } else { b"AM" }),
        Element::HalfDay { is_upper: false } => out.write_all(if civil.hour >= 12 { b"pm" } else { b"am" }),
        Element::ZoneName | Element::Offset(_) | Element::Fraction { .. } => Ok(()),
    };
    written.expect("writing to memory cannot fail");
}

fn write_offset(offset: i32, form: OffsetForm, out: &mut Vec<u8>) {
    if form.is_iso && offset == 0 {
        out.push(b'Z');
        return;
    }
    out.push(if offset < 0 { b'-' } else { b'+' });
    let offset = offset.unsigned_abs();
    for (index, part) in [offset / 3600, offset / 60 % 60, offset % 60].into_iter().take(form.parts).enumerate() {
        let colon = if index > 0 && form.has_colons { ":" } else { "" };
        write!(out, "{colon}{part:02}").expect("writing to memory cannot fail");
    }
}

fn write_fraction(nanoseconds: u32, digits: usize, is_comma: bool, is_trimmed: bool, out: &mut Vec<u8>) {
    let text = format!("{nanoseconds:09}");
    let mut kept = &text[..digits.min(9)];
    if is_trimmed {
        kept = kept.trim_end_matches('0');
        if kept.is_empty() {
            return;
        }
    }
    out.push(if is_comma { b',' } else { b'.' });
    out.extend_from_slice(kept.as_bytes());
    out.extend(std::iter::repeat_n(b'0', if is_trimmed { 0 } else { digits.saturating_sub(9) }));
}
