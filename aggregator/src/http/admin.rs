//! What operators and probes ask: `/ready`, `/flush`, and the hooks that charts made for Loki call.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::error::ApiError;
use crate::http::form::Form;
use crate::http::{method_not_allowed, writing};
use crate::ingest::buffer::Ingester;
use crate::lifecycle::{Lifecycle, StoreContact};
use crate::peers::{Peers, REPLICA_HEADER};

/// Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    pub lifecycle: Lifecycle,
    pub ingester: Ingester,
    pub store_contact: StoreContact,
    pub peers: Peers,
}

pub fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/ready", get(ready).fallback(method_not_allowed))
        .route("/flush", writing(flush))
        .route("/ingester/flush_shutdown", writing(flush))
        .route("/ingester/shutdown", writing(flush))
        .route("/ingester/prepare_shutdown", get(done).post(done).delete(done).fallback(method_not_allowed))
        .with_state(state)
}

/// The server answers only after the store was reached, so that being asked is being ready; `strict=1` asks how the store does now.
async fn ready(State(state): State<AdminState>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    if state.lifecycle.is_stopping() {
        return Err(ApiError::NotReady { reason: "stopping".to_owned() });
    }
    let ready = ([(REPLICA_HEADER, state.peers.own().to_owned())], "ready\n").into_response();
    let form = Form::new(&HeaderMap::new(), query.as_deref(), &Bytes::new());
    if form.get("strict") != "1" {
        return Ok(ready);
    }
    if !state.ingester.is_storing() {
        return Err(ApiError::NotReady { reason: "the last segment was not stored".to_owned() });
    }
    if state.store_contact.is_in_doubt() {
        return Err(ApiError::NotReady { reason: "the store does not answer".to_owned() });
    }
    Ok(ready)
}

async fn flush(State(state): State<AdminState>) -> Result<StatusCode, ApiError> {
    state.ingester.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nothing has to be prepared: what was acknowledged is in the store.
async fn done() -> StatusCode {
    StatusCode::NO_CONTENT
}
