//! Every status and text of a refusal: the one place that turns errors into answers.
//!
//! Bodies are plain text, the bare message, marked `nosniff`; only `format_query` answers its errors as JSON, in its own
//! file. Clients and dashboards search for these texts.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tailwater_engine::QueryError;
use tailwater_logql::{ParseError, SelectorError};
use tailwater_storage::entry::TenantId;

use crate::access::AccessRefused;
use crate::config::moment::Moment;
use crate::http::delete::DeleteRefused;
use crate::http::range::ParameterError;
use crate::http::tenant::TenantError;
use crate::ingest::body::BodyError;
use crate::ingest::decode::PushRefused;
use crate::ingest::otlp::{OtlpError, status};
use crate::ingest::rate::RateExceeded;

/// Why a request is not answered as asked. Display is the body of the answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("404 page not found\n")]
    UnknownPath,
    /// Switched off.
    #[error("not found")]
    NotFound,
    #[error("")]
    MethodNotAllowed,
    #[error("{text}")]
    BadRequest { text: String },
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// `prefix` is what Loki puts before it on reading paths.
    #[error("{prefix}{error}")]
    Tenant { prefix: &'static str, error: TenantError },
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error("0 matchers in group: {{}}")]
    EmptyMatcherGroup,
    #[error("log queries are not supported as an instant query type, please change your query to a range query type")]
    InstantLogQuery,
    #[error("rpc error: code = Code(400) desc = legacy endpoints only support streams result type")]
    LegacyMetricQuery,
    /// No rule is known. `strict`: as the reference answers whose rules are files of a folder that is not there.
    #[error("no rule groups found\n")]
    NoRuleGroups { strict: bool },
    #[error("group does not exist\n")]
    NoRuleGroup,
    /// With `strict_loki`: what Loki has switched off by default.
    #[error("multi variant queries are disabled for this instance")]
    VariantsDisabled,
    #[error("approx_topk is not enabled. See -limits.shard_aggregations")]
    ApproximateTopkDisabled,
    /// Labels and series of a range that ends before it begins.
    #[error("merging responses requires at least one response")]
    NothingToMerge,
    #[error(transparent)]
    Access(#[from] AccessRefused),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Push(#[from] PushRefused),
    /// Some entries were refused; the others are stored.
    #[error("{texts}")]
    EntriesRefused {
        texts: String,
        /// Some were too much at this time rather than wrong.
        are_for_later: bool,
    },
    #[error("ingestion blocked for user '{tenant}' until '{until}' with status code '{}'", status.as_u16())]
    IngestionBlocked { tenant: TenantId, until: Moment, status: StatusCode },
    #[error("query blocked by policy")]
    QueryBlocked,
    #[error(transparent)]
    Rate(#[from] RateExceeded),
    #[error(transparent)]
    Delete(#[from] DeleteRefused),
    #[error("memory for pushes is used up, send again later")]
    OverBudget { retry_after: Duration },
    #[error("cannot store at the moment: {reason}")]
    Unavailable { reason: String, retry_after: Duration },
    #[error("{reason}")]
    NotReady { reason: String },
    #[error("the request was cut off")]
    RequestCut,
    #[error("the request did not arrive in time")]
    RequestTimeout,
    #[error("{what} failed")]
    Internal { what: &'static str },
}

impl ApiError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::NotFound | Self::NoRuleGroup | Self::NoRuleGroups { strict: false } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Tenant { error: TenantError::Missing, .. } => StatusCode::UNAUTHORIZED,
            Self::Tenant { error: TenantError::Empty, .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadRequest { .. }
            | Self::Parameter(_)
            | Self::Tenant { .. }
            | Self::Parse(_)
            | Self::Selector(_)
            | Self::EmptyMatcherGroup
            | Self::InstantLogQuery
            | Self::LegacyMetricQuery
            | Self::NoRuleGroups { strict: true }
            | Self::VariantsDisabled
            | Self::EntriesRefused { are_for_later: false, .. }
            | Self::QueryBlocked
            | Self::RequestCut => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Access(refused) => access_status(refused),
            Self::Query(error) => query_status(error),
            Self::Delete(refused) => delete_status(refused),
            Self::Push(refused) => push_status(refused),
            Self::IngestionBlocked { status, .. } => *status,
            Self::EntriesRefused { are_for_later: true, .. } | Self::Rate(_) | Self::OverBudget { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } | Self::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NothingToMerge | Self::ApproximateTopkDisabled | Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Something here went wrong, not in the request: worth a line in the log.
    fn is_our_trouble(&self) -> bool {
        match self {
            Self::Query(error) => matches!(error, QueryError::Storage(_) | QueryError::Engine(_)),
            Self::Unavailable { .. } | Self::Internal { .. } => true,
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OverBudget { retry_after } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

fn access_status(refused: &AccessRefused) -> StatusCode {
    match refused {
        AccessRefused::Unauthenticated | AccessRefused::Unknown | AccessRefused::Signature(_) => StatusCode::UNAUTHORIZED,
        AccessRefused::Forbidden { .. } | AccessRefused::NotClusterWide { .. } => StatusCode::FORBIDDEN,
        AccessRefused::TooManyNamespaces { .. } | AccessRefused::Policy(_) => StatusCode::BAD_REQUEST,
    }
}

fn query_status(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Stage(_)
        | QueryError::SelectorOfTenants(_)
        | QueryError::TooManyVolumes { .. }
        | QueryError::Matcher(_)
        | QueryError::Pipeline { .. }
        | QueryError::TooManySeries { .. }
        | QueryError::OutOfMemory { .. }
        | QueryError::NotSupported { .. } => StatusCode::BAD_REQUEST,
        QueryError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        QueryError::Evaluation(_) | QueryError::Storage(_) | QueryError::Engine(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn delete_status(refused: &DeleteRefused) -> StatusCode {
    match refused {
        DeleteRefused::Unknown => StatusCode::NOT_FOUND,
        DeleteRefused::Restricted => StatusCode::FORBIDDEN,
        DeleteRefused::NotEnabled
        | DeleteRefused::NoQuery
        | DeleteRefused::Query(_)
        | DeleteRefused::NoStart
        | DeleteRefused::Time { .. }
        | DeleteRefused::Future
        | DeleteRefused::Order
        | DeleteRefused::MaxInterval
        | DeleteRefused::Processed
        | DeleteRefused::TooLate { .. } => StatusCode::BAD_REQUEST,
    }
}

fn push_status(refused: &PushRefused) -> StatusCode {
    match refused {
        PushRefused::NoStreams => StatusCode::UNPROCESSABLE_ENTITY,
        PushRefused::BatchTooLarge { .. }
        | PushRefused::TooManyStreams { .. }
        | PushRefused::LabelTextTooLarge { .. }
        | PushRefused::Body(BodyError::Received { .. } | BodyError::Decompressed { .. } | BodyError::Ratio { .. }) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        PushRefused::Otlp(OtlpError::ValueTooLarge { .. } | OtlpError::TooManyPairs { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        PushRefused::Body(_) | PushRefused::Wire(_) | PushRefused::Json(_) | PushRefused::Otlp(_) | PushRefused::Labels(_) => {
            StatusCode::BAD_REQUEST
        }
    }
}

impl ApiError {
    /// The answer to an OTLP collector: the text in a status message; what is our trouble is for later (503), since a collector
    /// gives up on a 500. Who has no tenant is told as everywhere.
    pub fn into_otlp_response(self) -> Response {
        if matches!(self, Self::Tenant { .. }) {
            return self.into_response();
        }
        let body = status::encode(&self.to_string());
        let code = match self.status() {
            StatusCode::INTERNAL_SERVER_ERROR => StatusCode::SERVICE_UNAVAILABLE,
            other => other,
        };
        self.answer(code, body, "application/octet-stream")
    }

    fn answer(&self, status: StatusCode, body: Vec<u8>, content_type: &'static str) -> Response {
        if self.is_our_trouble() {
            tracing::warn!(status = status.as_u16(), error = ?self, "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), error = ?self, "request refused");
        }
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if matches!(self, Self::Access(_)) && status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.answer(self.status(), self.to_string().into_bytes(), "text/plain; charset=utf-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::media_type::MediaTypeError;

    #[test]
    fn every_error_has_lokis_status_and_text() {
        let second = Duration::from_secs(1);
        let pipeline = QueryError::Pipeline { error: "JSONParserErr".to_owned(), series: "{a=\"b\"}".to_owned() };
        let rate = RateExceeded { tenant: TenantId::new("t"), limit: 1, lines: 2, bytes: 3 };
        for (error, status, text) in [
            (ApiError::UnknownPath, 404, "404 page not found\n"),
            (ApiError::NotFound, 404, "not found"),
            (ApiError::MethodNotAllowed, 405, ""),
            (ApiError::Tenant { prefix: "", error: TenantError::Missing }, 401, "no org id\n"),
            (
                ApiError::Tenant { prefix: "p: ", error: TenantError::Character { tenant: "a/b".to_owned(), character: '/' } },
                400,
                "p: tenant ID 'a/b' contains unsupported character '/'",
            ),
            (ApiError::Parameter(ParameterError::Limit), 400, "limit must be a positive value"),
            (ApiError::Parse(ParseError::semantic("x")), 400, "parse error : x"),
            (ApiError::Selector(SelectorError::NotASelector), 400, "only label matchers are supported"),
            (ApiError::EmptyMatcherGroup, 400, "0 matchers in group: {}"),
            (
                ApiError::InstantLogQuery,
                400,
                "log queries are not supported as an instant query type, please change your query to a range query type",
            ),
            (ApiError::LegacyMetricQuery, 400, "rpc error: code = Code(400) desc = legacy endpoints only support streams result type"),
            (ApiError::NoRuleGroups { strict: false }, 404, "no rule groups found\n"),
            (ApiError::NoRuleGroups { strict: true }, 400, "no rule groups found\n"),
            (ApiError::NoRuleGroup, 404, "group does not exist\n"),
            (ApiError::VariantsDisabled, 400, "multi variant queries are disabled for this instance"),
            (ApiError::ApproximateTopkDisabled, 500, "approx_topk is not enabled. See -limits.shard_aggregations"),
            (ApiError::Tenant { prefix: "", error: TenantError::Empty }, 500, "no queue found: empty tenant is not allowed"),
            (ApiError::NothingToMerge, 500, "merging responses requires at least one response"),
            (
                ApiError::Query(pipeline),
                400,
                "pipeline error: 'JSONParserErr' for series: '{a=\"b\"}'.\nUse a label filter to intentionally skip this error. \
                 (e.g | __error__!=\"JSONParserErr\").\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\n\
                 The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n",
            ),
            (
                ApiError::Query(QueryError::TooManySeries { limit: 500 }),
                400,
                "maximum number of series (500) reached for a single query; consider reducing query cardinality by adding more specific \
                 stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()",
            ),
            (
                ApiError::Query(QueryError::Timeout),
                504,
                "request timed out, decrease the duration of the request or add more label matchers (prefer exact match over regex match) \
                 to reduce the amount of data processed",
            ),
            (ApiError::Query(QueryError::NotSupported { what: "topk".to_owned() }), 400, "topk is not supported yet"),
            (ApiError::Query(QueryError::Evaluation("many-to-many".to_owned())), 500, "many-to-many"),
            (ApiError::Push(PushRefused::NoStreams), 422, "error at least one valid stream is required for ingestion"),
            (ApiError::Push(PushRefused::Body(BodyError::MediaType(MediaTypeError::Missing))), 400, "mime: no media type"),
            (ApiError::Push(PushRefused::Body(BodyError::Snappy)), 400, "snappy: corrupt input"),
            (
                ApiError::Push(PushRefused::Body(BodyError::Received { limit: 5 })),
                413,
                "request body too large: more than 5 bytes received, send smaller batches",
            ),
            (ApiError::EntriesRefused { texts: "a\nb".to_owned(), are_for_later: false }, 400, "a\nb"),
            (ApiError::EntriesRefused { texts: "a".to_owned(), are_for_later: true }, 429, "a"),
            (
                ApiError::IngestionBlocked {
                    tenant: TenantId::new("t"),
                    until: Moment::parse("2026-01-20T10:00:00Z").expect("a moment"),
                    status: StatusCode::from_u16(260).expect("a status"),
                },
                260,
                "ingestion blocked for user 't' until '2026-01-20T10:00:00Z' with status code '260'",
            ),
            (ApiError::QueryBlocked, 400, "query blocked by policy"),
            (
                ApiError::Rate(rate),
                429,
                "ingestion rate limit exceeded for user t (limit: 1 bytes/sec) while attempting to ingest '2' lines totaling '3' bytes, \
                 reduce log volume or contact your Loki administrator to see if the limit can be increased",
            ),
            (ApiError::Delete(DeleteRefused::NotEnabled), 400, "Retention is not enabled"),
            (ApiError::Delete(DeleteRefused::NoQuery), 400, "query not set"),
            (ApiError::Delete(DeleteRefused::NoStart), 400, "start time not set"),
            (ApiError::Delete(DeleteRefused::Time { name: "start" }), 400, "invalid start time: require unix seconds or RFC3339 format"),
            (ApiError::Delete(DeleteRefused::Future), 400, "deletes in the future are not allowed"),
            (ApiError::Delete(DeleteRefused::Order), 400, "start time can't be greater than or equal to end time"),
            (ApiError::Delete(DeleteRefused::MaxInterval), 400, "invalid max_interval: valid time units are 's', 'm', 'h'"),
            (ApiError::Delete(DeleteRefused::Unknown), 404, "could not find delete request with given id"),
            (ApiError::OverBudget { retry_after: second }, 429, "memory for pushes is used up, send again later"),
            (ApiError::Unavailable { reason: "timeout".to_owned(), retry_after: second }, 503, "cannot store at the moment: timeout"),
            (ApiError::NotReady { reason: "starting".to_owned() }, 503, "starting"),
        ] {
            assert_eq!((error.status().as_u16(), error.to_string().as_str()), (status, text));
        }
    }

    #[test]
    fn collectors_are_answered_with_a_status_message() {
        let response = ApiError::Internal { what: "x" }.into_otlp_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
        assert_eq!(ApiError::Push(PushRefused::NoStreams).into_otlp_response().status(), StatusCode::UNPROCESSABLE_ENTITY);
        let too_large = OtlpError::ValueTooLarge { limit: 1 };
        assert_eq!(ApiError::Push(too_large.into()).into_otlp_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
        let missing = ApiError::Tenant { prefix: "", error: TenantError::Missing }.into_otlp_response();
        assert_eq!(
            (missing.status(), &missing.headers()[header::CONTENT_TYPE]),
            (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("text/plain; charset=utf-8"))
        );
    }

    #[test]
    fn answers_are_plain_text_and_say_when_to_retry() {
        let response = ApiError::OverBudget { retry_after: Duration::from_millis(200) }.into_response();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header(header::CONTENT_TYPE), Some("text/plain; charset=utf-8"));
        assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
        assert_eq!(header(header::RETRY_AFTER), Some("1"));
    }
}
