//! Cases 10 and 13: what comes late, the rest of a line that a rotation cut and the lines of a writer that goes on; and when a rotated file is final.

use std::fs::{File, OpenOptions};
use std::time::Duration;

use super::pause;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Recorder, deleted_descriptors_of, numbered, wait_until};

/// 10. One line cut by the rotation, its end written after lines of the other stream.
#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_line_cut_by_a_rotation_is_one_line_and_the_other_stream_goes_on() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut container = node.container("app");
    let mut expected = Vec::new();
    for round in 0..5 {
        container.write("stderr", "F", &format!("line {}", round * 3));
        container.write("stdout", "P", &format!("{round} head, "));
        container.rotate();
        container.write("stderr", "F", &format!("line {}", round * 3 + 1));
        container.write("stderr", "F", &format!("line {}", round * 3 + 2));
        pause(60).await;
        container.write("stdout", "F", "tail");
        expected.push(format!("{round} head, tail"));
    }
    recorder.wait_for(20).await;
    assert_eq!(recorder.lines()["app/stdout"], expected);
    assert_eq!(recorder.lines()["app/stderr"], numbered(0..15));
    assert_eq!(recorder.count(), 20);
    agent.assert_balanced();
    agent.stop().await;
}

/// 10. The late piece is written when the new file has lines of the other stream already: to the old file, whose writer is not done, or to the new one.
#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_piece_written_after_the_first_lines_of_the_new_file_is_joined_where_it_belongs() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = node.config(&recorder.url());
    // The old file is final when its writer closes it, and not before.
    config.timing.rotate_grace = Duration::from_secs(3600);
    let agent = Agent::start(config).await;
    let mut container = node.container("app");
    let (mut expected, mut others) = (Vec::new(), 0);
    for round in 0..8 {
        let (is_to_the_old_file, is_seen_before) = (round % 2 == 0, round % 4 < 2);
        container.write("stderr", "F", &format!("line {others}"));
        container.write("stdout", "P", &format!("{round} head, "));
        container.rename();
        let mut old = container.file.take();
        container.reopen();
        let after = if is_to_the_old_file { others + 1 } else { others + 3 };
        container.write("stderr", "F", &format!("line {}", others + 1));
        container.write("stderr", "F", &format!("line {}", others + 2));
        others += 3;
        if !is_to_the_old_file {
            old = None;
        }
        if is_seen_before {
            recorder.wait_for(round + after).await;
            pause(60).await;
        }
        if is_to_the_old_file {
            std::mem::swap(&mut container.file, &mut old);
            container.write("stdout", "P", "late piece, ");
            std::mem::swap(&mut container.file, &mut old);
        } else {
            container.write("stdout", "P", "late piece, ");
        }
        drop(old);
        container.write("stdout", "F", "tail");
        expected.push(format!("{round} head, late piece, tail"));
        recorder.wait_for(round + 1 + others).await;
    }
    let lines = recorder.lines();
    assert_eq!((&lines["app/stdout"], &lines["app/stderr"]), (&expected, &numbered(0..others)));
    assert_eq!(recorder.count(), expected.len() + others);
    assert_eq!(agent.metric("late_growth_total"), 0.0);
    agent.assert_balanced();
    agent.stop().await;
}

/// 13. The old file grows by 1 MiB after its successor has data; before it is final, and after.
#[tokio::test(flavor = "multi_thread")]
async fn case_13_a_late_writer_loses_nothing_and_is_counted_only_after_the_end() {
    for is_after_the_end in [false, true] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let agent = Agent::start(node.config(&recorder.url())).await;
        let mut writer = Sequence::new(node.container("app"));
        let mut late = Sequence::new(node.container("late"));
        late.container.directory = writer.container.directory.clone();
        "app".clone_into(&mut late.name);
        late.container.nanos = 1_000_000_000;
        writer.lines(100);
        recorder.wait_for(100).await;
        let rotated = writer.container.rename();
        let late_file =
            if is_after_the_end { OpenOptions::new().append(true).open(rotated).unwrap() } else { writer.container.file.take().unwrap() };
        writer.container.reopen();
        // Its numbers go on after those of the late writer, its stamps as well.
        late.written = writer.written;
        late.container.file = Some(late_file);
        if is_after_the_end {
            let new_lines: Vec<String> = (0..10).map(|number| format!("line {number}")).collect();
            let mut successor = node.container("next");
            successor.directory = writer.container.directory.clone();
            successor.file = writer.container.file.take();
            successor.nanos = 2_000_000_000;
            successor.lines(0..10);
            recorder.wait_for(110).await;
            wait_until("the end of the old file", || agent.metric("rotations_total") == 1.0, || agent.handle.render_metrics()).await;
            late.payload = 1000;
            late.lines(1000);
            late.container.file = None;
            recorder.wait_for(1110).await;
            let stored = recorder.stored();
            assert_eq!(stored.iter().filter(|entry| entry.line.starts_with("line ")).count(), new_lines.len());
            assert_eq!(stored.iter().filter(|entry| entry.line.starts_with("app ")).count(), 1100);
            assert!(agent.metric("late_growth_total") >= 1.0);
        } else {
            late.payload = 1000;
            for _ in 0..10 {
                late.lines(100);
                pause(20).await;
            }
            // The new file has data only now, and the old one is still open.
            writer.written = late.written;
            writer.container.nanos = late.container.nanos;
            writer.lines(100);
            late.written = writer.written;
            recorder.wait_for(1200).await;
            assert_exact(&recorder, &[&writer]);
            assert_eq!(agent.metric("late_growth_total"), 0.0);
        }
        assert_eq!(recorder.all().len(), recorder.count());
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// Finality without waiting: nothing is watched, and the grace of a rotation never passes.
fn without_events(node: &Node, url: &str) -> tailwater_agent::Config {
    let mut config = node.config(url);
    config.timing.watch_directories = false;
    config.timing.degraded_scan_interval = Duration::from_millis(50);
    config.timing.rotate_grace = Duration::from_secs(3600);
    config
}

/// Whether the kernel grants leases where tests have their files; says so if not.
fn has_leases(node: &Node) -> bool {
    let path = node.pods().with_file_name("probe");
    std::fs::write(&path, b"x").unwrap();
    let has = tailwater_lease::writers(&File::open(path).unwrap()) == tailwater_lease::Writers::None;
    if !has {
        println!("skipped: no leases on this file system");
    }
    has
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_file_without_a_writer_is_final_at_once_although_nobody_said_so() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    if !has_leases(&node) {
        return;
    }
    let agent = Agent::start(without_events(&node, &recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    for _ in 0..5 {
        writer.lines(200);
        writer.container.rotate();
    }
    writer.lines(10);
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(agent.metric("late_growth_total"), 0.0);
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_file_with_a_writer_is_not_final_until_that_is_gone() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    if !has_leases(&node) {
        return;
    }
    let agent = Agent::start(without_events(&node, &recorder.url())).await;
    let mut container = node.container("app");
    container.lines(0..100);
    recorder.wait_for(100).await;
    // Its successor is there and has data while the old one is still written to.
    let old = container.rename();
    let mut other = container.file.take();
    container.reopen();
    container.lines(300..350);
    std::mem::swap(&mut container.file, &mut other);
    for part in 1..=4 {
        pause(150).await;
        assert_eq!(recorder.count(), 50 + 50 * part, "the successor was read while {} had a writer", old.display());
        container.lines(50 + 50 * part..100 + 50 * part);
        recorder.wait_for(100 + 50 * part).await;
    }
    container.file = None;
    recorder.wait_for(350).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..350));
    assert_eq!(agent.metric("late_growth_total"), 0.0);
    agent.assert_balanced();
    agent.stop().await;
}

/// Whether its name is only removed, or another file is renamed over it: as long as somebody writes to it, it is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_with_a_writer_is_not_final_until_that_is_gone() {
    for is_replaced in [false, true] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        if !has_leases(&node) {
            return;
        }
        let agent = Agent::start(node.config(&recorder.url())).await;
        let mut writer = Sequence::new(node.container("app"));
        let live = writer.container.live();
        writer.lines(100);
        recorder.wait_for(100).await;
        if is_replaced {
            let next = live.with_extension("log.tmp");
            File::create_new(&next).unwrap();
            std::fs::rename(next, &live).unwrap();
        } else {
            std::fs::remove_file(&live).unwrap();
        }
        for _ in 0..2 {
            pause(1300).await;
            writer.lines(50);
        }
        writer.container.reopen();
        writer.lines(100);
        recorder.wait_for(writer.total()).await;
        assert_exact(&recorder, &[&writer]);
        wait_until("the old file is closed", || deleted_descriptors_of(&live) == 0, String::new).await;
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// Who closed it may be another writer, or the writer of another file that had its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_file_that_one_of_two_writers_closed_is_not_final() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    if !has_leases(&node) {
        return;
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    recorder.wait_for(100).await;
    drop(OpenOptions::new().append(true).open(writer.container.live()).unwrap());
    pause(300).await;
    writer.container.rename();
    File::create_new(writer.container.live()).unwrap();
    pause(300).await;
    writer.lines(50);
    writer.container.reopen();
    writer.lines(100);
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(agent.metric("late_growth_total"), 0.0);
    agent.assert_balanced();
    agent.stop().await;
}
