//! Who follows what is stored: each flush is handed to its subscribers when it becomes visible.
//!
//! Invariant: what becomes visible after [`Subscriptions::subscribe`] returned is in the subscription, so a query that starts then
//! and the subscription together miss nothing; what became visible in between is in both. A subscription holds at most
//! [`MAX_QUEUED_BYTES`]; what comes while it is full is noted as dropped (the newest [`MAX_TOLD`] by name), so that a reader that
//! is slow costs no flush anything.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tailwater_engine::access::{Incarnations, SpanSight};
use tailwater_storage::entry::{StreamId, TenantId};
use tailwater_storage::file::rows::RowGroupRows;
use tailwater_storage::file::schema::NAMESPACE_UID;
use tailwater_storage::pairs::Pairs;
use tailwater_storage::segment::rows::SegmentRows;
use tokio::sync::Notify;

/// Bytes of entries that a subscription may hold, what surrounds their text included.
pub const MAX_QUEUED_BYTES: usize = 8 << 20;

/// Dropped entries that are told by name.
pub const MAX_TOLD: usize = 1000;

/// What an entry takes besides its line and metadata.
const ENTRY_OVERHEAD: usize = 96;

/// An entry as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    pub line: Box<[u8]>,
    pub metadata: Pairs,
    /// Of line and pushed metadata: with stream and stamp the entry's identity.
    pub hash: u64,
}

/// Entries of one stream that became visible together.
#[derive(Debug, PartialEq, Eq)]
pub struct StreamArrival {
    pub stream: StreamId,
    /// As stored.
    pub labels: Pairs,
    pub entries: Vec<StoredEntry>,
}

impl StreamArrival {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.line.len() + entry.metadata.as_bytes().len() + ENTRY_OVERHEAD).sum()
    }
}

/// An entry that a subscriber does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedEntry {
    pub labels: Pairs,
    pub timestamp: i64,
}

/// What came since the last look, in the order of arrival.
#[derive(Debug, Default)]
pub struct Arrivals {
    pub streams: VecDeque<Arc<StreamArrival>>,
    pub dropped: VecDeque<DroppedEntry>,
    bytes: usize,
}

/// Which rows of a stream with these stored labels are followed; `None`: none.
type Selector = Box<dyn Fn(&Pairs) -> Option<Incarnations> + Send + Sync>;

struct Subscriber {
    tenant: TenantId,
    selects: Selector,
    arrivals: Mutex<Arrivals>,
    arrived: Notify,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// All subscriptions of this process.
#[derive(Debug, Default)]
pub struct Subscriptions {
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    subscriber: Arc<Subscriber>,
}

impl Subscriptions {
    /// Follows the streams of a tenant whose stored labels are selected, and of them the rows that may be seen.
    pub fn subscribe(&self, tenant: TenantId, selects: impl Fn(&Pairs) -> Option<Incarnations> + Send + Sync + 'static) -> Subscription {
        let subscriber = Arc::new(Subscriber { tenant, selects: Box::new(selects), arrivals: Mutex::default(), arrived: Notify::new() });
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|other| other.strong_count() > 0);
        subscribers.push(Arc::downgrade(&subscriber));
        Subscription { subscriber }
    }

    /// Makes rows visible by `publish` and hands them to those who follow them. Who subscribes meanwhile waits, and sees them by asking.
    pub(super) fn publish(&self, rows: SegmentRows, publish: impl FnOnce(SegmentRows)) {
        let subscribers = self.subscribers.lock();
        let live: Vec<Arc<Subscriber>> = subscribers.iter().filter_map(Weak::upgrade).collect();
        if !live.is_empty() {
            for subscriber in hand_over(&rows, &live) {
                subscriber.arrived.notify_one();
            }
        }
        publish(rows);
    }
}

/// Fills the queues and answers whose there is something in.
fn hand_over<'s>(rows: &SegmentRows, live: &'s [Arc<Subscriber>]) -> Vec<&'s Arc<Subscriber>> {
    let mut touched = vec![false; live.len()];
    for group in &rows.row_groups {
        for span in group.table.streams.iter() {
            let mut shared: Option<Arc<StreamArrival>> = None;
            for (index, subscriber) in live.iter().enumerate() {
                if subscriber.tenant != group.table.tenant {
                    continue;
                }
                let Some(incarnations) = (subscriber.selects)(&span.labels) else { continue };
                let seen: Vec<usize> = match incarnations.sight(span) {
                    SpanSight::Nothing => continue,
                    SpanSight::All => span.rows.clone().collect(),
                    SpanSight::Some => span.rows.clone().filter(|row| sees(&incarnations, group, *row)).collect(),
                };
                touched[index] = true;
                let mut arrivals = subscriber.arrivals.lock();
                if arrivals.bytes >= MAX_QUEUED_BYTES {
                    let stamps: Vec<i64> = seen.iter().map(|row| group.timestamps[*row]).collect();
                    arrivals.drop_rows(&span.labels, &stamps);
                    continue;
                }
                let arrive = || Arc::new(arrival_of(group, span.id, &span.labels, &seen));
                // Who sees all of it shares one copy.
                let arrival = match seen.len() == span.rows.len() {
                    true => shared.get_or_insert_with(arrive).clone(),
                    false => arrive(),
                };
                arrivals.bytes += arrival.bytes();
                arrivals.streams.push_back(arrival);
            }
        }
    }
    live.iter().zip(touched).filter(|(_, touched)| *touched).map(|(subscriber, _)| subscriber).collect()
}

fn sees(incarnations: &Incarnations, group: &RowGroupRows, row: usize) -> bool {
    incarnations.sees(group.metadata.row(row).get(NAMESPACE_UID).unwrap_or_default(), group.timestamps[row])
}

fn arrival_of(group: &RowGroupRows, stream: StreamId, labels: &Pairs, rows: &[usize]) -> StreamArrival {
    let entries = rows.iter().map(|&row| StoredEntry {
        timestamp: group.timestamps[row],
        line: group.lines.line(row).into(),
        metadata: group.metadata.row(row).clone(),
        hash: group.line_hashes[row],
    });
    StreamArrival { stream, labels: labels.clone(), entries: entries.collect() }
}

impl Arrivals {
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.dropped.is_empty()
    }

    fn drop_rows(&mut self, labels: &Pairs, timestamps: &[i64]) {
        for timestamp in timestamps.iter().rev().take(MAX_TOLD).rev() {
            self.dropped.push_back(DroppedEntry { labels: labels.clone(), timestamp: *timestamp });
        }
        let excess = self.dropped.len().saturating_sub(MAX_TOLD);
        self.dropped.drain(..excess);
    }
}

impl Subscription {
    /// Waits until there is something to take.
    pub async fn arrived(&self) {
        self.subscriber.arrived.notified().await;
    }

    /// What came since the last call.
    pub fn take(&self) -> Arrivals {
        std::mem::take(&mut *self.subscriber.arrivals.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_storage::entry::{Metadata, PushBatch, StreamEntries, StreamLabels};

    fn rows(tenant: &str, app: &str, stamps: &[i64], line: &str) -> SegmentRows {
        let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::from_pairs([("app", app)]), None)));
        let metadata = Metadata { pushed: Pairs::from_pairs([("trace_id", "7")]), derived: Pairs::default() };
        let handle = stream.intern(metadata);
        stamps.iter().for_each(|stamp| stream.push(*stamp, line, handle));
        SegmentRows::from_pushes(&[PushBatch { tenant: TenantId::new(tenant), streams: vec![stream] }])
    }

    fn selects_a(labels: &Pairs) -> Option<Incarnations> {
        (labels.get("app") == Some("a")).then_some(Incarnations::Every)
    }

    #[test]
    fn subscribers_get_what_they_select_of_their_tenant() {
        let hub = Subscriptions::default();
        let subscription = hub.subscribe(TenantId::new("t"), selects_a);
        for (tenant, app) in [("t", "a"), ("t", "b"), ("other", "a")] {
            let mut is_published = false;
            hub.publish(rows(tenant, app, &[1, 2], "x"), |_| is_published = true);
            assert!(is_published);
        }
        let arrivals = subscription.take();
        assert_eq!((arrivals.streams.len(), arrivals.dropped.len()), (1, 0));
        let arrival = &arrivals.streams[0];
        assert_eq!(arrival.labels, Pairs::from_pairs([("app", "a")]));
        assert_eq!(arrival.entries.iter().map(|entry| entry.timestamp).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((&*arrival.entries[0].line, arrival.entries[0].metadata.get("trace_id")), (b"x".as_slice(), Some("7")));
        assert!(subscription.take().is_empty());
    }

    #[test]
    fn lines_of_a_former_namespace_are_not_handed_over() {
        let hub = Subscriptions::default();
        let present = || Some(Incarnations::Present { uid: "new".into(), created: 10 });
        let (seen, all) = (hub.subscribe(TenantId::new("t"), move |_| present()), hub.subscribe(TenantId::new("t"), selects_a));
        let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::from_pairs([("app", "a")]), None)));
        for (uid, stamp) in [(Some("old"), 20), (Some("new"), 5), (None, 10), (None, 11)] {
            let handle =
                stream.intern(Metadata { pushed: Pairs::from_pairs(uid.map(|uid| (NAMESPACE_UID, uid))), derived: Pairs::default() });
            stream.push(stamp, "x", handle);
        }
        hub.publish(SegmentRows::from_pushes(&[PushBatch { tenant: TenantId::new("t"), streams: vec![stream] }]), drop);
        let stamps = |subscription: &Subscription| -> Vec<i64> {
            subscription.take().streams.iter().flat_map(|arrival| arrival.entries.iter().map(|entry| entry.timestamp)).collect()
        };
        assert_eq!(stamps(&seen), [5, 11]);
        assert_eq!(stamps(&all), [5, 10, 11, 20]);
    }

    #[tokio::test]
    async fn what_comes_wakes_the_one_that_waits() {
        let hub = Subscriptions::default();
        let subscription = hub.subscribe(TenantId::new("t"), selects_a);
        hub.publish(rows("t", "a", &[1], "x"), drop);
        subscription.arrived().await;
        assert_eq!(subscription.take().streams.len(), 1);
    }

    #[test]
    fn a_full_subscription_notes_what_it_drops_and_holds_no_more() {
        let hub = Subscriptions::default();
        let subscription = hub.subscribe(TenantId::new("t"), selects_a);
        let line = "x".repeat(MAX_QUEUED_BYTES / 4);
        for stamp in 0..10 {
            hub.publish(rows("t", "a", &[stamp], &line), drop);
        }
        let many: Vec<i64> = (100..100 + 2 * MAX_TOLD as i64).collect();
        hub.publish(rows("t", "a", &many, "y"), drop);
        let arrivals = subscription.take();
        assert_eq!(arrivals.streams.len(), 4);
        assert_eq!(arrivals.dropped.len(), MAX_TOLD);
        assert_eq!(arrivals.dropped.back().map(|dropped| dropped.timestamp), many.last().copied());
        hub.publish(rows("t", "a", &[50], "z"), drop);
        assert_eq!(subscription.take().streams.len(), 1);
    }

    #[test]
    fn ended_subscriptions_are_forgotten() {
        let hub = Subscriptions::default();
        drop(hub.subscribe(TenantId::new("t"), selects_a));
        let _second = hub.subscribe(TenantId::new("t"), selects_a);
        assert_eq!(hub.subscribers.lock().len(), 1);
    }
}
