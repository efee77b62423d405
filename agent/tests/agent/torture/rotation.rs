//! Cases 1 to 16: rotation; what comes late, 10 and 13, is in [`super::late`].

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::pause;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact, faults, faults_of};
use crate::support::{Agent, Container, Node, Reaction, Recorder, deleted_descriptors_of, descriptors_of, gzip, wait_until};

/// 1. Rename and reopen at a mebibyte while as much as the disk takes is written, many times.
#[tokio::test(flavor = "multi_thread")]
async fn case_01_twenty_rotations_under_load() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    writer.payload = 1000;
    let writer = tokio::task::spawn_blocking(move || {
        for _ in 0..20 {
            writer.lines(1000);
            writer.container.rename();
            writer.lines(300);
            writer.container.reopen();
            std::thread::sleep(Duration::from_millis(15));
        }
        // Without it the last rotated file is final only if its being closed was seen.
        writer.lines(10);
        writer
    });
    let writer = writer.await.unwrap();
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), writer.total(), "sent once");
    wait_until("20 rotations", || agent.metric("rotations_total") >= 20.0, || agent.handle.render_metrics()).await;
    agent.assert_balanced();
    agent.stop().await;
}

/// 2. No live file for a while; the writer goes on into the renamed one.
#[tokio::test(flavor = "multi_thread")]
async fn case_02_lines_between_rename_and_reopen_come_before_those_of_the_new_file() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    recorder.wait_for(100).await;
    writer.container.rename();
    for part in 1..=6 {
        writer.lines(50);
        recorder.wait_for(100 + part * 50).await;
        pause(100).await;
    }
    writer.container.reopen();
    writer.lines(100);
    recorder.wait_for(500).await;
    assert_exact(&recorder, &[&writer]);
    agent.assert_balanced();
    agent.stop().await;
}

/// 3. Reopen fails: the file is renamed back, and rotated again later.
#[tokio::test(flavor = "multi_thread")]
async fn case_03_renamed_back_and_rotated_again() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    for round in 0..4 {
        let rotated = writer.container.rename();
        writer.lines(50);
        if round % 2 == 0 {
            pause(150).await;
        }
        std::fs::rename(rotated, writer.container.live()).unwrap();
        writer.lines(50);
        if round % 2 == 1 {
            pause(150).await;
        }
    }
    writer.container.rotate();
    writer.lines(100);
    recorder.wait_for(600).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), 600, "nothing was read from its beginning again");
    agent.assert_balanced();
    agent.stop().await;
}

/// 4. Three rotations while the program is stopped, the oldest two compressed.
#[tokio::test(flavor = "multi_thread")]
async fn case_04_three_rotations_while_stopped_two_of_them_compressed() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    let program = Program::start(&node, &recorder.url());
    recorder.wait_for(100).await;
    program.signal(Signal::SIGSTOP);
    writer.lines(100);
    let first = writer.container.rotate();
    writer.lines(500);
    let second = writer.container.rotate();
    writer.lines(500);
    writer.container.rotate();
    writer.lines(100);
    gzip(&first);
    gzip(&second);
    program.signal(Signal::SIGCONT);
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), writer.total(), "the copy of the file that was held open was not read as well");
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert_eq!(metrics["tailwater_agent_possible_loss_total{reason=\"rotated_away\"}"], 0.0);
}

/// 5. A plain file half read is compressed while the agent is down.
#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_half_read_file_is_continued_inside_its_compressed_copy() {
    for lines_before in [1, 2, 300] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut writer = Sequence::new(node.container("app"));
        writer.lines(lines_before);
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(lines_before).await;
        agent.stop().await;
        writer.lines(2000);
        let rotated = writer.container.rotate();
        writer.lines(10);
        gzip(&rotated);
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(writer.total()).await;
        assert_exact(&recorder, &[&writer]);
        assert_eq!(recorder.all().len(), writer.total(), "continued, not begun anew");
        agent.assert_balanced();
        agent.stop().await;
        // Once finished, it is not read again by the next agent either.
        let agent = Agent::start(node.config(&recorder.url())).await;
        writer.lines(10);
        recorder.wait_for(writer.total()).await;
        assert_eq!(recorder.all().len(), writer.total());
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// 6. The copy grows as `.tmp`, is renamed, and the plain file is unlinked only after that.
#[tokio::test(flavor = "multi_thread")]
async fn case_06_a_growing_temporary_file_is_never_read() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    let mut rotated = Vec::new();
    for _ in 0..3 {
        writer.lines(500);
        rotated.push(writer.container.rotate());
        pause(30).await;
    }
    writer.lines(100);
    for path in &rotated {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&std::fs::read(path).unwrap()).unwrap();
        let bytes = encoder.finish().unwrap();
        let named = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display()));
        let mut temporary = File::create(named("tmp")).unwrap();
        for part in bytes.chunks(bytes.len() / 5 + 1) {
            temporary.write_all(part).unwrap();
            pause(60).await;
        }
        drop(temporary);
        std::fs::rename(named("tmp"), named("gz")).unwrap();
        pause(700).await;
        std::fs::remove_file(path).unwrap();
    }
    writer.lines(100);
    recorder.wait_for(writer.total()).await;
    pause(700).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), writer.total(), "nothing was read twice");
    agent.assert_balanced();
    agent.stop().await;
}

/// 7. Rotated away while the receiver is down and the agent holds the descriptors; then with too little room to hold them, and for too short a time.
#[tokio::test(flavor = "multi_thread")]
async fn case_07_deleted_files_are_held_until_they_are_read_within_the_limit() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (bytes, age) in [(1 << 30, HOUR), (300_000, HOUR), (1 << 30, Duration::from_millis(300))] {
        let is_enough = (bytes, age) == (1 << 30, HOUR);
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        recorder.behave(|_| Reaction::Refuse(503));
        let mut config = node.config(&recorder.url());
        config.client.batchsize = 20_000;
        config.readers = 1;
        (config.deleted_hold_bytes, config.timing.deleted_hold) = (bytes, age);
        let agent = Agent::start(config).await;
        let mut writer = Sequence::new(node.container("app"));
        for _ in 0..6 {
            writer.lines(1000);
            let rotated = writer.container.rotate();
            // The agent has it open before it goes.
            wait_until("an open file", || descriptors_of(&rotated) > 0, String::new).await;
            std::fs::remove_file(rotated).unwrap();
        }
        writer.lines(10);
        if !is_enough {
            let name = "possible_loss_total{reason=\"deleted_hold\"}";
            wait_until("files let go", || agent.metric(name) >= 3.0, || agent.handle.render_metrics()).await;
        }
        recorder.behave(|_| Reaction::Store);
        let last = format!("app stderr {}", writer.written[1] - 1);
        let has_last = || recorder.stored().iter().any(|entry| entry.line.starts_with(&last));
        wait_until("the last line", has_last, || recorder.count().to_string()).await;
        if is_enough {
            recorder.wait_for(writer.total()).await;
            assert_exact(&recorder, &[&writer]);
            agent.assert_balanced();
        } else {
            let missing = writer.total() - recorder.count();
            assert!(missing > 0 && missing < 6000, "{missing} lines missing");
            assert_eq!(agent.metric("balance_errors_total"), 0.0);
        }
        agent.stop().await;
    }
}

/// 7. With too little room to hold them, or for too short a time, while the kubelet keeps compressed copies: what was unread is read there, also of the file
/// that was half read, and over an end of the agent.
#[tokio::test(flavor = "multi_thread")]
async fn case_07_deleted_files_that_are_let_go_are_read_in_their_compressed_copies() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (bytes, age, is_ended) in [(300_000, HOUR, false), (1 << 30, Duration::from_millis(300), false), (300_000, HOUR, true)] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        recorder.behave(|number| if number < 2 { Reaction::Store } else { Reaction::Refuse(503) });
        let mut config = node.config(&recorder.url());
        config.client.batchsize = 20_000;
        config.readers = 1;
        (config.deleted_hold_bytes, config.timing.deleted_hold) = (bytes, age);
        let mut agent = Agent::start(config.clone()).await;
        let mut writer = Sequence::new(node.container("app"));
        let mut compressed = Vec::new();
        for _ in 0..6 {
            writer.lines(1000);
            let rotated = writer.container.rotate();
            // The agent has it open before it goes.
            wait_until("an open file", || descriptors_of(&rotated) > 0, String::new).await;
            gzip(&rotated);
            compressed.push(rotated);
        }
        writer.lines(10);
        let is_held = |rotated: &&PathBuf| deleted_descriptors_of(rotated) > 0;
        let is_let_go = || compressed.iter().filter(is_held).count() < 4;
        wait_until("files let go", is_let_go, || agent.handle.render_metrics()).await;
        if is_ended {
            agent.stop().await;
            agent = Agent::start(config).await;
        }
        recorder.behave(|_| Reaction::Store);
        recorder.wait_for(writer.total()).await;
        assert_exact(&recorder, &[&writer]);
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// 8. The oldest file is truly gone when the agent comes back.
#[tokio::test(flavor = "multi_thread")]
async fn case_08_exactly_the_unread_lines_of_a_file_that_is_gone_are_missing_and_counted_once() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(100).await;
    agent.stop().await;
    writer.lines(50);
    let gone = writer.container.rotate();
    writer.lines(200);
    let compressed = writer.container.rotate();
    writer.lines(200);
    writer.container.rotate();
    writer.lines(100);
    std::fs::remove_file(gone).unwrap();
    gzip(&compressed);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(600).await;
    assert_eq!(recorder.count(), writer.total() - 50);
    let numbers = |stream: &str| -> Vec<usize> {
        let lines = recorder.lines().remove(&format!("app/{stream}")).unwrap();
        lines.iter().map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect()
    };
    assert_eq!(numbers("stdout"), (0..80).chain(120..520).collect::<Vec<_>>());
    assert_eq!(numbers("stderr"), (0..20).chain(30..130).collect::<Vec<_>>());
    assert_eq!(agent.metric("possible_loss_total{reason=\"rotated_away\"}"), 1.0);
    assert_eq!(agent.handle.metrics().possible_losses, 1);
    assert_eq!(agent.metric("balance_errors_total"), 0.0);
    agent.stop().await;
}

/// 9. The new live file has the inode of the deleted one and is longer than its offset, with the agent running and down.
#[tokio::test(flavor = "multi_thread")]
async fn case_09_a_new_file_with_the_inode_of_a_deleted_one_is_read_from_its_beginning() {
    for is_running in [true, false] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut writer = Sequence::new(node.container("app"));
        writer.lines(100);
        let inode = writer.container.live().metadata().unwrap().ino();
        let first = Agent::start(node.config(&recorder.url())).await;
        let mut running = Some(first);
        recorder.wait_for(100).await;
        if let Some(agent) = running.as_ref().filter(|_| is_running) {
            // The descriptor is let go once the file is gone, drained and followed by another; then its inode is free.
            let rotated = writer.container.rename();
            std::fs::remove_file(rotated).unwrap();
            writer.container.reopen();
            writer.lines(5);
            recorder.wait_for(105).await;
            let is_let_go = || agent.metric("open_files") <= 1.0;
            wait_until("the deleted file closed", is_let_go, || agent.handle.render_metrics()).await;
            writer.container.rename();
        } else {
            running.take().unwrap().stop().await;
            writer.container.file = None;
            std::fs::remove_file(writer.container.live()).unwrap();
        }
        let mut is_reused = false;
        let mut others = Vec::new();
        for number in 0..200 {
            writer.container.reopen();
            is_reused = writer.container.live().metadata().unwrap().ino() == inode;
            if is_reused {
                break;
            }
            writer.container.file = None;
            let other = node.data().with_file_name(format!("other-{number}"));
            std::fs::rename(writer.container.live(), &other).unwrap();
            others.push(other);
        }
        if !is_reused {
            println!("skipped: this file system does not use the inode again");
            writer.container.reopen();
        }
        writer.lines(300);
        let agent = match running {
            Some(agent) => agent,
            None => Agent::start(node.config(&recorder.url())).await,
        };
        recorder.wait_for(writer.total()).await;
        assert_exact(&recorder, &[&writer]);
        assert_eq!(agent.metric("balance_errors_total"), 0.0);
        if is_running {
            assert_eq!(agent.handle.metrics().possible_losses, 0);
        }
        agent.stop().await;
    }
}

/// 11. Two rotations within one interval of polling.
#[tokio::test(flavor = "multi_thread")]
async fn case_11_two_rotations_within_one_look() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    for _ in 0..10 {
        writer.lines(100);
        writer.container.rotate();
        writer.lines(20);
        writer.container.rotate();
        writer.lines(20);
        pause(120).await;
    }
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    agent.assert_balanced();
    agent.stop().await;
}

/// 12. Copytruncate of a static target: a slow refill, and one beyond the old size before the next look.
#[tokio::test(flavor = "multi_thread")]
async fn case_12_copytruncate_is_noticed_counted_and_read_from_the_new_beginning() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(200);
    let program = {
        let yaml = node.data().with_file_name("promtail.yaml");
        let target = format!(
            "server: {{disable: true}}\nclients: [{{url: '{}'}}]\npositions: {{filename: {}}}\nscrape_configs:\n- job_name: t\n  pipeline_stages: [{{cri: {{}}}}]\n  \
             static_configs: [{{targets: [localhost], labels: {{container: app, __path__: '{}'}}}}]\n",
            recorder.url(),
            node.data().join("positions.yaml").display(),
            writer.container.live().display()
        );
        std::fs::write(&yaml, target).unwrap();
        Program::start_with(&node, &recorder.url(), &["--promtail-config", yaml.to_str().unwrap()])
    };
    recorder.wait_for(200).await;
    let truncate = |writer: &Sequence| OpenOptions::new().write(true).open(writer.container.live()).unwrap().set_len(0).unwrap();
    // Slowly refilled.
    truncate(&writer);
    pause(600).await;
    for _ in 0..10 {
        writer.lines(5);
        pause(60).await;
    }
    recorder.wait_for(250).await;
    program.wait_for_metric("tailwater_agent_truncated_total", |count| count == 1.0).await;
    // Beyond the old size before the next look.
    program.signal(Signal::SIGSTOP);
    truncate(&writer);
    writer.lines(800);
    program.signal(Signal::SIGCONT);
    recorder.wait_for(1050).await;
    assert!(faults(&recorder, &[&writer]).is_empty(), "{:?}", faults(&recorder, &[&writer]));
    program.wait_for_metric("tailwater_agent_truncated_total", |count| count == 2.0).await;
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_possible_loss_total{reason=\"truncated\"}"], 2.0);
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
}

/// 14. CRI-O: the new file is renamed over the old one, which is unlinked at once.
#[tokio::test(flavor = "multi_thread")]
async fn case_14_a_file_that_another_is_renamed_over_is_drained_by_its_descriptor() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    let live = writer.container.live();
    for _ in 0..8 {
        writer.lines(500);
        // Open at the agent, not only at its writer, before its name goes.
        wait_until("an open file", || descriptors_of(&live) > 1, String::new).await;
        writer.lines(500);
        let temporary = live.with_extension("log.tmp");
        let new = OpenOptions::new().create_new(true).append(true).open(&temporary).unwrap();
        std::fs::rename(&temporary, &live).unwrap();
        writer.lines(50);
        writer.container.file = Some(new);
    }
    writer.lines(100);
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    agent.assert_balanced();
    agent.stop().await;
}

/// 16. The kubelet restarts in the middle of a rotation: for a while there is no live file, and no writer either.
#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_rotated_file_without_a_live_one_is_not_read_again() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(200);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(200).await;
    writer.container.rename();
    pause(1500).await;
    agent.stop().await;
    // Over a restart of the agent as well.
    let agent = Agent::start(node.config(&recorder.url())).await;
    pause(1500).await;
    writer.lines(50);
    writer.container.reopen();
    writer.lines(50);
    recorder.wait_for(300).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), 300, "nothing was read from its beginning again");
    agent.assert_balanced();
    agent.stop().await;
}

/// D22, short: a thousand rotations of twenty files, compressed, deleted, and pods of the same name that come again.
#[tokio::test(flavor = "multi_thread")]
async fn drill_22_a_thousand_rotations_of_twenty_files() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut expected = std::collections::BTreeMap::new();
    let mut total = 0;
    for generation in 0..2 {
        // The same pod names under another UID.
        let place = |number: usize| node.pods().join(format!("shop_web-{number}_uid-{generation}/g{generation}c{number}"));
        let mut writers: Vec<Sequence> = (0..20).map(|number| Sequence::new(Container::new(place(number)))).collect();
        let mut rotated: Vec<Vec<PathBuf>> = vec![Vec::new(); writers.len()];
        for round in 0..25 {
            for (writer, rotated) in writers.iter_mut().zip(&mut rotated) {
                writer.lines(10);
                rotated.push(writer.container.rename());
                writer.lines(3);
                writer.container.reopen();
                writer.lines(2);
                total += 15;
                if let [.., older, _] = rotated.as_slice() {
                    gzip(older);
                }
            }
            if round % 5 == 4 {
                // What is deleted was read: the kubelet keeps as much as that takes.
                recorder.wait_for(total).await;
                for path in rotated.iter_mut().flat_map(|rotated| rotated.drain(..rotated.len() - 1)) {
                    std::fs::remove_file(format!("{}.gz", path.display())).unwrap();
                }
            }
        }
        recorder.wait_for(total).await;
        for writer in writers {
            expected.extend(
                ["stdout", "stderr"].into_iter().zip(writer.written).map(|(stream, count)| (format!("{}/{stream}", writer.name), count)),
            );
            std::fs::remove_dir_all(writer.container.directory.parent().unwrap()).unwrap();
        }
    }
    let faults = faults_of(&recorder, &expected);
    assert!(faults.is_empty(), "{} faults: {:?}", faults.len(), &faults[..faults.len().min(5)]);
    assert_eq!((recorder.count(), recorder.all().len()), (total, total));
    agent.assert_balanced();
    agent.stop().await;
}

/// 15. Docker's own files behind the kubelet's link, `max-file` 3, compressed; the agent away for some of it.
#[tokio::test(flavor = "multi_thread")]
async fn case_15_dockers_files_behind_links_are_read_over_their_rotation() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let docker = node.pods().with_file_name("docker");
    let directory = docker.join("containers/abc");
    std::fs::create_dir_all(&directory).unwrap();
    let live = directory.join("abc-json.log");
    let rotated = |number: u32, end: &str| directory.join(format!("abc-json.log.{number}{end}"));
    let mut writer = Sequence::new(node.container("app"));
    std::fs::remove_file(writer.container.live()).unwrap();
    std::fs::write(&live, b"").unwrap();
    std::os::unix::fs::symlink(&live, writer.container.live()).unwrap();
    let write = |writer: &mut Sequence, count: usize| {
        let mut file = OpenOptions::new().append(true).open(&live).unwrap();
        for index in 0..count {
            let stream = usize::from(index % 5 == 4);
            let (record, line) = writer.next(stream);
            let stamp = record.split(' ').next().unwrap();
            let stream = ["stdout", "stderr"][stream];
            // Every seventh line in two pieces.
            let (head, tail) = if index % 7 == 0 { line.split_at(line.len() / 2) } else { ("", line.as_str()) };
            if !head.is_empty() {
                writeln!(file, "{{\"log\":\"{head}\",\"stream\":\"{stream}\",\"time\":\"{stamp}\"}}").unwrap();
            }
            writeln!(file, "{{\"log\":\"{tail}\\n\",\"stream\":\"{stream}\",\"time\":\"{stamp}\"}}").unwrap();
        }
    };
    // As docker does it: numbers move up, the live file becomes the first, and is compressed.
    let rotate = || {
        std::fs::remove_file(rotated(2, ".gz")).ok();
        std::fs::rename(rotated(1, ".gz"), rotated(2, ".gz")).ok();
        std::fs::rename(&live, rotated(1, "")).unwrap();
        std::fs::write(&live, b"").unwrap();
        gzip(&rotated(1, ""));
    };
    let root = docker.display().to_string();
    let start = || Program::start_with(&node, &recorder.url(), &["--docker-root", &root]);
    let mut program = start();
    for round in 0..6 {
        write(&mut writer, 200);
        let total = writer.total();
        if round == 3 {
            // One rotation is missed, in the middle of a file.
            recorder.wait_for(total).await;
            write(&mut writer, 50);
            program.kill();
            write(&mut writer, 50);
            rotate();
            program = start();
        } else if round % 2 == 0 {
            recorder.wait_for(total).await;
        }
        write(&mut writer, 20);
        rotate();
        pause(700).await;
    }
    write(&mut writer, 10);
    recorder.wait_for(writer.total()).await;
    pause(500).await;
    assert_exact(&recorder, &[&writer]);
    program.wait_for_metric("tailwater_agent_possible_loss_total{reason=\"rotated_away\"}", |count| count == 0.0).await;
}
