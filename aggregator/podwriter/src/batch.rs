//! A tree of a given size, the same bytes for the same options.
//!
//! Stamps are simulated: they begin at `start` and advance by `1 / lines_per_second` on average, whatever the
//! real pace is. A line that repeats the one before follows it by a microsecond, so that coarse stamps make it
//! truly equal.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::manifest::Manifest;
use crate::needle::Needles;
use crate::options::BatchOptions;
use crate::random::Random;
use crate::timestamp::UnixNanoseconds;
use crate::tree::PodTree;

/// Sleeps shorter than this are saved up.
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

/// Writes the tree; returns when all of it is written. The folder must be empty or missing.
///
/// Files are handed to the operating system, not synced: the tree survives the process, not the machine.
pub fn generate(options: &BatchOptions) -> Result<Manifest, Error> {
    options.validate()?;
    require_empty(&options.tree.directory)?;
    let seed = options.tree.seed;
    let needles = if options.needles { Needles::planned(seed, options.total_bytes) } else { Needles::none() };
    let mut tree = PodTree::open(&options.tree, seed, needles)?;
    let mut clock = SimulatedClock::new(options);
    let mut pace = options.pace.map(Pace::start);
    while tree.file_bytes() < options.total_bytes {
        let stamp = clock.advance(tree.repeats_next());
        let begins_line = tree.write_record(stamp)?;
        if let Some(pace) = &mut pace
            && begins_line
            && let Some(ahead) = pace.line_written()
        {
            tree.flush()?;
            sleep(ahead);
        }
    }
    tree.finish_lines(clock.stamp())?;
    tree.settle()?;
    Ok(tree.manifest())
}

fn require_empty(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::io("create the folder", directory))?;
    let mut entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    if entries.next().is_some() {
        return Err(Error::NotEmpty { directory: directory.to_owned() });
    }
    Ok(())
}

/// The time that stamps are taken from.
#[derive(Debug)]
struct SimulatedClock {
    now: i64,
    mean_gap: f64,
    granularity: i64,
    random: Random,
}

impl SimulatedClock {
    fn new(options: &BatchOptions) -> Self {
        Self {
            now: options.start.0,
            mean_gap: 1e9 / options.lines_per_second,
            granularity: i64::try_from(options.stamp_granularity).unwrap_or(i64::MAX),
            random: Random::new(options.tree.seed ^ 0x0063_6c6f_636b),
        }
    }

    #[inline]
    fn advance(&mut self, stays_close: bool) -> UnixNanoseconds {
        let gap = if stays_close { 1_000 } else { (self.random.fraction() * 2.0 * self.mean_gap) as i64 };
        self.now = self.now.saturating_add(gap.max(1));
        self.stamp()
    }

    #[inline]
    fn stamp(&self) -> UnixNanoseconds {
        UnixNanoseconds(self.now - self.now % self.granularity)
    }
}

/// Keeps the writing down to a number of lines a second.
#[derive(Debug)]
struct Pace {
    lines_per_second: f64,
    lines: u64,
    started: Instant,
}

impl Pace {
    #[allow(clippy::disallowed_methods, reason = "the pace is one of real time")]
    fn start(lines_per_second: f64) -> Self {
        Self { lines_per_second, lines: 0, started: Instant::now() }
    }

    /// Counts a line; returns by how much the writing is ahead, once that is worth a sleep.
    fn line_written(&mut self) -> Option<Duration> {
        self.lines += 1;
        let due = Duration::from_secs_f64(self.lines as f64 / self.lines_per_second);
        due.checked_sub(self.started.elapsed()).filter(|ahead| *ahead >= SHORTEST_SLEEP)
    }
}

#[allow(clippy::disallowed_methods, reason = "a plain thread waits here, no task")]
fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TreeOptions;

    #[test]
    fn stamps_never_go_back_and_keep_their_granularity() {
        let options = BatchOptions { stamp_granularity: 1_000_000, ..BatchOptions::new(TreeOptions::new("x", 1), 1) };
        let mut clock = SimulatedClock::new(&options);
        let mut last = UnixNanoseconds(0);
        for step in 0..10_000 {
            let stamp = clock.advance(step % 20 == 0);
            assert!(stamp >= last && stamp.0 % 1_000_000 == 0);
            last = stamp;
        }
        let seconds = (last.0 - options.start.0) as f64 / 1e9;
        assert!((1.8..2.2).contains(&seconds), "10,000 lines at 5,000 a second took {seconds} s");
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), "").unwrap();
        let options = BatchOptions::new(TreeOptions::new(folder.path(), 1), 1000);
        assert!(matches!(generate(&options), Err(Error::NotEmpty { .. })));
    }
}
