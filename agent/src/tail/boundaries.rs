//! Where reading could begin anew while stages hold lines back.
//!
//! A place is good if no held or emitted entry has lines on both sides of it: then reading from there repeats everything after it, and nothing
//! before it is needed. Every line with which an entry begins is a candidate; it falls when a line joins an entry that began before it, and it is taken
//! when nothing that began before it is held any more.

use std::collections::VecDeque;
use std::sync::Arc;

use super::state::CleanPoint;
use crate::pipeline::context::{KnownStamp, KnownStamps};
use crate::pipeline::entry::{Origin, Place};
use crate::positions::table::Progress;

/// Candidates kept; the first is the one in use.
const MAX_CANDIDATES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Boundaries {
    candidates: VecDeque<(Place, CleanPoint)>,
}

impl Boundaries {
    /// A stamp became known by an entry that began at `origin`: candidates behind that must know it too.
    pub(super) fn learn(&mut self, origin: Place, stamp: KnownStamp) {
        for (_, point) in self.candidates.iter_mut().filter(|(place, _)| *place > origin) {
            learn(&mut point.progress, stamp);
        }
    }

    /// After the line at `place`, before which the state was `before`: `touched` are entries emitted with it, `held` those held back now.
    /// Returns where reading would begin anew; `None`: behind the line.
    pub(super) fn line(&mut self, place: Place, before: CleanPoint, touched: &[Origin], held: &[Origin]) -> Option<CleanPoint> {
        if held.is_empty() {
            self.candidates.clear();
            return None;
        }
        for origin in touched.iter().chain(held).filter(|origin| origin.last == place && origin.first < place) {
            self.candidates.retain(|(candidate, _)| *candidate <= origin.first || *candidate > place);
        }
        if held.iter().any(|origin| origin.first == place) {
            if self.candidates.len() >= MAX_CANDIDATES {
                self.candidates.remove(1);
            }
            self.candidates.push_back((place, before));
        }
        self.settle(held)
    }

    /// After something was let go without a line.
    pub(super) fn settle(&mut self, held: &[Origin]) -> Option<CleanPoint> {
        let Some(oldest) = held.iter().map(|origin| origin.first).min() else {
            self.candidates.clear();
            return None;
        };
        while self.candidates.get(1).is_some_and(|(next, _)| *next <= oldest) {
            self.candidates.pop_front();
        }
        self.candidates.front().map(|(_, point)| point.clone())
    }
}

/// Adds a stamp to what stages know at a point.
pub(super) fn learn(progress: &mut Progress, stamp: KnownStamp) {
    let mut stages = progress.stages.as_deref().cloned().unwrap_or_default();
    let mut known = KnownStamps(stages.known);
    known.set(stamp);
    stages.known = known.0;
    progress.stages = Some(Arc::new(stages));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::table::FileId;

    fn point(offset: u64) -> CleanPoint {
        CleanPoint { file: FileId(1), progress: Progress { offset, ..Progress::start(None) } }
    }

    fn origin(first: u64, last: u64) -> Origin {
        Origin { first, last }
    }

    fn line(boundaries: &mut Boundaries, place: u64, held: &[(u64, u64)]) -> Option<u64> {
        let held: Vec<Origin> = held.iter().map(|(first, last)| origin(*first, *last)).collect();
        boundaries.line(place, point(place), &[], &held).map(|point| point.progress.offset)
    }

    #[test]
    fn blocks_of_one_stream_move_it_with_every_first_line() {
        let mut boundaries = Boundaries::default();
        assert_eq!(line(&mut boundaries, 0, &[(0, 0)]), Some(0));
        assert_eq!(line(&mut boundaries, 1, &[(0, 1)]), Some(0));
        assert_eq!(line(&mut boundaries, 2, &[(2, 2)]), Some(2));
        assert_eq!(line(&mut boundaries, 3, &[]), None);
    }

    #[test]
    fn a_block_that_goes_on_across_a_candidate_rules_it_out() {
        let mut boundaries = Boundaries::default();
        line(&mut boundaries, 0, &[(0, 0)]);
        line(&mut boundaries, 1, &[(0, 0), (1, 1)]);
        // The block of 0 has a line behind 1: reading from 1 would tear it.
        line(&mut boundaries, 2, &[(0, 2), (1, 1)]);
        assert_eq!(line(&mut boundaries, 3, &[(3, 3), (1, 1)]), Some(0));
        // The block of 1 had no line behind 3, and ends.
        assert_eq!(line(&mut boundaries, 4, &[(3, 3), (4, 4)]), Some(3));
    }
}
