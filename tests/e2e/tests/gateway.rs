//! The gateway's own promises, with a server behind it that does what the test says.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tailwater_e2e::api::Reply;
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill};
use tailwater_e2e::gateway::{Gateway, GatewayVariables};
use tailwater_e2e::http_message::Request;
use tailwater_e2e::ports;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server behind the gateway does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    Answer(u16),
    Close,
}

/// Keeps every request that came; reacts as `plan` says to the nth.
#[derive(Clone)]
struct Behind {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Behind {
    async fn start(plan: impl Fn(usize) -> Reaction + Clone + Send + 'static) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let behind = Self { address: format!("127.0.0.1:{port}"), requests: Arc::default(), connections: Arc::default() };
        let shared = behind.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(shared.clone().handle(connection, plan.clone()));
            }
        });
        Ok(behind)
    }

    async fn handle(self, mut connection: TcpStream, plan: impl Fn(usize) -> Reaction) {
        while let Ok(Some(request)) = Request::read(&mut connection).await {
            let number = {
                let mut requests = self.requests.lock().expect("no holder of this lock panics");
                requests.push(request);
                requests.len()
            };
            let Reaction::Answer(status) = plan(number) else { return };
            let answer = match status {
                204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                _ => {
                    let body = format!("answer {number}");
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nRetry-After: 7\r\n\r\n{body}", body.len())
                }
            };
            if connection.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no holder of this lock panics").clone()
    }
}

fn head(request: &Request) -> String {
    String::from_utf8_lossy(&request.head).to_ascii_lowercase()
}

async fn push(gateway: &Gateway, bytes: usize) -> Result<Reply> {
    gateway.api()?.push(Some("application/x-protobuf"), None, vec![b'x'; bytes]).await
}

async fn routes(folder: Folder) -> Result<()> {
    let behind = Behind::start(|_| Reaction::Answer(200)).await?;
    let gateway = Gateway::start(folder.path(), &behind.address).await?;
    let api = gateway.api()?;
    for path in [
        "/loki/api/v1/push",
        "/api/prom/push",
        "/otlp/v1/logs",
        "/loki/api/v1/query",
        "/loki/api/v1/query_range",
        "/loki/api/v1/labels",
        "/loki/api/v1/label/a%2Fb/values",
        "/api/prom/query",
        "/loki/api/v1/tail",
        "/api/prom/tail",
        "/loki/api/v1/rules",
        "/loki/api/v1/rules/a/b",
        "/api/prom/rules",
        "/prometheus/api/v1/rules",
        "/prometheus/api/v1/alerts",
        "/loki/api/v1/delete",
        "/compactor/ring",
        "/ring",
        "/memberlist",
        "/ready",
        "/services",
        "/loki/api/v1/status/buildinfo",
        "/ui/",
        "/ui/a.js",
        "/tailwater/v1/status",
    ] {
        let before = behind.requests().len();
        let reply = api.get(path, &[("x", "1 2")]).await?;
        ensure!(reply.status == 200, "{path} is answered with {}", reply.status);
        let requests = behind.requests();
        let request = head(requests.get(before).context("the request did not arrive")?);
        let expected = format!("get {}?x=1+2 http/1.1", path.to_ascii_lowercase());
        ensure!(request.starts_with(&expected), "{path} arrived as {request}");
    }
    let before = behind.requests().len();
    for path in [
        "/flush",
        "/ingester/flush",
        "/ingester/shutdown",
        "/config",
        "/metrics",
        "/log_level",
        "/debug/pprof",
        "/live",
        "/internal/authz",
        "/loki/api/v1/../../../flush",
        "/loki/api/v1/%2e%2e/%2e%2e/%2e%2e/config",
        "/loki/api/v1/..%2f..%2f..%2fmetrics",
        "//flush",
        "/ready/x",
        "/loki/api/v2/query",
        "/prometheus/api/v1/query",
    ] {
        let reply = raw(&gateway, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await?;
        ensure!(reply.starts_with("HTTP/1.1 404"), "{path} is answered with {reply}");
    }
    ensure!(behind.requests().len() == before, "a path that is not exposed reached the server behind");
    ensure!(api.get("/", &[]).await? == Reply { status: 200, text: "OK\n".to_owned() }, "`/` is not the health route");
    Ok(())
}

/// Sends text as it is; the answer as text.
async fn raw(gateway: &Gateway, request: &str) -> Result<String> {
    let mut connection = TcpStream::connect(gateway.address()).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn every_route_of_loki_is_passed_on_and_admin_paths_are_not() {
    drill("gateway-routes", routes);
}

#[test]
fn a_body_at_the_limit_stays_in_memory_and_one_beyond_it_is_refused_in_lokis_words() {
    drill("gateway-limit", |folder| async move {
        let behind = Behind::start(|_| Reaction::Answer(204)).await?;
        let gateway = Gateway::start(folder.path(), &behind.address).await?;
        ensure!(push(&gateway, 16 << 20).await?.status == 204, "a body at the limit is refused");
        ensure!(behind.requests()[0].body.len() == 16 << 20, "the body did not arrive whole");
        ensure!(!gateway.log().contains("buffered to a temporary file"), "a body was spooled to disk: {}", gateway.log());
        let refused = push(&gateway, (16 << 20) + 1).await?;
        ensure!(refused.status == 413 && refused.text.starts_with("request body too large: "), "{refused:?}");
        ensure!(behind.requests().len() == 1, "the body beyond the limit was passed on");
        Ok(())
    });
}

#[test]
fn a_push_that_fails_goes_out_once_more_on_another_connection() {
    drill("gateway-retry", |folder| async move {
        for (number, first) in [Reaction::Close, Reaction::Answer(503), Reaction::Answer(502)].into_iter().enumerate() {
            let behind = Behind::start(move |count| if count == 1 { first } else { Reaction::Answer(204) }).await?;
            let gateway = Gateway::start(&folder.below(&number.to_string())?, &behind.address).await?;
            let reply = push(&gateway, 100_000).await?;
            let requests = behind.requests();
            ensure!(reply.status == 204 && requests.len() == 2, "{first:?}: {reply:?} after {} tries", requests.len());
            ensure!(
                requests[0].body == requests[1].body && requests[0].body.len() == 100_000,
                "{first:?}: the second try had another body"
            );
            ensure!(behind.connections.load(Ordering::Relaxed) >= 2, "{first:?}: the second try came on the same connection");
        }
        Ok(())
    });
}

#[test]
fn two_tries_are_all_and_refusals_are_not_tried_again() {
    drill("gateway-tries", |folder| async move {
        for (status, tries) in [(503_u16, 2), (429, 1), (400, 1), (500, 1)] {
            let behind = Behind::start(move |_| Reaction::Answer(status)).await?;
            let gateway = Gateway::start(&folder.below(&status.to_string())?, &behind.address).await?;
            let reply = push(&gateway, 10).await?;
            let came = behind.requests().len();
            ensure!(reply.status == status && came == tries, "{status}: {reply:?} after {came} tries");
            ensure!(reply.text == format!("answer {tries}"), "{status}: the text of the last try is not passed back: {reply:?}");
        }
        // No server behind it, then one that is back: nothing is remembered against it.
        let port = ports::free()?;
        let gateway = Gateway::start(&folder.below("gone")?, &format!("127.0.0.1:{port}")).await?;
        for _ in 0..5 {
            ensure!(push(&gateway, 10).await?.status == 502, "a push is acknowledged by nobody");
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let answering = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await?;
            Request::read(&mut connection).await?;
            connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            anyhow::Ok(connection)
        });
        ensure!(push(&gateway, 10).await?.status == 204, "the gateway does not come back to a server that is back");
        answering.await??;
        Ok(())
    });
}

#[test]
fn connections_behind_are_kept_and_a_clients_word_for_its_rights_is_not() {
    drill("gateway-headers", |folder| async move {
        let behind = Behind::start(|_| Reaction::Answer(204)).await?;
        let gateway = Gateway::start(folder.path(), &behind.address).await?;
        let request = "POST /loki/api/v1/push HTTP/1.1\r\nHost: logs.example.com\r\nX-Scope-OrgID: team\r\nX-Tailwater-Access: all\r\n\
                       Connection: close\r\nContent-Length: 1\r\n\r\nx";
        for _ in 0..20 {
            let answer = raw(&gateway, request).await?;
            ensure!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        }
        for request in behind.requests() {
            let head = head(&request);
            ensure!(head.contains("host: logs.example.com") && head.contains("x-scope-orgid: team"), "headers were lost: {head}");
            ensure!(!head.contains("x-tailwater-access") && !head.contains("connection:"), "headers were passed on: {head}");
        }
        // Two workers with two peers each.
        let connections = behind.connections.load(Ordering::Relaxed);
        ensure!(connections <= 4, "20 pushes took {connections} connections");
        Ok(())
    });
}

#[test]
fn a_tail_is_upgraded_and_stays_open_both_ways() {
    drill("gateway-tail", |folder| async move {
        let port = ports::free()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let gateway = Gateway::start(folder.path(), &format!("127.0.0.1:{port}")).await?;
        let mut client = TcpStream::connect(gateway.address()).await?;
        let request = "GET /loki/api/v1/tail?query=x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        client.write_all(request.as_bytes()).await?;
        let (mut server, _) = listener.accept().await?;
        let arrived = Request::read(&mut server).await?.context("the tail did not arrive")?;
        let head = head(&arrived);
        ensure!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "no upgrade arrived: {head}");
        server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfirst").await?;
        read_until(&mut client, "\r\n\r\nfirst").await?;
        client.write_all(b"ping").await?;
        read_until(&mut server, "ping").await?;
        server.write_all(b"second").await?;
        read_until(&mut client, "second").await
    });
}

async fn read_until(connection: &mut TcpStream, end: &str) -> Result<()> {
    let reading = async {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            ensure!(connection.read_buf(&mut bytes).await? > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.context("nothing came")?
}

#[test]
fn only_failures_are_logged_unless_told_otherwise() {
    drill("gateway-log", |folder| async move {
        let behind = Behind::start(|count| Reaction::Answer(if count == 1 { 204 } else { 400 })).await?;
        let tmp = folder.below("gateway")?;
        let port = ports::free()?;
        let variables = GatewayVariables { log_all: "0".to_owned(), ..GatewayVariables::new(port, &behind.address, &tmp) };
        let gateway = Gateway::start_with(folder.path(), port, &variables).await?;
        ensure!(push(&gateway, 10).await?.status == 204, "the first push is refused");
        ensure!(push(&gateway, 10).await?.status == 400, "the second push is taken");
        let log = eventually("the log of the failure", Duration::from_secs(20), || async {
            let log = gateway.log();
            ensure!(log.contains(" 400 \"POST"), "{log}");
            Ok(log)
        })
        .await?;
        ensure!(!log.contains(" 204 \"POST"), "success is logged: {log}");
        Ok(())
    });
}
