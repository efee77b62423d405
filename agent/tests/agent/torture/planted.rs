//! The harness can fail: with a fault planted in the program the same checks find lines missing, and say which.
//!
//! Built with the feature `planted-faults` only.

use std::time::Duration;

use super::pause;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, faults};
use crate::support::{Node, Reaction, Recorder, wait_until};

/// As in case 17: killed while a push is not answered. Positions that move before the answer lose what was in it.
async fn killed_before_the_answer(fault: Option<&str>) -> (Recorder, Sequence) {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let start = || Program::start_planted(&node, &recorder.url(), fault);
    for _ in 0..3 {
        recorder.behave(|_| Reaction::Delay(Duration::from_secs(100)));
        writer.lines(100);
        let before = recorder.pushes();
        let mut program = start();
        wait_until("a push", || recorder.pushes() > before, String::new).await;
        program.kill();
    }
    recorder.behave(|_| Reaction::Store);
    writer.lines(100);
    let _program = start();
    let last = format!("app stderr {}", writer.written[1] - 1);
    wait_until("the last line", || recorder.stored().iter().any(|entry| entry.line.starts_with(&last)), String::new).await;
    (recorder, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_a_position_before_the_answer_is_seen() {
    let (recorder, writer) = killed_before_the_answer(None).await;
    assert_eq!(faults(&recorder, &[&writer]), Vec::<String>::new(), "without the fault all is exact");
    let (recorder, writer) = killed_before_the_answer(Some("position-before-answer")).await;
    let faults = faults(&recorder, &[&writer]);
    println!("seen: {faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("app/stdout: 80 of 320 lines, first missing [0, 1, 2, 3, 4]")), "{faults:?}");
}

/// As in case 2: the writer goes on into the renamed file.
async fn rotated_under_load(fault: Option<&str>) -> (Vec<String>, f64) {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let program = Program::start_planted(&node, &recorder.url(), fault);
    writer.lines(100);
    recorder.wait_for(100).await;
    for _ in 0..10 {
        writer.lines(2000);
        writer.container.rename();
        writer.lines(500);
        writer.container.reopen();
        writer.lines(100);
        pause(300).await;
    }
    let last = format!("app stderr {}", writer.written[1] - 1);
    wait_until("the last line", || recorder.stored().iter().any(|entry| entry.line.starts_with(&last)), String::new).await;
    pause(500).await;
    let balance_errors = program.metrics().await["tailwater_agent_balance_errors_total"];
    (faults(&recorder, &[&writer]), balance_errors)
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_a_forgotten_tail_of_a_rotated_file_is_seen_by_the_check_and_by_the_balance() {
    let (faults, balance_errors) = rotated_under_load(None).await;
    assert_eq!((faults, balance_errors), (Vec::new(), 0.0), "without the fault all is exact");
    let (faults, balance_errors) = rotated_under_load(Some("rotated-tail-forgotten")).await;
    println!("seen: {faults:?}; {balance_errors} balance errors");
    assert!(faults.iter().any(|fault| fault.starts_with("app/stdout: ") && fault.contains("first missing [")), "{faults:?}");
    assert!(balance_errors >= 1.0);
}

const PANICS: &str = "tailwater_agent_panics_total";

#[tokio::test(flavor = "multi_thread")]
async fn planted_panics_at_one_container_cost_the_others_nothing_and_lose_and_double_nothing() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers = ["before", "panics", "zero"].map(|name| Sequence::new(node.container(name)));
    let mut program = Program::start_planted(&node, &recorder.url(), Some("turn-panics"));
    let mut seen = 0.0;
    while seen < 3.0 {
        writers.iter_mut().for_each(|writer| writer.lines(50));
        pause(100).await;
        assert!(!program.has_ended(), "the agent goes on");
        let panics = program.metrics().await[PANICS];
        if panics > seen {
            // While it waits to begin anew, its file is rotated, and once the name is gone as well.
            let rotated = writers[1].container.rotate();
            if seen == 0.0 {
                std::fs::remove_file(rotated).unwrap();
            }
            let others: Vec<_> = writers.iter().filter(|writer| writer.name != "panics").map(|writer| writer.written[1]).collect();
            let has_last = |name: &str, count: usize| {
                let last = format!("{name} stderr {} ", count - 1);
                recorder.stored().iter().any(|entry| entry.line.starts_with(&last))
            };
            wait_until("the others", || has_last("before", others[0]) && has_last("zero", others[1]), String::new).await;
        }
        seen = panics;
    }
    writers.iter_mut().for_each(|writer| writer.lines(50));
    let total: usize = writers.iter().map(Sequence::total).sum();
    wait_until("all lines", || recorder.stored().len() >= total, String::new).await;
    writers[1].container.restart();
    writers[1].lines(10);
    wait_until("the next instance", || recorder.stored().len() >= total + 10, String::new).await;
    pause(500).await;
    assert_eq!(faults(&recorder, &writers.each_ref()), Vec::<String>::new());
    let metrics = program.metrics().await;
    assert_eq!(metrics[PANICS], 3.0);
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert!(metrics.iter().all(|(name, value)| !name.contains("possible_loss") || *value == 0.0), "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_panics_leave_the_times_of_reading_as_they_were_sent() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("panics");
    let mut program = Program::start_planted_with(&node, &recorder.url(), Some("turn-panics"), &["--format", "raw"]);
    let (mut written, mut panics) = (0, 0.0);
    while panics < 3.0 {
        let lines: String = (written..written + 20).map(|number| format!("line {number}\n")).collect();
        container.raw(lines.as_bytes());
        written += 20;
        pause(100).await;
        assert!(!program.has_ended(), "the agent goes on");
        panics = program.metrics().await[PANICS];
    }
    wait_until("all lines", || recorder.stored().len() >= written, String::new).await;
    pause(500).await;
    let mut lines: Vec<String> = recorder.stored().into_iter().map(|entry| entry.line).collect();
    lines.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    let expected: Vec<String> = (0..written).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected, "each once, whatever was sent twice");
    assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
}

/// A part without which nothing goes on: the program ends and says so, its next start goes on where the answers were.
#[tokio::test(flavor = "multi_thread")]
async fn planted_panics_of_a_part_end_the_program_and_lose_and_double_nothing() {
    for fault in ["scanner-panics", "sender-panics", "keeper-panics"] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut writer = Sequence::new(node.container("app"));
        let mut program = Program::start_planted(&node, &recorder.url(), Some(fault));
        let write_on = || {
            // Rotations and restarts of the container are news for the scanner.
            writer.lines(20);
            if writer.total().is_multiple_of(200) {
                writer.container.rotate();
            }
            program.has_ended()
        };
        wait_until("the end of the program", write_on, || fault.to_owned()).await;
        let log = std::fs::read_to_string(node.log()).unwrap();
        assert!(log.contains(&format!("planted: {fault}")) && log.contains("ended unexpectedly"), "{log}");
        writer.lines(100);
        let program = Program::start_planted(&node, &recorder.url(), None);
        wait_until("all lines", || recorder.stored().len() >= writer.total(), String::new).await;
        assert_eq!(faults(&recorder, &[&writer]), Vec::<String>::new(), "{fault}");
        let metrics = program.metrics().await;
        assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0, "{fault}");
        assert!(metrics.iter().all(|(name, value)| !name.contains("possible_loss") || *value == 0.0), "{fault}: {metrics:?}");
    }
}
