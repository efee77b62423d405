//! Several receivers in the native configuration: the same lines to each, at its own pace, with positions of its own.

use std::path::PathBuf;
use std::time::Duration;

use crate::options::configured;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact, faults};
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, label, numbered, samples, wait_until};

/// Batches of the second client that are not those of the first.
const OTHER_BATCHES: &str = ", batchsize: 10KiB";

/// `agent.yaml` with a further client, which has `settings` that the first has not, for a program whose first one is given by flag.
fn with_second(node: &Node, url: &str, settings: &str, text: &str) -> PathBuf {
    let file = node.data().with_file_name("agent.yaml");
    let client = "batchwait: 20ms, backoff_config: {min_period: 10ms, max_period: 200ms}";
    std::fs::write(&file, format!("clients:\n- {{{client}}}\n- {{url: '{url}', name: second, {client}{settings}}}\n{text}\n")).unwrap();
    file
}

/// Case 57: a receiver that is down neither delays the other nor loses anything, and each has positions of its own.
#[tokio::test(flavor = "multi_thread")]
async fn several_receivers_get_the_same_lines_each_at_its_own_pace() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(false).await);
    let text = format!(
        "- url: {}\n  name: second\n  tenant_id: other\n  external_labels: {{to: second}}\nlabels: {{external: {{cluster: c1}}}}",
        second.url()
    );
    let mut config = configured(&node, &first, &text);
    config.more_clients[0].backoff = config.client.backoff;
    config.shutdown_timeout = Duration::from_secs(1);
    second.behave(|_| Reaction::Refuse(503));
    let mut container = node.container("app");
    container.lines(0..100);
    let agent = Agent::start(config.clone()).await;
    first.wait_for(100).await;
    assert_eq!(second.count(), 0);
    container.rotate();
    container.lines(100..200);
    first.wait_for(200).await;
    agent.stop().await;
    // The first has everything already, over a restart; the second takes up where it was.
    second.behave(|_| Reaction::Store);
    let agent = Agent::start(config).await;
    container.lines(200..300);
    for recorder in [&first, &second] {
        recorder.wait_for(300).await;
        assert_eq!((recorder.all().len(), &recorder.lines()["app/stdout"]), (300, &numbered(0..300)));
    }
    assert!(first.all().iter().all(|entry| label(&entry.labels, "cluster") == "c1" && !entry.labels.contains("to=")));
    assert!(second.all().iter().all(|entry| label(&entry.labels, "cluster") == "c1" && label(&entry.labels, "to") == "second"));
    assert!(first.all().iter().all(|entry| !entry.metadata.is_empty()) && second.all().iter().all(|entry| entry.metadata.is_empty()));
    assert_eq!((first.last_headers().get("x-scope-orgid"), &second.last_headers()["x-scope-orgid"]), (None, &"other".parse().unwrap()));
    assert!(node.data().join("positions.json").exists() && node.data().join("client-second/positions.json").exists());
    agent.assert_balanced();
    agent.stop().await;
}

/// Series of files count every line once, and lag is that of whoever is furthest behind.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_the_client_that_is_furthest_behind() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    let mut config = configured(&node, &first, &format!("- {{url: {}, name: second}}", second.url()));
    config.more_clients[0].backoff = config.client.backoff;
    config.listen = Some(([127, 0, 0, 1], 0).into());
    second.behave(|_| Reaction::Refuse(503));
    let mut container = node.container("app");
    container.lines(0..100);
    let agent = Agent::start(config).await;
    first.wait_for(100).await;
    let url = format!("http://{}/metrics", agent.handle.listen_address().unwrap());
    let targets = reqwest::get(url.replace("/metrics", "/targets")).await.unwrap().text().await.unwrap();
    let targets: serde_json::Value = serde_json::from_str(&targets).unwrap();
    let of = |name: &str| targets["files"].as_array().unwrap().iter().find(|file| file["client"] == name).unwrap().clone();
    let (of_first, of_second) = (of(&first.address.to_string()), of("second"));
    assert_eq!(
        (&of_first["path"], &of_second["path"], &of_second["acknowledged_offset"]),
        (&of_first["path"], &of_first["path"], &0.into())
    );
    let bytes = std::fs::metadata(container.live()).unwrap().len() as f64;
    let path = container.live().display().to_string();
    for lag in [bytes, 0.0] {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let metrics = samples(&reqwest::get(&url).await.unwrap().text().await.unwrap());
            let expected = [
                ("tailwater_agent_lag_bytes{namespace=\"shop\"}".to_owned(), lag),
                (format!("promtail_read_lines_total{{path=\"{path}\"}}"), 100.0),
                ("tailwater_agent_open_files".to_owned(), 2.0),
            ];
            if expected.iter().all(|(name, value)| metrics.get(name) == Some(value)) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{expected:?} in {metrics:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        second.behave(|_| Reaction::Store);
    }
    second.wait_for(100).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_repeats_to_each_receiver_only_what_that_one_had() {
    kills_repeat_to_each_only_what_it_had(OTHER_BATCHES).await;
}

/// The same where one pass reads for both.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_that_read_for_both_repeats_to_each_only_what_that_one_had() {
    kills_repeat_to_each_only_what_it_had("").await;
}

async fn kills_repeat_to_each_only_what_it_had(settings: &str) {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    for (seed, recorder) in [(1, &first), (2, &second)] {
        let mut reactions = Numbers(seed);
        recorder.behave(move |_| match reactions.below(4) {
            0 => Reaction::LoseAnswer,
            1 => Reaction::Refuse(503),
            _ => Reaction::Store,
        });
    }
    let file = with_second(&node, &second.url(), settings, "metadata: standard");
    let flags = ["--config", file.to_str().unwrap()];
    let mut writer = Sequence::new(node.container("app"));
    for kill in 0..5 {
        let mut program = Program::start_with(&node, &first.url(), &flags);
        for _ in 0..10 {
            writer.lines(50);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        wait_until("pushes to both", || first.pushes() > 0 && second.pushes() > 0, String::new).await;
        program.kill();
        if kill % 2 == 0 {
            writer.container.rotate();
        }
    }
    let program = Program::start_with(&node, &first.url(), &flags);
    for recorder in [&first, &second] {
        recorder.wait_for(writer.total()).await;
        assert_exact(recorder, &[&writer]);
    }
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert_eq!(metrics["tailwater_agent_possible_loss_total{reason=\"rotated_away\"}"], 0.0);
}

/// Case 57 to its end: the dead receiver's loss is counted when the node keeps its files no longer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_receiver_misses_is_counted_and_the_other_misses_nothing() {
    one_receiver_is_dead("metadata: standard").await;
}

/// The same where nobody says whether it takes metadata: its reader holds the files meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_misses_that_was_never_up_is_counted() {
    one_receiver_is_dead("metadata: auto").await;
}

async fn one_receiver_is_dead(text: &str) {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let file = with_second(&node, "http://127.0.0.1:9/push", OTHER_BATCHES, text);
    let flags = ["--config", file.to_str().unwrap(), "--deleted-hold-bytes", "200KB"];
    let mut writer = Sequence::new(node.container("app"));
    let program = Program::start_with(&node, &recorder.url(), &flags);
    for _ in 0..8 {
        writer.lines(1000);
        recorder.wait_for(writer.total()).await;
        let rotated = writer.container.rotate();
        // Time for the dead one's reader to see the rotation.
        tokio::time::sleep(Duration::from_millis(700)).await;
        std::fs::remove_file(rotated).unwrap();
    }
    assert!(faults(&recorder, &[&writer]).is_empty(), "{:?}", faults(&recorder, &[&writer]));
    assert_eq!(recorder.all().len(), writer.total());
    program.wait_for_metric("tailwater_agent_possible_loss_total{reason=\"deleted_hold\"}", |count| count >= 1.0).await;
}
