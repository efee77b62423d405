//! Asks the questions and takes the time, warm: the first request of each does not count.
//!
//! Each request forbids answers from a cache. Between requests the program's own figures are read, outside the time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::Value;
use tailwater_e2e::aggregator::Aggregator;

use crate::metrics::{Metrics, STORE_READ_BYTES};
use crate::progress::Progress;
use crate::questions::{Question, Request};

const REQUEST_LIMIT: Duration = Duration::from_secs(300);
/// Of an error text in the table.
const LONGEST_TEXT: usize = 160;

/// How a question was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Right,
    Wrong(String),
    /// With an error, which is told.
    Refused(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub key: &'static str,
    pub name: &'static str,
    pub verdict: Verdict,
    /// Milliseconds of the measured requests, the shortest first; none if it was refused.
    pub milliseconds: Vec<f64>,
    /// Processor seconds of one request, on average.
    pub processor_seconds: f64,
    /// Read from the store by one request (median), where the program tells it.
    pub read_bytes: Option<f64>,
    /// Bytes of lines one request went through, as its answer tells.
    pub processed_bytes: Option<f64>,
}

impl Answered {
    pub(crate) fn median(&self) -> Option<f64> {
        self.milliseconds.get(self.milliseconds.len() / 2).copied()
    }

    pub(crate) fn longest(&self) -> Option<f64> {
        self.milliseconds.last().copied()
    }
}

pub(crate) async fn ask_all(aggregator: &Aggregator, questions: &[Question]) -> Result<Vec<Answered>> {
    let base = format!("http://{}", aggregator.address());
    let client = Client::builder().timeout(REQUEST_LIMIT).build().context("cannot make an HTTP client")?;
    let mut progress = Progress::start("asking");
    let mut answers = Vec::new();
    for question in questions {
        progress.at(|| question.name.to_owned());
        answers.push(ask(aggregator, &client, &base, question).await?);
    }
    progress.done();
    Ok(answers)
}

async fn ask(aggregator: &Aggregator, client: &Client, base: &str, question: &Question) -> Result<Answered> {
    let (key, name) = (question.key, question.name);
    let mut answered = Answered {
        key,
        name,
        verdict: Verdict::Right,
        milliseconds: Vec::new(),
        processor_seconds: 0.0,
        read_bytes: None,
        processed_bytes: None,
    };
    let mut reads = Vec::new();
    for (round, request) in question.requests.iter().enumerate() {
        let read_before = Metrics::read(base).await?.sum(STORE_READ_BYTES);
        let used_before = aggregator.usage()?.processor_seconds;
        let reply = send(client, base, request).await?;
        let used = aggregator.usage()?.processor_seconds - used_before;
        let body = match reply.body {
            Ok(body) => body,
            Err(text) => return Ok(Answered { verdict: Verdict::Refused(text), milliseconds: Vec::new(), ..answered }),
        };
        if let Err(text) = request.expected.judge(&body) {
            answered.verdict = Verdict::Wrong(format!("{text}; {:?}", request.parameters));
        }
        if round == 0 {
            continue;
        }
        answered.milliseconds.push(reply.wall.as_secs_f64() * 1e3);
        answered.processor_seconds += used / (question.requests.len() - 1) as f64;
        answered.processed_bytes = body["data"]["stats"]["summary"]["totalBytesProcessed"].as_f64().or(answered.processed_bytes);
        let read = Metrics::read(base).await?.sum(STORE_READ_BYTES);
        reads.extend(read.zip(read_before).map(|(after, before)| after - before));
    }
    answered.milliseconds.sort_unstable_by(f64::total_cmp);
    reads.sort_unstable_by(f64::total_cmp);
    answered.read_bytes = reads.get(reads.len() / 2).copied();
    Ok(answered)
}

struct Reply {
    wall: Duration,
    /// The JSON, or status and text of an error.
    body: Result<Value, String>,
}

async fn send(client: &Client, base: &str, request: &Request) -> Result<Reply> {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&request.parameters).finish();
    let url = format!("{base}{}?{query}", request.path);
    let started = Instant::now();
    let answer =
        client.get(url).header("Cache-Control", "no-cache").send().await.with_context(|| format!("asking {:?}", request.parameters))?;
    let status = answer.status();
    let text = answer.text().await?;
    let wall = started.elapsed();
    let body = if status.is_success() {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        Err(format!("{status}: {}", first_of(&text)))
    };
    Ok(Reply { wall, body })
}

fn first_of(text: &str) -> String {
    text.trim().chars().take(LONGEST_TEXT).collect()
}
