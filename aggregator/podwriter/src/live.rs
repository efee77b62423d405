//! Writes on and on with stamps of the clock, as the pods of a small cluster do.
//!
//! A restart continues: the pods of a seed stay the same, their files are appended to, lines are new, and no
//! stamp is older than the newest one on disk, even if the clock went back. Every step leaves whole lines behind;
//! a kill in the middle of one can leave a record torn off (it is ended at the next start) or a line without
//! its last piece. Disk use is bounded by containers x `max_files` x about `rotate_bytes`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::needle::Needles;
use crate::options::LiveOptions;
use crate::timestamp::UnixNanoseconds;
use crate::tree::PodTree;

/// Between two steps of [`Writer::run`].
const STEP: Duration = Duration::from_millis(20);
/// What a step makes up for at most, after the process was suspended.
const LONGEST_STEP_NANOSECONDS: i64 = 1_000_000_000;

#[derive(Debug)]
pub struct Writer {
    tree: PodTree,
    lines_per_second: f64,
    /// When the last step was.
    clock: UnixNanoseconds,
    last_stamp: UnixNanoseconds,
    /// The part of a line that is due already.
    owed: f64,
}

impl Writer {
    /// Opens or creates the tree. `now` is the time from which lines are due; see [`UnixNanoseconds::now`].
    pub fn new(options: &LiveOptions, now: UnixNanoseconds) -> Result<Self, Error> {
        options.validate()?;
        // Another start writes other lines.
        let content_seed = options.tree.seed ^ now.0.unsigned_abs();
        let tree = PodTree::open(&options.tree, content_seed, Needles::none())?;
        let last_stamp = tree.last_stamp_on_disk()?.unwrap_or_default();
        Ok(Self { tree, lines_per_second: options.lines_per_second, clock: now, last_stamp, owed: 0.0 })
    }

    /// Writes the lines that became due since the step before; returns how many.
    pub fn step(&mut self, now: UnixNanoseconds) -> Result<u64, Error> {
        let elapsed = now.0.saturating_sub(self.clock.0).clamp(0, LONGEST_STEP_NANOSECONDS);
        self.clock = now;
        self.owed += elapsed as f64 / 1e9 * self.lines_per_second;
        let lines = self.owed.floor() as u64;
        if lines == 0 {
            return Ok(0);
        }
        self.owed -= lines as f64;
        self.write_lines(lines, UnixNanoseconds(now.0 - elapsed), now)?;
        Ok(lines)
    }

    /// Steps until `stop` is set, then leaves the files settled.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        while !stop.load(Ordering::Relaxed) {
            self.step(UnixNanoseconds::now())?;
            #[allow(clippy::disallowed_methods, reason = "a plain thread waits here, no task")]
            std::thread::sleep(STEP);
        }
        self.tree.settle()
    }

    /// Stamps are spread evenly over the time since the step before, and grow by a nanosecond at least.
    fn write_lines(&mut self, lines: u64, since: UnixNanoseconds, now: UnixNanoseconds) -> Result<(), Error> {
        let first = self.last_stamp.max(since).0;
        let last = now.0.max(first.saturating_add_unsigned(lines));
        let gap = (last - first) / i64::try_from(lines).unwrap_or(i64::MAX);
        let mut begun = 0;
        let mut stamp = first;
        while begun < lines {
            if self.tree.write_record(UnixNanoseconds(stamp + gap))? {
                begun += 1;
                stamp += gap;
            }
        }
        self.last_stamp = UnixNanoseconds(stamp + gap);
        self.tree.finish_lines(self.last_stamp)?;
        self.tree.flush()
    }
}
