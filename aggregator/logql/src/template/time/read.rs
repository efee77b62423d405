//! Times from text by a layout.

use super::civil::{days_of_month, is_leap};
use super::layout::{Element, MONTHS, OffsetForm, WEEKDAYS, next_element};
use super::{Civil, Time, Zone};

/// What was read so far.
#[derive(Default)]
struct Parts {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanoseconds: u32,
    is_afternoon: bool,
    is_morning: bool,
    is_utc: bool,
    offset: Option<i32>,
    zone_name: String,
}

pub(super) fn read(mut layout: &str, mut text: &str, zone: &Zone) -> Option<Time> {
    let mut parts = Parts::default();
    while let Some((before, element, rest)) = next_element(layout) {
        text = skip(text, before)?;
        layout = rest;
        text = parts.read(element, text, layout)?;
    }
    text = skip(text, layout)?;
    if !text.is_empty() {
        return None;
    }
    parts.time(zone)
}

/// Passes the text of a layout; blanks may differ in number.
fn skip<'t>(mut text: &'t str, mut before: &str) -> Option<&'t str> {
    while let Some(first) = before.bytes().next() {
        if first == b' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            before = before.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
            continue;
        }
        let character = before.chars().next()?;
        text = text.strip_prefix(character)?;
        before = &before[character.len_utf8()..];
    }
    Some(text)
}

/// One or two digits; two where the layout has a zero in front.
fn number(text: &str, is_fixed: bool) -> Option<(i64, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    if digits == 0 || (is_fixed && digits < 2) {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn fixed_number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let number = text.get(..digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((number.parse().ok()?, &text[digits..]))
}

/// A name in any case; its position from 0.
fn name<'t>(text: &'t str, names: &[&str], length: Option<usize>) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = &name[..length.unwrap_or(name.len())];
        let found = text.get(..name.len()).filter(|found| found.eq_ignore_ascii_case(name))?;
        Some((index, &text[found.len()..]))
    })
}

fn within(value: (i64, &str), range: std::ops::RangeInclusive<i64>) -> Option<(i64, &str)> {
    Some(value).filter(|(value, _)| range.contains(value))
}

impl Parts {
    /// Returns the text behind the element. `layout` is what follows it there.
    fn read<'t>(&mut self, element: Element, text: &'t str, layout: &str) -> Option<&'t str> {
        let rest;
        match element {
            Element::LongYear => (self.year, rest) = fixed_number(text, 4)?,
            Element::Year => {
                let (year, after) = fixed_number(text, 2)?;
                (self.year, rest) = (if year >= 69 { year + 1900 } else { year + 2000 }, after);
            }
            Element::LongMonth | Element::Month => {
                let (month, after) = name(text, &MONTHS, (element == Element::Month).then_some(3))?;
                (self.month, rest) = (Some(month as i64 + 1), after);
            }
            Element::NumericMonth | Element::ZeroMonth => {
                let (month, after) = within(number(text, element == Element::ZeroMonth)?, 1..=12)?;
                (self.month, rest) = (Some(month), after);
            }
            Element::LongWeekday | Element::Weekday => {
                (_, rest) = name(text, &WEEKDAYS, (element == Element::Weekday).then_some(3))?;
            }
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                let text = if element == Element::UnderDay { text.strip_prefix(' ').unwrap_or(text) } else { text };
                let (day, after) = number(text, element == Element::ZeroDay)?;
                (self.day, rest) = (Some(day), after);
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                let blanks = if element == Element::UnderYearDay { text.len() - text.trim_start_matches(' ').len() } else { 0 };
                let (day, after) = fixed_number(text.get(blanks.min(2)..)?, 3 - blanks.min(2))?;
                (self.day_of_year, rest) = (Some(day), after);
            }
            Element::Hour => (self.hour, rest) = within(number(text, false)?, 0..=23)?,
            Element::Hour12 | Element::ZeroHour12 => {
                (self.hour, rest) = within(number(text, element == Element::ZeroHour12)?, 0..=12)?;
            }
            Element::Minute | Element::ZeroMinute => {
                (self.minute, rest) = within(number(text, element == Element::ZeroMinute)?, 0..=59)?;
            }
            Element::Second | Element::ZeroSecond => {
                let (second, after) = within(number(text, element == Element::ZeroSecond)?, 0..=59)?;
                self.second = second;
                rest = self.read_unasked_fraction(after, layout)?;
            }
            Element::HalfDay { is_upper } => {
                let (afternoon, morning) = if is_upper { ("PM", "AM") } else { ("pm", "am") };
                self.is_afternoon = text.starts_with(afternoon);
                self.is_morning = text.starts_with(morning);
                rest = text.get(2..).filter(|_| self.is_afternoon || self.is_morning)?;
            }
            Element::Offset(form) => rest = self.read_offset(text, form)?,
            Element::ZoneName => rest = self.read_zone_name(text)?,
            Element::Fraction { digits, is_trimmed: false, .. } => rest = self.read_fraction(text, digits)?,
            Element::Fraction { .. } => {
                let digits = fraction_digits(text);
                rest = if digits == 0 { text } else { self.read_fraction(text, digits)? };
            }
        }
        Some(rest)
    }

    /// Seconds may have a fraction that the layout does not mention.
    fn read_unasked_fraction<'t>(&mut self, text: &'t str, layout: &str) -> Option<&'t str> {
        let is_asked =
            next_element(layout).is_some_and(|(before, element, _)| before.is_empty() && matches!(element, Element::Fraction { .. }));
        let digits = fraction_digits(text);
        if is_asked || digits == 0 {
            return Some(text);
        }
        self.read_fraction(text, digits)
    }

    fn read_fraction<'t>(&mut self, text: &'t str, digits: usize) -> Option<&'t str> {
        if !text.starts_with(['.', ',']) {
            return None;
        }
        let found = text.get(1..1 + digits).filter(|found| found.bytes().all(|byte| byte.is_ascii_digit()))?;
        self.nanoseconds = format!("{:0<9}", &found[..found.len().min(9)]).parse().ok()?;
        Some(&text[1 + digits..])
    }

    fn read_offset<'t>(&mut self, text: &'t str, form: OffsetForm) -> Option<&'t str> {
        if form.is_iso && text.starts_with('Z') {
            self.is_utc = true;
            return Some(&text[1..]);
        }
        let sign = match text.bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let mut rest = &text[1..];
        let mut offset = 0;
        for (index, unit) in [3600, 60, 1].into_iter().take(form.parts).enumerate() {
            if index > 0 && form.has_colons {
                rest = rest.strip_prefix(':')?;
            }
            let limit = if index == 0 { 24 } else { 59 };
            let (value, after) = within(fixed_number(rest, 2)?, 0..=limit)?;
            offset += value as i32 * unit;
            rest = after;
        }
        self.offset = Some(sign * offset);
        Some(rest)
    }

    fn read_zone_name<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix("UTC") {
            self.is_utc = true;
            return Some(rest);
        }
        let length = zone_name_length(text)?;
        self.zone_name = text[..length].to_owned();
        Some(&text[length..])
    }

    fn time(mut self, zone: &Zone) -> Option<Time> {
        if self.is_afternoon && self.hour < 12 {
            self.hour += 12;
        } else if self.is_morning && self.hour == 12 {
            self.hour = 0;
        }
        let (month, day) = self.date()?;
        let civil = Civil { year: self.year, month, day, hour: self.hour, minute: self.minute, second: self.second };
        let shown = civil.to_seconds();
        let (seconds, zone) = self.moment(shown, zone);
        Some(Time { seconds, nanoseconds: self.nanoseconds, zone })
    }

    /// Month and day, from the day of the year where it was given.
    fn date(&self) -> Option<(i64, i64)> {
        let Some(mut day) = self.day_of_year else {
            let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
            return (1..=days_of_month(self.year, month)).contains(&day).then_some((month, day));
        };
        if day < 1 || day > 365 + i64::from(is_leap(self.year)) {
            return None;
        }
        let mut month = 1;
        while day > days_of_month(self.year, month) {
            day -= days_of_month(self.year, month);
            month += 1;
        }
        let agrees = self.month.is_none_or(|given| given == month) && self.day.is_none_or(|given| given == day);
        agrees.then_some((month, day))
    }

    fn moment(&self, shown: i64, zone: &Zone) -> (i64, Zone) {
        if self.is_utc {
            return (shown, Zone::Utc);
        }
        if let Some(offset) = self.offset {
            let seconds = shown - i64::from(offset);
            let (usual, usual_name) = zone.at(seconds);
            let is_usual = usual == offset && (self.zone_name.is_empty() || self.zone_name == usual_name);
            let fixed = || Zone::Fixed { offset, name: self.zone_name.clone().into() };
            return (seconds, if is_usual { zone.clone() } else { fixed() });
        }
        if self.zone_name.is_empty() {
            return (zone.to_utc(shown), zone.clone());
        }
        // An abbreviation says something only where the zone knows it.
        let seconds = zone.to_utc(shown);
        if zone.at(seconds).1 == self.zone_name {
            return (seconds, zone.clone());
        }
        let hours = self.zone_name.strip_prefix("GMT").and_then(|hours| hours.parse::<i32>().ok()).unwrap_or(0);
        (shown - i64::from(hours) * 3600, Zone::Fixed { offset: hours * 3600, name: self.zone_name.clone().into() })
    }
}

/// How many digits follow a point or comma.
fn fraction_digits(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return 0 };
    rest.bytes().take_while(u8::is_ascii_digit).count()
}

/// The length of an abbreviation: three letters, four that end in `T` (or `WITA`), five that end in `ST`, `GMT+3`, `+03`.
fn zone_name_length(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    let signed = |text: &str| {
        let digits = text.strip_prefix(['+', '-'])?.bytes().take_while(u8::is_ascii_digit).count();
        let hours = text.get(..1 + digits)?.parse::<i32>().ok()?;
        (digits > 0 && (-23..=23).contains(&hours)).then_some(1 + digits)
    };
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed(rest).unwrap_or(0));
    }
    if text.starts_with(['+', '-']) {
        return signed(text);
    }
    let letters = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    let bytes = text.as_bytes();
    match letters {
        5 if bytes[4] == b'T' => Some(5),
        4 if bytes[3] == b'T' || text.starts_with("WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}
