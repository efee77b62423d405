//! Fluent Bit: JSON, with gzip if told to; a refusal by 4xx makes it drop the chunk.

use std::io::Write;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tailwater_e2e::drill::{Folder, drill};

use crate::session::{SECOND, Session, entries};

const HEADERS: [(&str, &str); 3] = [("User-Agent", "Fluent-Bit"), ("Content-Type", "application/json"), ("X-Scope-OrgID", "fake")];
const PUSH: &str = "/loki/api/v1/push";

async fn fluent_bit(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    let stamp = |number: i64| (session.first + number * SECOND).to_string();
    let record = r#"{"log":"GET /cart 200","kubernetes":{"pod_name":"web-1"}}"#;
    let body = json!({"streams": [
        {"stream": {"job": "fluentbit", "container": "web"}, "values": [[stamp(0), record], [stamp(0), record], [stamp(1), record]]},
        {"stream": {"job": "fluentbit"}, "values": [[stamp(2), "key=value", {"trace_id": "t"}]]},
    ]})
    .to_string();
    let answer = session.push(PUSH, &[], body.clone()).await?;
    ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes())?;
    let answer = session.push(PUSH, &[("Content-Encoding", "gzip")], encoder.finish()?).await?;
    ensure!(answer.status == 204, "{answer:?}");
    // Two records of one stamp and text are one entry, as is what came again with gzip.
    session.stored(r#"{job="fluentbit"}"#, 3).await?;
    let query = r#"{job="fluentbit", container="web"} | json | kubernetes_pod_name="web-1""#;
    let found = entries(&session.ask("/loki/api/v1/query_range", &[("query", query)]).await?.json()?)?;
    ensure!(found.len() == 2 && found[0].0["log"] == "GET /cart 200", "{found:?}");
    let number = json!({"streams": [{"stream": {"job": "fluentbit"}, "values": [[5, "x"]]}]}).to_string();
    ensure!(session.push(PUSH, &[], number).await?.status == 400, "a stamp that is a number is taken");
    let cut = session.push(PUSH, &[], body.as_bytes()[..body.len() / 2].to_vec()).await?;
    ensure!(cut.status == 400, "{cut:?}");
    let encoding = session.push(PUSH, &[("Content-Encoding", "zstd")], body).await?;
    encoding.require_refusal(400, "Content-Encoding \"zstd\" not supported")
}

#[test]
fn fluent_bit_pushes_json_with_and_without_gzip() {
    drill("client-fluent-bit", fluent_bit);
}
