//! `/config`: what is in effect, secrets masked. `/reload`: takes the configuration anew, if that is allowed.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::AdminState;
use crate::config::keys;
use crate::reload;

pub(super) async fn show(State(state): State<AdminState>) -> impl IntoResponse {
    let text = match &state.config.promtail {
        Some(promtail) => promtail.shown().to_owned(),
        None => keys::print(&state.config),
    };
    ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], text)
}

pub(super) async fn reload(State(state): State<AdminState>) -> (StatusCode, String) {
    let Some(requests) = &state.reload else {
        return (StatusCode::FORBIDDEN, "reloading is not enabled; set `enable_reload`, or `server.enable_runtime_reload`\n".to_owned());
    };
    match reload::request(requests).await {
        Ok(()) => (StatusCode::OK, "the new configuration is taken\n".to_owned()),
        Err(problem) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the old configuration stays: {problem}\n")),
    }
}
