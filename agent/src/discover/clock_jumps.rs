//! Whether the wall clock went another way than the monotonic one: the machine was suspended, as the latter stands still then, or the clock was set.
//!
//! What happened meanwhile may be told late or never, and waits that were under way begin where they stopped. So files are looked for anew at once.

use std::time::{Duration, Instant, SystemTime};

/// What clocks differ by that are adjusted, and what it takes to ask both, is less.
const JUMP: Duration = Duration::from_secs(1);

/// Both clocks as they were asked last.
#[derive(Debug)]
pub(super) struct ClockJumps {
    wall: SystemTime,
    monotonic: Instant,
}

impl ClockJumps {
    pub(super) fn since(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic }
    }

    /// Whether they went apart since this was asked last. It is to be asked often: clocks that drift apart by little a second do not jump.
    pub(super) fn has_jumped(&mut self, wall: SystemTime, monotonic: Instant) -> bool {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let expected = self.wall + passed;
        (self.wall, self.monotonic) = (wall, monotonic);
        let apart = wall.duration_since(expected).unwrap_or_else(|behind| behind.duration());
        apart >= JUMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspended_machine_and_a_clock_that_is_set_are_jumps_and_drift_is_none() {
        let (wall, start) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000), Instant::now());
        let at = Duration::from_millis;
        let mut jumps = ClockJumps::since(wall, start);
        assert!(!jumps.has_jumped(wall + at(60_000), start + at(60_000)), "both went on");
        for second in 1..100 {
            // Half a second every minute faster, as no adjusted clock is.
            assert!(!jumps.has_jumped(wall + at(60_000 + second * 1008), start + at(60_000 + second * 1000)));
        }
        let (wall, start) = (wall + at(60_000 + 99 * 1008), start + at(60_000 + 99 * 1000));
        assert!(jumps.has_jumped(wall + at(3_600_000), start + at(500)), "suspended for an hour");
        assert!(!jumps.has_jumped(wall + at(3_600_500), start + at(1000)), "told once");
        assert!(jumps.has_jumped(wall + at(500), start + at(1500)), "set back");
    }
}
