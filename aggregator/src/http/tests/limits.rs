//! Limits per tenant: what a push, a query and a question about streams may be, and how each is refused.

use serde_json::{Value, json};

use super::{NOW, Surface, nanoseconds};

fn stream(app: &str, lines: &[&str]) -> Value {
    let values: Vec<Value> = lines.iter().map(|line| json!([nanoseconds(-30), line])).collect();
    json!({"stream": {"app": app}, "values": values})
}

async fn lines_stored(surface: &Surface) -> Value {
    let query = ("query", r#"sum(count_over_time({app=~".+"}[1h])) or vector(0)"#);
    let answer = surface.get("/loki/api/v1/query", &[query, ("time", &nanoseconds(0))]).await.json();
    answer["data"]["result"][0]["value"][1].clone()
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_stored() {
    let surface = Surface::new("limits: {max_global_streams_per_user: 2}").await;
    let reply = surface.push(json!([stream("a", &["1"]), stream("b", &["2"]), stream("c", &["3"])])).await;
    assert_eq!(
        reply.seen(),
        (
            429,
            "maximum active stream limit exceeded when trying to create stream {app=\"c\", service_name=\"c\"}, reduce the number of active \
             streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: \
             'fake'"
        )
    );
    assert_eq!(lines_stored(&surface).await, "2");
    assert_eq!(surface.push(json!([stream("b", &["4"])])).await.status, 204);
    let metrics = surface.get("/metrics", &[]).await.text;
    assert!(metrics.lines().any(|line| line.contains("reason=\"stream_limit\"") && line.ends_with(" 1")), "{metrics}");
    for expected in ["loki_ingester_memory_streams 2", "loki_panic_total 0"] {
        assert!(metrics.lines().any(|line| line == expected), "{expected} is missing in {metrics}");
    }
}

#[tokio::test]
async fn a_stream_has_its_own_rate() {
    let surface = Surface::new("limits: {per_stream_rate_limit: 3MB, per_stream_rate_limit_burst: 16B}").await;
    let reply = surface.push(json!([stream("a", &["0123456789", "abcdefghijkl"]), stream("b", &["0123456789"])])).await;
    assert_eq!(
        reply.seen(),
        (
            429,
            "entry with timestamp 2026-01-20 09:59:30 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: 3MB/sec) while \
             attempting to ingest for stream '{app=\"a\", service_name=\"a\"}' totaling 12B, consider splitting a stream via additional labels \
             or contact your Loki administrator to see if the limit can be increased',\n\
             user 'fake', total ignored: 1 out of 2 for stream: {app=\"a\", service_name=\"a\"}"
        )
    );
    assert_eq!(lines_stored(&surface).await, "2");
}

#[tokio::test]
async fn a_tenant_can_be_blocked_until_a_time() {
    for (status, answered, text) in [
        (None, 260, "ingestion blocked for user 'fake' until '2026-01-20T11:00:00Z' with status code '260'"),
        (Some(403), 403, "ingestion blocked for user 'fake' until '2026-01-20T11:00:00Z' with status code '403'"),
        (Some(200), 204, ""),
    ] {
        let status = status.map(|status| format!(", block_ingestion_status_code: {status}")).unwrap_or_default();
        let surface = Surface::new(&format!("limits: {{block_ingestion_until: '2026-01-20T11:00:00Z'{status}}}")).await;
        assert_eq!(surface.push(json!([stream("a", &["1"])])).await.seen(), (answered, text));
        assert_eq!(lines_stored(&surface).await, "0");
    }
    let over = Surface::new("limits: {block_ingestion_until: '2026-01-20T10:00:00Z'}").await;
    assert_eq!(over.push(json!([stream("a", &["1"])])).await.status, 204);
}

#[tokio::test]
async fn streams_need_the_enforced_labels() {
    let surface = Surface::new("limits: {enforced_labels: [app, team, env]}").await;
    let whole = json!({"stream": {"app": "x", "team": "t", "env": "e"}, "values": [[nanoseconds(-1), "1"]]});
    let reply = surface.push(json!([stream("a", &["2"]), whole])).await;
    assert_eq!(
        reply.seen(),
        (400, "missing required labels 'team,env' for user 'fake' for stream '{app=\"a\", service_name=\"a\"}' (policy: '')")
    );
    assert_eq!(lines_stored(&surface).await, "1");
}

#[tokio::test]
async fn queries_can_be_blocked() {
    let rules = r#"[{pattern: '.*secret.*', regex: true}, {pattern: '{app="a"}'}, {types: metric, tags: {source: scraper}}]"#;
    let surface = Surface::new(&format!("limits: {{blocked_queries: {rules}}}")).await;
    let ask = async |path: &str, query: &str, tags: &str| surface.get_as(path, &[("query", query)], &[("x-query-tags", tags)]).await.status;
    let (range, instant) = ("/loki/api/v1/query_range", "/loki/api/v1/query");
    for (path, query, tags, status) in [
        (range, r#"{app="secrets"} |= "x""#, "", 400),
        (range, r#" {app="a"} "#, "", 400),
        (range, r#"{app="a"} |= "x""#, "", 200),
        (range, r#"rate({app="b"}[1m])"#, "Source=scraper", 400),
        (instant, r#"rate({app="b"}[1m])"#, "Source=Scraper", 200),
        (instant, r#"rate({app="b"}[1m])"#, "source=scraper", 400),
        (range, r#"{app="b"}"#, "Source=scraper", 200),
    ] {
        assert_eq!(ask(path, query, tags).await, status, "{path} {query} {tags}");
    }
    assert_eq!(surface.get(range, &[("query", r#"{app="a"}"#)]).await.seen(), (400, "query blocked by policy"));
}

#[tokio::test]
async fn questions_about_streams_keep_to_length_and_lookback() {
    let surface = Surface::new("limits: {max_query_length: 2h, max_query_lookback: 1h}").await;
    assert_eq!(surface.push(json!([stream("a", &["1"])])).await.status, 204);
    let second = |offset: i64| (NOW + offset * 1_000_000_000).to_string();
    let (long_ago, ago, now) = (second(-3 * 3600), second(-2 * 3600 + 60), second(0));
    let query = ("query", r#"{app="a"}"#);
    let paths = [
        "/loki/api/v1/labels",
        "/loki/api/v1/label/app/values",
        "/loki/api/v1/series",
        "/loki/api/v1/index/stats",
        "/loki/api/v1/index/volume",
        "/loki/api/v1/detected_labels",
        "/loki/api/v1/detected_fields",
        "/loki/api/v1/patterns",
    ];
    for path in paths {
        let reply = surface.get(path, &[query, ("start", &long_ago), ("end", &now)]).await;
        let text = "the query time range exceeds the limit (query length: 3h0m0s, limit: 2h)";
        assert_eq!(reply.seen(), (400, text), "{path}");
        let seen = surface.get(path, &[query, ("start", &ago), ("end", &now)]).await;
        let hidden = surface.get(path, &[query, ("start", &ago), ("end", &second(-3601))]).await;
        assert_eq!((seen.status, hidden.status), (200, 200), "{path}: {} {}", seen.text, hidden.text);
        let is_empty = |text: &str| {
            !text.contains("\"app\"") && !text.contains("\"a\"") && !text.contains("\"streams\":1") && !text.contains("\"label\"")
        };
        assert!(is_empty(&hidden.text), "{path}: {}", hidden.text);
        assert!(!is_empty(&seen.text) || path.ends_with("patterns"), "{path}: {}", seen.text);
    }
}
