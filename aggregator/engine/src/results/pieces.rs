//! How a grid of steps is divided into pieces, and what has to be computed of it.
//!
//! Pieces are aligned to the clock, so that queries over windows that overlap have pieces in common whenever their steps fall together. The
//! first and the last stretch of a query mostly hold some steps of a piece only: they are ragged, and never kept.

use std::ops::Range;

use crate::operators::grid::StepGrid;

/// Lengths of pieces in nanoseconds.
const LENGTHS: [i64; 8] =
    [MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE, 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE, 28 * 24 * 60 * MINUTE];
const MINUTE: i64 = 60_000_000_000;

/// Steps that a piece has at least, or keeping it is not worth it.
const FEWEST_STEPS: i64 = 32;

/// Pieces of a query at most.
const MOST_PIECES: usize = 4096;

/// Neighbouring steps of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The first step.
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// It holds all steps of a piece.
    pub(crate) is_piece: bool,
}

/// The stretches of a grid, ascending and without gaps.
#[derive(Debug)]
pub(crate) struct Division {
    grid: StepGrid,
    stretches: Vec<Stretch>,
}

impl Division {
    /// `None` if there are no pieces in it.
    pub(crate) fn new(grid: StepGrid) -> Option<Self> {
        let length = *LENGTHS.iter().find(|length| grid.step.checked_mul(FEWEST_STEPS).is_some_and(|least| **length >= least))?;
        let last = grid.start.checked_add(grid.step.checked_mul(i64::from(grid.count))?)?;
        if grid.count < 2 || (i128::from(last) - i128::from(grid.start)) / i128::from(length) > MOST_PIECES as i128 {
            return None;
        }
        let mut stretches = Vec::new();
        let mut first = 0;
        while first < grid.count {
            let time = grid.time(first);
            let start = time.checked_sub(time.rem_euclid(length))?;
            let end = start.checked_add(length)?;
            let steps_to_end = (i128::from(end) - i128::from(time) + i128::from(grid.step) - 1) / i128::from(grid.step);
            let count = u32::try_from(steps_to_end).ok()?.min(grid.count - first);
            let is_piece = time.checked_sub(grid.step)? < start && grid.time(first + count - 1).checked_add(grid.step)? >= end;
            stretches.push(Stretch { first, count, is_piece });
            first += count;
        }
        stretches.iter().any(|stretch| stretch.is_piece).then_some(Self { grid, stretches })
    }

    pub(crate) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// The steps of some stretches.
    pub(crate) fn grid_of(&self, stretches: &[Stretch]) -> StepGrid {
        let first = stretches.first().map_or(0, |stretch| stretch.first);
        let count = stretches.iter().map(|stretch| stretch.count).sum();
        StepGrid { start: self.grid.time(first), step: self.grid.step, count }
    }

    /// The stretches that have to be computed, in runs. A run reads what is in its windows, which reach back by `window` from its first step: known
    /// stretches between two runs that are not longer than that are computed again, as leaving them out would read no less.
    pub(crate) fn runs(&self, is_known: &[bool], window: i64) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for place in (0..self.stretches.len()).filter(|place| !is_known[*place]) {
            match runs.last_mut() {
                Some(run) if self.length(run.end..place) <= i128::from(window) => run.end = place + 1,
                _ => runs.push(place..place + 1),
            }
        }
        runs
    }

    /// Nanoseconds of some stretches.
    fn length(&self, places: Range<usize>) -> i128 {
        self.stretches[places].iter().map(|stretch| i128::from(stretch.count) * i128::from(self.grid.step)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn pieces(start: i64, end: i64, step: i64) -> Vec<(u32, u32, bool)> {
        let division = Division::new(StepGrid::new(start, end, step));
        let stretches = division.map_or(Vec::new(), |division| division.stretches);
        stretches.into_iter().map(|stretch| (stretch.first, stretch.count, stretch.is_piece)).collect()
    }

    #[test]
    fn whole_pieces_lie_between_ragged_ends() {
        // Steps of 15 s: pieces of 15 minutes, 60 steps each.
        assert_eq!(
            pieces(0, 3600 * SECOND, 15 * SECOND),
            [(0, 60, true), (60, 60, true), (120, 60, true), (180, 60, true), (240, 1, false)]
        );
        assert_eq!(pieces(600 * SECOND, 2400 * SECOND, 15 * SECOND), [(0, 20, false), (20, 60, true), (80, 41, false)]);
        assert_eq!(pieces(-900 * SECOND, -15 * SECOND, 15 * SECOND), [(0, 60, true)]);
        // Steps that do not divide the hour: the grid's own steps within each piece.
        assert_eq!(pieces(0, 900 * SECOND, 7 * SECOND), [(0, 43, true), (43, 43, true), (86, 43, true)]);
    }

    #[test]
    fn without_a_whole_piece_there_is_no_division() {
        assert!(pieces(16 * SECOND, 890 * SECOND, 15 * SECOND).is_empty());
        assert!(pieces(0, 0, SECOND).is_empty() && pieces(i64::MIN, i64::MAX, 40_000_000 * SECOND).is_empty());
        assert!(pieces(i64::MIN, i64::MIN + 3600 * SECOND, SECOND).is_empty(), "pieces before the first time there is");
        assert!(pieces(0, i64::MAX / 2, 1).is_empty(), "too many");
    }

    #[test]
    fn short_gaps_are_computed_again() {
        let division = Division::new(StepGrid::new(600 * SECOND, 3600 * SECOND, 15 * SECOND)).expect("has pieces");
        let runs = |is_known: &[bool], minutes: i64| division.runs(is_known, minutes * 60 * SECOND);
        assert_eq!(runs(&[false; 5], 5), vec![0..5; 1]);
        assert_eq!(runs(&[false, true, true, true, false], 5), [0..1, 4..5]);
        assert_eq!(runs(&[false, true, false, false, true], 14), [0..1, 2..4]);
        assert_eq!(runs(&[false, true, false, false, true], 15), vec![0..4; 1]);
        assert_eq!(runs(&[true; 5], 5), Vec::<Range<usize>>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn stretches_hold_every_step_once_and_pieces_are_the_same_for_all_queries(
            start in -10_000i64..10_000, length in 1i64..20_000, step in 1i64..60, moved in 0i64..200,
        ) {
            let of = |start: i64| Division::new(StepGrid::new(start * SECOND, (start + length) * SECOND, step * SECOND));
            let times = |division: &Division| -> Vec<Vec<i64>> {
                let pieces = division.stretches.iter().filter(|stretch| stretch.is_piece);
                pieces.map(|piece| (piece.first..piece.first + piece.count).map(|step| division.grid.time(step)).collect()).collect()
            };
            let Some(division) = of(start) else { return Ok(()) };
            let mut next = 0;
            for stretch in division.stretches() {
                prop_assert_eq!(stretch.first, next);
                prop_assert!(stretch.count > 0);
                next += stretch.count;
            }
            prop_assert_eq!(next, division.grid.count);
            if let Some(other) = of(start + moved * step) {
                for piece in times(&other) {
                    let same = times(&division).into_iter().find(|known| known.iter().any(|time| piece.contains(time)));
                    prop_assert!(same.is_none_or(|known| known == piece));
                }
            }
        }
    }
}
