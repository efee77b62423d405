//! What a path stands for: one of the aggregator's reading endpoints, pods, the log of a pod, or events. Pure; whatever is none of them is nothing.

use crate::access::routes::RouteNeeds;
use crate::apiserver::discovery::ROOT;

/// What is read, and the namespace that it is confined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// `None`: all that the caller may read.
    pub(super) namespace: Option<String>,
    /// Below the namespace or the version, escaped as it came.
    pub(super) path: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// An endpoint of the aggregator.
    Endpoint,
    /// One that is followed over a WebSocket.
    Tail,
    /// The log of a pod as text.
    PodLog { pod: String },
    /// Pods that have logs, of a namespace or of all.
    Pods,
    /// One of them.
    Pod { pod: String },
    /// Kubernetes' events that are stored, of a namespace or of all.
    Events,
}

impl Target {
    /// Of a path as it was sent, without its query.
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        let (namespace, path) = match rest.strip_prefix("/namespaces/") {
            Some(rest) => {
                let (namespace, _) = rest.split_once('/')?;
                (Some(namespace.to_owned()).filter(|name| is_name(name))?.into(), &rest[namespace.len()..])
            }
            None => (None, rest),
        };
        let kind = match of_resources(path, namespace.is_some()) {
            Some(kind) => kind,
            None => match RouteNeeds::of(&pattern(path)?) {
                RouteNeeds::LiveLogs => Kind::Tail,
                RouteNeeds::Logs => Kind::Endpoint,
                RouteNeeds::Nothing | RouteNeeds::Identity | RouteNeeds::Everything => return None,
            },
        };
        Some(Self { namespace, path: path.to_owned(), kind })
    }

    /// As metrics call it.
    pub(super) fn route(&self) -> &'static str {
        match self.kind {
            Kind::Endpoint => "loki",
            Kind::Tail => "tail",
            Kind::PodLog { .. } => "pod_log",
            Kind::Pods | Kind::Pod { .. } => "pods",
            Kind::Events => "events",
        }
    }
}

/// What a path below a namespace or the version stands for, if it is of pods or events. A single pod is in a namespace.
fn of_resources(path: &str, has_namespace: bool) -> Option<Kind> {
    match path {
        "/pods" => return Some(Kind::Pods),
        "/events" => return Some(Kind::Events),
        _ if !has_namespace => return None,
        _ => {}
    }
    let rest = path.strip_prefix("/pods/")?;
    let (pod, is_log) = match rest.strip_suffix("/log") {
        Some(pod) => (pod, true),
        None => (rest, false),
    };
    let pod = Some(pod).filter(|pod| is_pod_name(pod))?.to_owned();
    Some(if is_log { Kind::PodLog { pod } } else { Kind::Pod { pod } })
}

fn is_pod_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_part) && !text.starts_with('.')
}

/// The route that a path of Loki's API has.
fn pattern(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/loki/api/v1/")?;
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.iter().any(|part| part.is_empty() || matches!(*part, "." | "..")) {
        return None;
    }
    match parts.as_slice() {
        [kind @ ("label" | "detected_field"), _, "values"] => Some(format!("/loki/api/v1/{kind}/{{name}}/values")),
        // Escapes have no place in the names of endpoints.
        _ if rest.contains(['%', '{']) => None,
        _ => Some(path.to_owned()),
    }
}

/// Whether a text can be the name of a namespace.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(is_part) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<(Option<String>, String, Kind)> {
        Target::of(&format!("/apis/logs.tailwater.io/v1{path}")).map(|target| (target.namespace, target.path, target.kind))
    }

    #[test]
    fn reading_endpoints_are_reached_within_a_namespace_or_everywhere() {
        let owned = |namespace: Option<&str>, path: &str, kind| Some((namespace.map(str::to_owned), path.to_owned(), kind));
        let pod = |pod: &str| Kind::PodLog { pod: pod.to_owned() };
        for (path, expected) in [
            ("/loki/api/v1/query_range", owned(None, "/loki/api/v1/query_range", Kind::Endpoint)),
            ("/namespaces/a/pods/web-1.x/log", owned(Some("a"), "/pods/web-1.x/log", pod("web-1.x"))),
            ("/namespaces/a/pods", owned(Some("a"), "/pods", Kind::Pods)),
            ("/pods", owned(None, "/pods", Kind::Pods)),
            ("/events", owned(None, "/events", Kind::Events)),
            ("/namespaces/a/events", owned(Some("a"), "/events", Kind::Events)),
            ("/namespaces/a/pods/web-1.x", owned(Some("a"), "/pods/web-1.x", Kind::Pod { pod: "web-1.x".to_owned() })),
            ("/namespaces/a/loki/api/v1/query", owned(Some("a"), "/loki/api/v1/query", Kind::Endpoint)),
            ("/namespaces/a/loki/api/v1/tail", owned(Some("a"), "/loki/api/v1/tail", Kind::Tail)),
            ("/namespaces/a-1/loki/api/v1/label/pod%2Fx/values", owned(Some("a-1"), "/loki/api/v1/label/pod%2Fx/values", Kind::Endpoint)),
            ("/namespaces/a/loki/api/v1/index/volume_range", owned(Some("a"), "/loki/api/v1/index/volume_range", Kind::Endpoint)),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_reached() {
        for path in [
            "",
            "/",
            "/loki/api/v1/push",
            "/loki/api/v1/delete",
            "/loki/api/v1/rules",
            "/namespaces/a/loki/api/v1/delete",
            "/namespaces/a/../b/loki/api/v1/query",
            "/namespaces/a/loki/api/v1/../../../config",
            "/namespaces/a/loki/api/v1/%2e%2e/query",
            "/namespaces/a%2fb/loki/api/v1/query",
            "/namespaces/../loki/api/v1/query",
            "/namespaces//loki/api/v1/query",
            "/namespaces/A/loki/api/v1/query",
            "/namespaces/a/config",
            "/namespaces/a//loki/api/v1/query",
            "/namespaces/a/loki/api/v1/label/{name}/values/x",
            "/namespaces/a/loki/api/v1/label/../values",
            "/namespaces/a/loki/api/v1/query%2frange",
            "/namespaces/a/loki/api/v1/query/",
            "/pods/p/log",
            "/pods/p",
            "/pods/",
            "/events/e",
            "/namespaces/a/events/e",
            "/namespaces/a/podsx",
            "/namespaces/a/pods/",
            "/namespaces/a/pods/p/status",
            "/namespaces/a/pods/..",
            "/namespaces/a/pods//log",
            "/namespaces/a/pods/../log",
            "/namespaces/a/pods/a/b/log",
            "/namespaces/a/pods/a%22/log",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(Target::of("/loki/api/v1/query"), None);
    }
}
