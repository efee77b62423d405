//! Where a long command is, on standard error: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

const EVERY: Duration = Duration::from_secs(5);

/// Shows one piece of work. Gone when dropped.
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    told: Mutex<Instant>,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{prefix} [{bar:30}] {percent}% {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style).with_prefix(what)
        });
        Self { what, bar, told: Mutex::new(Instant::now()) }
    }

    /// `detail` is asked for when it is shown.
    pub(super) fn set(&self, done: u64, total: Option<u64>, detail: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.unwrap_or(0).max(1));
            bar.set_position(done);
            bar.set_message(detail());
            return;
        }
        let mut told = self.told.lock();
        if told.elapsed() < EVERY {
            return;
        }
        *told = Instant::now();
        let percent = total.filter(|total| *total > 0).map_or_else(String::new, |total| format!(" {}%,", done.saturating_mul(100) / total));
        eprintln!("{}:{percent} {}", self.what, detail());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Bytes as people read them.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
