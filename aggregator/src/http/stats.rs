//! `index/stats`: how much a selector would read, asked by Grafana while a query is typed; `index/shards`: how to divide that, which needs no
//! dividing here.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use tailwater_engine::answer::{IndexStatistics, Statistics};
use tailwater_logql::ast::Selector;
use tailwater_logql::parse_selector;

use crate::access::Caller;
use crate::config::size::ByteSize;
use crate::http::error::ApiError;
use crate::http::form::MAX_FORM_BYTES;
use crate::http::query::{Asked, RangeParameters, ReadState};
use crate::http::query_checks::catalogue_bounds;
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
    let bounds = RangeParameters::of(&asked.form, asked.now)?.bounds;
    let selector = parse_selector(asked.form.get("query"))?;
    Ok(response::json(&told(state.statistics(&asked, &selector, bounds).await?)))
}

impl ReadState {
    /// What there is of a selector within the limits.
    async fn statistics(&self, asked: &Asked, selector: &Selector, bounds: Bounds) -> Result<IndexStatistics, ApiError> {
        match catalogue_bounds(bounds, &asked.limits, asked.now)? {
            Some(range) => Ok(self.engine.index_stats(self.scope(asked), selector, range).await?),
            None => Ok(IndexStatistics::default()),
        }
    }
}

fn told(found: IndexStatistics) -> Value {
    json!({"streams": found.streams, "chunks": found.chunks, "bytes": found.bytes, "entries": found.entries})
}

/// All there is as one shard.
async fn shards(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let bounds = RangeParameters::of(&asked.form, asked.now)?.bounds;
    let target = match asked.form.get("targetBytesPerShard") {
        "" => ByteSize::bytes(0),
        text => ByteSize::parse(text).map_err(|error| ApiError::BadRequest { text: error.to_string() })?,
    };
    if target.as_u64() == 0 {
        return Err(ApiError::BadRequest { text: "targetBytesPerShard must be a positive value".to_owned() });
    }
    let selector = parse_selector(asked.form.get("query"))?;
    let found = state.statistics(&asked, &selector, bounds).await?;
    let shard = json!({"bounds": {"min": 0, "max": u64::MAX}, "stats": told(found)});
    let statistics = statistics_block(&Statistics { segments: found.chunks, ..Statistics::default() });
    Ok(response::json(&json!({"shards": [shard], "statistics": statistics})))
}
