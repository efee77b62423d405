//! What Kubernetes clients read first: which groups, versions and resources there are. The same for everybody, and known without a store.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::apiserver::openapi;

pub(super) const GROUP: &str = "logs.tailwater.io";
pub(super) const VERSION: &str = "v1";
pub(super) const ROOT: &str = "/apis/logs.tailwater.io/v1";
pub(super) const OPENAPI_OF_GROUP: &str = "/openapi/v3/apis/logs.tailwater.io/v1";

pub(super) fn routes() -> Router {
    Router::new()
        .route("/apis", get(async || shown(&groups())))
        .route("/apis/logs.tailwater.io", get(async || shown(&group())))
        .route(ROOT, get(async || shown(&resources())))
        .route("/openapi/v2", get(async || shown(&openapi::v2())))
        .route("/openapi/v3", get(async || shown(&openapi::v3())))
        .route(OPENAPI_OF_GROUP, get(async || shown(&openapi::v3_of_group())))
        .route("/version", get(async || shown(&version())))
        .route("/livez", get(async || "ok"))
}

/// Whether a path is one of these.
pub(super) fn is_part(path: &str) -> bool {
    matches!(path, "/apis" | "/apis/logs.tailwater.io" | ROOT | "/openapi/v2" | "/openapi/v3" | OPENAPI_OF_GROUP | "/version")
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
/// None of them can be deleted, so that the deletion of a namespace asks for nothing beyond this document.
fn resources() -> Value {
    let resource = |name: &str, singular: &str, kind: &str, verbs: &[&str]| json!({"name": name, "singularName": singular, "namespaced": true, "kind": kind, "verbs": verbs});
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [
            resource("events", "event", "Event", &["list"]),
            resource("loki", "", "Loki", &["get"]),
            resource("loki/v1", "", "Loki", &["get", "create"]),
            resource("pods", "pod", "Pod", &["get", "list", "watch"]),
            resource("pods/log", "", "Pod", &["get"]),
        ],
    })
}

fn version() -> Value {
    json!({"major": "1", "minor": "0", "gitVersion": format!("v{}", env!("CARGO_PKG_VERSION")), "platform": std::env::consts::ARCH})
}
