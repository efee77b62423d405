//! Whether the clock may be believed: a wrong one must not make retention drop what is young.
//!
//! A clock that jumps is noticed by the steady one beside it; one that was wrong from the start, by the last thing that is known to have been
//! stored. Then nothing is dropped or rewritten for its age for a day, in which a person sees the warning. Queries go by the clock
//! all the same: what they hide is there again once the clock is right.

/// Nanoseconds.
const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

#[derive(Debug, Default)]
pub(super) struct ClockGuard {
    /// Wall and steady time that belong together.
    reference: Option<(i64, i64)>,
    /// Steady time.
    held_until: Option<i64>,
}

impl ClockGuard {
    /// Whether the clock may be believed now. `steady`: time (ns) that never jumps; `last_stored`: when (by some clock) the last known thing was
    /// stored.
    pub(super) fn trusts(&mut self, wall: i64, steady: i64, last_stored: Option<i64>) -> bool {
        let is_odd = match self.reference {
            None => last_stored.is_some_and(|last| wall.saturating_sub(last) > DAY || last.saturating_sub(wall) > HOUR),
            Some((then, steady_then)) => {
                let drift = i128::from(wall) - i128::from(then) - (i128::from(steady) - i128::from(steady_then));
                drift.unsigned_abs() > HOUR.unsigned_abs().into()
            }
        };
        let is_stale = self.reference.is_none_or(|(_, then)| steady.saturating_sub(then) > DAY);
        if is_odd || is_stale {
            self.reference = Some((wall, steady));
        }
        if is_odd {
            self.held_until = Some(steady.saturating_add(DAY));
        }
        if self.held_until.is_some_and(|until| steady >= until) {
            self.held_until = None;
        }
        self.held_until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_768_903_200_000_000_000;

    #[test]
    fn a_jump_holds_retention_for_a_day() {
        for jump in [2 * HOUR, 10 * 365 * DAY, -2 * HOUR, -10 * 365 * DAY] {
            let mut guard = ClockGuard::default();
            assert!(guard.trusts(START, 5, Some(START)) && guard.trusts(START + HOUR, HOUR, None));
            assert!(!guard.trusts(START + HOUR + jump, HOUR + 1, None), "{jump}");
            assert!(!guard.trusts(START + jump + 24 * HOUR, 24 * HOUR, None));
            assert!(guard.trusts(START + jump + 25 * HOUR, 25 * HOUR + 1, None));
        }
    }

    #[test]
    fn jumps_one_after_the_other_add_up() {
        let mut guard = ClockGuard::default();
        let trusted = (0..10).filter(|step| guard.trusts(START + step * HOUR / 2, *step, None)).count();
        assert_eq!(trusted, 3, "an hour, by halves");
    }

    #[test]
    fn a_clock_that_runs_a_little_wrong_is_believed() {
        let mut guard = ClockGuard::default();
        assert!((0..400).all(|hours| guard.trusts(START + hours * (HOUR + HOUR / 100), hours * HOUR, None)));
    }

    #[test]
    fn a_start_long_after_the_last_thing_stored_is_held() {
        for (last, expected) in [
            (None, true),
            (Some(START), true),
            (Some(START - 23 * HOUR), true),
            (Some(START - 25 * HOUR), false),
            (Some(START + 2 * HOUR), false),
            (Some(i64::MAX), false),
        ] {
            assert_eq!(ClockGuard::default().trusts(START, 0, last), expected, "{last:?}");
        }
    }
}
