//! Pods and nodes of the Kubernetes API with the fields that are read, and no others.
//!
//! The API's own types have hundreds of fields; reading and keeping them would be a tenth of the program. As with those, a field that is missing or `null` is
//! empty, and one that is not known is passed over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, Metadata, NamespaceResourceScope, Resource};
use serde::{Deserialize, Deserializer};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pod {
    #[serde(default)]
    metadata: ObjectMeta,
    pub(crate) spec: Option<PodSpec>,
    pub(crate) status: Option<PodStatus>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) containers: Vec<Container>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Container {
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) name: String,
    pub(crate) image: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) ports: Vec<ContainerPort>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerPort {
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) container_port: i32,
    pub(crate) protocol: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: Option<String>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<String>,
    pub(crate) qos_class: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) conditions: Vec<Condition>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Condition {
    #[serde(default, rename = "type", deserialize_with = "or_empty")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) status: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) image: String,
    #[serde(default, rename = "imageID", deserialize_with = "or_empty")]
    pub(crate) image_id: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) restart_count: i32,
    #[serde(rename = "containerID")]
    pub(crate) container_id: Option<String>,
    pub(crate) state: Option<ContainerState>,
    pub(crate) last_state: Option<ContainerState>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ContainerState {
    pub(crate) terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Terminated {
    #[serde(rename = "containerID")]
    pub(crate) container_id: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Node {
    #[serde(default)]
    metadata: ObjectMeta,
    pub(crate) spec: Option<NodeSpec>,
    pub(crate) status: Option<NodeStatus>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeSpec {
    #[serde(rename = "providerID")]
    pub(crate) provider_id: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeStatus {
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) addresses: Vec<NodeAddress>,
    pub(crate) daemon_endpoints: Option<DaemonEndpoints>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeAddress {
    #[serde(default, rename = "type", deserialize_with = "or_empty")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) address: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DaemonEndpoints {
    pub(crate) kubelet_endpoint: Option<DaemonEndpoint>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DaemonEndpoint {
    #[serde(default, rename = "Port", deserialize_with = "or_empty")]
    pub(crate) port: i32,
}

/// `null` is empty.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Resource for Pod {
    const API_VERSION: &'static str = "v1";
    const GROUP: &'static str = "";
    const KIND: &'static str = "Pod";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = NamespaceResourceScope;
}

impl Resource for Node {
    const API_VERSION: &'static str = "v1";
    const GROUP: &'static str = "";
    const KIND: &'static str = "Node";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "nodes";
    type Scope = ClusterResourceScope;
}

impl Metadata for Pod {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Metadata for Node {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_api_has_them_where_it_has_its_own() {
        assert_eq!([Pod::API_VERSION, Pod::KIND, Pod::URL_PATH_SEGMENT], [v1::Pod::API_VERSION, v1::Pod::KIND, v1::Pod::URL_PATH_SEGMENT]);
        let theirs = [v1::Node::API_VERSION, v1::Node::KIND, v1::Node::URL_PATH_SEGMENT];
        assert_eq!([Node::API_VERSION, Node::KIND, Node::URL_PATH_SEGMENT], theirs);
    }

    /// Every field that is read is one that the API's own types write, under its name there.
    #[test]
    fn what_the_apis_own_types_write_is_read() {
        let status = v1::ContainerStatus {
            name: "c".to_owned(),
            image: "i:1".to_owned(),
            image_id: "i@sha256:1".to_owned(),
            restart_count: 3,
            container_id: Some("containerd://x".to_owned()),
            last_state: Some(v1::ContainerState {
                terminated: Some(v1::ContainerStateTerminated { container_id: Some("containerd://w".to_owned()), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let port =
            v1::ContainerPort { container_port: 80, name: Some("http".to_owned()), protocol: Some("TCP".to_owned()), ..Default::default() };
        let container = v1::Container { name: "c".to_owned(), image: Some("i".to_owned()), ports: Some(vec![port]), ..Default::default() };
        let theirs = v1::Pod {
            metadata: ObjectMeta { name: Some("p".to_owned()), ..Default::default() },
            spec: Some(v1::PodSpec {
                node_name: Some("n".to_owned()),
                containers: vec![container.clone()],
                init_containers: Some(vec![container]),
                ..Default::default()
            }),
            status: Some(v1::PodStatus {
                phase: Some("Running".to_owned()),
                host_ip: Some("h".to_owned()),
                pod_ip: Some("p".to_owned()),
                qos_class: Some("Burstable".to_owned()),
                conditions: Some(vec![v1::PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), ..Default::default() }]),
                container_statuses: Some(vec![status.clone()]),
                init_container_statuses: Some(vec![status.clone()]),
                ephemeral_container_statuses: Some(vec![status]),
                ..Default::default()
            }),
        };
        let ours: Pod = serde_json::from_value(serde_json::to_value(theirs).unwrap()).unwrap();
        assert_eq!(ours.metadata.name.as_deref(), Some("p"));
        let (spec, status) = (ours.spec.unwrap(), ours.status.unwrap());
        assert_eq!(spec.node_name.as_deref(), Some("n"));
        for containers in [spec.containers, spec.init_containers] {
            let (container, port) = (&containers[0], &containers[0].ports[0]);
            assert_eq!((container.name.as_str(), container.image.as_deref(), port.container_port), ("c", Some("i"), 80));
            assert_eq!([&port.name, &port.protocol].map(Option::as_deref), [Some("http"), Some("TCP")]);
        }
        let texts = [&status.phase, &status.host_ip, &status.pod_ip, &status.qos_class].map(Option::as_deref);
        assert_eq!(texts, [Some("Running"), Some("h"), Some("p"), Some("Burstable")]);
        assert_eq!((status.conditions[0].kind.as_str(), status.conditions[0].status.as_str()), ("Ready", "True"));
        for statuses in [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses] {
            let [status] = statuses.as_slice() else { panic!("{statuses:?}") };
            assert_eq!([status.name.as_str(), &status.image, &status.image_id], ["c", "i:1", "i@sha256:1"]);
            assert_eq!((status.restart_count, status.container_id.as_deref()), (3, Some("containerd://x")));
            let terminated = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()).unwrap();
            assert_eq!(terminated.container_id.as_deref(), Some("containerd://w"));
        }
    }

    #[test]
    fn what_is_missing_or_null_is_empty() {
        for text in [json!({}), json!({"spec": null, "status": null}), json!({"metadata": {}, "spec": {}, "status": {}, "more": 1})] {
            let pod: Pod = serde_json::from_value(text).unwrap();
            assert!(pod.status.is_none_or(|status| status.container_statuses.is_empty()));
        }
        let nulls =
            json!({"spec": {"containers": null}, "status": {"conditions": null, "containerStatuses": [{"name": null, "imageID": null}]}});
        let pod: Pod = serde_json::from_value(nulls).unwrap();
        assert_eq!(pod.status.unwrap().container_statuses[0].name, "");
        let node: Node =
            serde_json::from_value(json!({"status": {"addresses": null, "daemonEndpoints": {"kubeletEndpoint": {}}}})).unwrap();
        assert!(node.spec.is_none() && node.status.unwrap().addresses.is_empty());
    }
}
