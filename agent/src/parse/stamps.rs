//! Stamps of one container instance strictly increase, so that equal lines stay distinct entries.
//!
//! A stamp equal to or earlier than the last one given becomes last + 1 ns. One exception: a stamp more than ten minutes behind is
//! a clock that was set back, and starts anew as it is. The last stamp given is all the state, and part of the checkpoint.

/// Beyond this a step back is a clock that was set, in nanoseconds.
const CLOCK_STEP: i64 = 600 * 1_000_000_000;

/// Gives the stamps of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StampGiver {
    last_given: Option<i64>,
}

impl StampGiver {
    pub(crate) fn after(last_given: Option<i64>) -> Self {
        Self { last_given }
    }

    pub(crate) fn last_given(self) -> Option<i64> {
        self.last_given
    }

    /// The stamp for a record stamped `raw`. `clock_steps` counts the exceptions.
    #[inline]
    pub(crate) fn give(&mut self, raw: i64, clock_steps: &mut u64) -> i64 {
        let given = match self.last_given {
            Some(last) if raw <= last => {
                if last - raw > CLOCK_STEP {
                    *clock_steps += 1;
                    raw
                } else {
                    last + 1
                }
            }
            _ => raw,
        };
        self.last_given = Some(given);
        given
    }

    /// The stamp for a record without a readable one: last + 1 ns, or `first` if there is none before.
    pub(crate) fn give_next(&mut self, first: i64) -> i64 {
        let given = self.last_given.map_or(first, |last| last + 1);
        self.last_given = Some(given);
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn give_all(giver: &mut StampGiver, raw: &[i64]) -> Vec<i64> {
        raw.iter().map(|raw| giver.give(*raw, &mut 0)).collect()
    }

    #[test]
    fn equal_and_earlier_stamps_move_past_the_last_one() {
        assert_eq!(give_all(&mut StampGiver::default(), &[10, 10, 10, 9, 11, 20]), [10, 11, 12, 13, 14, 20]);
    }

    #[test]
    fn a_step_back_of_ten_minutes_is_carried_and_of_more_starts_anew() {
        let mut steps = 0;
        let mut giver = StampGiver::after(Some(CLOCK_STEP));
        assert_eq!(giver.give(0, &mut steps), CLOCK_STEP + 1);
        assert_eq!(giver.give(0, &mut steps), 0);
        assert_eq!(steps, 1);
        assert_eq!(giver.give(0, &mut steps), 1);
    }

    #[test]
    fn a_record_without_stamp_follows_the_last_one() {
        let mut giver = StampGiver::default();
        assert_eq!(giver.give_next(500), 500);
        assert_eq!(giver.give_next(500), 501);
    }

    proptest! {
        #[test]
        fn stamps_increase_but_for_clock_steps(raw in proptest::collection::vec(0i64..2 * CLOCK_STEP, 1..50)) {
            let mut giver = StampGiver::default();
            let mut last = None;
            for raw in raw {
                let mut steps = 0;
                let given = giver.give(raw, &mut steps);
                prop_assert!(steps == 1 || last.is_none_or(|last| given > last));
                prop_assert!(given >= raw);
                last = Some(given);
            }
        }

        #[test]
        fn a_replay_from_any_checkpoint_gives_the_same_stamps(raw in proptest::collection::vec(0i64..3 * CLOCK_STEP, 1..50), cut: prop::sample::Index) {
            let cut = cut.index(raw.len());
            let mut giver = StampGiver::default();
            give_all(&mut giver, &raw[..cut]);
            let checkpoint = giver.last_given();
            prop_assert_eq!(give_all(&mut giver, &raw[cut..]), give_all(&mut StampGiver::after(checkpoint), &raw[cut..]));
        }
    }
}
