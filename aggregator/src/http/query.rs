//! `query` and `query_range`: parameters and limits checked in Loki's order, then the engine, then the answer in pieces.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use tailwater_engine::answer::{LogAnswer, MetricAnswer, MetricValue, Statistics};
use tailwater_engine::request::{LogRequest, MetricRequest, QueryLimits, TimeRange};
use tailwater_engine::{Access, Engine, Scope};
use tailwater_logql::ast::{Expr, LogExpr, LogRange, MetricExpr, Selector, VectorOp};
use tailwater_logql::validate::check_stages;
use tailwater_storage::entry::TenantId;

use crate::access::{Caller, Rights};
use crate::clock::Clock;
use crate::config::Tenancy;
use crate::config::size::ByteSize;
use crate::config::span::Span;
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::range::{self, Bounds, ParameterError, parse_time};
use crate::http::reading;
use crate::http::response::logs::{EncodingFlags, LogsBody};
use crate::http::response::metrics::MetricsBody;
use crate::http::response::stream;
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
}

impl ReadState {
    pub(crate) fn asked(&self, caller: &Caller, query: Option<&str>, body: &Bytes) -> Result<Asked, ApiError> {
        let tenants = self.tenancy.readers(caller)?;
        let limits = self.limits.of_all(&tenants);
        Ok(Asked { tenants, limits, form: Form::new(caller, query, body), now: self.clock.now(), rights: caller.rights().clone() })
    }

    /// Whose data may be seen, and what of it is neither deleted nor past its retention.
    pub(crate) fn access(&self, rights: &Rights, tenant: &TenantId, now: i64) -> Access {
        rights.access(tenant).without(self.retention.hidden(tenant, now))
    }

    /// The same of every tenant of a request.
    pub(crate) fn scope(&self, asked: &Asked) -> Scope {
        Scope::of_all(asked.tenants.iter().map(|tenant| self.access(&asked.rights, tenant, asked.now)))
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
    let tags = headers.get("x-query-tags").and_then(|value| value.to_str().ok()).unwrap_or_default();
    tags.split(',').any(|tag| tag.trim().eq_ignore_ascii_case("source=grafana-lokiexplore-app"))
}

pub(crate) fn encoding_flags(headers: &HeaderMap) -> EncodingFlags {
    EncodingFlags::parse(headers.get("x-loki-response-encoding-flags").and_then(|value| value.to_str().ok()).unwrap_or_default())
}

async fn instant(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    range::limit(&asked.form)?;
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
    check_metric(&metric, bounds, &asked.limits)?;
    state.check_enabled(&metric)?;
    state.check_metric_bytes(&asked, &metric, bounds).await?;
    let request = MetricRequest { expr: metric, start: time, end: time, step: 1 };
    let answer = match visible(bounds, asked.limits.max_query_lookback, asked.now) {
        Some(_) => state.engine.metrics(state.scope(&asked), request, &state.query_limits(&caller, &asked.limits)).await?,
        None => no_series(),
    };
    Ok(stream(MetricsBody::instant(answer, time)))
}

async fn over_range(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let parameters = RangeParameters::of(&asked.form, asked.now)?;
    let expression = tailwater_logql::parse(asked.form.get("query"))?;
    check_stages(&expression, &|_: &_| Ok(()))?;
    match expression {
        Expr::Log(log) => logs(&state, &caller, &asked, parameters, log).await,
        Expr::Metric(metric) => metrics(&state, &caller, &asked, parameters, metric).await,
    }
}

/// The parameters of a range query, in the order in which they are refused.
pub(crate) struct RangeParameters {
    pub(crate) bounds: Bounds,
    limit: u32,
    direction: tailwater_engine::request::Direction,
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
    Ok(stream(LogsBody::new(found, flags)))
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
    let limits = &asked.limits;
    check_entries(parameters.limit, limits)?;
    parameters.bounds.limited(0, limits.max_query_length)?;
    check_query_selector(&expr.selector, limits)?;
    let window = visible(parameters.bounds, limits.max_query_lookback, asked.now).and_then(log_window);
    let Some(Bounds { start, end }) = window else {
        return Ok(LogAnswer { streams: Vec::new(), statistics: Statistics::default() });
    };
    state.check_bytes(asked, &[(&expr.selector, Bounds { start, end })]).await?;
    let RangeParameters { limit, direction, interval, .. } = parameters;
    let request = LogRequest { expr, start, end, limit: limit as usize, direction, interval, categorize };
    Ok(state.engine.logs(state.scope(asked), request, &state.query_limits(headers, limits)).await?)
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
    Ok(stream(MetricsBody::range(answer, start, end, step)))
}

/// Whether kept results are neither to be used nor to be made: `Cache-Control: no-cache`.
fn wants_fresh_results(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| {
        let directive = directive.trim();
        directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("no-store")
    })
}

pub(crate) fn no_series() -> MetricAnswer {
    MetricAnswer { value: MetricValue::Series(Vec::new()), warnings: Vec::new(), statistics: Statistics::default() }
}

/// What is left of a range that may look back only so far (0: without end); `None` if nothing.
pub(crate) fn visible(bounds: Bounds, lookback: Span, now: i64) -> Option<Bounds> {
    if lookback.is_zero() {
        return Some(bounds);
    }
    let oldest = now.saturating_sub(lookback.nanoseconds());
    (bounds.end >= oldest).then_some(Bounds { start: bounds.start.max(oldest), end: bounds.end })
}

pub(crate) fn check_entries(limit: u32, limits: &Limits) -> Result<(), ParameterError> {
    let allowed = limits.max_entries_limit_per_query;
    if allowed > 0 && limit as usize > allowed { Err(ParameterError::TooManyEntries { limit, allowed }) } else { Ok(()) }
}

/// The same of a query, which may have to name certain labels.
pub(crate) fn check_query_selector(selector: &Selector, limits: &Limits) -> Result<(), ParameterError> {
    check_selector(selector, limits)?;
    let is_named = |label: &&String| selector.matchers.iter().any(|matcher| matcher.name == **label);
    let missing: Vec<String> = limits.required_labels.iter().filter(|label| !is_named(label)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let present = selector.matchers.iter().map(|matcher| matcher.name.clone()).collect();
    Err(ParameterError::MissingMatchers { missing, present })
}

pub(crate) fn check_selector(selector: &Selector, limits: &Limits) -> Result<(), ParameterError> {
    let (count, limit) = (selector.matchers.len(), limits.max_streams_matchers_per_query);
    if limit > 0 && count > limit { Err(ParameterError::TooManyMatchers { count, limit }) } else { Ok(()) }
}

fn check_metric(metric: &MetricExpr, bounds: Bounds, limits: &Limits) -> Result<(), ParameterError> {
    let mut ranges = Vec::new();
    log_ranges(metric, &mut ranges);
    let longest = ranges.iter().map(|range| range.range).max().unwrap_or(0);
    bounds.limited(longest, limits.max_query_length)?;
    let limit = limits.max_query_range;
    if !limit.is_zero() && longest > limit.nanoseconds() {
        return Err(ParameterError::RangeTooLong { range: Span::milliseconds(longest / 1_000_000), limit });
    }
    ranges.iter().try_for_each(|range| check_query_selector(&range.log.selector, limits))
}

fn check_switched_off(metric: &MetricExpr) -> Result<(), ApiError> {
    match metric {
        MetricExpr::Variants { .. } => Err(ApiError::VariantsDisabled),
        MetricExpr::Vector(aggregation) if aggregation.op == VectorOp::ApproxTopk => Err(ApiError::ApproximateTopkDisabled),
        MetricExpr::Vector(aggregation) => check_switched_off(&aggregation.inner),
        MetricExpr::Binary(operation) => {
            check_switched_off(&operation.left)?;
            check_switched_off(&operation.right)
        }
        MetricExpr::LabelReplace(replace) => check_switched_off(&replace.inner),
        MetricExpr::Range(_) | MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => Ok(()),
    }
}

/// Every `{…}[range]` of a metric.
pub(crate) fn log_ranges<'a>(metric: &'a MetricExpr, found: &mut Vec<&'a LogRange>) {
    match metric {
        MetricExpr::Range(aggregation) => found.push(&aggregation.range),
        MetricExpr::Vector(aggregation) => log_ranges(&aggregation.inner, found),
        MetricExpr::Binary(operation) => {
            log_ranges(&operation.left, found);
            log_ranges(&operation.right, found);
        }
        MetricExpr::LabelReplace(replace) => log_ranges(&replace.inner, found),
        MetricExpr::Variants { of, .. } => found.push(of),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3600 * SECOND;

    fn metric(text: &str) -> MetricExpr {
        match tailwater_logql::parse(text).expect(text) {
            Expr::Metric(metric) => metric,
            Expr::Log(_) => panic!("{text} is a log query"),
        }
    }

    #[test]
    fn a_range_without_length_is_one_nanosecond_but_not_on_the_hour() {
        let at = |start: i64, end: i64| log_window(Bounds { start, end });
        assert_eq!(at(HOUR, HOUR), None);
        assert_eq!(at(HOUR + 5, HOUR + 5), Some(Bounds { start: HOUR + 5, end: HOUR + 6 }));
        assert_eq!(at(HOUR, HOUR + 1), Some(Bounds { start: HOUR, end: HOUR + 1 }));
    }

    #[test]
    fn metric_queries_are_limited_by_all_they_read() {
        let week = Limits { max_query_length: Span::hours(168), max_query_range: Span::hours(168), ..Limits::default() };
        let hour = Bounds { start: 0, end: HOUR };
        let text = |query: &str, limits: &Limits| check_metric(&metric(query), hour, limits).map_err(|error| error.to_string());
        assert_eq!(
            text(r#"sum(count_over_time({app="x"}[8d]))"#, &week),
            Err("the query time range exceeds the limit (query length: 193h0m0s, limit: 1w)".to_owned())
        );
        assert_eq!(text(r#"1 + sum(rate({app="x"}[1h]))"#, &week), Ok(()));
        let narrow = Limits { max_query_range: Span::hours(1), max_streams_matchers_per_query: 1, ..Limits::default() };
        assert_eq!(text(r#"rate({app="x"}[2h])"#, &narrow), Err("[interval] value exceeds limit: [2h] > [1h]".to_owned()));
        assert_eq!(
            text(r#"rate({app="x"}[1h]) / rate({a="b",c="d"}[1h])"#, &narrow),
            Err("max streams matchers per query exceeded, matchers-count > limit (2 > 1)".to_owned())
        );
    }

    #[test]
    fn what_loki_has_switched_off_is_found_anywhere() {
        let refusal = |query: &str| check_switched_off(&metric(query)).map_err(|error| error.to_string());
        let disabled = Err("approx_topk is not enabled. See -limits.shard_aggregations".to_owned());
        assert_eq!(refusal(r#"1 + approx_topk(2, rate({a="b"}[1m]))"#), disabled);
        let disabled = Err("multi variant queries are disabled for this instance".to_owned());
        assert_eq!(refusal(r#"variants(rate({a="b"}[1m])) of ({a="b"}[1m])"#), disabled);
        assert_eq!(refusal(r#"topk(2, rate({a="b"}[1m]))"#), Ok(()));
    }

    #[test]
    fn a_lookback_cuts_what_is_older() {
        let bounds = Bounds { start: 0, end: 10 * HOUR };
        assert_eq!(visible(bounds, Span::ZERO, 100 * HOUR), Some(bounds));
        assert_eq!(visible(bounds, Span::hours(5), 11 * HOUR), Some(Bounds { start: 6 * HOUR, end: 10 * HOUR }));
        assert_eq!(visible(bounds, Span::hours(5), 16 * HOUR), None);
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
