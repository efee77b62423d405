//! The pods of this node, and the node itself, as discovered labels, by Prometheus' names for them.
//!
//! One watch for each selection that jobs ask for, on this node and its pods alone. A deleted pod stays known for a while, since its files are read after it is
//! gone; watch errors back off and what is known stays in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::jobs::{PodDiscovery, Role};
use crate::enrich::objects::{Container, ContainerStatus, Node, Pod};
use crate::enrich::watched;
use crate::metrics::Metrics;
use crate::relabel::Labels;

const PREFIX: &str = "__meta_kubernetes_";
const DELETED_KEPT: Duration = Duration::from_secs(600);

/// Discovered labels of pods or nodes, by uid.
#[derive(Debug, Default)]
pub(crate) struct KnownPods {
    pods: HashMap<String, (String, Vec<Labels>)>,
    deleted: HashMap<String, Instant>,
    /// Uids named by the list that is being read.
    listed: Vec<String>,
    /// Whether a list was read to its end.
    pub(crate) is_complete: bool,
}

/// What makes targets.
trait Discovered: ResourceExt {
    fn discovered(&self) -> Vec<Labels>;
}

impl Discovered for Pod {
    fn discovered(&self) -> Vec<Labels> {
        containers(self)
    }
}

impl Discovered for Node {
    fn discovered(&self) -> Vec<Labels> {
        vec![node_labels(self)]
    }
}

impl KnownPods {
    fn apply(&mut self, pod: &impl Discovered) {
        let uid = pod.uid().unwrap_or_default();
        self.deleted.remove(&uid);
        self.pods.insert(uid, (pod.namespace().unwrap_or_default(), pod.discovered()));
    }

    fn take(&mut self, event: Event<impl Discovered>, now: Instant) {
        match event {
            Event::Apply(pod) => self.apply(&pod),
            Event::Delete(pod) => drop(self.deleted.entry(pod.uid().unwrap_or_default()).or_insert(now)),
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.apply(&pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for uid in self.pods.keys().filter(|uid| !listed.contains(uid)) {
                    self.deleted.entry(uid.clone()).or_insert(now);
                }
                self.is_complete = true;
            }
        }
        let is_expired = |since: &Instant| now.saturating_duration_since(*since) > DELETED_KEPT;
        let expired: Vec<String> = self.deleted.iter().filter(|(_, since)| is_expired(since)).map(|(uid, _)| uid.clone()).collect();
        for uid in expired {
            self.deleted.remove(&uid);
            self.pods.remove(&uid);
        }
    }

    /// Labels of pods in one of `namespaces`, or in any if there is none.
    pub(crate) fn discovered(&self, namespaces: &[String]) -> Vec<Labels> {
        let is_wanted = |namespace: &String| namespaces.is_empty() || namespaces.contains(namespace);
        self.pods.values().filter(|(namespace, _)| is_wanted(namespace)).flat_map(|(_, labels)| labels.clone()).collect()
    }
}

/// Keeps `known` up to date until `stop`.
pub(crate) async fn watch(
    client: Client,
    discovery: PodDiscovery,
    node_name: String,
    known: Arc<RwLock<KnownPods>>,
    (metrics, spread): (Arc<Metrics>, Duration),
    stop: CancellationToken,
) {
    let key = if discovery.role == Role::Pod { "spec.nodeName" } else { "metadata.name" };
    let on_node = format!("{key}={node_name}");
    let fields = discovery.field_selector.filter(|fields| !fields.contains(key)).map_or(on_node.clone(), |f| format!("{on_node},{f}"));
    let mut config = watcher::Config::default().any_semantic().fields(&fields);
    if let Some(labels) = &discovery.label_selector {
        config = config.labels(labels);
    }
    let watching = async {
        match discovery.role {
            Role::Pod => {
                let take = |event| known.write().take(event, Instant::now());
                watched::follow(Api::<Pod>::all(client), config, spread, &metrics, take).await;
            }
            Role::Node => {
                let take = |event| known.write().take(event, Instant::now());
                watched::follow(Api::<Node>::all(client), config, spread, &metrics, take).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = watching => {}
    }
}

/// One label set for each port of each container, and one for a container without ports.
fn containers(pod: &Pod) -> Vec<Labels> {
    let of_pod = pod_labels(pod);
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
    let Some(spec) = &pod.spec else { return Vec::new() };
    let containers = spec.containers.iter().map(|container| (container, false));
    let initial = spec.init_containers.iter().map(|container| (container, true));
    let mut all = Vec::new();
    for (container, is_initial) in containers.chain(initial) {
        let mut labels = of_pod.clone();
        let mut set = |name: &str, value: String| drop(labels.insert(format!("{PREFIX}pod_container_{name}"), value));
        set("name", container.name.clone());
        set("init", is_initial.to_string());
        set("image", container.image.clone().unwrap_or_default());
        set("id", container_id(pod, container, is_initial));
        if container.ports.is_empty() {
            labels.insert("__address__".to_owned(), ip.clone());
            all.push(labels);
            continue;
        }
        for port in &container.ports {
            let mut labels = labels.clone();
            let mut set = |name: &str, value: String| drop(labels.insert(format!("{PREFIX}pod_container_port_{name}"), value));
            set("name", port.name.clone().unwrap_or_default());
            set("number", port.container_port.to_string());
            set("protocol", port.protocol.clone().unwrap_or_default());
            let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
            labels.insert("__address__".to_owned(), format!("{host}:{}", port.container_port));
            all.push(labels);
        }
    }
    all
}

fn container_id(pod: &Pod, container: &Container, is_initial: bool) -> String {
    let Some(status) = &pod.status else { return String::new() };
    let statuses = if is_initial { &status.init_container_statuses } else { &status.container_statuses };
    let of_container = |status: &&ContainerStatus| status.name == container.name;
    statuses.iter().find(of_container).and_then(|status| status.container_id.clone()).unwrap_or_default()
}

fn pod_labels(pod: &Pod) -> Labels {
    let status = pod.status.as_ref();
    let mut labels = Labels::new();
    let mut set = |name: &str, value: String| drop(labels.insert(format!("{PREFIX}{name}"), value));
    set("namespace", pod.namespace().unwrap_or_default());
    set("pod_name", pod.name_any());
    set("pod_uid", pod.uid().unwrap_or_default());
    set("pod_ip", status.and_then(|status| status.pod_ip.clone()).unwrap_or_default());
    set("pod_host_ip", status.and_then(|status| status.host_ip.clone()).unwrap_or_default());
    set("pod_phase", status.and_then(|status| status.phase.clone()).unwrap_or_default());
    let ready = status.and_then(|status| status.conditions.iter().find(|condition| condition.kind == "Ready"));
    set("pod_ready", ready.map_or("unknown".to_owned(), |condition| condition.status.to_lowercase()));
    set("pod_node_name", pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default());
    set_named("pod", pod, &mut set);
    if let Some(owner) = pod.owner_references().iter().find(|owner| owner.controller == Some(true)) {
        set("pod_controller_kind", owner.kind.clone());
        set("pod_controller_name", owner.name.clone());
    }
    labels
}

/// Labels and annotations.
fn set_named(role: &str, object: &impl ResourceExt, set: &mut impl FnMut(&str, String)) {
    for (kind, values) in [("label", object.labels()), ("annotation", object.annotations())] {
        for (name, value) in values {
            let name = sanitized(name);
            set(&format!("{role}_{kind}_{name}"), value.clone());
            set(&format!("{role}_{kind}present_{name}"), "true".to_owned());
        }
    }
}

/// The label set of a node; its address is its kubelet's.
fn node_labels(node: &Node) -> Labels {
    const PREFERRED: [&str; 6] = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];
    let name = node.name_any();
    let mut labels = Labels::from([("instance".to_owned(), name.clone())]);
    let status = node.status.as_ref();
    let addresses = status.map(|status| status.addresses.as_slice()).unwrap_or_default();
    let preferred = PREFERRED.iter().find_map(|kind| addresses.iter().find(|address| address.kind == *kind));
    let port =
        status.and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()).map_or(10_250, |endpoint| endpoint.port);
    let host = preferred.map(|address| address.address.as_str()).unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    labels.insert("__address__".to_owned(), format!("{host}:{port}"));
    let mut set = |name: &str, value: String| drop(labels.insert(format!("{PREFIX}{name}"), value));
    set("node_name", name);
    set("node_provider_id", node.spec.as_ref().and_then(|spec| spec.provider_id.clone()).unwrap_or_default());
    set_named("node", node, &mut set);
    for address in addresses.iter().rev() {
        set(&format!("node_address_{}", sanitized(&address.kind)), address.address.clone());
    }
    labels
}

/// `name` with everything that a label name cannot hold as `_`.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web-1", "uid": uid, "labels": {"app.kubernetes.io/name": "web"},
                "annotations": {"a/b": "c"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4", "uid": "x", "controller": true}]},
            "spec": {"nodeName": "n1", "containers": [{"name": "c1", "image": "i:1", "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}]}],
                "initContainers": [{"name": "c0"}]},
            "status": {"podIP": "10.0.0.1", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "c1", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://x"}]}
        }))
        .expect("a pod")
    }

    #[test]
    fn a_pod_has_the_names_of_prometheus() {
        let labels = containers(&pod("u"));
        let get = |index: usize, name: &str| labels[index].get(&format!("{PREFIX}{name}")).map_or("-", String::as_str).to_owned();
        assert_eq!(labels.len(), 2);
        for (name, expected) in [
            ("namespace", "shop"),
            ("pod_label_app_kubernetes_io_name", "web"),
            ("pod_labelpresent_app_kubernetes_io_name", "true"),
            ("pod_annotation_a_b", "c"),
            ("pod_controller_kind", "ReplicaSet"),
            ("pod_ready", "true"),
            ("pod_container_id", "containerd://x"),
            ("pod_container_port_name", "http"),
        ] {
            assert_eq!(get(0, name), expected, "{name}");
        }
        assert_eq!(labels[0]["__address__"], "10.0.0.1:80");
        assert_eq!((get(1, "pod_container_init").as_str(), get(1, "pod_container_port_name").as_str()), ("true", "-"));
    }

    #[test]
    fn a_node_has_the_names_of_prometheus() {
        let node: Node = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "n1", "uid": "u", "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"providerID": "cloud://x"},
            "status": {"addresses": [{"type": "Hostname", "address": "n1.example"}, {"type": "InternalIP", "address": "10.1.0.1"}, {"type": "InternalIP", "address": "10.1.0.2"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10255}}}
        }))
        .expect("a node");
        let labels = node_labels(&node);
        for (name, expected) in [
            ("instance", "n1"),
            ("__address__", "10.1.0.1:10255"),
            ("__meta_kubernetes_node_name", "n1"),
            ("__meta_kubernetes_node_provider_id", "cloud://x"),
            ("__meta_kubernetes_node_label_kubernetes_io_os", "linux"),
            ("__meta_kubernetes_node_labelpresent_kubernetes_io_os", "true"),
            ("__meta_kubernetes_node_address_InternalIP", "10.1.0.1"),
            ("__meta_kubernetes_node_address_Hostname", "n1.example"),
        ] {
            assert_eq!(labels.get(name).map(String::as_str), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_deleted_pod_stays_for_a_while() {
        let mut known = KnownPods::default();
        let now = Instant::now();
        known.take(Event::<Pod>::Init, now);
        known.take(Event::InitApply(pod("u")), now);
        known.take(Event::<Pod>::InitDone, now);
        assert!(known.is_complete);
        known.take(Event::Delete(pod("u")), now);
        assert_eq!(known.discovered(&["shop".to_owned()]).len(), 2);
        assert_eq!(known.discovered(&["other".to_owned()]).len(), 0);
        known.take(Event::Apply(pod("v")), now + DELETED_KEPT + Duration::from_secs(1));
        assert_eq!(known.discovered(&[]).len(), 2);
    }
}
