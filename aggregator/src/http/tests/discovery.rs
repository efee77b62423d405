//! What there is: volume, detected fields and labels, statistics, and the old form of a query.

use serde_json::{Value, json};

use super::{Surface, nanoseconds};

async fn surface(yaml: &str) -> Surface {
    let surface = Surface::new(yaml).await;
    let line = |second: i64, text: &str| json!([nanoseconds(second), text, {"trace_id": format!("t{second}")}]);
    let web = json!({"stream": {"app": "web", "pod": "w"}, "values": [line(-300, r#"{"took":"5ms","n":{"m":1}}"#), line(-30, r#"{"took":"7ms"}"#)]});
    let api = json!({"stream": {"app": "api"}, "values": [line(-30, "size=1.5KB 10")]});
    assert_eq!(surface.push(json!([web, api])).await.seen(), (204, ""));
    surface
}

fn metrics(answer: &Value) -> Vec<Value> {
    answer["data"]["result"].as_array().expect("a list").iter().map(|series| series["metric"].clone()).collect()
}

#[tokio::test]
async fn volume_is_told_by_groups_and_steps() {
    let surface = surface("limits: {volume_max_series: 3}").await;
    let (start, end) = (nanoseconds(-600), nanoseconds(0));
    let range = [("start", start.as_str()), ("end", end.as_str())];
    let ask = async |path: &str, parameters: &[(&str, &str)]| {
        let parameters: Vec<(&str, &str)> = range.into_iter().chain(parameters.iter().copied()).collect();
        surface.get(path, &parameters).await
    };
    let everything = ask("/loki/api/v1/index/volume", &[("query", "{}")]).await.json();
    assert_eq!(everything["data"]["resultType"], "vector");
    assert_eq!(
        everything["data"]["result"],
        json!([
            {"metric": {"app": "web", "pod": "w", "service_name": "web"}, "value": [1_768_903_200, "40"]},
            {"metric": {"app": "api", "service_name": "api"}, "value": [1_768_903_200, "13"]},
        ])
    );
    let by_app = ask("/loki/api/v1/index/volume", &[("query", r#"{app=~".+"}"#), ("limit", "1")]).await.json();
    assert_eq!(metrics(&by_app), [json!({"app": "web"})]);
    let by_pod = ask("/loki/api/v1/index/volume", &[("query", r#"{app=~".+"}"#), ("targetLabels", "pod")]).await.json();
    assert_eq!(metrics(&by_pod), [json!({"pod": "w"})]);
    let by_label = ask("/loki/api/v1/index/volume", &[("query", r#"{app=~".+"}"#), ("aggregateBy", "labels")]).await.json();
    assert_eq!(metrics(&by_label), [json!({"app": ""}), json!({"service_name": ""}), json!({"pod": ""})]);
    let stepped = ask("/loki/api/v1/index/volume_range", &[("query", r#"{app="web"}"#), ("step", "60")]).await.json();
    assert_eq!(stepped["data"]["resultType"], "matrix");
    let values = stepped["data"]["result"][0]["values"].as_array().expect("values");
    assert_eq!((values[0][0].as_f64(), values.last().map(|last| last[0].clone())), (Some(1_768_902_959.999), Some(json!(1_768_903_200))));
    let total: f64 = values.iter().map(|value| value[1].as_str().expect("text").parse::<f64>().expect("a number")).sum();
    assert!((total - 40.0).abs() < 3.0, "{total}: what is rounded, step by step");
    let single = ask("/loki/api/v1/index/volume_range", &[("query", r#"{app="api"}"#), ("step", "60")]).await.json();
    assert_eq!((single["data"]["resultType"].as_str(), single["data"]["result"][0]["value"][1].as_str()), (Some("vector"), Some("13")));
    let too_many = ask("/loki/api/v1/index/volume", &[("query", "{}"), ("aggregateBy", "labels"), ("targetLabels", "")]).await;
    assert_eq!(too_many.status, 200, "three labels are not too many");
    let values = json!([[nanoseconds(0), "x"]]);
    surface.push(json!([{"stream": {"zone": "z"}, "values": values}])).await;
    let too_many = ask("/loki/api/v1/index/volume", &[("query", "{}"), ("aggregateBy", "labels")]).await;
    assert_eq!(too_many.seen(), (400, "the query hit the max number of series limit (limit: 3 series)"));
}

#[tokio::test]
async fn all_there_is_is_one_shard() {
    let surface = surface("{}").await;
    let query = ("query", r#"{app="web"}"#);
    let found = surface.get("/loki/api/v1/index/shards", &[query, ("targetBytesPerShard", "600MB")]).await.json();
    assert_eq!(found["shards"][0]["bounds"], json!({"min": 0, "max": u64::MAX}));
    assert_eq!((&found["shards"][0]["stats"]["bytes"], &found["shards"][1]), (&json!(40), &Value::Null));
    assert!(found["statistics"]["summary"].is_object());
    for target in ["0", "", "many"] {
        assert_eq!(surface.get("/loki/api/v1/index/shards", &[query, ("targetBytesPerShard", target)]).await.status, 400);
    }
}

#[tokio::test]
async fn queries_are_bound_by_what_they_name_and_read() {
    let surface = surface("limits: {required_labels: [app, zone], max_query_bytes_read: 30}").await;
    let ask = async |query: &str| {
        let reply = surface.get("/loki/api/v1/query_range", &[("query", query), ("step", "60")]).await;
        (reply.status, reply.text)
    };
    let missing = "stream selector is missing required matchers [zone], labels present in the query were [app]";
    for query in [r#"{app="api"}"#, r#"1 + sum(rate({app="api", zone!="z"}[1m])) / sum(rate({app="api"}[1m]))"#] {
        assert_eq!(ask(query).await, (400, missing.to_owned()));
    }
    assert_eq!(ask(r#"{app="api", zone!="z"}"#).await.0, 200);
    assert_eq!(ask(r#"{app=~".+", zone!="z"} | json"#).await.0, 200, "without a filter as much is read as is shown");
    let text = "the query would read too many bytes (query: N B, limit: 30 B); consider adding more specific stream selectors or reduce the \
                time range of the query";
    let fields = surface.get("/loki/api/v1/detected_fields", &[("query", r#"{app=~".+", zone!="z"} |= "e""#)]).await;
    assert_eq!((fields.status, fields.text.replace("53 B", "N B")), (400, text.to_owned()));
    for query in [r#"{app=~".+", zone!="z"} |= "e""#, r#"sum(count_over_time({app="web", zone!="z"}[1m]))"#] {
        let (status, seen) = ask(query).await;
        assert_eq!((status, seen.replace("40 B", "N B").replace("53 B", "N B")), (400, text.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn volume_can_be_switched_off() {
    let surface = surface("limits: {volume_enabled: false}").await;
    for path in ["/loki/api/v1/index/volume", "/loki/api/v1/index/volume_range"] {
        assert_eq!(surface.get(path, &[("query", "{}")]).await.seen(), (404, "not found"));
    }
    let limits = surface.get("/loki/api/v1/drilldown-limits", &[]).await.json();
    assert_eq!((&limits["limits"]["volume_enabled"], &limits["limits"]["volume_max_series"]), (&json!(false), &json!(1000)));
}

#[tokio::test]
async fn fields_and_labels_are_detected() {
    let surface = surface("{}").await;
    let fields = surface.get("/loki/api/v1/detected_fields", &[("query", r#"{app=~".+"}"#)]).await.json();
    assert_eq!(
        fields,
        json!({"limit": 1000, "fields": [
            {"label": "detected_level", "type": "string", "cardinality": 1, "parsers": null},
            {"label": "n_m", "type": "int", "cardinality": 1, "parsers": ["json"], "jsonPath": ["n", "m"]},
            {"label": "size", "type": "bytes", "cardinality": 1, "parsers": ["logfmt"]},
            {"label": "took", "type": "duration", "cardinality": 2, "parsers": ["json"], "jsonPath": ["took"]},
            {"label": "trace_id", "type": "string", "cardinality": 2, "parsers": null},
        ]})
    );
    let newest = surface.get("/loki/api/v1/detected_field/took/values", &[("query", r#"{app="web"}"#), ("line_limit", "1")]).await;
    assert_eq!(newest.json(), json!({"limit": 1000, "values": ["7ms"]}));
    let size = surface.get("/loki/api/v1/detected_field/size/values", &[("query", r#"{app="api"}"#), ("limit", "5")]).await;
    assert_eq!(size.json(), json!({"limit": 5, "values": ["1.5kB"]}));
    assert_eq!(surface.get("/loki/api/v1/detected_fields", &[("query", r#"{app="none"}"#)]).await.seen(), (200, "{}\n"));
    for (parameters, text) in [
        (&[("query", r#"rate({app="a"}[1m])"#)][..], "only log selector is supported"),
        (&[("query", r#"{app="a"}"#), ("line_limit", "0")], "limit must be a positive value"),
        (
            &[("query", r#"{app="a"}"#), ("line_limit", "5001")],
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)",
        ),
    ] {
        assert_eq!(surface.get("/loki/api/v1/detected_fields", parameters).await.seen(), (400, text));
    }
    let labels = surface.get("/loki/api/v1/detected_labels", &[]).await.json();
    assert_eq!(labels["detectedLabels"][0], json!({"label": "app", "cardinality": 2}));
    assert_eq!(surface.get("/loki/api/v1/detected_labels", &[("query", r#"{app="none"}"#)]).await.seen(), (200, "{}\n"));
}

#[tokio::test]
async fn the_first_versions_query_is_answered() {
    let surface = surface("{}").await;
    let mut found = surface.get("/api/prom/query", &[("query", r#"{app="web"} | drop trace_id"#), ("regexp", "n.:")]).await.json();
    assert!(found.as_object_mut().and_then(|found| found.remove("stats")).is_some());
    let entries = json!([{"ts": "2026-01-20T09:55:00Z", "line": r#"{"took":"5ms","n":{"m":1}}"#}]);
    let labels = r#"{app="web", detected_level="unknown", pod="w", service_name="web"}"#;
    assert_eq!(found, json!({"streams": [{"labels": labels, "entries": entries}]}));
    let refused = surface.get("/api/prom/query", &[("query", r#"rate({app="web"}[1m])"#)]).await;
    assert_eq!(refused.seen(), (400, "rpc error: code = Code(400) desc = legacy endpoints only support streams result type"));
    // Its labels come as by the path of today.
    assert_eq!(surface.get("/api/prom/label", &[]).await.json(), surface.get("/loki/api/v1/labels", &[]).await.json());
    let values = surface.get("/api/prom/label/pod/values", &[("query", r#"{app="web"}"#)]).await.json();
    assert_eq!(values, json!({"status": "success", "data": ["w"]}));
}

#[tokio::test]
async fn strict_answers_leave_out_the_last_entry_of_a_stream_on_the_hour() {
    let count = async |yaml: &str, later: bool| {
        let surface = Surface::new(yaml).await;
        let values: Vec<Value> = [-3600, -1800, 0].map(|second| json!([nanoseconds(second), "x"])).into_iter().collect();
        surface.push(json!([{"stream": {"app": "a"}, "values": values}])).await;
        if later {
            surface.push(json!([{"stream": {"app": "a"}, "values": [[nanoseconds(5), "y"]]}])).await;
        }
        let end = nanoseconds(1);
        let found = surface.get("/loki/api/v1/query_range", &[("query", r#"{app="a"}"#), ("since", "2h"), ("end", &end)]).await.json();
        found["data"]["result"][0]["values"].as_array().expect("values").len()
    };
    let strict = "{strict_loki: true}";
    assert_eq!((count("{}", false).await, count(strict, false).await, count(strict, true).await), (3, 2, 3));
}
