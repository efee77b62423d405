//! Our own log, on standard error, as logfmt or JSON, with a level that can be changed while running.
//!
//! Values are quoted and escaped wherever they hold more than plain characters: what users send cannot forge lines.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel};

/// The level of our own log. Cheap to clone.
#[derive(Clone)]
pub struct LogLevelControl {
    level: Arc<Mutex<LogLevel>>,
    apply: Arc<dyn Fn(LogLevel) + Send + Sync>,
}

impl LogLevelControl {
    /// `apply` is called with every new level.
    pub fn new(level: LogLevel, apply: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        Self { level: Arc::new(Mutex::new(level)), apply: Arc::new(apply) }
    }

    pub fn level(&self) -> LogLevel {
        *self.level.lock()
    }

    pub fn set(&self, level: LogLevel) {
        *self.level.lock() = level;
        (self.apply)(level);
    }
}

/// Begins to log. To be called once.
pub fn start(level: LogLevel, format: LogFormat) -> LogLevelControl {
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(Lines { format });
    tracing_subscriber::registry().with(filter).with(lines).init();
    LogLevelControl::new(level, move |level| {
        if let Err(error) = handle.reload(filter_of(level)) {
            tracing::warn!(%error, "the log level could not be changed");
        }
    })
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// One event, one line.
struct Lines {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line { text: String::new(), format: self.format };
        line.add("ts", &Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        line.add("level", &metadata.level().as_str().to_ascii_lowercase());
        line.add("target", metadata.target());
        event.record(&mut line);
        match self.format {
            LogFormat::Logfmt => writeln!(writer, "{}", line.text),
            LogFormat::Json => writeln!(writer, "{{{}}}", line.text),
        }
    }
}

struct Line {
    text: String,
    format: LogFormat,
}

impl Line {
    fn add(&mut self, name: &str, value: &str) {
        let name = if name == "message" { "msg" } else { name };
        let is_first = self.text.is_empty();
        match self.format {
            LogFormat::Logfmt => {
                let is_plain = !value.is_empty() && value.chars().all(|c| c.is_alphanumeric() || "-_./:+,{}[]()*%@".contains(c));
                let separator = if is_first { "" } else { " " };
                let written = if is_plain {
                    write!(self.text, "{separator}{name}={value}")
                } else {
                    write!(self.text, "{separator}{name}={value:?}")
                };
                written.expect("writing to memory cannot fail");
            }
            LogFormat::Json => {
                let value = serde_json::to_string(value).expect("a text is JSON");
                let separator = if is_first { "" } else { "," };
                write!(self.text, "{separator}\"{name}\":{value}").expect("writing to memory cannot fail");
            }
        }
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
    fn a_new_level_is_applied_and_told() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let control = LogLevelControl::new(LogLevel::Info, {
            let seen = Arc::clone(&seen);
            move |level| seen.lock().push(level)
        });
        control.set(LogLevel::Debug);
        assert_eq!((control.level(), seen.lock().as_slice()), (LogLevel::Debug, [LogLevel::Debug].as_slice()));
    }
}
