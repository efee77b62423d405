//! When a file that could not be opened is tried again: after a second, then after twice as long each time, up to half a minute.

use std::time::{Duration, Instant};

use super::worker::{ERROR_WAIT, ERROR_WAIT_MAX};

/// Files of one container that could not be opened. Boxed: there may be ten thousand containers, and hardly one has any.
#[derive(Debug, Default)]
pub(crate) struct Retries(Option<Box<Unopened>>);

/// Device and inode of each file, how long it waits, and until when.
#[derive(Debug, Default)]
struct Unopened(Vec<((u64, u64), Duration, Instant)>);

impl Retries {
    /// Whether the file is not to be tried yet.
    pub(super) fn must_wait(&self, file: (u64, u64), now: Instant) -> bool {
        let mut files = self.0.iter().flat_map(|unopened| &unopened.0);
        files.any(|(other, _, next)| *other == file && now < *next)
    }

    pub(super) fn has_any(&self) -> bool {
        self.0.is_some()
    }

    /// When the first of them is to be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flat_map(|unopened| &unopened.0).map(|(_, _, next)| *next).min()
    }

    /// It could not be opened. Returns whether that is new.
    pub(super) fn failed(&mut self, file: (u64, u64), now: Instant) -> bool {
        let files = &mut self.0.get_or_insert_default().0;
        if let Some((_, wait, next)) = files.iter_mut().find(|(other, ..)| *other == file) {
            *wait = (*wait * 2).min(ERROR_WAIT_MAX);
            *next = now + *wait;
            return false;
        }
        files.push((file, ERROR_WAIT, now + ERROR_WAIT));
        true
    }

    /// It was opened, or is gone.
    pub(super) fn keep(&mut self, is_left: impl Fn((u64, u64)) -> bool) {
        let Some(unopened) = &mut self.0 else { return };
        unopened.0.retain(|(file, ..)| is_left(*file));
        if unopened.0.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew_after_an_opening() {
        let (file, mut now, mut retries) = ((1, 2), Instant::now(), Retries::default());
        assert!(!retries.must_wait(file, now) && retries.failed(file, now));
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            let wait = Duration::from_secs(wait);
            assert!(retries.must_wait(file, now + wait - Duration::from_millis(1)) && !retries.must_wait(file, now + wait));
            now += wait;
            assert!(!retries.failed(file, now), "it is known");
        }
        assert!(!retries.must_wait((1, 3), now));
        retries.keep(|other| other != file);
        assert!(retries.failed(file, now));
    }
}
