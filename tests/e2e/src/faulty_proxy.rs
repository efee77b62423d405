//! A hop that breaks a promise on purpose, to prove that the oracle sees it.
//!
//! It stands between gateway and aggregator and handles one request a connection. Every fault is counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http_message::Request;
use crate::ports;
use crate::wire;

/// What goes wrong with every `every`th push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is acknowledged and not passed on: an acknowledgement before the data is stored.
    AcknowledgeUnstored { every: u64 },
    /// It is stored, and the connection closes without an answer. This breaks no promise: the retry is the same.
    LoseAnswer { every: u64 },
    /// It is stored, its answer is lost, and the retry comes with another stamp: a sender whose replays differ.
    LoseAnswerAndAlterRetry { every: u64 },
    /// One of its lines is stored a letter shorter: a hop that changes text.
    AlterText { every: u64 },
}

/// A handle to the counts; the proxy runs in tasks of the drill's runtime.
#[derive(Debug, Clone)]
pub struct FaultyProxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    upstream: String,
    pushes: AtomicU64,
    faults: AtomicU64,
    /// Bodies whose answer was lost.
    unanswered: Mutex<HashSet<Vec<u8>>>,
}

/// What to do with a request.
enum Plan {
    PassOn(Vec<u8>),
    PassOnAndClose(Vec<u8>),
    Acknowledge,
}

impl FaultyProxy {
    /// Listens in front of `upstream` (`host:port`).
    pub async fn start(upstream: &str, fault: Fault) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot start the faulty proxy")?;
        let state = State {
            fault,
            upstream: upstream.to_owned(),
            pushes: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            unanswered: Mutex::default(),
        };
        let proxy = Self { port, state: Arc::new(state) };
        let state = Arc::clone(&proxy.state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    if let Err(error) = state.handle(client).await {
                        println!("faulty proxy: {error:#}");
                    }
                });
            }
        });
        Ok(proxy)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes that came, retries among them.
    pub fn pushes(&self) -> u64 {
        self.state.pushes.load(Ordering::Relaxed)
    }

    /// Faults done.
    pub fn faults(&self) -> u64 {
        self.state.faults.load(Ordering::Relaxed)
    }
}

impl State {
    async fn handle(&self, mut client: TcpStream) -> Result<()> {
        let Some(request) = Request::read(&mut client).await? else { return Ok(()) };
        let plan = if request.is_push() { self.plan(&request)? } else { Plan::PassOn(request.closing(&request.body)) };
        match plan {
            Plan::PassOn(bytes) => {
                let answer = self.ask(&bytes).await?;
                client.write_all(&answer).await?;
            }
            Plan::PassOnAndClose(bytes) => {
                let answer = self.ask(&bytes).await?;
                anyhow::ensure!(answer.starts_with(b"HTTP/1.1 204"), "the push whose answer is lost was not stored");
            }
            Plan::Acknowledge => client.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await?,
        }
        client.shutdown().await.context("cannot close a connection")
    }

    fn plan(&self, request: &Request) -> Result<Plan> {
        let count = self.pushes.fetch_add(1, Ordering::Relaxed) + 1;
        let was_unanswered = self.unanswered.lock().expect("no holder of this lock panics").remove(&request.body);
        let as_it_is = || request.closing(&request.body);
        let is_due = |every: u64| count.is_multiple_of(every) && !was_unanswered;
        Ok(match self.fault {
            Fault::AcknowledgeUnstored { every } if is_due(every) => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                Plan::Acknowledge
            }
            Fault::LoseAnswer { every } if is_due(every) => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                Plan::PassOnAndClose(self.remember(request, as_it_is()))
            }
            Fault::LoseAnswerAndAlterRetry { every } if is_due(every) => Plan::PassOnAndClose(self.remember(request, as_it_is())),
            Fault::LoseAnswerAndAlterRetry { .. } if was_unanswered => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                Plan::PassOn(request.closing(&wire::with_altered_stamp(&request.body)?))
            }
            Fault::AlterText { every } if is_due(every) => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                Plan::PassOn(request.closing(&wire::with_altered_line(&request.body)?))
            }
            _ => Plan::PassOn(as_it_is()),
        })
    }

    fn remember(&self, request: &Request, bytes: Vec<u8>) -> Vec<u8> {
        self.unanswered.lock().expect("no holder of this lock panics").insert(request.body.clone());
        bytes
    }

    /// Sends a request on a connection of its own and takes all that comes back.
    async fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        let mut server = TcpStream::connect(&self.upstream).await.context("the server is not there")?;
        server.write_all(request).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}
