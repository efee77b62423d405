//! OpenAPI, version 3: none of its own, what the groups of the aggregation layer tell of themselves.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::aggregation::{self, Backend};
use crate::identity::User;
use crate::request::{Attributes, Parameters};
use crate::server::Server;
use crate::status::{Failure, json_response};

pub(crate) const ROOT: &str = "/openapi/v3";
const DOCUMENT: usize = 4 << 20;

/// The list of documents, or the document of a group version.
pub(crate) async fn answer(server: &Server, user: &User, path: &str) -> Result<Response, Failure> {
    let of_group = path.trim_start_matches(ROOT);
    if !of_group.is_empty() {
        let backend = aggregation::backend_of(&server.store.lock(), of_group).ok_or_else(Failure::no_such_path)?;
        return ask(server, &backend, user, path).await;
    }
    let registered = aggregation::registered(&server.store.lock());
    let mut paths = Map::new();
    for (group, version) in registered {
        let backend = aggregation::backend_of(&server.store.lock(), &format!("/apis/{group}/{version}"));
        let Some(backend) = backend else { continue };
        // One that is away is left out.
        if let Ok(answer) = ask(server, &backend, user, ROOT).await
            && let Ok(body) = to_bytes(answer.into_body(), DOCUMENT).await
            && let Ok(Value::Object(told)) = serde_json::from_slice::<Value>(&body).map(|document| document["paths"].clone())
        {
            paths.extend(told);
        }
    }
    Ok(json_response(StatusCode::OK, &json!({"paths": paths})))
}

async fn ask(server: &Server, backend: &Backend, user: &User, path: &str) -> Result<Response, Failure> {
    let asked = Attributes::parse(&Method::GET, path, &Parameters::default());
    let request = Request::get(path).body(Body::empty()).map_err(|_| Failure::bad_request("a path that cannot be handed on"))?;
    aggregation::proxied(server, backend, user, &asked, request).await
}
