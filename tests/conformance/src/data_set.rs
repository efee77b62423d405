//! Loads the data set of the suite and waits until all of it can be queried.
//!
//! Loading twice changes nothing: the entries are the same, and the server keeps one of each.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Request};
use crate::runner::flush;

const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);

/// The query that tells that loading is done, and the count it then answers.
#[derive(Debug, Deserialize)]
struct Visible {
    params: std::collections::BTreeMap<String, String>,
    total: f64,
}

/// Pushes `data/push.jsonl`; with `flush_after` asks the server to flush.
pub(crate) async fn load(client: &Client, suite: &Path, flush_after: bool) -> Result<()> {
    let path = suite.join("data/push.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    for (index, line) in text.lines().enumerate() {
        let request = Request {
            method: "POST".to_owned(),
            path: "/loki/api/v1/push".to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Some(line.as_bytes().to_vec()),
            ..Request::default()
        };
        let reply = client.send(&request).await.context("cannot push the data set; is the server up")?;
        if reply.status != 200 && reply.status != 204 {
            bail!("push {} of the data set was refused with status {}: {}", index + 1, reply.status, reply.text);
        }
    }
    if flush_after {
        flush(client, &[]).await?;
    }
    wait_until_visible(client, suite).await
}

async fn wait_until_visible(client: &Client, suite: &Path) -> Result<()> {
    let path = suite.join("data/visible.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let visible: Visible = serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))?;
    let request = Request {
        method: "GET".to_owned(),
        path: "/loki/api/v1/query".to_owned(),
        params: visible.params.into_iter().collect(),
        ..Request::default()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = client.send(&request).await?;
        let seen = count_in(&reply.text);
        if seen == Some(visible.total) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            eprintln!("warning: expected {} visible entries, still at {seen:?} after {} s", visible.total, PATIENCE.as_secs());
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// The value of a vector with one sample; no sample is a count of nothing, anything else no count.
fn count_in(answer: &str) -> Option<f64> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let rows = answer["data"]["result"].as_array()?;
    rows.first().map_or(Some(0.0), |row| row["value"][1].as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_only_sample() {
        assert_eq!(count_in(r#"{"data":{"result":[{"metric":{},"value":[1,"7364"]}]}}"#), Some(7364.0));
        assert_eq!(count_in(r#"{"data":{"result":[]}}"#), Some(0.0));
        assert_eq!(count_in("no json"), None);
    }
}
