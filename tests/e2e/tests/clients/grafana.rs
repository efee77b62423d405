//! Grafana's Loki datasource: Save & test, Explore, dashboards, alerting. All of it GET with categorised labels and gzip.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tailwater_e2e::drill::{Folder, drill};

use crate::session::{LINES, SECOND, Session, entries, points, require_statistics, stamp, streams};

const HEADERS: [(&str, &str); 3] =
    [("X-Loki-Response-Encoding-Flags", "categorize-labels"), ("Accept-Encoding", "gzip"), ("User-Agent", "Grafana/12.3.0")];
const RANGE: &str = "/loki/api/v1/query_range";

async fn grafana(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    session.fill().await?;
    save_and_test(&session).await?;
    alerting(&session).await?;
    open_explore(&session).await?;
    run_log_query(&session).await?;
    scroll(&session).await?;
    context_of_a_line(&session).await?;
    filters_and_variables(&session).await?;
    dashboard(&session).await?;
    live_tail(&session).await
}

async fn save_and_test(session: &Session) -> Result<()> {
    let parameters = [("direction", ""), ("query", "vector(1)+vector(1)"), ("time", "4000000000")];
    let answer = session.get("/loki/api/v1/query", &parameters).await?;
    ensure!(answer.was_compressed, "gzip is accepted and not used");
    let found = points(&answer.json()?, "vector")?;
    ensure!(found == [(json!({}), 4_000_000_000.0, 2.0)], "{found:?}");
    Ok(())
}

/// What decides that this is Loki and that it has no rules.
async fn alerting(session: &Session) -> Result<()> {
    session.get("/loki/api/v1/rules", &[]).await?.require_refusal(404, "no rule groups found\n")?;
    let rules = session.get("/prometheus/api/v1/rules", &[]).await?.json()?;
    ensure!(rules == json!({"status": "success", "data": {"groups": []}, "errorType": "", "error": ""}), "{rules}");
    let build = session.get("/loki/api/v1/status/buildinfo", &[]).await?.json()?;
    let version = build["version"].as_str().context("no version")?;
    let numbers: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    ensure!(numbers.len() == 3 && numbers >= vec![3, 2, 0], "{version}");
    let elsewhere = session.get("/prometheus/api/v1/status/buildinfo", &[]).await?;
    ensure!(elsewhere.status == 404, "{elsewhere:?}");
    Ok(())
}

async fn open_explore(session: &Session) -> Result<()> {
    let labels = session.ask("/loki/api/v1/labels", &[]).await?.json()?;
    ensure!(labels == json!({"status": "success", "data": ["app", "namespace", "pod", "service_name"]}), "{labels}");
    let values = session.ask("/loki/api/v1/label/app/values", &[("query", r#"{namespace="shop"}"#)]).await?.json()?;
    ensure!(values == json!({"status": "success", "data": ["api", "web"]}), "{values}");
    let none = session.ask("/loki/api/v1/label/app/values", &[("query", r#"{namespace="none"}"#)]).await?.json()?;
    ensure!(none == json!({"status": "success"}), "{none}");
    let fields = session.ask("/loki/api/v1/detected_fields", &[("query", r#"{app="web"}"#)]).await?.json()?;
    let of = |name: &str| fields["fields"].as_array().and_then(|all| all.iter().find(|field| field["label"] == name)).cloned();
    let latency = json!({"label": "latency", "type": "duration", "cardinality": LINES, "parsers": ["json"], "jsonPath": ["latency"]});
    ensure!(of("latency") == Some(latency), "{fields}");
    ensure!(of("trace_id").is_some_and(|field| field["parsers"].is_null()), "{fields}");
    ensure!(fields.get("status").is_none() && fields["limit"] == 1000, "{fields}");
    let parameters = [("query", r#"{app="api"}"#), ("limit", "10"), ("direction", "backward")];
    let sample = session.ask_with(RANGE, &parameters, &[("X-Query-Tags", "Source=datasample")]).await?.json()?;
    ensure!(entries(&sample)?.len() == 10, "{sample}");
    let hint = session.ask("/loki/api/v1/index/stats", &[("query", r#"{namespace="shop"}"#)]).await?.json()?;
    let keys: Vec<&String> = hint.as_object().context("no object")?.keys().collect();
    ensure!(keys == ["bytes", "chunks", "entries", "streams"], "{hint}");
    ensure!(hint["streams"] == 2 && hint["entries"] == 2 * LINES && hint["bytes"].as_u64() > Some(0), "{hint}");
    Ok(())
}

async fn run_log_query(session: &Session) -> Result<()> {
    let query = r#"{namespace="shop"} |= `` | json | logfmt | drop __error__, __error_details__"#;
    let found = session.ask(RANGE, &[("query", query), ("limit", "1000"), ("direction", "backward")]).await?;
    ensure!(found.was_compressed, "gzip is accepted and not used");
    let found = found.json()?;
    ensure!(found["data"]["encodingFlags"] == json!(["categorize-labels"]), "{found}");
    require_statistics(&found["data"]["stats"])?;
    let all = entries(&found)?;
    ensure!(all.len() as i64 == 2 * LINES, "{} entries", all.len());
    for app in ["web", "api"] {
        let own: Vec<&(Value, Value)> = all.iter().filter(|(stream, _)| stream["app"] == app).collect();
        let stored = json!({"namespace": "shop", "app": app, "pod": format!("{app}-1"), "service_name": app});
        ensure!(own.iter().all(|(stream, _)| *stream == stored), "more than stored labels in the stream: {:?}", own[0].0);
        let stamps = own.iter().map(|(_, value)| stamp(value)).collect::<Result<Vec<i64>>>()?;
        ensure!(stamps.iter().rev().is_sorted() && stamps.len() as i64 == LINES, "{stamps:?}");
    }
    let of = |number: i64| {
        let stamp = (session.first + number * SECOND).to_string();
        all.iter().find(|(stream, value)| stream["app"] == "web" && value[0] == stamp)
    };
    let (_, value) = of(5).context("the sixth line of web is missing")?;
    let parsed = json!({"level": "error", "msg": "request done", "latency": "5ms", "status": "200"});
    let categories = json!({"structuredMetadata": {"trace_id": "trace-5", "detected_level": "error"}, "parsed": parsed});
    ensure!(value[2] == categories, "{value}");
    let histogram = r#"sum by (level, detected_level) (count_over_time({namespace="shop"} |= `` | drop __error__ [1m]))"#;
    let parameters = [("query", histogram), ("step", "60000ms"), ("direction", "backward")];
    let volume = session.ask_with(RANGE, &parameters, &[("X-Query-Tags", "Source=logvolhist")]).await?.json()?;
    let volume = points(&volume, "matrix")?;
    let total =
        |level: &str| volume.iter().filter(|(labels, ..)| *labels == json!({"detected_level": level})).map(|point| point.2).sum::<f64>();
    let expected = [LINES / 5, LINES - LINES / 5, LINES].map(|count| count as f64);
    ensure!([total("error"), total("info"), total("warn")] == expected, "{volume:?}");
    ensure!(volume.iter().all(|(_, time, _)| time % 60.0 == 0.0), "points are not on the step: {volume:?}");
    let broken = session.ask(RANGE, &[("query", r#"{namespace="shop""#), ("direction", "backward")]).await?;
    broken.require_refusal(400, "parse error at line 1, col 18: syntax error: unexpected $end, expecting } or ,")?;
    let sample = [("query", r#"{app="web"}"#), ("limit", "20"), ("direction", "backward")];
    let sample = session.ask_with(RANGE, &sample, &[("X-Query-Tags", "Source=logsample")]).await?.json()?;
    ensure!(entries(&sample)?.len() == 20, "{sample}");
    Ok(())
}

/// Older lines, page by page, by moving the end to the oldest stamp seen.
async fn scroll(session: &Session) -> Result<()> {
    let (start, mut end) = (session.first.to_string(), session.end);
    let mut seen = 0;
    loop {
        let to = end.to_string();
        let parameters = [("query", r#"{app="web"}"#), ("limit", "7"), ("direction", "backward"), ("start", start.as_str()), ("end", &to)];
        let page = entries(&session.get_with(RANGE, &parameters, &[("X-Query-Tags", "Source=infinitescroll")]).await?.json()?)?;
        let stamps = page.iter().map(|(_, value)| stamp(value)).collect::<Result<Vec<i64>>>()?;
        ensure!(stamps.iter().all(|stamp| *stamp < end), "the end is not excluded");
        seen += page.len() as i64;
        match stamps.iter().min() {
            Some(oldest) if page.len() == 7 => end = *oldest,
            _ => break,
        }
    }
    ensure!(seen == LINES, "{seen} lines");
    Ok(())
}

async fn context_of_a_line(session: &Session) -> Result<()> {
    let at = session.first + 10 * SECOND;
    let series = session.ask("/loki/api/v1/series", &[("match[]", r#"{app="web"}"#)]).await?.json()?;
    let stream = json!({"namespace": "shop", "app": "web", "pod": "web-1", "service_name": "web"});
    ensure!(series == json!({"status": "success", "data": [stream]}), "{series}");
    let query = r#"{namespace="shop",app="web",pod="web-1",service_name="web"}"#;
    let two_hours = 7200 * SECOND;
    let side = async |direction: &str, start: i64, end: i64| {
        let (start, end) = (start.to_string(), end.to_string());
        let parameters = [("query", query), ("limit", "50"), ("direction", direction), ("start", &start), ("end", &end)];
        let found = entries(&session.get(RANGE, &parameters).await?.json()?)?;
        found.iter().map(|(_, value)| stamp(value)).collect::<Result<Vec<i64>>>()
    };
    let before: Vec<i64> = (0..10).rev().map(|number| session.first + number * SECOND).collect();
    ensure!(side("backward", at - two_hours, at).await? == before, "what comes before the line is wrong");
    let after: Vec<i64> = (10..LINES).map(|number| session.first + number * SECOND).collect();
    ensure!(side("forward", at, at + two_hours).await? == after, "the line and what follows it are wrong");
    Ok(())
}

async fn filters_and_variables(session: &Session) -> Result<()> {
    for (filter, expected) in [
        (r#"{app="web"} | json | level=`error`"#, LINES / 5),
        (r#"{app="web"} | trace_id=`trace-7`"#, 1),
        (r#"{namespace="shop"} |~ `(?i)SLOW`"#, LINES),
        (r#"{namespace="shop"} != ``"#, 0),
    ] {
        let found = entries(&session.ask(RANGE, &[("query", filter), ("limit", "1000"), ("direction", "backward")]).await?.json()?)?;
        ensure!(found.len() as i64 == expected, "{filter} finds {}", found.len());
    }
    let values = session.ask("/loki/api/v1/label/pod/values", &[("query", r#"{app="api"}"#)]).await?.json()?;
    ensure!(values["data"] == json!(["api-1"]), "{values}");
    Ok(())
}

/// Panels, annotations and the queries of an alert rule.
async fn dashboard(session: &Session) -> Result<()> {
    let query = r#"sum by (app) (count_over_time({namespace="shop"} [1h]))"#;
    let time = session.end.to_string();
    let found = points(&session.get("/loki/api/v1/query", &[("query", query), ("time", &time)]).await?.json()?, "vector")?;
    let expected: Vec<(Value, f64, f64)> =
        ["api", "web"].iter().map(|app| (json!({"app": app}), (session.end / SECOND) as f64, LINES as f64)).collect();
    ensure!(found == expected, "{found:?}");
    let annotations = [("query", r#"{app="web"} | json | level="error""#), ("limit", "3"), ("direction", "backward")];
    ensure!(entries(&session.ask(RANGE, &annotations).await?.json()?)?.len() == 3, "annotations keep to their limit");
    let refused = session.get("/loki/api/v1/query", &[("query", r#"{app="web"}"#), ("time", &time)]).await?;
    refused.require_refusal(400, "log queries are not supported as an instant query type, please change your query to a range query type")
}

async fn live_tail(session: &Session) -> Result<()> {
    let mut tail = session.tail(&[("query", r#"{app="web"} |= "line""#), ("limit", "5")]).await?;
    let now = session.end - 60 * SECOND;
    let values = [json!([(now + 1).to_string(), "a live line"])];
    let streams_pushed = json!({"streams": [{"stream": {"namespace": "shop", "app": "web", "pod": "web-1"}, "values": values}]});
    let pushed = session.push("/loki/api/v1/push", &[("Content-Type", "application/json")], streams_pushed.to_string()).await?;
    ensure!(pushed.status == 204, "{pushed:?}");
    let frame = tail.frame().await?;
    ensure!(frame["encodingFlags"] == json!(["categorize-labels"]) && frame.get("dropped_entries").is_none(), "{frame}");
    let found = streams(&frame["streams"])?;
    let (stream, value) = found.first().context("an empty frame")?;
    ensure!(stream["app"] == "web" && value[1] == "a live line" && stamp(value)? == now + 1, "{frame}");
    ensure!(value[2]["structuredMetadata"]["detected_level"] == "unknown", "{frame}");
    let mut with_history = session.tail(&[("query", r#"{app="api"}"#), ("limit", "4")]).await?;
    let history = streams(&with_history.frame().await?["streams"])?;
    let stamps = history.iter().map(|(_, value)| stamp(value)).collect::<Result<Vec<i64>>>()?;
    let newest: Vec<i64> = (LINES - 4..LINES).map(|number| session.first + number * SECOND).collect();
    ensure!(stamps == newest, "the newest lines come first, the oldest of them before the others: {history:?}");
    let refused = session.get("/loki/api/v1/tail", &[("query", r#"{app="web"}"#)]).await?;
    ensure!(refused.status == 400, "{refused:?}");
    Ok(())
}

#[test]
fn grafana_finds_what_it_looks_for() {
    drill("client-grafana", grafana);
}
