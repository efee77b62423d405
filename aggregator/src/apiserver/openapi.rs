//! What `kubectl explain` and clients that read schemas are told: the pods that have logs, events, and the paths under which they
//! and logs are.
//! Fixed documents; version 2 as Swagger has it, version 3 one document for the group.

use serde_json::{Value, json};

use crate::apiserver::discovery::{GROUP, OPENAPI_OF_GROUP, ROOT, VERSION};

const POD: &str = "io.tailwater.logs.v1.Pod";
const POD_LIST: &str = "io.tailwater.logs.v1.PodList";
const EVENT: &str = "io.tailwater.logs.v1.Event";
const EVENT_LIST: &str = "io.tailwater.logs.v1.EventList";

/// Everything, as version 2.
pub(super) fn v2() -> Value {
    json!({"swagger": "2.0", "info": info(), "paths": paths("#/definitions/"), "definitions": schemas("#/definitions/")})
}

/// Which documents of version 3 there are.
pub(super) fn v3() -> Value {
    let place = format!("{OPENAPI_OF_GROUP}?hash={}", env!("CARGO_PKG_VERSION"));
    json!({"paths": {ROOT.trim_start_matches('/'): {"serverRelativeURL": place}}})
}

pub(super) fn v3_of_group() -> Value {
    let reference = "#/components/schemas/";
    json!({"openapi": "3.0.0", "info": info(), "paths": paths(reference), "components": {"schemas": schemas(reference)}})
}

fn info() -> Value {
    json!({"title": "tailwater", "version": env!("CARGO_PKG_VERSION")})
}

fn kind(kind: &str) -> Value {
    json!({"group": GROUP, "version": VERSION, "kind": kind})
}

fn paths(reference: &str) -> Value {
    let is_v2 = reference == "#/definitions/";
    let get = |(action, place): (&str, &str), (about, of): (&str, &str), description: &str| {
        let schema = json!({"$ref": format!("{reference}{of}")});
        let answer = match is_v2 {
            true => json!({"description": "OK", "schema": schema}),
            false => json!({"description": "OK", "content": {"application/json": {"schema": schema}}}),
        };
        json!({"get": {
            "operationId": format!("{action}LogsTailwaterIoV1{place}{about}"),
            "description": description,
            "responses": {"200": answer},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind(about),
        }})
    };
    let text = match is_v2 {
        true => json!({"description": "OK", "schema": {"type": "string"}}),
        false => json!({"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}),
    };
    let log = json!({"get": {
        "operationId": "readLogsTailwaterIoV1NamespacedPodLog",
        "description": "what a pod has written, also when it is gone",
        "responses": {"200": text},
        "x-kubernetes-action": "get",
        "x-kubernetes-group-version-kind": kind("Pod"),
    }});
    json!({
        format!("{ROOT}/namespaces/{{namespace}}/pods"): get(("list", "Namespaced"), ("Pod", POD_LIST), "pods that have logs, those that are gone included"),
        format!("{ROOT}/namespaces/{{namespace}}/pods/{{name}}"): get(("get", "Namespaced"), ("Pod", POD), "the newest pod of a name that has logs"),
        format!("{ROOT}/pods"): get(("list", "AllNamespaces"), ("Pod", POD_LIST), "the same of all namespaces that may be read"),
        format!("{ROOT}/namespaces/{{namespace}}/events"): get(("list", "Namespaced"), ("Event", EVENT_LIST), "events that are stored as logs, newest first"),
        format!("{ROOT}/events"): get(("list", "AllNamespaces"), ("Event", EVENT_LIST), "the same of all namespaces that may be read"),
        format!("{ROOT}/namespaces/{{namespace}}/pods/{{name}}/log"): log,
    })
}

fn schemas(reference: &str) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    let head = |kind: &str, metadata: &str| json!({"apiVersion": text("logs.tailwater.io/v1"), "kind": text(kind), "metadata": {"type": "object", "description": metadata}});
    let mut pod = head("Pod", "name, namespace, uid, labels of its streams, time of the first line");
    pod["status"] = json!({"type": "object", "description": "What its logs tell of it", "properties": {
        "nodeName": text("Node that it ran on"),
        "containers": {"type": "array", "description": "Containers that have logged", "items": {"type": "string"}},
        "firstLine": text("Time of its first line, RFC 3339"),
        "lastLine": text("Time of its last line, RFC 3339"),
        "lines": number("Number of lines"),
        "bytes": number("Bytes of its lines"),
    }});
    let mut pods = head("PodList", "version, where the next list goes on");
    pods["items"] = json!({"type": "array", "description": "Pods by name, incarnations of one name newest first", "items": {"$ref": format!("{reference}{POD}")}});
    let mut events = head("EventList", "where the next list goes on");
    events["items"] = json!({"type": "array", "description": "Newest first", "items": {"$ref": format!("{reference}{EVENT}")}});
    let event = || {
        let mut event = head("Event", "name of the event with its time in hexadecimal, namespace, time");
        event["involvedObject"] = json!({"type": "object", "description": "What it is about: kind, name, namespace, fieldPath"});
        for (field, description) in [
            ("type", "Normal or Warning"),
            ("reason", "Why it was told"),
            ("action", "What was done"),
            ("message", "What happened"),
            ("lastTimestamp", "When it happened"),
        ] {
            event[field] = text(description);
        }
        event["count"] = number("How often it has happened so far");
        event["source"] = json!({"type": "object", "description": "Who told it: component, host"});
        event
    };
    json!({
        POD: {"type": "object", "description": "A pod that has logs", "properties": pod, "x-kubernetes-group-version-kind": [kind("Pod")]},
        POD_LIST: {"type": "object", "description": "Pods that have logs", "properties": pods, "x-kubernetes-group-version-kind": [kind("PodList")]},
        EVENT: {"type": "object", "description": "Something that happened in the cluster", "properties": event(), "x-kubernetes-group-version-kind": [kind("Event")]},
        EVENT_LIST: {"type": "object", "description": "Events", "properties": events, "x-kubernetes-group-version-kind": [kind("EventList")]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of a document.
    fn references(document: &Value, found: &mut Vec<String>) {
        match document {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
                Some(reference) if name == "$ref" => found.push(reference.to_owned()),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn references_lead_somewhere() {
        for document in [v2(), v3_of_group()] {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert_eq!(found.len(), 7, "{found:?}");
            for reference in found {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
        let place = v3()["paths"]["apis/logs.tailwater.io/v1"]["serverRelativeURL"].clone();
        assert!(place.as_str().is_some_and(|place| place.starts_with(OPENAPI_OF_GROUP)), "{place}");
    }
}
