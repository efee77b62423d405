//! `detected_fields`, `detected_field/{name}/values`, `detected_labels`: what there is to filter by, for people who do not know yet.
//!
//! Fields are found in the newest lines of a log query, bounded by `line_limit` and the tenant's limit on entries; labels in the stream
//! tables.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};
use tailwater_engine::answer::LogStream;
use tailwater_engine::request::LogRequest;
use tailwater_engine::scope::TENANT_LABEL;
use tailwater_logql::ast::{Expr, LogExpr};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::literal::parse_go_float;
use tailwater_logql::parse_selector;
use tailwater_logql::validate::check_stages;

use crate::access::Caller;
use crate::detected_fields::{self, DetectedField};
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::query::{Asked, ReadState};
use crate::http::query_checks::{catalogue_bounds, check_entries, check_query_selector, visible};
use crate::http::range::{self, Bounds};
use crate::http::{reading, response};

const DEFAULT_LINES: u32 = 100;
const DEFAULT_FIELDS: u32 = 1000;
/// Labels that tell where lines come from, worth telling whatever their values are.
const ALWAYS_TOLD: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

pub fn routes(state: ReadState) -> Router {
    Router::new()
        .route("/loki/api/v1/detected_fields", reading(fields))
        .route("/loki/api/v1/detected_field/{name}/values", reading(values))
        .route("/loki/api/v1/detected_labels", reading(labels))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

async fn fields(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let question = FieldQuestion::of(&asked)?;
    let fields = detected_fields::detect(&question.newest_lines(&state, &caller, &asked).await?, question.limit as usize);
    if fields.is_empty() {
        return Ok(nothing());
    }
    let fields: Vec<Value> = fields.into_iter().map(|(name, field)| shown(&name, field)).collect();
    Ok(response::json(&json!({"fields": fields, "limit": question.limit})))
}

async fn values(
    State(state): State<ReadState>,
    Path(name): Path<String>,
    caller: Caller,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let question = FieldQuestion::of(&asked)?;
    let values = detected_fields::values(&question.newest_lines(&state, &caller, &asked).await?, &name, question.limit as usize);
    if values.is_empty() {
        return Ok(nothing());
    }
    Ok(response::json(&json!({"values": values, "limit": question.limit})))
}

async fn labels(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let bounds = Bounds::of(&asked.form, asked.now)?.checked()?;
    let selectors = match asked.form.get("query") {
        "" => Vec::new(),
        text => vec![parse_selector(text)?],
    };
    let Some(range) = catalogue_bounds(bounds, &asked.limits, asked.now)? else { return Ok(nothing()) };
    let series = state.engine.series(state.scope(&asked), &selectors, range).await?;
    let told = told_labels(&series);
    if told.is_empty() {
        return Ok(nothing());
    }
    let told: Vec<Value> = told.into_iter().map(|(label, cardinality)| json!({"label": label, "cardinality": cardinality})).collect();
    Ok(response::json(&json!({"detectedLabels": told})))
}

fn nothing() -> Response {
    response::json(&json!({}))
}

fn shown(name: &str, field: DetectedField) -> Value {
    let mut shown = Map::new();
    shown.insert("label".to_owned(), name.into());
    shown.insert("type".to_owned(), field.kind.name().into());
    shown.insert("cardinality".to_owned(), field.cardinality.into());
    let parsers: Vec<&str> = field.parsers.iter().map(|parser| parser.name()).collect();
    shown.insert("parsers".to_owned(), if parsers.is_empty() { Value::Null } else { parsers.into() });
    if !field.json_path.is_empty() {
        shown.insert("jsonPath".to_owned(), field.json_path.into());
    }
    Value::Object(shown)
}

/// Which lines are looked at, and how much is to be told of them.
struct FieldQuestion {
    expr: LogExpr,
    bounds: Bounds,
    lines: u32,
    limit: u32,
}

impl FieldQuestion {
    fn of(asked: &Asked) -> Result<Self, ApiError> {
        let form = &asked.form;
        let bounds = Bounds::of(form, asked.now)?.checked()?;
        let lines = range::positive(form.get("line_limit"), DEFAULT_LINES)?;
        let limit = range::positive(fields_limit(form), DEFAULT_FIELDS)?;
        range::step(form, bounds)?;
        let expression = tailwater_logql::parse(form.get("query"))?;
        check_stages(&expression, &|_: &_| Ok(()))?;
        let Expr::Log(expr) = expression else {
            return Err(ApiError::BadRequest { text: "only log selector is supported".to_owned() });
        };
        check_entries(lines, &asked.limits)?;
        bounds.limited(0, asked.limits.max_query_length)?;
        check_query_selector(&expr.selector, &asked.limits)?;
        Ok(Self { expr, bounds, lines, limit })
    }

    /// The newest lines, with their labels kept apart.
    async fn newest_lines(&self, state: &ReadState, headers: &HeaderMap, asked: &Asked) -> Result<Vec<LogStream>, ApiError> {
        let Some(Bounds { start, end }) = visible(self.bounds, asked.limits.max_query_lookback, asked.now) else { return Ok(Vec::new()) };
        state.check_log_bytes(asked, &self.expr, Bounds { start, end }).await?;
        let request = LogRequest::newest(self.expr.clone(), start, end, self.lines as usize);
        let limits = state.query_limits(headers, &asked.limits);
        Ok(state.engine.logs(state.scope(asked), request, &limits).await?.streams)
    }
}

/// `limit`, which older clients call `field_limit`.
fn fields_limit(form: &Form) -> &str {
    match form.get("limit") {
        "" => form.get("field_limit"),
        limit => limit,
    }
}

/// Labels and how many values they have, but for those whose values only tell one thing from another.
fn told_labels(series: &[LabelSet]) -> BTreeMap<&str, usize> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in series.iter().flat_map(LabelSet::iter).filter(|(name, _)| *name != TENANT_LABEL) {
        values.entry(name).or_default().insert(value);
    }
    let is_told = |name: &str, values: &BTreeSet<&str>| ALWAYS_TOLD.contains(&name) || !are_identifiers(values);
    values.into_iter().filter(|(name, values)| is_told(name, values)).map(|(name, values)| (name, values.len())).collect()
}

fn are_identifiers(values: &BTreeSet<&str>) -> bool {
    let is_flag = values.len() <= 2 && values.iter().all(|value| matches!(*value, "0" | "1"));
    !is_flag && values.iter().all(|value| parse_go_float(value).is_ok() || is_uuid(value))
}

/// 32 hexadecimal digits, with or without hyphens, braces or a `urn:uuid:` in front.
fn is_uuid(text: &str) -> bool {
    let bare = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hyphened = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.into_iter().all(bare)
    };
    match text.len() {
        32 => bare(text),
        36 => hyphened(text),
        38 => text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).is_some_and(hyphened),
        45 => text.get(..9).is_some_and(|urn| urn.eq_ignore_ascii_case("urn:uuid:")) && hyphened(&text[9..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_identifiers_are_not_told() {
        let labels = |pairs: &[(&str, &str)]| LabelSet::from_pairs(pairs.iter().copied());
        let series = [
            labels(&[("app", "a"), ("build", "17"), ("flag", "0"), ("pod", "1"), ("id", "0f8fad5b-d9cb-469f-a165-70867728950e")]),
            labels(&[("app", "7"), ("build", "1.5e3"), ("flag", "1"), ("pod", "2"), ("id", "5")]),
        ];
        let told: Vec<(&str, usize)> = told_labels(&series).into_iter().collect();
        assert_eq!(told, [("app", 2), ("flag", 2), ("pod", 2)]);
    }

    #[test]
    fn uuids_have_four_forms() {
        let plain = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for (text, expected) in [
            (plain.to_owned(), true),
            (plain.replace('-', ""), true),
            (format!("{{{plain}}}"), true),
            (format!("URN:uuid:{plain}"), true),
            (plain.replace('0', "g"), false),
            (format!("{plain}0"), false),
            ("é".repeat(18), false),
            (String::new(), false),
        ] {
            assert_eq!(is_uuid(&text), expected, "{text}");
        }
    }
}
