//! The step times of a metric query and which of them an entry counts for.

/// Steps `start + k * step`, `k < count`; the window of a step t is `(t - range - offset, t - offset]`. Nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepGrid {
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) count: u32,
}

/// A range vector's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) range: i64,
    pub(crate) offset: i64,
}

impl StepGrid {
    /// Steps from `start` to `end`, both included where they fall on one. `step` > 0 unless `start == end`.
    pub(crate) fn new(start: i64, end: i64, step: i64) -> Self {
        let step = step.max(1);
        let count = (i128::from(end) - i128::from(start)) / i128::from(step) + 1;
        Self { start, step, count: u32::try_from(count.max(0)).unwrap_or(u32::MAX) }
    }

    pub(crate) fn time(&self, step: u32) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::from(step)))
    }

    /// First and last stamp, both included, that any window holds.
    pub(crate) fn stamps(&self, window: Window) -> (i64, i64) {
        let last = self.time(self.count.saturating_sub(1)).saturating_sub(window.offset);
        let first = self.start.saturating_sub(window.offset).saturating_sub(window.range).saturating_add(1);
        (first, last)
    }

    /// The steps (first and last) whose window holds `stamp`.
    pub(crate) fn steps_of(&self, stamp: i64, window: Window) -> Option<(u32, u32)> {
        let (start, step) = (i128::from(self.start), i128::from(self.step));
        let shifted = i128::from(stamp) + i128::from(window.offset) - start;
        let first = shifted.div_euclid(step) + i128::from(shifted.rem_euclid(step) > 0);
        let last = (shifted + i128::from(window.range) - 1).div_euclid(step);
        #[cfg(feature = "planted-faults")]
        let last =
            if tailwater_planted::Fault::WindowEdge.is_planted() { (shifted + i128::from(window.range)).div_euclid(step) } else { last };
        let (first, last) = (first.max(0), last.min(i128::from(self.count) - 1));
        (first <= last).then_some((first as u32, last as u32))
    }

    /// A stamp up to which all are in the same windows as `stamp`; the last such one where `stamp` is in a window at all.
    pub(crate) fn same_steps_until(&self, stamp: i64, window: Window) -> i64 {
        let (start, step, range) = (i128::from(self.start), i128::from(self.step), i128::from(window.range));
        let shifted = i128::from(stamp) + i128::from(window.offset) - start;
        let first = shifted.div_euclid(step) + i128::from(shifted.rem_euclid(step) > 0);
        let last = (shifted + range - 1).div_euclid(step);
        let final_step = i128::from(self.count) - 1;
        let until = if first > final_step {
            i128::MAX
        } else if last < 0 {
            -range
        } else {
            let leaves_first = first.max(0) * step;
            let joins_next = if last >= final_step { i128::MAX } else { (last + 1) * step - range };
            leaves_first.min(joins_next)
        };
        let until = until.saturating_add(start).saturating_sub(i128::from(window.offset));
        until.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn steps_are_those_whose_window_holds_the_stamp(
            start in -50i64..50, step in 1i64..9, length in 0i64..60, range in 0i64..40, offset in -20i64..20, stamp in -150i64..150,
        ) {
            let grid = StepGrid::new(start, start + length, step);
            let window = Window { range, offset };
            let holds = |k: &u32| {
                let end = grid.time(*k) - offset;
                end - range < stamp && stamp <= end
            };
            let expected: Vec<u32> = (0..grid.count).filter(holds).collect();
            let found: Vec<u32> = grid.steps_of(stamp, window).map_or(vec![], |(first, last)| (first..=last).collect());
            prop_assert_eq!(&found, &expected);
            let (first, last) = grid.stamps(window);
            prop_assert!(found.is_empty() || (first..=last).contains(&stamp));
        }
    }

    proptest! {
        #[test]
        fn neighbours_in_time_share_their_windows(
            start in -50i64..50, step in 1i64..9, length in 0i64..60, range in 0i64..40, offset in -20i64..20, stamp in -150i64..150,
        ) {
            let grid = StepGrid::new(start, start + length, step);
            let window = Window { range, offset };
            let steps = grid.steps_of(stamp, window);
            let until = grid.same_steps_until(stamp, window);
            prop_assert!(until >= stamp);
            for other in stamp..=until.min(200) {
                prop_assert_eq!(grid.steps_of(other, window), steps, "at {}", other);
            }
            if steps.is_some() {
                prop_assert_ne!(grid.steps_of(until + 1, window), steps);
            }
        }
    }

    #[test]
    fn the_window_of_an_instant_is_one_stretch() {
        let (grid, window) = (StepGrid::new(1_000, 1_000, 0), Window { range: 600, offset: 0 });
        assert_eq!((grid.same_steps_until(401, window), grid.same_steps_until(400, window)), (1_000, 400));
        assert_eq!(grid.same_steps_until(1_001, window), i64::MAX);
    }

    #[test]
    fn an_instant_has_one_step() {
        let grid = StepGrid::new(100, 100, 0);
        assert_eq!((grid.count, grid.time(0)), (1, 100));
    }
}
