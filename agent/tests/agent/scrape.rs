//! `scrape_configs` in the native configuration: files besides pods, by Promtail's rules and stages. That each job gives what Promtail gives is in `promtail.rs`.

use std::path::Path;
use std::time::Duration;

use tailwater_agent::config::load;

use crate::options::configured;
use crate::support::fake_api::FakeApi;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Reaction, Recorder, kubeconfig, label, numbered, wait_until};
use serde_json::json;

const LABELLED: &str = "
  pipeline_stages:
  - regex: {expression: '^(?P<level>[A-Z]+) (?P<word>.*)'}
  - labels: {level: }
  - structured_metadata: {found: word}
  - metrics: {seen: {type: Counter, description: d, source: level, config: {action: inc}}}";

/// A job that reads files of the node.
fn job(directory: &Path) -> String {
    format!(
        "scrape_configs:\n- job_name: node{LABELLED}\n  static_configs:\n  - labels: {{job: node, __path__: '{}/*.log'}}\n",
        directory.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_node_are_read_besides_pods_for_every_client() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(false).await);
    let logs = node.data().with_file_name("logs");
    std::fs::create_dir(&logs).unwrap();
    let append = |text: &str| {
        use std::io::Write;
        std::fs::OpenOptions::new().create(true).append(true).open(logs.join("a.log")).unwrap().write_all(text.as_bytes()).unwrap();
    };
    append("INFO one\nWARN two\n");
    let mut container = node.container("app");
    container.lines(0..10);
    let text = format!("- {{url: {}, name: second}}\nlabels: {{external: {{cluster: c1}}}}\n{}", second.url(), job(&logs));
    let config = configured(&node, &first, &text);
    let agent = Agent::start(config.clone()).await;
    for recorder in [&first, &second] {
        recorder.wait_for(12).await;
        let of_pods: Vec<String> =
            recorder.all().into_iter().filter(|entry| entry.labels.contains("pod=")).map(|entry| entry.line).collect();
        assert_eq!(of_pods, numbered(0..10));
    }
    let of_node = |recorder: &Recorder| -> Vec<String> {
        recorder
            .all()
            .into_iter()
            .filter(|entry| entry.labels.contains("job=\"node\""))
            .map(|entry| format!("{} {} {:?}", label(&entry.labels, "level"), entry.line, entry.metadata))
            .collect()
    };
    let expected = ["INFO INFO one [(\"found\", \"one\")]", "WARN WARN two [(\"found\", \"two\")]"];
    assert_eq!((of_node(&first), of_node(&second)), (expected.map(str::to_owned).to_vec(), expected.map(str::to_owned).to_vec()));
    assert!(first.all().iter().all(|entry| label(&entry.labels, "cluster") == "c1"));
    assert!(config.scrape_configs.is_some());
    agent.assert_balanced();
    agent.stop().await;
    // Each goes on where it was.
    append("INFO three\n");
    container.lines(10..12);
    let agent = Agent::start(config).await;
    for recorder in [&first, &second] {
        recorder.wait_for(15).await;
        assert_eq!(recorder.all().len(), 15, "each line once");
    }
    for directory in ["", "scrape-configs", "client-second", "client-second/scrape-configs"] {
        assert!(node.data().join(directory).join("positions.json").exists(), "{directory}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_leave_what_is_scraped_exact_and_its_metrics_are_served() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers = ["app", "scraped"].map(|name| Sequence::new(node.container(name)));
    let file = node.data().with_file_name("agent.yaml");
    let path = node.pods().join("shop_web-1_uid-1/scraped/*.log");
    let stages =
        "  pipeline_stages:\n  - cri: {}\n  - metrics: {seen: {type: Counter, description: d, config: {action: inc, match_all: true}}}\n";
    let text = format!(
        "exclude: '*/*/scraped'\nscrape_configs:\n- job_name: j\n{stages}  static_configs:\n  - labels: {{container: scraped, __path__: '{}'}}\n",
        path.display()
    );
    std::fs::write(&file, text).unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    for _ in 0..4 {
        let before = recorder.pushes();
        let mut program = Program::start_with(&node, &recorder.url(), &flags);
        for _ in 0..5 {
            writers.iter_mut().for_each(|writer| writer.lines(40));
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        wait_until("pushes", || recorder.pushes() > before + 1, String::new).await;
        program.kill();
        writers.iter_mut().for_each(|writer| drop(writer.container.rotate()));
    }
    let program = Program::start_with(&node, &recorder.url(), &flags);
    let total: usize = writers.iter().map(Sequence::total).sum();
    recorder.wait_for(total).await;
    assert_exact(&recorder, &writers.each_ref());
    writers[1].lines(10);
    recorder.wait_for(total + 10).await;
    let metrics = program.metrics().await;
    assert!(metrics.iter().any(|(name, count)| name.starts_with("promtail_custom_seen") && *count >= 10.0), "{metrics:?}");
}

/// Pieces of a line are as many entries, in order, each with a stamp of its own; lines behind them come after them, also where the runtime stamped all alike.
#[tokio::test(flavor = "multi_thread")]
async fn long_lines_of_scraped_files_are_split_cut_or_left_out_as_those_of_pods() {
    let (long, accented) = ("a".repeat(2500), format!("x{}", "é".repeat(1250)));
    let records = [&*long, &long, "short", &accented].map(|text| format!("2026-06-01T10:00:00.5Z stdout F {text}\n")).concat();
    for (rule, takes_metadata) in [("split", true), ("split", false), ("truncate", true), ("drop", true)] {
        let (node, recorder) = (Node::new(), Recorder::start(takes_metadata).await);
        let logs = node.data().with_file_name("logs");
        std::fs::create_dir(&logs).unwrap();
        std::fs::write(logs.join("a.log"), &records).unwrap();
        let text = format!(
            "limits: {{max_line_size: 1KiB, long_line: {rule}}}\nscrape_configs:\n- job_name: j\n  pipeline_stages: [{{cri: }}]\n  \
             static_configs:\n  - labels: {{job: j, __path__: '{}/*.log'}}\n",
            logs.display()
        );
        let file = node.data().with_file_name("agent.yaml");
        std::fs::write(&file, text).unwrap();
        let program = || Program::start_with(&node, &recorder.url(), &["--config", file.to_str().unwrap()]);
        let expected = match rule {
            "split" => 10,
            "truncate" => 4,
            _ => 1,
        };
        // Nothing is acknowledged by the first process, so that the second reads it all again.
        recorder.behave(|_| Reaction::LoseAnswer);
        let mut first = program();
        recorder.wait_for(expected).await;
        first.kill();
        recorder.behave(|_| Reaction::Store);
        let (before, mut second) = (recorder.all().len(), program());
        wait_until("a second reading", || recorder.all().len() >= before + expected, String::new).await;
        let metrics = second.metrics().await;
        second.kill();
        let mut stored: Vec<_> = recorder.stored().into_iter().collect();
        stored.sort_by_key(|entry| entry.timestamp);
        assert_eq!(stored.len(), expected, "{rule}: a replay is the same");
        let told: Vec<String> = stored.iter().flat_map(|entry| &entry.metadata).map(|(name, value)| format!("{name}={value}")).collect();
        let count = |name: &str| metrics.iter().filter(|(key, _)| key.contains(name)).map(|(_, value)| value).sum::<f64>();
        match rule {
            "split" => {
                // Between characters.
                let ends = [&long[..1024], &long[..1024], &long[..452]];
                let accented = [&accented[..1023], &accented[..1025][1..], &accented[..455][1..]];
                let whole = [&ends[..], &ends[..], &["short"], &accented[..]].concat();
                assert_eq!(stored.iter().map(|entry| &*entry.line).collect::<Vec<_>>(), whole);
                assert!(stored.windows(2).all(|pair| pair[0].timestamp + 1 == pair[1].timestamp), "stamps of their own");
                let numbers = ["split=1/3", "split=2/3", "split=3/3"];
                assert_eq!(told, if takes_metadata { numbers.repeat(3) } else { Vec::new() });
                assert_eq!(count("mutated_lines_total{reason=\"line_too_long\"}"), 3.0);
            }
            "truncate" => {
                assert!(stored[0].line.ends_with("...[truncated 1501 bytes]") && stored[0].line.len() == 1024, "{}", stored[0].line);
                assert_eq!(told.len(), 3);
                assert_eq!(told[0], "truncated=1501");
            }
            _ => assert_eq!(stored[0].line, "short"),
        }
    }
}

/// As in Promtail each target reads for itself, with its own labels; under another name the file goes on being read by both.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_two_targets_of_a_job_name_is_read_for_each() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let logs = node.data().with_file_name("logs");
    std::fs::create_dir(&logs).unwrap();
    let (first, second) = (logs.join("a.log"), logs.join("b.log"));
    let append = |path: &Path, text: &str| {
        use std::io::Write;
        std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    append(&first, "one\n");
    let target = |name: &str, glob: &str| format!("  - labels: {{by: {name}, __path__: '{}/{glob}'}}\n", logs.display());
    let text = format!("scrape_configs:\n- job_name: j\n  static_configs:\n{}{}", target("x", "*.log"), target("y", "[ab].log"));
    let config = configured(&node, &recorder, &text);
    let lines_of = |name: &str| -> Vec<String> {
        let own = recorder.all().into_iter().filter(|entry| label(&entry.labels, "by") == name);
        own.map(|entry| entry.line).collect()
    };
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(2).await;
    append(&first, "two\n");
    recorder.wait_for(4).await;
    std::fs::rename(&first, &second).unwrap();
    append(&second, "three\n");
    recorder.wait_for(6).await;
    agent.assert_balanced();
    agent.stop().await;
    append(&second, "four\n");
    let agent = Agent::start(config).await;
    recorder.wait_for(8).await;
    for name in ["x", "y"] {
        assert_eq!(lines_of(name), ["one", "two", "three", "four"], "{name}");
    }
    agent.stop().await;
}

/// One that waits under another name is read again when its own name is back; one whose job is gone is nobody's loss.
#[tokio::test(flavor = "multi_thread")]
async fn scraped_files_that_are_gone_at_a_restart_are_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let logs = node.data().with_file_name("logs");
    std::fs::create_dir_all(logs.join("other")).unwrap();
    let path = |name: &str| logs.join(format!("{name}.log"));
    let append = |name: &str, text: &str| {
        use std::io::Write;
        std::fs::OpenOptions::new().create(true).append(true).open(path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    };
    ["gone", "renamed", "other/dropped"].iter().for_each(|name| append(name, &format!("{name} one\n")));
    let second = job(&logs.join("other")).replace("scrape_configs:\n", "").replace("job_name: node", "job_name: other");
    let agent = Agent::start(configured(&node, &recorder, &(job(&logs) + &second))).await;
    recorder.wait_for(3).await;
    agent.assert_balanced();
    agent.stop().await;
    ["gone", "renamed", "other/dropped"].iter().for_each(|name| append(name, &format!("{name} two\n")));
    ["gone", "other/dropped"].iter().for_each(|name| std::fs::remove_file(path(name)).unwrap());
    std::fs::rename(path("renamed"), logs.join("renamed.log.1")).unwrap();
    let agent = Agent::start(configured(&node, &recorder, &job(&logs))).await;
    wait_until("a count", || agent.metric("possible_loss_total{reason=\"rotated_away\"}") >= 1.0, String::new).await;
    append("renamed", "renamed three\n");
    recorder.wait_for(5).await;
    let lines: Vec<String> = recorder.all().into_iter().map(|entry| entry.line).filter(|line| line.starts_with("renamed")).collect();
    assert_eq!(lines, ["renamed one", "renamed two", "renamed three"]);
    assert_eq!(agent.handle.metrics().possible_losses, 1);
    agent.stop().await;
}

/// Both are read by one thread and sent by one lane; the limited tenant's lines wait in their files, and over a kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_limited_does_not_hold_up_another() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers = ["limited", "free"].map(|name| Sequence::new(node.container(name)));
    let job = |name: &str| {
        let path = node.pods().join(format!("shop_web-1_uid-1/{name}/*.log"));
        format!(
            "- job_name: {name}\n  pipeline_stages: [{{cri: {{}}}}, {{tenant: {{value: {name}}}}}]\n  static_configs:\n  \
             - labels: {{container: {name}, __path__: '{}'}}\n",
            path.display()
        )
    };
    let text = format!("exclude: '*/*/*'\nscrape_configs:\n{}{}", job("limited"), job("free"));
    let mut config = configured(&node, &recorder, &text);
    config.readers = 1;
    config.client.batchsize = 10_000;
    config.shutdown_timeout = Duration::from_millis(300);
    recorder.limit_tenant(Some(("limited", 2)));
    let agent = Agent::start(config.clone()).await;
    let free = |recorder: &Recorder| recorder.stored().iter().filter(|entry| label(&entry.labels, "container") == "free").count();
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        writers.iter_mut().for_each(|writer| writer.lines(200));
        let total = writers[1].total();
        wait_until("the free tenant's lines", || free(&recorder) == total, || format!("{}", free(&recorder))).await;
    }
    let of_limited =
        recorder.headers().iter().filter(|headers| headers.get("x-scope-orgid").is_some_and(|tenant| tenant == "limited")).count();
    assert!(of_limited < ROUNDS, "a round that waits for a limited request takes one at least: {of_limited} requests in {ROUNDS} rounds");
    assert_eq!(recorder.count(), writers[1].total());
    agent.stop().await;
    recorder.limit_tenant(None);
    let agent = Agent::start(config).await;
    recorder.wait_for(writers.iter().map(Sequence::total).sum()).await;
    assert_exact(&recorder, &writers.each_ref());
    agent.assert_balanced();
    agent.stop().await;
}

/// What is asked over HTTP is about pods and scraped files alike.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_surface_tells_is_of_scraped_files_too() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let logs = node.data().with_file_name("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("a.log"), "INFO one\n").unwrap();
    node.container("app").lines(0..3);
    let mut config = configured(&node, &recorder, &job(&logs));
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let agent = Agent::start(config).await;
    recorder.wait_for(4).await;
    let address = agent.handle.listen_address().unwrap();
    let get = |path: &'static str| async move { reqwest::get(format!("http://{address}{path}")).await.unwrap().text().await.unwrap() };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let files = loop {
        let targets: serde_json::Value = serde_json::from_str(&get("/targets").await).unwrap();
        let files = targets["files"].as_array().unwrap().clone();
        if files.len() == 2 && files.iter().all(|file| file["lag_bytes"] == 0) {
            break files;
        }
        assert!(std::time::Instant::now() < deadline, "{targets:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let scraped = files.iter().find(|file| file["path"].as_str().unwrap().ends_with("a.log")).unwrap();
    assert_eq!((&scraped["acknowledged_offset"], &scraped["labels"]["job"]), (&json!(9), &json!("node")));
    let metrics = get("/metrics").await;
    assert!(metrics.contains("\ntailwater_agent_unacked_bytes 0\n"), "{metrics}");
    assert_eq!(get("/ready").await, "ready\n");
    agent.stop().await;
}

/// Labels of the node itself, which the API is asked for alone.
#[tokio::test(flavor = "multi_thread")]
async fn logs_of_the_node_have_its_labels() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    let kubeconfig = kubeconfig(&node, api.start().await);
    api.node(json!({
        "kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a", "uid": "n", "labels": {"topology.kubernetes.io/zone": "z1"}},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.1.0.1"}]}
    }));
    let log = node.data().with_file_name("kubelet.log");
    std::fs::write(&log, "one\ntwo\n").unwrap();
    let text = format!(
        "scrape_configs:\n- job_name: kubelet\n  kubernetes_sd_configs: [{{role: node, kubeconfig_file: {}}}]\n  relabel_configs:\n  \
         - {{source_labels: [__meta_kubernetes_node_label_topology_kubernetes_io_zone], target_label: zone}}\n  \
         - {{source_labels: [__meta_kubernetes_node_name], target_label: __host__}}\n  \
         - {{replacement: {}, target_label: __path__}}\n",
        kubeconfig.display(),
        log.display()
    );
    let agent = Agent::start(configured(&node, &recorder, &text)).await;
    recorder.wait_for(2).await;
    let labels = recorder.all().remove(0).labels;
    assert_eq!((label(&labels, "zone"), label(&labels, "instance")), ("z1".to_owned(), "node-a".to_owned()));
    assert!(api.queries().iter().any(|query| query.get("fieldSelector").is_some_and(|selector| selector == "metadata.name=node-a")));
    agent.stop().await;
}

/// Everything that is wrong is listed, each with its line, as for a `promtail.yaml`.
#[test]
fn what_is_wrong_is_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    let problems = |text: &str| -> Vec<String> {
        std::fs::write(&file, format!("clients: [{{url: 'http://h/push'}}]\n{text}")).unwrap();
        let loaded = load::load(&load::Sources { file: Some(file.clone()), ..load::Sources::default() });
        let name = format!("`{}`: ", file.display());
        loaded.err().map(|error| error.problems.iter().map(|problem| problem.replace(&name, "")).collect()).unwrap_or_default()
    };
    let wrong = "scrape_configs:\n- job_name: a\n  kafka: {}\n  pipeline_stages:\n  - jsonn: {}\n- job_name: a\n  relabel_configs:\n  - {action: keeep}\n  static_config: []\n";
    let found = problems(wrong);
    for expected in [
        "line 4: scrape_configs[0].kafka: `kafka` is not supported; keep a Promtail for it",
        "line 6: scrape_configs[0].pipeline_stages[0].jsonn: job `a`: unknown pipeline stage `jsonn`",
        "line 10: scrape_configs[1].static_config: unknown key `static_config`",
        "line 7: scrape_configs[1]: two scrape configurations have the job name `a`",
        "line 9: scrape_configs[1].relabel_configs[0]",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected} in {found:#?}");
    }
    let of_pods = "scrape_configs:\n- job_name: pods\n  kubernetes_sd_configs: [{role: pod}]\n";
    assert!(problems(of_pods)[0].contains("job `pods` asks for pods, which the agent reads by itself"));
    assert_eq!(problems(&format!("pods_dir: none\n{of_pods}")), Vec::<String>::new());
    assert!(problems("pods_dir: none\n")[0].contains("leaves nothing to read"));
    assert_eq!(problems("scrape_configs:\n"), Vec::<String>::new());
}
