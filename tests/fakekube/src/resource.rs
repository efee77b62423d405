//! The kinds of object that are served, and what of them can be selected by field.

use serde_json::{Value, json};

/// One kind, as discovery tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) is_namespaced: bool,
    /// Reviews are asked, not kept.
    pub(crate) is_kept: bool,
    short_names: &'static [&'static str],
    /// Selectable beside `metadata.name` and `metadata.namespace`.
    fields: &'static [&'static str],
}

const KEPT_VERBS: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

const fn kept(group: &'static str, plural: &'static str, kind: &'static str, is_namespaced: bool) -> Resource {
    Resource { group, version: "v1", plural, kind, is_namespaced, is_kept: true, short_names: &[], fields: &[] }
}

const fn review(group: &'static str, plural: &'static str, kind: &'static str) -> Resource {
    Resource { is_kept: false, ..kept(group, plural, kind, false) }
}

const RBAC: &str = "rbac.authorization.k8s.io";

pub(crate) const PODS: &Resource = &RESOURCES[0];
pub(crate) const NAMESPACES: &Resource = &RESOURCES[1];
#[cfg(test)]
pub(crate) const CONFIG_MAPS: &Resource = &RESOURCES[2];
pub(crate) const SERVICES: &Resource = &RESOURCES[3];
pub(crate) const ENDPOINT_SLICES: &Resource = &RESOURCES[4];
pub(crate) const ROLES: &Resource = &RESOURCES[5];
pub(crate) const ROLE_BINDINGS: &Resource = &RESOURCES[6];
pub(crate) const CLUSTER_ROLES: &Resource = &RESOURCES[7];
pub(crate) const CLUSTER_ROLE_BINDINGS: &Resource = &RESOURCES[8];
pub(crate) const API_SERVICES: &Resource = &RESOURCES[9];

pub(crate) static RESOURCES: [Resource; 18] = [
    Resource {
        short_names: &["po"],
        fields: &[
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
        ],
        ..kept("", "pods", "Pod", true)
    },
    Resource { short_names: &["ns"], fields: &["status.phase"], ..kept("", "namespaces", "Namespace", false) },
    Resource { short_names: &["cm"], ..kept("", "configmaps", "ConfigMap", true) },
    Resource { short_names: &["svc"], ..kept("", "services", "Service", true) },
    kept("discovery.k8s.io", "endpointslices", "EndpointSlice", true),
    kept(RBAC, "roles", "Role", true),
    kept(RBAC, "rolebindings", "RoleBinding", true),
    kept(RBAC, "clusterroles", "ClusterRole", false),
    kept(RBAC, "clusterrolebindings", "ClusterRoleBinding", false),
    kept("apiregistration.k8s.io", "apiservices", "APIService", false),
    Resource { short_names: &["no"], fields: &["spec.unschedulable"], ..kept("", "nodes", "Node", false) },
    Resource {
        short_names: &["ev"],
        fields: &[
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ..kept("", "events", "Event", true)
    },
    Resource { short_names: &["sa"], ..kept("", "serviceaccounts", "ServiceAccount", true) },
    kept("events.k8s.io", "events", "Event", true),
    kept("coordination.k8s.io", "leases", "Lease", true),
    review("authentication.k8s.io", "tokenreviews", "TokenReview"),
    review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
];

impl Resource {
    pub(crate) fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|one| one.group == group && one.version == version && one.plural == plural)
    }

    pub(crate) fn of_object(object: &Value) -> Option<&'static Self> {
        let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
        RESOURCES.iter().find(|one| one.is_kept && one.kind == kind && one.api_version() == api_version)
    }

    /// `v1`, `coordination.k8s.io/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods`, `leases.coordination.k8s.io`: as errors name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn selects_by(&self, field: &str) -> bool {
        field == "metadata.name" || (self.is_namespaced && field == "metadata.namespace") || self.fields.contains(&field)
    }

    /// Its entries of an `APIResourceList`: itself, and what is below it.
    pub(crate) fn discovery(&self) -> Vec<Value> {
        let verbs: &[&str] = if self.is_kept { &KEPT_VERBS } else { &["create"] };
        let singular = self.kind.to_lowercase();
        let mut entry =
            json!({"name": self.plural, "singularName": singular, "namespaced": self.is_namespaced, "kind": self.kind, "verbs": verbs});
        if !self.short_names.is_empty() {
            entry["shortNames"] = json!(self.short_names);
        }
        let below = |name: &str, kind: &str, verbs: &[&str]| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs});
        match self.plural {
            "pods" => vec![entry, below("pods/log", "Pod", &["get"])],
            "services" => vec![entry, below("services/proxy", "ServiceProxyOptions", &["create", "delete", "get", "patch", "update"])],
            _ => vec![entry],
        }
    }
}

/// Names of the groups other than core, each with one version.
pub(crate) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = RESOURCES.iter().map(|one| one.group).filter(|group| !group.is_empty()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_kinds() {
        let named = [
            PODS,
            NAMESPACES,
            CONFIG_MAPS,
            SERVICES,
            ENDPOINT_SLICES,
            ROLES,
            ROLE_BINDINGS,
            CLUSTER_ROLES,
            CLUSTER_ROLE_BINDINGS,
            API_SERVICES,
        ];
        let kinds = [
            "Pod",
            "Namespace",
            "ConfigMap",
            "Service",
            "EndpointSlice",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
            "APIService",
        ];
        assert_eq!(named.map(|one| one.kind), kinds);
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"});
        assert_eq!(Resource::of_object(&lease).map(Resource::qualified).as_deref(), Some("leases.coordination.k8s.io"));
        assert_eq!(Resource::of_object(&json!({"apiVersion": "apps/v1", "kind": "Deployment"})), None);
    }
}
