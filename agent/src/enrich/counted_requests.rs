//! Requests to the Kubernetes API, counted by what they ask and how they are answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use tower::Service;

use crate::metrics::Metrics;

/// A client's way to the server.
#[derive(Clone)]
pub(super) struct CountedRequests<S> {
    pub(super) inner: S,
    pub(super) metrics: Arc<Metrics>,
}

/// As the API server's own metrics name it.
fn verb(method: &Method, path_and_query: &str) -> &'static str {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    match *method {
        Method::GET if query.split('&').any(|part| part == "watch=true" || part == "watch=1") => "watch",
        // A single object has its name behind its kind; lists end with the kind.
        Method::GET if path.rsplit('/').next().is_some_and(|last| last.ends_with('s')) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        _ => "other",
    }
}

impl<S, B, R> Service<Request<B>> for CountedRequests<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(request.method(), request.uri().path_and_query().map_or("", |uri| uri.as_str()));
        let metrics = Arc::clone(&self.metrics);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            metrics.kube_request(verb, answer.as_ref().ok().map(|answer| answer.status().as_u16()));
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_what_they_ask() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName%3Da&watch=true", "watch"),
            (Method::GET, "/api/v1/pods?limit=500", "list"),
            (Method::GET, "/apis/events.k8s.io/v1/events", "list"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "update"),
            (Method::POST, "/apis/coordination.k8s.io/v1/namespaces/n/leases?", "create"),
        ] {
            assert_eq!(verb(&method, uri), expected, "{uri}");
        }
    }
}
