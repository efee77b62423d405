//! `index/volume` and `index/volume_range`: how many bytes of lines there are, by groups of streams.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tailwater_engine::answer::{MetricAnswer, MetricValue};
use tailwater_engine::request::{VolumeGrouping, VolumeRequest};
use tailwater_logql::ast::Selector;
use tailwater_logql::{SelectorError, parse_any_selector, parse_selector};

use crate::access::Caller;
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::query::{Asked, ReadState, no_series};
use crate::http::query_checks::{check_selector, visible};
use crate::http::range::{self, Bounds, ParameterError};
use crate::http::reading;
use crate::http::response::metrics::MetricsBody;
use crate::http::response::stream;

const DEFAULT_LIMIT: u32 = 100;

pub fn routes(state: ReadState) -> Router {
    Router::new()
        .route("/loki/api/v1/index/volume", reading(whole))
        .route("/loki/api/v1/index/volume_range", reading(by_step))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

async fn whole(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    answer(&state, &caller, &asked, |_, _| Ok(None)).await
}

async fn by_step(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    answer(&state, &caller, &asked, |form, bounds| range::step(form, bounds).map(Some)).await
}

type Step = fn(&Form, Bounds) -> Result<Option<i64>, ParameterError>;

async fn answer(state: &ReadState, headers: &HeaderMap, asked: &Asked, step: Step) -> Result<Response, ApiError> {
    let (form, limits) = (&asked.form, &asked.limits);
    if !limits.volume_enabled {
        return Err(ApiError::NotFound);
    }
    let bounds = Bounds::of(form, asked.now)?.checked()?;
    let limit = limit(form)?;
    let step = step(form, bounds)?;
    let grouping = grouping(form)?;
    let selector = selector(form.get("query"))?;
    bounds.limited(0, limits.max_query_length)?;
    check_selector(&selector, limits)?;
    let Some(Bounds { start, end }) = visible(bounds, limits.max_query_lookback, asked.now) else {
        return Ok(stream(MetricsBody::instant(no_series(), bounds.end)));
    };
    let request = VolumeRequest { selector, start, end, step, grouping, limit, max_groups: limits.volume_max_series };
    let found = state.engine.volume(state.scope(asked), request, &state.query_limits(headers, limits)).await?;
    Ok(stream(if is_vector(&found) { MetricsBody::instant(found, end) } else { MetricsBody::range(found, start, end, 1) }))
}

/// Whether no group has more than one figure.
fn is_vector(answer: &MetricAnswer) -> bool {
    match &answer.value {
        MetricValue::Series(series) => series.iter().all(|series| series.points.len() < 2),
        MetricValue::Scalar(_) => true,
    }
}

/// 0 means what nothing does.
fn limit(form: &Form) -> Result<usize, ParameterError> {
    let text = form.get("limit");
    if range::integer(if text.is_empty() { "0" } else { text })? == 0 {
        return Ok(DEFAULT_LIMIT as usize);
    }
    Ok(range::positive(text, DEFAULT_LIMIT)? as usize)
}

/// Streams with matchers of which one names something, or all of them: `{}`.
fn selector(text: &str) -> Result<Selector, SelectorError> {
    let selector = parse_any_selector(text)?;
    if selector.matchers.is_empty() { Ok(selector) } else { parse_selector(text) }
}

fn grouping(form: &Form) -> Result<VolumeGrouping, ApiError> {
    let targets = form.get("targetLabels").split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match form.get("aggregateBy") {
        "" | "series" => Ok(VolumeGrouping::Series { targets }),
        "labels" => Ok(VolumeGrouping::LabelNames { targets }),
        _ => Err(ApiError::BadRequest { text: "invalid aggregation option".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(query: &str) -> Form {
        Form::new(&HeaderMap::new(), Some(query), &Bytes::new())
    }

    #[test]
    fn limits_are_read_as_loki_reads_them() {
        for (query, expected) in [
            ("", Ok(100)),
            ("limit=0", Ok(100)),
            ("limit=7", Ok(7)),
            ("limit=-1", Err("limit must be a positive value")),
            ("limit=x", Err("strconv.Atoi: parsing \"x\": invalid syntax")),
        ] {
            assert_eq!(limit(&form(query)).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
        }
    }

    #[test]
    fn groups_are_series_or_labels() {
        let targets = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let of = |query: &str| grouping(&form(query)).map_err(|error| error.to_string());
        assert_eq!(of(""), Ok(VolumeGrouping::Series { targets: Vec::new() }));
        assert_eq!(of("targetLabels=a,b,"), Ok(VolumeGrouping::Series { targets: targets(&["a", "b"]) }));
        assert_eq!(of("aggregateBy=labels&targetLabels=a"), Ok(VolumeGrouping::LabelNames { targets: targets(&["a"]) }));
        assert_eq!(of("aggregateBy=pods"), Err("invalid aggregation option".to_owned()));
    }

    #[test]
    fn everything_may_be_asked_for() {
        assert!(selector("{}").is_ok_and(|selector| selector.matchers.is_empty()));
        assert!(selector(r#"{a=~".*"}"#).is_err());
        assert!(selector(r#"{a="b"}"#).is_ok());
    }
}
