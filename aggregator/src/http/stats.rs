//! `index/stats`: how much a selector would read, asked by Grafana while a query is typed.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;
use tailwater_engine::request::TimeRange;
use tailwater_logql::parse_selector;

use crate::http::error::ApiError;
use crate::http::form::MAX_FORM_BYTES;
use crate::http::query::{RangeParameters, ReadState};
use crate::http::range::Bounds;
use crate::http::{reading, response};

pub fn routes(state: ReadState) -> Router {
    Router::new().route("/loki/api/v1/index/stats", reading(stats)).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(state)
}

async fn stats(State(state): State<ReadState>, headers: HeaderMap, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&headers, query.as_deref(), &body)?;
    let Bounds { start, end } = RangeParameters::of(&asked.form, asked.now)?.bounds;
    let selector = parse_selector(asked.form.get("query"))?;
    let found = state.engine.index_stats(state.scope(&asked), &selector, TimeRange { start, end }).await?;
    Ok(response::json(&json!({
        "streams": found.streams,
        "chunks": found.chunks,
        "bytes": found.bytes,
        "entries": found.entries,
    })))
}
