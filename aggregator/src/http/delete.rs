//! `delete`: asks for entries to be deleted, lists what was asked for, withdraws it.
//!
//! A request is an object in the store and a commit to the tenant's manifest; with the 204 queries here hide what it names. It is erased by
//! compaction after the cancel period. Its lines may be of any namespace, so only callers who may read all of them make, see or
//! withdraw requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::Number;
use tailwater_logql::pipeline::PipelineOptions;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::Compactor;
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest::{Change, CommitError, Conflict, ManifestState, Tombstone, TombstoneId, encode_request};
use tailwater_storage::store::{Created, paths};
use ulid::Ulid;

use crate::access::Caller;
use crate::config::span::Span;
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::method_not_allowed;
use crate::http::query::ReadState;
use crate::http::range::parse_rfc_3339;
use crate::http::response::json;
use crate::limits::DeletionMode;
use crate::retention::{DeleteQuery, DeleteQueryError};

const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;

/// How long the object of a request may take to be stored.
const PUT_PATIENCE: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

const REQUEST_ID: &str = "x-delete-request-id";

/// What the endpoint works with. Cheap to clone.
#[derive(Clone)]
pub struct DeleteState {
    pub read: ReadState,
    pub catalog: Arc<Catalog>,
    pub compactor: Compactor,
}

/// Why a request is not made, listed or withdrawn. Display is the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRefused {
    #[error("Retention is not enabled")]
    NotEnabled,
    #[error("delete requests name lines of any namespace: only who may read them all may make, list or cancel them")]
    Restricted,
    #[error("query not set")]
    NoQuery,
    #[error(transparent)]
    Query(#[from] DeleteQueryError),
    #[error("start time not set")]
    NoStart,
    #[error("invalid {name} time: require unix seconds or RFC3339 format")]
    Time { name: &'static str },
    #[error("deletes in the future are not allowed")]
    Future,
    #[error("start time can't be greater than or equal to end time")]
    Order,
    #[error("invalid max_interval: valid time units are 's', 'm', 'h'")]
    MaxInterval,
    #[error("could not find delete request with given id")]
    Unknown,
    #[error("the delete request is processed, its lines are gone and it cannot be cancelled")]
    Processed,
    #[error("the delete request is older than {period} and may be erased in part; cancel it all the same with force=true")]
    TooLate { period: Span },
}

pub fn routes(state: DeleteState) -> Router {
    let methods = get(list).post(add).put(add).delete(cancel).head(method_not_allowed).fallback(method_not_allowed);
    Router::new().route("/loki/api/v1/delete", methods).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(state)
}

/// A call of a tenant that may use this endpoint.
struct Asked {
    tenant: TenantId,
    form: Form,
    now: i64,
}

impl DeleteState {
    fn asked(&self, caller: &Caller, query: Option<&str>, body: &Bytes) -> Result<Asked, ApiError> {
        let tenant = self.read.tenancy.writer(caller)?;
        let now = self.read.clock.now();
        if !caller.rights().access(&tenant).is_unrestricted() {
            return Err(DeleteRefused::Restricted.into());
        }
        if self.read.limits.of(&tenant).deletion_mode == DeletionMode::Disabled {
            return Err(DeleteRefused::NotEnabled.into());
        }
        Ok(Asked { tenant, form: Form::new(caller, query, body), now })
    }

    async fn store(&self, tenant: &TenantId, request: &Tombstone) -> Result<(), ApiError> {
        let (key, object) = (paths::tombstone(tenant, request.id.0), encode_request(request));
        match self.catalog.store().create(&key, object, PUT_PATIENCE).await {
            Ok(Created::Stored) => {}
            Ok(Created::Taken) => return Err(unavailable(&format!("another delete request has the id `{}`", request.id))),
            Err(error) => return Err(unavailable(&error)),
        }
        let committed = self.catalog.commit(tenant, |_| Ok(Change::AddTombstone(request.clone()))).await;
        if let Err(error) = &committed
            && !matches!(error, CommitError::Unknown { .. } | CommitError::Fenced { .. })
        {
            // Not in the manifest, so it must not come back by a rebuild of it.
            self.delete_object(tenant, request.id).await;
        }
        committed.map(drop).map_err(|error| unavailable(&error))
    }

    async fn delete_object(&self, tenant: &TenantId, request: TombstoneId) {
        if let Err(error) = self.catalog.store().delete(&paths::tombstone(tenant, request.0)).await {
            tracing::warn!(%tenant, %request, %error, "the object of a delete request that does not stand stays in the store");
        }
    }
}

fn unavailable(error: &impl std::fmt::Display) -> ApiError {
    ApiError::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER }
}

async fn add(State(state): State<DeleteState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let options = PipelineOptions { strict_loki: state.read.is_strict };
    let request = requested(&asked.form, asked.now, options, TombstoneId(Ulid::new()))?;
    state.store(&asked.tenant, &request).await?;
    let Tombstone { id, query, start, end, .. } = &request;
    tracing::info!(tenant = %asked.tenant, request = %id, ?query, start, end, "entries are to be deleted");
    let id = HeaderValue::from_str(&id.to_string()).map_err(|_| ApiError::Internal { what: "naming the delete request" })?;
    Ok((StatusCode::NO_CONTENT, [(REQUEST_ID, id)]).into_response())
}

/// The request that a form asks for; refusals in Loki's order.
fn requested(form: &Form, now: i64, options: PipelineOptions, id: TombstoneId) -> Result<Tombstone, DeleteRefused> {
    let query = form.get("query");
    if query.is_empty() {
        return Err(DeleteRefused::NoQuery);
    }
    DeleteQuery::parse(query, options)?;
    let start = match form.get("start") {
        "" => return Err(DeleteRefused::NoStart),
        text => parse_time("start", text)?,
    };
    let end = match form.get("end") {
        "" => now,
        text => parse_time("end", text)?,
    };
    if end > now {
        return Err(DeleteRefused::Future);
    }
    if start >= end {
        return Err(DeleteRefused::Order);
    }
    // Loki cuts a request into pieces of this length; here there is nothing to cut.
    match form.get("max_interval") {
        "" => {}
        text if is_go_duration(text) => {}
        _ => return Err(DeleteRefused::MaxInterval),
    }
    Ok(Tombstone::requested(id, query, start, end, now))
}

/// Ten digits of seconds, or RFC 3339.
fn parse_time(name: &'static str, text: &str) -> Result<i64, DeleteRefused> {
    let is_seconds = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = if is_seconds { text.parse::<i64>().ok().map(|seconds| seconds.saturating_mul(SECOND)) } else { parse_rfc_3339(text) };
    time.ok_or(DeleteRefused::Time { name })
}

/// `1h30m`, `1.5h`, `500ms`: numbers with units, in any order.
fn is_go_duration(text: &str) -> bool {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let unit_start = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, with_unit) = rest.split_at(unit_start);
        let is_number = number.bytes().any(|byte| byte.is_ascii_digit()) && number.bytes().filter(|byte| *byte == b'.').count() <= 1;
        let unit_end = with_unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(with_unit.len());
        let (unit, after) = with_unit.split_at(unit_end);
        if !is_number || !UNITS.contains(&unit) {
            return false;
        }
        rest = after;
    }
    true
}

/// A request as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    request_id: String,
    start_time: Number,
    end_time: Number,
    query: String,
    status: String,
    created_at: Number,
    user_id: &'static str,
}

impl Listed {
    fn new(request: &Tombstone, erased_percent: u8) -> Self {
        Self {
            request_id: request.id.to_string(),
            start_time: seconds(request.start),
            end_time: seconds(request.end),
            query: request.query.clone(),
            status: match erased_percent {
                0 => "received".to_owned(),
                100 => "processed".to_owned(),
                percent => format!("{percent}% Complete"),
            },
            created_at: seconds(request.created),
            user_id: "",
        }
    }
}

/// Seconds with up to three decimals.
fn seconds(time: i64) -> Number {
    let milliseconds = time.div_euclid(MILLISECOND);
    match milliseconds % 1000 {
        0 => Number::from(milliseconds / 1000),
        _ => Number::from_f64(milliseconds as f64 / 1000.0).expect("a quotient of two finite numbers is finite"),
    }
}

async fn list(State(state): State<DeleteState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let range = match (asked.form.get("start"), asked.form.get("end")) {
        ("", _) | (_, "") => None,
        (start, end) => Some((parse_time("start", start)?, parse_time("end", end)?)),
    };
    Ok(json(&listed(&state.catalog.manifest(&asked.tenant), &state.compactor, range)))
}

/// The requests that meet a range, in the order in which they were made.
fn listed(manifest: &ManifestState, compactor: &Compactor, range: Option<(i64, i64)>) -> Vec<Listed> {
    let meets = |request: &&Arc<Tombstone>| range.is_none_or(|(start, end)| request.start <= end && start <= request.end);
    let mut found: Vec<&Arc<Tombstone>> = manifest.tombstones().filter(meets).collect();
    found.sort_by_key(|request| (request.created, request.added, request.id));
    found.into_iter().map(|request| Listed::new(request, compactor.erased_percent(manifest, request))).collect()
}

async fn cancel(State(state): State<DeleteState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let id = Ulid::from_string(asked.form.get("request_id")).map_err(|_| DeleteRefused::Unknown)?;
    let id = TombstoneId(id);
    let manifest = state.catalog.manifest(&asked.tenant);
    let request = manifest.tombstone(id).ok_or(DeleteRefused::Unknown)?;
    if request.processed_at.is_some() {
        return Err(DeleteRefused::Processed.into());
    }
    let retention = &state.read.retention;
    if asked.form.get("force") != "true" && !retention.may_be_cancelled(request, asked.now) {
        let period = retention.options().cancel_period.as_millis();
        return Err(DeleteRefused::TooLate { period: Span::milliseconds(i64::try_from(period).unwrap_or(i64::MAX)) }.into());
    }
    match state.catalog.commit(&asked.tenant, |_| Ok(Change::CancelTombstone(id))).await {
        Ok(_) => {}
        Err(CommitError::Conflict { conflict: Conflict::TombstoneUnknown(_), .. }) => return Err(DeleteRefused::Unknown.into()),
        Err(CommitError::Conflict { conflict: Conflict::TombstoneProcessed(_), .. }) => return Err(DeleteRefused::Processed.into()),
        Err(error) => return Err(unavailable(&error)),
    }
    state.delete_object(&asked.tenant, id).await;
    tracing::info!(tenant = %asked.tenant, request = %id, "a delete request is withdrawn");
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    /// 2026-01-20 10:00:00.25 UTC.
    const NOW: i64 = 1_768_903_200_250_000_000;

    fn asked(query: &str) -> Result<(i64, i64), String> {
        let form = Form::new(&HeaderMap::new(), Some(query), &Bytes::new());
        let request = requested(&form, NOW, PipelineOptions::default(), TombstoneId(Ulid::nil()));
        request.map(|request| (request.start, request.end)).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_read_and_refused_as_loki_does() {
        let (start, time) = (1_768_900_000 * SECOND, "invalid start time: require unix seconds or RFC3339 format");
        for (parameters, expected) in [
            ("start=1768900000", Ok((start, NOW))),
            ("start=1768900000&end=1768903200", Ok((start, 1_768_903_200 * SECOND))),
            ("start=2026-01-20T09:06:40Z&end=2026-01-20T10:00:00.25Z", Ok((start, NOW))),
            ("start=2026-01-20T10:06:40%2B01:00&max_interval=1h30m", Ok((start, NOW))),
            ("", Err("start time not set")),
            ("start=abc", Err(time)),
            ("start=1", Err(time)),
            ("start=1768900000000000000", Err(time)),
            ("start=1768900.00", Err(time)),
            ("start=1768900000&end=x", Err("invalid end time: require unix seconds or RFC3339 format")),
            ("start=1768900000&end=1768903201", Err("deletes in the future are not allowed")),
            ("start=1768903201", Err("start time can't be greater than or equal to end time")),
            ("start=1768900000&end=1768900000", Err("start time can't be greater than or equal to end time")),
            ("start=1768900000&max_interval=1d", Err("invalid max_interval: valid time units are 's', 'm', 'h'")),
        ] {
            assert_eq!(asked(&format!("query=%7Bapp%3D%22a%22%7D&{parameters}")), expected.map_err(str::to_owned), "{parameters}");
        }
        assert_eq!(asked("start=1768900000"), Err("query not set".to_owned()));
        assert!(asked("query=%7B&start=1768900000").is_err_and(|text| text.starts_with("invalid query expression: ")));
    }

    #[test]
    fn go_durations_are_known() {
        for (text, expected) in [
            ("1h", true),
            ("1h30m", true),
            ("30m1h", true),
            ("1.5h", true),
            ("-3s", true),
            ("0", true),
            ("100ms", true),
            (".5s", true),
            ("", false),
            ("1", false),
            ("1d", false),
            ("h", false),
            ("1.2.3s", false),
            ("-", false),
            ("1h ", false),
            (".s", false),
        ] {
            assert_eq!(is_go_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_seconds_with_as_few_decimals_as_do() {
        for (time, expected) in [
            (1_591_616_227 * SECOND, "1591616227"),
            (1_591_619_692_500_000_000, "1591619692.5"),
            (1_591_619_692_123_999_999, "1591619692.123"),
            (0, "0"),
        ] {
            assert_eq!(seconds(time).to_string(), expected);
        }
    }
}
