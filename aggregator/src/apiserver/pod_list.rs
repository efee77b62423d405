//! Pods as Kubernetes clients read them: objects of a list, one object, or a `Table` that kubectl prints. Pure.

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apiserver::discovery::{GROUP, VERSION};
use crate::apiserver::pods::{PodPage, PodSummary};

/// How an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Objects,
    /// Rows, with as much of each object as `includeObject` asks for.
    Table(Included),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Included {
    Nothing,
    Metadata,
    Whole,
}

impl Shape {
    /// The first of the forms that a client accepts and that there is. `included`: parameter `includeObject`.
    pub(super) fn wanted(headers: &HeaderMap, included: &str) -> Result<Self, String> {
        let included = match included {
            "" | "Metadata" => Included::Metadata,
            "None" => Included::Nothing,
            "Object" => Included::Whole,
            other => return Err(format!("includeObject: `{other}` is none of None, Metadata, Object")),
        };
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        for accepted in accepted {
            let mut parts = accepted.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
                continue;
            }
            match parts.filter_map(|part| part.split_once('=')).find(|(name, _)| *name == "as") {
                None => return Ok(Self::Objects),
                Some((_, "Table")) => return Ok(Self::Table(included)),
                Some(_) => {}
            }
        }
        Ok(Self::Objects)
    }

    /// All pods of an answer.
    pub(super) fn list(self, page: &PodPage) -> Value {
        let mut metadata = json!({"resourceVersion": ""});
        if let Some(next) = &page.next {
            metadata["continue"] = json!(next);
        }
        match self {
            Self::Objects => {
                let items: Vec<Value> = page.pods.iter().map(object).collect();
                json!({"kind": "PodList", "apiVersion": api_version(), "metadata": metadata, "items": items})
            }
            Self::Table(included) => table(&page.pods, &metadata, included),
        }
    }

    /// One pod.
    pub(super) fn one(self, pod: &PodSummary) -> Value {
        match self {
            Self::Objects => object(pod),
            Self::Table(included) => table(std::slice::from_ref(pod), &json!({"resourceVersion": ""}), included),
        }
    }
}

fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

fn metadata(pod: &PodSummary) -> Value {
    let mut metadata = json!({"name": pod.name, "namespace": pod.namespace, "creationTimestamp": seconds(pod.first)});
    if !pod.uid.is_empty() {
        metadata["uid"] = json!(pod.uid);
    }
    metadata
}

fn object(pod: &PodSummary) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": api_version(),
        "metadata": metadata(pod),
        "status": {
            "nodeName": pod.node,
            "containers": pod.containers,
            "firstLine": stamp(pod.first),
            "lastLine": stamp(pod.last),
            "lines": pod.lines,
            "bytes": pod.bytes,
        },
    })
}

fn table(pods: &[PodSummary], list: &Value, included: Included) -> Value {
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
        let containers: Vec<&str> = pod.containers.iter().map(String::as_str).collect();
        let cells = json!([pod.name, containers.join(","), seconds(pod.first), seconds(pod.last), pod.lines, pod.bytes, pod.node, pod.uid]);
        match included {
            Included::Nothing => json!({"cells": cells}),
            Included::Metadata => {
                let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata(pod)});
                json!({"cells": cells, "object": partial})
            }
            Included::Whole => json!({"cells": cells, "object": object(pod)}),
        }
    };
    let rows: Vec<Value> = pods.iter().map(row).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list, "columnDefinitions": columns, "rows": rows})
}

/// A time as of RFC 3339, to the nanosecond.
fn stamp(nanoseconds: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|stamp| stamp.to_string()).unwrap_or_default()
}

/// The same to the second, as Kubernetes writes times.
fn seconds(nanoseconds: i64) -> String {
    Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000)).map(|stamp| stamp.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::collections::BTreeSet;

    fn wanted(accept: &'static str) -> Shape {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        Shape::wanted(&headers, "").expect("a form")
    }

    fn pod() -> PodSummary {
        let containers = BTreeSet::from(["side".to_owned(), "web".to_owned()]);
        let (name, namespace, uid, node) = ("web-1".to_owned(), "shop".to_owned(), "u".to_owned(), "n1".to_owned());
        PodSummary {
            name,
            namespace,
            uid,
            node,
            containers,
            first: 1_768_903_200_500_000_000,
            last: 1_768_903_260_000_000_000,
            lines: 7,
            bytes: 90,
        }
    }

    #[test]
    fn a_table_is_given_to_whom_asks_for_it_first() {
        let table = Shape::Table(Included::Metadata);
        assert_eq!(
            wanted("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"),
            table
        );
        assert_eq!(wanted("application/json; as=Table; v=v1"), table);
        assert_eq!(wanted("application/json, application/json;as=Table"), Shape::Objects);
        assert_eq!(wanted("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"), Shape::Objects);
        assert_eq!(wanted("application/vnd.kubernetes.protobuf,application/json"), Shape::Objects);
        assert!(Shape::wanted(&HeaderMap::new(), "All").is_err());
    }

    #[test]
    fn objects_tell_when_where_and_how_much() {
        let page = PodPage { pods: vec![pod()], next: Some("web-1".to_owned()) };
        let list = Shape::Objects.list(&page);
        assert_eq!((&list["kind"], &list["metadata"]["continue"]), (&json!("PodList"), &json!("web-1")));
        let expected = json!({
            "kind": "Pod", "apiVersion": "logs.tailwater.io/v1",
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-20T10:00:00Z"},
            "status": {"nodeName": "n1", "containers": ["side", "web"], "firstLine": "2026-01-20T10:00:00.5Z", "lastLine": "2026-01-20T10:01:00Z", "lines": 7, "bytes": 90},
        });
        assert_eq!(list["items"], json!([expected]));
        assert_eq!(Shape::Objects.one(&pod()), expected);
    }

    #[test]
    fn rows_have_a_cell_for_each_column() {
        for included in [Included::Nothing, Included::Metadata, Included::Whole] {
            let table = Shape::Table(included).one(&pod());
            let columns = table["columnDefinitions"].as_array().expect("columns").len();
            let row = &table["rows"][0];
            assert_eq!(row["cells"].as_array().expect("cells").len(), columns);
            assert_eq!(row["cells"][1], json!("side,web"));
            assert_eq!(row["object"]["kind"].as_str(), [None, Some("PartialObjectMetadata"), Some("Pod")][included as usize]);
        }
    }
}
