//! Scripts that ask for more than Loki gives: pages by cursor, exports as lines of JSON, context; through the gateway.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill, report};

use crate::session::{Session, entries};

const HEADERS: [(&str, &str); 1] = [("Accept-Encoding", "gzip")];
const PUSHES: i64 = 8;
const LINES_OF_PUSH: i64 = 4000;
/// More than fits between a server and a client that does not read.
const LINE_BYTES: usize = 1000;
const LIMIT: Duration = Duration::from_secs(60);
/// What queries hold, in bytes.
const HELD: &str = "tailwater_query_memory_bytes";

async fn exports(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    fill(&session).await?;
    whole_export(&session).await?;
    pages(&session).await?;
    a_client_that_goes(&session).await
}

/// Ten lines a stamp.
async fn fill(session: &Session) -> Result<()> {
    let padding = "x".repeat(LINE_BYTES);
    for push in 0..PUSHES {
        let numbers = push * LINES_OF_PUSH..(push + 1) * LINES_OF_PUSH;
        let values: Vec<Value> =
            numbers.map(|number| json!([(session.first + number / 10).to_string(), format!("{number} {padding}")])).collect();
        let body = json!({"streams": [{"stream": {"app": "export"}, "values": values}]}).to_string();
        let answer = session.push("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await?;
        ensure!(answer.status == 204, "{answer:?}");
    }
    Ok(())
}

fn number_of(line: &str) -> Result<i64> {
    Ok(line.split(' ').next().context("an empty line")?.parse()?)
}

async fn whole_export(session: &Session) -> Result<()> {
    let parameters = [("query", r#"{app="export"}"#), ("direction", "forward"), ("format", "ndjson")];
    let answer = session.ask("/loki/api/v1/query_range", &parameters).await?;
    ensure!(answer.status == 200 && answer.was_compressed && answer.content_type == "application/x-ndjson", "{}", answer.content_type);
    let mut numbers = Vec::new();
    for line in answer.text().lines() {
        let entry: Value = serde_json::from_str(line).context("a line is no JSON")?;
        ensure!(entry["labels"]["app"] == "export" && entry["timestamp"].is_string(), "{line}");
        numbers.push(number_of(entry["line"].as_str().context("no line")?)?);
    }
    ensure!(numbers == (0..PUSHES * LINES_OF_PUSH).collect::<Vec<i64>>(), "{} lines, or out of order", numbers.len());
    report(&format!("export: {} lines, {} bytes", numbers.len(), answer.body.len()));
    Ok(())
}

async fn pages(session: &Session) -> Result<()> {
    let (mut cursor, mut numbers) = ("start".to_owned(), Vec::new());
    loop {
        let parameters = [("query", r#"{app="export"}"#), ("direction", "backward"), ("limit", "4995"), ("cursor", cursor.as_str())];
        let page = session.ask("/loki/api/v1/query_range", &parameters).await?.json()?;
        for (_, value) in entries(&page)? {
            numbers.push(number_of(value[1].as_str().context("no line")?)?);
        }
        match page["data"]["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    ensure!(numbers == (0..PUSHES * LINES_OF_PUSH).rev().collect::<Vec<i64>>(), "{} lines, or out of order", numbers.len());
    Ok(())
}

/// While it does not read, a page is held; when it is gone, nothing.
async fn a_client_that_goes(session: &Session) -> Result<()> {
    let parameters = [("query", r#"{app="export"}"#), ("format", "ndjson"), ("direction", "forward")];
    let mut answer = session.open("/loki/api/v1/query_range", &parameters).await?;
    ensure!(answer.chunk().await?.is_some_and(|chunk| !chunk.is_empty()), "nothing comes");
    let held = eventually("a page is held", LIMIT, || async {
        let held = session.chain.aggregator.metric(HELD).await?;
        ensure!(held > 0.0, "nothing is held");
        Ok(held)
    })
    .await?;
    ensure!(held < (64 << 20) as f64, "an export that nobody reads holds {held} bytes");
    drop(answer);
    eventually("the export ends with its client", LIMIT, || async {
        let held = session.chain.aggregator.metric(HELD).await?;
        ensure!(held == 0.0, "{held} bytes are held");
        Ok(())
    })
    .await
}

#[test]
fn exports_and_pages_hold_every_line_and_no_more_memory_than_a_page() {
    drill("client-exports", exports);
}
