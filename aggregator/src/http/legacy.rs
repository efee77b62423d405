//! `/api/prom/query`: a log query over a range as the first versions of Loki answered it. The other old paths are beside their new ones.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::Response;
use tailwater_logql::ast::{Expr, LineFilter, LineFilterArg, LineFilterOp, Stage};
use tailwater_logql::validate::check_stages;

use crate::access::Caller;
use crate::http::error::ApiError;
use crate::http::form::MAX_FORM_BYTES;
use crate::http::query::{RangeParameters, ReadState, found_logs};
use crate::http::reading;
use crate::http::response::legacy::LegacyLogsBody;
use crate::http::response::stream;

pub fn routes(state: ReadState) -> Router {
    Router::new().route("/api/prom/query", reading(logs)).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(state)
}

async fn logs(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let parameters = RangeParameters::of(&asked.form, asked.now)?;
    let mut expression = tailwater_logql::parse(asked.form.get("query"))?;
    if let Expr::Log(log) = &mut expression {
        log.stages.extend(line_filter(asked.form.get("regexp")));
    }
    check_stages(&expression, &|_: &_| Ok(()))?;
    let Expr::Log(log) = expression else { return Err(ApiError::LegacyMetricQuery) };
    Ok(stream(LegacyLogsBody::new(found_logs(&state, &caller, &asked, parameters, log, false).await?)))
}

/// What `regexp` asks of lines besides.
fn line_filter(regexp: &str) -> Option<Stage> {
    let alternatives = vec![LineFilterArg::Text(regexp.to_owned())];
    (!regexp.is_empty()).then_some(Stage::LineFilter(LineFilter { op: LineFilterOp::Regex, alternatives }))
}
