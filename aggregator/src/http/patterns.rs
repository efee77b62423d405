//! `GET /loki/api/v1/patterns`: which forms the lines of a query have, and how many lines of each there were.
//!
//! All lines of the range are looked at if they are few; else a sample from each part of the range, whose lines stand for all of
//! their part. The sample is bounded by [`MAX_LINES`] and [`PARTS`] × [`LINES_OF_PART`]; each piece of it is fed and forgotten.

use std::ops::ControlFlow;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use tailwater_engine::QueryError;
use tailwater_engine::answer::{LogStream, MetricValue};
use tailwater_engine::request::{LogRequest, MetricRequest, QueryLimits};
use tailwater_logql::ast::{
    Expr, LogExpr, LogRange, MetricExpr, NameOrMatcher, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp,
};
use tailwater_logql::validate::check_stages;

use crate::access::Caller;
use crate::http::error::ApiError;
use crate::http::form::MAX_FORM_BYTES;
use crate::http::query::{Asked, ReadState};
use crate::http::query_checks::visible;
use crate::http::range::{self, Bounds};
use crate::http::{reading, response};
use crate::patterns::{Pattern, PatternMiner};

/// Lines of a range that are all looked at.
const MAX_LINES: usize = 5000;
/// Parts that a range with more lines is divided into, and the lines of each that are looked at.
const PARTS: i64 = 12;
const LINES_OF_PART: usize = 2500;
/// The level of lines that have none.
const UNKNOWN_LEVEL: &str = "unknown";

pub fn routes(state: ReadState) -> Router {
    Router::new().route("/loki/api/v1/patterns", reading(patterns)).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(state)
}

async fn patterns(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let bounds = Bounds::of(&asked.form, asked.now)?;
    let step = range::step(&asked.form, bounds)?;
    let expression = tailwater_logql::parse(asked.form.get("query"))?;
    check_stages(&expression, &|_: &_| Ok(()))?;
    let Expr::Log(expr) = expression else {
        return Err(ApiError::BadRequest { text: "only log queries have patterns, leave out the aggregation".to_owned() });
    };
    bounds.limited(0, asked.limits.max_query_length)?;
    // A range that ends before it begins holds no lines; that is all there is to say of it.
    let found = match visible(bounds, asked.limits.max_query_lookback, asked.now) {
        Some(bounds) if bounds.start <= bounds.end => {
            let limits = state.query_limits(&caller, &asked.limits);
            let sampling = Sampling { state: &state, asked: &asked, limits: &limits, expr };
            tokio::time::timeout(limits.timeout, sampling.mine(bounds, step)).await.map_err(|_| QueryError::Timeout)??
        }
        _ => Vec::new(),
    };
    Ok(response::json(&json!({"status": "success", "data": found.iter().map(shown).collect::<Vec<Value>>()})))
}

fn shown(pattern: &Pattern) -> Value {
    let samples: Vec<(i64, u64)> = pattern.samples.iter().map(|(step, count)| (step.div_euclid(1_000_000_000), *count)).collect();
    json!({"pattern": pattern.text, "level": pattern.level, "samples": samples})
}

struct Sampling<'a> {
    state: &'a ReadState,
    asked: &'a Asked,
    limits: &'a QueryLimits,
    expr: LogExpr,
}

impl Sampling<'_> {
    async fn mine(&self, bounds: Bounds, step: i64) -> Result<Vec<Pattern>, QueryError> {
        let mut miner = PatternMiner::new(step);
        if self.take_all(bounds, &mut miner).await?.is_break() {
            return Ok(miner.patterns());
        }
        let length = (bounds.length() / PARTS).max(1);
        for part in 0..PARTS {
            let start = bounds.start.saturating_add(part * length);
            let end = if part + 1 == PARTS { bounds.end } else { start.saturating_add(length) };
            if start < end {
                self.take_part(Bounds { start, end }, &mut miner).await?;
            }
        }
        Ok(miner.patterns())
    }

    /// Takes every line of a range, or none if there are too many.
    async fn take_all(&self, bounds: Bounds, miner: &mut PatternMiner) -> Result<ControlFlow<()>, QueryError> {
        let streams = self.lines(bounds, MAX_LINES + 1).await?;
        if count(&streams) > MAX_LINES {
            return Ok(ControlFlow::Continue(()));
        }
        feed(miner, &streams, 1.0);
        Ok(ControlFlow::Break(()))
    }

    /// Takes the newest lines of a part; they stand for all of it.
    async fn take_part(&self, bounds: Bounds, miner: &mut PatternMiner) -> Result<(), QueryError> {
        let streams = self.lines(bounds, LINES_OF_PART).await?;
        let sampled = count(&streams);
        let weight = if sampled < LINES_OF_PART { 1.0 } else { (self.total(bounds).await? / sampled as f64).max(1.0) };
        feed(miner, &streams, weight);
        Ok(())
    }

    async fn lines(&self, bounds: Bounds, limit: usize) -> Result<Vec<LogStream>, QueryError> {
        let Bounds { start, end } = bounds;
        let request = LogRequest::newest(self.expr.clone(), start, end, limit);
        Ok(self.state.engine.logs(self.state.scope(self.asked), request, self.limits).await?.streams)
    }

    /// How many lines a range has.
    async fn total(&self, bounds: Bounds) -> Result<f64, QueryError> {
        let expr = count_of(self.expr.clone(), bounds.length());
        let last = bounds.end.saturating_sub(1);
        let request = MetricRequest { expr, start: last, end: last, step: 1 };
        let answer = self.state.engine.metrics(self.state.scope(self.asked), request, self.limits).await?;
        Ok(match answer.value {
            MetricValue::Scalar(value) => value,
            MetricValue::Series(series) => series.iter().flat_map(|series| &series.points).map(|point| point.value).sum(),
        })
    }
}

/// `sum(count_over_time(log[range]))`, `range` in nanoseconds. A line that a stage cannot read is a line like any other here.
fn count_of(mut log: LogExpr, range: i64) -> MetricExpr {
    if !log.stages.is_empty() {
        let errors = ["__error__", "__error_details__"].map(|name| NameOrMatcher::Name(name.to_owned()));
        log.stages.push(Stage::Drop { targets: errors.to_vec() });
    }
    let range = LogRange { log, unwrap: None, range, offset: 0 };
    let counted = RangeAggregation { op: RangeOp::CountOverTime, parameter: None, range, grouping: None };
    let inner = Box::new(MetricExpr::Range(counted));
    MetricExpr::Vector(VectorAggregation { op: VectorOp::Sum, parameter: None, inner, grouping: None })
}

fn count(streams: &[LogStream]) -> usize {
    streams.iter().map(|stream| stream.entries.len()).sum()
}

/// Feeds lines stream by stream, each in the order of time.
fn feed(miner: &mut PatternMiner, streams: &[LogStream], weight: f64) {
    for stream in streams {
        for entry in stream.entries.iter().rev() {
            let levels = [&entry.structured_metadata, &entry.parsed, &stream.labels];
            let level = levels.iter().find_map(|labels| labels.get("detected_level")).unwrap_or(UNKNOWN_LEVEL);
            miner.add(level, entry.timestamp, &String::from_utf8_lossy(&entry.line), weight);
        }
    }
}
