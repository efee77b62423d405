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
use crate::http::query::{Asked, RangeParameters, ReadState, check_allowed, found_logs};
use crate::http::query_log::{QueryLog, with_cost};
use crate::http::reading;
use crate::http::response::legacy::LegacyLogsBody;
use crate::http::response::stream;

pub fn routes(state: ReadState) -> Router {
    Router::new().route("/api/prom/query", reading(logs)).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(state)
}

async fn logs(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let mut log = QueryLog::new(&asked, &caller, false);
    let outcome = answer(&state, &caller, &asked, &mut log).await;
    log.end(&outcome);
    outcome
}

async fn answer(state: &ReadState, caller: &Caller, asked: &Asked, log: &mut QueryLog) -> Result<Response, ApiError> {
    let parameters = RangeParameters::of(&asked.form, asked.now)?;
    let mut expression = tailwater_logql::parse(asked.form.get("query"))?;
    if let Expr::Log(expr) = &mut expression {
        expr.stages.extend(line_filter(asked.form.get("regexp")));
    }
    check_stages(&expression, &|_: &_| Ok(()))?;
    check_allowed(asked, log, parameters.asked_for(&expression))?;
    let Expr::Log(expr) = expression else { return Err(ApiError::LegacyMetricQuery) };
    let found = found_logs(state, caller, asked, parameters, expr, false).await?;
    let statistics = found.statistics;
    Ok(with_cost(stream(LegacyLogsBody::new(found)), statistics))
}

/// What `regexp` asks of lines besides.
fn line_filter(regexp: &str) -> Option<Stage> {
    let alternatives = vec![LineFilterArg::Text(regexp.to_owned())];
    (!regexp.is_empty()).then_some(Stage::LineFilter(LineFilter { op: LineFilterOp::Regex, alternatives }))
}
