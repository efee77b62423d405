//! What the answers have to be, found by reading the data itself: a first pass surveys the lines and draws needles, a second one
//! counts the lines that hold each needle.
//!
//! Memory stays small whatever the size: all that is kept of lines is one number for each JSON line (its duration).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use tailwater_e2e::generator;

use crate::needles::{Candidates, Class, Needle, Needles};
use crate::pushes::{PushedLine, each_line, walk};
use crate::quantiles::{Durations, Quantile};

/// Raised when what is found changes its meaning, so that files of earlier versions are not taken.
const VERSION: u32 = 1;
/// As many as the question for the last lines asks for.
pub(crate) const NEWEST: usize = 100;
/// The window of the questions with steps, from the first stamp on.
pub(crate) const HOUR_SECONDS: i64 = 3600;
const NANOSECONDS: i64 = 1_000_000_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Truth {
    version: u32,
    /// What the generator was asked for.
    asked_bytes: u64,
    pub lines: u64,
    pub line_bytes: u64,
    /// Stamp of the newest line, nanoseconds.
    pub last: i64,
    /// Stamps of the newest lines, the newest first.
    pub newest: Vec<i64>,
    pub in_first_hour: FirstHour,
    pub needles: Needles,
}

/// Of the lines of the first hour.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FirstHour {
    pub lines: u64,
    /// Holding `error` in upper or lower case.
    pub errors: u64,
    /// Logfmt lines by level.
    pub levels: BTreeMap<String, u64>,
    /// p95 of `duration_ms` of the JSON lines.
    pub quantiles: Vec<Quantile>,
}

impl Truth {
    /// What an earlier run found of data of this size, if anything.
    pub(crate) fn load(path: &Path, asked_bytes: u64) -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
        let truth: Option<Self> = serde_json::from_str(&text).ok();
        Ok(truth.filter(|truth| truth.version == VERSION && truth.asked_bytes == asked_bytes))
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)?).with_context(|| format!("cannot write `{}`", path.display()))
    }

    pub(crate) fn of(pushes: &Path, manifest: &str, asked_bytes: u64) -> Result<Self> {
        let mut survey = Survey::new();
        walk("reading the data", pushes, |request| each_line(request, |line| survey.look_at(line)))?;
        ensure!(survey.lines > 0, "the data has no lines");
        let needles = count(pushes, survey.candidates.choose(manifest)?)?;
        let mut newest: Vec<i64> = survey.newest.into_iter().map(|Reverse(stamp)| stamp).collect();
        newest.sort_unstable_by_key(|stamp| Reverse(*stamp));
        let mut in_first_hour = survey.in_first_hour;
        in_first_hour.quantiles = survey.durations.quantiles(0.95);
        let (lines, line_bytes) = (survey.lines, survey.line_bytes);
        let last = newest.first().copied().context("the data has no lines")?;
        Ok(Self { version: VERSION, asked_bytes, lines, line_bytes, last, newest, in_first_hour, needles })
    }

    /// Whole seconds from the first possible stamp to the first second behind the last.
    pub(crate) fn span_seconds(&self) -> i64 {
        (self.last - generator::START).div_euclid(NANOSECONDS) + 1
    }
}

#[derive(Debug)]
struct Survey {
    lines: u64,
    line_bytes: u64,
    newest: BinaryHeap<Reverse<i64>>,
    in_first_hour: FirstHour,
    durations: Durations,
    candidates: Candidates,
    error: Finder<'static>,
    lower_case: Vec<u8>,
}

impl Survey {
    fn new() -> Self {
        Self {
            lines: 0,
            line_bytes: 0,
            newest: BinaryHeap::new(),
            in_first_hour: FirstHour::default(),
            durations: Durations::default(),
            candidates: Candidates::new(),
            error: Finder::new("error"),
            lower_case: Vec::new(),
        }
    }

    fn look_at(&mut self, pushed: PushedLine<'_>) {
        self.lines += 1;
        self.line_bytes += pushed.line.len() as u64;
        self.newest.push(Reverse(pushed.timestamp));
        if self.newest.len() > NEWEST {
            self.newest.pop();
        }
        self.candidates.look_at(pushed.line);
        if pushed.timestamp > generator::START && pushed.timestamp <= generator::START + HOUR_SECONDS * NANOSECONDS {
            self.look_at_first_hour(pushed);
        }
    }

    fn look_at_first_hour(&mut self, pushed: PushedLine<'_>) {
        let hour = &mut self.in_first_hour;
        hour.lines += 1;
        self.lower_case.clear();
        self.lower_case.extend(pushed.line.iter().map(u8::to_ascii_lowercase));
        hour.errors += u64::from(self.error.find(&self.lower_case).is_some());
        // Only logfmt lines begin so.
        if pushed.line.starts_with(b"ts=") {
            let level = between(pushed.line, b" level=", b' ').unwrap_or_default();
            *hour.levels.entry(String::from_utf8_lossy(level).into_owned()).or_default() += 1;
        }
        if pushed.line.starts_with(b"{") {
            let app = between(pushed.labels.as_bytes(), b"app=\"", b'"').unwrap_or_default();
            self.durations.add(app, pushed.timestamp - generator::START, pushed.line);
        }
    }
}

/// What stands behind `before`, up to `end` or the end of the text.
pub(crate) fn between<'a>(text: &'a [u8], before: &[u8], end: u8) -> Option<&'a [u8]> {
    let rest = &text[memchr::memmem::find(text, before)? + before.len()..];
    Some(&rest[..memchr::memchr(end, rest).unwrap_or(rest.len())])
}

/// Counts the lines that hold each needle.
fn count(pushes: &Path, chosen: BTreeMap<Class, Vec<String>>) -> Result<Needles> {
    let mut counts: Vec<(Finder<'_>, u64)> = chosen.values().flatten().map(|text| (Finder::new(text), 0)).collect();
    walk("counting the needles", pushes, |request| {
        // Most requests hold few of the needles.
        let mut present: Vec<&mut (Finder<'_>, u64)> = counts.iter_mut().filter(|(finder, _)| finder.find(request).is_some()).collect();
        each_line(request, |pushed| {
            for (finder, count) in &mut present {
                *count += u64::from(finder.find(pushed.line).is_some());
            }
        })
    })?;
    let mut counted = counts.iter().map(|(_, lines)| *lines);
    let mut needles = Needles::new();
    for (class, texts) in &chosen {
        let counted = texts.iter().zip(counted.by_ref()).map(|(text, lines)| Needle { text: text.clone(), lines });
        needles.insert(*class, counted.collect());
    }
    let is_absent = |class: Class| matches!(class, Class::AbsentUuid);
    for (class, all) in &needles {
        let odd = all.iter().find(|needle| (needle.lines == 0) != is_absent(*class) && !matches!(class, Class::Unindexed));
        ensure!(odd.is_none(), "a needle of {class:?} does not occur as it should: {odd:?}");
    }
    Ok(needles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(second: i64, line: &str) -> (i64, String) {
        (generator::START + second * NANOSECONDS, line.to_owned())
    }

    #[test]
    fn a_survey_counts_what_questions_ask_for() {
        let lines = [
            pushed(1, "ts=1 level=warn caller=a"),
            pushed(2, "an ERROR and an error"),
            pushed(3, r#"{"level":"info","duration_ms":12.5}"#),
            pushed(HOUR_SECONDS, "last of the hour"),
            pushed(HOUR_SECONDS + 1, "Error too late"),
        ];
        let mut survey = Survey::new();
        for (timestamp, line) in &lines {
            survey.look_at(PushedLine { labels: r#"{app="cart", pod="p"}"#, timestamp: *timestamp, line: line.as_bytes() });
        }
        assert_eq!((survey.lines, survey.in_first_hour.lines, survey.in_first_hour.errors), (5, 4, 1));
        assert_eq!(survey.in_first_hour.levels, BTreeMap::from([("warn".to_owned(), 1)]));
        let quantiles = survey.durations.quantiles(0.95);
        assert_eq!(quantiles, [Quantile { app: "cart".to_owned(), step_end_seconds: 300, value: 12.5 }]);
    }

    #[test]
    fn text_between_is_found() {
        assert_eq!(between(b"a b=c d", b"b=", b' '), Some(b"c".as_slice()));
        assert_eq!(between(b"a b=c", b"b=", b' '), Some(b"c".as_slice()));
        assert_eq!(between(b"a", b"b=", b' '), None);
    }
}
