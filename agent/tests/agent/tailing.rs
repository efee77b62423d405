//! The agent on a tree that changes as a kubelet changes it: every line once, in order, with its labels.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::support::{Agent, Container, Node, Reaction, Recorder, gzip, label, numbered, open_paths, wait_until};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tailwater_agent::config::Timing;

#[tokio::test(flavor = "multi_thread")]
async fn lines_arrive_with_labels_and_metadata_of_their_path() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.line("hello");
    container.write("stderr", "F", "oops");
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(2).await;
    let entries = recorder.all();
    let expected = r#"{app="web", container="app", job="shop/web", namespace="shop", node_name="node-a", pod="web-1", stream="stdout"}"#;
    let hello = entries.iter().find(|entry| entry.line == "hello").unwrap();
    assert_eq!(hello.labels, expected);
    assert_eq!(hello.metadata, [("pod_uid".to_owned(), "uid-1".to_owned()), ("restart".to_owned(), "0".to_owned())]);
    assert!(entries.iter().any(|entry| entry.line == "oops" && label(&entry.labels, "stream") == "stderr"));
    let headers = recorder.last_headers();
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("tailwater-agent/"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_announce_itself_gets_no_metadata() {
    let (node, recorder) = (Node::new(), Recorder::start(false).await);
    node.container("app").line("hello");
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(1).await;
    assert!(recorder.all()[0].metadata.is_empty());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_by_rename_under_load_loses_and_doubles_nothing() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let agent = Agent::start(node.config(&recorder.url())).await;
    for part in 0..20 {
        container.lines(part * 2000..part * 2000 + 1500);
        container.rename();
        // The writer goes on into the renamed file, and no live file exists.
        container.lines(part * 2000 + 1500..part * 2000 + 2000);
        if part % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(70)).await;
        }
        container.reopen();
    }
    recorder.wait_for(40_000).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..40_000));
    assert_eq!(recorder.all().len(), 40_000, "nothing was sent twice");
    let metrics = agent.handle.metrics();
    assert_eq!((metrics.lines_read, metrics.lines_dropped, metrics.possible_losses), (40_000, 0, 0));
    wait_until("acknowledgement", || agent.handle.metrics().lines_acknowledged == 40_000, || format!("{:?}", agent.handle.metrics())).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_between_two_looks_and_scans_alone_are_enough() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let mut config = node.config(&recorder.url());
    config.timing = Timing { watch_directories: false, degraded_scan_interval: Duration::from_millis(300), ..config.timing };
    container.lines(0..10);
    let agent = Agent::start(config).await;
    recorder.wait_for(10).await;
    container.lines(10..20);
    container.rotate();
    container.lines(20..30);
    container.rotate();
    container.lines(30..40);
    recorder.wait_for(40).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..40));
    assert_eq!(agent.handle.metrics().possible_losses, 0);
    assert!(agent.handle.render_metrics().contains("tailwater_agent_watch_degraded 1"));
    agent.stop().await;
}

/// Newer kubelets rename twice. A copy that is being compressed has such a name as well and is another file.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_its_way_to_another_name_is_known_by_its_inode() {
    for interim in ["0.log.tmp", "0.log.20261121-000001.tmp"] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut container = node.container("app");
        container.lines(0..10);
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(10).await;
        agent.stop().await;
        container.lines(10..20);
        let path = container.directory.join(interim);
        std::fs::rename(container.live(), &path).unwrap();
        std::fs::write(container.directory.join("0.log.20261121-000000.tmp"), b"\x1f\x8b\x08 half a copy\n").unwrap();
        let agent = Agent::start(node.config(&recorder.url())).await;
        recorder.wait_for(20).await;
        let rotated = container.directory.join("0.log.20261121-000001");
        std::fs::rename(&path, &rotated).unwrap();
        container.reopen();
        container.lines(20..30);
        recorder.wait_for(30).await;
        gzip(&rotated);
        container.lines(30..40);
        recorder.wait_for(40).await;
        assert_eq!(recorder.lines()["app/stdout"], numbered(0..40), "{interim}");
        assert_eq!(recorder.all().len(), 40, "{interim}: nothing is read twice");
        agent.assert_balanced();
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_rotated_files_is_read_oldest_first() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    for part in 0..4 {
        container.lines(part * 100..part * 100 + 100);
        container.rotate();
    }
    container.lines(400..500);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(500).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..500));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_cut_by_a_rotation_is_joined_and_the_other_stream_is_untouched() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.write("stdout", "P", "first ");
    container.write("stderr", "P", "e1 ");
    container.write("stdout", "P", "second ");
    let agent = Agent::start(node.config(&recorder.url())).await;
    container.rotate();
    container.write("stderr", "F", "e2");
    container.write("stderr", "F", "other");
    container.write("stdout", "F", "third");
    recorder.wait_for(3).await;
    let lines = recorder.lines();
    assert_eq!(lines["app/stdout"], ["first second third"]);
    assert_eq!(lines["app/stderr"], ["e1 e2", "other"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_stamps_and_equal_lines_stay_distinct() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let agent = Agent::start(node.config(&recorder.url())).await;
    for part in 0..2 {
        for _ in 0..500 {
            container.raw(b"2026-11-21T09:00:00.000000001Z stdout F same\n");
        }
        if part == 0 {
            container.rotate();
        }
    }
    recorder.wait_for(1000).await;
    let stamps: Vec<_> = recorder.stored().iter().map(|entry| entry.timestamp).collect();
    assert_eq!(stamps.len(), 1000);
    assert_eq!(stamps[999] - stamps[0], 999);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_container_is_read_after_the_instance_before_and_its_open_line_is_sent() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let agent = Agent::start(node.config(&recorder.url())).await;
    container.line("a");
    container.write("stdout", "P", "no newline at the end");
    container.restart();
    container.line("b");
    recorder.wait_for(3).await;
    assert_eq!(recorder.lines()["app/stdout"], ["a", "no newline at the end", "b"]);
    let restarts: Vec<_> = recorder.stored().iter().map(|entry| entry.metadata[1].1.clone()).collect();
    assert_eq!(restarts, ["0", "0", "1"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_its_end_is_sent_after_a_while() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let mut config = node.config(&recorder.url());
    config.timing.partial_idle = Duration::from_millis(300);
    let agent = Agent::start(config).await;
    container.write("stdout", "P", "waiting");
    recorder.wait_for(1).await;
    assert_eq!(recorder.lines()["app/stdout"], ["waiting"]);
    assert!(agent.handle.render_metrics().contains("tailwater_agent_partial_idle_total 1"));
    container.write("stdout", "F", "late end");
    recorder.wait_for(2).await;
    // What the clock ended is in the balance of the file, which is struck when the file is finished.
    container.rotate();
    for (line, entries) in [("next", 3), ("and next", 4)] {
        container.line(line);
        recorder.wait_for(entries).await;
    }
    agent.assert_balanced();
    agent.stop().await;
}

/// While the other stream goes on, so that the file is never idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_long_and_never_ends_is_sent_and_does_not_hold_the_position() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let mut config = node.config(&recorder.url());
    config.timing.partial_idle = Duration::from_millis(500);
    config.max_line_size = 1000;
    let agent = Agent::start(config.clone()).await;
    for _ in 0..20 {
        container.write("stdout", "P", &"x".repeat(100));
    }
    let mut others = 0;
    let is_there = || recorder.stored().iter().any(|entry| entry.line.ends_with("...[truncated 1025 bytes]"));
    wait_until(
        "the long line",
        || {
            container.write("stderr", "F", &format!("other {others}"));
            others += 1;
            is_there()
        },
        || format!("{} entries", recorder.count()),
    )
    .await;
    recorder.wait_for(others + 1).await;
    agent.stop().await;
    let before = recorder.all().len();
    container.write("stderr", "F", "after the restart");
    let agent = Agent::start(config).await;
    recorder.wait_for(others + 2).await;
    assert_eq!(recorder.all().len(), before + 1, "nothing is read again");
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_read_from_its_new_beginning_and_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(100).await;
    std::fs::File::options().write(true).open(container.live()).unwrap().set_len(0).unwrap();
    // Refilled at once: whether the look comes before or after, the head tells.
    container.lines(100..150);
    recorder.wait_for(150).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..150));
    assert_eq!(agent.handle.metrics().possible_losses, 1);
    // Refilled beyond the old size.
    std::fs::File::options().write(true).open(container.live()).unwrap().set_len(0).unwrap();
    container.lines(150..450);
    recorder.wait_for(450).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..450));
    assert_eq!(agent.handle.metrics().possible_losses, 2);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_writer_into_a_finished_file_is_read_all_the_same() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(10).await;
    let rotated = container.rotate();
    container.lines(20..30);
    recorder.wait_for(20).await;
    let mut late = std::fs::OpenOptions::new().append(true).open(rotated).unwrap();
    std::io::Write::write_all(&mut late, b"2026-11-21T09:00:00.5Z stdout F late\n").unwrap();
    drop(late);
    recorder.wait_for(21).await;
    assert_eq!(recorder.all().len(), 21);
    assert!(agent.handle.render_metrics().contains("tailwater_agent_late_growth_total 1"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_read_to_its_end_and_its_files_are_let_go() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(node.config(&recorder.url())).await;
    for pod in 0..5 {
        let mut container = node.container(&format!("short-{pod}"));
        container.lines(0..3);
        // Its descriptor is held from now on.
        recorder.wait_for(pod * 6 + 3).await;
        container.lines(3..6);
        std::fs::remove_dir_all(&container.directory).unwrap();
        recorder.wait_for(pod * 6 + 6).await;
    }
    let is_let_go = || agent.handle.render_metrics().contains("tailwater_agent_open_files 0\n");
    wait_until("closed files", is_let_go, || agent.handle.render_metrics()).await;
    assert_eq!(agent.handle.metrics().possible_losses, 0);
    agent.stop().await;
}

/// A file with two names that rotation gives, and one with a further name outside the tree, which it keeps when its pod is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_two_names_is_read_once_and_ends_with_its_name_in_the_tree() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let (mut twice, mut kept) = (node.container("twice"), node.container("kept"));
    let link = |container: &Container, to: &Path| std::fs::hard_link(container.live(), to).unwrap();
    let (second_name, outside) = (twice.directory.join("0.log.20261121-000001"), node.data().with_file_name("outside"));
    twice.lines(0..10);
    kept.lines(0..10);
    link(&twice, &second_name);
    link(&kept, &outside);
    let mut config = node.config(&recorder.url());
    config.timing.partial_idle = Duration::from_secs(3600);
    let agent = Agent::start(config).await;
    recorder.wait_for(20).await;
    twice.lines(10..20);
    kept.lines(10..20);
    recorder.wait_for(40).await;
    // Rotated in earnest one name follows the other.
    std::fs::remove_file(&second_name).unwrap();
    twice.rotate();
    link(&twice, &second_name.with_extension("20261121-000009"));
    twice.lines(20..30);
    kept.write("stdout", "P", "without its end");
    recorder.wait_for(50).await;
    kept.file = None;
    std::fs::remove_dir_all(&kept.directory).unwrap();
    recorder.wait_for(51).await;
    let is_open = || open_paths().any(|path| path.starts_with(&kept.directory));
    wait_until("the file closed", || !is_open(), || agent.metric("open_files").to_string()).await;
    let lines = recorder.lines();
    assert_eq!((&lines["twice/stdout"], &lines["kept/stdout"][..20]), (&numbered(0..30), &numbered(0..20)[..]));
    assert_eq!(lines["kept/stdout"][20], "without its end");
    assert_eq!(recorder.all().len(), 51, "each line was sent once");
    agent.assert_balanced();
    agent.stop().await;
    // Neither name is another file to the next agent.
    let agent = Agent::start(node.config(&recorder.url())).await;
    twice.lines(30..40);
    recorder.wait_for(61).await;
    assert_eq!(recorder.all().len(), 61);
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_neither_read_nor_block_and_are_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let path = |name: &str| container.directory.join(name);
    std::fs::write(node.data().with_file_name("secret"), b"2026-11-21T09:00:00Z stdout F secret\n").unwrap();
    symlink(node.data().with_file_name("secret"), path("1.log")).unwrap();
    mkfifo(&path("2.log"), Mode::S_IRWXU).unwrap();
    std::fs::create_dir(path("3.log")).unwrap();
    symlink("/dev/zero", path("4.log")).unwrap();
    symlink(&container.directory, container.directory.with_file_name("loop")).unwrap();
    container.line("good");
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(1).await;
    container.line("still good");
    recorder.wait_for(2).await;
    assert_eq!(recorder.lines()["app/stdout"], ["good", "still good"]);
    let ignored = || ["symlink", "not_regular"].map(|reason| agent.metric(&format!("ignored_files{{reason=\"{reason}\"}}")));
    wait_until("what is left out counted", || ignored() == [3.0, 2.0], || format!("{:?}", ignored())).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_are_replaced_long_lines_cut_and_junk_kept() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.raw(b"2026-11-21T09:00:00.000000001Z stdout F bad \xff\xfe byte\n");
    container.raw(b"\0\0\0\0");
    container.raw(b"2026-11-21T09:00:00.000000002Z stdout F after nul\n");
    container.raw(b"no header\n");
    container.raw(&[&b"2026-11-21T09:00:00.000000004Z stdout F "[..], &vec![b'x'; 3 << 20], b"\n"].concat());
    container.raw(b"2026-11-21T09:00:00.000000005Z stderr F last\n");
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(5).await;
    let lines = &recorder.lines()["app/stdout"];
    assert_eq!(lines[..3], ["bad \u{fffd}\u{fffd} byte", "after nul", "no header"]);
    assert_eq!(lines[3].len(), 256 << 10);
    assert!(lines[3].ends_with(&format!("x...[truncated {} bytes]", (3 << 20) - (256 << 10) + 28)), "{}", &lines[3][lines[3].len() - 40..]);
    assert_eq!(recorder.lines()["app/stderr"], ["last"]);
    let metrics = agent.handle.render_metrics();
    for line in ["invalid_utf8_total 1", "parse_errors_total{format=\"cri\"} 1", "mutated_lines_total{reason=\"line_too_long\"} 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_lost_answers_are_retried_with_the_same_entries() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|number| match number % 5 {
        1 => Reaction::Refuse(503),
        2 => Reaction::Refuse(429),
        3 => Reaction::LoseAnswer,
        _ => Reaction::Store,
    });
    let mut container = node.container("app");
    let agent = Agent::start(node.config(&recorder.url())).await;
    for part in 0..10 {
        container.lines(part * 50..part * 50 + 50);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    recorder.wait_for(500).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..500));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_entry_does_not_condemn_the_other_half_and_is_counted() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.refuse_lines_with("poison");
    let mut container = node.container("app");
    for number in 0..10 {
        container.line(&if number == 7 { "poison".to_owned() } else { format!("line {number}") });
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    wait_until("a drop", || agent.handle.metrics().lines_dropped == 5, || format!("{:?}", agent.handle.metrics())).await;
    container.line("after");
    recorder.wait_for(6).await;
    assert_eq!(recorder.lines()["app/stdout"], ["line 0", "line 1", "line 2", "line 3", "line 4", "after"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_at_the_receiver_drops_nothing() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|number| if number <= 3 { Reaction::Refuse(404) } else { Reaction::Store });
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(10).await;
    assert_eq!(agent.handle.metrics().lines_dropped, 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_sent_in_halves() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|number| if number <= 2 { Reaction::Refuse(413) } else { Reaction::Store });
    let mut container = node.container("app");
    container.lines(0..100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(100).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..100));
    assert_eq!(recorder.all().len(), 100);
    assert_eq!(agent.handle.metrics().lines_dropped, 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_containers_with_a_slow_receiver_stay_exact() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::Delay(Duration::from_millis(30)));
    let mut config = node.config(&recorder.url());
    config.client.batchsize = 20_000;
    let agent = Agent::start(config).await;
    let mut containers: Vec<_> = (0..20).map(|number| node.container(&format!("c{number}"))).collect();
    for part in 0..10 {
        for container in &mut containers {
            container.lines(part * 100..part * 100 + 100);
            if part % 4 == 3 {
                container.rotate();
            }
        }
    }
    recorder.wait_for(20_000).await;
    let lines = recorder.lines();
    assert_eq!(lines.len(), 20);
    assert!(lines.values().all(|lines| *lines == numbered(0..1000)));
    assert_eq!(recorder.all().len(), 20_000);
    agent.stop().await;
}

/// However many readers there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_two_requests_at_a_time() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::Delay(Duration::from_millis(50)));
    let mut config = node.config(&recorder.url());
    config.readers = 4;
    config.client.batchsize = 2_000;
    let mut containers: Vec<_> = (0..20).map(|number| node.container(&format!("c{number}"))).collect();
    containers.iter_mut().for_each(|container| container.lines(0..200));
    let agent = Agent::start(config).await;
    let mut most = 0;
    let all_there = || {
        most = most.max(recorder.unanswered());
        recorder.count() == 4000
    };
    wait_until("all lines", all_there, || format!("{}", recorder.count())).await;
    assert_eq!(most, 2);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_unfinished_long_lines_are_shortened_together_and_the_same_after_a_restart() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = node.config(&recorder.url());
    config.readers = 1;
    let mut containers: Vec<_> = (0..50).map(|number| node.container(&format!("c{number}"))).collect();
    for container in &mut containers {
        for _ in 0..14 {
            container.write("stdout", "P", &"x".repeat(16 << 10));
        }
        container.write("stderr", "F", "read");
    }
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(50).await;
    agent.stop().await;
    let agent = Agent::start(config).await;
    for container in &mut containers {
        container.write("stdout", "F", "end");
    }
    recorder.wait_for(100).await;
    let lengths: Vec<_> = recorder.lines().values().flatten().filter(|line| *line != "read").map(String::len).collect();
    let shortened = lengths.iter().filter(|length| **length < 17 << 10).count();
    assert_eq!(lengths.len(), 50);
    assert!((10..30).contains(&shortened), "{shortened} of 50 lines of 224 KiB were shortened to bring them to 8 MiB");
    let metrics = agent.handle.render_metrics();
    assert!(metrics.contains(&format!("tailwater_agent_mutated_lines_total{{reason=\"line_too_long\"}} {shortened}")), "{metrics}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_the_operator_leaves_out_are_never_opened() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut taken = node.container("app");
    let mut sidecar = node.container("istio-proxy");
    let mut other = Container::new(node.pods().join("kube-system_dns-1_uid-2/dns"));
    for container in [&mut taken, &mut sidecar, &mut other] {
        container.lines(0..3);
    }
    let mut sources = tailwater_agent::config::load::Sources::default();
    for (name, value) in [("push-url", "http://h/push"), ("exclude", "kube-system, */*/istio-proxy")] {
        sources.flags.insert(name.to_owned(), value.to_owned());
    }
    let mut config = node.config(&recorder.url());
    config.selection = tailwater_agent::config::load::load(&sources).unwrap().selection;
    let agent = Agent::start(config).await;
    recorder.wait_for(3).await;
    sidecar.rotate();
    let late = Container::new(node.pods().join("kube-system_dns-2_uid-3/dns"));
    taken.lines(3..4);
    recorder.wait_for(4).await;
    wait_until("one file open", || agent.metric("open_files") == 1.0, || agent.metric("open_files").to_string()).await;
    assert_eq!(recorder.lines().keys().collect::<Vec<_>>(), ["app/stdout"]);
    drop(late);
    agent.stop().await;
}
