//! logcli: batches that walk by time, then one request for each of its commands.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tailwater_e2e::drill::{Folder, drill};

use crate::session::{LINES, SECOND, Session, entries, points, stamp, streams};

const HEADERS: [(&str, &str); 3] = [("X-Query-Tags", "Source=logcli"), ("User-Agent", "loki-logcli/3.7.6"), ("X-Scope-OrgID", "fake")];

async fn logcli(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    session.fill().await?;
    for direction in ["BACKWARD", "FORWARD"] {
        query_in_batches(&session, direction).await?;
    }
    commands(&session).await?;
    tail(&session).await?;
    delete(&session).await
}

/// The next batch begins at the last stamp of the one before, whose entries come again and are left out.
async fn query_in_batches(session: &Session, direction: &str) -> Result<()> {
    let (mut start, mut end) = (session.first, session.end);
    let mut seen: BTreeSet<(String, i64, String)> = BTreeSet::new();
    loop {
        let (from, to) = (start.to_string(), end.to_string());
        let parameters =
            [("query", r#"{namespace="shop"}"#), ("limit", "9"), ("direction", direction), ("start", from.as_str()), ("end", to.as_str())];
        let batch = entries(&session.get("/loki/api/v1/query_range", &parameters).await?.json()?)?;
        let length = batch.len();
        let mut stamps = Vec::new();
        let mut new = 0;
        for (stream, value) in batch {
            ensure!(value.as_array().is_some_and(|value| value.len() == 2), "more than stamp and line: {value}");
            let line = value[1].as_str().context("a line is no text")?.to_owned();
            stamps.push(stamp(&value)?);
            new += usize::from(seen.insert((stream["app"].to_string(), stamp(&value)?, line)));
        }
        if length < 9 || new == 0 {
            break;
        }
        match direction {
            "FORWARD" => start = stamps.into_iter().max().context("an empty batch")?,
            _ => end = stamps.into_iter().min().context("an empty batch")? + 1,
        }
    }
    ensure!(seen.len() as i64 == 2 * LINES, "{direction}: {} lines", seen.len());
    Ok(())
}

async fn commands(session: &Session) -> Result<()> {
    let time = session.end.to_string();
    let rate = [("query", r#"sum(rate({namespace="shop"}[1h]))"#), ("time", time.as_str()), ("limit", "30"), ("direction", "BACKWARD")];
    let found = points(&session.get("/loki/api/v1/query", &rate).await?.json()?, "vector")?;
    ensure!(found.len() == 1 && (found[0].2 - 2.0 * LINES as f64 / 3600.0).abs() < 1e-12, "{found:?}");
    let labels = session.ask("/loki/api/v1/labels", &[]).await?.json()?;
    ensure!(labels["data"] == json!(["app", "namespace", "pod", "service_name"]), "{labels}");
    let series = session.ask("/loki/api/v1/series", &[("match", r#"{namespace="shop"}"#), ("match", r#"{app="api"}"#)]).await?.json()?;
    ensure!(series["data"].as_array().is_some_and(|all| all.len() == 2), "{series}");
    let all = session.ask("/loki/api/v1/series", &[]).await?.json()?;
    ensure!(all["data"] == series["data"], "{all}");
    let stats = session.ask("/loki/api/v1/index/stats", &[("query", r#"{app="web"}"#)]).await?.json()?;
    ensure!(stats["streams"] == 1 && stats["entries"] == LINES, "{stats}");
    let selector = [("query", r#"{app=~".+"}"#), ("limit", "30"), ("aggregateBy", "series")];
    let volume = points(&session.ask("/loki/api/v1/index/volume", &selector).await?.json()?, "vector")?;
    ensure!(volume.len() == 2 && volume[0].0 == json!({"app": "web"}), "{volume:?}");
    let by_step = [&selector[..], &[("step", "5s")]].concat();
    let steps = points(&session.ask("/loki/api/v1/index/volume_range", &by_step).await?.json()?, "matrix")?;
    let total: f64 = steps.iter().map(|point| point.2).sum();
    ensure!((total - volume.iter().map(|point| point.2).sum::<f64>()).abs() <= steps.len() as f64, "{total}: {volume:?}");
    let fields = [("query", r#"{app="web"}"#), ("line_limit", "100"), ("limit", "1000"), ("step", "10s")];
    let fields = session.ask("/loki/api/v1/detected_fields", &fields).await?.json()?;
    ensure!(fields["fields"].as_array().is_some_and(|all| all.iter().any(|field| field["label"] == "trace_id")), "{fields}");
    let formatted = session.get("/loki/api/v1/format_query", &[("query", r#"sum( rate({app="a"}[5m]) )by(app)"#)]).await?.json()?;
    ensure!(formatted == json!({"status": "success", "data": r#"sum by (app)(rate({app="a"}[5m]))"#}), "{formatted}");
    let invalid = session.get("/loki/api/v1/format_query", &[("query", "{")]).await?;
    let invalid_body: Value = serde_json::from_slice(&invalid.body)?;
    ensure!(invalid.status == 400 && invalid_body["status"] == "invalid-query", "{invalid_body}");
    Ok(())
}

async fn tail(session: &Session) -> Result<()> {
    let start = session.first.to_string();
    let mut tail = session.tail(&[("query", r#"{app="web"}"#), ("limit", "3"), ("delay_for", "1"), ("start", &start)]).await?;
    let history = streams(&tail.frame().await?["streams"])?;
    ensure!(history.len() == 3 && history.iter().all(|(_, value)| value.as_array().is_some_and(|value| value.len() == 2)), "{history:?}");
    let refused = session.get("/loki/api/v1/tail", &[("query", r#"{app="web"}"#), ("delay_for", "6")]).await?;
    refused.require_refusal(400, "delay_for can't be greater than 5")
}

async fn delete(session: &Session) -> Result<()> {
    let (start, end) = ((session.first / SECOND).to_string(), (session.first / SECOND + 4).to_string());
    let parameters = [("query", r#"{app="api"}"#), ("start", start.as_str()), ("end", &end)];
    let answer = session.method(Method::POST, "/loki/api/v1/delete", &parameters).await?;
    ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    let left = entries(&session.ask("/loki/api/v1/query_range", &[("query", r#"{app="api"}"#), ("limit", "1000")]).await?.json()?)?;
    ensure!(left.len() as i64 == LINES - 5, "{} lines are left", left.len());
    let listed = session.get("/loki/api/v1/delete", &[]).await?.json()?;
    let request = &listed[0];
    ensure!(request["query"] == r#"{app="api"}"# && request["start_time"] == session.first / SECOND, "{listed}");
    ensure!(request["user_id"].is_string() && request["status"].is_string() && request["created_at"].is_number(), "{listed}");
    let id = request["request_id"].as_str().context("a request has no id")?;
    let cancelled = session.method(Method::DELETE, "/loki/api/v1/delete", &[("request_id", id)]).await?;
    ensure!(cancelled.status == 204 || cancelled.status == 400, "{cancelled:?}");
    let unknown = session.method(Method::DELETE, "/loki/api/v1/delete", &[("request_id", "none")]).await?;
    ensure!((unknown.status, unknown.text().as_str()) == (404, "could not find delete request with given id"), "{unknown:?}");
    Ok(())
}

#[test]
fn logcli_walks_batches_and_its_commands_are_answered() {
    drill("client-logcli", logcli);
}
