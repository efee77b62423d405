//! Stack traces and other lines of several lines in the native configuration (`auto_multiline`, `tailwater.io/multiline`), and records in the format that their
//! pod names (`tailwater.io/parser`).

use serde_json::{Value, json};

use crate::options::{configured, pod};
use crate::support::fake_api::FakeApi;
use crate::support::program::Program;
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, kubeconfig, wait_until};

const TRACE: &str = "java.lang.IllegalStateException: boom\n\tat shop.Cart.add(Cart.java:12)\n\tat shop.Main.main(Main.java:3)";

fn annotated(name: &str, value: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({name: value});
    pod
}

/// Case 40 in the native configuration: a trace over a rotation and over a restart is one line, whatever the other stream says meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn stack_traces_are_one_line_over_rotations_and_restarts() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let config = configured(&node, &recorder, "auto_multiline: [shop]");
    let mut container = node.container("app");
    let agent = Agent::start(config.clone()).await;
    let frames: Vec<&str> = TRACE.lines().collect();
    container.line("INFO before");
    container.line(frames[0]);
    container.write("stderr", "F", "INFO other");
    container.line(frames[1]);
    container.rotate();
    container.line(frames[2]);
    container.line("INFO between");
    container.write("stderr", "P", "INFO split ");
    container.line(frames[0]);
    wait_until("lines read", || agent.metric("lines_read_total") >= 8.0, || agent.metric("lines_read_total").to_string()).await;
    agent.stop().await;
    let agent = Agent::start(config).await;
    container.write("stderr", "F", "line");
    container.line(frames[1]);
    container.line(frames[2]);
    container.line("INFO after");
    // The last ones are ended by the clock: nothing follows them.
    recorder.wait_for(7).await;
    let all = recorder.lines();
    assert_eq!(all["app/stdout"], ["INFO before", TRACE, "INFO between", TRACE, "INFO after"]);
    assert_eq!(all["app/stderr"], ["INFO other", "INFO split line"]);
    assert_eq!(recorder.count(), 7);
    agent.assert_balanced();
    agent.stop().await;
}

/// Case 40 with kill -9, answers lost, and blocks that the clock ends while nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn stack_traces_are_exact_over_kills() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut reactions = Numbers(40);
    recorder.behave(move |_| match reactions.below(4) {
        0 => Reaction::LoseAnswer,
        1 => Reaction::Refuse(503),
        _ => Reaction::Store,
    });
    let mut container = node.container("app");
    let (mut expected, mut numbers) = (Vec::new(), Numbers(41));
    for kill in 0..6 {
        let mut program = Program::start_with(&node, &recorder.url(), &["--auto-multiline", "all"]);
        let before = recorder.pushes();
        for step in 0..30 {
            container.line(&format!("INFO {kill}/{step}"));
            expected.push(format!("INFO {kill}/{step}"));
            let trace = format!("java.lang.Error: {kill}/{step}\n\tat a.B.c(D.java:1)\n\tat a.B.d(D.java:2)");
            for line in trace.lines() {
                container.line(line);
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                if numbers.below(40) == 0 {
                    container.rotate();
                }
            }
            expected.push(trace);
        }
        if kill == 2 {
            // The block at the end is ended by the clock, which is recorded before it is sent.
            let is_sent = || recorder.lines().get("app/stdout").is_some_and(|lines| lines.len() == expected.len());
            wait_until("the last block", is_sent, || recorder.count().to_string()).await;
        } else {
            wait_until("a push", || recorder.pushes() > before, String::new).await;
        }
        program.kill();
    }
    let program = Program::start_with(&node, &recorder.url(), &["--auto-multiline", "all"]);
    wait_until("all blocks", || recorder.count() >= expected.len(), || recorder.count().to_string()).await;
    assert_eq!(recorder.lines()["app/stdout"], expected);
    assert_eq!(recorder.count(), expected.len(), "every repetition was identical");
    assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
}

/// Case 41: a backlog is never cut by the clock; a block has at most 128 lines, and is no longer than a line may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_grouped_as_if_it_were_read_while_it_was_written() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let config = configured(&node, &recorder, "auto_multiline: all\nlimits: {max_line_size: 2KiB}");
    let mut container = node.container("app");
    let mut expected = Vec::new();
    for number in 0..2000 {
        let first = format!("java.lang.Error: {number}");
        container.line(&first);
        (0..2).for_each(|frame| container.line(&format!("\tat a.B.c(D.java:{frame})")));
        expected.push(format!("{first}\n\tat a.B.c(D.java:0)\n\tat a.B.c(D.java:1)"));
    }
    container.line("long");
    (0..130).for_each(|_| container.line("\tat x"));
    expected.push(format!("long{}", "\n\tat x".repeat(127)));
    expected.push("\tat x\n\tat x\n\tat x".to_owned());
    let wide = format!("\tat {}", "y".repeat(1500));
    container.line("wide");
    container.line(&wide);
    container.line(&wide);
    expected.push(format!("wide\n{wide}"));
    expected.push(wide);
    let agent = Agent::start(config).await;
    recorder.wait_for(expected.len()).await;
    assert_eq!(recorder.lines()["app/stdout"], expected);
    agent.assert_balanced();
    agent.stop().await;
}

/// What a pod asks for holds from where it is told, also when it changes.
#[tokio::test(flavor = "multi_thread")]
async fn pods_say_how_their_lines_are_joined() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    let path = kubeconfig(&node, api.start().await);
    let config = configured(&node, &recorder, &format!("metadata_wait: 60s\nkubeconfig: {}", path.display()));
    api.put(annotated("tailwater.io/multiline", "^S"));
    let mut container = node.container("app");
    for line in ["loose", "S1", "more", "S2", "more"] {
        container.line(line);
    }
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(3).await;
    assert_eq!(recorder.lines()["app/stdout"], ["loose", "S1\nmore", "S2\nmore"]);
    // Lines are written until the change has taken effect: they are joined no more.
    api.put(annotated("tailwater.io/multiline", "none"));
    let mut written = 0;
    let is_single = || {
        container.line("S3");
        container.line(&format!("single {written}"));
        written += 1;
        recorder.all().iter().any(|entry| entry.line.starts_with("single"))
    };
    wait_until("lines that are not joined", is_single, String::new).await;
    agent.stop().await;
    let agent = Agent::start(config).await;
    container.line("end");
    wait_until("the end", || recorder.all().iter().any(|entry| entry.line == "end"), String::new).await;
    agent.assert_balanced();
    agent.stop().await;
    let text: Vec<String> = recorder.lines()["app/stdout"][3..].iter().flat_map(|line| line.split('\n')).map(str::to_owned).collect();
    let mut expected: Vec<String> = (0..written).flat_map(|number| ["S3".to_owned(), format!("single {number}")]).collect();
    expected.push("end".to_owned());
    assert_eq!(text, expected, "each line once, in order");
}

/// What pods say of their records is honoured, unless the operator says it; what cannot be understood is counted.
#[tokio::test(flavor = "multi_thread")]
async fn pods_say_how_their_records_are_read() {
    let record = "2026-11-21T09:00:00Z stdout F text";
    for (operator, wish, expected) in [("auto", "raw", record), ("cri", "raw", "text"), ("auto", "xml", "text"), ("auto", "cri", "text")] {
        let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
        let path = kubeconfig(&node, api.start().await);
        api.put(annotated("tailwater.io/parser", wish));
        node.container("app").raw(format!("{record}\n").as_bytes());
        let text = format!("metadata_wait: 60s\nformat: {operator}\nkubeconfig: {}", path.display());
        let agent = Agent::start(configured(&node, &recorder, &text)).await;
        recorder.wait_for(1).await;
        let entry = recorder.all().remove(0);
        assert_eq!(entry.line, expected, "{operator} {wish}");
        assert!(!entry.labels.contains("__"));
        assert_eq!(agent.metric("annotations_invalid_total") > 0.0, wish == "xml");
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// A pod that comes to say that its lines are no records, and takes it back: each is read as it was said where it stands, also when all is read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_changes_is_kept_with_the_offsets_where_it_did() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    let path = kubeconfig(&node, api.start().await);
    let text = format!("metadata_wait: 60s\nkubeconfig: {}\npipeline_stages: [{{pack: {{labels: []}}}}]", path.display());
    let config = configured(&node, &recorder, &text);
    let mut container = node.container("app");
    let mut written = 0;
    for wish in ["cri", "raw", "cri"] {
        api.put(annotated("tailwater.io/parser", wish));
        let agent = Agent::start(config.clone()).await;
        let is_raw = |line: &str| line.contains(" stdout F ");
        let is_so = || {
            container.line(&format!("line {written}"));
            written += 1;
            let lines = &recorder.lines();
            lines.get("app/stdout").and_then(|lines| lines.last()).is_some_and(|last| is_raw(last) == (wish == "raw"))
        };
        wait_until(wish, is_so, String::new).await;
        recorder.behave(|number| if number % 3 == 0 { Reaction::LoseAnswer } else { Reaction::Store });
        recorder.wait_for(written).await;
        agent.assert_balanced();
        agent.stop().await;
    }
    assert_eq!(recorder.count(), written, "each line once");
    for number in 0..written {
        let ends = |line: &str| line.contains(&format!("line {number}\""));
        assert_eq!(recorder.lines()["app/stdout"].iter().filter(|line| ends(line)).count(), 1, "line {number}");
    }
}
