//! What may be deleted by now: decisions only, on what was read and listed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::state::{ManifestState, RetireReason, Retired, TombstoneId};

const HOUR: Duration = Duration::from_secs(3600);

/// The shortest time that replaced objects stay, unless a shorter one is configured.
const LEAST: Duration = Duration::from_secs(300);

/// How long the objects of retired files stay, so that no pinned reader misses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetireDelays {
    /// Of compaction's inputs, and of segments after their fold: twice the longest query timeout, 5 minutes at least.
    pub compacted: Duration,
    /// Of files that retention or a delete request dropped.
    pub dropped: Duration,
}

impl RetireDelays {
    pub fn for_query_timeout(longest: Duration) -> Self {
        Self { compacted: (longest * 2).max(LEAST), dropped: HOUR * 24 }
    }

    /// The same where queries may take as long as `longest`. What is below the least of all was chosen so, and stays.
    #[must_use]
    pub fn held_to_query_timeout(self, longest: Duration) -> Self {
        if self.compacted < LEAST { self } else { Self { compacted: self.compacted.max(longest * 2), ..self } }
    }

    fn of(&self, reason: RetireReason) -> Duration {
        match reason {
            RetireReason::Compacted => self.compacted,
            RetireReason::Retention | RetireReason::Deleted => self.dropped,
            // No version ever named it, so no reader pinned it.
            RetireReason::Orphan => Duration::ZERO,
        }
    }
}

/// Whether `delay` has gone by since `since`. A clock that went back says no.
pub(crate) fn is_past(since: i64, delay: Duration, now: i64) -> bool {
    i128::from(now) - i128::from(since) >= i128::try_from(delay.as_nanos()).unwrap_or(i128::MAX)
}

/// Retired files whose objects may be deleted.
pub fn retired_due(state: &ManifestState, now: i64, delays: &RetireDelays) -> Vec<Retired> {
    state.retired().filter(|retired| is_past(retired.retired_at, delays.of(retired.reason), now)).copied().collect()
}

/// A version's object, as listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedVersion {
    pub version: u64,
    pub size: u64,
    /// When it was stored (ns, the store's clock).
    pub modified: i64,
}

/// The lowest version (of `listed`, ascending) that stays: the first younger than `keep`, the newest at the latest.
pub fn first_kept(listed: &[ListedVersion], now: i64, keep: Duration) -> Option<u64> {
    let newest = listed.last()?;
    Some(listed.iter().find(|listed| !is_past(listed.modified, keep, now)).unwrap_or(newest).version)
}

/// Versions to delete, in this order, when the lowest that stays builds on `base_of_kept` (itself, if it is a full snapshot). Bases ascend
/// with versions, so no other one that stays builds on less; and what lies between a base and the lowest that stays must wait, or
/// numbers would not go in ascending order.
pub fn versions_due(listed: &[ListedVersion], base_of_kept: u64) -> Vec<ListedVersion> {
    listed.iter().take_while(|listed| listed.version < base_of_kept).copied().collect()
}

/// Writers whose watermark is of no use any more, with it: nothing was folded for `idle`, and no segment lies at or below it that
/// would be visible again. `lowest`: the lowest number in the store of each writer that has a segment there.
pub fn writers_due(state: &ManifestState, lowest: &BTreeMap<String, u64>, now: i64, idle: Duration) -> Vec<(String, u64)> {
    let is_due = |writer: &str, sequence: u64| lowest.get(writer).is_none_or(|lowest| *lowest > sequence);
    let idle = state.watermarks().iter().filter(|(_, watermark)| is_past(watermark.committed_at, idle, now));
    idle.filter(|(writer, watermark)| is_due(writer, watermark.sequence))
        .map(|(writer, watermark)| (writer.clone(), watermark.sequence))
        .collect()
}

/// Processed delete requests that need not filter any more: a line they name, sent again, would be refused for its age.
/// `oldest_accepted`: how old lines may be (`reject_old_samples_max_age`); `None`: any age, so requests stay for ever.
pub fn tombstones_due(state: &ManifestState, now: i64, oldest_accepted: Option<Duration>) -> Vec<TombstoneId> {
    let Some(oldest) = oldest_accepted else { return Vec::new() };
    let delay = oldest.saturating_add(HOUR * 24);
    // Also a day after it was processed: what was in flight then has landed.
    let is_due = |processed: i64, end: i64| is_past(end, delay, now) && is_past(processed, HOUR * 24, now);
    let due = state.tombstones().filter(|tombstone| tombstone.processed_at.is_some_and(|at| is_due(at, tombstone.end)));
    due.map(|tombstone| tombstone.id).collect()
}
