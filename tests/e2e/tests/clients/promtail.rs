//! Promtail and Alloy: protobuf in snappy, batches of about a megabyte, which are sent again on 429 and 5xx and dropped on other refusals.

use anyhow::{Result, ensure};
use tailwater_e2e::drill::{Folder, drill};
use tailwater_e2e::wire::{compressed, request};

use crate::session::{SECOND, Session, entries};

const HEADERS: [(&str, &str); 3] =
    [("User-Agent", "promtail/3.4.2"), ("Content-Type", "application/x-protobuf"), ("X-Scope-OrgID", "fake")];
const PUSH: &str = "/loki/api/v1/push";
const LINES: i64 = 4000;

async fn promtail(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    let padding = "x".repeat(240);
    let lines: Vec<String> = (0..LINES).map(|number| format!("{number} {padding}")).collect();
    let stamped: Vec<(i64, &str)> = lines.iter().enumerate().map(|(at, line)| (session.first + at as i64, line.as_str())).collect();
    let labels = r#"{filename="/var/log/pods/a/0.log", job="shop/web", stream="stderr"}"#;
    let batch = compressed(&request(labels, &stamped));
    for _ in 0..2 {
        // The second time as after a lost answer: nothing is stored twice.
        let answer = session.push(PUSH, &[], batch.clone()).await?;
        ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    }
    session.stored(r#"{job="shop/web", stream="stderr", service_name="shop/web"}"#, LINES as u64).await?;
    let answer = session.push(PUSH, &[], compressed(&request("{a-b=\"c\"}", &[(session.first, "x")]))).await?;
    answer.require_refusal(400, "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'")?;
    let ahead = session.end + 3600 * SECOND;
    let answer = session.push(PUSH, &[], compressed(&request("{job=\"late\"}", &[(ahead, "ahead"), (session.first, "good")]))).await?;
    ensure!(answer.status == 400, "{answer:?}");
    ensure!(answer.text().starts_with(r#"entry for stream '{job="late", service_name="late"}' has timestamp too new: "#), "{answer:?}");
    session.stored(r#"{job="late"}"#, 1).await?;
    session.push(PUSH, &[], &b"no snappy"[..]).await?.require_refusal(400, "snappy: corrupt input")?;
    session.push(PUSH, &[], compressed(&[])).await?.require_refusal(422, "error at least one valid stream is required for ingestion")?;
    let found = session.ask("/loki/api/v1/query_range", &[("query", r#"{job="shop/web"} |= "3999 ""#)]).await?.json()?;
    let found = entries(&found)?;
    ensure!(found.len() == 1 && found[0].1[1] == lines[3999], "{} lines", found.len());
    Ok(())
}

#[test]
fn promtail_pushes_batches_once_and_is_told_what_is_wrong() {
    drill("client-promtail", promtail);
}
