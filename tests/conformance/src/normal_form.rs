//! Reduces an answer to the part that must match, as one JSON value.
//!
//! - Streams and series become a map keyed by their labels (rows with equal labels stay in a sorted list);
//!   rows of a vector or matrix keep their order only under `ordered`.
//! - Lists of objects (series, patterns) are sorted; so are the values of a detected field.
//! - `stats` never counts, nor what `drop` names, nor the timestamp of a scalar (the reference stamps it with an
//!   overflowed time).
//! - Error texts are cut to their core (`error_text`).
//!
//! An answer that lacks a part its kind must have (a stream without `values`, say) is a [`ShapeError`], which
//! the caller reports as a difference.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::answer::{Answer, Content};
use crate::canonical::canonical;
use crate::error_text::core_message;
use crate::rules::{Body, Cardinality, Direction, Rules, Ties, Values};

/// A part of an answer that is missing or of the wrong kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShapeError(&'static str);

impl fmt::Display for ShapeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "answer of a wrong shape: {}", self.0)
    }
}

impl std::error::Error for ShapeError {}

pub(crate) fn normal_form(answer: &Answer, rules: &Rules) -> Result<Value, ShapeError> {
    if rules.body == Some(Body::Ignore) {
        return Ok(json!({"status": answer.status}));
    }
    match &answer.content {
        Content::Text(text) => Ok(json!({"status": answer.status, "text": core_message(text, rules.masks())})),
        Content::Json(Value::Object(body)) if rules.body == Some(Body::Keys) => {
            let mut keys: Vec<&String> = body.keys().collect();
            keys.sort();
            Ok(json!({"status": answer.status, "keys": keys}))
        }
        Content::Json(Value::Object(body)) => Ok(json!({"status": answer.status, "json": object(body, rules)?})),
        Content::Json(body) => Ok(json!({"status": answer.status, "json": body})),
    }
}

fn object(body: &Map<String, Value>, rules: &Rules) -> Result<Map<String, Value>, ShapeError> {
    let mut body = body.clone();
    body.retain(|key, _| key != "stats" && !rules.drops(key));
    if let Some(Value::String(error)) = body.get_mut("error") {
        *error = core_message(error, rules.masks());
    }
    match body.get_mut("data") {
        Some(Value::Object(data)) if data.contains_key("resultType") => result(data, rules)?,
        Some(Value::Array(rows)) if !rows.is_empty() && rows.iter().all(Value::is_object) => list_of_objects(rows, rules)?,
        _ => {}
    }
    for name in ["fields", "detectedLabels"] {
        if let Some(Value::Array(rows)) = body.get(name) {
            let fields = detected(rows, rules)?;
            body.insert(name.to_owned(), fields);
        }
    }
    if let Some(Value::Array(values)) = body.get_mut("values") {
        sort_strings(values, "`values` holds something other than strings")?;
    }
    Ok(body)
}

/// `data` of a query: `resultType` and `result`.
fn result(data: &mut Map<String, Value>, rules: &Rules) -> Result<(), ShapeError> {
    data.remove("stats");
    let rows = data.get("result").cloned().unwrap_or(Value::Null);
    let normal = match data.get("resultType").and_then(Value::as_str) {
        Some("streams") => streams(&rows, data, rules)?,
        Some("scalar") => {
            let pair = rows.as_array().ok_or(ShapeError("a scalar that is no list"))?;
            Value::Array(pair.iter().skip(1).cloned().collect())
        }
        Some("vector" | "matrix") if rules.values == Some(Values::Ignore) => {
            let mut labels = Vec::new();
            for row in rows_of(&rows)? {
                labels.push(canonical(row.get("metric").ok_or(ShapeError("a row without `metric`"))?));
            }
            labels.sort();
            json!(labels)
        }
        Some("vector" | "matrix") if rules.ordered != Some(true) => by_key(rows_of(&rows)?, "metric")?,
        _ => return Ok(()),
    };
    data.insert("result".to_owned(), normal);
    Ok(())
}

fn streams(rows: &Value, data: &mut Map<String, Value>, rules: &Rules) -> Result<Value, ShapeError> {
    let mut rows = rows_of(rows)?.to_vec();
    match rules.ties {
        None => {}
        Some(Ties::Any) => {
            for row in &mut rows {
                settle_ties(entries_of(row)?)?;
            }
        }
        Some(Ties::Limit) => {
            let stamps = cut_edge(&mut rows, rules.direction)?;
            data.insert("timestamps".to_owned(), json!(stamps));
        }
    }
    by_key(&rows, "stream")
}

/// Removes the entries at the time where the limit cuts; returns all timestamps, the newest first.
fn cut_edge(rows: &mut Vec<Value>, direction: Option<Direction>) -> Result<Vec<String>, ShapeError> {
    let mut stamps = Vec::new();
    for row in rows.iter_mut() {
        for entry in entries_of(row)? {
            stamps.push(stamp_of(entry)?.to_owned());
        }
    }
    stamps.sort_by(|a, b| b.cmp(a));
    let edge = if direction == Some(Direction::Forward) { stamps.first() } else { stamps.last() };
    for row in rows.iter_mut() {
        entries_of(row)?.retain(|entry| stamp_of(entry).ok() != edge.map(String::as_str));
    }
    rows.retain(|row| row["values"].as_array().is_some_and(|values| !values.is_empty()));
    Ok(stamps)
}

/// Sorts entries of equal time by the rest of them; times sort as text, which keeps equal ones together.
fn settle_ties(entries: &mut [Value]) -> Result<(), ShapeError> {
    for entry in entries.iter() {
        stamp_of(entry)?;
    }
    entries.sort_by_cached_key(|entry| {
        let parts = entry.as_array().map(Vec::as_slice).unwrap_or_default();
        let stamp = parts.first().and_then(Value::as_str).unwrap_or_default().to_owned();
        (stamp, canonical(&Value::Array(parts.iter().skip(1).cloned().collect())))
    });
    Ok(())
}

fn list_of_objects(rows: &mut Vec<Value>, rules: &Rules) -> Result<(), ShapeError> {
    if rules.values != Some(Values::Patterns) {
        rows.sort_by_cached_key(canonical);
        return Ok(());
    }
    let mut patterns = Vec::new();
    for row in rows.iter() {
        let text = |key: &str| row.get(key).map_or(Ok(""), |value| value.as_str().ok_or(ShapeError("a pattern that is no text")));
        let mut total = 0;
        for sample in row.get("samples").and_then(Value::as_array).into_iter().flatten() {
            total += sample.get(1).and_then(Value::as_i64).ok_or(ShapeError("a pattern sample without a count"))?;
        }
        patterns.push((text("pattern")?, text("level")?, total));
    }
    patterns.sort();
    *rows = patterns.iter().map(|pattern| json!(pattern)).collect();
    Ok(())
}

/// Detected fields or labels: a map by `label`, parsers in any order.
fn detected(rows: &[Value], rules: &Rules) -> Result<Value, ShapeError> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        let row = row.as_object_mut().ok_or(ShapeError("a detected field that is no object"))?;
        if rules.cardinality == Some(Cardinality::Ignore) {
            row.remove("cardinality");
        }
        if let Some(Value::Array(parsers)) = row.get_mut("parsers") {
            sort_strings(parsers, "`parsers` holds something other than strings")?;
        }
    }
    by_key(&rows, "label")
}

/// Rows as an unordered map; rows of equal key stay together in a sorted list.
fn by_key(rows: &[Value], key: &str) -> Result<Value, ShapeError> {
    let mut grouped: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in rows {
        let mut row = row.as_object().ok_or(ShapeError("a row that is no object"))?.clone();
        let name = match row.remove(key) {
            None | Some(Value::Null) => "None".to_owned(),
            Some(Value::String(text)) => text,
            Some(other) => canonical(&other),
        };
        grouped.entry(name).or_default().push(Value::Object(row));
    }
    let mut map = Map::new();
    for (name, mut rows) in grouped {
        let value = match rows.len() {
            1 => rows.remove(0),
            _ => {
                rows.sort_by_cached_key(canonical);
                Value::Array(rows)
            }
        };
        map.insert(name, value);
    }
    Ok(Value::Object(map))
}

/// The rows of a result; `null` and absent mean none.
fn rows_of(rows: &Value) -> Result<&[Value], ShapeError> {
    match rows {
        Value::Null => Ok(&[]),
        Value::Array(rows) => Ok(rows),
        _ => Err(ShapeError("a result that is no list")),
    }
}

fn entries_of(row: &mut Value) -> Result<&mut Vec<Value>, ShapeError> {
    row.get_mut("values").and_then(Value::as_array_mut).ok_or(ShapeError("a stream without `values`"))
}

fn stamp_of(entry: &Value) -> Result<&str, ShapeError> {
    entry.get(0).and_then(Value::as_str).ok_or(ShapeError("an entry without a timestamp"))
}

fn sort_strings(values: &mut [Value], otherwise: &'static str) -> Result<(), ShapeError> {
    if !values.iter().all(Value::is_string) {
        return Err(ShapeError(otherwise));
    }
    values.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    Ok(())
}
