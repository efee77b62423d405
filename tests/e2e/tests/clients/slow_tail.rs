//! A live tail whose client stops reading for a while: the server goes on, and each line either comes or is named as dropped, through nginx's buffers too.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tailwater_e2e::drill::{Folder, drill};

use crate::session::{Session, stamp, streams};

/// More than sockets, nginx and the server hold for one client.
const PUSHES: i64 = 60;
const LINES: i64 = 4;
const LINE_BYTES: usize = 200_000;

async fn slow_client(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &[("User-Agent", "loki-logcli/3.6.0")]).await?;
    let mut tail = session.tail(&[("query", r#"{app="busy"}"#)]).await?;
    // Once a line has come it is known to be served.
    push(&session, 0..1, "short").await?;
    let mut seen = BTreeSet::from_iter(arrived(&tail.frame().await?)?);
    ensure!(seen == BTreeSet::from([session.first]), "{seen:?}");
    let long = "x".repeat(LINE_BYTES);
    for number in 0..PUSHES {
        push(&session, 1 + number * LINES..1 + (number + 1) * LINES, &long).await?;
    }
    let mut dropped = BTreeSet::new();
    while seen.len() + dropped.len() < 1 + (PUSHES * LINES) as usize {
        let frame = tail.frame().await?;
        for stamp in arrived(&frame)? {
            ensure!(seen.insert(stamp), "the line of {stamp} came twice");
        }
        for entry in frame["dropped_entries"].as_array().into_iter().flatten() {
            ensure!(entry["labels"]["app"] == "busy", "{entry}");
            let stamp: i64 = entry["timestamp"].as_str().context("a stamp is no text")?.parse()?;
            ensure!(dropped.insert(stamp), "the line of {stamp} was dropped twice");
        }
    }
    ensure!(seen.is_disjoint(&dropped), "lines came and were said to be dropped");
    ensure!(seen.len() > 1 && !dropped.is_empty(), "{} came, {} were dropped", seen.len(), dropped.len());
    Ok(())
}

/// One line each nanosecond.
async fn push(session: &Session, numbers: std::ops::Range<i64>, line: &str) -> Result<()> {
    let values: Vec<_> = numbers.map(|number| json!([(session.first + number).to_string(), line])).collect();
    let body = json!({"streams": [{"stream": {"app": "busy"}, "values": values}]}).to_string();
    let answer = session.push("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await?;
    ensure!(answer.status == 204, "{answer:?}");
    Ok(())
}

fn arrived(frame: &serde_json::Value) -> Result<Vec<i64>> {
    streams(&frame["streams"])?.iter().map(|(_, value)| stamp(value)).collect()
}

#[test]
fn a_slow_tail_is_told_what_it_missed() {
    drill("client-slow-tail", slow_client);
}
