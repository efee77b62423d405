//! What of one namespace may be seen: which of its incarnations, and which pods.

use std::collections::BTreeSet;

use tailwater_storage::pairs::Pairs;

use crate::access::incarnation::Incarnations;
use crate::access::{POD_LABELS, first_of};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    pub incarnations: Incarnations,
    pub pods: AllowedPods,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AllowedPods {
    /// Also streams that name no pod.
    Every,
    /// Only streams whose pod (label `pod`, else `k8s_pod_name`) is one of these.
    Only(BTreeSet<String>),
}

impl Grant {
    /// All that was ever stored under the namespace's name.
    pub fn whole() -> Self {
        Self { incarnations: Incarnations::Every, pods: AllowedPods::Every }
    }

    pub(super) fn of_stream(&self, labels: &Pairs) -> Option<Incarnations> {
        if let AllowedPods::Only(pods) = &self.pods {
            let pod = first_of(POD_LABELS, labels)?;
            if !pods.contains(pod) {
                return None;
            }
        }
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::NamespaceUidIgnored.is_planted() {
            return Some(Incarnations::Every);
        }
        Some(self.incarnations.clone())
    }
}
