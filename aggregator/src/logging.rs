//! Our own log, on standard error, as logfmt or JSON, with a level that can be changed while running.
//!
//! Lines are written as the agent writes its own: what users send cannot forge them.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tailwater_agent::own_log::{self, Line};
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
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(Lines { format: line_format(format) });
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

fn line_format(format: LogFormat) -> own_log::LogFormat {
    match format {
        LogFormat::Logfmt => own_log::LogFormat::Logfmt,
        LogFormat::Json => own_log::LogFormat::Json,
    }
}

/// One event, one line.
struct Lines {
    format: own_log::LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        Line::of(event, self.format).write(&mut writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
