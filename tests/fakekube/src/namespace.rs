//! The end of a namespace: it takes what is in it along, once every group of the aggregation layer has said what it consists of.
//!
//! The namespace controller has to know all resources to delete those that are in a namespace. While one group cannot be asked, the namespace
//! stays, `Terminating`, with the condition that tells why; it is tried again every [`INTERVAL`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::aggregation;
use crate::identity::User;
use crate::representation::Representation;
use crate::request::{Attributes, Parameters};
use crate::resource::NAMESPACES;
use crate::server::Server;
use crate::status::{Failure, json_response};

const INTERVAL: Duration = Duration::from_millis(500);
/// As long as the namespace controller waits.
const PATIENCE: Duration = Duration::from_secs(5);
const DOCUMENT: usize = 1 << 20;

/// Deletes it now, or leaves it terminating until that can be done.
pub(crate) async fn delete(server: &Server, name: &str) -> Result<Response, Failure> {
    let object = server.store.lock().get(NAMESPACES, "", name).cloned().ok_or_else(|| Failure::not_found(NAMESPACES, name))?;
    let shown = match unknown_groups(server).await {
        groups if groups.is_empty() => server.change(|store| store.delete(NAMESPACES, "", name))?,
        groups => {
            let terminating = server.change(|store| store.apply(terminating(&object, &groups)))?;
            tokio::spawn(keep_trying(Arc::clone(server), name.to_owned()));
            terminating
        }
    };
    Ok(json_response(StatusCode::OK, &Representation::Whole.object(NAMESPACES, &shown)))
}

async fn keep_trying(server: Server, name: String) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if unknown_groups(&server).await.is_empty() {
            // Somebody else may have deleted it.
            drop(server.change(|store| store.delete(NAMESPACES, "", &name)));
            return;
        }
    }
}

fn terminating(object: &Value, groups: &[String]) -> Value {
    let mut object = object.clone();
    object["metadata"]["deletionTimestamp"] = object["metadata"]["creationTimestamp"].clone();
    let message = format!(
        "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
        groups.len(),
        groups.join(", ")
    );
    object["status"] = json!({
        "phase": "Terminating",
        "conditions": [{"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "reason": "DiscoveryFailed", "message": message}],
    });
    object
}

/// Registered groups that do not tell their resources.
async fn unknown_groups(server: &Server) -> Vec<String> {
    let registered = aggregation::registered(&server.store.lock());
    let mut unknown = Vec::new();
    for (group, version) in registered {
        if resources(server, &group, &version).await.is_none() {
            unknown.push(format!("{group}/{version}"));
        }
    }
    unknown
}

/// A group's `APIResourceList`.
async fn resources(server: &Server, group: &str, version: &str) -> Option<Value> {
    let path = format!("/apis/{group}/{version}");
    let backend = aggregation::backend_of(&server.store.lock(), &path)?;
    let controller = User { name: "system:serviceaccount:kube-system:namespace-controller".to_owned(), ..User::default() }.authenticated();
    let asked = Attributes::parse(&Method::GET, &path, &Parameters::default());
    let request = Request::get(&path).body(Body::empty()).ok()?;
    let proxied = aggregation::proxied(server, &backend, &controller, &asked, request);
    let answer = tokio::time::timeout(PATIENCE, proxied).await.ok()?.ok().filter(|answer| answer.status().is_success())?;
    let body = to_bytes(answer.into_body(), DOCUMENT).await.ok()?;
    serde_json::from_slice::<Value>(&body).ok().filter(|document| document["kind"] == "APIResourceList")
}
