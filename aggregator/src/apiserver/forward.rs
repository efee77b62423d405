//! Passes a read on to the aggregator with the signed rights of who asks, and its answer back as it comes.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use futures::stream;
use reqwest::Client;
use serde_json::Value;

use crate::access::signature::ACCESS_HEADER;
use crate::apiserver::status::Refused;

/// How long the aggregator may be silent: longer than any query may take.
const PATIENCE: Duration = Duration::from_secs(330);

/// Bytes of a document that is asked for here.
const MAX_DOCUMENT: usize = 256 << 20;

/// Of a client's headers, those that say how it wants to be answered. None of them says who it is or which tenant it means.
const PASSED_ON: [HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-loki-response-encoding-flags"),
    HeaderName::from_static("x-query-tags"),
];
const PASSED_BACK: [HeaderName; 4] = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::RETRY_AFTER, header::X_CONTENT_TYPE_OPTIONS];
const POLICY: HeaderName = HeaderName::from_static("x-prom-label-policy");
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// The aggregator. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    client: Client,
    /// Without a slash at its end.
    url: String,
    /// Whose data a cluster's users read.
    tenant: HeaderValue,
}

/// A read as it is passed on.
#[derive(Debug)]
pub(super) struct Passed<'r> {
    pub(super) method: Method,
    /// Path and parameters.
    pub(super) path: &'r str,
    pub(super) query: Option<&'r str>,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: Bytes,
    pub(super) access: HeaderValue,
}

impl Upstream {
    pub(super) fn new(client: Client, url: &str, tenant: HeaderValue) -> Self {
        Self { client, url: url.trim_end_matches('/').to_owned(), tenant }
    }

    /// The headers of a request to the aggregator.
    pub(super) fn headers(&self, asked: &HeaderMap, access: HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in &PASSED_ON {
            if let Some(value) = asked.get(name) {
                headers.insert(name, value.clone());
            }
        }
        for policy in asked.get_all(POLICY) {
            headers.append(POLICY, policy.clone());
        }
        headers.insert(ACCESS_HEADER, access);
        headers.insert(TENANT, self.tenant.clone());
        headers
    }

    pub(super) fn url(&self, path: &str, query: Option<&str>) -> String {
        match query {
            Some(query) => format!("{}{path}?{query}", self.url),
            None => format!("{}{path}", self.url),
        }
    }

    /// The aggregator's answer to a question of our own, which is a JSON document.
    pub(super) async fn json(&self, path: &str, parameters: &[(&str, &str)], access: HeaderValue) -> Result<Value, Refused> {
        let unavailable = |error: &dyn std::fmt::Display| Refused::Unavailable { reason: error.to_string() };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = self.client.get(self.url(path, Some(&query))).headers(self.headers(&HeaderMap::new(), access)).timeout(PATIENCE);
        let mut answer = request.send().await.map_err(|error| unavailable(&error.without_url()))?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| unavailable(&error.without_url()))? {
            if body.len() + piece.len() > MAX_DOCUMENT {
                return Err(unavailable(&"its answer is too large"));
            }
            body.extend_from_slice(&piece);
        }
        match answer.status() {
            status if status.is_success() => serde_json::from_slice(&body).map_err(|error| unavailable(&error)),
            status if status.is_client_error() => Err(Refused::BadRequest { text: String::from_utf8_lossy(&body).into_owned() }),
            status => Err(unavailable(&status)),
        }
    }

    /// The aggregator's answer; its body is counted by `done`, which is called when it has been sent or cut off.
    pub(super) async fn pass(&self, read: Passed<'_>, done: impl FnOnce(u64) + Send + 'static) -> Result<Response<Body>, Refused> {
        let request = self.client.request(read.method, self.url(read.path, read.query));
        let request = request.headers(self.headers(read.headers, read.access)).body(read.body).timeout(PATIENCE);
        let answer = request.send().await.map_err(|error| Refused::Unavailable { reason: error.without_url().to_string() })?;
        let mut response = Response::builder().status(answer.status());
        for name in &PASSED_BACK {
            if let Some(value) = answer.headers().get(name) {
                response = response.header(name, value.clone());
            }
        }
        let counted = Counted::new(done);
        let pieces = stream::try_unfold((answer, counted), |(mut answer, mut counted)| async move {
            let piece = answer.chunk().await.map_err(|error| std::io::Error::other(error.without_url()))?;
            Ok::<_, std::io::Error>(piece.map(|piece| {
                counted.add(piece.len());
                (piece, (answer, counted))
            }))
        });
        response.body(Body::from_stream(pieces)).map_err(|error| Refused::Unavailable { reason: error.to_string() })
    }
}

/// Bytes that were passed back; told when it is dropped.
pub(super) struct Counted<F: FnOnce(u64)> {
    bytes: u64,
    done: Option<F>,
}

impl<F: FnOnce(u64)> Counted<F> {
    pub(super) fn new(done: F) -> Self {
        Self { bytes: 0, done: Some(done) }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl<F: FnOnce(u64)> Drop for Counted<F> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(self.bytes);
        }
    }
}
