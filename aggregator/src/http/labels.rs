//! `labels` and `label/{name}/values`: what streams are called, within a range.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use tailwater_engine::request::TimeRange;
use tailwater_engine::scope::TENANT_LABEL;
use tailwater_logql::ast::Selector;
use tailwater_logql::parse_selector;

use crate::access::Caller;
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::query::ReadState;
use crate::http::query_checks::catalogue_bounds;
use crate::http::range::Bounds;
use crate::http::reading;
use crate::http::response::json;
use crate::limits::Limits;

pub fn routes(state: ReadState) -> Router {
    Router::new()
        .route("/loki/api/v1/labels", reading(names))
        .route("/loki/api/v1/label", reading(names))
        .route("/api/prom/label", reading(names))
        .route("/loki/api/v1/label/{name}/values", reading(values))
        .route("/api/prom/label/{name}/values", reading(values))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

/// Loki leaves `data` away where nothing was found.
#[derive(Serialize)]
struct Found {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data: Vec<String>,
}

fn found(data: Vec<String>) -> Response {
    json(&Found { status: "success", data })
}

async fn names(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let Some((range, selector)) = question(&asked.form, &asked.limits, asked.now)? else { return Ok(found(Vec::new())) };
    Ok(found(state.engine.label_names(state.scope(&asked), selector.as_ref(), range).await?))
}

async fn values(
    State(state): State<ReadState>,
    Path(name): Path<String>,
    caller: Caller,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let question = question(&asked.form, &asked.limits, asked.now)?;
    if name == TENANT_LABEL && state.tenancy.enabled && state.tenancy.multi_tenant_queries {
        return Ok(found(asked.tenants.iter().map(ToString::to_string).collect()));
    }
    let Some((range, selector)) = question else { return Ok(found(Vec::new())) };
    Ok(found(state.engine.label_values(state.scope(&asked), &name, selector.as_ref(), range).await?))
}

/// The range, and the streams that count if not all do; `None` if the range is all too far back.
fn question(form: &Form, limits: &Limits, now: i64) -> Result<Option<(TimeRange, Option<Selector>)>, ApiError> {
    let bounds = catalogue_range(form, now)?;
    let selector = match form.get("query") {
        "" => None,
        text => Some(parse_selector(text)?),
    };
    Ok(catalogue_bounds(bounds, limits, now)?.map(|range| (range, selector)))
}

/// The range of a question about streams. Loki has its own words for one that ends before it begins.
pub(crate) fn catalogue_range(form: &Form, now: i64) -> Result<Bounds, ApiError> {
    let bounds = Bounds::of(form, now)?;
    if bounds.end < bounds.start { Err(ApiError::NothingToMerge) } else { Ok(bounds) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    fn refusal(query: &str) -> String {
        let form = Form::new(&HeaderMap::new(), Some(query), &Bytes::new());
        question(&form, &Limits::default(), 1_768_474_800_000_000_000).expect_err(query).to_string()
    }

    #[test]
    fn questions_are_refused_with_lokis_texts() {
        let needs_matcher = "parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. \
                             For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";
        for (query, expected) in [
            ("query=%7Bapp%3D", "parse error at line 1, col 6: syntax error: unexpected $end, expecting STRING"),
            ("query=%7Bapp%3D%22a%22%7D+%7C+json", "only label matchers are supported"),
            ("query=rate(%7Bapp%3D%22a%22%7D%5B1m%5D)", "only label matchers are supported"),
            ("query=%7B%7D", needs_matcher),
            ("query=%7Ba%3D~%22.*%22%7D", needs_matcher),
            ("start=x", "could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("start=1&end=2000000000", "the query time range exceeds the limit (query length: 555555h33m19s, limit: 30d1h)"),
            ("start=2&end=1", "merging responses requires at least one response"),
        ] {
            assert_eq!(refusal(query), expected);
        }
    }

    #[test]
    fn nothing_found_is_a_success_without_data() {
        let text = |data: Vec<String>| serde_json::to_string(&Found { status: "success", data }).expect("JSON");
        assert_eq!(text(Vec::new()), r#"{"status":"success"}"#);
        assert_eq!(text(vec!["a".to_owned()]), r#"{"status":"success","data":["a"]}"#);
    }
}
