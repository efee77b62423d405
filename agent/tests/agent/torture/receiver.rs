//! Cases 52 to 57: the receiver. Case 56, five hundred agents at once, is simulated in `push::gate`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tailwater_agent::config::MetadataMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact, faults};
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, gzip, numbered, wait_until};

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// 52. The receiver is down under load, within what the node keeps.
#[tokio::test(flavor = "multi_thread")]
async fn case_52_an_outage_is_bridged_by_the_files_and_not_by_memory_or_disk() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let program = Program::start(&node, &recorder.url());
    writer.lines(1000);
    recorder.wait_for(1000).await;
    recorder.behave(|_| Reaction::Refuse(503));
    let mut rotated = Vec::new();
    let mut resident = Vec::new();
    for round in 0..30 {
        writer.lines(5000);
        if round % 6 == 5 {
            rotated.push(writer.container.rotate());
            if let [older @ .., _] = rotated.as_slice()
                && let Some(path) = older.last()
            {
                gzip(path);
            }
        }
        pause(60).await;
        resident.push(program.resident());
    }
    let grown = resident[29].saturating_sub(resident[14]);
    assert!(grown < 8 << 20, "memory grew by {} KiB in the second half of the outage", grown >> 10);
    let on_disk: u64 = std::fs::read_dir(node.data()).unwrap().flatten().map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(on_disk < 100_000, "{on_disk} bytes in the data directory");
    recorder.behave(|_| Reaction::Store);
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
}

/// 53. 429 with and without a wait asked for; one tenant limited, another not.
#[tokio::test(flavor = "multi_thread")]
async fn case_53_a_limited_tenant_waits_and_another_does_not() {
    let (node, limited, free) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    limited.behave(|number| if number % 2 == 0 { Reaction::Limit(1) } else { Reaction::Refuse(429) });
    let yaml = node.data().with_file_name("promtail.yaml");
    let client = |name: &str, recorder: &Recorder| {
        format!(
            "- {{name: {name}, url: '{}', tenant_id: {name}, backoff_config: {{min_period: 20ms, max_period: 100ms}}}}\n",
            recorder.url()
        )
    };
    let text = format!(
        "server: {{disable: true}}\nclients:\n{}{}positions: {{filename: {}}}\nscrape_configs:\n- job_name: t\n  pipeline_stages: [{{cri: {{}}}}]\n  \
         static_configs: [{{targets: [localhost], labels: {{container: app, __path__: '{}'}}}}]\n",
        client("limited", &limited),
        client("free", &free),
        node.data().join("positions.yaml").display(),
        writer.container.live().display()
    );
    std::fs::write(&yaml, text).unwrap();
    let _program = Program::start_with(&node, &free.url(), &["--promtail-config", yaml.to_str().unwrap()]);
    for round in 0..10 {
        writer.lines(50);
        if round == 5 {
            writer.container.rotate();
        }
        free.wait_for(writer.total()).await;
    }
    assert_eq!(limited.count(), 0, "all of the free tenant's lines are there and none of the other's");
    assert!(limited.pushes() > 0);
    limited.behave(|_| Reaction::Store);
    limited.wait_for(writer.total()).await;
    assert_exact(&free, &[&writer]);
    assert_exact(&limited, &[&writer]);
    assert_eq!(limited.last_headers()["x-scope-orgid"], "limited");
}

/// Case 54, 413: halves are sent until one entry is too large by itself; of that, what the receiver takes is sent.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_an_entry_too_large_for_the_receiver_is_sent_without_its_end() {
    const LIMIT: usize = 20_000;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::StoreUpTo(LIMIT));
    let mut numbers = Numbers(54);
    // Hardly compressible.
    let long: String = (0..100_000).map(|_| char::from(33 + u8::try_from(numbers.below(90)).unwrap())).collect();
    let mut container = node.container("app");
    container.lines(0..500);
    container.line(&long);
    container.lines(500..1000);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(1001).await;
    let mut stored = recorder.lines()["app/stdout"].clone();
    let short = stored.remove(500);
    assert_eq!(stored, numbered(0..1000), "the others are as they were");
    let (head, suffix) = short.split_once("...[truncated ").unwrap();
    assert!(long.starts_with(head) && head.len() > LIMIT / 2 && short.len() < LIMIT, "{} bytes", short.len());
    assert_eq!(suffix, format!("{} bytes]", long.len() - head.len()));
    wait_until("the last answer", || agent.handle.metrics().lines_acknowledged >= 1001, || agent.handle.render_metrics()).await;
    assert_eq!(agent.metric("mutated_lines_total{reason=\"line_too_long\"}"), 1.0);
    assert_eq!(agent.handle.metrics().lines_dropped, 0);
    agent.assert_balanced();
    agent.stop().await;
}

/// 54. Every answer that is no success, and no answer at all.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_each_answer_has_its_consequence_and_only_named_entries_are_dropped() {
    // 400 that names one bad entry: the others stand, it is counted.
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::StoreAllBut("line 3"));
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(9).await;
    wait_until("the count", || agent.handle.metrics().lines_dropped == 1, || format!("{:?}", agent.handle.metrics())).await;
    assert_eq!(agent.metric("dropped_lines_total{reason=\"ingester_error\"}"), 1.0);
    assert_eq!(agent.metric("balance_errors_total"), 0.0);
    agent.stop().await;
    // What blocks, what is tried again, and what is sent in halves: nothing is dropped.
    type Behaviour = fn(u64) -> Reaction;
    let table: [(&str, Behaviour); 6] = [
        ("413", |number| if number <= 3 { Reaction::Refuse(413) } else { Reaction::Store }),
        ("401", |number| if number <= 5 { Reaction::Refuse(401) } else { Reaction::Store }),
        ("403", |number| if number <= 5 { Reaction::Refuse(403) } else { Reaction::Store }),
        ("404", |number| if number <= 5 { Reaction::Refuse(404) } else { Reaction::Store }),
        ("503", |number| if number <= 5 { Reaction::Refuse(503) } else { Reaction::Store }),
        ("507", |number| if number % 2 == 1 { Reaction::Refuse(507) } else { Reaction::Store }),
    ];
    for (status, behaviour) in table {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        recorder.behave(behaviour);
        let mut writer = Sequence::new(node.container("app"));
        writer.lines(100);
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(100).await;
        assert_exact(&recorder, &[&writer]);
        assert_eq!(agent.handle.metrics().lines_dropped, 0, "{status}");
        let is_over = || agent.metric(&format!("blocked{{status=\"{status}\"}}")) == 0.0;
        wait_until("the end of the block", is_over, || agent.handle.render_metrics()).await;
        agent.assert_balanced();
        agent.stop().await;
    }
    // A receiver that speaks no TLS, and a name that does not exist: nothing is lost until there is a right one.
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    for wrong in [recorder.url().replace("http://", "https://"), "http://tailwater.invalid/loki/api/v1/push".to_owned()] {
        writer.lines(50);
        let mut config = node.config(&wrong);
        config.metadata = MetadataMode::Standard;
        config.shutdown_timeout = Duration::from_millis(100);
        let agent = Agent::start(config).await;
        wait_until(
            "a failed attempt",
            || agent.metric("push_requests_total{outcome=\"retried\"}") >= 2.0,
            || agent.handle.render_metrics(),
        )
        .await;
        assert_eq!((agent.handle.metrics().lines_dropped, recorder.count()), (0, 0));
        agent.stop().await;
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(100).await;
    assert_exact(&recorder, &[&writer]);
    agent.stop().await;
}

/// What a front does with a connection, by its number.
#[derive(Clone, Copy)]
enum Manner {
    /// A byte now and then, and never an answer.
    SlowReader,
    /// Reads the head of the request, then nothing more.
    StopsAfterHead,
    /// Passes the request on, and of the answer only the head.
    HangsInAnswer,
    /// Closes in the middle of the request.
    Closes,
    Passes,
}

/// Stands before a receiver and misbehaves.
struct Front {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
}

impl Front {
    async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self { address: listener.local_addr().unwrap(), connections: Arc::default() };
        let connections = Arc::clone(&front.connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::Relaxed);
                let manner = match number {
                    0 | 5 => Manner::SlowReader,
                    1 | 6 => Manner::StopsAfterHead,
                    2 | 7 => Manner::HangsInAnswer,
                    3 | 8 => Manner::Closes,
                    _ => Manner::Passes,
                };
                tokio::spawn(serve(client, upstream, manner));
            }
        });
        front
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, manner: Manner) {
    let mut buffer = vec![0; 1000];
    let patience = Duration::from_secs(60);
    match manner {
        Manner::SlowReader => {
            while client.read_exact(&mut buffer[..1]).await.is_ok() {
                pause(50).await;
            }
        }
        Manner::StopsAfterHead => {
            client.read_exact(&mut buffer[..100]).await.ok();
            tokio::time::sleep(patience).await;
        }
        Manner::HangsInAnswer => {
            let Ok(mut server) = TcpStream::connect(upstream).await else { return };
            let (mut from_client, mut to_client) = client.split();
            let (from_server, mut to_server) = server.split();
            let answered = async {
                from_server.readable().await.ok();
                to_client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await.ok();
                tokio::time::sleep(patience).await;
            };
            tokio::join!(async { tokio::io::copy(&mut from_client, &mut to_server).await.ok() }, answered);
        }
        Manner::Closes => {
            client.read_exact(&mut buffer).await.ok();
        }
        Manner::Passes => {
            if let Ok(mut server) = TcpStream::connect(upstream).await {
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            }
        }
    }
}

/// 55. A receiver that reads slowly, hangs, or closes in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn case_55_receivers_that_hang_or_close_are_given_up_and_asked_again() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let front = Front::start(recorder.address).await;
    let mut config = node.config(&format!("http://{}/loki/api/v1/push", front.address));
    config.metadata = MetadataMode::Standard;
    config.client.timeout = Duration::from_millis(400);
    let mut writer = Sequence::new(node.container("app"));
    writer.payload = 1000;
    let agent = Agent::start(config).await;
    for _ in 0..10 {
        writer.lines(200);
        pause(50).await;
    }
    recorder.wait_for(writer.total()).await;
    wait_until("all manners", || front.connections.load(Ordering::Relaxed) >= 5, String::new).await;
    assert_exact(&recorder, &[&writer]);
    agent.assert_balanced();
    agent.stop().await;
}

/// 57. Two clients, one dead for ever.
#[tokio::test(flavor = "multi_thread")]
async fn case_57_a_dead_client_does_not_hold_up_the_other_and_its_loss_is_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let yaml = node.data().with_file_name("promtail.yaml");
    let text = format!(
        "server: {{disable: true}}\nclients:\n- {{name: live, url: '{}'}}\n- {{name: dead, url: 'http://127.0.0.1:9/push', batchsize: 10000, backoff_config: {{max_period: 200ms}}}}\n\
         positions: {{filename: {}}}\nscrape_configs:\n- job_name: t\n  pipeline_stages: [{{cri: {{}}}}]\n  \
         static_configs: [{{targets: [localhost], labels: {{container: app, __path__: '{}'}}}}]\ntarget_config: {{sync_period: 300ms}}\n",
        recorder.url(),
        node.data().join("positions.yaml").display(),
        writer.container.live().display()
    );
    std::fs::write(&yaml, text).unwrap();
    let flags = ["--promtail-config", yaml.to_str().unwrap(), "--deleted-hold-bytes", "200KB"];
    let program = Program::start_with(&node, &recorder.url(), &flags);
    for _ in 0..8 {
        writer.lines(1000);
        recorder.wait_for(writer.total()).await;
        let rotated = writer.container.rotate();
        pause(700).await;
        std::fs::remove_file(rotated).unwrap();
    }
    assert!(faults(&recorder, &[&writer]).is_empty(), "{:?}", faults(&recorder, &[&writer]));
    assert_eq!(recorder.all().len(), writer.total());
    program.wait_for_metric("tailwater_agent_possible_loss_total{reason=\"deleted_hold\"}", |count| count >= 1.0).await;
}
