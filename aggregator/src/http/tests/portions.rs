//! Pages, exports and context over the whole surface.

use serde_json::{Value, json};

use super::{NOW, Reply, Surface, nanoseconds};

/// 30 entries of two streams, three a second, and with them as (stamp, line).
async fn filled(yaml: &str) -> Surface {
    let surface = Surface::new(yaml).await;
    let values = |app: &str| (0..15).map(|number| json!([nanoseconds(number / 3 - 60), format!("{app} {number}")])).collect::<Vec<Value>>();
    let stream = |app: &str| json!({"stream": {"app": app, "env": "x"}, "values": values(app)});
    assert_eq!(surface.push(json!([stream("a"), stream("b")])).await.seen(), (204, ""));
    surface
}

async fn ask(surface: &Surface, parameters: &[(&str, &str)]) -> Reply {
    let given = [("query", r#"{env="x"}"#), ("direction", "forward")];
    let own = |name: &str| parameters.iter().any(|(other, _)| *other == name);
    let all: Vec<(&str, &str)> = given.into_iter().filter(|(name, _)| !own(name)).chain(parameters.iter().copied()).collect();
    surface.get("/loki/api/v1/query_range", &all).await
}

/// Lines of an answer of streams, sorted.
fn lines(answer: &Value) -> Vec<String> {
    let streams = answer["data"]["result"].as_array().expect("streams");
    let values = streams.iter().flat_map(|stream| stream["values"].as_array().expect("values"));
    let mut lines: Vec<String> = values.map(|value| value[1].as_str().expect("a line").to_owned()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn pages_follow_each_other_by_their_cursors() {
    let surface = filled("{}").await;
    for direction in ["forward", "backward"] {
        let (mut cursor, mut all, mut pages) = ("start".to_owned(), Vec::new(), 0);
        loop {
            let reply = ask(&surface, &[("cursor", &cursor), ("limit", "4"), ("direction", direction)]).await;
            let answer = reply.json();
            all.extend(lines(&answer));
            pages += 1;
            match answer["data"]["cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        all.sort();
        assert_eq!(all, lines(&ask(&surface, &[("limit", "1000")]).await.json()));
        assert!((5..=9).contains(&pages), "{pages} pages of 4 entries and what ties with the last");
        let other = ask(&surface, &[("cursor", &cursor), ("query", r#"{env="y"}"#), ("direction", direction)]).await;
        assert_eq!(other.seen(), (400, "the cursor is of another query, direction or tenant, send 'start' for the first page"));
    }
    let plain = ask(&surface, &[("limit", "4")]).await.json();
    assert!(plain["data"].get("cursor").is_none() && plain["data"].get("context").is_none());
    assert_eq!(ask(&surface, &[("cursor", "start"), ("limit", "5001")]).await.status, 400, "the limit of entries holds for pages");
}

#[tokio::test]
async fn an_export_goes_beyond_the_limit_of_entries() {
    let surface = filled("limits: {max_entries_limit_per_query: 5}").await;
    assert_eq!(ask(&surface, &[("limit", "6")]).await.status, 400);
    let export = async |parameters: &[(&str, &str)]| {
        let reply = ask(&surface, &[&[("format", "ndjson")], parameters].concat()).await;
        assert_eq!((reply.status, &reply.headers["content-type"]), (200, &"application/x-ndjson".parse().expect("a header")));
        reply.text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<Value>>()
    };
    let all = export(&[]).await;
    let stamps: Vec<i64> = all.iter().map(|line| line["timestamp"].as_str().expect("a stamp").parse().expect("a number")).collect();
    assert!(all.len() == 30 && stamps.is_sorted(), "{all:?}");
    assert_eq!(all[0]["labels"]["env"], "x");
    assert_eq!(export(&[("limit", "7")]).await, all[..7]);
    let backward = export(&[("direction", "backward"), ("query", r#"{app="a"} |= "1""#)]).await;
    let texts: Vec<&str> = backward.iter().map(|line| line["line"].as_str().expect("a line")).collect();
    assert_eq!(texts, ["a 14", "a 13", "a 12", "a 11", "a 10", "a 1"]);
    assert!(export(&[("query", r#"{app="none"}"#)]).await.is_empty());
    let template = ask(&surface, &[("format", "ndjson"), ("query", r#"{app="a"} | line_format "{{ .x""#)]).await;
    assert_eq!(template.status, 400, "what fails before the first line is an answer");
    let metric = ask(&surface, &[("format", "ndjson"), ("query", r#"count_over_time({app="a"}[1m])"#)]).await;
    assert_eq!(metric.seen(), (400, "cursor, format and context are for log queries"));
}

#[tokio::test]
async fn context_comes_with_the_entries() {
    let surface = filled("limits: {max_entries_limit_per_query: 20}").await;
    let found = [("query", r#"{env="x"} |= "a 7" | line_format "hit""#), ("context_before", "2"), ("context_after", "1"), ("limit", "5")];
    let answer = ask(&surface, &found).await.json();
    assert_eq!(lines(&answer), ["hit"]);
    let context = &answer["data"]["context"][0];
    assert_eq!(context["stream"], json!({"app": "a", "env": "x", "service_name": "a"}));
    let second = |offset: i64| (NOW + offset * 1_000_000_000).to_string();
    assert_eq!(context["before"], json!([[second(-59), "a 5"], [second(-58), "a 6"]]));
    assert_eq!((&context["entry"], &context["after"]), (&json!([second(-58), "a 7"]), &json!([[second(-58), "a 8"]])));
    let much = ask(&surface, &[("context", "2"), ("limit", "5")]).await;
    assert_eq!(
        much.seen(),
        (400, "context of all entries is 25 lines, more than max_entries_limit_per_query (20), send a lower limit or ask for less context")
    );
}

#[tokio::test]
async fn entries_of_one_stamp_stay_in_order_where_that_is_asked_for() {
    let surface = Surface::new("{}").await;
    let values: Vec<Value> = (10..40).map(|number| json!([nanoseconds(-5), format!("line {number}")])).collect();
    surface.push(json!([{"stream": {"env": "x"}, "values": values}])).await;
    let order = async |parameters: &[(&str, &str)]| {
        let answer = ask(&surface, parameters).await.json();
        let values = answer["data"]["result"][0]["values"].as_array().expect("values").clone();
        values.iter().map(|value| value[1].as_str().expect("a line").to_owned()).collect::<Vec<String>>()
    };
    let came: Vec<String> = (10..40).map(|number| format!("line {number}")).collect();
    assert_eq!(order(&[("order", "stable")]).await, came);
    let backward: Vec<String> = came.iter().rev().cloned().collect();
    assert_eq!(order(&[("order", "stable"), ("direction", "backward")]).await, backward);
    assert_ne!(order(&[]).await, came, "as Loki shows them");
    assert_eq!(ask(&surface, &[("order", "wild")]).await.seen(), (400, "invalid order 'wild', stable is the only one"));
}
