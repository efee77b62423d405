//! The whole surface over a store in a folder, mostly without a socket.

mod access;
mod deletion;
mod discovery;
mod limits;
mod portions;
mod query_log;
mod reloading;
mod store_metrics;
mod tenants;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::config::merge::merge;
use crate::lifecycle::Lifecycle;
use crate::logging::LogLevelControl;
use crate::server::endpoints;
use crate::wiring::Parts;
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-20 10:00:00 UTC.
pub(super) const NOW: i64 = 1_768_903_200_000_000_000;

pub(super) struct Surface {
    pub(super) router: Router,
    parts: Parts,
    pub(super) lifecycle: Lifecycle,
    clock: Arc<ManualClock>,
    folder: Arc<tempfile::TempDir>,
}

pub(super) struct Reply {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} is no JSON", self.text))
    }

    pub(super) fn seen(&self) -> (u16, &str) {
        (self.status, &self.text)
    }
}

impl Surface {
    pub(super) async fn new(yaml: &str) -> Self {
        Self::on(Arc::new(tempfile::tempdir().expect("a folder")), yaml).await
    }

    /// A replica on a folder that others may be on too.
    async fn on(folder: Arc<tempfile::TempDir>, yaml: &str) -> Self {
        Self::adjusted(folder, yaml, |_| {}).await
    }

    /// With parts that are not as the program would make them.
    pub(super) async fn adjusted(folder: Arc<tempfile::TempDir>, yaml: &str, adjust: impl FnOnce(&mut Parts)) -> Self {
        let file = serde_yaml_ng::from_str(yaml).expect("YAML");
        let mut config: Config = merge(&file, &[], &[]).expect("a configuration").config;
        config.storage.filesystem.path = folder.path().to_owned();
        let manual = Arc::new(ManualClock::new(NOW));
        let clock: Arc<dyn Clock> = Arc::clone(&manual) as Arc<dyn Clock>;
        let mut parts = Parts::start(&config, Arc::clone(&clock)).await.expect("a store");
        adjust(&mut parts);
        let lifecycle = Lifecycle::default();
        let log_level = LogLevelControl::new(config.log_level, |_| {});
        let router = endpoints(config, clock, log_level, &parts, lifecycle.clone());
        Self { router, parts, lifecycle, clock: manual, folder }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.expect("an answer").into_parts();
        let bytes = to_bytes(body, 64 << 20).await.expect("a body");
        Reply { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub(super) async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        self.get_as(path, parameters, &[]).await
    }

    pub(super) async fn get_as(&self, path: &str, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = headers.iter().fold(Request::get(format!("{path}?{query}")), |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn push_as(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
        let request = headers.iter().fold(Request::post("/loki/api/v1/push"), |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body.into()).expect("a request")).await
    }

    async fn push_otlp(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
        let request = headers.iter().fold(Request::post("/otlp/v1/logs"), |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body.into()).expect("a request")).await
    }

    pub(super) async fn push(&self, streams: Value) -> Reply {
        self.push_as(&[("content-type", "application/json")], json!({"streams": streams}).to_string()).await
    }
}

fn nanoseconds(second: i64) -> String {
    (NOW + second * 1_000_000_000).to_string()
}

#[tokio::test]
async fn a_strict_read_sees_what_another_replica_stored() {
    let writer = Surface::new("{}").await;
    let reader = Surface::on(writer.folder.clone(), "discover_interval: 1h").await;
    writer.push(json!([{"stream": {"app": "a"}, "values": [[nanoseconds(-30), "b"]]}])).await;
    let values = async |headers: &[(&str, &str)]| reader.get_as("/loki/api/v1/label/app/values", &[], headers).await.json();
    assert_eq!(values(&[]).await, json!({"status": "success"}));
    assert_eq!(values(&[("x-tailwater-read", "partial")]).await, json!({"status": "success"}));
    assert_eq!(values(&[("x-tailwater-read", "strict")]).await["data"], json!(["a"]));
    assert_eq!(values(&[]).await["data"], json!(["a"]));
}

#[tokio::test]
async fn a_partial_read_passes_over_what_is_damaged_and_says_so() {
    let writer = Surface::new("{}").await;
    for (second, app) in [(-30, "a"), (-20, "b")] {
        writer.push(json!([{"stream": {"app": app}, "values": [[nanoseconds(second), "line"]]}])).await;
    }
    let segments = writer.folder.path().join("v1/seg");
    let of_writer = std::fs::read_dir(segments).expect("segments").next().expect("a writer").expect("reads").path();
    let first = of_writer.join("0000000000000000.parquet");
    let mut bytes = std::fs::read(&first).expect("reads");
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    std::fs::write(&first, bytes).expect("writes");

    let reader = Surface::on(writer.folder.clone(), "{}").await;
    let query = [("query", r#"{app=~".+"}"#), ("since", "1h")];
    let whole = reader.get("/loki/api/v1/query_range", &query).await;
    assert!(whole.status == 500 && whole.text.contains("0000000000000000.parquet"), "{}", whole.text);

    let partial = [("x-tailwater-read", "partial")];
    let answer = reader.get_as("/loki/api/v1/query_range", &query, &partial).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    let warnings = json["warnings"].as_array().expect("warnings");
    assert_eq!((json["data"]["result"].as_array().expect("streams").len(), warnings.len()), (1, 1), "{json}");
    assert_eq!(answer.headers["x-tailwater-warning"].to_str().ok(), warnings[0].as_str());

    let count = [("query", r#"sum(count_over_time({app=~".+"}[1h]))"#)];
    let json = reader.get_as("/loki/api/v1/query", &count, &partial).await.json();
    assert_eq!((&json["data"]["result"][0]["value"][1], json["warnings"].as_array().map(Vec::len)), (&json!("1"), Some(1)));

    let values = reader.get_as("/loki/api/v1/label/app/values", &[], &partial).await;
    assert_eq!(values.json()["data"], json!(["b"]));
    assert!(values.headers.contains_key("x-tailwater-warning"));

    let export = [query[0], query[1], ("format", "ndjson")];
    let refused = reader.get_as("/loki/api/v1/query_range", &export, &partial).await;
    assert!(refused.status == 400 && refused.text.contains("X-Tailwater-Read"), "{}", refused.text);
    let whole = reader.get_as("/loki/api/v1/query_range", &query, &[("x-tailwater-read", "whole")]).await;
    assert_eq!(whole.status, 500);
}

#[tokio::test]
async fn replicas_that_see_each_other_share_the_work() {
    let one = Surface::new("{}").await;
    let ready = one.get("/ready", &[]).await;
    let own = ready.headers["x-tailwater-replica"].to_str().expect("an id").to_owned();
    assert_eq!(own, one.parts.peers.own());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(axum::serve(listener, one.router.clone()).into_future());
    let other = Surface::on(one.folder.clone(), &format!("peers: ['http://{address}', 'http://127.0.0.1:1/']")).await;
    let peers = async |ready: usize| {
        let seen = async {
            while other.parts.peers.ready() != ready {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.expect("the replicas see who is ready");
    };
    peers(2).await;
    let works: Vec<String> = (0..64).map(|number| format!("work {number}")).collect();
    assert!(works.iter().any(|work| other.parts.peers.owns(work)) && works.iter().any(|work| !other.parts.peers.owns(work)));
    one.lifecycle.stop();
    peers(1).await;
    assert!(works.iter().all(|work| other.parts.peers.owns(work)));
    serving.abort();
}

#[tokio::test]
async fn what_is_pushed_is_found_at_once() {
    let surface = Surface::new("{}").await;
    let values = json!([[nanoseconds(-60), "level=error a"], [nanoseconds(-30), "b", {"trace_id": "7"}], [nanoseconds(-30), "b", {"trace_id": "7"}]]);
    let pushed = surface.push(json!([{"stream": {"app": "a"}, "values": values}])).await;
    assert_eq!(pushed.seen(), (204, ""));
    assert!(pushed.headers.contains_key("x-tailwater-version"));

    let logs = surface.get("/loki/api/v1/query_range", &[("query", r#"{app="a"}"#), ("direction", "forward")]).await;
    assert_eq!(logs.headers[header::CONTENT_TYPE], "application/json; charset=UTF-8");
    assert_eq!(
        logs.json()["data"]["result"],
        json!([
            {"stream": {"app": "a", "detected_level": "error", "service_name": "a"}, "values": [[nanoseconds(-60), "level=error a"]]},
            {"stream": {"app": "a", "detected_level": "unknown", "service_name": "a", "trace_id": "7"}, "values": [[nanoseconds(-30), "b"]]},
        ])
    );
    let flags = [("x-loki-response-encoding-flags", "categorize-labels")];
    let categorized = surface.get_as("/loki/api/v1/query_range", &[("query", r#"{app="a"} |= "b""#)], &flags).await.json();
    assert_eq!(categorized["data"]["encodingFlags"], json!(["categorize-labels"]));
    assert_eq!(
        categorized["data"]["result"],
        json!([{"stream": {"app": "a", "service_name": "a"}, "values": [
            [nanoseconds(-30), "b", {"structuredMetadata": {"detected_level": "unknown", "trace_id": "7"}}]
        ]}])
    );
    let counted = surface.get("/loki/api/v1/query", &[("query", r#"sum(count_over_time({app="a"}[5m]))"#)]).await.json();
    assert_eq!(counted["data"]["result"], json!([{"metric": {}, "value": [NOW / 1_000_000_000, "2"]}]));
    assert_eq!(surface.get("/loki/api/v1/labels", &[]).await.json(), json!({"status": "success", "data": ["app", "service_name"]}));
    assert_eq!(surface.get("/loki/api/v1/label/app/values", &[]).await.json()["data"], json!(["a"]));
    assert_eq!(surface.get("/loki/api/v1/label/%C3%A9/values", &[]).await.json(), json!({"status": "success"}));
    assert_eq!(surface.get("/loki/api/v1/series", &[]).await.json()["data"], json!([{"app": "a", "service_name": "a"}]));
    let stats = surface.get("/loki/api/v1/index/stats", &[("query", r#"{app="a"}"#)]).await.json();
    assert_eq!((stats["streams"].as_u64(), stats["entries"].as_u64()), (Some(1), Some(2)));
}

#[tokio::test]
async fn grafanas_health_check_is_one_sample_of_2() {
    let surface = Surface::new("{}").await;
    let check = surface.get("/loki/api/v1/query", &[("query", "vector(1)+vector(1)"), ("time", "4000000000")]).await.json();
    assert_eq!(check["data"]["result"], json!([{"metric": {}, "value": [4_000_000_000_u64, "2"]}]));
}

#[tokio::test]
async fn pushes_are_refused_with_lokis_texts_and_nothing_is_stored() {
    let surface = Surface::new("{}").await;
    let json_type = ("content-type", "application/json");
    for (headers, body, status, text) in [
        (vec![], "x", 400, "mime: no media type"),
        (vec![("content-type", "text/plain")], "{}", 400, "snappy: corrupt input"),
        (vec![("content-type", "application/json; charset")], "{}", 400, "mime: invalid media parameter"),
        (vec![("content-type", "application/json, text/plain")], "{}", 400, "mime: unexpected content after media subtype"),
        (vec![json_type, ("content-encoding", "br")], "{}", 400, "Content-Encoding \"br\" not supported"),
        (vec![json_type, ("content-encoding", "gzip")], "not gzip", 400, "unexpected EOF"),
        (vec![json_type], "", 400, "EOF"),
        (vec![json_type], "{}", 422, "error at least one valid stream is required for ingestion"),
        (
            vec![json_type],
            r#"{"streams":[{"stream":{"app":"a"},"values":[["1","x"]]},{"stream":{"a-b":"c"},"values":[["1","x"]]}]}"#,
            400,
            "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'",
        ),
    ] {
        assert_eq!(surface.push_as(&headers, body).await.seen(), (status, text));
    }
    let declared_4_gib = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
    let refused = surface.push_as(&[("content-type", "application/x-protobuf")], declared_4_gib).await;
    assert_eq!(refused.status, 413, "{}", refused.text);
    assert_eq!(surface.get("/loki/api/v1/series", &[("start", "1"), ("end", "2")]).await.json()["data"], json!([]));
    assert_eq!(surface.get("/loki/api/v1/push", &[]).await.seen(), (405, ""));
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_at_its_limit() {
    let surface = Surface::new("{}").await;
    let chunks = futures::stream::repeat_with(|| Ok::<Bytes, std::io::Error>(Bytes::from_static(&[b' '; 65_536])));
    let refused = surface.push_as(&[("content-type", "application/json")], Body::from_stream(chunks)).await;
    assert_eq!(refused.status, 413);
    assert!(refused.text.starts_with("request body too large: "), "{}", refused.text);
}

#[tokio::test]
async fn good_entries_are_stored_when_others_are_refused() {
    let surface = Surface::new("{}").await;
    let pushed = surface.push(json!([{"stream": {"app": "a"}, "values": [[nanoseconds(0), "fine"], [nanoseconds(3600), "ahead"]]}])).await;
    let text = "entry for stream '{app=\"a\", service_name=\"a\"}' has timestamp too new: 2026-01-20T11:00:00Z";
    assert_eq!(pushed.seen(), (400, text));
    let end = nanoseconds(1);
    let logs = surface.get("/loki/api/v1/query_range", &[("query", r#"{app="a"}"#), ("end", &end)]).await.json();
    assert_eq!(logs["data"]["result"][0]["values"], json!([[nanoseconds(0), "fine"]]));
    let metrics = surface.get("/metrics", &[]).await.text;
    for line in [
        "tailwater_received_lines_total{tenant=\"fake\"} 1",
        "loki_discarded_samples_total{tenant=\"fake\",reason=\"too_far_in_future\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn full_memory_and_rates_are_429_with_nothing_stored() {
    let surface = Surface::new("memory_limit: 1000").await;
    let entry = |line: &str| json!([{"stream": {"app": "a"}, "values": [[nanoseconds(0), line]]}]);
    let refused = surface.push(entry(&"x".repeat(500))).await;
    assert_eq!(refused.seen(), (429, "memory for pushes is used up, send again later"));
    assert!(refused.headers.contains_key(header::RETRY_AFTER));

    let surface = Surface::new("limits: {ingestion_rate_mb: 0.001, ingestion_burst_size_mb: 0.001}").await;
    let refused = surface.push(entry(&"x".repeat(2000))).await;
    assert_eq!(refused.status, 429);
    assert!(
        refused
            .text
            .starts_with("ingestion rate limit exceeded for user fake (limit: 1048 bytes/sec) while attempting to ingest '1' lines")
    );
    assert_eq!(surface.push(entry("short")).await.status, 204);
    let counted = surface.get("/loki/api/v1/query", &[("query", r#"sum(count_over_time({app="a"}[5m]))"#)]).await.json();
    assert_eq!(counted["data"]["result"][0]["value"][1], "1");
}

#[tokio::test]
async fn tenants_are_required_and_kept_apart() {
    let surface = Surface::new("tenancy: {enabled: true}").await;
    let body = json!({"streams": [{"stream": {"app": "a"}, "values": [[nanoseconds(0), "x"]]}]}).to_string();
    let json_type = ("content-type", "application/json");
    assert_eq!(surface.push_as(&[json_type], body.clone()).await.seen(), (401, "no org id\n"));
    assert_eq!(surface.push_as(&[json_type, ("x-scope-orgid", "t1")], body).await.status, 204);
    for path in ["query_range", "query", "labels", "label/app/values", "series", "index/stats", "drilldown-limits"] {
        let reply = surface.get(&format!("/loki/api/v1/{path}"), &[("query", r#"{app="a"}"#)]).await;
        assert_eq!(reply.seen(), (401, "no org id\n"), "{path}");
    }
    let series = async |tenant: &str| surface.get_as("/loki/api/v1/series", &[], &[("x-scope-orgid", tenant)]).await;
    assert_eq!(series("t1").await.json()["data"], json!([{"app": "a", "service_name": "a"}]));
    assert_eq!(series("t2").await.json()["data"], json!([]));
    let refused = series("a/b").await;
    assert_eq!(refused.seen(), (400, "rpc error: code = Code(400) desc = tenant ID 'a/b' contains unsupported character '/'"));
}

#[tokio::test]
async fn queries_are_refused_with_lokis_texts() {
    let surface = Surface::new("{}").await;
    let selector = ("query", r#"{app="a"}"#);
    for (path, parameters, status, text) in [
        (
            "query",
            vec![selector],
            400,
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ),
        ("query", vec![], 400, "parse error : syntax error: unexpected $end"),
        ("query", vec![("query", "1"), ("time", "abc")], 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"),
        (
            "query_range",
            vec![selector, ("limit", "5001")],
            400,
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)",
        ),
        (
            "query_range",
            vec![selector, ("start", "1768471200"), ("end", "1768471199")],
            400,
            "end timestamp must not be before or equal to start time",
        ),
        (
            "query_range",
            vec![selector, ("start", "1765015200000000000"), ("end", "1768471200000000000")],
            400,
            "the query time range exceeds the limit (query length: 960h0m0s, limit: 30d1h)",
        ),
        ("labels", vec![("start", "2"), ("end", "1")], 500, "merging responses requires at least one response"),
        ("index/stats", vec![("query", "")], 400, "parse error : syntax error: unexpected $end"),
    ] {
        assert_eq!(surface.get(&format!("/loki/api/v1/{path}"), &parameters).await.seen(), (status, text), "{path} {parameters:?}");
    }
    let form = Request::post("/loki/api/v1/query")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("query=1%2B1&time=60"))
        .expect("a request");
    assert_eq!(surface.send(form).await.json()["data"]["result"], json!([60, "2"]));
    let literal = surface.get("/loki/api/v1/query_range", &[("query", "1+1"), ("start", "7"), ("end", "20"), ("step", "15")]).await.json();
    assert_eq!(literal["data"]["result"], json!([{"metric": {}, "values": [[0, "2"], [15, "2"], [30, "2"]]}]));
}

#[tokio::test]
async fn readiness_ends_with_stopping() {
    let mut surface = Surface::new("{}").await;
    assert_eq!(surface.get("/ready", &[]).await.seen(), (200, "ready\n"));
    assert_eq!(surface.get("/ready", &[("strict", "1")]).await.seen(), (200, "ready\n"));
    let flush = Request::post("/flush").body(Body::empty()).expect("a request");
    assert_eq!(surface.send(flush).await.status, 204);
    surface.lifecycle.stop();
    assert_eq!(surface.get("/ready", &[]).await.seen(), (503, "stopping"));
    assert_eq!(surface.get("/live", &[]).await.status, 200);
    surface.parts.stop().await;
    let pushed = surface.push(json!([{"stream": {"app": "a"}, "values": [[nanoseconds(0), "late"]]}])).await;
    assert_eq!(pushed.status, 503, "{}", pushed.text);
    assert!(pushed.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn collectors_push_and_are_told_what_was_refused() {
    let surface = Surface::new("{}").await;
    let json_type = [("content-type", "application/json")];
    let body = |records: Value| {
        let attributes =
            json!([{"key": "service.name", "value": {"stringValue": "shop"}}, {"key": "host.name", "value": {"stringValue": "h"}}]);
        json!({"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": records}]}]}).to_string()
    };
    let record = |line: &str| json!({"timeUnixNano": nanoseconds(-60), "body": {"stringValue": line}, "severityNumber": 13});
    assert_eq!(surface.push_otlp(&json_type, body(json!([record("a")]))).await.seen(), (204, ""));

    let long = "x".repeat(300_000);
    let partly = surface.push_otlp(&json_type, body(json!([record(&long), record("b")]))).await;
    assert_eq!(partly.status, 400);
    assert_eq!(partly.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert!(partly.text.contains("max entry size '262144' bytes exceeded for stream '{service_name=\"shop\"}'"), "{}", partly.text);

    let logs = surface.get("/loki/api/v1/query_range", &[("query", r#"{service_name="shop"}"#), ("direction", "forward")]).await;
    assert_eq!(
        logs.json()["data"]["result"],
        json!([{
            "stream": {"detected_level": "warn", "host_name": "h", "service_name": "shop", "severity_number": "13"},
            "values": [[nanoseconds(-60), "a"], [nanoseconds(-60), "b"]],
        }])
    );
    let refused = surface.push_otlp(&[("content-type", "text/plain")], "x").await;
    assert_eq!(refused.seen(), (400, "\u{12})content type: text/plain is not supported"));
    assert_eq!(surface.push_otlp(&json_type, "{}").await.status, 422);
    let discarded = surface.get("/metrics", &[]).await.text;
    assert!(discarded.contains(r#"reason="line_too_long""#), "{discarded}");
}

#[tokio::test]
async fn patterns_count_lines_by_step_and_level() {
    let surface = Surface::new("{}").await;
    let values = |lines: i64| -> Vec<Value> {
        (0..lines).map(|i| json!([nanoseconds(i / 100 - 600), format!("user u{i} logged in from 10.0.0.{i} after {i} ms")])).collect()
    };
    let selector = |app: &'static str| [("query", app), ("start", "1768902000"), ("end", "1768903200"), ("step", "60s")];
    surface.push(json!([{"stream": {"app": "few"}, "values": values(40)}])).await;
    let few = surface.get("/loki/api/v1/patterns", &selector(r#"{app="few"}"#)).await;
    let text = "user <_> logged in from <_> after <_> ms";
    let expected = json!({"status": "success", "data": [{"pattern": text, "level": "unknown", "samples": [[1_768_902_600, 40]]}]});
    assert_eq!(few.json(), expected);

    // More lines than are looked at: a sample stands for all of them.
    surface.push(json!([{"stream": {"app": "many"}, "values": values(9_000)}])).await;
    let many = surface.get("/loki/api/v1/patterns", &selector(r#"{app="many"} |= "logged""#)).await.json();
    assert_eq!(many["data"][0]["pattern"], json!(text));
    let samples = many["data"][0]["samples"].as_array().expect("samples");
    assert_eq!(samples.iter().filter_map(|sample| sample[1].as_u64()).sum::<u64>(), 9_000);

    let metric = surface.get("/loki/api/v1/patterns", &[("query", r#"rate({app="few"}[1m])"#)]).await;
    assert_eq!(metric.seen(), (400, "only log queries have patterns, leave out the aggregation"));
    assert_eq!(surface.get("/loki/api/v1/patterns", &selector(r#"{app="none"}"#)).await.json(), json!({"status": "success", "data": []}));
}
