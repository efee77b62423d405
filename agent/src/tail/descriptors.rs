//! Which files a reader holds open: within its share of descriptors, deleted ones until they are read, within their limits.
//!
//! When no descriptor is left, quiet files that are read and acknowledged are closed for those that wait. Deleted files are held for so long and up to so
//! many bytes; then the one deleted first is let go.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::hold::Held;
use super::worker::{ERROR_WAIT, Running};
use crate::discover::listing;
use crate::positions::table::ContainerPath;

impl Running {
    pub(super) fn publish_open_files(&mut self, open: usize) {
        let own = usize::try_from(self.own_open_files).unwrap_or(0);
        self.count_open_files(own, open);
    }

    pub(super) fn count_open_files(&mut self, before: usize, now: usize) {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let change = signed(now) - signed(before);
        if change != 0 {
            self.own_open_files += change;
            self.worker.metrics.open_files.inc_by(change);
        }
    }

    /// Lists containers again that wait for descriptors, and closes quiet files for them if none are left.
    pub(super) fn share_descriptors(&mut self, now: Instant) {
        let waiting: Vec<ContainerPath> =
            self.containers.iter().filter(|container| container.needs_listing).map(|container| container.path.clone()).collect();
        if waiting.is_empty() {
            return;
        }
        let room = self.worker.max_open_files.saturating_sub(usize::try_from(self.own_open_files).unwrap_or(0));
        if room < waiting.len() {
            self.close_quiet_files(waiting.len() - room);
        }
        for path in waiting {
            let is_full = usize::try_from(self.own_open_files).unwrap_or(0) >= self.worker.max_open_files;
            let Some(index) = self.by_path.get(&path).filter(|_| !is_full) else { return };
            let container = &mut self.containers[*index];
            let listing = match container.postponed.take() {
                Some(listing) => Ok(*listing),
                None => listing::again(&container.container(), self.worker.docker_root.as_deref()),
            };
            match listing {
                Ok(listing) => self.take_listing(&listing),
                Err(error) => {
                    container.needs_listing = false;
                    container.next_turn = now + ERROR_WAIT;
                    self.worker.metrics.read_errors.inc();
                    tracing::warn!(container = &*path, error = %error, "directory not readable");
                }
            }
        }
    }

    /// Deleted files are held until they are read, within the limits.
    pub(super) fn hold_deleted(&mut self, now: Instant) {
        if self.containers.iter().any(|container| !container.unacknowledged.is_empty()) {
            let positions = self.worker.positions.lock();
            self.containers.iter_mut().for_each(|container| container.close_acknowledged(&positions));
        }
        let mut bytes = 0;
        let mut oldest: Option<(Held, usize)> = None;
        let is_reading = !self.worker.outgoing.is_blocked();
        for (index, container) in self.containers.iter_mut().enumerate() {
            let (held, first) = container.held(now, is_reading && !container.waits_for_tenant);
            bytes += held;
            if let Some(first) = first {
                oldest = Some(oldest.map_or((first, index), |other| other.min((first, index))));
            }
        }
        self.worker.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        let all = self.worker.held_bytes.fetch_sub(self.own_held_bytes, Ordering::AcqRel) - self.own_held_bytes;
        self.own_held_bytes = bytes;
        let Some((first, index)) = oldest else { return };
        let is_too_old = now.saturating_duration_since(first.since) > self.worker.timing.deleted_hold;
        if is_too_old || all > self.worker.max_held_bytes {
            // A copy takes the place of the file it is of.
            let context = self.worker.reconcile_context(now, 1);
            if self.containers[index].let_go(&context) {
                // There may be more.
                self.next_hold = now;
            }
        }
    }
}
