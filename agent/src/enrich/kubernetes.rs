//! The two watches: pods of this node, and uid, labels and annotations of namespaces (metadata only). [`super::kubelet`] may stand in for the first.
//!
//! [`super::watched`] keeps them going. The cache is the only thing written here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::client::ClientBuilder;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::api_access::ApiAccess;
use super::counted_requests::CountedRequests;
use super::labels::without_template_hash;
use super::objects::{ContainerStatus, Pod};
use super::pods::{ContainerIdentity, NamespaceRecord, PodCache, PodRecord};
use super::watched::follow;
use super::wishes::{AllowedAnnotations, Wishes};
use crate::discover::pod_news::PodNews;
use crate::metrics::Metrics;

const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// Why no watch can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read the kubeconfig `{path}`; give the path of a readable kubeconfig")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    #[error("cannot use the cluster's service account; set `metadata_source: none` to run without the Kubernetes API")]
    InCluster(#[source] kube::config::InClusterError),
    #[error("cannot use the API server `{url}`; correct `api_server` and its credentials: {what}")]
    Server { url: String, what: String },
    #[error("cannot make a client for the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
}

/// A client of the API; its requests are counted. Nothing is sent yet.
pub(crate) async fn connect(access: impl Into<ApiAccess>, metrics: &Arc<Metrics>) -> Result<Client, ConnectError> {
    let config = access.into().config().await?;
    let builder = ClientBuilder::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))?;
    let metrics = Arc::clone(metrics);
    let counted = tower::layer::layer_fn(move |inner| CountedRequests { inner, metrics: Arc::clone(&metrics) });
    Ok(builder.with_layer(&counted).build())
}

/// What the watches need to know.
#[derive(Debug, Clone)]
pub(crate) struct Watching {
    pub(crate) node_name: String,
    /// Of pods and namespaces: which are honoured.
    pub(crate) annotations: AllowedAnnotations,
    /// Names of pods' annotations that become metadata.
    pub(crate) kept_annotations: Vec<String>,
    /// Names of namespaces' labels that become metadata.
    pub(crate) kept_namespace_labels: Vec<String>,
    pub(crate) cache: Arc<RwLock<PodCache>>,
    /// Who looks for files of pods that appear.
    pub(crate) news: PodNews,
    /// Over how long agents spread that lost the API at the same time.
    pub(crate) spread: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

/// Keeps what is known of this node's pods up to date until `stop`.
pub(crate) async fn watch_pods(client: Client, watching: Watching, stop: CancellationToken) {
    let of_this_node = watcher::Config::default().any_semantic().fields(&format!("spec.nodeName={}", watching.node_name));
    let mut listed = Vec::new();
    let pods = follow(Api::<Pod>::all(client), of_this_node, watching.spread, &watching.metrics, |event| {
        apply_pod(event, &watching, &mut listed);
    });
    tokio::select! {
        () = stop.cancelled() => {}
        () = pods => {}
    }
}

/// Keeps what is known of namespaces up to date until `stop`.
pub(crate) async fn watch_namespaces(client: Client, watching: Watching, stop: CancellationToken) {
    let Watching { annotations, kept_namespace_labels, cache, metrics, spread, .. } = watching;
    let api = Api::<PartialObjectMeta<Namespace>>::all(client);
    let namespaces = follow(api, watcher::Config::default().any_semantic(), spread, &metrics, |event| match event {
        Event::Apply(namespace) | Event::InitApply(namespace) => {
            let wishes = Wishes::of(namespace.annotations(), namespace.labels(), &annotations);
            let invalid = wishes.invalid;
            let labels = kept(&kept_namespace_labels, namespace.labels());
            let record = NamespaceRecord { uid: namespace.uid().unwrap_or_default(), labels, wishes };
            if cache.write().set_namespace(&namespace.name_any(), record) {
                metrics.annotations_invalid.inc_by(invalid);
            }
        }
        Event::Delete(_) | Event::Init | Event::InitDone => {}
    });
    tokio::select! {
        () = stop.cancelled() => {}
        () = namespaces => {}
    }
}

/// Takes over what is told of a pod.
pub(super) fn take_pod(record: &PodRecord, watching: &Watching) {
    if watching.cache.write().apply(record.clone()) {
        watching.metrics.annotations_invalid.inc_by(record.wishes.invalid);
        watching.news.tell(&record.namespace, &record.name, record.config_hash.as_ref().unwrap_or(&record.uid));
    }
}

fn apply_pod(event: Event<Pod>, watching: &Watching, listed: &mut Vec<PodRecord>) {
    let cache = &watching.cache;
    let reduced = |pod: &Pod| pod_record(pod, &watching.annotations, &watching.kept_annotations);
    match event {
        Event::Apply(pod) => take_pod(&reduced(&pod), watching),
        Event::Delete(pod) => cache.write().delete(&reduced(&pod), Instant::now()),
        Event::Init => listed.clear(),
        Event::InitApply(pod) => {
            let record = reduced(&pod);
            take_pod(&record, watching);
            listed.push(record);
        }
        Event::InitDone => cache.write().keep_only(&std::mem::take(listed), Instant::now()),
    }
}

/// What is kept of a pod: some of its annotations.
pub(super) fn pod_record(pod: &Pod, allowed: &AllowedAnnotations, kept_annotations: &[String]) -> PodRecord {
    let annotations = pod.annotations();
    let is_mirror = annotations.contains_key(CONFIG_MIRROR);
    let controller = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let status = pod.status.as_ref();
    let statuses = status.into_iter().flat_map(|status| {
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses].into_iter().flatten()
    });
    PodRecord {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        config_hash: annotations.get(CONFIG_HASH).filter(|_| is_mirror).cloned(),
        labels: pod.labels().clone(),
        // A static pod is owned by its node, which says nothing about the application.
        controller: controller.filter(|owner| owner.kind != "Node").map(|owner| owner.name.clone()),
        owner: controller.map(|owner| owner_of(&owner.kind, &owner.name)),
        annotations: kept(kept_annotations, annotations),
        node_ip: status.and_then(|status| status.host_ip.clone()),
        pod_ip: status.and_then(|status| status.pod_ip.clone()),
        qos: status.and_then(|status| status.qos_class.clone()),
        ended: statuses.clone().filter_map(ended).collect(),
        containers: statuses.flat_map(identities).collect(),
        wishes: Wishes::of(annotations, pod.labels(), allowed),
    }
}

/// Those of `pairs` that have one of `names`.
fn kept(names: &[String], pairs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    names.iter().filter_map(|name| Some((name.clone(), pairs.get(name)?.clone()))).collect()
}

/// Kind and name of what owns a pod: a Deployment, of which the ReplicaSet has the name and a hash.
fn owner_of(kind: &str, name: &str) -> (String, String) {
    let stem = without_template_hash(name);
    if kind == "ReplicaSet" && stem != name { ("Deployment".to_owned(), stem.to_owned()) } else { (kind.to_owned(), name.to_owned()) }
}

/// The latest instance, if it has ended.
fn ended(status: &ContainerStatus) -> Option<(String, u32)> {
    let has_ended = status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    has_ended.then(|| Some((status.name.clone(), u32::try_from(status.restart_count).ok()?))).flatten()
}

/// The running instance, and the one before it.
fn identities(status: &ContainerStatus) -> Vec<ContainerIdentity> {
    let Ok(number) = u32::try_from(status.restart_count) else { return Vec::new() };
    let digest = status.image_id.rsplit('@').next().filter(|digest| digest.starts_with("sha256:"));
    let identity = |number: u32, id: &String| ContainerIdentity {
        container: status.name.clone(),
        number,
        id: id.clone(),
        image: status.image.clone(),
        image_digest: digest.unwrap_or_default().to_owned(),
    };
    let terminated = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = terminated.and_then(|terminated| terminated.container_id.as_ref()).zip(number.checked_sub(1));
    let running = status.container_id.as_ref().filter(|id| !id.is_empty()).map(|id| identity(number, id));
    running.into_iter().chain(before.map(|(id, number)| identity(number, id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> PodRecord {
        let kept = ["team".to_owned()];
        pod_record(&serde_json::from_value(json).expect("a pod"), &AllowedAnnotations::All, &kept)
    }

    #[test]
    fn what_is_kept_of_a_pod() {
        let record = pod(serde_json::json!({
            "metadata": {"namespace": "n", "name": "p", "uid": "u", "labels": {"app": "web"}, "annotations": {"team": "blue", "other": "x"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db8", "uid": "x", "controller": true}]},
            "status": {"hostIP": "10.0.0.1", "podIP": "10.1.0.1", "qosClass": "Burstable", "containerStatuses": [{"name": "c", "image": "i:1", "imageID": "docker.io/i@sha256:abc", "ready": true, "restartCount": 2, "containerID": "containerd://b",
                "lastState": {"terminated": {"exitCode": 1, "containerID": "containerd://a"}}}]}
        }));
        assert_eq!(record.controller.as_deref(), Some("web-6d4cf56db8"));
        let ids: Vec<_> = record.containers.iter().map(|identity| (identity.number, identity.id.as_str())).collect();
        assert_eq!(ids, [(2, "containerd://b"), (1, "containerd://a")]);
        assert_eq!((&record.config_hash, record.ended.len()), (&None, 0));
        assert_eq!(record.owner, Some(("Deployment".to_owned(), "web".to_owned())));
        assert_eq!(record.annotations, BTreeMap::from([("team".to_owned(), "blue".to_owned())]));
        let of_first = &record.containers[0];
        assert_eq!((of_first.image.as_str(), of_first.image_digest.as_str()), ("i:1", "sha256:abc"));
        assert_eq!([record.node_ip, record.pod_ip, record.qos].map(Option::unwrap_or_default), ["10.0.0.1", "10.1.0.1", "Burstable"]);
    }

    #[test]
    fn an_instance_has_ended_when_its_state_says_so() {
        let status = |restarts: u32, state: &str| serde_json::json!({"name": format!("c{restarts}"), "image": "i", "imageID": "", "ready": false, "restartCount": restarts, "state": {state: {"exitCode": 0}}});
        let record = pod(
            serde_json::json!({"metadata": {}, "status": {"containerStatuses": [status(3, "terminated"), status(4, "running")], "initContainerStatuses": [status(0, "terminated")]}}),
        );
        assert_eq!(record.ended, [("c3".to_owned(), 3), ("c0".to_owned(), 0)]);
    }

    #[test]
    fn a_mirror_pod_is_known_by_its_config_hash_and_not_by_its_node() {
        let record = pod(serde_json::json!({
            "metadata": {"namespace": "kube-system", "name": "etcd-a", "uid": "u",
                "annotations": {CONFIG_HASH: "abc", CONFIG_MIRROR: "abc"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "x", "controller": true}]}
        }));
        assert_eq!((record.config_hash.as_deref(), record.controller), (Some("abc"), None));
    }
}
