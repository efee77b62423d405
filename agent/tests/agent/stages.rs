//! `pipeline_stages` of the native configuration: stages for lines that are parsed and joined already, exact over restarts and kills.

use std::collections::BTreeSet;

use serde_json::json;

use crate::options::{configured, pod};
use crate::support::fake_api::FakeApi;
use crate::support::program::Program;
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, kubeconfig, label, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_containers_go_through_the_operators_stages() {
    for is_tailwater in [true, false] {
        let (node, recorder) = (Node::new(), Recorder::start(is_tailwater).await);
        // `cri` has nothing to do: records are read already.
        let stages = "pipeline_stages:\n- cri: {}\n- json: {expressions: {level: , trace: }}\n- labels: {level: }\n- structured_metadata: {trace: }\n\
                      - drop: {expression: health}\n- static_labels: {team: blue}\nlabels: {external: {cluster: c1}}";
        let config = configured(&node, &recorder, stages);
        let mut container = node.container("app");
        container.line(r#"{"level":"warn","trace":"t1","text":"one"}"#);
        container.line("health");
        container.write("stderr", "P", r#"{"level":"#);
        container.line(r#"{"level":"debug"}"#);
        container.write("stderr", "F", r#""error"}"#);
        container.raw(b"no record\n");
        let agent = Agent::start(config).await;
        recorder.wait_for(4).await;
        let entries = recorder.all();
        let of = |text: &str| entries.iter().find(|entry| entry.line.contains(text)).unwrap();
        let expected = r#"{app="web", cluster="c1", container="app", job="shop/web", level="warn", namespace="shop", node_name="node-a", pod="web-1", stream="stdout", team="blue"}"#;
        assert_eq!(of("one").labels, expected);
        // What a stage says is sent to any receiver, what the agent knows by itself only to one that takes it.
        let metadata: Vec<&str> = of("one").metadata.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(metadata, if is_tailwater { vec!["pod_uid", "restart", "trace"] } else { vec!["trace"] });
        assert_eq!(of("no record").metadata.iter().any(|(name, _)| name == "parse_error"), is_tailwater);
        assert_eq!((label(&of("error").labels, "level"), label(&of("error").labels, "stream")), ("error".to_owned(), "stderr".to_owned()));
        assert_eq!(recorder.count(), 4);
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// Stages that do not look at lines change labels and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn stages_of_labels_alone_change_labels() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let stages = "pipeline_stages:\n- static_labels: {team: blue}\n- labeldrop: [job, stream]";
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(configured(&node, &recorder, stages)).await;
    recorder.wait_for(10).await;
    let labels: BTreeSet<String> = recorder.all().into_iter().map(|entry| entry.labels).collect();
    let expected = r#"{app="web", container="app", namespace="shop", node_name="node-a", pod="web-1", team="blue"}"#;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [expected]);
    agent.assert_balanced();
    agent.stop().await;
}

/// Blocks, pieces of split lines and lines of the other stream between them, killed again and again with answers lost: each entry is there once.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_exact_over_kills_and_rotations() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut reactions = Numbers(5);
    recorder.behave(move |_| match reactions.below(4) {
        0 => Reaction::LoseAnswer,
        1 => Reaction::Refuse(503),
        _ => Reaction::Store,
    });
    let file = node.data().with_file_name("agent.yaml");
    let text = "metadata: standard\nclients: [{batchwait: 20ms, backoff_config: {max_period: 100ms}}]\npipeline_stages:\n\
                - multiline: {firstline: '^S', max_lines: 3}\n- regex: {expression: '^S(?P<number>\\d+)'}\n- structured_metadata: {number: }\n";
    std::fs::write(&file, text).unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let mut container = node.container("app");
    let (mut expected, mut others, mut numbers) = (Vec::new(), Vec::new(), Numbers(6));
    for kill in 0..6 {
        let mut program = Program::start_with(&node, &recorder.url(), &flags);
        let before = recorder.pushes();
        for step in 0..40 {
            let name = format!("S{kill}{step:02}");
            container.line(&name);
            container.write("stderr", "P", &format!("other {name} "));
            // No block begins while the other stream's line is open, so that both hold the place from which all could be read again.
            container.line("more");
            container.write("stdout", "P", "and ");
            container.write("stderr", "F", "end");
            container.write("stdout", "F", "more");
            expected.push(format!("{name}\nmore\nand more"));
            others.push(format!("other {name} end"));
            if numbers.below(15) == 0 {
                container.rotate();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        wait_until("a push", || recorder.pushes() > before, String::new).await;
        program.kill();
    }
    let program = Program::start_with(&node, &recorder.url(), &flags);
    let is_there = || recorder.lines().get("app/stdout").is_some_and(|lines| lines.len() >= expected.len());
    wait_until("all blocks", is_there, || recorder.count().to_string()).await;
    wait_until("all lines", || recorder.count() >= 2 * expected.len(), || recorder.count().to_string()).await;
    assert_eq!(recorder.lines()["app/stdout"], expected);
    // Lines of the other stream have no first line, and pass singly.
    assert_eq!(recorder.lines()["app/stderr"], others);
    assert_eq!(recorder.count(), 2 * expected.len(), "every repetition was identical");
    assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
}

/// Labels that change while a block is open: it ends with those that it began with, and nothing is lost or doubled over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_end_where_labels_change() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    let path = kubeconfig(&node, api.start().await);
    let text = format!("metadata_wait: 60s\nkubeconfig: {}\npipeline_stages: [{{multiline: {{firstline: '^S'}}}}]", path.display());
    let config = configured(&node, &recorder, &text);
    let named = |app: &str| {
        let mut pod = pod();
        pod["metadata"]["labels"] = json!({"app": app});
        pod
    };
    api.put(named("before"));
    let mut container = node.container("app");
    let mut written = Vec::new();
    let mut write = |text: String| {
        container.line(&text);
        written.push(text);
    };
    let agent = Agent::start(config.clone()).await;
    write("S0".to_owned());
    write("more 0".to_owned());
    wait_until("lines read", || agent.metric("lines_read_total") >= 2.0, String::new).await;
    api.put(named("after"));
    let mut number = 0;
    let is_changed = || {
        number += 1;
        write(format!("S {number}"));
        write(format!("more {number}"));
        recorder.all().iter().any(|entry| label(&entry.labels, "app") == "after")
    };
    wait_until("other labels", is_changed, String::new).await;
    agent.stop().await;
    let agent = Agent::start(config).await;
    write("S end".to_owned());
    wait_until("the end", || recorder.all().iter().any(|entry| entry.line.starts_with("S end")), String::new).await;
    agent.assert_balanced();
    agent.stop().await;
    let text: Vec<String> = recorder.lines()["app/stdout"].iter().flat_map(|line| line.split('\n')).map(str::to_owned).collect();
    assert_eq!(text, written, "each line once, in order");
}

/// Lines without stamps of their own: the clock's are repeated when the answer was lost.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_records_go_through_stages_too() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let config = configured(&node, &recorder, "format: raw\npipeline_stages:\n- regex: {expression: '(?P<word>\\w+)'}\n- labels: {word: }");
    recorder.behave(|number| if number % 2 == 1 { Reaction::LoseAnswer } else { Reaction::Store });
    let mut container = node.container("app");
    for round in 0..4 {
        (0..50).for_each(|line| container.raw(format!("w{line} {round}\n").as_bytes()));
        let agent = Agent::start(config.clone()).await;
        recorder.wait_for(50 * (round + 1)).await;
        agent.assert_balanced();
        agent.stop().await;
    }
    assert_eq!(recorder.count(), 200);
    assert!(recorder.all().iter().all(|entry| entry.line.starts_with(&label(&entry.labels, "word"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_stages_make_are_limited() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let stages = "limits: {max_streams: 3}\npipeline_stages:\n- regex: {expression: '(?P<word>\\w+)'}\n- labels: {word: }";
    let mut container = node.container("app");
    (0..10).for_each(|line| container.line(&format!("w{} {line}", line % 5)));
    let agent = Agent::start(configured(&node, &recorder, stages)).await;
    let dropped = || agent.metric("dropped_lines_total{reason=\"stream_limited\"}");
    wait_until("lines dropped", || dropped() == 4.0, || dropped().to_string()).await;
    recorder.wait_for(6).await;
    assert_eq!(recorder.count(), 6);
    agent.assert_balanced();
    agent.stop().await;
}
