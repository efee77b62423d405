//! A proxy that only counts: pushes that were sent whole and have no answer yet.
//!
//! It passes bytes on as they come. A push is in flight from the moment its last byte was passed on until the first byte of
//! the answer arrives or a side closes the connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::http_message::RequestEnds;
use crate::ports;

const BUFFER: usize = 64 << 10;

/// A handle to the counts; the proxy runs in tasks of the drill's runtime.
#[derive(Debug, Clone)]
pub struct InFlightProxy {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Since when, by connection.
    waiting: Mutex<BTreeMap<u64, Instant>>,
    connections: AtomicU64,
    pushes: AtomicU64,
}

impl InFlightProxy {
    /// Listens in front of `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot start the counting proxy")?;
        let proxy = Self { port, counts: Arc::default() };
        let (counts, upstream) = (Arc::clone(&proxy.counts), upstream.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, upstream.clone(), Arc::clone(&counts)));
            }
        });
        Ok(proxy)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes in flight that were so at `moment` already.
    pub fn in_flight_since(&self, moment: Instant) -> usize {
        self.counts.waiting().values().filter(|since| **since <= moment).count()
    }

    /// Pushes passed on so far.
    pub fn pushes(&self) -> u64 {
        self.counts.pushes.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.waiting.lock().expect("no holder of this lock panics")
    }
}

async fn pass_on(client: TcpStream, upstream: String, counts: Arc<Counts>) {
    // A server that is not there shows to the client as a closed connection.
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    for connection in [&client, &server] {
        drop(connection.set_nodelay(true));
    }
    let id = counts.connections.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever side ends first ends both.
    tokio::select! {
        _ = pass_requests(id, from_client, to_server, &counts) => {}
        _ = pass_answers(id, from_server, to_client, &counts) => {}
    }
    counts.waiting().remove(&id);
}

async fn pass_requests(id: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: &Counts) -> Result<()> {
    let mut ends = RequestEnds::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        match ends.feed(&buffer[..read]) {
            Ok(true) => {
                counts.pushes.fetch_add(1, Ordering::Relaxed);
                counts.waiting().insert(id, Instant::now());
            }
            Ok(false) => {}
            Err(error) => {
                println!("the counting proxy cannot read a request: {error}");
                return Err(error);
            }
        }
    }
}

async fn pass_answers(id: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: &Counts) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        counts.waiting().remove(&id);
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deadline::eventually;
    use crate::http_message::Request;

    #[tokio::test]
    async fn a_push_is_in_flight_until_its_answer_begins() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = InFlightProxy::start(&server.local_addr().unwrap().to_string()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        client.write_all(b"POST /loki/api/v1/push HTTP/1.1\r\nContent-Length: 2\r\n\r\n1").await.unwrap();
        assert_eq!(proxy.in_flight_since(Instant::now()), 0);
        client.write_all(b"2").await.unwrap();
        Request::read(&mut accepted).await.unwrap().unwrap();
        let count = |expected: usize| {
            let proxy = proxy.clone();
            async move {
                eventually("the count", Duration::from_secs(20), || async {
                    let counted = proxy.in_flight_since(Instant::now());
                    anyhow::ensure!(counted == expected, "{counted} are in flight");
                    Ok(())
                })
                .await
                .unwrap();
            }
        };
        count(1).await;
        assert_eq!(proxy.in_flight_since(Instant::now() - Duration::from_secs(60)), 0);
        accepted.write_all(b"H").await.unwrap();
        count(0).await;
        assert_eq!(proxy.pushes(), 1);
    }
}
