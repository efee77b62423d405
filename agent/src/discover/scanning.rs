//! What every scanning thread is given: whom it tells, what it counts, how often it looks, when it ends; and what all of them do about files that are gone.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::clock_jumps::ClockJumps;
use crate::metrics::{Metrics, PossibleLoss};
use crate::positions::keeper::SharedPositions;
use crate::positions::table::FileEntry;
use crate::settings::Timing;
use crate::tail::handover::Handover;
use crate::tail::worker::WorkerHandle;

pub(crate) struct Scanning {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) positions: SharedPositions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timing: Timing,
    pub(crate) is_first_scan_done: Arc<AtomicBool>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Open files of before a reload.
    pub(crate) handover: Handover,
    /// Somebody looked before for the same clients, and counted what was missing.
    pub(crate) is_begun_anew: bool,
}

impl Scanning {
    /// Both clocks as they are.
    pub(super) fn clock_jumps(&self) -> ClockJumps {
        ClockJumps::since((self.timing.wall_clock)(), Instant::now())
    }

    /// Whether the machine was suspended, or its clock set, since this was asked last.
    pub(super) fn has_clock_jumped(&self, jumps: &mut ClockJumps) -> bool {
        let has_jumped = jumps.has_jumped((self.timing.wall_clock)(), Instant::now());
        if has_jumped {
            tracing::info!("the clock jumped, as after a suspend; looking for files at once");
        }
        has_jumped
    }
}

/// What became of a file of the checkpoint that no scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Gone,
    /// The configuration does not ask for it any more.
    LeftOut,
    /// It is there under a name that nobody looks for now.
    StillThere,
}

impl Scanning {
    /// Once it is known what there is: files of the checkpoint whose groups are not `seen`. Their entries leave the checkpoint in time; of those that are gone and
    /// were not read to their end lines are missing.
    pub(super) fn count_missing(&self, is_seen: impl Fn(&str) -> bool, fate: impl Fn(&str, &FileEntry) -> Fate) {
        let mut positions = self.positions.lock();
        for container in positions.containers().into_iter().filter(|container| !is_seen(container)) {
            // Places in journals and among events are no files.
            for (file, entry) in positions.files_of(&container).into_iter().filter(|(_, entry)| entry.inode != 0) {
                let fate = fate(&container, &entry);
                if fate == Fate::StillThere {
                    continue;
                }
                positions.vanished(file, Instant::now());
                if fate == Fate::Gone && !entry.progress.is_finished && !self.is_begun_anew {
                    self.metrics.possible_loss(PossibleLoss::RotatedAway);
                    tracing::warn!(
                        container = &*container,
                        file = entry.name,
                        "a log file that was not known as finished is gone; lines may be missing"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::positions::table::tests::file_entry;
    use crate::positions::table::{Mark, PositionsTable};

    #[test]
    fn what_is_gone_leaves_the_checkpoint_and_counts_if_it_was_not_finished() {
        let mut table = PositionsTable::default();
        for name in ["seen", "unfinished", "finished", "left-out", "renamed", "journal"] {
            let mut entry = file_entry(name, 10);
            entry.progress.is_finished = name == "finished";
            entry.inode = if name == "journal" { 0 } else { entry.inode };
            let file = table.new_file();
            table.acknowledge(0, &Mark { file, entry });
        }
        let scanning = Scanning {
            workers: Vec::new(),
            positions: SharedPositions::new(table),
            metrics: Metrics::new(),
            timing: Timing::default(),
            is_first_scan_done: Arc::default(),
            stop: Arc::default(),
            handover: Handover::default(),
            is_begun_anew: false,
        };
        let fate = |container: &str, _: &FileEntry| match container {
            "left-out" => Fate::LeftOut,
            "renamed" => Fate::StillThere,
            _ => Fate::Gone,
        };
        scanning.count_missing(|container| container == "seen", fate);
        assert_eq!(scanning.metrics.possible_losses(), 1);
        let mut positions = scanning.positions.lock();
        positions.forget_vanished(Instant::now() + Duration::from_secs(1));
        assert_eq!(positions.containers().iter().map(|container| &**container).collect::<Vec<_>>(), ["journal", "renamed", "seen"]);
    }
}
