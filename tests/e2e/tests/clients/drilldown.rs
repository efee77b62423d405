//! Logs Drilldown: times as ISO 8601, every request tagged, volume first, then the tabs of a service.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tailwater_e2e::drill::{Folder, drill};

use crate::session::{Answer, LINES, SECOND, Session, entries, points};

const HEADERS: [(&str, &str); 3] = [
    ("X-Query-Tags", "Source=grafana-lokiexplore-app"),
    ("X-Loki-Response-Encoding-Flags", "categorize-labels"),
    ("Accept-Encoding", "gzip"),
];
/// More series than an answer may have.
const MANY: i64 = 520;

/// `2026-11-21T09:00:00.000Z`
fn iso(nanoseconds: i64) -> Result<String> {
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))?;
    Ok(stamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

async fn ask(session: &Session, path: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
    let (start, end) = (iso(session.first)?, iso(session.end)?);
    session.get(path, &[&[("start", start.as_str()), ("end", &end)], parameters].concat()).await
}

async fn drilldown(folder: Folder) -> Result<()> {
    let session = Session::start(&folder, &HEADERS).await?;
    session.fill().await?;
    limits(&session).await?;
    services(&session).await?;
    tabs(&session).await?;
    fields(&session).await?;
    too_many_series(&session).await
}

async fn limits(session: &Session) -> Result<()> {
    let all = session.get("/loki/api/v1/drilldown-limits", &[]).await?.json()?;
    let limits = &all["limits"];
    ensure!(limits["max_query_length"] == "30d1h" && limits["retention_period"] == "0s" && limits["max_query_series"] == 500, "{all}");
    ensure!(limits["volume_enabled"] == true && all["pattern_ingester_enabled"] == true, "{all}");
    ensure!(limits["discover_service_name"].as_array().is_some_and(|names| names[0] == "service"), "{all}");
    ensure!(limits["log_level_fields"].is_array() && all["version"].is_string(), "{all}");
    Ok(())
}

async fn services(session: &Session) -> Result<()> {
    let volume = ask(session, "/loki/api/v1/index/volume", &[("query", r#"{service_name=~".+"}"#), ("limit", "5000")]).await?.json()?;
    let found = points(&volume, "vector")?;
    let names: Vec<&str> = found.iter().filter_map(|(labels, ..)| labels["service_name"].as_str()).collect();
    ensure!(names == ["web", "api"] && found.iter().all(|point| point.2 > 0.0), "services by volume: {found:?}");
    let query = r#"sum by (detected_level) (count_over_time({service_name="web"} | drop __error__ [10s]))"#;
    let card = points(&ask(session, "/loki/api/v1/query_range", &[("query", query), ("step", "10000ms")]).await?.json()?, "matrix")?;
    let total: f64 = card.iter().map(|point| point.2).sum();
    ensure!(total == LINES as f64 && card.iter().all(|(labels, ..)| labels["detected_level"].is_string()), "{card:?}");
    let sample = [("query", r#"{service_name="web"}"#), ("limit", "20"), ("direction", "backward")];
    ensure!(entries(&ask(session, "/loki/api/v1/query_range", &sample).await?.json()?)?.len() == 20, "a sample of 20 lines");
    let shards = ask(session, "/loki/api/v1/label/__stream_shard__/values", &[("query", r#"{service_name="web"}"#)]).await?.json()?;
    ensure!(shards == json!({"status": "success"}), "{shards}");
    Ok(())
}

async fn tabs(session: &Session) -> Result<()> {
    let selector = ("query", r#"{service_name="web"}"#);
    let labels = ask(session, "/loki/api/v1/detected_labels", &[selector]).await?.json()?;
    let named = |name: &str| labels["detectedLabels"].as_array().is_some_and(|all| all.contains(&json!({"label": name, "cardinality": 1})));
    ensure!(["app", "namespace", "pod", "service_name"].into_iter().all(named), "{labels}");
    let everything = ask(session, "/loki/api/v1/detected_labels", &[("query", "")]).await?.json()?;
    ensure!(everything["detectedLabels"].as_array().is_some_and(|all| all.len() == 4), "{everything}");
    let patterns = ask(session, "/loki/api/v1/patterns", &[("query", r#"{service_name="api"}"#), ("step", "10000ms")]).await?.json()?;
    let pattern = patterns["data"][0].clone();
    let samples = pattern["samples"].as_array().context("a pattern has no samples")?;
    let count: i64 = samples.iter().filter_map(|sample| sample[1].as_i64()).sum();
    ensure!(patterns["status"] == "success" && pattern["level"] == "warn" && count == LINES, "{patterns}");
    let text = pattern["pattern"].as_str().context("a pattern has no text")?;
    ensure!(text.contains("<_>"), "{text}");
    let included = [("query", format!(r#"{{service_name="api"}} |> `{text}`"#)), ("limit", "1000".to_owned())];
    let included: Vec<(&str, &str)> = included.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let found = entries(&ask(session, "/loki/api/v1/query_range", &included).await?.json()?)?;
    ensure!(found.len() as i64 == LINES, "the pattern finds {} of its lines", found.len());
    Ok(())
}

async fn fields(session: &Session) -> Result<()> {
    let fields =
        ask(session, "/loki/api/v1/detected_fields", &[("query", r#"{service_name="api"}"#), ("line_limit", "1000")]).await?.json()?;
    let kind = |name: &str| -> Option<Value> {
        let all = fields["fields"].as_array()?;
        all.iter().find(|field| field["label"] == name).map(|field| field["type"].clone())
    };
    ensure!((kind("took"), kind("size")) == (Some(json!("duration")), Some(json!("bytes"))), "{fields}");
    let values = ask(session, "/loki/api/v1/detected_field/size/values", &[("query", r#"{service_name="api"}"#)]).await?.json()?;
    ensure!(values == json!({"values": ["2.0kB"], "limit": 1000}) || values["values"] == json!(["2kB"]), "{values}");
    let time = session.end.to_string();
    let breakdown =
        r#"sum by (status) (count_over_time({service_name="web"} | json | logfmt | drop __error__, __error_details__ | status!="" [1h]))"#;
    let found = points(&session.get("/loki/api/v1/query", &[("query", breakdown), ("time", &time)]).await?.json()?, "vector")?;
    ensure!(found.len() == 1 && (&found[0].0, found[0].2) == (&json!({"status": "200"}), LINES as f64), "{found:?}");
    let average = r#"avg_over_time({service_name="api"} | json | logfmt | drop __error__, __error_details__ | took!="" | unwrap duration(took) | __error__="" [1h]) by ()"#;
    let found = points(&session.get("/loki/api/v1/query", &[("query", average), ("time", &time)]).await?.json()?, "vector")?;
    ensure!(found.len() == 1 && found[0].2 == 1.5, "{found:?}");
    Ok(())
}

/// Drilldown gets the first series and a warning; others get a refusal.
async fn too_many_series(session: &Session) -> Result<()> {
    let values: Vec<Value> =
        (0..MANY).map(|number| json!([(session.first + number).to_string(), "x", {"id": format!("id-{number}")}])).collect();
    let body = json!({"streams": [{"stream": {"app": "many"}, "values": values}]}).to_string();
    ensure!(session.push("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await?.status == 204, "a push is refused");
    let time = (session.first + SECOND).to_string();
    let query = [("query", r#"count_over_time({app="many"} [1m])"#), ("time", time.as_str())];
    let partial = session.get("/loki/api/v1/query", &query).await?.json()?;
    let warning = "maximum number of series (500) reached for a single query; returning partial results";
    ensure!(partial["warnings"] == json!([warning]), "{}", partial["warnings"]);
    ensure!(points(&partial, "vector")?.len() == 500, "not the first 500 series");
    Ok(())
}

#[test]
fn drilldown_can_be_used_from_the_services_to_their_fields() {
    drill("client-drilldown", drilldown);
}
