//! Who reads first: containers that are behind, or those that are not. After an outage both share the bandwidth.
//!
//! Bytes that one side reads are owed to the other in proportion; whom more is owed reads first. A side that reads nothing gives up its part, and what is
//! owed is bounded, so that neither waits for long behind what the other did before.

/// Which part of the bandwidth those that are behind have, while the others want it as well.
const BACKLOG_SHARE: f64 = 0.5;
/// Bytes; nothing more is owed.
const MAX_OWED: f64 = (4 << 20) as f64;

/// What is owed, in bytes: above 0 to those that are behind.
#[derive(Debug, Default)]
pub(super) struct BandwidthShare(f64);

impl BandwidthShare {
    pub(super) fn is_backlog_first(&self) -> bool {
        self.0 > 0.0
    }

    /// To be told of all that is read.
    pub(super) fn read(&mut self, bytes: u64, is_behind: bool) {
        let bytes = bytes as f64;
        let owed = if is_behind { -bytes * (1.0 - BACKLOG_SHARE) } else { bytes * BACKLOG_SHARE };
        self.0 = (self.0 + owed).clamp(-MAX_OWED, MAX_OWED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds in which a side that wants to reads one MiB, the first one alone.
    fn rounds(count: usize, wants: impl Fn(usize, bool) -> bool) -> [usize; 2] {
        let mut share = BandwidthShare::default();
        let mut read = [0; 2];
        for round in 0..count {
            let first = share.is_backlog_first();
            let Some(side) = [first, !first].into_iter().find(|side| wants(round, *side)) else { continue };
            share.read(1 << 20, side);
            read[usize::from(side)] += 1;
        }
        read
    }

    #[test]
    fn live_data_and_backlog_share_what_there_is() {
        assert_eq!(rounds(100, |_, _| true), [50, 50]);
        assert_eq!(rounds(100, |_, is_behind| is_behind), [0, 100], "alone it has all");
        assert_eq!(rounds(100, |_, is_behind| !is_behind), [100, 0]);
    }

    #[test]
    fn what_was_read_before_an_outage_does_not_shut_anybody_out() {
        let [live, behind] = rounds(120, |round, is_behind| round >= 100 || !is_behind);
        assert!((100..120).contains(&live) && behind <= 14, "{live} and {behind}");
        let [live, _] = rounds(120, |round, is_behind| round >= 100 || is_behind);
        assert!((10..=14).contains(&live), "{live}");
    }
}
