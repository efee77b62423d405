//! What Kubernetes clients read first: which groups, versions and resources there are. The same for everybody, and known without a store.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

pub(super) const GROUP: &str = "logs.tailwater.io";
pub(super) const VERSION: &str = "v1";
pub(super) const ROOT: &str = "/apis/logs.tailwater.io/v1";

pub(super) fn routes() -> Router {
    Router::new()
        .route("/apis", get(async || shown(&groups())))
        .route("/apis/logs.tailwater.io", get(async || shown(&group())))
        .route(ROOT, get(async || shown(&resources())))
        .route("/openapi/v2", get(async || shown(&openapi_v2())))
        .route("/openapi/v3", get(async || shown(&json!({"paths": {}}))))
        .route("/version", get(async || shown(&version())))
        .route("/livez", get(async || "ok"))
}

fn shown(document: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

fn group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version})
}

fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]})
}

/// Resources as the API server names them when it decides about a path: `…/loki/api/v1/…` is resource `loki`, name `api`, subresource `v1`.
fn resources() -> Value {
    let resource = |name: &str, kind: &str, verbs: &[&str]| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs});
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [resource("loki", "Loki", &["get"]), resource("loki/v1", "Loki", &["get", "create"]), resource("pods/log", "Pod", &["get"])],
    })
}

/// There are no objects to be described.
fn openapi_v2() -> Value {
    json!({"swagger": "2.0", "info": {"title": "tailwater", "version": env!("CARGO_PKG_VERSION")}, "paths": {}, "definitions": {}})
}

fn version() -> Value {
    json!({"major": "1", "minor": "0", "gitVersion": format!("v{}", env!("CARGO_PKG_VERSION")), "platform": std::env::consts::ARCH})
}
