//! Creating, changing and deleting objects. Nothing is defaulted or validated beyond names and versions.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crate::protobuf;
use crate::representation::Representation;
use crate::request::Attributes;
use crate::resource::Resource;
use crate::status::{Failure, json_response};
use crate::store::Store;

/// The body of a request that sends an object.
pub(crate) fn body(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Failure> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|media_type| media_type.to_str().ok()).unwrap_or("application/json");
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence == protobuf::MEDIA_TYPE {
        return protobuf::self_review(bytes).ok_or_else(|| Failure::unsupported_media_type(media_type));
    }
    if !matches!(essence, "application/json" | "application/merge-patch+json") {
        return Err(Failure::unsupported_media_type(media_type));
    }
    serde_json::from_slice(bytes).map_err(|error| Failure::bad_request(format!("the object provided is unrecognized: {error}")))
}

pub(crate) fn answer(store: &mut Store, resource: &'static Resource, asked: &Attributes, sent: Value) -> Result<Response, Failure> {
    let (status, object) = match asked.verb.as_str() {
        "create" => (StatusCode::CREATED, store.create(placed(resource, asked, sent)?)?),
        "update" => (StatusCode::OK, store.update(placed(resource, asked, sent)?)?),
        "patch" => {
            let present =
                store.get(resource, &asked.namespace_of(resource), &asked.name).ok_or_else(|| Failure::not_found(resource, &asked.name))?;
            let mut changed = (**present).clone();
            merge(&mut changed, sent);
            (StatusCode::OK, store.update(placed(resource, asked, changed)?)?)
        }
        "delete" => (StatusCode::OK, store.delete(resource, &asked.namespace_of(resource), &asked.name)?),
        _ => return Err(Failure::method_not_allowed()),
    };
    Ok(json_response(status, &Representation::Whole.object(resource, &object)))
}

impl Attributes {
    fn namespace_of(&self, resource: &Resource) -> String {
        if resource.is_namespaced { self.namespace.clone() } else { String::new() }
    }
}

/// The object as the path names it; refused if it says something else of itself.
fn placed(resource: &Resource, asked: &Attributes, mut object: Value) -> Result<Value, Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request("the object provided is unrecognized"));
    }
    let namespace = asked.namespace_of(resource);
    for (path, wanted) in [("name", &asked.name), ("namespace", &namespace)] {
        let told = object["metadata"][path].as_str().unwrap_or_default();
        if !told.is_empty() && !wanted.is_empty() && told != wanted {
            return Err(Failure::bad_request(format!("the {path} of the object ({told}) does not match the {path} on the URL ({wanted})")));
        }
        if !wanted.is_empty() {
            object["metadata"][path] = json!(wanted);
        }
    }
    let kind = &object["kind"];
    if !kind.is_null() && *kind != resource.kind {
        return Err(Failure::bad_request(format!("the object provided is of kind {kind}, not {}", resource.kind)));
    }
    object["kind"] = json!(resource.kind);
    object["apiVersion"] = json!(resource.api_version());
    let generated = object["metadata"]["generateName"].as_str().map(str::to_owned);
    if let Some(prefix) = generated.filter(|_| object["metadata"]["name"].is_null()) {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|_| Failure::unavailable("no randomness"))?;
        object["metadata"]["name"] = json!(format!("{prefix}{:08x}", u32::from_le_bytes(random)));
    }
    Ok(object)
}

/// RFC 7386.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            if let Some(fields) = target.as_object_mut() {
                fields.remove(&name);
            }
        } else {
            merge(&mut target[name], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_sets_and_takes_away() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut target, json!({"a": {"b": null, "e": {"f": 3}}, "d": [2]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {"f": 3}}, "d": [2]}));
    }
}
