//! `query` and `query_range`: parameters and limits checked in Loki's order, then the engine, then the answer in pieces.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use tailwater_engine::answer::{LogAnswer, MetricAnswer, MetricValue, Statistics};
use tailwater_engine::request::{Direction, LogRequest, MetricRequest, QueryLimits, TimeRange};
use tailwater_engine::{Access, Engine, Scope};
use tailwater_logql::ast::{Expr, LogExpr, LogRange, MetricExpr, Selector};
use tailwater_logql::validate::check_stages;
use tailwater_storage::entry::TenantId;
use tailwater_storage::tolerance::Tolerance;

use crate::access::{Caller, Rights};
use crate::clock::Clock;
use crate::config::Tenancy;
use crate::config::blocked_query::QueryKind;
use crate::config::size::ByteSize;
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::portions::{self, Portions, context, cursor, export};
use crate::http::query_checks::{
    check_entries, check_instant_metric, check_metric, check_query_selector, check_switched_off, has_filter, log_ranges, visible,
};
use crate::http::query_log::{AskedFor, QueryLog, query_tags, with_cost};
use crate::http::range::{self, Bounds, ParameterError, parse_time};
use crate::http::reading;
use crate::http::response::logs::{EncodingFlags, LogsBody};
use crate::http::response::metrics::MetricsBody;
use crate::http::response::stream;
use crate::http::words;
use crate::limits::{Limits, TenantLimits};
use crate::retention::RetentionRules;

/// What the reading endpoints work with. Cheap to clone.
#[derive(Clone)]
pub struct ReadState {
    pub tenancy: Arc<Tenancy>,
    pub limits: TenantLimits,
    pub is_strict: bool,
    pub clock: Arc<dyn Clock>,
    pub engine: Engine,
    pub retention: Arc<RetentionRules>,
}

/// A request of known tenants.
pub(crate) struct Asked {
    /// Each once, in the order of their names.
    pub(crate) tenants: Vec<TenantId>,
    /// The strictest of their limits.
    pub(crate) limits: Arc<Limits>,
    pub(crate) form: Form,
    /// Nanoseconds since the epoch.
    pub(crate) now: i64,
    /// What the answer is kept within.
    pub(crate) rights: Rights,
    /// Whether it may leave out what is damaged.
    pub(crate) tolerance: Tolerance,
}

impl ReadState {
    pub(crate) fn asked(&self, caller: &Caller, query: Option<&str>, body: &Bytes) -> Result<Asked, ApiError> {
        let tenants = self.tenancy.readers(caller)?;
        let limits = self.limits.of_all(&tenants);
        let (form, now) = (Form::new(caller, query, body), self.clock.now());
        Ok(Asked { tenants, limits, form, now, rights: caller.rights().clone(), tolerance: caller.tolerance().clone() })
    }

    /// Whose data may be seen, and what of it is neither deleted nor past its retention.
    pub(crate) fn access(&self, rights: &Rights, tenant: &TenantId, now: i64) -> Access {
        rights.access(tenant).without(self.retention.hidden(tenant, now))
    }

    /// The same of every tenant of a request.
    pub(crate) fn scope(&self, asked: &Asked) -> Scope {
        let accesses = asked.tenants.iter().map(|tenant| self.access(&asked.rights, tenant, asked.now));
        Scope::of_all(accesses).tolerating(asked.tolerance.clone())
    }

    /// Refuses a query whose selectors, each over its range, name more bytes than may be read.
    async fn check_bytes(&self, asked: &Asked, read: &[(&Selector, Bounds)]) -> Result<(), ApiError> {
        let limit = asked.limits.max_query_bytes_read;
        if limit.as_u64() == 0 {
            return Ok(());
        }
        let mut bytes = 0;
        for (selector, Bounds { start, end }) in read {
            let range = TimeRange { start: *start, end: *end };
            bytes += self.engine.index_stats(self.scope(asked), selector, range).await?.bytes;
        }
        let bytes = ByteSize::bytes(bytes);
        if bytes > limit { Err(ParameterError::TooManyBytes { bytes, limit }.into()) } else { Ok(()) }
    }

    /// The same for a log query, which is held to it only if it filters.
    pub(crate) async fn check_log_bytes(&self, asked: &Asked, expr: &LogExpr, bounds: Bounds) -> Result<(), ApiError> {
        if has_filter(expr) { self.check_bytes(asked, &[(&expr.selector, bounds)]).await } else { Ok(()) }
    }

    /// The same for a metric query at all times within bounds.
    async fn check_metric_bytes(&self, asked: &Asked, metric: &MetricExpr, bounds: Bounds) -> Result<(), ApiError> {
        let mut ranges = Vec::new();
        log_ranges(metric, &mut ranges);
        let window = |range: &LogRange| Bounds {
            start: bounds.start.saturating_sub(range.range).saturating_sub(range.offset),
            end: bounds.end.saturating_sub(range.offset),
        };
        let read: Vec<(&Selector, Bounds)> = ranges.iter().map(|range| (&range.log.selector, window(range))).collect();
        self.check_bytes(asked, &read).await
    }

    /// Refuses what Loki has switched off by default, if that is to be copied.
    fn check_enabled(&self, metric: &MetricExpr) -> Result<(), ApiError> {
        if self.is_strict { check_switched_off(metric) } else { Ok(()) }
    }

    pub(crate) fn query_limits(&self, headers: &HeaderMap, limits: &Limits) -> QueryLimits {
        QueryLimits {
            max_series: limits.max_query_series,
            partial_series: is_drilldown(headers),
            timeout: limits.query_timeout.duration(),
            strict_loki: self.is_strict,
        }
    }
}

pub fn routes(state: ReadState) -> Router {
    Router::new()
        .route("/loki/api/v1/query", reading(instant))
        .route("/loki/api/v1/query_range", reading(over_range))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

/// Logs Drilldown prefers some series and a warning to an error.
fn is_drilldown(headers: &HeaderMap) -> bool {
    query_tags(headers).iter().any(|(name, value)| name == "source" && value.eq_ignore_ascii_case("grafana-lokiexplore-app"))
}

pub(crate) fn encoding_flags(headers: &HeaderMap) -> EncodingFlags {
    EncodingFlags::parse(headers.get("x-loki-response-encoding-flags").and_then(|value| value.to_str().ok()).unwrap_or_default())
}

async fn instant(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let mut log = QueryLog::new(&asked, &caller, true);
    let outcome = instant_answer(&state, &caller, &asked, &mut log).await;
    log.end(&outcome);
    outcome
}

async fn instant_answer(state: &ReadState, headers: &HeaderMap, asked: &Asked, log: &mut QueryLog) -> Result<Response, ApiError> {
    let limit = range::limit(&asked.form)?;
    let time = match asked.form.get("time") {
        "" => asked.now,
        text => parse_time(text).map_err(ParameterError::Instant)?,
    };
    range::direction(&asked.form)?;
    let expression = tailwater_logql::parse(asked.form.get("query"))?;
    let Expr::Metric(_) = &expression else { return Err(ApiError::InstantLogQuery) };
    check_stages(&expression, &|_: &_| Ok(()))?;
    let Expr::Metric(metric) = expression else { return Err(ApiError::InstantLogQuery) };
    let bounds = Bounds { start: time, end: time };
    check_allowed(asked, log, AskedFor { kind: QueryKind::Metric, bounds, step: 0, limit })?;
    check_instant_metric(&metric, bounds, &asked.limits)?;
    state.check_enabled(&metric)?;
    state.check_metric_bytes(asked, &metric, bounds).await?;
    let request = MetricRequest { expr: metric, start: time, end: time, step: 1 };
    let answer = match visible(bounds, asked.limits.max_query_lookback, asked.now) {
        Some(_) => state.engine.metrics(state.scope(asked), request, &state.query_limits(headers, &asked.limits)).await?,
        None => no_series(),
    };
    let statistics = answer.statistics;
    Ok(with_cost(stream(MetricsBody::instant(answer, time)), statistics))
}

async fn over_range(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let mut log = QueryLog::new(&asked, &caller, false);
    let outcome = range_answer(&state, &caller, asked, &mut log).await;
    log.end(&outcome);
    outcome
}

async fn range_answer(state: &ReadState, headers: &HeaderMap, asked: Asked, log: &mut QueryLog) -> Result<Response, ApiError> {
    let parameters = RangeParameters::of(&asked.form, asked.now)?;
    let expression = tailwater_logql::parse(asked.form.get("query"))?;
    check_stages(&expression, &|_: &_| Ok(()))?;
    check_allowed(&asked, log, parameters.asked_for(&expression))?;
    let expr = match expression {
        Expr::Log(expr) => expr,
        Expr::Metric(metric) => {
            Portions::check_metric(&asked.form)?;
            return metrics(state, headers, &asked, parameters, metric).await;
        }
    };
    match Portions::of(&asked.form)? {
        Portions::Plain => logs(state, headers, &asked, parameters, expr).await,
        Portions::Page { token } => cursor::page(state, headers, &asked, parameters, expr, token.as_deref()).await,
        Portions::Lines => export::lines(state, headers, asked, parameters, expr).await,
        Portions::Neighbours { before, after } => context::neighbours(state, headers, &asked, parameters, expr, (before, after)).await,
    }
}

pub(crate) fn kind_of(expression: &Expr) -> QueryKind {
    match expression {
        Expr::Metric(_) => QueryKind::Metric,
        Expr::Log(log) if log.stages.is_empty() => QueryKind::Limited,
        Expr::Log(_) => QueryKind::Filter,
    }
}

/// Notes what is asked for, and refuses it if the tenant's limits say so.
pub(crate) fn check_allowed(asked: &Asked, log: &mut QueryLog, asked_for: AskedFor) -> Result<(), ApiError> {
    log.note(asked_for);
    check_blocked(asked, asked_for.kind, log.tags())
}

/// Refuses what the tenant's limits block.
pub(crate) fn check_blocked(asked: &Asked, kind: QueryKind, tags: &[(String, String)]) -> Result<(), ApiError> {
    let query = asked.form.get("query");
    let is_blocked = asked.limits.blocked_queries.iter().any(|rule| rule.blocks(query, kind, tags));
    if is_blocked { Err(ApiError::QueryBlocked) } else { Ok(()) }
}

/// The parameters of a range query, in the order in which they are refused.
pub(crate) struct RangeParameters {
    pub(crate) bounds: Bounds,
    pub(crate) limit: u32,
    pub(crate) direction: Direction,
    step: i64,
    interval: i64,
}

impl RangeParameters {
    pub(crate) fn of(form: &Form, now: i64) -> Result<Self, ParameterError> {
        let bounds = Bounds::of(form, now)?.checked()?;
        let limit = range::limit(form)?;
        let direction = range::direction(form)?;
        let step = range::step(form, bounds)?;
        Ok(Self { bounds, limit, direction, step, interval: range::interval(form)? })
    }

    /// What the log of queries tells of them.
    pub(crate) fn asked_for(&self, expression: &Expr) -> AskedFor {
        AskedFor { kind: kind_of(expression), bounds: self.bounds, step: self.step, limit: self.limit }
    }
}

async fn logs(
    state: &ReadState,
    headers: &HeaderMap,
    asked: &Asked,
    parameters: RangeParameters,
    expr: LogExpr,
) -> Result<Response, ApiError> {
    let flags = encoding_flags(headers);
    let found = found_logs(state, headers, asked, parameters, expr, flags.categorize()).await?;
    let statistics = found.statistics;
    Ok(with_cost(stream(LogsBody::new(found, flags)), statistics))
}

/// What a log query finds. `categorize`: labels are kept apart.
pub(crate) async fn found_logs(
    state: &ReadState,
    headers: &HeaderMap,
    asked: &Asked,
    parameters: RangeParameters,
    expr: LogExpr,
    categorize: bool,
) -> Result<LogAnswer, ApiError> {
    check_entries(parameters.limit, &asked.limits)?;
    match log_request(state, asked, parameters, expr, categorize).await? {
        Some(request) => Ok(state.engine.logs(state.scope(asked), request, &state.query_limits(headers, &asked.limits)).await?),
        None => Ok(LogAnswer { streams: Vec::new(), warnings: Vec::new(), statistics: Statistics::default() }),
    }
}

/// A log query that is within its limits, but for that of entries; `None` if it can find nothing.
pub(crate) async fn log_request(
    state: &ReadState,
    asked: &Asked,
    parameters: RangeParameters,
    expr: LogExpr,
    categorize: bool,
) -> Result<Option<LogRequest>, ApiError> {
    let limits = &asked.limits;
    parameters.bounds.limited(0, limits.max_query_length)?;
    check_query_selector(&expr.selector, limits)?;
    let equal_stamps = portions::equal_stamps(&asked.form)?;
    let window = visible(parameters.bounds, limits.max_query_lookback, asked.now).and_then(log_window);
    let Some(Bounds { start, end }) = window else { return Ok(None) };
    state.check_log_bytes(asked, &expr, Bounds { start, end }).await?;
    let RangeParameters { limit, direction, interval, .. } = parameters;
    Ok(Some(LogRequest { expr, start, end, limit: limit as usize, direction, interval, categorize, equal_stamps }))
}

/// The entries that a log query means, `start <= timestamp < end`. A range without length means the entries of that very
/// nanosecond, but nothing on the hour, where Loki's pieces of an hour leave none over.
fn log_window(bounds: Bounds) -> Option<Bounds> {
    const HOUR: i64 = 3_600_000_000_000;
    match bounds {
        Bounds { start, end } if start < end => Some(bounds),
        Bounds { start, .. } if start % HOUR == 0 => None,
        Bounds { start, .. } => Some(Bounds { start, end: start.saturating_add(1) }),
    }
}

async fn metrics(
    state: &ReadState,
    headers: &HeaderMap,
    asked: &Asked,
    parameters: RangeParameters,
    expr: MetricExpr,
) -> Result<Response, ApiError> {
    let step = parameters.step;
    check_metric(&expr, parameters.bounds, &asked.limits)?;
    state.check_enabled(&expr)?;
    let Some(visible) = visible(parameters.bounds, asked.limits.max_query_lookback, asked.now) else {
        return Ok(stream(MetricsBody::range(no_series(), 0, 0, step)));
    };
    let Bounds { start, end } = visible.aligned(step);
    state.check_metric_bytes(asked, &expr, visible).await?;
    let request = MetricRequest { expr, start, end, step };
    let engine = if wants_fresh_results(headers) { state.engine.uncached() } else { state.engine.clone() };
    let answer = engine.metrics(state.scope(asked), request, &state.query_limits(headers, &asked.limits)).await?;
    let statistics = answer.statistics;
    Ok(with_cost(stream(MetricsBody::range(answer, start, end, step)), statistics))
}

/// Whether kept results are neither to be used nor to be made: `Cache-Control: no-cache`.
fn wants_fresh_results(headers: &HeaderMap) -> bool {
    ["no-cache", "no-store"].into_iter().any(|directive| words::lists(headers, CACHE_CONTROL, directive))
}

pub(crate) fn no_series() -> MetricAnswer {
    MetricAnswer { value: MetricValue::Series(Vec::new()), warnings: Vec::new(), statistics: Statistics::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn a_range_without_length_is_one_nanosecond_but_not_on_the_hour() {
        let at = |start: i64, end: i64| log_window(Bounds { start, end });
        assert_eq!(at(HOUR, HOUR), None);
        assert_eq!(at(HOUR + 5, HOUR + 5), Some(Bounds { start: HOUR + 5, end: HOUR + 6 }));
        assert_eq!(at(HOUR, HOUR + 1), Some(Bounds { start: HOUR, end: HOUR + 1 }));
    }

    #[test]
    fn results_are_kept_unless_the_request_forbids_it() {
        let is_fresh = |value: &'static str| wants_fresh_results(&HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]));
        assert!(is_fresh("no-cache") && is_fresh("max-age=0, No-Cache") && is_fresh("no-store"));
        assert!(!is_fresh("max-age=0") && !is_fresh("no-cache-please") && !wants_fresh_results(&HeaderMap::new()));
    }

    #[test]
    fn drilldown_is_known_by_its_tag() {
        let tagged = |tags: &'static str| {
            is_drilldown(&HeaderMap::from_iter([("x-query-tags".parse().expect("a name"), HeaderValue::from_static(tags))]))
        };
        assert!(tagged("Source=grafana-lokiexplore-app"));
        assert!(!tagged("Source=logvolhist") && !is_drilldown(&HeaderMap::new()));
    }
}
