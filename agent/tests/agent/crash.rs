//! The real program killed with -9 at random moments, and stopped in the middle: every line is stored once, byte for byte the same when sent again.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::program::Program;
use crate::support::{Agent, Container, Node, Numbers, Reaction, Recorder, numbered, wait_until};

/// Writes a mixture that is hard to repeat: pieces of both streams in between each other, equal stamps, equal lines, bad bytes, rotations.
struct Writer {
    container: Container,
    numbers: Numbers,
    expected: BTreeMap<&'static str, Vec<String>>,
    open: BTreeMap<&'static str, String>,
}

impl Writer {
    fn new(container: Container, seed: u64) -> Self {
        let names = ["stdout", "stderr"];
        Self { container, numbers: Numbers(seed), expected: names.map(|name| (name, Vec::new())).into(), open: BTreeMap::new() }
    }

    fn write_some(&mut self, records: usize) {
        for _ in 0..records {
            if self.numbers.below(1000) == 0 {
                self.container.rotate();
            }
            if self.numbers.below(3) == 0 {
                // The next record has the stamp of this one.
                self.container.nanos = self.container.nanos.saturating_sub(1_000);
            }
            self.write_record();
        }
    }

    fn write_record(&mut self) {
        let stream = ["stdout", "stdout", "stderr"][self.numbers.below(3) as usize];
        let number = self.expected[stream].len();
        let text = if self.numbers.below(10) == 0 {
            "the same".to_owned()
        } else {
            format!("{stream} {number} {}", "x".repeat(self.numbers.below(120) as usize))
        };
        let is_piece = self.numbers.below(8) == 0;
        self.container.write(stream, if is_piece { "P" } else { "F" }, &text);
        let open = self.open.entry(stream).or_default();
        open.push_str(&text);
        if !is_piece {
            self.expected.get_mut(stream).unwrap().push(std::mem::take(open));
        }
    }

    fn finish(&mut self) {
        for stream in ["stdout", "stderr"] {
            self.container.write(stream, "F", "end");
            let line = self.open.remove(stream).unwrap_or_default() + "end";
            self.expected.get_mut(stream).unwrap().push(line);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_once_though_the_agent_is_killed_again_and_again() {
    const CONTAINERS: usize = 3;
    const KILLS: u64 = 25;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut reactions = Numbers(7);
    recorder.behave(move |_| match reactions.below(6) {
        0 => Reaction::LoseAnswer,
        1 => Reaction::Refuse(503),
        2 | 3 => Reaction::Delay(Duration::from_millis(reactions.below(150))),
        _ => Reaction::Store,
    });
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..CONTAINERS)
        .map(|number| {
            let mut writer = Writer::new(node.container(&format!("c{number}")), number as u64 + 1);
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    writer.write_some(100);
                    std::thread::sleep(Duration::from_millis(10));
                }
                writer.finish();
                writer.expected
            })
        })
        .collect();
    let mut moments = Numbers(99);
    let hits = AtomicU64::new(0);
    for kill in 0..KILLS {
        let mut program = Program::start(&node, &recorder.url());
        tokio::time::sleep(Duration::from_millis(60 + moments.below(400))).await;
        if kill % 3 == 0 {
            // The moment that matters most is rare: it is waited for.
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while recorder.unanswered() == 0 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        hits.fetch_add(u64::from(recorder.unanswered() > 0), Ordering::Relaxed);
        program.kill();
    }
    stop.store(true, Ordering::Release);
    let expected: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    let total: usize = expected.iter().flat_map(BTreeMap::values).map(Vec::len).sum();
    let _program = Program::start(&node, &recorder.url());
    recorder.wait_for(total).await;
    // Nothing more comes: a different repetition would be one more entry.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lines = recorder.lines();
    for (number, expected) in expected.iter().enumerate() {
        for (stream, expected) in expected {
            let seen = &lines[&format!("c{number}/{stream}")];
            let first_difference = seen.iter().zip(expected).position(|(seen, expected)| seen != expected);
            assert!(
                seen == expected,
                "c{number}/{stream}: {} lines, {} expected, first difference at {first_difference:?}",
                seen.len(),
                expected.len()
            );
        }
    }
    let hits = hits.into_inner();
    println!("{total} lines, {} sent, {KILLS} kills, {hits} of them with an unanswered push", recorder.all().len());
    assert!(hits > 0, "no kill hit an unanswered push");
    assert!(recorder.all().len() > total, "no line was ever sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_commits_what_was_acknowledged_and_the_next_start_sends_nothing_twice() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    for part in 0..5 {
        container.lines(part * 100..part * 100 + 50);
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(part * 100 + 50).await;
        container.lines(part * 100 + 50..part * 100 + 80);
        container.rotate();
        container.lines(part * 100 + 80..part * 100 + 100);
        recorder.wait_for(part * 100 + 100).await;
        agent.stop().await;
    }
    for name in ["positions.json", "positions.json.1"] {
        let mode = std::fs::metadata(node.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is its owner's alone");
    }
    assert_eq!(recorder.all().len(), 500);
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..500));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_line_waits_over_a_restart_and_the_other_stream_is_sent_again_the_same() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.write("stdout", "P", "head ");
    for number in 0..5 {
        container.write("stderr", "F", &format!("e{number}"));
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(5).await;
    agent.stop().await;
    container.write("stdout", "F", "tail");
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(6).await;
    assert_eq!(recorder.lines()["app/stdout"], ["head tail"]);
    assert_eq!(recorder.all().len(), 11, "the five lines of the other stream were sent twice");
    assert_eq!(recorder.count(), 6, "and were the same both times");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_ended_by_time_is_ended_at_the_same_place_after_a_crash() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let mut config = node.config(&recorder.url());
    config.timing.partial_idle = Duration::from_millis(200);
    config.shutdown_timeout = Duration::from_millis(100);
    // What follows the first push is stored and never answered, so never acknowledged.
    recorder.behave(|number| if number == 1 { Reaction::Store } else { Reaction::LoseAnswer });
    container.write("stderr", "F", "before");
    container.write("stdout", "P", "cut by time");
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(2).await;
    agent.stop().await;
    container.write("stdout", "F", "after the cut");
    recorder.behave(|_| Reaction::Store);
    config.timing.partial_idle = Duration::from_secs(60);
    let agent = Agent::start(config).await;
    recorder.wait_for(3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(recorder.lines()["app/stdout"], ["cut by time", "after the cut"]);
    assert_eq!(recorder.count(), 3);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_or_missing_positions_are_a_full_re_read_with_the_same_entries() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..20);
    container.rotate();
    container.lines(20..40);
    let positions = node.data().join("positions.json");
    for (round, damage) in [&b""[..], b"\0\0\0\0\0\0\0\0", b"{\"crc32c\":\"00000000\",\"body\":{}}\n", b"absent"].into_iter().enumerate() {
        let agent = Agent::start(node.config(&recorder.url())).await;
        wait_until("a full read", || recorder.all().len() >= (round + 1) * 40, || recorder.all().len().to_string()).await;
        agent.stop().await;
        for path in [positions.clone(), positions.with_extension("json.1")] {
            if damage == b"absent" {
                std::fs::remove_file(path).unwrap_or_default();
            } else {
                std::fs::write(path, damage).unwrap();
            }
        }
    }
    assert_eq!(recorder.count(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanished_while_the_agent_was_down_is_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(10).await;
    agent.stop().await;
    container.lines(10..20);
    let rotated = container.rotate();
    container.lines(20..30);
    std::fs::remove_file(rotated).unwrap();
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(20).await;
    assert_eq!(recorder.lines()["app/stdout"], [numbered(0..10), numbered(20..30)].concat());
    assert_eq!(agent.handle.metrics().possible_losses, 1);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_does_not_hold_the_end_beyond_its_timeout() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..100);
    recorder.behave(|_| Reaction::Delay(Duration::from_secs(30)));
    let mut config = node.config(&recorder.url());
    config.shutdown_timeout = Duration::from_millis(200);
    let agent = Agent::start(config.clone()).await;
    wait_until("a push", || recorder.pushes() > 0, || "none".to_owned()).await;
    agent.stop().await;
    recorder.behave(|_| Reaction::Store);
    let agent = Agent::start(config).await;
    recorder.wait_for(100).await;
    agent.stop().await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..100));
}
