//! Clients that follow, over real sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::tests::{NOW, Surface};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    surface: Surface,
    address: String,
}

type Socket = WebSocketStream<TcpStream>;

impl World {
    async fn new(yaml: &str) -> Self {
        let surface = Surface::new(yaml).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(axum::serve(listener, surface.router.clone()).into_future());
        Self { surface, address }
    }

    async fn open(&self, parameters: &[(&str, &str)]) -> Result<Socket, Error> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let stream = TcpStream::connect(&self.address).await.expect("listens");
        client_async(format!("ws://{}/loki/api/v1/tail?{query}", self.address), stream).await.map(|(socket, _)| socket)
    }

    async fn follow(&self, parameters: &[(&str, &str)]) -> Socket {
        self.open(parameters).await.expect("upgraded")
    }

    async fn push(&self, second: i64, lines: &[&str]) {
        let values: Vec<Value> =
            lines.iter().map(|line| json!([(NOW + second * 1_000_000_000).to_string(), line, {"trace_id": "7"}])).collect();
        let pushed = self.surface.push(json!([{"stream": {"app": "a"}, "values": values}])).await;
        assert_eq!(pushed.status, 204, "{}", pushed.text);
    }
}

/// The next frame with something in it.
async fn frame(socket: &mut Socket) -> Value {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("a frame") {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("no frame but {other:?}"),
        }
    }
}

/// Reads until so many lines came; answers them by stream labels.
async fn lines(socket: &mut Socket, wanted: usize) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while found.values().map(Vec::len).sum::<usize>() < wanted {
        for stream in frame(socket).await["streams"].as_array().expect("streams") {
            let of_stream = found.entry(stream["stream"].to_string()).or_default();
            of_stream
                .extend(stream["values"].as_array().expect("values").iter().map(|value| value[1].as_str().expect("a line").to_owned()));
        }
    }
    found
}

/// Why the server closed.
async fn closing(socket: &mut Socket) -> (u16, String) {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("an end") {
            Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
            Some(Ok(_)) => {}
            other => panic!("no close message but {other:?}"),
        }
    }
}

fn only(labels: &str, lines: &[&str]) -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([(labels.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())])
}

const STREAM: &str = r#"{"app":"a","service_name":"a"}"#;

#[tokio::test]
async fn history_comes_first_and_then_what_is_pushed() {
    let world = World::new("flush_interval: 10ms").await;
    world.push(-7200, &["before the start"]).await;
    world.push(-10, &["first", "second"]).await;
    let mut all = world.follow(&[("query", r#"{app="a"}"#)]).await;
    let mut newest = world.follow(&[("query", r#"{app="a"}"#), ("limit", "1")]).await;
    assert_eq!(lines(&mut all, 2).await, only(STREAM, &["first", "second"]));
    assert_eq!(lines(&mut newest, 1).await, only(STREAM, &["second"]));
    world.push(-20, &["late"]).await;
    assert_eq!(lines(&mut all, 1).await, only(STREAM, &["late"]));
    assert_eq!(lines(&mut newest, 1).await, only(STREAM, &["late"]));
    // A push that is repeated is nothing new.
    world.push(-20, &["late"]).await;
    world.push(5, &["ahead of time"]).await;
    assert_eq!(lines(&mut all, 1).await, only(STREAM, &["ahead of time"]));
}

#[tokio::test]
async fn nothing_is_missed_or_doubled_between_history_and_live() {
    const PUSHES: i64 = 60;
    let world = World::new("flush_interval: 1ms").await;
    let pushing = async {
        for second in 0..PUSHES {
            world.push(-second, &[&format!("line {second}")]).await;
        }
    };
    let following = async {
        let mut all = Vec::new();
        for _ in 0..4 {
            let mut socket = world.follow(&[("query", r#"{app="a"} |= "line""#), ("limit", "1000")]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            all.push(tokio::spawn(async move { lines(&mut socket, PUSHES as usize).await }));
        }
        futures::future::join_all(all).await
    };
    let ((), followed) = tokio::join!(pushing, following);
    let mut expected: Vec<String> = (0..PUSHES).map(|second| format!("line {second}")).collect();
    expected.sort();
    for lines in followed {
        let mut seen: Vec<String> = lines.expect("no panic").into_values().flatten().collect();
        seen.sort();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn stages_choose_format_and_show_the_labels_of_entries() {
    let world = World::new("flush_interval: 10ms").await;
    let query = r#"{app="a"} | logfmt | level="error" | line_format "{{.x}}!""#;
    let mut socket = world.follow(&[("query", query), ("delay_for", "1")]).await;
    world.push(-1, &["level=error x=1", "level=info x=2"]).await;
    let labels = r#"{"app":"a","detected_level":"error","level":"error","service_name":"a","trace_id":"7","x":"1"}"#;
    assert_eq!(lines(&mut socket, 1).await, only(labels, &["1!"]));
}

#[tokio::test]
async fn queries_that_are_blocked_are_not_followed() {
    let world =
        World::new("limits: {blocked_queries: [{pattern: '.*secret.*', regex: true}, {types: filter, tags: {source: scraper}}]}").await;
    for (query, tags, is_blocked) in [
        (r#"{app="secret"}"#, "", true),
        (r#"{app="a"} |= "x""#, "Source=scraper", true),
        (r#"{app="a"}"#, "Source=scraper", false),
        (r#"{app="a"} |= "x""#, "", false),
    ] {
        let reply = world.surface.get_as("/loki/api/v1/tail", &[("query", query)], &[("x-query-tags", tags)]).await;
        let expected = if is_blocked { "query blocked by policy" } else { "Bad Request\n" };
        assert_eq!(reply.seen(), (400, expected), "{query} {tags}");
    }
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_before_the_upgrade() {
    let world = World::new("{}").await;
    let selector = ("query", r#"{app="a"}"#);
    for (parameters, expected) in [
        (vec![("query", "{app=")], "parse error at line 1, col 6: syntax error: unexpected $end, expecting STRING"),
        (vec![selector, ("delay_for", "6")], "delay_for can't be greater than 5"),
        (vec![selector, ("delay_for", "abc")], r#"strconv.Atoi: parsing "abc": invalid syntax"#),
        (vec![selector, ("limit", "abc")], r#"strconv.Atoi: parsing "abc": invalid syntax"#),
        (vec![selector, ("start", "abc")], r#"could not parse 'start' parameter: strconv.ParseInt: parsing "abc": invalid syntax"#),
    ] {
        let Err(Error::Http(response)) = world.open(&parameters).await else { panic!("{expected}: not refused") };
        assert_eq!(response.status(), 400);
        let reply = world.surface.get("/loki/api/v1/tail", &parameters).await;
        assert_eq!(reply.seen(), (400, expected));
    }
    assert_eq!(world.surface.get("/loki/api/v1/tail", &[selector]).await.seen(), (400, "Bad Request\n"));
}

#[tokio::test]
async fn a_tenant_has_so_many_tails_and_a_metric_query_says_nothing() {
    let world = World::new("limits: {max_concurrent_tail_requests: 1}").await;
    let mut quiet = world.follow(&[("query", r#"rate({app="a"}[1m])"#)]).await;
    // Its first ping says that it is being served.
    assert!(matches!(timeout(PATIENCE, quiet.next()).await, Ok(Some(Ok(Message::Ping(_))))));
    let mut refused = world.follow(&[("query", r#"{app="a"}"#)]).await;
    let text = "max concurrent tail requests limit exceeded, count > limit (2 > 1)".to_owned();
    assert_eq!(closing(&mut refused).await, (1011, text));
}

#[tokio::test]
async fn stopping_ends_tails() {
    let world = World::new("{}").await;
    let mut socket = world.follow(&[("query", r#"{app="a"}"#)]).await;
    world.surface.lifecycle.stop();
    assert_eq!(closing(&mut socket).await, (1011, "all ingesters closed the connection".to_owned()));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_what_it_missed() {
    const PUSHES: i64 = 60;
    const LINES: usize = 4;
    let world = World::new("flush_interval: 1ms").await;
    let mut socket = world.follow(&[("query", r#"{app="a"}"#)]).await;
    // Its first ping says that it is being served.
    assert!(matches!(timeout(PATIENCE, socket.next()).await, Ok(Some(Ok(Message::Ping(_))))));
    for second in 0..PUSHES {
        let lines: Vec<String> = (0..LINES).map(|line| format!("{second} {line} {}", "x".repeat(200_000))).collect();
        world.push(-second, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let (mut sent, mut dropped) = (0, 0);
    while sent + dropped < PUSHES as usize * LINES {
        let frame = frame(&mut socket).await;
        let streams = frame["streams"].as_array().expect("streams");
        sent += streams.iter().map(|stream| stream["values"].as_array().map_or(0, Vec::len)).sum::<usize>();
        for entry in frame["dropped_entries"].as_array().into_iter().flatten() {
            assert_eq!(entry["labels"], json!({"app": "a", "service_name": "a"}));
            dropped += 1;
        }
    }
    assert!(sent > 0 && dropped > 0, "{sent} sent, {dropped} dropped");
    assert_eq!(sent + dropped, PUSHES as usize * LINES);
}

#[tokio::test]
async fn a_tail_is_of_one_tenant() {
    let world = World::new("tenancy: {enabled: true, multi_tenant_queries: true}").await;
    let parameters = [("query", r#"{app="a"}"#)];
    let several = world.surface.get_as("/loki/api/v1/tail", &parameters, &[("x-scope-orgid", "a|b")]).await;
    assert_eq!(several.seen(), (400, "multiple org IDs present"));
    assert_eq!(world.surface.get("/loki/api/v1/tail", &parameters).await.seen(), (401, "no org id\n"));
}
