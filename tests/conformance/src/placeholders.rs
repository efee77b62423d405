//! Placeholders in the requests of a case: `@now` and `@run`.
//!
//! `@now`, `@now-60`, `@now+3` become nanoseconds since the epoch, moved by that many seconds; a suffix `:s`
//! or `:ms` gives seconds or milliseconds instead. `@run` becomes a word unique to one run of one case, so
//! that what the case pushes cannot meet what others pushed. Both are replaced in text only: nothing here
//! knows JSON, which is safe because neither the placeholders nor their values hold a character that JSON
//! escapes.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use regex::{Captures, Regex};

static NOW: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"@now([+-][0-9]+)?(:s|:ms)?").expect("a constant pattern compiles"));

/// What the placeholders of one run of one case stand for.
#[derive(Clone, Debug)]
pub(crate) struct Placeholders {
    /// Nanoseconds since the epoch.
    now: i128,
    run: String,
}

impl Placeholders {
    pub(crate) fn new(now_nanoseconds: i128, run: String) -> Self {
        Self { now: now_nanoseconds, run }
    }

    /// The present time and a fresh random word.
    pub(crate) fn fresh() -> anyhow::Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "cases ask the server about the present: the real clock is meant")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let random = getrandom::u32()?;
        Ok(Self::new(i128::try_from(now.as_nanos())?, format!("r{random:08x}")))
    }

    /// `text` with every placeholder replaced.
    pub(crate) fn fill(&self, text: &str) -> String {
        if !text.contains('@') {
            return text.to_owned();
        }
        let with_times = NOW.replace_all(text, |found: &Captures<'_>| self.time(found));
        with_times.replace("@run", &self.run)
    }

    /// The way back for answers: the unique word becomes `@run` again.
    pub(crate) fn restore(&self, text: &str) -> String {
        text.replace(&self.run, "@run")
    }

    fn time(&self, found: &Captures<'_>) -> String {
        let moved: i128 = found.get(1).map_or(0, |seconds| seconds.as_str().parse().unwrap_or(0));
        let unit = match found.get(2).map(|suffix| suffix.as_str()) {
            Some(":s") => 1_000_000_000,
            Some(":ms") => 1_000_000,
            _ => 1,
        };
        (self.now + moved * 1_000_000_000).div_euclid(unit).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moved_and_scaled() {
        let placeholders = Placeholders::new(1_700_000_000_123_456_789, "rabc".to_owned());
        for (text, filled) in [
            ("@now", "1700000000123456789"),
            ("@now-60", "1699999940123456789"),
            ("@now+3:s", "1700000003"),
            ("@now:ms", "1700000000123"),
            ("a @now:s b @run-@run", "a 1700000000 b rabc-rabc"),
            ("no placeholder", "no placeholder"),
            ("user@host", "user@host"),
        ] {
            assert_eq!(placeholders.fill(text), filled, "{text}");
        }
    }

    #[test]
    fn answers_get_their_run_word_back() {
        let placeholders = Placeholders::fresh().unwrap();
        let filled = placeholders.fill("{conf=\"@run\"}");
        assert!(!filled.contains("@run"));
        assert_eq!(placeholders.restore(&filled), "{conf=\"@run\"}");
    }
}
