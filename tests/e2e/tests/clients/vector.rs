//! Vector: asks for health first, then pushes protobuf in snappy (its default) or JSON; out of order across partitions.

use anyhow::{Result, ensure};
use serde_json::json;
use tailwater_e2e::drill::{Folder, drill};
use tailwater_e2e::wire::{compressed, request};

use crate::session::{SECOND, Session};

const HEADERS: [(&str, &str); 1] = [("User-Agent", "Vector/0.50.0 (x86_64-unknown-linux-gnu)")];
const PUSH: &str = "/loki/api/v1/push";

async fn vector(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    let health = session.get("/ready", &[]).await?;
    ensure!((health.status, health.text().as_str()) == (200, "ready\n"), "{health:?}");
    let fallback = session.get("/", &[]).await?;
    ensure!(fallback.status == 200, "{fallback:?}");
    let at = |number: i64| session.first + number * SECOND;
    let protobuf = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy")];
    let newer = compressed(&request(r#"{agent="vector", host="a"}"#, &[(at(10), "ten"), (at(8), "eight")]));
    let older = compressed(&request(r#"{agent="vector", host="a"}"#, &[(at(9), "nine"), (at(-7200), "two hours before")]));
    for body in [newer, older] {
        let answer = session.push(PUSH, &protobuf, body).await?;
        ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    }
    let body = json!({"streams": [{"stream": {"agent": "vector", "host": "b"}, "values": [[at(5).to_string(), "json", {"k.v": "1"}]]}]});
    let answer = session.push(PUSH, &[("Content-Type", "application/json")], body.to_string()).await?;
    ensure!(answer.status == 204, "{answer:?}");
    session.stored(r#"{agent="vector", host="b"} | k_v="1""#, 1).await?;
    let (start, end) = (at(-7201).to_string(), session.end.to_string());
    let parameters = [("query", r#"{host="a"}"#), ("start", start.as_str()), ("end", &end), ("direction", "forward")];
    let found = session.get("/loki/api/v1/query_range", &parameters).await?.json()?;
    let lines: Vec<&str> = found["data"]["result"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|stream| stream["values"].as_array().into_iter().flatten())
        .filter_map(|value| value[1].as_str())
        .collect();
    ensure!(lines == ["two hours before", "eight", "nine", "ten"], "{lines:?}");
    Ok(())
}

#[test]
fn vector_finds_the_server_healthy_and_pushes_in_any_order() {
    drill("client-vector", vector);
}
