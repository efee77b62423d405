//! What every answer passes: its version, its duration in the metrics, compression on request.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header::HeaderName};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::metrics::{Metrics, RequestLabels};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-tailwater-version");

/// Puts the layers around a router.
pub fn wrap(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest)).layer(from_fn_with_state(metrics, observe))
}

async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |path| route_name(path.as_str()));
    let method = request.method().as_str().to_owned();
    let mut response = next.run(request).await;
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    let labels = RequestLabels { route, method: known_method(method), status_code: response.status().as_u16() };
    metrics.request_duration.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    response
}

/// `/loki/api/v1/label/{name}/values` is `loki_api_v1_label_name_values`, as in Loki's metrics.
fn route_name(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "_").replace(['{', '}'], "")
}

/// Methods are free text in HTTP; label values are not.
fn known_method(method: String) -> String {
    match method.as_str() {
        "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH" => method,
        _ => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_lokis_names() {
        assert_eq!(route_name("/loki/api/v1/label/{name}/values"), "loki_api_v1_label_name_values");
        assert_eq!(route_name("/ready"), "ready");
        assert_eq!(known_method("BREW".to_owned()), "other");
    }
}
