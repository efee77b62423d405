//! Stamps read by a Go layout, with Go's rules: what is missing is the first of its kind, a fraction may follow seconds unasked, an unknown
//! abbreviation of a zone counts as UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::go_layout::{Chunk, Element, OffsetForm, chunks};

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY_SECONDS: i64 = 86_400;

/// A layout, ready to read stamps.
#[derive(Debug, Clone)]
pub(super) struct GoLayout {
    chunks: Vec<Chunk>,
}

/// A date and time as read, before its year is settled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    zone: Zone,
}

#[derive(Debug, Clone, PartialEq)]
enum Zone {
    None,
    Utc,
    Offset(i64),
    Name(String),
}

impl GoLayout {
    pub(super) fn new(layout: &str) -> Self {
        Self { chunks: chunks(layout) }
    }

    /// Reads all of `text`, or nothing.
    pub(super) fn parse(&self, text: &str) -> Option<Civil> {
        let mut reading = Reading::default();
        let mut rest = text;
        for (index, chunk) in self.chunks.iter().enumerate() {
            rest = skip_literal(rest, &chunk.literal)?;
            let Some(element) = chunk.element else { break };
            let next = self.chunks.get(index + 1);
            let is_fraction_next = next.is_some_and(|next| {
                next.literal.is_empty() && matches!(next.element, Some(Element::Fraction { .. } | Element::OptionalFraction))
            });
            rest = reading.take(element, rest, is_fraction_next)?;
        }
        if !rest.is_empty() {
            return None;
        }
        reading.civil()
    }
}

impl Civil {
    /// Nanoseconds since the epoch; without a zone of its own it is a time of `location`, UTC if there is none.
    pub(super) fn nanos(&self, location: Option<&TimeZone>) -> Option<i64> {
        let days = days_from_civil(self.year, self.month, self.day);
        let seconds = days * DAY_SECONDS + self.hour * 3600 + self.minute * 60 + self.second;
        let seconds = match (&self.zone, location) {
            (Zone::Utc, _) | (Zone::None, None) => seconds,
            (Zone::Offset(offset), _) => seconds - offset,
            (Zone::Name(name), location) => seconds - location.map_or(0, |zone| named_offset(zone, name, seconds)),
            (Zone::None, Some(zone)) => local_to_utc(zone, seconds),
        };
        seconds.checked_mul(1_000_000_000)?.checked_add(self.nanos)
    }

    pub(super) fn with_year(mut self, year: i64) -> Option<Self> {
        self.year = year;
        // The 29th of February of another year is the 1st of March.
        (self.day <= days_in_month(0, self.month)).then_some(self)
    }
}

/// Takes `literal` off the start of `text`; a run of blanks stands for any run of blanks.
fn skip_literal<'a>(mut text: &'a str, mut literal: &str) -> Option<&'a str> {
    while let Some(first) = literal.chars().next() {
        if first == ' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            literal = literal.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
            continue;
        }
        text = text.strip_prefix(first)?;
        literal = &literal[first.len_utf8()..];
    }
    Some(text)
}

#[derive(Default)]
struct Reading {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    is_afternoon: Option<bool>,
    zone: Option<Zone>,
}

impl Reading {
    /// Reads `element` off the start of `text`; returns what follows.
    fn take<'a>(&mut self, element: Element, text: &'a str, is_fraction_next: bool) -> Option<&'a str> {
        match element {
            Element::LongYear | Element::ShortYear => self.take_year(element, text),
            Element::LongMonth | Element::ShortMonth | Element::Month { .. } => self.take_month(element, text),
            Element::LongWeekday => Some(named(text, &WEEKDAYS, None)?.1),
            Element::ShortWeekday => Some(named(text, &WEEKDAYS, Some(3))?.1),
            Element::Day { .. } | Element::YearDay { .. } => self.take_day(element, text),
            Element::ZoneName => self.zone_name(text),
            Element::ZoneOffset { takes_z, form } => match text.strip_prefix('Z').filter(|_| takes_z) {
                Some(rest) => {
                    self.zone = Some(Zone::Utc);
                    Some(rest)
                }
                None => self.zone_offset(text, form),
            },
            clock => self.take_clock(clock, text, is_fraction_next),
        }
    }

    fn take_year<'a>(&mut self, element: Element, text: &'a str) -> Option<&'a str> {
        let (digits, rest) = text.split_at_checked(if element == Element::LongYear { 4 } else { 2 })?;
        let year = digits_of(digits)?;
        self.year = match element {
            Element::ShortYear if year >= 69 => year + 1900,
            Element::ShortYear => year + 2000,
            _ => year,
        };
        Some(rest)
    }

    fn take_month<'a>(&mut self, element: Element, text: &'a str) -> Option<&'a str> {
        let (month, rest) = match element {
            Element::LongMonth => named(text, &MONTHS, None).map(|(index, rest)| (index + 1, rest))?,
            Element::ShortMonth => named(text, &MONTHS, Some(3)).map(|(index, rest)| (index + 1, rest))?,
            element => number(text, element == Element::Month { is_padded: true })?,
        };
        self.month = Some(month).filter(|month| (1..=12).contains(month));
        self.month.map(|_| rest)
    }

    fn take_day<'a>(&mut self, element: Element, text: &'a str) -> Option<&'a str> {
        if let Element::Day { is_padded, takes_blank } = element {
            let text = if takes_blank { text.strip_prefix(' ').unwrap_or(text) } else { text };
            let (day, rest) = number(text, is_padded)?;
            self.day = Some(day);
            return Some(rest);
        }
        let takes_blanks = element == Element::YearDay { takes_blanks: true };
        let blanks = if takes_blanks { text.bytes().take(2).take_while(|byte| *byte == b' ').count() } else { 0 };
        self.year_day = Some(digits_of(text.get(blanks..3)?)?);
        text.get(3..)
    }

    /// Hours, minutes, seconds and parts of them.
    fn take_clock<'a>(&mut self, element: Element, text: &'a str, is_fraction_next: bool) -> Option<&'a str> {
        match element {
            Element::Hour24 => set(&mut self.hour, number(text, false), 23),
            Element::Hour12 { is_padded } => set(&mut self.hour, number(text, is_padded), 12),
            Element::Minute { is_padded } => set(&mut self.minute, number(text, is_padded), 59),
            Element::Second { is_padded } => {
                let rest = set(&mut self.second, number(text, is_padded), 59)?;
                Some(if is_fraction_next { rest } else { self.fraction(rest).unwrap_or(rest) })
            }
            Element::Half { is_upper } => {
                let (half, rest) = text.split_at_checked(2)?;
                let [morning, afternoon] = if is_upper { ["AM", "PM"] } else { ["am", "pm"] };
                self.is_afternoon = Some(half == afternoon);
                (half == morning || half == afternoon).then_some(rest)
            }
            Element::Fraction { digits } => {
                let digits_there = text.bytes().skip(1).take_while(u8::is_ascii_digit).count();
                let (fraction, rest) = text.split_at_checked(1 + digits)?;
                (digits_there >= digits).then_some(())?;
                self.nanos = fraction_nanos(fraction)?;
                Some(rest)
            }
            _ => Some(self.fraction(text).unwrap_or(text)),
        }
    }

    /// A separator with digits, if there is one.
    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let digits = text.strip_prefix(['.', ','])?.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = (digits > 0).then(|| text.split_at(1 + digits))?;
        self.nanos = fraction_nanos(fraction)?;
        Some(rest)
    }

    fn zone_offset<'a>(&mut self, text: &'a str, form: OffsetForm) -> Option<&'a str> {
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (length, places): (usize, [usize; 3]) = match form {
            OffsetForm::Hours => (3, [1, 0, 0]),
            OffsetForm::HoursMinutes => (5, [1, 3, 0]),
            OffsetForm::HoursMinutesSeconds => (7, [1, 3, 5]),
            OffsetForm::ColonMinutes => (6, [1, 4, 0]),
            OffsetForm::ColonSeconds => (9, [1, 4, 7]),
        };
        let (offset, rest) = text.split_at_checked(length)?;
        let colons: &[usize] = match form {
            OffsetForm::ColonMinutes => &[3],
            OffsetForm::ColonSeconds => &[3, 6],
            _ => &[],
        };
        let has_colons = colons.iter().all(|at| offset.as_bytes().get(*at) == Some(&b':'));
        let part = |at: usize| if at == 0 { Some(0) } else { offset.get(at..at + 2).and_then(digits_of) };
        let [hours, minutes, seconds] = [part(places[0])?, part(places[1])?, part(places[2])?];
        let is_valid = has_colons && hours <= 24 && minutes <= 60 && seconds <= 60;
        self.zone = Some(Zone::Offset(sign * (hours * 3600 + minutes * 60 + seconds))).filter(|_| is_valid);
        is_valid.then_some(rest)
    }

    fn zone_name<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix("UTC") {
            self.zone = Some(Zone::Utc);
            return Some(rest);
        }
        let (name, rest) = text.split_at_checked(zone_name_length(text)?)?;
        self.zone = Some(Zone::Name(name.to_owned()));
        Some(rest)
    }

    fn civil(mut self) -> Option<Civil> {
        match self.is_afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        if let Some(year_day) = self.year_day {
            let is_leap = days_in_month(self.year, 2) == 29;
            let is_valid = (1..=365 + i64::from(is_leap)).contains(&year_day);
            let mut left = is_valid.then_some(year_day)?;
            let month = (1..=12).find(|month| {
                let days = days_in_month(self.year, *month);
                let is_here = left <= days;
                left -= if is_here { 0 } else { days };
                is_here
            })?;
            let agrees = self.month.is_none_or(|other| other == month) && self.day.is_none_or(|other| other == left);
            agrees.then_some(())?;
            (self.month, self.day) = (Some(month), Some(left));
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let is_valid = (1..=days_in_month(self.year, month)).contains(&day);
        let zone = self.zone.unwrap_or(Zone::None);
        let Self { year, hour, minute, second, nanos, .. } = self;
        is_valid.then_some(Civil { year, month, day, hour, minute, second, nanos, zone })
    }
}

/// Letters, or an offset, that name a zone.
fn zone_name_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if text.len() < 3 {
        return None;
    }
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed_offset_length(rest));
    }
    if matches!(bytes.first(), Some(b'+' | b'-')) {
        return Some(signed_offset_length(text)).filter(|length| *length > 0);
    }
    let upper = bytes.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    let ends_in_t = |at: usize| bytes.get(at) == Some(&b'T');
    match upper {
        5 if ends_in_t(4) => Some(5),
        4 if ends_in_t(3) || text.starts_with("WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}

/// `+3` or `-10`: the length, 0 if it is none.
fn signed_offset_length(text: &str) -> usize {
    let digits = text.strip_prefix(['+', '-']).map_or("", |rest| &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()]);
    let is_hours = digits.parse::<i64>().is_ok_and(|hours| hours < 24);
    if is_hours { 1 + digits.len() } else { 0 }
}

fn digits_of(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Puts a number up to `most` into `field`; returns what follows it.
fn set<'a>(field: &mut i64, read: Option<(i64, &'a str)>, most: i64) -> Option<&'a str> {
    let (value, rest) = read.filter(|(value, _)| *value <= most)?;
    *field = value;
    Some(rest)
}

/// One or two digits; two if they must be.
fn number(text: &str, is_padded: bool) -> Option<(i64, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    if digits == 0 || (is_padded && digits < 2) {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    Some((digits_of(digits)?, rest))
}

/// Index of the name at the start of `text`, in any case, and what follows it.
fn named<'a>(text: &'a str, names: &[&str], length: Option<usize>) -> Option<(i64, &'a str)> {
    names.iter().zip(0..).find_map(|(name, index)| {
        let name = length.map_or(*name, |length| &name[..length]);
        let (start, rest) = text.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some((index, rest))
    })
}

/// Nanoseconds of `.123`; digits beyond the ninth are cut off.
fn fraction_nanos(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['.', ','])?;
    let digits = &digits[..digits.len().min(9)];
    let scale = 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
    Some(digits_of(digits)? * scale)
}

pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch; the year begins in March here, so that a leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year and month at `nanos` since the epoch, in UTC.
pub(super) fn year_and_month(nanos: i64) -> (i64, i64) {
    let days = nanos.div_euclid(1_000_000_000 * DAY_SECONDS);
    let mut year = 1970 + days.div_euclid(366);
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_from_civil(year, *month, 1) <= days).unwrap_or(1);
    (year, month)
}

fn offset_at(zone: &TimeZone, seconds: i64) -> i64 {
    Timestamp::from_second(seconds).map_or(0, |at| i64::from(zone.to_offset(at).seconds()))
}

/// The moment at which clocks of `zone` show `seconds` as if they were UTC; within a gap or a repeated hour as Go decides.
fn local_to_utc(zone: &TimeZone, seconds: i64) -> i64 {
    let guess = offset_at(zone, seconds);
    seconds - if guess == 0 { 0 } else { offset_at(zone, seconds - guess) }
}

/// The offset that `name` has in `zone` around a time; 0 if the zone does not know it.
fn named_offset(zone: &TimeZone, name: &str, seconds: i64) -> i64 {
    const HALF_YEAR: i64 = 182 * DAY_SECONDS;
    let around = [seconds, seconds - HALF_YEAR, seconds + HALF_YEAR];
    let found = around.into_iter().filter_map(|at| Timestamp::from_second(at).ok()).find_map(|at| {
        let info = zone.to_offset_info(at);
        (info.abbreviation() == name).then(|| i64::from(info.offset().seconds()))
    });
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(layout: &str, text: &str, location: Option<&str>) -> Option<i64> {
        let zone = location.map(|name| TimeZone::get(name).unwrap());
        GoLayout::new(layout).parse(text)?.nanos(zone.as_ref())
    }

    const BASE: i64 = 1_772_359_200_000_000_000;

    #[test]
    fn layouts_read_what_go_reads() {
        for (layout, text, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2026-03-01T12:00:00.75+02:00", Some(BASE + 750_000_000)),
            ("2006-01-02 15:04:05", "2026-03-01 10:00:00,5", Some(BASE + 500_000_000)),
            ("2006-01-02 15:04:05.000", "2026-03-01 10:00:00", None),
            ("2006-01-02 15:04:05.999", "2026-03-01 10:00:00", Some(BASE)),
            ("Mon Jan _2 3:04:05PM 2006", "Sun Mar  1 10:00:00AM 2026", Some(BASE)),
            ("Monday, 02-Jan-06 15:04:05 MST", "Sunday, 01-Mar-26 10:00:00 UTC", Some(BASE)),
            ("2006-01-02 15:04:05 MST", "2026-03-01 10:00:00 CET", Some(BASE)),
            ("2006-1-2 15:4:5", "2026-03-1 10:0:0", Some(BASE)),
            ("2006-002 15", "2026-060 10", Some(BASE)),
            ("2006-01-02 15", "2026-02-29 10", None),
            ("2006-01-02 15", "2026-03-01 24", None),
            ("2006-01-02 15", "2026-03-01 10 ", None),
            ("02/Jan/2006:15:04:05 -0700", "01/Mar/2026:11:00:00 +0100", Some(BASE)),
        ] {
            assert_eq!(parse(layout, text, None), expected, "{layout} of {text}");
        }
    }

    #[test]
    fn locations_and_their_changes_of_the_clock() {
        let layout = "2006-01-02 15:04:05";
        assert_eq!(parse(layout, "2026-03-29 01:59:59", Some("Europe/Berlin")), Some(1_774_745_999_000_000_000));
        assert_eq!(parse(layout, "2026-03-29 02:30:00", Some("Europe/Berlin")), Some(1_774_747_800_000_000_000));
        assert_eq!(parse(layout, "2026-03-29 03:00:00", Some("Europe/Berlin")), Some(1_774_746_000_000_000_000));
        let summer = parse("2006-01-02 15:04:05 MST", "2026-07-01 12:00:00 CEST", Some("Europe/Berlin"));
        assert_eq!(summer, parse(layout, "2026-07-01 12:00:00", Some("Europe/Berlin")));
    }

    #[test]
    fn year_and_month_of_a_moment() {
        assert_eq!(year_and_month(BASE), (2026, 3));
        assert_eq!(year_and_month(0), (1970, 1));
        assert_eq!(year_and_month(1_767_225_599_999_999_999), (2025, 12));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(layout in "[0-9A-Za-z:., _-]{0,20}", text in "\\PC{0,24}") {
            let _ = parse(&layout, &text, None);
        }

        #[test]
        fn what_jiff_writes_is_read_back(seconds in 0i64..8_000_000_000) {
            let text = Timestamp::from_second(seconds).unwrap().to_string();
            prop_assert_eq!(parse("2006-01-02T15:04:05Z07:00", &text, None), Some(seconds * 1_000_000_000));
        }
    }
}
