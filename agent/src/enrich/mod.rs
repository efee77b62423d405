//! Labels and metadata of a container instance: from its path always, from the Kubernetes API where there is one.
//!
//! Decided once per instance, before its first line is sent, and recorded in the checkpoint; never changed for lines that may be stored.
//! The API is never needed to start: lines of an unknown pod wait in their files up to `metadata_wait`, then go out with path labels.

pub(crate) mod kubernetes;
pub(crate) mod labels;
pub(crate) mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::discover::paths::PodDirectory;
use crate::metrics::Metrics;
use crate::positions::table::LabelSet;
use pods::PodCache;

/// Decides label sets.
#[derive(Debug)]
pub(crate) struct Enricher {
    /// What the watches know; absent without an API.
    pub(crate) cache: Option<Arc<RwLock<PodCache>>>,
    pub(crate) wait: Duration,
    pub(crate) node_name: String,
    pub(crate) external_labels: BTreeMap<String, String>,
    /// Whether the receiver takes structured metadata.
    pub(crate) sends_metadata: bool,
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
        let labels = labels::stream_labels(question.pod, question.container, &self.node_name, &self.external_labels, facts.as_ref());
        let metadata = self.sends_metadata.then(|| labels::metadata(question.pod, question.number, facts.as_ref()));
        Some(LabelSet { from_offset: 0, labels, metadata })
    }
}
