//! Several clients that are sent the same: one pass over the files for all of them, until one does not keep up.

use std::time::Duration;

use tailwater_agent::Config;
use tailwater_agent::config::{ClientConfig, MetadataMode};

use crate::support::sequence::{Sequence, assert_exact, faults};
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, wait_until};

/// A configuration for two receivers with the same settings.
fn alike(node: &Node, first: &Recorder, second: &Recorder) -> Config {
    let mut config = node.config(&first.url());
    config.metadata = MetadataMode::Standard;
    config.shutdown_timeout = Duration::from_secs(1);
    config.more_clients.push(ClientConfig { url: second.url(), name: Some("second".to_owned()), ..config.client.clone() });
    config
}

async fn wait_for_passes(agent: &Agent, count: usize) {
    let passes = || agent.metric("passes");
    wait_until("passes over the files", || passes() == count as f64, || passes().to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_sent_the_same_share_one_pass() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    let config = alike(&node, &first, &second);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(300);
    for start in 0..2 {
        let agent = Agent::start(config.clone()).await;
        for _ in 0..3 {
            writer.lines(100);
            for recorder in [&first, &second] {
                recorder.wait_for(writer.total()).await;
            }
            writer.container.rotate();
        }
        let metrics = agent.handle.metrics();
        let read = if start == 0 { writer.total() } else { 300 } as u64;
        assert_eq!((agent.metric("passes"), metrics.lines_read, metrics.lines_acknowledged), (1.0, read, 2 * read));
        agent.assert_balanced();
        agent.stop().await;
    }
    for recorder in [&first, &second] {
        assert_exact(recorder, &[&writer]);
        assert_eq!(recorder.arrived(), writer.total(), "nothing is sent twice");
    }
    let positions = |path: &str| std::fs::read_to_string(node.data().join(path)).unwrap();
    assert_eq!(positions("positions.json").lines().count(), positions("client-second/positions.json").lines().count());
}

/// A receiver that refuses holds up the other for a moment, and then has a pass of its own, for which files are held open that are deleted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_keep_up_is_read_for_by_itself() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    let agent = Agent::start(alike(&node, &first, &second)).await;
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    for recorder in [&first, &second] {
        recorder.wait_for(100).await;
    }
    assert_eq!(agent.metric("passes"), 1.0);
    second.behave(|_| Reaction::Refuse(503));
    let mut write_while = async |is_over: &dyn Fn() -> bool| {
        while !is_over() {
            writer.lines(50);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let rotated = writer.container.rotate();
        writer.lines(50);
        (rotated, writer.total())
    };
    let (rotated, total) = write_while(&|| agent.metric("passes") == 2.0).await;
    first.wait_for(total).await;
    // What the second has not read has no name any more.
    std::fs::remove_file(rotated).unwrap();
    let (_, total) = write_while(&|| true).await;
    first.wait_for(total).await;
    assert!(second.count() < total);
    second.behave(|_| Reaction::Store);
    second.wait_for(total).await;
    for recorder in [&first, &second] {
        assert!(faults(recorder, &[&writer]).is_empty(), "{:?}", faults(recorder, &[&writer]));
    }
    agent.assert_balanced();
    agent.stop().await;
}

/// Deleted files that only the slow one had not acknowledged are handed to its own pass.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_deleted_before_a_client_goes_on_by_itself_are_read_for_it() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    second.behave(|_| Reaction::Delay(Duration::from_secs(100)));
    let mut config = alike(&node, &first, &second);
    config.more_clients[0].timeout = Duration::from_secs(2);
    let agent = Agent::start(config).await;
    let mut vanishing = Sequence::new(node.container("vanishing"));
    vanishing.lines(50);
    first.wait_for(50).await;
    let mut writer = Sequence::new(node.container("app"));
    for _ in 0..3 {
        writer.lines(100);
        first.wait_for(writer.total() + 50).await;
        let rotated = writer.container.rotate();
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::fs::remove_file(rotated).unwrap();
        // Of this one not even the directory is left.
        std::fs::remove_dir_all(&vanishing.container.directory).ok();
    }
    wait_for_passes(&agent, 2).await;
    second.behave(|_| Reaction::Store);
    writer.lines(100);
    for recorder in [&first, &second] {
        recorder.wait_for(writer.total() + 50).await;
        assert_exact(recorder, &[&writer, &vanishing]);
    }
    // Of requests that were given up none is counted any more.
    let under_way = || agent.handle.metrics().pushes_in_flight;
    wait_until("the end of all requests", || under_way() == 0, || under_way().to_string()).await;
    agent.assert_balanced();
    agent.stop().await;
}

/// Who asks for structured metadata is known only when both have answered; then one pass reads for both.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_turn_out_to_be_alike_are_read_for_together() {
    let (node, first, second, loki) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await, Recorder::start(false).await);
    let mut config = alike(&node, &first, &second);
    config.metadata = MetadataMode::Auto;
    config.timing.rejoin_after = Duration::from_millis(200);
    config.more_clients.push(ClientConfig { url: loki.url(), name: Some("loki".to_owned()), ..config.client.clone() });
    let agent = Agent::start(config).await;
    wait_for_passes(&agent, 3).await;
    let mut writer = Sequence::new(node.container("app"));
    let mut turns = 0;
    while agent.metric("passes") != 2.0 || turns < 50 {
        writer.lines(20);
        turns += 1;
        assert!(turns < 3000, "{} passes", agent.metric("passes"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for recorder in [&first, &second, &loki] {
        recorder.wait_for(writer.total()).await;
        assert_exact(recorder, &[&writer]);
        assert_eq!(recorder.all().iter().any(|entry| !entry.metadata.is_empty()), !std::ptr::eq(recorder, &loki));
    }
    agent.assert_balanced();
    agent.stop().await;
}

/// A client that was apart keeps up again: one pass reads for both from where they meet, and nothing is sent twice or left out.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_keep_up_again_are_read_for_together() {
    let (node, first, second) = (Node::new(), Recorder::start(true).await, Recorder::start(true).await);
    let mut config = alike(&node, &first, &second);
    config.timing.rejoin_after = Duration::from_millis(200);
    let agent = Agent::start(config.clone()).await;
    let mut writers: Vec<_> = (0..20).map(|number| Sequence::new(node.container(&format!("app{number}")))).collect();
    for round in 0..3 {
        second.behave(|_| Reaction::Refuse(503));
        let mut seen = 1.0;
        for wanted in [2.0, 1.0] {
            let mut turns = 0;
            while seen != wanted || turns < 20 {
                for (number, writer) in writers.iter_mut().enumerate() {
                    writer.lines(5);
                    if turns % 10 == number % 10 {
                        writer.container.rotate();
                    }
                }
                turns += 1;
                assert!(turns < 3000, "round {round}: {seen} passes, not {wanted}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                seen = agent.metric("passes");
            }
            second.behave(|_| Reaction::Store);
        }
    }
    let sequences: Vec<&Sequence> = writers.iter().collect();
    let total = writers.iter().map(Sequence::total).sum();
    for recorder in [&first, &second] {
        recorder.wait_for(total).await;
        assert_exact(recorder, &sequences);
    }
    agent.assert_balanced();
    agent.stop().await;
}

/// Receivers fail in turns and together, files rotate and vanish, the agent restarts: passes part and join all the time, and each receiver has every line once.
#[tokio::test(flavor = "multi_thread")]
async fn clients_part_and_join_in_any_order() {
    let node = Node::new();
    let recorders = [Recorder::start(true).await, Recorder::start(true).await, Recorder::start(true).await];
    let mut config = alike(&node, &recorders[0], &recorders[1]);
    config.timing.rejoin_after = Duration::from_millis(100);
    config.shutdown_timeout = Duration::from_millis(300);
    config.more_clients.push(ClientConfig { url: recorders[2].url(), name: Some("third".to_owned()), ..config.client.clone() });
    let mut writers: Vec<_> = (0..8).map(|number| Sequence::new(node.container(&format!("app{number}")))).collect();
    let (mut numbers, mut seen) = (Numbers(7), [0; 4]);
    let mut agent = Agent::start(config.clone()).await;
    for _ in 0..12 {
        for recorder in &recorders {
            let mut reactions = Numbers(numbers.below(u64::MAX));
            match numbers.below(4) {
                0 => recorder.behave(|_| Reaction::Refuse(503)),
                1 => recorder.behave(move |_| if reactions.below(3) == 0 { Reaction::LoseAnswer } else { Reaction::Store }),
                2 => recorder.behave(|_| Reaction::Delay(Duration::from_millis(150))),
                _ => recorder.behave(|_| Reaction::Store),
            }
        }
        for _ in 0..60 {
            for writer in &mut writers {
                writer.lines(3);
                if numbers.below(60) == 0 {
                    writer.container.rotate();
                }
            }
            seen[agent.metric("passes") as usize] += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if numbers.below(4) == 0 {
            agent.assert_balanced();
            agent.stop().await;
            agent = Agent::start(config.clone()).await;
        }
    }
    println!("looks at which there were 0, 1, 2, 3 passes: {seen:?}");
    assert!(seen[1] > 0 && seen[2] + seen[3] > 0, "{seen:?}");
    let sequences: Vec<&Sequence> = writers.iter().collect();
    let total = writers.iter().map(Sequence::total).sum();
    for recorder in &recorders {
        recorder.behave(|_| Reaction::Store);
    }
    for recorder in &recorders {
        recorder.wait_for(total).await;
        assert_exact(recorder, &sequences);
    }
    wait_for_passes(&agent, 1).await;
    agent.assert_balanced();
    agent.stop().await;
}
