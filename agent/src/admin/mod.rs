//! The HTTP surface: `/ready`, `/live`, `/metrics`, `/targets`. It exposes no log text.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;

use crate::metrics::Metrics;
use crate::positions::keeper::SharedPositions;
use crate::promtail::PromtailConfig;
use crate::push::lane::BlockedState;

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) positions: SharedPositions,
    pub(crate) blocked: Arc<BlockedState>,
    pub(crate) is_first_scan_done: Arc<AtomicBool>,
    /// Whose metrics are served as well, and below which path.
    pub(crate) promtail: Option<Arc<PromtailConfig>>,
}

pub(crate) fn router(state: AdminState) -> Router {
    let prefix = state.promtail.as_ref().map(|promtail| promtail.path_prefix().to_owned()).filter(|prefix| !prefix.is_empty());
    let router = Router::new()
        .route("/ready", get(ready))
        .route("/live", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route("/targets", get(targets))
        .with_state(state);
    match prefix {
        Some(prefix) => Router::new().nest(&format!("/{prefix}"), router.clone()).merge(router),
        None => router,
    }
}

async fn ready(State(state): State<AdminState>) -> (StatusCode, String) {
    if let Some(status) = state.blocked.blocked_for_long(Instant::now()) {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the receiver refuses with status {status}\n"));
    }
    if !state.is_first_scan_done.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "the first scan is not done\n".to_owned());
    }
    (StatusCode::OK, "ready\n".to_owned())
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    let Some(promtail) = &state.promtail else {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return ([(header::CONTENT_TYPE, content_type)], state.metrics.render());
    };
    // Names that pipelines choose follow no rule of OpenMetrics.
    let mut text = state.metrics.render();
    promtail.render_metrics(&mut text);
    state.metrics.render_promtail(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn targets(State(state): State<AdminState>) -> impl IntoResponse {
    let positions = state.positions.lock().snapshot();
    let files: Vec<_> = positions
        .files
        .iter()
        .map(|file| {
            json!({
                "container": file.instance.container,
                "instance": file.instance.number,
                "file": file.name,
                "acknowledged_offset": file.progress.offset,
                "finished": file.progress.is_finished,
            })
        })
        .collect();
    let instances: Vec<_> = positions
        .instances
        .iter()
        .map(|(key, entry)| {
            let labels = entry.label_sets.last().map(|set| &set.labels);
            json!({"container": key.container, "instance": key.number, "labels": labels})
        })
        .collect();
    ([(header::CONTENT_TYPE, "application/json")], json!({"files": files, "instances": instances}).to_string())
}
