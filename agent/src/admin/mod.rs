//! The HTTP surface: `/ready`, `/live`, `/metrics`, `/targets`, `/service-discovery`, `/config`, `/reload`. It exposes no log text and no secret.
//!
//! What a person reads in a browser is a page; everything else gets JSON (`?format=json` and `?format=html` ask for one of them).

mod configuration;
mod discovery;
mod page;
mod targets;
pub(crate) mod tls;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use parking_lot::RwLock;

use crate::clock;
use crate::config::Config;
use crate::enrich::pods::PodCache;
use crate::metrics::Metrics;
use crate::observe::pass::{self, PassViews};
use crate::observe::standing;
use crate::promtail_agent::Pods;
use crate::reload::ReloadRequests;

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) passes: PassViews,
    /// What the Kubernetes API told; absent without one.
    pub(crate) cache: Option<Arc<RwLock<PodCache>>>,
    /// Pods that jobs ask for.
    pub(crate) pods: Pods,
    /// Where a new configuration is asked for, if that is allowed.
    pub(crate) reload: Option<ReloadRequests>,
}

pub(crate) fn router(state: AdminState) -> Router {
    let prefix = state.config.promtail.as_ref().map(|promtail| promtail.path_prefix().to_owned()).filter(|prefix| !prefix.is_empty());
    let shows_metrics = state.config.promtail.as_ref().is_none_or(|promtail| promtail.shows_metrics());
    let measured = if shows_metrics { Router::new().route("/metrics", get(metrics)) } else { Router::new() };
    let router = measured
        .route("/ready", get(ready))
        .route("/live", get(live))
        .route("/targets", get(targets::targets))
        .route("/service-discovery", get(discovery::service_discovery))
        .route("/config", get(configuration::show))
        .route("/reload", post(configuration::reload))
        .with_state(state);
    match prefix {
        Some(prefix) => Router::new().nest(&format!("/{prefix}"), router.clone()).merge(router),
        None => router,
    }
}

async fn ready(State(state): State<AdminState>) -> (StatusCode, String) {
    match pass::why_not_ready(&state.passes.now(), Instant::now()) {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}

/// The answer itself shows that the runtime turns; readers and scanner have beats.
async fn live(State(state): State<AdminState>) -> (StatusCode, String) {
    match state.metrics.heartbeats.stuck(Instant::now()) {
        Some((name, age)) => (StatusCode::SERVICE_UNAVAILABLE, format!("the loop `{name}` stands still for {} s\n", age.as_secs())),
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    standing::measure(&state.metrics, &pass::by_client(&state.passes.now()), clock::now());
    let mut text = state.metrics.render();
    if let Some((scrape, _)) = state.config.scraped() {
        scrape.render_metrics(&mut text);
    }
    if let Some(stages) = &state.config.pipeline_stages {
        stages.render_metrics(&mut text);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
