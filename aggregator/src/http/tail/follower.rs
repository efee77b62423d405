//! From stored entries to shown ones: the query's pipeline, each entry once, in order of time after the delay.
//!
//! Pure but for the times it is handed. An entry that history has shown already is known by all that was shown of it; one that is
//! stored again (a push that was repeated) by its identity, among the last [`REMEMBERED`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tailwater_logql::labels::{CategorizedLabels, LabelSet};
use tailwater_logql::pipeline::Pipeline;
use tailwater_storage::entry::StreamId;
use tokio::time::Instant;

use crate::ingest::subscription::{Arrivals, DroppedEntry, MAX_QUEUED_BYTES, MAX_TOLD, StreamArrival};

/// Identities that are remembered of entries sent.
const REMEMBERED: usize = 16_384;
/// What a shown entry takes besides its line.
const ENTRY_OVERHEAD: usize = 512;

/// An entry as a client is shown it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ShownEntry {
    pub(super) timestamp: i64,
    pub(super) line: Vec<u8>,
    pub(super) labels: CategorizedLabels,
}

impl ShownEntry {
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// An entry that waits until its delay is over.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    entry: ShownEntry,
}

/// Runs the pipeline over what arrives and holds the outcome until it is due.
#[derive(Debug)]
pub(super) struct Follower {
    pipeline: Arc<Pipeline>,
    delay: Duration,
    /// Entries that history has shown: how often each.
    shown: HashMap<u64, u32>,
    identities: HashSet<(StreamId, i64, u64)>,
    oldest_identities: VecDeque<(StreamId, i64, u64)>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    dropped: VecDeque<DroppedEntry>,
}

impl Follower {
    pub(super) fn new(pipeline: Pipeline, delay: Duration) -> Self {
        Self {
            pipeline: Arc::new(pipeline),
            delay,
            shown: HashMap::new(),
            identities: HashSet::new(),
            oldest_identities: VecDeque::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            dropped: VecDeque::new(),
        }
    }

    /// Notes an entry of history, which is not to be sent again.
    pub(super) fn note_shown(&mut self, entry: &ShownEntry) {
        *self.shown.entry(entry.key()).or_insert(0) += 1;
    }

    /// Takes what arrived by `now`.
    pub(super) fn take(&mut self, arrivals: Arrivals, now: Instant) {
        for arrival in &arrivals.streams {
            self.take_stream(arrival, now);
        }
        self.dropped.extend(arrivals.dropped);
        self.forget_excess();
    }

    fn take_stream(&mut self, arrival: &StreamArrival, now: Instant) {
        let labels = LabelSet::from_pairs(arrival.labels.iter());
        let pipeline = Arc::clone(&self.pipeline);
        let mut stages = pipeline.for_stream(&labels);
        for stored in &arrival.entries {
            let metadata: Vec<(&str, &str)> = stored.metadata.iter().collect();
            let Some(processed) = stages.process(stored.timestamp, &stored.line, &metadata) else { continue };
            if !self.remember((arrival.stream, stored.timestamp, stored.hash)) {
                continue;
            }
            let split = processed.categorized();
            let labels = CategorizedLabels {
                stream: split.stream.without_empty(),
                structured_metadata: split.structured_metadata.without_empty(),
                parsed: split.parsed,
            };
            let entry = ShownEntry { timestamp: stored.timestamp, line: processed.line().to_vec(), labels };
            if self.was_shown(&entry) {
                continue;
            }
            let bytes = entry.line.len() + ENTRY_OVERHEAD;
            if self.waiting_bytes + bytes > MAX_QUEUED_BYTES {
                self.dropped.push_back(DroppedEntry { labels: arrival.labels.clone(), timestamp: entry.timestamp });
                self.forget_excess();
                continue;
            }
            self.waiting_bytes += bytes;
            self.waiting.push(Waiting { due: now + self.delay, entry });
        }
    }

    /// `false` if the entry is known.
    fn remember(&mut self, identity: (StreamId, i64, u64)) -> bool {
        if !self.identities.insert(identity) {
            return false;
        }
        self.oldest_identities.push_back(identity);
        if self.oldest_identities.len() > REMEMBERED
            && let Some(oldest) = self.oldest_identities.pop_front()
        {
            self.identities.remove(&oldest);
        }
        true
    }

    fn was_shown(&mut self, entry: &ShownEntry) -> bool {
        if self.shown.is_empty() {
            return false;
        }
        match self.shown.get_mut(&entry.key()) {
            Some(times) if *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn forget_excess(&mut self) {
        let excess = self.dropped.len().saturating_sub(MAX_TOLD);
        self.dropped.drain(..excess);
    }

    /// When the next entry is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    /// Entries to be sent at `now`, oldest first: those that are due, and what is older than they and waits still.
    pub(super) fn due_entries(&mut self, now: Instant) -> Vec<ShownEntry> {
        let newest_due = self.waiting.iter().filter(|waiting| waiting.due <= now).map(|waiting| waiting.entry.timestamp).max();
        let Some(newest_due) = newest_due else { return Vec::new() };
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.entry.timestamp <= newest_due);
        self.waiting = waiting;
        self.waiting_bytes = self.waiting.iter().map(|waiting| waiting.entry.line.len() + ENTRY_OVERHEAD).sum();
        let mut entries: Vec<ShownEntry> = due.into_iter().map(|waiting| waiting.entry).collect();
        entries.sort_by_key(|entry| entry.timestamp);
        entries
    }

    /// Entries that will not be sent and have not been told.
    pub(super) fn take_dropped(&mut self) -> VecDeque<DroppedEntry> {
        std::mem::take(&mut self.dropped)
    }

    /// Notes entries that could not be sent after all.
    pub(super) fn give_up(&mut self, entries: impl IntoIterator<Item = DroppedEntry>) {
        self.dropped.extend(entries);
        self.forget_excess();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::subscription::StoredEntry;
    use tailwater_logql::ast::Expr;
    use tailwater_logql::needed::NeededLabels;
    use tailwater_logql::pipeline::PipelineOptions;
    use tailwater_storage::pairs::Pairs;

    fn follower(query: &str, delay: u64) -> Follower {
        let Ok(Expr::Log(log)) = tailwater_logql::parse(query) else { panic!("{query} is no log query") };
        let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::All, &PipelineOptions { strict_loki: false });
        Follower::new(pipeline.expect("compiles"), Duration::from_secs(delay))
    }

    fn arrivals(entries: &[(i64, &str)]) -> Arrivals {
        let stored = |&(timestamp, line): &(i64, &str)| {
            let hash = line.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
            StoredEntry { timestamp, line: line.as_bytes().into(), metadata: Pairs::from_pairs([("m", "1")]), hash }
        };
        let arrival =
            StreamArrival { stream: StreamId(1), labels: Pairs::from_pairs([("app", "a")]), entries: entries.iter().map(stored).collect() };
        let mut arrivals = Arrivals::default();
        arrivals.streams.push_back(Arc::new(arrival));
        arrivals
    }

    fn sent(follower: &mut Follower, now: Instant) -> Vec<(i64, String)> {
        let entries = follower.due_entries(now);
        entries.into_iter().map(|entry| (entry.timestamp, String::from_utf8_lossy(&entry.line).into_owned())).collect()
    }

    fn expected(entries: &[(i64, &str)]) -> Vec<(i64, String)> {
        entries.iter().map(|(timestamp, line)| (*timestamp, (*line).to_owned())).collect()
    }

    #[test]
    fn entries_wait_for_the_delay_and_come_in_order_of_time() {
        let mut follower = follower(r#"{app="a"} != "skip""#, 2);
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        follower.take(arrivals(&[(30, "c"), (10, "a"), (11, "skip")]), at(0));
        assert_eq!((follower.due(), sent(&mut follower, at(1))), (Some(at(2)), Vec::new()));
        follower.take(arrivals(&[(20, "b"), (40, "d")]), at(1));
        assert_eq!(sent(&mut follower, at(2)), expected(&[(10, "a"), (20, "b"), (30, "c")]));
        assert_eq!(sent(&mut follower, at(3)), expected(&[(40, "d")]));
        assert_eq!(follower.due(), None);
    }

    #[test]
    fn what_was_shown_or_comes_again_is_left_out() {
        let mut follower = follower(r#"{app="a"} | line_format "<{{__line__}}>""#, 0);
        let now = Instant::now();
        let labels = CategorizedLabels {
            stream: LabelSet::from_pairs([("app", "a")]),
            structured_metadata: LabelSet::from_pairs([("m", "1")]),
            parsed: LabelSet::default(),
        };
        follower.note_shown(&ShownEntry { timestamp: 1, line: b"<x>".to_vec(), labels });
        follower.take(arrivals(&[(1, "x"), (2, "x"), (3, "y")]), now);
        follower.take(arrivals(&[(2, "x"), (3, "z")]), now);
        assert_eq!(sent(&mut follower, now), expected(&[(2, "<x>"), (3, "<y>"), (3, "<z>")]));
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_told() {
        let mut follower = follower(r#"{app="a"}"#, 5);
        let now = Instant::now();
        let line = "x".repeat(MAX_QUEUED_BYTES / 2);
        for timestamp in 0..4 {
            follower.take(arrivals(&[(timestamp, &line)]), now);
        }
        let dropped: Vec<i64> = follower.take_dropped().into_iter().map(|entry| entry.timestamp).collect();
        assert_eq!(dropped, [1, 2, 3]);
        assert!(follower.take_dropped().is_empty());
        assert_eq!(follower.due_entries(now + Duration::from_secs(5)).len(), 1);
    }

    #[test]
    fn memory_of_what_was_sent_is_bounded() {
        let mut follower = follower(r#"{app="a"}"#, 0);
        let now = Instant::now();
        for timestamp in 0..2 * REMEMBERED as i64 {
            follower.take(arrivals(&[(timestamp, "x")]), now);
            follower.due_entries(now);
        }
        assert_eq!((follower.identities.len(), follower.oldest_identities.len()), (REMEMBERED, REMEMBERED));
    }
}
