//! `/internal/authz`: whom a bearer token names, for a gateway that asks before it passes a request on.
//!
//! 200 with [`X-Tailwater-Access`](ACCESS_HEADER), which the gateway puts on the request in place of the token; 401 otherwise. What a client
//! sends in that header is not looked at.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::access::control::AccessControl;
use crate::access::signature::ACCESS_HEADER;
use crate::http::error::ApiError;

pub fn routes(control: AccessControl) -> Router {
    Router::new().route("/internal/authz", any(authorize)).with_state(control)
}

async fn authorize(State(control): State<AccessControl>, headers: HeaderMap) -> Result<Response, ApiError> {
    let signed = control.signed(&headers).await?;
    Ok((StatusCode::OK, [(ACCESS_HEADER, signed)]).into_response())
}
