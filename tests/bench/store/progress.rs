//! Says on standard error how far a long step is.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// One step. On a terminal its line is written over, elsewhere a line now and then is enough.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    started: Instant,
    told: Instant,
    pause: Duration,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn start(name: &str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let pause = if is_terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        let progress = Self { name: name.to_owned(), started: Instant::now(), told: Instant::now(), pause, is_terminal };
        progress.tell("");
        progress
    }

    /// Tells `state`, unless something was told a moment ago.
    pub(crate) fn at(&mut self, state: impl FnOnce() -> String) {
        if self.told.elapsed() >= self.pause {
            self.told = Instant::now();
            self.tell(&state());
        }
    }

    /// As [`Self::at`], of a part of a known whole.
    pub(crate) fn part(&mut self, done: u64, whole: u64) {
        self.at(|| format!("{} %", done * 100 / whole.max(1)));
    }

    pub(crate) fn done(self) {
        self.tell(&format!("done in {:.1} s", self.started.elapsed().as_secs_f64()));
        if self.is_terminal {
            eprintln!();
        }
    }

    fn tell(&self, state: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{}: {state}", self.name);
            // Nothing is lost if the terminal is gone.
            drop(std::io::stderr().flush());
        } else {
            eprintln!("{}: {state}", self.name);
        }
    }
}
