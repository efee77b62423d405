//! The agent's own log, on standard error, as logfmt or JSON: of each kind of message at most so many lines a second.
//!
//! It is collected like any other log, so a message for each failed push would be pushed again, and fail again. What is left out is counted in the next line
//! of its kind. Values are escaped: what pods write cannot forge lines.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Lines of one kind in a second.
const MAX_LINES: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// Begins to log. To be called once.
pub fn start(level: &str, format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::new(format!("{level},kube=warn,hyper=warn"));
    let lines = Lines { format, kinds: Mutex::default() };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(lines).init();
}

/// One event, one line.
struct Lines {
    format: LogFormat,
    /// By the place in the program that they come from.
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

/// What was written of a kind in the present second.
#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Kind {
    fn new(now: Instant) -> Self {
        Self { since: now, lines: 0, left_out: 0 }
    }

    /// Whether a line may be written now; if so, how many were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= SECOND {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines >= MAX_LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = Instant::now();
        let admitted = self.kinds.lock().entry(event.metadata().callsite()).or_insert_with(|| Kind::new(now)).admit(now);
        let Some(left_out) = admitted else { return Ok(()) };
        let mut line = Line::of(event, self.format);
        if left_out > 0 {
            line.add("suppressed", &left_out.to_string());
        }
        line.write(&mut writer)
    }
}

/// A line of a program's own log; the aggregator writes its own with it too.
#[derive(Debug)]
pub struct Line {
    text: String,
    format: LogFormat,
}

impl Line {
    /// When, how bad, where, and what an event says.
    pub fn of(event: &Event<'_>, format: LogFormat) -> Self {
        let mut line = Self { text: String::new(), format };
        line.add("ts", &Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        line.add("level", &event.metadata().level().as_str().to_ascii_lowercase());
        line.add("target", event.metadata().target());
        event.record(&mut line);
        line
    }

    /// Writes it with its end.
    pub fn write(self, writer: &mut impl fmt::Write) -> fmt::Result {
        match self.format {
            LogFormat::Logfmt => writeln!(writer, "{}", self.text),
            LogFormat::Json => writeln!(writer, "{{{}}}", self.text),
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let name = if name == "message" { "msg" } else { name };
        let is_first = self.text.is_empty();
        let written = match self.format {
            LogFormat::Logfmt => {
                let is_plain = !value.is_empty()
                    && value.chars().all(|character| character.is_alphanumeric() || "-_./:+,{}[]()*%@".contains(character));
                let separator = if is_first { "" } else { " " };
                if is_plain { write!(self.text, "{separator}{name}={value}") } else { write!(self.text, "{separator}{name}={value:?}") }
            }
            LogFormat::Json => {
                let value = serde_json::to_string(value).expect("a text is JSON");
                write!(self.text, "{}\"{name}\":{value}", if is_first { "" } else { "," })
            }
        };
        written.expect("writing to a string cannot fail");
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_cannot_forge_lines() {
        for (format, expected) in [
            (LogFormat::Logfmt, r#"msg="no answer" path=/a/b.log label="a\nlevel=error""#),
            (LogFormat::Json, r#""msg":"no answer","path":"/a/b.log","label":"a\nlevel=error""#),
        ] {
            let mut line = Line { text: String::new(), format };
            line.add("message", "no answer");
            line.add("path", "/a/b.log");
            line.add("label", "a\nlevel=error");
            assert_eq!(line.text, expected);
        }
    }

    #[test]
    fn users_texts_cannot_forge_lines() {
        let mut logfmt = Line { text: String::new(), format: LogFormat::Logfmt };
        logfmt.add("message", "flush failed");
        logfmt.add("key", "seg/01/2");
        logfmt.add("label", "a\nlevel=error");
        assert_eq!(logfmt.text, r#"msg="flush failed" key=seg/01/2 label="a\nlevel=error""#);
        let mut json = Line { text: String::new(), format: LogFormat::Json };
        json.add("message", "a\"b\n");
        json.add("n", "1");
        assert_eq!(json.text, r#""msg":"a\"b\n","n":"1""#);
    }

    #[test]
    fn beyond_ten_lines_a_second_a_kind_is_silent_and_says_how_long_it_was() {
        let start = Instant::now();
        let mut kind = Kind::new(start);
        let admitted: Vec<_> = (0..35).map(|line| kind.admit(start + Duration::from_millis(10 * line))).collect();
        assert_eq!((admitted.iter().flatten().count(), admitted[9], admitted[10]), (10, Some(0), None));
        assert_eq!(kind.admit(start + SECOND), Some(25));
        assert_eq!(kind.admit(start + SECOND), Some(0));
    }
}
