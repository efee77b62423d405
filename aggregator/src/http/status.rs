//! What this process is and how it is set up: `/live`, `/metrics`, `/config`, `buildinfo`, `format_query`, `/log_level`, …
//!
//! None of it touches data, so none but the tenant's own limits asks for a tenant.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use serde_yaml_ng::Value;

use crate::config::{Config, LogLevel};
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::{method_not_allowed, reading, response};
use crate::limits::TenantLimits;
use crate::logging::LogLevelControl;
use crate::metrics::{LOKI_VERSION, Metrics};

/// What the status endpoints show. Cheap to clone.
#[derive(Clone)]
pub struct StatusState {
    pub config: Arc<Config>,
    pub limits: TenantLimits,
    pub metrics: Arc<Metrics>,
    pub log_level: LogLevelControl,
}

pub fn routes(state: StatusState) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/metrics", get(metrics).fallback(method_not_allowed))
        .route("/config", get(config).fallback(method_not_allowed))
        .route("/config/tenant/v1/limits", get(tenant_limits).fallback(method_not_allowed))
        .route("/services", get(services).fallback(method_not_allowed))
        .route("/log_level", get(show_log_level).post(set_log_level).fallback(method_not_allowed))
        .route("/loki/api/v1/status/buildinfo", get(build_info).fallback(method_not_allowed))
        .route("/loki/api/v1/format_query", reading(format_query))
        .route("/loki/api/v1/cache/generation_numbers", get(cache_generation).fallback(method_not_allowed))
        .route("/loki/api/v1/drilldown-limits", get(drilldown_limits).fallback(method_not_allowed))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

async fn live() -> &'static str {
    "alive\n"
}

async fn metrics(State(state): State<StatusState>) -> Response {
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], state.metrics.text()).into_response()
}

/// All of it, only what differs from the defaults (`mode=diff`), or the defaults.
async fn config(State(state): State<StatusState>, RawQuery(query): RawQuery) -> String {
    let form = Form::new(&HeaderMap::new(), query.as_deref(), &Bytes::new());
    match form.get("mode") {
        "defaults" => Config::default().to_yaml(),
        "diff" => difference(&state.config.to_yaml(), &Config::default().to_yaml()),
        _ => state.config.to_yaml(),
    }
}

fn difference(shown: &str, defaults: &str) -> String {
    let tree = |text: &str| serde_yaml_ng::from_str::<Value>(text).expect("a printed configuration is YAML");
    let differing = differing(tree(shown), &tree(defaults));
    differing.map_or_else(|| "{}\n".to_owned(), |tree| serde_yaml_ng::to_string(&tree).expect("a part of a configuration is YAML"))
}

fn differing(shown: Value, defaults: &Value) -> Option<Value> {
    let (Value::Mapping(map), Value::Mapping(defaults)) = (&shown, defaults) else {
        return (shown != *defaults).then_some(shown);
    };
    let parts = map.iter().filter_map(|(name, value)| {
        let kept = match defaults.get(name) {
            Some(default) => differing(value.clone(), default)?,
            None => value.clone(),
        };
        Some((name.clone(), kept))
    });
    let parts: serde_yaml_ng::Mapping = parts.collect();
    (!parts.is_empty()).then_some(Value::Mapping(parts))
}

async fn tenant_limits(State(state): State<StatusState>, headers: HeaderMap) -> Result<String, ApiError> {
    let tenants = state.config.tenancy.readers(&headers)?;
    serde_yaml_ng::to_string(&*state.limits.of_all(&tenants)).map_err(|_| ApiError::Internal { what: "writing the limits" })
}

async fn services() -> &'static str {
    "ingester => Running\nquerier => Running\nserver => Running\n"
}

async fn build_info() -> Response {
    response::json(&json!({
        "version": LOKI_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "tailwater",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// Which results of former deletes may still be cached: none are.
async fn cache_generation() -> Response {
    response::json(&"")
}

async fn show_log_level(State(state): State<StatusState>) -> Response {
    log_level_answer(state.log_level.level())
}

async fn set_log_level(
    State(state): State<StatusState>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let form = Form::new(&headers, query.as_deref(), &body);
    let text = form.get("log_level");
    let names = LogLevel::NAMES.join(", ");
    let level =
        LogLevel::parse(text).ok_or_else(|| ApiError::BadRequest { text: format!("unrecognized level `{text}`, use one of {names}") })?;
    state.log_level.set(level);
    Ok(log_level_answer(level))
}

fn log_level_answer(level: LogLevel) -> Response {
    response::json(&json!({"message": format!("Current log level is {}", level.as_str())}))
}

async fn format_query(State(state): State<StatusState>, headers: HeaderMap, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let form = Form::new(&headers, query.as_deref(), &body);
    let print = if state.config.strict_loki { tailwater_logql::format_query_as_loki } else { tailwater_logql::format_query };
    match tailwater_logql::parse(form.get("query")) {
        Ok(expression) => response::json(&json!({"status": "success", "data": print(&expression)})),
        Err(error) => {
            let answer = response::json(&json!({"status": "invalid-query", "error": error.to_string()}));
            (StatusCode::BAD_REQUEST, answer).into_response()
        }
    }
}

/// What Logs Drilldown wants to know before it asks for anything.
async fn drilldown_limits(State(state): State<StatusState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let tenants = state.config.tenancy.readers(&headers)?;
    let limits = state.limits.of_all(&tenants);
    Ok(response::json(&json!({
        "limits": {
            "discover_log_levels": limits.discover_log_levels,
            "discover_service_name": limits.discover_service_name,
            "log_level_fields": crate::ingest::LEVEL_NAMES,
            "max_entries_limit_per_query": limits.max_entries_limit_per_query,
            "max_line_size_truncate": limits.max_line_size_truncate,
            "max_query_bytes_read": limits.max_query_bytes_read,
            "max_query_length": limits.max_query_length,
            "max_query_lookback": limits.max_query_lookback,
            "max_query_range": limits.max_query_range,
            "max_query_series": limits.max_query_series,
            "metric_aggregation_enabled": false,
            "otlp_config": limits.otlp_config,
            "pattern_persistence_enabled": false,
            "query_timeout": limits.query_timeout,
            "retention_period": limits.retention_period,
            "volume_enabled": limits.volume_enabled,
            "volume_max_series": limits.volume_max_series,
        },
        "pattern_ingester_enabled": true,
        "version": LOKI_VERSION,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    fn router(config: Config) -> Router {
        let state = StatusState {
            limits: config.tenant_limits(),
            config: Arc::new(config),
            metrics: Arc::default(),
            log_level: LogLevelControl::new(LogLevel::Info, |_| {}),
        };
        crate::http::router([routes(state)], Arc::default())
    }

    async fn ask(router: &Router, method: &str, path: &str, body: &'static str) -> (u16, HeaderMap, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.expect("a body");
        (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_refused_as_loki_does() {
        let router = router(Config::default());
        for (method, path, status, text) in [
            ("GET", "/loki/api/v1/nosuch", 404, "404 page not found\n"),
            ("GET", "/loki/api/v1/format_query/", 404, "404 page not found\n"),
            ("HEAD", "/loki/api/v1/format_query", 405, ""),
            ("OPTIONS", "/loki/api/v1/format_query", 405, ""),
            ("DELETE", "/loki/api/v1/format_query", 405, ""),
            ("POST", "/metrics", 405, ""),
        ] {
            let (seen, headers, body) = ask(&router, method, path, "").await;
            assert_eq!((seen, body.as_str()), (status, text), "{method} {path}");
            assert!(headers.contains_key("x-tailwater-version"));
        }
    }

    #[tokio::test]
    async fn queries_are_formatted_and_refused_as_json() {
        let router = router(Config::default());
        let (status, headers, body) = ask(&router, "GET", "/loki/api/v1/format_query?query=%7B+app+%3D+%22a%22+%7D%7C%3D%22x%22", "").await;
        assert_eq!((status, body.as_str()), (200, "{\"data\":\"{app=\\\"a\\\"} |= \\\"x\\\"\",\"status\":\"success\"}\n"));
        assert_eq!(headers[header::CONTENT_TYPE], "application/json; charset=UTF-8");
        let (status, _, body) = ask(&router, "POST", "/loki/api/v1/format_query", "query=foo").await;
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, answer["status"].as_str()), (400, Some("invalid-query")));
        assert_eq!(answer["error"], "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER");
    }

    #[tokio::test]
    async fn the_log_level_is_shown_and_set() {
        let router = router(Config::default());
        let message = |body: &str| serde_json::from_str::<serde_json::Value>(body).expect("JSON")["message"].clone();
        assert_eq!(message(&ask(&router, "GET", "/log_level", "").await.2), "Current log level is info");
        assert_eq!(message(&ask(&router, "POST", "/log_level", "log_level=debug").await.2), "Current log level is debug");
        assert_eq!(message(&ask(&router, "GET", "/log_level", "").await.2), "Current log level is debug");
        assert_eq!(ask(&router, "POST", "/log_level", "log_level=loud").await.0, 400);
    }

    #[tokio::test]
    async fn the_configuration_is_shown_whole_or_as_difference() {
        let config = Config { strict_loki: true, log_format: LogFormat::Json, ..Config::default() };
        let router = router(config.clone());
        let (_, headers, body) = ask(&router, "GET", "/config", "").await;
        assert_eq!(body, config.to_yaml());
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(ask(&router, "GET", "/config?mode=diff", "").await.2, "log_format: json\nstrict_loki: true\n");
        assert_eq!(ask(&router, "GET", "/config?mode=defaults", "").await.2, Config::default().to_yaml());
    }

    #[tokio::test]
    async fn tenants_see_their_own_limits() {
        let mut config = Config::default();
        config.tenancy.enabled = true;
        let router = router(config);
        let (status, _, body) = ask(&router, "GET", "/loki/api/v1/drilldown-limits", "").await;
        assert_eq!((status, body.as_str()), (401, "no org id\n"));
        let request = Request::get("/loki/api/v1/drilldown-limits").header("x-scope-orgid", "t").body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("an answer");
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((answer["limits"]["max_query_length"].as_str(), answer["version"].as_str()), (Some("30d1h"), Some("3.7.6")));
    }

    #[tokio::test]
    async fn answers_are_compressed_on_request() {
        let request = Request::get("/config").header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).expect("a request");
        let response = router(Config::default()).oneshot(request).await.expect("an answer");
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    }

    #[tokio::test]
    async fn requests_are_counted_by_route() {
        let metrics = Arc::<Metrics>::default();
        let config = Config::default();
        let state = StatusState {
            limits: config.tenant_limits(),
            config: Arc::new(config),
            metrics: Arc::clone(&metrics),
            log_level: LogLevelControl::new(LogLevel::Info, |_| {}),
        };
        let router = crate::http::router([routes(state)], metrics);
        ask(&router, "GET", "/loki/api/v1/status/buildinfo", "").await;
        ask(&router, "GET", "/elsewhere/with/a/long/name", "").await;
        let text = ask(&router, "GET", "/metrics", "").await.2;
        for labels in [
            "route=\"loki_api_v1_status_buildinfo\",method=\"GET\",status_code=\"200\"",
            "route=\"other\",method=\"GET\",status_code=\"404\"",
        ] {
            assert!(text.contains(&format!("loki_request_duration_seconds_count{{{labels}}} 1")), "{text}");
        }
    }
}
