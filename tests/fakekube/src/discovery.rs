//! What the API consists of, and whether it is well.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::aggregation::registered;
use crate::resource::{RESOURCES, Resource, groups};
use crate::server::Server;
use crate::status::{Failure, json_response};

/// The version that is pretended to.
const VERSION: [&str; 3] = ["1", "35", "v1.35.0"];

pub(crate) fn answer(server: &Server, method: &Method, path: &str) -> Result<Response, Failure> {
    if *method != Method::GET && *method != Method::HEAD {
        return Err(Failure::method_not_allowed());
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let document = match parts.as_slice() {
        ["livez" | "readyz" | "healthz", ..] => return Ok("ok".into_response()),
        ["version"] => version(),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["api", "v1"] => resources("", "v1"),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all_groups(server)}),
        ["apis", name] => {
            let group = all_groups(server).into_iter().find(|group| group["name"] == *name).ok_or_else(Failure::no_such_path)?;
            let mut group = group;
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        ["apis", group, "v1"] if groups().contains(group) => resources(group, "v1"),
        _ => return Err(Failure::no_such_path()),
    };
    Ok(json_response(StatusCode::OK, &document))
}

fn version() -> Value {
    let [major, minor, version] = VERSION;
    json!({
        "major": major, "minor": minor, "gitVersion": version, "gitCommit": "fakekube", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
    })
}

fn resources(group: &str, version: &str) -> Value {
    let served = RESOURCES.iter().filter(|one| one.group == group);
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": served.flat_map(Resource::discovery).collect::<Vec<_>>()})
}

/// Built in, then those of the aggregation layer.
fn all_groups(server: &Server) -> Vec<Value> {
    let built_in = groups().into_iter().map(|group| (group.to_owned(), "v1".to_owned()));
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (group, version) in built_in.chain(registered(&server.store.lock())) {
        match found.iter_mut().find(|(name, _)| *name == group) {
            Some((_, versions)) => versions.push(version),
            None => found.push((group, vec![version])),
        }
    }
    let told = |(name, versions): (String, Vec<String>)| {
        let versions: Vec<_> =
            versions.iter().map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version})).collect();
        json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
    };
    found.into_iter().map(told).collect()
}
