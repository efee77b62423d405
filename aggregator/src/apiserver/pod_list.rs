//! Pods as Kubernetes clients read them: a list, one of them, or bookmarks of a watch. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apiserver::pods::{PodPage, PodSummary};
use crate::apiserver::shape::{self, Included, Shape, api_version, list_metadata, seconds};
use crate::apiserver::version::ResourceVersion;

impl Shape {
    /// All pods of an answer.
    pub(super) fn list(self, page: &PodPage) -> Value {
        let metadata = list_metadata(page.version, page.next.as_deref());
        match self {
            Self::Objects => {
                let items: Vec<Value> = page.pods.iter().map(|pod| object(pod, page.version)).collect();
                json!({"kind": "PodList", "apiVersion": api_version(), "metadata": metadata, "items": items})
            }
            Self::Table(included) => table(&page.pods, page.version, &metadata, included),
        }
    }

    /// One pod.
    pub(super) fn one(self, pod: &PodSummary, version: ResourceVersion) -> Value {
        match self {
            Self::Objects => object(pod, version),
            Self::Table(included) => table(std::slice::from_ref(pod), version, &list_metadata(version, None), included),
        }
    }

    /// What a watch is told that had nothing to be told of. `is_initial_end`: all that was there at its begin has been sent.
    pub(super) fn bookmark(self, version: ResourceVersion, is_initial_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": version.to_string()});
        match self {
            Self::Objects => {
                metadata["creationTimestamp"] = Value::Null;
                if is_initial_end {
                    metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                json!({"kind": "Pod", "apiVersion": api_version(), "metadata": metadata})
            }
            Self::Table(included) => table(&[], version, &metadata, included),
        }
    }
}

fn metadata(pod: &PodSummary, version: ResourceVersion) -> Value {
    let PodSummary { key, uid, places, .. } = pod;
    let mut metadata = json!({
        "name": key.name, "namespace": key.namespace, "creationTimestamp": seconds(pod.first), "resourceVersion": version.to_string(),
    });
    if !uid.is_empty() {
        metadata["uid"] = json!(uid);
    }
    if !places.labels.is_empty() {
        metadata["labels"] = json!(places.labels);
    }
    metadata
}

fn object(pod: &PodSummary, version: ResourceVersion) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": api_version(),
        "metadata": metadata(pod, version),
        "status": {
            "nodeName": pod.places.node,
            "containers": pod.places.containers,
            "firstLine": stamp(pod.first),
            "lastLine": stamp(pod.last),
            "lines": pod.lines,
            "bytes": pod.bytes,
        },
    })
}

fn table(pods: &[PodSummary], version: ResourceVersion, list: &Value, included: Included) -> Value {
    let column = |name: &str, kind: &str, format: &str, priority: u8, description: &str| json!({"name": name, "type": kind, "format": format, "priority": priority, "description": description});
    let columns = [
        column("Name", "string", "name", 0, "Name of the pod"),
        column("Containers", "string", "", 0, "Containers that have logged"),
        column("First", "string", "", 0, "Time of its first line"),
        column("Last", "string", "", 0, "Time of its last line"),
        column("Lines", "integer", "int64", 0, "Number of lines"),
        column("Bytes", "integer", "int64", 0, "Bytes of its lines"),
        column("Node", "string", "", 1, "Node that it ran on"),
        column("UID", "string", "", 1, "Tells apart pods that had the same name"),
    ];
    let row = |pod: &PodSummary| {
        let containers: Vec<&str> = pod.places.containers.iter().map(String::as_str).collect();
        let cells = json!([
            pod.key.name,
            containers.join(","),
            seconds(pod.first),
            seconds(pod.last),
            pod.lines,
            pod.bytes,
            pod.places.node,
            pod.uid
        ]);
        included.row(cells, || metadata(pod, version), || object(pod, version))
    };
    shape::table(list, &json!(columns), pods.iter().map(row))
}

/// A time as of RFC 3339, to the nanosecond.
fn stamp(nanoseconds: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|stamp| stamp.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::apiserver::pods::{Places, PodKey};

    const VERSION_OF_TEST: i64 = 1_768_903_300_000_000_000;

    fn version() -> ResourceVersion {
        ResourceVersion::new(VERSION_OF_TEST, [])
    }

    fn pod() -> PodSummary {
        let containers = BTreeSet::from(["side".to_owned(), "web".to_owned()]);
        let labels = [("app".to_owned(), "till".to_owned())].into();
        PodSummary {
            key: PodKey { namespace: "shop".to_owned(), name: "web-1".to_owned() },
            uid: "u".to_owned(),
            places: Places { containers, node: "n1".to_owned(), labels },
            first: 1_768_903_200_500_000_000,
            last: 1_768_903_260_000_000_000,
            lines: 7,
            bytes: 90,
        }
    }

    #[test]
    fn objects_tell_when_where_and_how_much() {
        let page = PodPage { pods: vec![pod()], next: Some("shop/web-1".to_owned()), version: version() };
        let list = Shape::Objects.list(&page);
        assert_eq!((&list["kind"], &list["metadata"]["continue"]), (&json!("PodList"), &json!("shop/web-1")));
        let expected = json!({
            "kind": "Pod", "apiVersion": "logs.tailwater.io/v1",
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-20T10:00:00Z", "resourceVersion": version().to_string(), "labels": {"app": "till"}},
            "status": {"nodeName": "n1", "containers": ["side", "web"], "firstLine": "2026-01-20T10:00:00.5Z", "lastLine": "2026-01-20T10:01:00Z", "lines": 7, "bytes": 90},
        });
        assert_eq!(list["items"], json!([expected]));
        assert_eq!(Shape::Objects.one(&pod(), version()), expected);
    }

    #[test]
    fn a_bookmark_has_a_version_and_no_pod() {
        let ended = Shape::Objects.bookmark(version(), true);
        assert_eq!((&ended["kind"], &ended["metadata"]["annotations"]["k8s.io/initial-events-end"]), (&json!("Pod"), &json!("true")));
        let table = Shape::Table(Included::Metadata).bookmark(version(), false);
        assert_eq!((&table["rows"], &table["metadata"]["resourceVersion"]), (&json!([]), &json!(version().to_string())));
    }

    #[test]
    fn rows_have_a_cell_for_each_column() {
        for included in [Included::Nothing, Included::Metadata, Included::Whole] {
            let table = Shape::Table(included).one(&pod(), version());
            let columns = table["columnDefinitions"].as_array().expect("columns").len();
            let row = &table["rows"][0];
            assert_eq!(row["cells"].as_array().expect("cells").len(), columns);
            assert_eq!(row["cells"][1], json!("side,web"));
            assert_eq!(row["object"]["kind"].as_str(), [None, Some("PartialObjectMetadata"), Some("Pod")][included as usize]);
        }
    }
}
