//! Layouts: times written as the reference time, `Mon Jan 2 15:04:05 MST 2006`.

/// A part of a layout that stands for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    NumericMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    /// `PM`, or `pm`.
    HalfDay {
        is_upper: bool,
    },
    ZoneName,
    Offset(OffsetForm),
    /// Digits behind a point or a comma.
    Fraction {
        digits: usize,
        is_comma: bool,
        /// `9`s: trailing zeros are left out.
        is_trimmed: bool,
    },
}

/// `Z0700`, `-07:00:00` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetForm {
    /// UTC is written as `Z`.
    pub(super) is_iso: bool,
    pub(super) has_colons: bool,
    /// 1: hours, 2: minutes, 3: seconds.
    pub(super) parts: usize,
}

/// The text before the next element, the element and the rest of the layout; `None` if no element is left.
pub(super) fn next_element(layout: &str) -> Option<(&str, Element, &str)> {
    let bytes = layout.as_bytes();
    for at in 0..bytes.len() {
        if let Some((element, length)) = element_at(&bytes[at..]) {
            // `_2006` is a blank year: the `_` is text.
            return Some((&layout[..at], element, &layout[at + length..]));
        }
    }
    None
}

fn element_at(rest: &[u8]) -> Option<(Element, usize)> {
    let simple = |texts: &[(&str, Element)]| {
        texts.iter().find(|(text, _)| rest.starts_with(text.as_bytes())).map(|(text, element)| (*element, text.len()))
    };
    match rest[0] {
        b'J' if rest.starts_with(b"January") => Some((Element::LongMonth, 7)),
        b'J' if rest.starts_with(b"Jan") && !begins_lower(&rest[3..]) => Some((Element::Month, 3)),
        b'M' if rest.starts_with(b"Monday") => Some((Element::LongWeekday, 6)),
        b'M' if rest.starts_with(b"Mon") && !begins_lower(&rest[3..]) => Some((Element::Weekday, 3)),
        b'M' => simple(&[("MST", Element::ZoneName)]),
        b'0' => simple(&[
            ("002", Element::ZeroYearDay),
            ("01", Element::ZeroMonth),
            ("02", Element::ZeroDay),
            ("03", Element::ZeroHour12),
            ("04", Element::ZeroMinute),
            ("05", Element::ZeroSecond),
            ("06", Element::Year),
        ]),
        b'1' => simple(&[("15", Element::Hour), ("1", Element::NumericMonth)]),
        b'2' => simple(&[("2006", Element::LongYear), ("2", Element::Day)]),
        b'_' if rest.starts_with(b"_2006") => None,
        b'_' => simple(&[("__2", Element::UnderYearDay), ("_2", Element::UnderDay)]),
        b'3' => Some((Element::Hour12, 1)),
        b'4' => Some((Element::Minute, 1)),
        b'5' => Some((Element::Second, 1)),
        b'P' => simple(&[("PM", Element::HalfDay { is_upper: true })]),
        b'p' => simple(&[("pm", Element::HalfDay { is_upper: false })]),
        b'-' | b'Z' => offset(rest),
        b'.' | b',' => fraction(rest),
        _ => None,
    }
}

fn begins_lower(rest: &[u8]) -> bool {
    rest.first().is_some_and(u8::is_ascii_lowercase)
}

fn offset(rest: &[u8]) -> Option<(Element, usize)> {
    let is_iso = rest[0] == b'Z';
    [("070000", false, 3), ("07:00:00", true, 3), ("0700", false, 2), ("07:00", true, 2), ("07", false, 1)]
        .into_iter()
        .find(|(text, ..)| rest[1..].starts_with(text.as_bytes()))
        .map(|(text, has_colons, parts)| (Element::Offset(OffsetForm { is_iso, has_colons, parts }), text.len() + 1))
}

/// A point or comma before a run of `0` or of `9` that no digit follows.
fn fraction(rest: &[u8]) -> Option<(Element, usize)> {
    let digit = *rest.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
    let digits = rest[1..].iter().take_while(|byte| **byte == digit).count();
    if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((Element::Fraction { digits, is_comma: rest[0] == b',', is_trimmed: digit == b'9' }, digits + 1))
}

pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
pub(super) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
