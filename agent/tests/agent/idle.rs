//! What quiet files cost: counted, not timed.

use std::time::Duration;

use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Recorder, wait_until};
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

/// What one more file that is read and acknowledged takes of the program's own memory, in bytes. A third of it are what watches of its two directories take.
async fn bytes_of_a_quiet_file(flags: &[&str], most: u64) {
    const FEW: usize = 200;
    const MANY: usize = 2_200;
    let mut own: Vec<u64> = Vec::new();
    for count in [FEW, MANY] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        for number in 0..count {
            let directory = node.pods().join(format!("shop_web-5d4f8b6c9d-{number:05}_6732493d-d1e5-4e8b-9214-{number:012}/app"));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("0.log"), "2026-11-21T09:00:00.000000001Z stdout F one\n").unwrap();
        }
        let program = Program::start_with(&node, &recorder.url(), flags);
        recorder.wait_for(count).await;
        let bound = own.first().map_or(u64::MAX, |few| few + most * (MANY - FEW) as u64);
        wait_until("little memory", || program.anonymous() <= bound, || format!("{} KiB, {own:?}", program.anonymous() >> 10)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        own.push(program.anonymous());
    }
    println!("{} bytes a file", own[1].saturating_sub(own[0]) / (MANY - FEW) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_kept_of_a_quiet_file() {
    bytes_of_a_quiet_file(&[], 5_500).await;
}
