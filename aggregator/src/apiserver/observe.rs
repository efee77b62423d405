//! `/metrics`, and what is counted of each request: its route, method, status and time.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

use crate::apiserver::discovery;
use crate::apiserver::target::Target;
use crate::metrics::{Metrics, RequestLabels};

/// Puts the route and the layer around a router. Metrics tell of nobody, so that nobody is asked who they are.
pub(super) fn wrap(router: Router, metrics: Arc<Metrics>) -> Router {
    let shown = Arc::clone(&metrics);
    router.route("/metrics", get(async move || shown.text())).layer(from_fn_with_state(metrics, observe))
}

async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (route, method) = (route(request.uri().path()), known_method(request.method().as_str()));
    let response = next.run(request).await;
    let labels = RequestLabels { route: route.to_owned(), method: method.to_owned(), status_code: response.status().as_u16() };
    metrics.request_duration.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    response
}

/// A closed set: paths hold names of namespaces and pods.
fn route(path: &str) -> &'static str {
    match path {
        "/livez" | "/readyz" => "probe",
        "/metrics" => "metrics",
        _ if discovery::is_part(path) => "discovery",
        _ => Target::of(path).map_or("other", |target| target.route()),
    }
}

fn known_method(method: &str) -> &'static str {
    ["GET", "POST", "HEAD"].into_iter().find(|known| *known == method).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_few_whatever_is_asked() {
        for (path, expected) in [
            ("/livez", "probe"),
            ("/apis", "discovery"),
            ("/apis/logs.tailwater.io/v1", "discovery"),
            ("/openapi/v3/apis/logs.tailwater.io/v1", "discovery"),
            ("/apis/logs.tailwater.io/v1/namespaces/a/pods", "pods"),
            ("/apis/logs.tailwater.io/v1/namespaces/a/pods/p", "pods"),
            ("/apis/logs.tailwater.io/v1/events", "events"),
            ("/apis/logs.tailwater.io/v1/namespaces/a/pods/p/log", "pod_log"),
            ("/apis/logs.tailwater.io/v1/namespaces/a/loki/api/v1/label/x/values", "loki"),
            ("/apis/logs.tailwater.io/v1/loki/api/v1/tail", "tail"),
            ("/apis/logs.tailwater.io/v1/namespaces/a/secrets", "other"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
        assert_eq!((known_method("GET"), known_method("BREW")), ("GET", "other"));
    }
}
