//! Pushes the data at full speed over a few connections.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::Client;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

use crate::progress::Progress;
use crate::pushes::Pushes;

/// Requests read ahead for each connection.
const AHEAD: usize = 2;
/// A push that the receiver has no room for is sent again, later and later.
const TRIES: u32 = 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed {
    /// From the first request to the last 2xx.
    pub wall: Duration,
    pub requests: u64,
    /// Requests sent once more.
    pub repeated: u64,
}

pub(crate) async fn push_all(pushes: &Path, url: &str, connections: usize) -> Result<Pushed> {
    let mut file = Pushes::open(pushes)?;
    let (sender, receiver) = channel::<Vec<u8>>(connections * AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let mut progress = Progress::start("pushing");
        while let Some(body) = file.next_body()? {
            progress.part(file.position, file.length);
            // Nobody listens once a connection has given up; it tells why.
            if sender.blocking_send(body).is_err() {
                break;
            }
        }
        progress.done();
        anyhow::Ok(())
    });
    let receiver = Arc::new(Mutex::new(receiver));
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(push_from(Arc::clone(&receiver), url.to_owned()));
    }
    drop(receiver);
    let (mut requests, mut repeated) = (0, 0);
    while let Some(worker) = workers.join_next().await {
        let (sent, again) = worker.context("a connection's task ended badly")??;
        (requests, repeated) = (requests + sent, repeated + again);
    }
    let wall = started.elapsed();
    reader.await.context("the reader of pushes ended badly")??;
    Ok(Pushed { wall, requests, repeated })
}

/// One connection: requests pushed and repeated.
async fn push_from(receiver: Arc<Mutex<Receiver<Vec<u8>>>>, url: String) -> Result<(u64, u64)> {
    let client = Client::builder().timeout(REQUEST_LIMIT).http1_only().build().context("cannot make an HTTP client")?;
    let (mut sent, mut repeated) = (0, 0);
    loop {
        let next = receiver.lock().await.recv().await;
        let Some(body) = next else { return Ok((sent, repeated)) };
        repeated += push(&client, &url, body).await?;
        sent += 1;
    }
}

/// How often the push had to be repeated.
async fn push(client: &Client, url: &str, body: Vec<u8>) -> Result<u64> {
    let body = bytes::Bytes::from(body);
    let mut last = String::new();
    for attempt in 0..TRIES {
        tokio::time::sleep(FIRST_PAUSE * attempt).await;
        let request = client.post(url).header("Content-Type", "application/x-protobuf").body(body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(u64::from(attempt)),
            Ok(answer) => {
                let status = answer.status();
                last = format!("{status}: {}", answer.text().await.unwrap_or_default());
                if status.is_client_error() && status.as_u16() != 429 {
                    break;
                }
            }
            Err(error) => last = error.to_string(),
        }
    }
    bail!("a push was refused: {last}")
}
