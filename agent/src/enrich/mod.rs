//! Labels and metadata of a container instance: from its path always, from the Kubernetes API where there is one.
//!
//! Decided before an instance's first line is sent, and recorded in the checkpoint; what the API tells later holds from a recorded offset on, and never for
//! lines that may be stored.
//! The API is never needed to start: lines of an unknown pod wait in their files up to `metadata_wait`, then go out with path labels.

pub(crate) mod api_access;
pub(crate) mod choice;
mod counted_requests;
pub(crate) mod fields;
pub(crate) mod kubelet;
pub(crate) mod kubernetes;
pub(crate) mod labels;
pub(crate) mod limits;
pub(crate) mod objects;
pub(crate) mod pods;
mod watch_backoff;
pub(crate) mod watched;
pub(crate) mod wishes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::discover::listing::Source;
use crate::discover::paths::PodDirectory;
use crate::discover::selection::{PodLabels, Selection};
use crate::metrics::Metrics;
use crate::positions::pairs::PackedPairs;
use crate::positions::table::LabelSet;
use crate::tail::rate::RateLimit;
use choice::{FILENAME, LabelChoice};
use fields::MetadataField;
use limits::LabelLimits;
use pods::{PodCache, PodFacts};

/// Decides label sets.
#[derive(Debug)]
pub(crate) struct Enricher {
    /// What the watches know; absent without an API.
    pub(crate) cache: Option<Arc<RwLock<PodCache>>>,
    pub(crate) wait: Duration,
    pub(crate) node_name: String,
    pub(crate) external_labels: BTreeMap<String, String>,
    /// Which containers the operator wants, as far as labels of their pods say.
    pub(crate) selection: Selection,
    pub(crate) choice: LabelChoice,
    pub(crate) limits: LabelLimits,
    /// Metadata beyond the standard set.
    pub(crate) fields: Vec<MetadataField>,
    /// For what tells paths.
    pub(crate) pods_dir: PathBuf,
    /// Whether the receiver takes structured metadata, once that is known; nothing is read before.
    pub(crate) sends_metadata: Arc<OnceLock<bool>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Which container instance is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstanceQuestion<'a> {
    pub(crate) pod: &'a PodDirectory,
    pub(crate) container: &'a str,
    pub(crate) number: u32,
    /// How long its lines have waited.
    pub(crate) waited: Duration,
}

impl Enricher {
    /// A container is read from now on: what is known of its pod stays known.
    pub(crate) fn begin_reading(&self, source: &Source) {
        if let (Some(cache), Source::Container { pod, .. }) = (&self.cache, source) {
            cache.write().begin_reading(pod);
        }
    }

    /// A container is read to its end.
    pub(crate) fn end_reading(&self, source: &Source, now: Instant) {
        if let (Some(cache), Source::Container { pod, .. }) = (&self.cache, source) {
            cache.write().end_reading(pod, now);
        }
    }

    /// Whether lines of a pod may be read that had labels before: not while its wishes are awaited, which labels alone do not tell.
    pub(crate) fn may_go_on(&self, pod: &PodDirectory, waited: Duration) -> bool {
        self.cache.as_ref().is_none_or(|cache| waited >= self.wait || cache.read().knows(pod))
    }

    /// Whether the receiver takes structured metadata.
    pub(crate) fn sends_metadata(&self) -> bool {
        self.sends_metadata.get().copied().unwrap_or(false)
    }

    /// The label set of an instance, or `None` while its lines should wait.
    pub(crate) fn decide(&self, question: InstanceQuestion<'_>) -> Option<LabelSet> {
        let facts = match &self.cache {
            None => None,
            Some(cache) => {
                let cache = cache.read();
                let facts = cache.facts(question.pod, question.container, question.number);
                let is_complete = facts.as_ref().is_some_and(|facts| facts.is_complete());
                if !is_complete && question.waited < self.wait {
                    return None;
                }
                facts
            }
        };
        if self.cache.is_some() && facts.is_none() {
            self.metrics.metadata_missing.inc();
        }
        Some(self.label_set(question, facts.as_ref()))
    }

    /// The label set of an instance of which everything is known, or of which nobody tells more than its path.
    pub(crate) fn known(&self, question: InstanceQuestion<'_>) -> Option<LabelSet> {
        let Some(cache) = &self.cache else { return Some(self.label_set(question, None)) };
        let facts = cache.read().facts(question.pod, question.container, question.number);
        let facts = facts.filter(PodFacts::is_complete)?;
        Some(self.label_set(question, Some(&facts)))
    }

    /// Changes whenever what is known of a pod or its namespace does; 0 if nothing is that may be told yet.
    pub(crate) fn version(&self, pod: &PodDirectory) -> u64 {
        self.cache.as_ref().map_or_else(|| self.version_of_paths(), |cache| cache.read().version(pod))
    }

    /// The version of what paths alone say; 0 if somebody tells more.
    pub(crate) fn version_of_paths(&self) -> u64 {
        u64::from(self.cache.is_none())
    }

    /// Whether the API says that an instance has ended.
    pub(crate) fn has_ended(&self, pod: &PodDirectory, container: &str, number: u32) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.read().has_ended(pod, container, number))
    }

    /// Whether an annotation asks to leave a container out, or the operator does by labels of its pod.
    pub(crate) fn is_excluded(&self, pod: &PodDirectory, container: &str) -> bool {
        let Some(cache) = &self.cache else { return false };
        let cache = cache.read();
        let labels = cache.labels(pod).map_or(PodLabels::Awaited, PodLabels::Known);
        self.selection.takes(pod, container, labels) == Some(false) || cache.is_excluded(pod, container)
    }

    /// The limit that an annotation asks for, where the operator sets none.
    pub(crate) fn rate_limit(&self, pod: &PodDirectory, of_operator: RateLimit) -> RateLimit {
        let is_free = (of_operator.bytes, of_operator.lines) == (0, 0);
        let wished = self.cache.as_ref().and_then(|cache| cache.read().rate_limit(pod)).filter(|_| is_free);
        wished.map_or(of_operator, |bytes| RateLimit { bytes, ..of_operator })
    }

    fn label_set(&self, question: InstanceQuestion<'_>, facts: Option<&PodFacts>) -> LabelSet {
        let mut labels = labels::stream_labels(question.pod, question.container, &self.node_name, &self.external_labels, facts);
        let mut metadata = self.sends_metadata().then(|| labels::metadata(question.pod, question.number, facts));
        if self.choice.keeps_filename() {
            labels.insert(FILENAME.to_owned(), fields::live_file(question, &self.pods_dir));
        }
        if let Some(metadata) = &mut metadata {
            let values =
                self.fields.iter().filter_map(|field| Some((field.name().to_owned(), field.value(question, &self.pods_dir, facts)?)));
            metadata.extend(values);
        }
        self.choice.apply(&mut labels, metadata.as_mut(), &self.external_labels, facts);
        self.metrics.labels_limited.inc_by(self.limits.apply(&mut labels, metadata.as_mut()));
        if let Some(cache) = &self.cache {
            let cache = cache.read();
            labels.extend(cache.wishes(question.pod).map(|(name, value)| (name.to_owned(), value.clone())));
        }
        LabelSet { from_offset: 0, labels: PackedPairs::from(&labels), metadata: metadata.as_ref().map(PackedPairs::from) }
    }
}
