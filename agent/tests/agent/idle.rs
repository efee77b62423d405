//! What quiet files cost: counted, not timed.

use std::time::Duration;

use crate::kubernetes::container_of;
use crate::support::program::{Program, free_address};
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Recorder, gzip, kubeconfig, wait_until};
use tailwater_agent::config::Timing;

/// Whether a count stands still while scans pass over directories; `before` is what both were when it last moved.
fn stands_still(count: f64, scans: f64, before: &mut (f64, f64)) -> bool {
    if count > before.0 {
        *before = (count, scans);
    }
    // Ten scans of a pod's directory and the directories of its twenty containers.
    scans - before.1 >= 10.0 * 21.0
}

/// An agent that sent the two lines of each of twenty files.
async fn twenty_files(adjust: impl FnOnce(&mut Timing)) -> (Node, Recorder, Vec<Sequence>, Agent) {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers: Vec<Sequence> = (0..20).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
    writers.iter_mut().for_each(|writer| writer.lines(2));
    let mut config = node.config(&recorder.url());
    config.timing.scan_interval = Duration::from_millis(100);
    adjust(&mut config.timing);
    let agent = Agent::start(config).await;
    recorder.wait_for(40).await;
    (node, recorder, writers, agent)
}

/// Directories in which nothing changed are passed over; what changes in one of them later is found.
#[tokio::test(flavor = "multi_thread")]
async fn scans_pass_over_directories_in_which_nothing_changed() {
    let (node, recorder, mut writers, agent) = twenty_files(|_| ()).await;
    let mut before = (0.0, 0.0);
    let count = |what: &str| agent.metric(&format!("directories_{what}_total"));
    let is_quiet = || stands_still(count("listed"), count("unchanged"), &mut before);
    wait_until("ten scans that list nothing", is_quiet, || agent.handle.render_metrics()).await;

    writers[7].lines(2);
    writers[7].container.rotate();
    writers[7].lines(2);
    writers.push(Sequence::new(node.container("new")));
    writers[20].lines(2);
    recorder.wait_for(46).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    agent.assert_balanced();
    agent.stop().await;
}

/// Files of which nothing is read are looked at at the pace that is for them.
#[tokio::test(flavor = "multi_thread")]
async fn quiet_files_are_looked_at_less_often_and_at_once_when_they_are_rotated() {
    let quiet = |timing: &mut Timing| (timing.quiet_after, timing.poll_quiet) = (Duration::from_secs(1), Duration::from_secs(3600));
    let (_node, recorder, mut writers, agent) = twenty_files(quiet).await;
    let mut before = (0.0, 0.0);
    let is_quiet = || stands_still(agent.metric("looks_total"), agent.metric("directories_unchanged_total"), &mut before);
    wait_until("ten scans without a look", is_quiet, || agent.handle.render_metrics()).await;

    writers[7].lines(2);
    writers[7].container.rotate();
    writers[7].lines(2);
    recorder.wait_for(44).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    agent.assert_balanced();
    agent.stop().await;
}

/// Whatever happens to the files of containers that are at rest, looked at by turns or told by watches, is read, once, from where they were.
#[tokio::test(flavor = "multi_thread")]
async fn containers_at_rest_are_read_on_where_they_were() {
    const CONTAINERS: usize = 21;
    const KINDS: usize = 7;
    for watch_directories in [true, false] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut writers: Vec<Sequence> = (0..CONTAINERS).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
        // One never says anything before.
        writers.iter_mut().skip(1).for_each(|writer| writer.lines(2));
        let mut config = node.config(&recorder.url());
        (config.timing.quiet_after, config.timing.poll_quiet) = (Duration::from_millis(50), Duration::from_millis(50));
        config.timing.scan_interval = Duration::from_millis(200);
        config.timing.watch_directories = watch_directories;
        config.timing.degraded_scan_interval = Duration::from_millis(200);
        let mut agent = Agent::start(config.clone()).await;
        let total = |writers: &[Sequence]| writers.iter().map(Sequence::total).sum::<usize>();
        for round in 0..KINDS + 2 {
            recorder.wait_for(total(&writers)).await;
            let is_at_rest = || agent.metric("resting_containers") >= CONTAINERS as f64;
            wait_until("all containers at rest", is_at_rest, || agent.handle.render_metrics()).await;
            agent.assert_balanced();
            if round % 5 == 4 {
                agent.stop().await;
                agent = Agent::start(config.clone()).await;
            }
            for (number, writer) in writers.iter_mut().enumerate() {
                match (number + round) % KINDS {
                    0 => {}
                    1 => writer.lines(3),
                    2 => {
                        writer.container.rotate();
                        writer.lines(2);
                    }
                    3 => {
                        writer.lines(2);
                        let rotated = writer.container.rotate();
                        writer.lines(2);
                        writer.container.rotate();
                        gzip(&rotated);
                        writer.lines(2);
                    }
                    // Its descriptor is all that there is of the lines; an agent that comes later cannot know that nothing is missing.
                    4 if round % 5 != 4 => {
                        writer.lines(2);
                        std::fs::remove_file(writer.container.live()).unwrap();
                        writer.container.reopen();
                        writer.lines(1);
                    }
                    5 => {
                        writer.lines(1);
                        writer.container.restart();
                        writer.lines(2);
                    }
                    4 => {}
                    _ => {
                        let (record, _) = writer.next(0);
                        let (head, tail) = record.split_at(record.len() / 2);
                        writer.container.raw(head.as_bytes());
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        writer.container.raw(tail.as_bytes());
                    }
                }
            }
        }
        recorder.wait_for(total(&writers)).await;
        assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// What an instance's labels are was waited for once: its next line does not wait again when its container was at rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_at_rest_does_not_wait_for_its_pod_again() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = node.config(&recorder.url());
    config.kubeconfig = Some(kubeconfig(&node, free_address()));
    config.metadata_wait = Duration::from_secs(5);
    (config.timing.quiet_after, config.timing.poll_quiet) = (Duration::from_millis(50), Duration::from_millis(50));
    let mut container = node.container("app");
    container.line("first");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    wait_until("rest", || agent.metric("resting_containers") == 1.0, || agent.handle.render_metrics()).await;
    // Its lines wait as long as they may, and those of the other would wait longer.
    container_of(&node, "new", "uid-new").line("new");
    tokio::time::sleep(Duration::from_secs(1)).await;
    container.line("second");
    recorder.wait_for(3).await;
    assert_eq!(recorder.all().iter().map(|entry| entry.line.as_str()).collect::<Vec<_>>(), ["first", "second", "new"]);
    agent.assert_balanced();
    agent.stop().await;
}

/// What one more file that is read and acknowledged takes of the program's own memory, in bytes, once its container is at rest. More than a third of it are
/// what watches of its two directories take.
#[tokio::test(flavor = "multi_thread")]
async fn little_is_kept_of_a_quiet_file() {
    const FEW: usize = 200;
    const MANY: usize = 2_200;
    const MOST: u64 = 4_400;
    let mut own: Vec<u64> = Vec::new();
    for count in [FEW, MANY] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        for number in 0..count {
            let directory = node.pods().join(format!("shop_web-5d4f8b6c9d-{number:05}_6732493d-d1e5-4e8b-9214-{number:012}/app"));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("0.log"), "2026-11-21T09:00:00.000000001Z stdout F one\n").unwrap();
        }
        let program = Program::start(&node, &recorder.url());
        recorder.wait_for(count).await;
        program.wait_for_metric("tailwater_agent_resting_containers", |resting| resting == count as f64).await;
        let bound = own.first().map_or(u64::MAX, |few| few + MOST * (MANY - FEW) as u64);
        wait_until("little memory", || program.anonymous() <= bound, || format!("{} KiB, {own:?}", program.anonymous() >> 10)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        own.push(program.anonymous());
    }
    println!("{} bytes a file", own[1].saturating_sub(own[0]) / (MANY - FEW) as u64);
}
