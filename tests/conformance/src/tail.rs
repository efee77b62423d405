//! Tail cases: open a WebSocket, push, gather the lines that arrive.
//!
//! The handshake goes through the HTTP client, so that a refusal is read like any other answer; frames are
//! the library's. Lines are gathered per label set and sorted, since streams may arrive in any order; what a
//! message is cut into does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use reqwest::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Response, StatusCode, Upgraded};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::answer::{Answer, Content};
use crate::canonical::canonical;
use crate::client::{Client, Request, read};
use crate::exchange::{answer_of, body_bytes, request_of};
use crate::placeholders::Placeholders;
use crate::suite::Step;

/// Lines by label set.
type Lines = BTreeMap<String, Vec<String>>;

pub(crate) async fn tail(client: &Client, step: &Step, placeholders: &Placeholders) -> Result<Answer> {
    let request = request_of(step, placeholders)?;
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let key = STANDARD.encode(random);
    let response = client.open(&request, handshake_headers(&key)?).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer_of(&read(response).await?, placeholders));
    }
    let mut socket = accept(response, &key).await?;
    sleep(Duration::from_secs_f64(step.settle)).await;
    push(client, step, &request, placeholders).await?;
    let lines = gather(&mut socket, step, placeholders).await?;
    Ok(Answer { status: 101, content: Content::Json(json!(lines)) })
}

fn handshake_headers(key: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(key)?);
    Ok(headers)
}

async fn accept(response: Response, key: &str) -> Result<WebSocketStream<Upgraded>> {
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        bail!("the server's `Sec-WebSocket-Accept` does not belong to the key sent");
    }
    let upgraded = response.upgrade().await?;
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
}

async fn push(client: &Client, step: &Step, tail: &Request, placeholders: &Placeholders) -> Result<()> {
    for body in &step.pushes {
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        headers.extend(tail.headers.iter().cloned());
        let request = Request {
            method: "POST".to_owned(),
            path: "/loki/api/v1/push".to_owned(),
            headers,
            body: Some(body_bytes(body, placeholders)?),
            ..Request::default()
        };
        client.send(&request).await?;
    }
    Ok(())
}

/// Reads messages until enough lines are there, the time is over, or the server closes.
async fn gather(socket: &mut WebSocketStream<Upgraded>, step: &Step, placeholders: &Placeholders) -> Result<Lines> {
    let deadline = Instant::now() + Duration::from_secs_f64(step.seconds);
    let mut lines = Lines::new();
    while let Ok(Some(Ok(message))) = timeout_at(deadline, socket.next()).await {
        match message {
            Message::Text(text) => add(&mut lines, text.as_str(), placeholders)?,
            Message::Binary(bytes) => add(&mut lines, &String::from_utf8_lossy(&bytes), placeholders)?,
            Message::Close(_) => break,
            _ => continue,
        }
        if lines.values().map(Vec::len).sum::<usize>() >= step.lines {
            break;
        }
    }
    for found in lines.values_mut() {
        found.sort();
    }
    Ok(lines)
}

fn add(lines: &mut Lines, message: &str, placeholders: &Placeholders) -> Result<()> {
    let message: Value = serde_json::from_str(message).context("a tail message that is no JSON")?;
    for stream in message["streams"].as_array().into_iter().flatten() {
        let labels = stream.get("stream").context("a tail message with a stream without labels")?;
        let values = stream.get("values").and_then(Value::as_array).context("a tail message with a stream without `values`")?;
        let found = lines.entry(placeholders.restore(&canonical(labels))).or_default();
        for value in values {
            let line = value.get(1).and_then(Value::as_str).context("a tail entry without a line")?;
            found.push(placeholders.restore(line));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_gathered_by_label_set() {
        let placeholders = Placeholders::new(0, "r1".to_owned());
        let mut lines = Lines::new();
        add(&mut lines, r#"{"streams":[{"stream":{"n":"a","conf":"r1"},"values":[["1","x r1"]]}]}"#, &placeholders).unwrap();
        add(&mut lines, r#"{"streams":[{"stream":{"conf":"r1","n":"a"},"values":[["2","y"]]}],"dropped_entries":null}"#, &placeholders)
            .unwrap();
        add(&mut lines, r#"{"streams":null}"#, &placeholders).unwrap();
        let want = Lines::from([(r#"{"conf": "@run", "n": "a"}"#.to_owned(), vec!["x @run".to_owned(), "y".to_owned()])]);
        assert_eq!(lines, want);
    }

    #[test]
    fn a_message_of_a_wrong_shape_is_an_error() {
        let placeholders = Placeholders::new(0, "r1".to_owned());
        for message in ["x", r#"{"streams":[{}]}"#, r#"{"streams":[{"stream":{}}]}"#, r#"{"streams":[{"stream":{},"values":[["1"]]}]}"#] {
            assert!(add(&mut Lines::new(), message, &placeholders).is_err(), "{message}");
        }
    }
}
