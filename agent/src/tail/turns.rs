//! Whose turn it is: containers that keep up and those that are behind share the bandwidth; of the latter those of which files are next to be deleted
//! come first.
//!
//! Those behind get one turn each in a cycle, however many rounds that takes, so nobody waits for more than one quantum of every other. The kubelet keeps a
//! few rotated files of each container: the more of them wait unread, the nearer is the oldest to being deleted.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::container::Turn;
use super::worker::Running;

/// Where the rounds stand.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Where the next round of those that keep up begins, after a batch was full in the middle of one.
    next: usize,
    /// Those behind that have not had their turn in this cycle; the next one last.
    cycle: Vec<usize>,
}

impl Turns {
    /// Containers have other numbers now; `None`: they are not read any more.
    pub(super) fn renumber(&mut self, numbers: &[Option<usize>]) {
        self.next = numbers.iter().skip(self.next).find_map(|number| *number).unwrap_or(0);
        self.cycle = self.cycle.iter().filter_map(|index| numbers[*index]).collect();
    }
}

impl Running {
    /// One turn for every container that is due, until no batch can be handed over any more.
    pub(super) fn read_round(&mut self, now: Instant) {
        // What is written now shares the bandwidth with what was written during an outage, or by a container that floods.
        let is_backlog_first = self.share.is_backlog_first();
        for is_behind in [is_backlog_first, !is_backlog_first] {
            let turn = if is_behind { self.read_those_behind(now) } else { self.read_those_that_keep_up(now) };
            if turn == Turn::BatchFull {
                break;
            }
        }
        self.counts.publish(&self.worker.metrics);
        self.publish_cpu();
    }

    /// `BatchFull`: the lane takes no more.
    fn read_those_that_keep_up(&mut self, now: Instant) -> Turn {
        let (first, count) = (self.turns.next, self.containers.len());
        for step in 0..count {
            let index = (first + step) % count;
            let container = &self.containers[index];
            if container.is_behind || container.next_turn > now || self.must_wait_for_others(index) {
                continue;
            }
            if self.turn_and_hand_over(index, now) == Turn::BatchFull {
                self.turns.next = index + 1;
                return Turn::BatchFull;
            }
        }
        Turn::Progress
    }

    /// The rest of their cycle, or a new one. `BatchFull`: the lane takes no more.
    fn read_those_behind(&mut self, now: Instant) -> Turn {
        if self.turns.cycle.is_empty() {
            let behind = self.containers.iter().enumerate().filter(|(_, container)| container.is_behind);
            self.turns.cycle = most_pressed_last(behind.map(|(index, container)| (index, container.files.len())));
        }
        while let Some(index) = self.turns.cycle.pop() {
            let is_due = self.containers.get(index).is_some_and(|container| container.is_behind && container.next_turn <= now);
            if is_due && !self.must_wait_for_others(index) && self.turn_and_hand_over(index, now) == Turn::BatchFull {
                return Turn::BatchFull;
            }
        }
        Turn::Progress
    }

    fn turn_and_hand_over(&mut self, index: usize, now: Instant) -> Turn {
        if self.guarded_turn(index, now) == Turn::BatchFull {
            self.close_batch(Instant::now());
            self.worker.outgoing.hand_over();
            if self.worker.outgoing.is_blocked() {
                return Turn::BatchFull;
            }
        }
        Turn::Progress
    }

    /// While long lines take much memory and are being finished, no container begins another: its bytes wait in their file.
    fn must_wait_for_others(&self, index: usize) -> bool {
        self.reading_on > 0
            && !self.containers[index].has_pending_bytes()
            && self.worker.pending_bytes.load(Ordering::Relaxed) > self.worker.max_pending_bytes / 4
    }
}

/// Containers by how many files of each wait, the most last; of equals the first one comes first.
fn most_pressed_last(waiting: impl Iterator<Item = (usize, usize)>) -> Vec<usize> {
    let mut waiting: Vec<(usize, usize)> = waiting.collect();
    waiting.reverse();
    waiting.sort_by_key(|(_, files)| *files);
    waiting.into_iter().map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_which_the_most_files_wait_come_first() {
        let mut cycle = most_pressed_last([(0, 1), (2, 4), (3, 2), (5, 4), (6, 1)].into_iter());
        let order: Vec<usize> = std::iter::from_fn(|| cycle.pop()).collect();
        assert_eq!(order, [2, 5, 3, 0, 6]);
    }

    #[test]
    fn whose_turn_it_is_does_not_change_when_others_are_taken_out() {
        let numbers = [Some(0), None, None, Some(1), Some(2)];
        for (next, expected) in [(0, 0), (1, 1), (3, 1), (4, 2), (5, 0)] {
            let mut turns = Turns { next, cycle: vec![4, 2, 0] };
            turns.renumber(&numbers);
            assert_eq!((turns.next, turns.cycle.as_slice()), (expected, &[2, 0][..]), "from {next}");
        }
    }
}
