//! The OpenTelemetry collector: `otlphttp` in protobuf with gzip and in JSON, and the older exporter's push.

use std::io::Write;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tailwater_e2e::drill::{Folder, drill};
use tailwater_e2e::wire::{compressed, request};

use crate::session::{SECOND, Session, entries};

const HEADERS: [(&str, &str); 1] = [("User-Agent", "OpenTelemetry Collector Contrib/0.140.0 (linux/amd64)")];
const PATH: &str = "/otlp/v1/logs";

/// A field of a protobuf message whose value has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

fn text_value(text: &str) -> Vec<u8> {
    field(1, text.as_bytes())
}

fn attribute(number: u8, name: &str, value: &str) -> Vec<u8> {
    field(number, &[field(1, name.as_bytes()), field(2, &text_value(value))].concat())
}

/// One record: resource attributes, a scope, a body, a severity, an attribute, a trace.
fn protobuf(stamp: i64) -> Vec<u8> {
    let resource =
        [attribute(1, "service.name", "cart"), attribute(1, "k8s.namespace.name", "shop"), attribute(1, "host.name", "node-1")].concat();
    let stamp = [&[1 << 3 | 1], &stamp.to_le_bytes()[..]].concat();
    let severity = [vec![2 << 3, 17], field(3, b"ERROR")].concat();
    let body = field(5, &text_value("checkout failed"));
    let record = [stamp, severity, body, attribute(6, "user.id", "42"), field(9, &[0xab; 16])].concat();
    let scope = field(1, &[field(1, b"checkout"), field(2, b"1.2")].concat());
    let scope_logs = [scope, field(2, &record)].concat();
    field(1, &[field(1, &resource), field(2, &scope_logs)].concat())
}

fn as_json(stamp: i64) -> Value {
    let text = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    json!({"resourceLogs": [{
        "resource": {"attributes": [text("service.name", "cart"), text("k8s.namespace.name", "shop"), text("host.name", "node-1")]},
        "scopeLogs": [{
            "scope": {"name": "checkout", "version": "1.2"},
            "logRecords": [{
                "timeUnixNano": stamp.to_string(), "severityNumber": 17, "severityText": "ERROR",
                "body": {"stringValue": "checkout failed"}, "attributes": [text("user.id", "42")], "traceId": "ab".repeat(16),
            }],
        }],
    }]})
}

async fn opentelemetry(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&protobuf(session.first))?;
    let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip")];
    let answer = session.push(PATH, &headers, encoder.finish()?).await?;
    ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    let answer = session.push(PATH, &[("Content-Type", "application/json")], as_json(session.first + SECOND).to_string()).await?;
    ensure!(answer.status == 204, "{answer:?}");
    session.stored(r#"{service_name="cart", k8s_namespace_name="shop"}"#, 2).await?;
    let flags = [("X-Loki-Response-Encoding-Flags", "categorize-labels")];
    let found = session.ask_with("/loki/api/v1/query_range", &[("query", r#"{service_name="cart"}"#)], &flags).await?.json()?;
    for (stream, value) in entries(&found)? {
        ensure!(stream == json!({"service_name": "cart", "k8s_namespace_name": "shop"}), "{stream}");
        let metadata = json!({
            "host_name": "node-1", "scope_name": "checkout", "scope_version": "1.2", "severity_number": "17", "severity_text": "ERROR",
            "user_id": "42", "trace_id": "ab".repeat(16), "detected_level": "error",
        });
        ensure!(value[1] == "checkout failed" && value[2] == json!({"structuredMetadata": metadata}), "{value}");
    }
    refusals(&session).await?;
    // The exporter that is deprecated pushes as Promtail does.
    let body = compressed(&request(r#"{exporter="OTLP", job="shop/cart"}"#, &[(session.first, r#"{"body":"x"}"#)]));
    let answer = session.push("/loki/api/v1/push", &[("Content-Type", "application/x-protobuf")], body).await?;
    ensure!(answer.status == 204, "{answer:?}");
    session.stored(r#"{exporter="OTLP"}"#, 1).await
}

/// Refusals are status messages, of which the text is field 2.
async fn refusals(session: &Session) -> Result<()> {
    let empty = session.push(PATH, &[("Content-Type", "application/x-protobuf")], Vec::new()).await?;
    let text = b"error at least one valid stream is required for ingestion";
    ensure!(empty.status == 422 && empty.content_type == "application/octet-stream" && empty.body == field(2, text), "{empty:?}");
    let plain = session.push(PATH, &[("Content-Type", "text/plain")], "x").await?;
    ensure!(plain.status == 400 && plain.body == field(2, b"content type: text/plain is not supported"), "{plain:?}");
    let junk = session.push(PATH, &[("Content-Type", "application/json")], "{").await?;
    ensure!(junk.status == 400 && junk.content_type == "application/octet-stream", "{junk:?}");
    Ok(())
}

#[test]
fn collectors_push_otlp_and_their_attributes_are_found() {
    drill("client-opentelemetry", opentelemetry);
}
