//! `context=N`: a log query whose answer tells, beside the entries, what stands before and after each in its stream.
//!
//! One request instead of three for each entry. `data.context` has one element for each entry found, in order over all streams, with raw lines, the oldest
//! first. The limit of entries holds for all lines together. Neighbours are looked for up to two hours away.

use axum::http::HeaderMap;
use axum::response::Response;
use tailwater_engine::request::ContextRequest;
use tailwater_logql::ast::LogExpr;

use crate::http::error::ApiError;
use crate::http::query::{Asked, RangeParameters, ReadState, encoding_flags, log_request};
use crate::http::query_log::with_cost;
use crate::http::range::ParameterError;
use crate::http::response::logs::LogsBody;
use crate::http::response::stream;

/// How far away neighbours are looked for, in nanoseconds.
const REACH: i64 = 2 * 3600 * 1_000_000_000;

/// Answers with entries and their neighbours.
pub(crate) async fn neighbours(
    state: &ReadState,
    headers: &HeaderMap,
    asked: &Asked,
    parameters: RangeParameters,
    expr: LogExpr,
    (before, after): (usize, usize),
) -> Result<Response, ApiError> {
    let flags = encoding_flags(headers);
    let allowed = asked.limits.max_entries_limit_per_query;
    let lines = before.saturating_add(after).saturating_add(1).saturating_mul(parameters.limit as usize);
    if allowed > 0 && lines > allowed {
        return Err(ParameterError::TooMuchContext { lines, allowed }.into());
    }
    let Some(log) = log_request(state, asked, parameters, expr, flags.categorize()).await? else {
        return Ok(stream(LogsBody::nothing(flags).with_neighbours(Vec::new())));
    };
    let request = ContextRequest { log, before, after, reach: REACH };
    let answer = state.engine.context(state.scope(asked), request, &state.query_limits(headers, &asked.limits)).await?;
    let statistics = answer.found.statistics;
    Ok(with_cost(stream(LogsBody::new(answer.found, flags).with_neighbours(answer.neighbours)), statistics))
}
