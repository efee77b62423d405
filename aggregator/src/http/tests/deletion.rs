//! Retention and delete requests through the whole surface, background work included.

use std::time::{Duration, Instant};

use super::*;

const PATH: &str = "/loki/api/v1/delete";

/// More than ten times what a fold and a rewrite of a few lines take.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(60);

impl Surface {
    async fn delete_as(&self, method: &str, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = Request::builder().method(method).uri(format!("{PATH}?{query}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn delete(&self, method: &str, parameters: &[(&str, &str)]) -> Reply {
        self.delete_as(method, parameters, &[]).await
    }

    /// Asks for a delete of the last hour; returns the id.
    async fn ask(&self, query: &str) -> String {
        let start = (NOW / 1_000_000_000 - 3600).to_string();
        let reply = self.delete("POST", &[("query", query), ("start", &start)]).await;
        assert_eq!(reply.seen(), (204, ""), "{query}");
        reply.headers["x-delete-request-id"].to_str().expect("text").to_owned()
    }

    /// Lines of the last two hours, the oldest first.
    async fn lines(&self, query: &str) -> Vec<String> {
        let parameters = [("query", query), ("direction", "forward"), ("since", "2h")];
        let answer = self.get("/loki/api/v1/query_range", &parameters).await.json();
        let streams = answer["data"]["result"].as_array().expect("streams");
        let values = streams.iter().flat_map(|stream| stream["values"].as_array().expect("values").clone());
        let mut lines: Vec<String> = values.map(|value| value[1].as_str().expect("a line").to_owned()).collect();
        lines.sort();
        lines
    }

    async fn count(&self, query: &str) -> u64 {
        let query = format!("sum(count_over_time({query}[2h]))");
        let answer = self.get("/loki/api/v1/query", &[("query", &query)]).await.json();
        answer["data"]["result"][0]["value"][1].as_str().map_or(0, |count| count.parse().expect("a number"))
    }

    async fn stored_entries(&self, query: &str) -> u64 {
        let stats = self.get("/loki/api/v1/index/stats", &[("query", query), ("since", "2h")]).await.json();
        stats["entries"].as_u64().expect("a number")
    }

    async fn push_lines(&self, app: &str, lines: &[(i64, &str)]) {
        let values: Vec<Value> = lines.iter().map(|(second, line)| json!([nanoseconds(*second), line])).collect();
        assert_eq!(self.push(json!([{"stream": {"app": app}, "values": values}])).await.status, 204);
    }

    async fn listed(&self) -> Vec<Value> {
        self.delete("GET", &[]).await.json().as_array().expect("a list").clone()
    }

    /// Waits until background work has made a metric at least this.
    pub(super) async fn eventually(&self, metric: &str, least: f64) {
        let begun = Instant::now();
        loop {
            let metrics = self.get("/metrics", &[]).await.text;
            let value = metrics.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse::<f64>().ok());
            if value.is_some_and(|value| value >= least) {
                return;
            }
            assert!(begun.elapsed() < BACKGROUND_LIMIT, "{metric} is {value:?}, not {least}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_delete_hides_at_once_and_a_withdrawn_one_no_more() {
    let surface = Surface::new("{}").await;
    surface.push_lines("a", &[(-4000, "old secret"), (-60, "a secret"), (-30, "plain")]).await;
    surface.push_lines("b", &[(-60, "b secret")]).await;
    let id = surface.ask(r#"{app="a"} |= "secret""#).await;
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["b secret", "old secret", "plain"]);
    assert_eq!(surface.lines(r#"{app="a"} |= "secret""#).await, ["old secret"]);
    assert_eq!((surface.count(r#"{app="a"}"#).await, surface.stored_entries(r#"{app="a"}"#).await), (2, 2));
    let listed = surface.listed().await;
    let expected = json!({
        "request_id": id, "start_time": NOW / 1_000_000_000 - 3600, "end_time": NOW / 1_000_000_000, "query": "{app=\"a\"} |= \"secret\"",
        "status": "received", "created_at": NOW / 1_000_000_000, "user_id": "",
    });
    assert_eq!(listed, [expected]);
    let whole = surface.ask(r#"{app="b"}"#).await;
    assert_eq!(surface.get("/loki/api/v1/label/app/values", &[]).await.json()["data"], json!(["a"]));
    assert_eq!(surface.delete("DELETE", &[("request_id", &id)]).await.seen(), (204, ""));
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["a secret", "old secret", "plain"]);
    assert_eq!(surface.delete("DELETE", &[("request_id", &whole)]).await.seen(), (204, ""));
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await.len(), 4);
    assert_eq!(surface.listed().await, Vec::<Value>::new());
}

#[tokio::test]
async fn deletes_are_refused_with_lokis_texts() {
    let surface = Surface::new("{}").await;
    let selector = ("query", r#"{app="a"}"#);
    let start = ("start", "1768900000");
    for (method, parameters, status, text) in [
        ("POST", vec![], 400, "query not set"),
        ("PUT", vec![selector], 400, "start time not set"),
        ("POST", vec![selector, ("start", "x")], 400, "invalid start time: require unix seconds or RFC3339 format"),
        ("POST", vec![selector, start, ("end", "x")], 400, "invalid end time: require unix seconds or RFC3339 format"),
        ("POST", vec![selector, start, ("end", "2026-01-20T10:00:01Z")], 400, "deletes in the future are not allowed"),
        ("POST", vec![selector, start, ("end", "1768900000")], 400, "start time can't be greater than or equal to end time"),
        ("POST", vec![selector, start, ("max_interval", "x")], 400, "invalid max_interval: valid time units are 's', 'm', 'h'"),
        ("DELETE", vec![], 404, "could not find delete request with given id"),
        ("DELETE", vec![("request_id", "01K00000000000000000000000")], 404, "could not find delete request with given id"),
        ("GET", vec![start, ("end", "x")], 400, "invalid end time: require unix seconds or RFC3339 format"),
        ("HEAD", vec![], 405, ""),
        ("PATCH", vec![], 405, ""),
    ] {
        assert_eq!(surface.delete(method, &parameters).await.seen(), (status, text), "{method} {parameters:?}");
    }
    assert_eq!(surface.delete("GET", &[]).await.seen(), (200, "[]\n"));
}

#[tokio::test]
async fn requests_are_listed_by_the_range_they_meet_and_cancelled_late_only_by_force() {
    let surface = Surface::new("retention: {cancel_period: 1h}").await;
    let made = surface.delete("PUT", &[("query", r#"{app="a"}"#), ("start", "1768900000"), ("end", "2026-01-20T09:10:00.5Z")]).await;
    assert_eq!(made.status, 204, "{}", made.text);
    let id = made.headers["x-delete-request-id"].to_str().expect("text").to_owned();
    for (start, end, expected) in
        [("1768899000", "1768899999", 0), ("1768899000", "1768900000", 1), ("1768900200", "1768903000", 1), ("1768900201", "1768903000", 0)]
    {
        let listed = surface.delete("GET", &[("start", start), ("end", end)]).await.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(expected), "{start} {end}");
    }
    assert_eq!(surface.listed().await[0]["end_time"], json!(1_768_900_200.5));
    surface.clock.set(NOW + 3_600_000_000_000);
    let late = surface.delete("DELETE", &[("request_id", &id)]).await;
    assert_eq!(late.status, 400, "{}", late.text);
    assert!(late.text.contains("force=true"), "{}", late.text);
    let forced = surface.delete("DELETE", &[("request_id", &id), ("force", "true")]).await;
    // Background work may have been faster.
    assert!(forced.status == 204 || surface.listed().await[0]["status"] == "processed", "{}", forced.text);
}

#[tokio::test]
async fn deletes_are_of_one_tenant_and_as_its_mode_says() {
    let surface = Surface::new("tenancy: {enabled: true}\noverrides: {off: {deletion_mode: disabled}}").await;
    let parameters = [("query", r#"{app="a"}"#), ("start", "1768900000")];
    assert_eq!(surface.delete("POST", &parameters).await.seen(), (401, "no org id\n"));
    let made = surface.delete_as("POST", &parameters, &[("x-scope-orgid", "one")]).await;
    let id = made.headers["x-delete-request-id"].to_str().expect("text").to_owned();
    let of = async |tenant: &str, method: &str, parameters: &[(&str, &str)]| {
        surface.delete_as(method, parameters, &[("x-scope-orgid", tenant)]).await
    };
    assert_eq!(of("one", "GET", &[]).await.json().as_array().map(Vec::len), Some(1));
    assert_eq!(of("two", "GET", &[]).await.seen(), (200, "[]\n"));
    assert_eq!(of("two", "DELETE", &[("request_id", &id)]).await.status, 404);
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(of("off", method, &parameters).await.seen(), (400, "Retention is not enabled"), "{method}");
    }
}

#[tokio::test]
async fn what_a_delete_names_is_erased_and_the_rest_stays() {
    let surface = Surface::new("retention: {cancel_period: 0s}\ncompaction: {compact_after: 0s}").await;
    surface.push_lines("a", &[(-60, "a secret"), (-30, "plain")]).await;
    surface.push_lines("b", &[(-60, "b secret")]).await;
    let id = surface.ask(r#"{app="a"} |= "secret""#).await;
    surface.eventually("tailwater_retention_processed_requests_total", 1.0).await;
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["b secret", "plain"]);
    assert_eq!(surface.listed().await[0]["status"], "processed");
    let refused = surface.delete("DELETE", &[("request_id", &id), ("force", "true")]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    // Nothing of it is in the files that count, whatever is hidden.
    let tenant = tailwater_storage::entry::TenantId::new("fake");
    let rows: u64 = surface.parts.catalog.manifest(&tenant).files().map(|file| file.rows).sum();
    assert_eq!((rows, surface.parts.catalog.segment_count()), (2, 0));
    // Sent again it is hidden again.
    surface.push_lines("a", &[(-60, "a secret")]).await;
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["b secret", "plain"]);
}

#[tokio::test]
async fn filter_only_hides_and_erases_nothing() {
    let yaml = "retention: {cancel_period: 0s}\ncompaction: {compact_after: 0s}\nlimits: {deletion_mode: filter-only}";
    let surface = Surface::new(yaml).await;
    surface.push_lines("a", &[(-60, "a secret"), (-30, "plain")]).await;
    let id = surface.ask(r#"{app="a"} |= "secret""#).await;
    surface.eventually("tailwater_compaction_folds_total", 1.0).await;
    assert_eq!(surface.lines(r#"{app="a"}"#).await, ["plain"]);
    assert_eq!(surface.delete("DELETE", &[("request_id", &id), ("force", "true")]).await.status, 204);
    assert_eq!(surface.lines(r#"{app="a"}"#).await, ["a secret", "plain"]);
}

#[tokio::test]
async fn retention_hides_by_stream_at_once_and_files_are_rewritten_without_it() {
    let rules = "limits: {retention_period: 1h, retention_stream: [{selector: '{app=\"short\"}', priority: 1, period: 40s}]}";
    let surface = Surface::new(&format!("{rules}\ncompaction: {{compact_after: 0s}}")).await;
    // In one push, so in one file.
    let streams = json!([
        {"stream": {"app": "short"}, "values": [[nanoseconds(-41), "past"], [nanoseconds(-40), "kept for forty seconds"]]},
        {"stream": {"app": "long"}, "values": [[nanoseconds(-3601), "past its hour"], [nanoseconds(-41), "within its hour"]]},
    ]);
    assert_eq!(surface.push(streams).await.status, 204);
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["kept for forty seconds", "within its hour"]);
    assert_eq!((surface.count(r#"{app="short"}"#).await, surface.stored_entries(r#"{app=~".+"}"#).await), (1, 2));
    let limits = surface.get("/loki/api/v1/drilldown-limits", &[]).await.json();
    assert_eq!(limits["limits"]["retention_period"], "1h");
    surface.eventually("tailwater_compaction_folds_total", 1.0).await;
    // Half an hour, not enough to be taken for a jump of the clock.
    surface.clock.set(NOW + 1800 * 1_000_000_000);
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["within its hour"]);
    assert_eq!(surface.get("/loki/api/v1/label/app/values", &[("since", "2h")]).await.json()["data"], json!(["long"]));
    surface.eventually("tailwater_retention_rewritten_files_total", 1.0).await;
    let tenant = tailwater_storage::entry::TenantId::new("fake");
    assert_eq!(surface.parts.catalog.manifest(&tenant).files().map(|file| file.rows).sum::<u64>(), 1);
    assert_eq!(surface.lines(r#"{app=~".+"}"#).await, ["within its hour"]);
}

#[tokio::test]
async fn a_clock_that_jumps_hides_lines_but_drops_none() {
    let surface = Surface::new("limits: {retention_period: 10m}\ncompaction: {compact_after: 0s}").await;
    surface.push_lines("a", &[(-60, "young")]).await;
    surface.eventually("tailwater_compaction_folds_total", 1.0).await;
    surface.clock.set(NOW + 10 * 365 * 86_400 * 1_000_000_000);
    surface.eventually("tailwater_retention_held", 1.0).await;
    assert_eq!(surface.lines(r#"{app="a"}"#).await, Vec::<String>::new());
    surface.clock.set(NOW);
    assert_eq!(surface.lines(r#"{app="a"}"#).await, ["young"]);
    let tenant = tailwater_storage::entry::TenantId::new("fake");
    assert_eq!(surface.parts.catalog.manifest(&tenant).files().len(), 1);
}

#[tokio::test]
async fn a_size_that_is_exceeded_costs_the_oldest_files() {
    let surface = Surface::new("limits: {retention_bytes: 1}\ncompaction: {compact_after: 0s}").await;
    surface.push_lines("a", &[(-60, "too much")]).await;
    surface.eventually("tailwater_retention_dropped_files_total", 1.0).await;
    assert_eq!(surface.lines(r#"{app="a"}"#).await, Vec::<String>::new());
}
