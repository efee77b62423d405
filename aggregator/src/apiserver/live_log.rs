//! `follow=true` of a pod's log: what the aggregator's tail sends, without what the client has already got.
//!
//! A tail begins with what is stored, so it is opened where the lines that were sent begin that are still remembered, and those are left
//! out. One that ends (the aggregator is restarted, or ends it after an hour) is opened again in the same way: nothing is shown twice, and nothing
//! is missed as long as fewer than [`REMEMBERED`] lines come meanwhile. It goes on until the client goes away or its right is gone.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::apiserver::follow::{self, Following};
use crate::apiserver::forward::Upstream;
use crate::apiserver::pod_log::{Entry, entries_of};

/// Lines that are remembered, and that a tail may begin with.
const REMEMBERED: usize = 1000;
/// How often it is asked whether the right still holds, and how long it is waited before a tail is opened again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Which lines a client has got lately.
#[derive(Debug)]
pub(super) struct Sent {
    /// Stamp and hash, as they were sent.
    order: VecDeque<(i64, u64)>,
    known: HashSet<u64>,
    from: i64,
}

impl Sent {
    /// Nothing yet. `from`: what is older is not wanted.
    pub(super) fn new(from: i64) -> Self {
        Self { order: VecDeque::new(), known: HashSet::new(), from }
    }

    /// Nothing older than this is wanted.
    pub(super) fn begin(&mut self, from: i64) {
        self.from = self.from.max(from);
    }

    /// Where a tail begins: behind all that was sent and is forgotten.
    fn from(&self) -> i64 {
        self.from
    }

    /// Notes that a line is sent.
    pub(super) fn note(&mut self, entry: &Entry) {
        self.is_new(entry);
    }

    /// Notes that a line is sent; false if it was before.
    fn is_new(&mut self, entry: &Entry) -> bool {
        let mut hasher = DefaultHasher::new();
        (entry.stamp, &entry.line, &entry.container).hash(&mut hasher);
        let hash = hasher.finish();
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back((entry.stamp, hash));
        if self.order.len() > REMEMBERED
            && let Some((stamp, oldest)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.begin(stamp.saturating_add(1));
        }
        true
    }
}

/// A log that goes on.
pub(super) struct LiveLog<S> {
    pub(super) upstream: Upstream,
    /// LogQL.
    pub(super) query: String,
    /// The signed rights, for each tail anew.
    pub(super) sign: S,
    /// Whether the client may still read this.
    pub(super) still_holds: StillHolds,
    pub(super) sent: Sent,
    pub(super) following: Option<Following>,
}

/// Asks whether a right still holds.
pub(super) type StillHolds = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

impl<S: Fn() -> HeaderValue + Send + Sync> LiveLog<S> {
    /// The next lines, oldest first; `None` when the right is gone.
    pub(super) async fn next(&mut self) -> Option<Vec<Entry>> {
        loop {
            if !(self.still_holds)().await {
                return None;
            }
            let Some(following) = &mut self.following else {
                self.open().await;
                continue;
            };
            let frame = tokio::select! {
                frame = following.next() => frame,
                () = sleep(INTERVAL) => continue,
            };
            match frame {
                Some(Ok(Message::Text(text))) => {
                    let new = self.new_of(&text);
                    if !new.is_empty() {
                        return Some(new);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    self.following = None;
                    sleep(INTERVAL).await;
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// The lines of a frame that the client has not got.
    fn new_of(&mut self, frame: &str) -> Vec<Entry> {
        let document: Value = serde_json::from_str(frame).unwrap_or_default();
        let mut entries = entries_of(&document["streams"]);
        entries.retain(|entry| self.sent.is_new(entry));
        entries
    }

    async fn open(&mut self) {
        let (start, limit) = (self.sent.from().to_string(), REMEMBERED.to_string());
        let parameters = [("query", self.query.as_str()), ("start", &start), ("limit", &limit)];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let headers = self.upstream.headers(&HeaderMap::new(), (self.sign)());
        match follow::open(&self.upstream.url("/loki/api/v1/tail", Some(&query)), headers).await {
            Ok(following) => self.following = Some(following),
            Err(error) => {
                tracing::warn!(%error, "a pod's log cannot be followed, trying again");
                sleep(INTERVAL).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stamp: i64) -> Entry {
        Entry { stamp, line: format!("line {stamp}"), restart: None, container: "c".to_owned() }
    }

    #[test]
    fn what_was_sent_is_not_sent_again() {
        let mut sent = Sent::new(5);
        assert!(sent.is_new(&entry(7)) && sent.is_new(&entry(8)));
        assert!(!sent.is_new(&entry(7)));
        assert!(sent.is_new(&Entry { container: "other".to_owned(), ..entry(7) }), "of another container");
        assert_eq!(sent.from(), 5, "all of it is remembered");
    }

    #[test]
    fn a_tail_begins_behind_what_is_forgotten() {
        let mut sent = Sent::new(0);
        for stamp in 1..=2500 {
            assert!(sent.is_new(&entry(stamp)));
        }
        assert_eq!((sent.from(), sent.order.len(), sent.known.len()), (1501, REMEMBERED, REMEMBERED));
        assert!((sent.from()..=2500).all(|stamp| !sent.is_new(&entry(stamp))));
    }
}
