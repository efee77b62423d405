//! Requests about several tenants.

use serde_json::{Value, json};

use super::{NOW, Reply, Surface, nanoseconds};

const RANGE: [(&str, &str); 2] = [("start", "1768896000"), ("end", "1768903300")];

struct Tenants(Surface);

impl Tenants {
    /// `t1` has two lines, `t2` one, under equal and different labels.
    async fn new() -> Self {
        let surface =
            Surface::new("{tenancy: {enabled: true, multi_tenant_queries: true}, overrides: {t2: {max_entries_limit_per_query: 150}}}")
                .await;
        for (tenant, who, lines) in [("t1", "one", &["a x=1", "b x=2"][..]), ("t2", "two", &["c x=4"][..])] {
            let values: Vec<Value> = lines.iter().enumerate().map(|(place, line)| json!([nanoseconds(place as i64 - 10), line])).collect();
            let streams = json!([{"stream": {"app": "x", "who": who, "__tenant_id__": format!("stored {who}")}, "values": values}]);
            let headers = [("content-type", "application/json"), ("x-scope-orgid", tenant)];
            let pushed = surface.push_as(&headers, json!({"streams": streams}).to_string()).await;
            assert_eq!(pushed.seen(), (204, ""));
        }
        Self(surface)
    }

    async fn ask(&self, tenants: &str, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let parameters: Vec<(&str, &str)> = RANGE.into_iter().chain(parameters.iter().copied()).collect();
        self.0.get_as(path, &parameters, &[("x-scope-orgid", tenants)]).await
    }

    /// (labels as text, lines) of each stream.
    async fn logs(&self, tenants: &str, query: &str) -> Vec<(String, Vec<String>)> {
        let answer = self.ask(tenants, "/loki/api/v1/query_range", &[("query", query), ("direction", "forward")]).await.json();
        let streams = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let lines = |stream: &Value| {
            let values = stream["values"].as_array().cloned().unwrap_or_default();
            values.iter().map(|value| value[1].as_str().unwrap_or_default().to_owned()).collect()
        };
        streams.iter().map(|stream| (shown(&stream["stream"]), lines(stream))).collect()
    }

    /// (labels as text, value) of each series.
    async fn instant(&self, tenants: &str, query: &str) -> Vec<(String, String)> {
        let time = NOW.to_string();
        let answer = self.ask(tenants, "/loki/api/v1/query", &[("query", query), ("time", &time)]).await.json();
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        series.iter().map(|series| (shown(&series["metric"]), series["value"][1].as_str().unwrap_or_default().to_owned())).collect()
    }
}

/// Labels but for those that all streams have.
fn shown(labels: &Value) -> String {
    let pairs = labels.as_object().cloned().unwrap_or_default();
    let is_common = |name: &str| matches!(name, "app" | "service_name" | "detected_level");
    let shown =
        pairs.iter().filter(|(name, _)| !is_common(name)).map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    shown.collect::<Vec<_>>().join(",")
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(left, right)| ((*left).to_owned(), (*right).to_owned())).collect()
}

#[tokio::test]
async fn logs_of_several_tenants_are_told_apart() {
    let tenants = Tenants::new().await;
    let one = "__tenant_id__=t1,original___tenant_id__=stored one,who=one".to_owned();
    let two = "__tenant_id__=t2,original___tenant_id__=stored two,who=two".to_owned();
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let (of_one, of_two) = ((one.clone(), lines(&["a x=1", "b x=2"])), (two.clone(), lines(&["c x=4"])));
    for (asked, query, expected) in [
        ("t2|t1", r#"{app="x"}"#, vec![of_one.clone(), of_two.clone()]),
        ("t1|t2|nobody", r#"{app="x", __tenant_id__!="t1"}"#, vec![of_two.clone()]),
        ("t1|nobody", r#"{app="x"}"#, vec![of_one.clone()]),
        ("t1|t2", r#"{original___tenant_id__="stored two"}"#, vec![of_two.clone()]),
        (
            "t1|t2",
            r#"{app="x"} | keep nothing"#,
            vec![("__tenant_id__=t1".to_owned(), lines(&["a x=1", "b x=2"])), ("__tenant_id__=t2".to_owned(), lines(&["c x=4"]))],
        ),
        ("t1|t1", r#"{app="x"}"#, vec![("__tenant_id__=stored one,who=one".to_owned(), lines(&["a x=1", "b x=2"]))]),
        ("t1", r#"{app="x", __tenant_id__="t1"}"#, vec![]),
    ] {
        assert_eq!(tenants.logs(asked, query).await, expected, "{asked}: {query}");
    }
}

#[tokio::test]
async fn metrics_of_several_tenants_are_one_computation() {
    let tenants = Tenants::new().await;
    for (query, expected) in [
        (r#"sum(count_over_time({app="x"}[1m]))"#, owned(&[("", "3")])),
        (r#"sum by (__tenant_id__) (count_over_time({app="x"}[1m]))"#, owned(&[("__tenant_id__=t1", "2"), ("__tenant_id__=t2", "1")])),
        (r#"sum by (who) (bytes_over_time({app="x"} |= "x" [1m]))"#, owned(&[("who=one", "10"), ("who=two", "5")])),
        (r#"sum(sum_over_time({app="x"} | logfmt | unwrap x [1m]))"#, owned(&[("", "7")])),
        (r#"max(sum by (who, __tenant_id__) (count_over_time({app="x", __tenant_id__="t2"}[1m])))"#, owned(&[("", "1")])),
        (
            r#"sum by (__tenant_id__) (count_over_time({app="x"} | logfmt | x > 1 [1m]))"#,
            owned(&[("__tenant_id__=t1", "1"), ("__tenant_id__=t2", "1")]),
        ),
    ] {
        assert_eq!(tenants.instant("t1|t2", query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn catalogues_of_several_tenants_are_joined() {
    let tenants = Tenants::new().await;
    let data =
        async |asked: &str, path: &str, parameters: &[(&str, &str)]| tenants.ask(asked, path, parameters).await.json()["data"].clone();
    assert_eq!(
        data("t1|t2", "/loki/api/v1/labels", &[]).await,
        json!(["__tenant_id__", "app", "original___tenant_id__", "service_name", "who"])
    );
    assert_eq!(data("a|b", "/loki/api/v1/labels", &[]).await, json!(["__tenant_id__"]));
    assert_eq!(data("t1|t2", "/loki/api/v1/label/who/values", &[]).await, json!(["one", "two"]));
    assert_eq!(data("t1|t2", "/loki/api/v1/label/who/values", &[("query", r#"{__tenant_id__="t2", app="x"}"#)]).await, json!(["two"]));
    assert_eq!(data("t2|a", "/loki/api/v1/label/__tenant_id__/values", &[]).await, json!(["a", "t2"]));
    let series =
        data("t1|t2", "/loki/api/v1/series", &[("match[]", r#"{who="one"}"#), ("match[]", r#"{app="x", __tenant_id__="t2"}"#)]).await;
    let shown: Vec<String> = series.as_array().expect("a list").iter().map(shown).collect();
    assert_eq!(
        shown,
        ["__tenant_id__=t1,original___tenant_id__=stored one,who=one", "__tenant_id__=t2,original___tenant_id__=stored two,who=two"]
    );
    let stats = tenants.ask("t1|t2", "/loki/api/v1/index/stats", &[("query", r#"{app="x"}"#)]).await.json();
    assert_eq!((stats["streams"].as_u64(), stats["entries"].as_u64()), (Some(2), Some(3)));
    let labels = tenants.ask("t1|t2", "/loki/api/v1/detected_labels", &[]).await.json();
    assert_eq!(
        labels["detectedLabels"],
        json!([
            {"label": "app", "cardinality": 1},
            {"label": "original___tenant_id__", "cardinality": 2},
            {"label": "service_name", "cardinality": 1},
            {"label": "who", "cardinality": 2},
        ])
    );
    let fields = tenants.ask("t1|t2", "/loki/api/v1/detected_field/x/values", &[("query", r#"{app="x"}"#)]).await.json();
    assert_eq!(fields["values"], json!(["1", "2", "4"]));
    let volume = data("t1|t2", "/loki/api/v1/index/volume", &[("query", r#"{app="x"}"#)]).await;
    assert_eq!(volume["result"], json!([{"metric": {"app": "x"}, "value": [1_768_903_300, "15"]}]));
}

#[tokio::test]
async fn several_tenants_are_bound_by_all_their_limits() {
    let tenants = Tenants::new().await;
    let too_many = [("query", r#"{app="x"}"#), ("limit", "160")];
    assert_eq!(tenants.ask("t1", "/loki/api/v1/query_range", &too_many).await.status, 200);
    let refused = tenants.ask("t1|t2", "/loki/api/v1/query_range", &too_many).await;
    assert_eq!(refused.seen(), (400, "max entries limit per query exceeded, limit > max_entries_limit_per_query (160 > 150)"));
    let alone = tenants.ask("t1|t2", "/loki/api/v1/query_range", &[("query", r#"{__tenant_id__="t1"}"#)]).await;
    assert!(alone.status == 400 && alone.text.starts_with("log selector is invalid after matcher update: parse error : queries require"));
    for path in ["/loki/api/v1/tail", "/loki/api/v1/delete", "/loki/api/v1/rules"] {
        assert_eq!(tenants.ask("t1|t2", path, &[("query", r#"{app="x"}"#)]).await.seen(), (400, "multiple org IDs present"), "{path}");
    }
}
