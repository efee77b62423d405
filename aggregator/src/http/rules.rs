//! Rules and alerts, of which there are none: what clients that look for them are told.
//!
//! Grafana takes `no rule groups found` for an empty list. Under `/prometheus` everything, refusals too, has an envelope of JSON.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::{Value, json};

use crate::config::Tenancy;
use crate::http::error::ApiError;
use crate::http::tenant::TenantError;
use crate::http::{method_not_allowed, response};

/// What the rule endpoints work with. Cheap to clone.
#[derive(Clone)]
pub struct RuleState {
    pub tenancy: Arc<Tenancy>,
    pub is_strict: bool,
}

pub fn routes(state: RuleState) -> Router {
    let mut router = Router::new()
        .route("/prometheus/api/v1/rules", get(rules).head(method_not_allowed).fallback(method_not_allowed))
        .route("/prometheus/api/v1/alerts", get(alerts).head(method_not_allowed).fallback(method_not_allowed));
    for prefix in ["/loki/api/v1", "/api/prom"] {
        let listing = get(groups).head(method_not_allowed).fallback(method_not_allowed);
        router = router
            .route(&format!("{prefix}/rules"), listing)
            .route(&format!("{prefix}/rules/{{namespace}}"), removable(get(groups_of_namespace).delete(groups_of_namespace)))
            .route(&format!("{prefix}/rules/{{namespace}}/{{group}}"), removable(get(group).delete(group)));
    }
    router.with_state(state)
}

fn removable(router: MethodRouter<RuleState>) -> MethodRouter<RuleState> {
    router.head(method_not_allowed).fallback(method_not_allowed)
}

async fn groups(State(state): State<RuleState>, headers: HeaderMap) -> ApiError {
    state.refusal(&headers).unwrap_or(ApiError::NoRuleGroups { strict: state.is_strict })
}

async fn groups_of_namespace(State(state): State<RuleState>, headers: HeaderMap) -> ApiError {
    state.refusal(&headers).unwrap_or(ApiError::NoRuleGroups { strict: false })
}

async fn group(State(state): State<RuleState>, headers: HeaderMap) -> ApiError {
    state.refusal(&headers).unwrap_or(ApiError::NoRuleGroup)
}

async fn rules(State(state): State<RuleState>, headers: HeaderMap) -> Response {
    state.enveloped(&headers, json!({"groups": []}))
}

async fn alerts(State(state): State<RuleState>, headers: HeaderMap) -> Response {
    state.enveloped(&headers, json!({"alerts": []}))
}

impl RuleState {
    /// Rules are of one tenant.
    fn refusal(&self, headers: &HeaderMap) -> Option<ApiError> {
        self.tenancy.writer(headers).err()
    }

    fn enveloped(&self, headers: &HeaderMap, data: Value) -> Response {
        match self.refusal(headers) {
            None => response::json(&json!({"status": "success", "data": data, "errorType": "", "error": ""})),
            Some(missing @ ApiError::Tenant { error: TenantError::Missing, .. }) => missing.into_response(),
            Some(_) => {
                let error = json!({"status": "error", "data": null, "errorType": "server_error", "error": "no valid org id found"});
                (StatusCode::INTERNAL_SERVER_ERROR, response::json(&error)).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn ask(tenancy: bool, method: &str, path: &str, tenant: &str) -> (u16, String) {
        let tenancy = Tenancy { enabled: tenancy, default: "fake".to_owned(), multi_tenant_queries: true };
        let router = routes(RuleState { tenancy: Arc::new(tenancy), is_strict: false });
        let request = Request::builder().method(method).uri(path).header("x-scope-orgid", tenant).body(Body::empty());
        let response = router.oneshot(request.expect("a request")).await.expect("an answer");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn there_are_no_rules() {
        for (method, path, status, text) in [
            ("GET", "/loki/api/v1/rules", 404, "no rule groups found\n"),
            ("GET", "/api/prom/rules", 404, "no rule groups found\n"),
            ("GET", "/loki/api/v1/rules/a%2Fb", 404, "no rule groups found\n"),
            ("DELETE", "/loki/api/v1/rules/a", 404, "no rule groups found\n"),
            ("GET", "/api/prom/rules/a/b", 404, "group does not exist\n"),
            ("POST", "/loki/api/v1/rules/a", 405, ""),
            (
                "GET",
                "/prometheus/api/v1/rules",
                200,
                "{\"data\":{\"groups\":[]},\"error\":\"\",\"errorType\":\"\",\"status\":\"success\"}\n",
            ),
            (
                "GET",
                "/prometheus/api/v1/alerts",
                200,
                "{\"data\":{\"alerts\":[]},\"error\":\"\",\"errorType\":\"\",\"status\":\"success\"}\n",
            ),
        ] {
            assert_eq!(ask(false, method, path, "").await, (status, text.to_owned()), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn rules_are_of_one_tenant() {
        assert_eq!(ask(true, "GET", "/loki/api/v1/rules", "").await, (401, "no org id\n".to_owned()));
        assert_eq!(ask(true, "GET", "/loki/api/v1/rules", "a|b").await, (400, "multiple org IDs present".to_owned()));
        assert_eq!(ask(true, "GET", "/prometheus/api/v1/rules", "").await.0, 401);
        let (status, text) = ask(true, "GET", "/prometheus/api/v1/rules", "a|b").await;
        assert!(status == 500 && text.contains("no valid org id found"), "{text}");
        assert_eq!(ask(true, "GET", "/prometheus/api/v1/alerts", "a").await.0, 200);
    }
}
