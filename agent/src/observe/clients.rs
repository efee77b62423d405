//! What became of entries and requests, by receiver, under the names that Promtail's users alert on.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

use parking_lot::Mutex;

use crate::metrics::DropReason;

/// Seconds; the bounds Promtail has.
const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

/// A receiver and whose entries it gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, EncodeLabelSet)]
pub(crate) struct ClientLabels {
    pub(crate) host: String,
    pub(crate) tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    host: String,
    tenant: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    status_code: String,
    host: String,
}

#[derive(Debug)]
pub(crate) struct ClientCounts {
    /// To whom lines would have gone that readers drop or cut.
    first: Mutex<ClientLabels>,
    encoded_bytes: Family<Host, Counter>,
    sent_bytes: Family<Host, Counter>,
    sent_entries: Family<Host, Counter>,
    dropped_bytes: Family<ReasonLabels, Counter>,
    dropped_entries: Family<ReasonLabels, Counter>,
    mutated_bytes: Family<ReasonLabels, Counter>,
    mutated_entries: Family<ReasonLabels, Counter>,
    retries: Family<ClientLabels, Counter>,
    request_duration: Family<AnswerLabels, Histogram, fn() -> Histogram>,
}

impl Default for ClientCounts {
    fn default() -> Self {
        Self {
            first: Mutex::default(),
            encoded_bytes: Family::default(),
            sent_bytes: Family::default(),
            sent_entries: Family::default(),
            dropped_bytes: Family::default(),
            dropped_entries: Family::default(),
            mutated_bytes: Family::default(),
            mutated_entries: Family::default(),
            retries: Family::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
        }
    }
}

impl ClientCounts {
    /// A receiver that will be sent to: what alerts watch exists at 0.
    pub(crate) fn expect(&self, client: &ClientLabels) {
        {
            let mut first = self.first.lock();
            if first.host.is_empty() {
                first.clone_from(client);
            }
        }
        for reason in DropReason::ALL.map(DropReason::name) {
            self.drop_in(client, reason, 0, 0);
        }
        let labels = of(client, DropReason::LineTooLong.name());
        drop((self.mutated_bytes.get_or_create(&labels), self.mutated_entries.get_or_create(&labels)));
        drop(self.retries.get_or_create(client));
        for family in [&self.encoded_bytes, &self.sent_bytes, &self.sent_entries] {
            drop(family.get_or_create(&Host { host: client.host.clone() }));
        }
    }

    pub(crate) fn encoded(&self, client: &ClientLabels, bytes: u64) {
        self.encoded_bytes.get_or_create(&Host { host: client.host.clone() }).inc_by(bytes);
    }

    pub(crate) fn sent(&self, client: &ClientLabels, bytes: u64, entries: u64) {
        let host = Host { host: client.host.clone() };
        self.sent_bytes.get_or_create(&host).inc_by(bytes);
        self.sent_entries.get_or_create(&host).inc_by(entries);
    }

    pub(crate) fn retried(&self, client: &ClientLabels) {
        self.retries.get_or_create(client).inc();
    }

    /// `status` is `None` if no answer came.
    pub(crate) fn answered(&self, client: &ClientLabels, status: Option<u16>, took: Duration) {
        let status_code = status.map_or_else(|| "-1".to_owned(), |status| status.to_string());
        self.request_duration.get_or_create(&AnswerLabels { status_code, host: client.host.clone() }).observe(took.as_secs_f64());
    }

    pub(crate) fn dropped(&self, client: &ClientLabels, reason: DropReason, entries: u64, bytes: u64) {
        self.drop_in(client, reason.name(), entries, bytes);
    }

    /// Dropped where it was read, before it was clear who would get it.
    pub(crate) fn dropped_at_reading(&self, reason: DropReason, entries: u64, bytes: u64) {
        let first = self.first.lock().clone();
        self.drop_in(&first, reason.name(), entries, bytes);
    }

    /// Sent shorter than it was.
    pub(crate) fn shortened(&self, entries: u64, bytes: u64) {
        let labels = of(&self.first.lock(), DropReason::LineTooLong.name());
        self.mutated_entries.get_or_create(&labels).inc_by(entries);
        self.mutated_bytes.get_or_create(&labels).inc_by(bytes);
    }

    fn drop_in(&self, client: &ClientLabels, reason: &'static str, entries: u64, bytes: u64) {
        let labels = of(client, reason);
        self.dropped_entries.get_or_create(&labels).inc_by(entries);
        self.dropped_bytes.get_or_create(&labels).inc_by(bytes);
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("encoded_bytes", "Bytes of requests", self.encoded_bytes.clone());
        registry.register("sent_bytes", "Bytes of acknowledged requests", self.sent_bytes.clone());
        registry.register("sent_entries", "Entries acknowledged", self.sent_entries.clone());
        registry.register("dropped_bytes", "Bytes of entries dropped", self.dropped_bytes.clone());
        registry.register("dropped_entries", "Entries dropped", self.dropped_entries.clone());
        registry.register("mutated_bytes", "Bytes cut off entries", self.mutated_bytes.clone());
        registry.register("mutated_entries", "Entries sent shorter than they were", self.mutated_entries.clone());
        registry.register("batch_retries", "Requests sent again", self.retries.clone());
        registry.register("request_duration_seconds", "Duration of requests", self.request_duration.clone());
    }
}

fn of(client: &ClientLabels, reason: &'static str) -> ReasonLabels {
    ReasonLabels { host: client.host.clone(), tenant: client.tenant.clone(), reason }
}
