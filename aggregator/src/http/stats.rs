//! `index/stats`: how much a selector would read, asked by Grafana while a query is typed; `index/shards`: how to divide that, which needs no
//! dividing here.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use tailwater_engine::answer::{IndexStatistics, Statistics};
use tailwater_engine::request::TimeRange;
use tailwater_logql::parse_selector;

use crate::access::Caller;
use crate::config::size::ByteSize;
use crate::http::error::ApiError;
use crate::http::form::MAX_FORM_BYTES;
use crate::http::query::{RangeParameters, ReadState};
use crate::http::range::Bounds;
use crate::http::response::statistics::statistics_block;
use crate::http::{reading, response};

pub fn routes(state: ReadState) -> Router {
    Router::new()
        .route("/loki/api/v1/index/stats", reading(stats))
        .route("/loki/api/v1/index/shards", reading(shards))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

async fn stats(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let Bounds { start, end } = RangeParameters::of(&asked.form, asked.now)?.bounds;
    let selector = parse_selector(asked.form.get("query"))?;
    let found = state.engine.index_stats(state.scope(&asked), &selector, TimeRange { start, end }).await?;
    Ok(response::json(&told(found)))
}

fn told(found: IndexStatistics) -> Value {
    json!({"streams": found.streams, "chunks": found.chunks, "bytes": found.bytes, "entries": found.entries})
}

/// All there is as one shard.
async fn shards(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let Bounds { start, end } = RangeParameters::of(&asked.form, asked.now)?.bounds;
    let target =
        ByteSize::parse(asked.form.get("targetBytesPerShard")).map_err(|error| ApiError::BadRequest { text: error.to_string() })?;
    if target.as_u64() == 0 {
        return Err(ApiError::BadRequest { text: "targetBytesPerShard must be a positive value".to_owned() });
    }
    let selector = parse_selector(asked.form.get("query"))?;
    let found = state.engine.index_stats(state.scope(&asked), &selector, TimeRange { start, end }).await?;
    let shard = json!({"bounds": {"min": 0, "max": u64::MAX}, "stats": told(found)});
    let statistics = statistics_block(&Statistics { segments: found.chunks, ..Statistics::default() });
    Ok(response::json(&json!({"shards": [shard], "statistics": statistics})))
}
