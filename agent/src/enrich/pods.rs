//! What the watches told of this node's pods and of namespaces, reduced to what labels and metadata need.
//!
//! A deleted pod stays known until its files are read, and for a while longer. Static pods are kept under their config hash, which is what
//! their directory is named after. A pod of the same name with another uid is another pod.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::labels;
use super::wishes::Wishes;
use crate::discover::paths::PodDirectory;

/// What is known of one container instance's pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PodFacts {
    pub(crate) labels: BTreeMap<String, String>,
    /// Name of the owner that controls the pod.
    pub(crate) controller: Option<String>,
    pub(crate) namespace_uid: Option<String>,
    /// Labels of the namespace that become metadata.
    pub(crate) namespace_labels: BTreeMap<String, String>,
    pub(crate) container_id: Option<String>,
    /// Those that become metadata.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Kind and name of what owns the pod.
    pub(crate) owner: Option<(String, String)>,
    pub(crate) node_ip: Option<String>,
    pub(crate) pod_ip: Option<String>,
    pub(crate) qos: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) image_digest: Option<String>,
}

impl PodFacts {
    /// Nothing more is expected from the API.
    pub(crate) fn is_complete(&self) -> bool {
        self.namespace_uid.is_some() && self.container_id.is_some()
    }
}

/// One instance of a container as the pod's status names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerIdentity {
    pub(crate) container: String,
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) image: String,
    /// Empty if it is not known.
    pub(crate) image_digest: String,
}

/// A pod as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PodRecord {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Of a static pod: what its directory is named after.
    pub(crate) config_hash: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) controller: Option<String>,
    pub(crate) containers: Vec<ContainerIdentity>,
    /// Instances of containers that have ended: names and restart counts.
    pub(crate) ended: Vec<(String, u32)>,
    /// Those that become metadata.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Kind and name of what owns it.
    pub(crate) owner: Option<(String, String)>,
    pub(crate) node_ip: Option<String>,
    pub(crate) pod_ip: Option<String>,
    pub(crate) qos: Option<String>,
    pub(crate) wishes: Wishes,
}

/// What is known of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NamespaceRecord {
    pub(crate) uid: String,
    /// Those that become metadata.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) wishes: Wishes,
}

#[derive(Debug, Default)]
pub(crate) struct PodCache {
    /// By uid, and a static pod by its config hash.
    pods: HashMap<String, PodRecord>,
    /// Since when it is gone, or its files are read, whichever came later.
    deleted: HashMap<String, Instant>,
    /// How many containers of each are read.
    readers: HashMap<String, usize>,
    /// How long a deleted pod stays known.
    deleted_kept: Duration,
    namespaces: HashMap<String, NamespaceRecord>,
    /// When pods, by the same keys, and namespaces changed last.
    pod_versions: HashMap<String, u64>,
    namespace_versions: HashMap<String, u64>,
    changes: u64,
}

impl PodCache {
    pub(crate) fn new(deleted_kept: Duration) -> Self {
        Self { deleted_kept, ..Self::default() }
    }

    /// One more container of the pod is read.
    pub(crate) fn begin_reading(&mut self, pod: &PodDirectory) {
        *self.readers.entry(pod.uid.clone()).or_default() += 1;
    }

    /// A container of the pod is read to its end.
    pub(crate) fn end_reading(&mut self, pod: &PodDirectory, now: Instant) {
        let Some(count) = self.readers.get_mut(&pod.uid) else { return };
        *count -= 1;
        if *count == 0 {
            self.readers.remove(&pod.uid);
            self.deleted.entry(pod.uid.clone()).and_modify(|since| *since = now);
        }
    }

    /// Takes over a pod. Returns whether anything about it is new.
    pub(crate) fn apply(&mut self, pod: PodRecord) -> bool {
        let key = pod.config_hash.clone().unwrap_or_else(|| pod.uid.clone());
        self.deleted.remove(&key);
        let is_new = self.pods.get(&key) != Some(&pod);
        if is_new {
            self.changes += 1;
            self.pod_versions.insert(key.clone(), self.changes);
            self.pods.insert(key, pod);
        }
        is_new
    }

    /// The pod is gone; it is forgotten a while later.
    pub(crate) fn delete(&mut self, pod: &PodRecord, now: Instant) {
        let key = pod.config_hash.as_ref().unwrap_or(&pod.uid);
        if !self.deleted.contains_key(key) {
            self.deleted.insert(key.clone(), now);
            self.changes += 1;
            self.pod_versions.insert(key.clone(), self.changes);
        }
        let expired: Vec<_> = self
            .deleted
            .iter()
            .filter(|(key, since)| now.saturating_duration_since(**since) > self.deleted_kept && !self.readers.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in expired {
            self.deleted.remove(&key);
            self.pods.remove(&key);
            self.pod_versions.remove(&key);
        }
    }

    /// After a new list: pods that it does not name are gone.
    pub(crate) fn keep_only(&mut self, listed: &[PodRecord], now: Instant) {
        let is_listed = |pod: &PodRecord| listed.iter().any(|other| other.uid == pod.uid);
        let gone: Vec<_> = self.pods.values().filter(|pod| !is_listed(pod)).cloned().collect();
        gone.iter().for_each(|pod| self.delete(pod, now));
    }

    /// Takes over a namespace. Returns whether anything about it is new.
    pub(crate) fn set_namespace(&mut self, name: &str, namespace: NamespaceRecord) -> bool {
        let is_new = self.namespaces.get(name) != Some(&namespace);
        if is_new {
            self.changes += 1;
            self.namespace_versions.insert(name.to_owned(), self.changes);
            self.namespaces.insert(name.to_owned(), namespace);
        }
        is_new
    }

    /// Changes whenever what is known of a pod or its namespace does; 0 if nothing is.
    pub(crate) fn version(&self, pod: &PodDirectory) -> u64 {
        let of_pod = self.pod_versions.get(&pod.uid).copied().unwrap_or(0);
        of_pod.max(self.namespace_versions.get(&pod.namespace).copied().unwrap_or(0))
    }

    /// Whether an annotation of the pod, else of its namespace, asks to leave a container out.
    pub(crate) fn is_excluded(&self, pod: &PodDirectory, container: &str) -> bool {
        let of_pod = self.pods.get(&pod.uid).and_then(|pod| pod.wishes.is_excluded(container));
        let of_namespace = || self.namespaces.get(&pod.namespace)?.wishes.is_excluded(container);
        of_pod.or_else(of_namespace).unwrap_or(false)
    }

    /// Whether an instance has ended: its container's status says so, or its pod is gone. A static pod goes on without its mirror.
    pub(crate) fn has_ended(&self, pod: &PodDirectory, container: &str, number: u32) -> bool {
        let Some(record) = self.pods.get(&pod.uid) else { return false };
        let is_gone = record.config_hash.is_none() && self.deleted.contains_key(&pod.uid);
        is_gone || record.ended.iter().any(|(name, ended)| name == container && *ended == number)
    }

    /// Bytes a second that each of the pod's containers may write, if an annotation of the pod, else of its namespace, says so.
    pub(crate) fn rate_limit(&self, pod: &PodDirectory) -> Option<u64> {
        let of_pod = self.pods.get(&pod.uid).and_then(|pod| pod.wishes.rate_limit);
        of_pod.or_else(|| self.namespaces.get(&pod.namespace)?.wishes.rate_limit)
    }

    /// What is recorded with a pod's labels of what an annotation of the pod, else of its namespace, says.
    pub(crate) fn wishes(&self, pod: &PodDirectory) -> impl Iterator<Item = (&'static str, &String)> {
        let of_pod = self.pods.get(&pod.uid).map(|pod| &pod.wishes);
        let of_namespace = self.namespaces.get(&pod.namespace).map(|namespace| &namespace.wishes);
        let first = |wish: fn(&Wishes) -> Option<&String>| of_pod.and_then(wish).or_else(|| of_namespace.and_then(wish));
        let values = [
            (labels::TENANT, first(|wishes| wishes.tenant.as_ref())),
            (labels::SAMPLE, first(|wishes| wishes.sample.as_ref())),
            (labels::MULTILINE, first(|wishes| wishes.multiline.as_ref())),
            (labels::PARSER, first(|wishes| wishes.parser.as_ref())),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// The labels of a pod, if it is known.
    pub(crate) fn labels(&self, pod: &PodDirectory) -> Option<&BTreeMap<String, String>> {
        self.pods.get(&pod.uid).map(|record| &record.labels)
    }

    /// Whether the API told of a pod and of its namespace.
    pub(crate) fn knows(&self, pod: &PodDirectory) -> bool {
        self.pods.contains_key(&pod.uid) && self.namespaces.contains_key(&pod.namespace)
    }

    /// All pods, by what their directories are named after.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &PodRecord)> {
        self.pods.iter()
    }

    /// What is known of an instance, if its pod is known.
    pub(crate) fn facts(&self, pod: &PodDirectory, container: &str, number: u32) -> Option<PodFacts> {
        let record = self.pods.get(&pod.uid).filter(|record| record.namespace == pod.namespace && record.name == pod.pod)?;
        let identity = record.containers.iter().find(|identity| identity.container == container && identity.number == number);
        let namespace = self.namespaces.get(&pod.namespace);
        Some(PodFacts {
            labels: record.labels.clone(),
            controller: record.controller.clone(),
            namespace_uid: namespace.map(|namespace| namespace.uid.clone()),
            namespace_labels: namespace.map(|namespace| namespace.labels.clone()).unwrap_or_default(),
            container_id: identity.map(|identity| identity.id.clone()),
            annotations: record.annotations.clone(),
            owner: record.owner.clone(),
            node_ip: record.node_ip.clone(),
            pod_ip: record.pod_ip.clone(),
            qos: record.qos.clone(),
            image: identity.map(|identity| identity.image.clone()),
            image_digest: identity.map(|identity| identity.image_digest.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(600);

    fn directory(uid: &str) -> PodDirectory {
        PodDirectory { namespace: "n".to_owned(), pod: "p".to_owned(), uid: uid.to_owned() }
    }

    fn pod(uid: &str, config_hash: Option<&str>) -> PodRecord {
        PodRecord {
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            uid: uid.to_owned(),
            config_hash: config_hash.map(str::to_owned),
            containers: vec![ContainerIdentity {
                container: "c".to_owned(),
                number: 1,
                id: "containerd://1".to_owned(),
                image: "i".to_owned(),
                image_digest: String::new(),
            }],
            ..PodRecord::default()
        }
    }

    #[test]
    fn a_pod_recreated_with_the_same_name_is_another_pod() {
        let mut cache = PodCache::default();
        cache.apply(pod("old", None));
        assert!(cache.facts(&directory("old"), "c", 1).is_some());
        assert_eq!(cache.facts(&directory("new"), "c", 1), None);
    }

    #[test]
    fn a_static_pod_is_found_by_its_config_hash() {
        let mut cache = PodCache::default();
        cache.apply(pod("mirror-uid", Some("hash")));
        assert!(cache.facts(&directory("hash"), "c", 1).is_some());
    }

    #[test]
    fn facts_are_complete_with_namespace_and_container_of_that_instance() {
        let mut cache = PodCache::default();
        cache.apply(pod("u", None));
        assert!(!cache.facts(&directory("u"), "c", 1).unwrap().is_complete());
        let namespace = NamespaceRecord { uid: "ns-uid".to_owned(), ..NamespaceRecord::default() };
        let before = cache.version(&directory("u"));
        assert!(cache.set_namespace("n", namespace.clone()) && !cache.set_namespace("n", namespace));
        assert!(cache.version(&directory("u")) > before);
        assert!(cache.facts(&directory("u"), "c", 1).unwrap().is_complete());
        assert_eq!(cache.facts(&directory("u"), "c", 0).unwrap().container_id, None);
    }

    #[test]
    fn instances_end_by_their_status_or_with_their_pod_but_not_with_a_mirror_pod() {
        let mut cache = PodCache::default();
        let has_ended = |cache: &PodCache, uid: &str, number| cache.has_ended(&directory(uid), "c", number);
        cache.apply(PodRecord { ended: vec![("c".to_owned(), 0)], ..pod("u", None) });
        assert!(has_ended(&cache, "u", 0) && !has_ended(&cache, "u", 1));
        let before = cache.version(&directory("u"));
        cache.delete(&pod("u", None), Instant::now());
        assert!(has_ended(&cache, "u", 1) && cache.version(&directory("u")) > before);
        cache.apply(pod("mirror", Some("hash")));
        cache.delete(&pod("mirror", Some("hash")), Instant::now());
        assert!(!has_ended(&cache, "hash", 1));
    }

    #[test]
    fn a_deleted_pod_stays_known_for_a_while() {
        let mut cache = PodCache::new(KEPT);
        cache.apply(pod("u", None));
        let now = Instant::now();
        cache.keep_only(&[], now);
        assert!(cache.facts(&directory("u"), "c", 1).is_some());
        cache.apply(pod("v", None));
        cache.keep_only(&[], now + KEPT + Duration::from_secs(1));
        assert_eq!(cache.facts(&directory("u"), "c", 1), None);
        assert!(cache.facts(&directory("v"), "c", 1).is_some());
    }

    #[test]
    fn a_deleted_pod_stays_known_as_long_as_it_is_read_and_then_for_a_while() {
        let mut cache = PodCache::new(KEPT);
        let start = Instant::now();
        cache.apply(pod("u", None));
        (0..2).for_each(|_| cache.begin_reading(&directory("u")));
        let other_goes_at = |cache: &mut PodCache, now: Instant| {
            cache.apply(pod("v", None));
            cache.delete(&pod("v", None), now);
        };
        cache.delete(&pod("u", None), start);
        cache.end_reading(&directory("u"), start + KEPT);
        other_goes_at(&mut cache, start + KEPT * 2);
        assert!(cache.facts(&directory("u"), "c", 1).is_some(), "one container is read still");
        cache.end_reading(&directory("u"), start + KEPT * 3);
        other_goes_at(&mut cache, start + KEPT * 4);
        assert!(cache.facts(&directory("u"), "c", 1).is_some(), "for a while");
        other_goes_at(&mut cache, start + KEPT * 4 + Duration::from_secs(1));
        assert_eq!(cache.facts(&directory("u"), "c", 1), None);
        assert!(cache.readers.is_empty());
    }
}
