//! Refusals as Kubernetes clients read them: a `Status`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::access::AccessRefused;
use crate::apiserver::discovery::GROUP;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Access(#[from] AccessRefused),
    #[error("the server could not find the requested resource")]
    NotFound,
    /// No line of it is stored, or none that may be read.
    #[error("pods.logs.tailwater.io \"{name}\" not found")]
    NoPod { name: String },
    /// What has changed since then cannot be told.
    #[error("too old resource version, list again")]
    Expired,
    #[error("the right to read these logs was withdrawn")]
    Withdrawn,
    #[error("the request is cut off or has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the aggregator does not answer, try again: {reason}")]
    Unavailable { reason: String },
    #[error("only GET and POST are answered")]
    Method,
    #[error("{text}")]
    BadRequest { text: String },
}

impl Refused {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Access(AccessRefused::Forbidden { .. } | AccessRefused::NotClusterWide { .. }) | Self::Withdrawn => {
                (StatusCode::FORBIDDEN, "Forbidden")
            }
            Self::Expired => (StatusCode::GONE, "Expired"),
            Self::Access(AccessRefused::TooManyNamespaces { .. } | AccessRefused::Policy(_)) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::Access(_) => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::NotFound | Self::NoPod { .. } => (StatusCode::NOT_FOUND, "NotFound"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::BadRequest { .. } => (StatusCode::BAD_REQUEST, "BadRequest"),
        }
    }

    /// What the audit log says of it.
    pub(super) fn decision(&self) -> &'static str {
        match self {
            Self::Access(_) | Self::Withdrawn => "denied",
            _ => "failed",
        }
    }

    fn details(&self) -> Value {
        match self {
            Self::Access(AccessRefused::Forbidden { namespace, pod, .. }) => {
                json!({"kind": "pods/log", "name": pod.as_deref().unwrap_or_default(), "namespace": namespace.as_deref().unwrap_or_default()})
            }
            Self::NoPod { name } => json!({"name": name, "group": GROUP, "kind": "pods"}),
            _ => json!({}),
        }
    }

    /// The `Status`.
    pub(super) fn document(&self) -> Value {
        let (code, reason) = self.status();
        let message = match &self {
            Self::Access(AccessRefused::Forbidden { .. }) => format!("pods is forbidden: {self}"),
            _ => self.to_string(),
        };
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": self.details(),
            "code": code.as_u16(),
        })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, _) = self.status();
        let mut response = (code, [(header::CONTENT_TYPE, "application/json")], self.document().to_string()).into_response();
        if matches!(self, Self::Unavailable { .. }) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
