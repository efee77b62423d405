//! `timestamp`: the entry's stamp from an extracted value.
//!
//! When a stamp cannot be read, `fudge` takes the last known one of the label set and a nanosecond more; before the first good one the stamp stays as it
//! is, and so it does with `skip`.

use jiff::tz::TimeZone;

use super::context::StageContext;
use super::entry::Entry;
use super::go_time::{GoLayout, year_and_month};
use super::settings::Settings;
use super::stream_key;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const SALT: u64 = 0x7473_0000;

/// Layouts with a name; they do not look at the location.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
];

#[derive(Debug, Clone)]
enum Format {
    Named(GoLayout),
    /// A layout of one's own; without a year the present one is taken.
    Own {
        layout: GoLayout,
        has_year: bool,
    },
    Unix,
    /// Nanoseconds of one unit.
    UnixUnits(i64),
}

impl Format {
    fn new(text: &str) -> Self {
        match text {
            "Unix" => Self::Unix,
            "UnixMs" => Self::UnixUnits(1_000_000),
            "UnixUs" => Self::UnixUnits(1_000),
            "UnixNs" => Self::UnixUnits(1),
            other => match NAMED.iter().find(|(name, _)| *name == other) {
                Some((_, layout)) => Self::Named(GoLayout::new(layout)),
                None => Self::Own { layout: GoLayout::new(other), has_year: other.contains("06") },
            },
        }
    }

    fn parse(&self, text: &str, location: Option<&TimeZone>, now: i64) -> Option<i64> {
        match self {
            Self::Named(layout) => layout.parse(text)?.nanos(None),
            Self::Own { layout, has_year: true } => layout.parse(text)?.nanos(location),
            Self::Own { layout, has_year: false } => {
                let civil = layout.parse(text).filter(|civil| civil.year == 0)?;
                let (year, month) = year_and_month(now);
                let year = match (civil.month, month) {
                    (12, 1) => year - 1,
                    (1, 12) => year + 1,
                    _ => year,
                };
                civil.with_year(year)?.nanos(location)
            }
            Self::Unix => unix(text),
            Self::UnixUnits(unit) => text.parse::<i64>().ok()?.checked_mul(*unit),
        }
    }
}

/// Seconds with an optional fraction.
fn unix(text: &str) -> Option<i64> {
    let (seconds, nanos) = match text.split_once('.') {
        None => (text.parse::<i64>().ok()?, 0),
        Some((seconds, fraction)) => {
            let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=18).contains(digits))?;
            let fraction = fraction.parse::<i64>().ok()?;
            let nanos = if digits <= 9 { fraction * 10_i64.pow(9 - digits) } else { fraction / 10_i64.pow(digits - 9) };
            (seconds.parse::<i64>().ok()?, nanos)
        }
    };
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[derive(Debug, Clone)]
pub(crate) struct Timestamp {
    source: String,
    formats: Vec<Format>,
    location: Option<TimeZone>,
    fudges: bool,
}

impl Timestamp {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("timestamp", node, report)?;
        let source = settings.required("source");
        let mut formats: Vec<Format> = settings.required("format").map(|format| Format::new(&format)).into_iter().collect();
        formats.extend(settings.texts("fallback_formats").unwrap_or_default().iter().map(|format| Format::new(format)));
        let location = settings.text("location").and_then(|name| match zone(&name) {
            Some(zone) => Some(zone),
            None => {
                let line = settings.line();
                settings.wrong(line, format!("unknown `location` `{name}`; give a name like `Europe/Paris`"));
                None
            }
        });
        let fudges = match settings.text("action_on_failure").as_deref() {
            None | Some("fudge") => true,
            Some("skip") => false,
            Some(other) => {
                let (line, problem) = (settings.line(), format!("`action_on_failure` is `{other}`; it can be `fudge` or `skip`"));
                settings.wrong(line, problem);
                true
            }
        };
        let is_right = settings.finish();
        source.filter(|_| is_right).map(|source| Self { source, formats, location, fudges })
    }

    pub(crate) fn apply(&self, entry: &mut Entry, context: &mut StageContext<'_>) {
        let text = entry.extracted.text(&self.source);
        let parse = |text: &str| self.formats.iter().find_map(|format| format.parse(text, self.location.as_ref(), context.now));
        let parsed = text.and_then(|text| parse(&text));
        let key = stream_key(SALT, &entry.labels);
        let stamp = match parsed {
            Some(parsed) => Some(context.parsed_stamp(key, parsed)),
            None if self.fudges => context.following_stamp(key),
            None => None,
        };
        if let Some(stamp) = stamp {
            entry.timestamp = Some(stamp);
        }
    }
}

fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "UTC" => Some(TimeZone::UTC),
        "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::{problems, run_lines};

    fn stamps(config: &str, lines: &[&str]) -> Vec<Option<i64>> {
        let stages = format!("- regex: {{expression: '^(?P<ts>[^|]*)'}}\n- timestamp: {config}");
        run_lines(&stages, lines).iter().map(|entry| entry.timestamp).collect()
    }

    #[test]
    fn unix_times_with_fractions() {
        for (text, expected) in [
            ("1772359200", Some(1_772_359_200_000_000_000)),
            ("1772359203.000001", Some(1_772_359_203_000_001_000)),
            ("1772359203.1234567891", Some(1_772_359_203_123_456_789)),
            ("1.2.3", None),
            ("x", None),
        ] {
            assert_eq!(unix(text), expected, "{text}");
        }
    }

    #[test]
    fn failures_follow_the_last_good_stamp() {
        let lines = ["bad", "2026-03-01T10:00:00Z", "bad", "bad"];
        let base = 1_772_359_200_000_000_000;
        assert_eq!(stamps("{source: ts, format: RFC3339}", &lines), [None, Some(base), Some(base + 1), Some(base + 2)]);
        assert_eq!(stamps("{source: ts, format: RFC3339, action_on_failure: skip}", &lines), [None, Some(base), None, None]);
    }

    #[test]
    fn equal_stamps_in_a_row_move_on() {
        let line = "1772359200";
        let base = 1_772_359_200_000_000_000;
        assert_eq!(
            stamps("{source: ts, format: Unix}", &[line, line, "1772359100"]),
            [Some(base), Some(base + 1), Some(base - 100_000_000_000)]
        );
    }

    #[test]
    fn a_layout_without_year_takes_the_present_one_but_around_new_year() {
        let format = Format::new("Jan _2 15:04:05");
        let at = |date: &str| GoLayout::new("2006-01-02").parse(date).unwrap().nanos(None).unwrap();
        for (now, text, expected) in [
            ("2026-06-01", "Jun  5 00:00:00", "2026-06-05"),
            ("2026-01-02", "Dec 31 00:00:00", "2025-12-31"),
            ("2026-12-31", "Jan  1 00:00:00", "2027-01-01"),
        ] {
            assert_eq!(format.parse(text, None, at(now)), Some(at(expected)), "{text} at {now}");
        }
        for (text, year) in [("26-03-01", "2026-03-01"), ("69-03-01", "1969-03-01"), ("68-03-01", "2068-03-01")] {
            assert_eq!(Format::new("06-01-02").parse(text, None, 0), Some(at(year)), "a year of two digits");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (config, part) in [
            ("{format: RFC3339}", "`source`"),
            ("{source: a}", "`format`"),
            ("{source: a, format: Unix, location: Mars/Base}", "Mars/Base"),
            ("{source: a, format: Unix, action_on_failure: panic}", "panic"),
        ] {
            let found = problems(&format!("- timestamp: {config}"));
            assert!(found[0].contains("timestamp stage") && found[0].contains(part), "{found:?}");
        }
    }
}
