//! Case 60: one container that floods, and what the quiet ones beside it notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::is_full;
use crate::options::configured;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Container, Node, Reaction, Recorder, wait_until};

/// 60. A container that writes without end beside 200 quiet ones, and a receiver that does not keep up: a quiet line waits for few pushes of the loud one,
/// counted in lines of it that came before.
#[tokio::test(flavor = "multi_thread")]
async fn case_60_a_flood_does_not_hold_up_the_quiet_ones() {
    /// Of 560 bytes with their labels.
    const LINES_A_PUSH: usize = 200_000 / 560;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::Delay(Duration::from_millis(50)));
    let mut loud = Sequence::new(node.container("loud"));
    loud.payload = 500;
    loud.lines(40_000);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                loud.lines(500);
                if loud.total().is_multiple_of(20_000) {
                    loud.container.rotate();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            loud
        })
    };
    let mut quiet: Vec<Sequence> = (0..200).map(|number| Sequence::new(node.container(&format!("q{number}")))).collect();
    let mut config = node.config(&recorder.url());
    config.client.batchsize = 200_000;
    let agent = Agent::start(config).await;
    wait_until("the flood", || recorder.pushes() > 4, String::new).await;
    let mut most = 0;
    for round in 1..=4 {
        quiet.iter_mut().for_each(|writer| writer.lines(1));
        let before = recorder.arrived();
        let is_there = || recorder.count_of('q') >= 200 * round;
        wait_until("the quiet lines", is_there, || format!("round {round}")).await;
        let came: Vec<bool> = recorder.all()[before..].iter().map(|entry| entry.line.starts_with('q')).collect();
        let last = came.iter().rposition(|is_quiet| *is_quiet).unwrap_or_default();
        most = most.max(came[..last].iter().filter(|is_quiet| !**is_quiet).count());
    }
    let behind = agent.metric("lag_bytes{namespace=\"shop\"}");
    stop.store(true, Ordering::Release);
    let loud = writing.join().unwrap();
    println!("quiet lines were there after {most} loud ones at most; {} lines were behind", loud.total() - recorder.count_of('l'));
    assert!(recorder.count_of('l') < loud.total() - 10_000, "the flood was not over, {behind} bytes were behind");
    // Those that are full already, of both readers, and one that each of them goes into.
    assert!(most <= 20 * LINES_A_PUSH, "quiet lines waited for {most} loud ones");
    recorder.behave(|_| Reaction::Store);
    recorder.wait_for(loud.total() + 800).await;
    let all: Vec<&Sequence> = quiet.iter().chain([&loud]).collect();
    assert_exact(&recorder, &all);
    agent.assert_balanced();
    agent.stop().await;
}

/// How long after `start` each of `lines` quiet lines was there, of which there were so many before.
async fn delays(recorder: &Recorder, start: Instant, before: usize, lines: usize) -> Vec<Duration> {
    let mut delays = Vec::new();
    let is_there = || {
        let there = recorder.count_of('q') - before;
        delays.resize(there, start.elapsed());
        there == lines
    };
    wait_until("the quiet lines", is_there, || recorder.count_of('q').to_string()).await;
    delays
}

/// 60. A container that writes 200 MB/s and more, as fast as a thread can, beside 200 quiet ones, and a receiver that keeps up with what it can.
#[tokio::test(flavor = "multi_thread")]
async fn case_60_two_hundred_megabytes_a_second_do_not_hold_up_the_quiet_ones() {
    const QUIET: usize = 200;
    let megabytes = match (is_full(), cfg!(debug_assertions)) {
        (true, _) => 4000,
        (false, false) => 400,
        (false, true) => 40,
    };
    let (node, recorder) = (Node::new(), Recorder::start_tallying(true).await);
    let program = Program::start(&node, &recorder.url());
    let mut loud = Sequence::new(node.container("loud"));
    let of_quiet = |number: usize| Container::new(node.pods().join(format!("calm_quiet-1_uid-2/q{number}")));
    let mut quiet: Vec<Sequence> = (0..QUIET).map(|number| Sequence::new(of_quiet(number))).collect();
    quiet.iter_mut().for_each(|writer| writer.lines(1));
    recorder.wait_for(QUIET).await;
    let start = Instant::now();
    let writing = std::thread::spawn(move || {
        loud.payload = 1000;
        for part in 1..=megabytes / 4 {
            (0..20).for_each(|_| loud.lines(200));
            // A kubelet that looks every ten seconds finds files of gigabytes.
            if part % 50 == 0 {
                loud.container.rotate();
            }
        }
        (loud, start.elapsed())
    });
    let (mut all, mut rounds_in_flood) = (Vec::new(), 0);
    loop {
        let (before, round) = (recorder.count_of('q'), Instant::now());
        quiet.iter_mut().for_each(|writer| writer.lines(1));
        all.extend(delays(&recorder, round, before, QUIET).await);
        let lag =
            async |namespace| program.metrics().await.get(&format!("tailwater_agent_lag_bytes{{namespace=\"{namespace}\"}}")).copied();
        // The flood was not over when the last of the round had come.
        if lag("shop").await.is_none_or(|behind| behind == 0.0) {
            break;
        }
        rounds_in_flood += 1;
        program.wait_for_metric("tailwater_agent_lag_bytes{namespace=\"calm\"}", |behind| behind == 0.0).await;
    }
    let (loud, wrote) = writing.join().unwrap();
    let total = loud.total() + quiet.iter().map(Sequence::total).sum::<usize>();
    recorder.wait_for(total).await;
    let sent = start.elapsed();
    all.sort_unstable();
    let p99 = all[all.len() * 99 / 100];
    let rate = |time: Duration| loud.total() as f64 * 1060.0 / time.as_secs_f64() / 1e6;
    println!(
        "written at {:.0} MB/s, sent at {:.0} MB/s; quiet lines were there after {p99:?} (p99), {:?} at most, in {rounds_in_flood} rounds",
        rate(wrote),
        rate(sent),
        all[all.len() - 1]
    );
    assert!(rounds_in_flood > 0, "the flood was over before any quiet line");
    // Where other tests run beside it, nothing is said of seconds.
    assert!(!is_full() || p99 < Duration::from_secs(3), "{p99:?}");
    let writers: Vec<&Sequence> = quiet.iter().chain([&loud]).collect();
    assert_exact(&recorder, &writers);
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert!(metrics.iter().all(|(name, value)| !name.contains("possible_loss") || *value == 0.0), "{metrics:?}");
}

/// 60, limited.
#[tokio::test(flavor = "multi_thread")]
async fn case_60_a_limit_of_a_container_slows_it_or_drops_and_counts() {
    for drops in [false, true] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut loud = Sequence::new(node.container("loud"));
        let mut quiet = Sequence::new(node.container("quiet"));
        let config =
            configured(&node, &recorder, &format!("limits: {{rate_lines: 500, on_rate: {}}}", if drops { "drop" } else { "slow" }));
        // So many that they are not read within the seconds in which most of them would be let through.
        let all = if drops { 10_000 } else { 1500 };
        loud.lines(all);
        let agent = Agent::start(config).await;
        quiet.lines(10);
        let is_quiet_there = || recorder.stored().iter().filter(|entry| entry.line.starts_with("quiet")).count() == 10;
        wait_until("the quiet lines", is_quiet_there, || recorder.count().to_string()).await;
        if drops {
            wait_until("the drops", || agent.handle.metrics().lines_read == all as u64 + 10, || format!("{:?}", agent.handle.metrics()))
                .await;
            let is_settled = || agent.handle.metrics().lines_acknowledged + agent.handle.metrics().lines_dropped == all as u64 + 10;
            wait_until("the sum", is_settled, || format!("{:?}", agent.handle.metrics())).await;
            let dropped = agent.metric("dropped_lines_total{reason=\"rate_limited\"}");
            assert!(dropped >= 500.0, "{dropped} of {all} lines were dropped");
        } else {
            recorder.wait_for(all + 10).await;
            assert_exact(&recorder, &[&loud, &quiet]);
            assert_eq!(agent.handle.metrics().lines_dropped, 0);
        }
        // The file's end shows that its balance holds.
        loud.container.restart();
        loud.container.line("end");
        wait_until("the end", || recorder.stored().iter().any(|entry| entry.line == "end"), || recorder.count().to_string()).await;
        assert_eq!(agent.metric("balance_errors_total"), 0.0);
        agent.stop().await;
    }
}
