//! The HTTP surface: Loki's endpoints, one file a family, and ours beside them.
//!
//! ```text
//! push.rs                       → ingest → 204
//! query.rs labels.rs series.rs stats.rs volume.rs detected.rs patterns.rs → parameters (form.rs, range.rs) → engine → response/
//! portions/                     pages, exports and context of log queries, for who asks for them
//! tail/                         → subscription, engine → frames over a WebSocket
//! delete.rs                     delete requests: into the manifest, from where queries and compaction take them
//! legacy.rs rules.rs            the first version's query, and rules, of which there are none
//! status.rs admin.rs            what this process is and how it does
//! read_header.rs  reads that list the store first, or leave out what is damaged
//! tenant.rs   who asks          error.rs   every status and text          layers.rs   what each answer passes
//! ```
//! No path is absolute to a host, so everything works behind a proxy that strips a prefix.

pub mod admin;
pub mod delete;
pub mod detected;
pub mod error;
pub mod form;
pub mod labels;
pub mod layers;
pub mod legacy;
pub mod patterns;
pub(crate) mod pieces;
pub(crate) mod portions;
pub mod push;
pub mod query;
pub(crate) mod query_checks;
pub(crate) mod query_log;
pub mod range;
pub mod read_header;
pub mod response;
pub mod rules;
pub mod series;
pub mod stats;
pub mod status;
pub mod tail;
pub mod tenant;
pub mod volume;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};

use crate::http::error::ApiError;
use crate::metrics::Metrics;

/// All endpoints under their layers. The families come with their own state.
pub fn router(families: impl IntoIterator<Item = Router>, metrics: Arc<Metrics>) -> Router {
    let merged = families.into_iter().fold(Router::new(), Router::merge);
    layers::wrap(merged.fallback(unknown_path), metrics)
}

async fn unknown_path() -> ApiError {
    ApiError::UnknownPath
}

async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// GET and POST, and nothing else, not even HEAD.
fn reading<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(handler.clone()).post(handler).head(method_not_allowed).fallback(method_not_allowed)
}

/// POST and nothing else.
fn writing<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    post(handler).fallback(method_not_allowed)
}

#[cfg(test)]
mod tests;
