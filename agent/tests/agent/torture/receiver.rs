//! Cases 52 to 57: the receiver. Case 56, five hundred agents at once, is simulated in `push::gate`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailwater_agent::config::MetadataMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{is_full, pause};
use crate::observe::ask;
use crate::support::fronts::{Authority, Door, TlsFront, pass_on};
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact, faults};
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, gzip, numbered, wait_until};

/// 52. The receiver is down under load, within what the node keeps: first it is not there, then it says that it is not. What half an hour of 5 MB/s is in bytes,
/// in full; what half a minute of it is otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn case_52_an_outage_is_bridged_by_the_files_and_not_by_memory_or_disk() {
    let bytes = 5_000_000
        * match (is_full(), cfg!(debug_assertions)) {
            (true, _) => 1800,
            (false, false) => 30,
            (false, true) => 6,
        };
    const ROUNDS: usize = 60;
    const WRITERS: usize = 4;
    let (node, recorder) = (Node::new(), Recorder::start_tallying(true).await);
    let mut writers: Vec<Sequence> = (0..WRITERS).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
    let mut door = Door::open_to(recorder.address).await;
    let program = Program::start(&node, &format!("http://{}/loki/api/v1/push", door.address));
    for writer in &mut writers {
        writer.payload = 1000;
        writer.lines(1000);
    }
    recorder.wait_for(1000 * WRITERS).await;
    door.shut().await;
    recorder.behave(|_| Reaction::Refuse(503));
    let lines = bytes / 1060 / WRITERS / ROUNDS;
    let mut rotated: Vec<Option<PathBuf>> = vec![None; WRITERS];
    let mut resident = Vec::new();
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            assert_eq!(recorder.count(), 1000 * WRITERS);
            door.open().await;
        }
        std::thread::scope(|scope| {
            for (writer, before) in writers.iter_mut().zip(&mut rotated) {
                scope.spawn(move || {
                    for _ in 0..lines / 100 {
                        writer.lines(100);
                    }
                    if round % 3 == 2
                        && let Some(older) = before.replace(writer.container.rotate())
                    {
                        gzip(&older);
                    }
                });
            }
        });
        pause(30).await;
        resident.push(program.resident());
    }
    wait_until("refusals", || recorder.pushes() > 1, || recorder.pushes().to_string()).await;
    let grown = resident[ROUNDS - 1].saturating_sub(resident[ROUNDS / 2 - 1]);
    assert!(grown < 8 << 20, "memory grew by {} KiB in the second half of the outage", grown >> 10);
    let on_disk: u64 = std::fs::read_dir(node.data()).unwrap().flatten().map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(on_disk < 100_000, "{on_disk} bytes in the data directory");
    recorder.behave(|_| Reaction::Store);
    let total: usize = writers.iter().map(Sequence::total).sum();
    let mut before = 0;
    // As long as lines come, more are waited for.
    while before < recorder.count() {
        before = recorder.count();
        let is_further = || recorder.count() == total || recorder.count() >= before + total / 20;
        wait_until("more lines", is_further, || format!("{} of {total}", recorder.count())).await;
    }
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    println!(
        "{total} lines, {} MB; memory in the outage {}, {} and {} MiB, at the end {}, peak {}",
        total * 1060 / 1_000_000,
        resident[0] >> 20,
        resident[ROUNDS / 2] >> 20,
        resident[ROUNDS - 1] >> 20,
        program.resident() >> 20,
        program.peak() >> 20
    );
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert!(metrics.iter().all(|(name, value)| !name.contains("possible_loss") || *value == 0.0), "{metrics:?}");
}

/// 53. 429 with and without a wait asked for; one tenant limited, another not.
#[tokio::test(flavor = "multi_thread")]
async fn case_53_a_limited_tenant_waits_and_another_does_not() {
    let (node, limited, free) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asked_at = Arc::clone(&asked);
    limited.behave(move |number| {
        asked_at.lock().push(Instant::now());
        if number % 2 == 0 { Reaction::Limit(1) } else { Reaction::Refuse(429) }
    });
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
    wait_until("two waits", || asked.lock().len() >= 5, || asked.lock().len().to_string()).await;
    // It may wait for longer, never for less than was asked.
    let waits: Vec<Duration> = asked.lock().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().skip(1).step_by(2).all(|wait| *wait >= Duration::from_secs(1)), "{waits:?}");
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

/// 54. Every answer that is no success: what blocks, what is tried again, and what is sent in halves; nothing is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_answers_that_refuse_everything_for_a_while_drop_nothing() {
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
}

/// 54, 400 and 422: of requests with lines of two streams so many entries are counted as the answers name, and no others are missing.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_only_entries_that_an_answer_names_are_dropped_and_as_many_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::StoreAllBut("refused"));
    let mut writer = Sequence::new(node.container("app"));
    let mut other = Sequence::new(node.container("other"));
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut refused = 0_u64;
    for round in 0..12_u64 {
        writer.lines(20);
        for number in 0..round % 4 {
            writer.container.write(["stdout", "stderr"][usize::from(number == 2)], "F", "refused");
            refused += 1;
        }
        other.lines(5);
        writer.lines(5);
        if round % 5 == 4 {
            writer.container.rotate();
        }
        recorder.wait_for(writer.total() + other.total()).await;
    }
    wait_until("the counts", || agent.handle.metrics().lines_dropped >= refused, || format!("{:?}", agent.handle.metrics())).await;
    assert_exact(&recorder, &[&writer, &other]);
    assert_eq!(agent.metric("dropped_lines_total{reason=\"ingester_error\"}"), refused as f64);
    assert_eq!(agent.handle.metrics().lines_dropped, refused);
    let told = format!("promtail_dropped_entries_total{{host=\"{}\",tenant=\"\",reason=\"ingester_error\"}} {refused}\n", recorder.address);
    assert!(agent.handle.render_metrics().contains(&told), "{}", agent.handle.render_metrics());
    assert_eq!(recorder.all().len(), recorder.count(), "nothing was sent twice for it");
    agent.assert_balanced();
    agent.stop().await;
}

/// 54, 401 for five minutes, in full, for two seconds otherwise: files are rotated and compressed meanwhile, and the agent is started anew. That it
/// is not ready after a minute is a unit test of `push::lane` otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_a_receiver_that_knows_nobody_for_a_while_gets_everything_afterwards() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(50);
    let mut config = node.config(&recorder.url());
    config.client.batchsize = 5_000;
    config.shutdown_timeout = Duration::from_millis(100);
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let mut agent = Agent::start(config.clone()).await;
    recorder.wait_for(50).await;
    recorder.behave(|_| Reaction::Refuse(401));
    let mut rotated = Vec::new();
    for round in 0..8 {
        writer.lines(200);
        rotated.push(writer.container.rotate());
        pause(if is_full() { 300_000 / 8 } else { 250 }).await;
        if let [.., older, _] = rotated.as_slice() {
            gzip(older);
        }
        let is_blocked = || agent.metric("blocked{status=\"401\"}") == 1.0;
        wait_until("the block", is_blocked, || agent.handle.render_metrics()).await;
        assert_eq!(agent.handle.metrics().lines_dropped, 0);
        let pushes = recorder.pushes();
        wait_until("another attempt", || recorder.pushes() > pushes, || pushes.to_string()).await;
        // Two and a half minutes of it.
        if is_full() && round == 3 {
            assert_eq!(ask(agent.handle.listen_address().unwrap(), "/ready", "*/*").await.0, 503);
        }
        if round == 4 {
            agent.stop().await;
            agent = Agent::start(config.clone()).await;
        }
    }
    assert_eq!(recorder.count(), 50);
    recorder.behave(|_| Reaction::Store);
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    wait_until("the end of the block", || agent.metric("blocked{status=\"401\"}") == 0.0, || agent.handle.render_metrics()).await;
    agent.assert_balanced();
    agent.stop().await;
}

/// 54, TLS: a receiver that speaks none, or shows a certificate that does not prove what it is, gets nothing until it does.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_nothing_is_sent_to_a_receiver_whose_certificate_is_wrong_and_nothing_is_lost() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let (ours, others) = (Authority::new(), Authority::new());
    let good = || ours.server("127.0.0.1", 2400);
    let front = TlsFront::start(recorder.address, others.server("127.0.0.1", 2400)).await;
    let ca_file = node.data().with_file_name("ca.pem");
    std::fs::write(&ca_file, &ours.pem).unwrap();
    let mut config = node.config(&format!("https://{}/loki/api/v1/push", front.address));
    config.metadata = MetadataMode::Standard;
    config.client.tls.ca_file = Some(ca_file);
    let agent = Agent::start(config).await;
    let mut writer = Sequence::new(node.container("app"));
    let retried = || agent.metric("push_requests_total{outcome=\"retried\"}");
    for (what, server) in [
        ("of an unknown authority", others.server("127.0.0.1", 2400)),
        ("out of date", ours.server("127.0.0.1", 2001)),
        ("of another name", ours.server("receiver.example", 2400)),
    ] {
        front.show(server);
        writer.lines(50);
        let before = retried();
        wait_until(what, || retried() >= before + 2.0, || agent.handle.render_metrics()).await;
        assert_eq!((agent.handle.metrics().lines_dropped, recorder.pushes()), (0, 0), "{what}");
    }
    front.show(good());
    recorder.wait_for(150).await;
    assert_exact(&recorder, &[&writer]);
    agent.assert_balanced();
    agent.stop().await;
    // No TLS at all, over a restart.
    writer.lines(50);
    let mut config = node.config(&recorder.url().replace("http://", "https://"));
    config.metadata = MetadataMode::Standard;
    config.shutdown_timeout = Duration::from_millis(100);
    let agent = Agent::start(config).await;
    let retried = || agent.metric("push_requests_total{outcome=\"retried\"}");
    wait_until("failed attempts", || retried() >= 2.0, || agent.handle.render_metrics()).await;
    assert_eq!((agent.handle.metrics().lines_dropped, recorder.count()), (0, 150));
    agent.stop().await;
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(200).await;
    assert_exact(&recorder, &[&writer]);
    agent.stop().await;
}

/// A command in a namespace of mounts in which hosts have only the names that a file gives them; none where that is not allowed.
fn with_hosts(hosts: &Path) -> Option<Command> {
    let order = hosts.with_file_name("nsswitch.conf");
    std::fs::write(&order, "hosts: files\n").unwrap();
    let in_namespace = |program: &str| {
        let script = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/nsswitch.conf && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-U", "-r", "-m", "sh", "-c", script, "sh"]).arg(hosts).arg(&order).arg(program);
        command
    };
    if !in_namespace("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no namespaces of mounts here, so names cannot be taken away from one program");
        return None;
    }
    Some(in_namespace(env!("CARGO_BIN_EXE_tailwater-agent")))
}

/// 54, names: one that does not exist for a while, at the start and again after it did.
#[tokio::test(flavor = "multi_thread")]
async fn case_54_a_receiver_whose_name_is_gone_gets_everything_when_it_is_back() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let hosts = node.data().with_file_name("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let Some(command) = with_hosts(&hosts) else { return };
    // Whoever is connected already needs no name.
    recorder.behave(|_| Reaction::StoreAndClose);
    let url = recorder.url().replace("127.0.0.1", "receiver.test");
    let mut writer = Sequence::new(node.container("app"));
    let program = Program::start_by(command, &node, &url, &["--metadata", "standard"]);
    let mut retried = 0.0;
    for round in 0..2 {
        let before = recorder.count();
        writer.lines(100);
        program.wait_for_metric("tailwater_agent_push_requests_total{outcome=\"retried\"}", |count| count >= retried + 2.0).await;
        assert_eq!(recorder.count(), before, "{round}");
        std::fs::write(&hosts, "127.0.0.1 localhost receiver.test\n").unwrap();
        recorder.wait_for(writer.total()).await;
        std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        retried = program.metrics().await["tailwater_agent_push_requests_total{outcome=\"retried\"}"];
    }
    assert_exact(&recorder, &[&writer]);
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_dropped_lines_total{reason=\"ingester_error\"}"], 0.0);
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
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
        Manner::Passes => pass_on(client, upstream).await,
    }
}

/// 55. A receiver that reads slowly, hangs, or closes in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn case_55_receivers_that_hang_or_close_are_given_up_and_asked_again() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let front = Front::start(recorder.address).await;
    let mut config = node.config(&format!("http://{}/loki/api/v1/push", front.address));
    config.metadata = MetadataMode::Standard;
    // Long enough for whoever passes on, also on a busy machine.
    (config.client.timeout, config.client.batchsize) = (Duration::from_secs(1), 200_000);
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
