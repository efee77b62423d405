//! Cases 58, 59 and 61 to 66: limits of the node; case 60 is in [`super::flood`].

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::pause;
use crate::support::cgroup::{Group, Limit};
use crate::support::mounts::Mounted;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Reaction, Recorder, wait_until};

/// A command in a user namespace of its own, in which limits of inotify can be set; none where that is not allowed.
fn in_namespace(setting: &str) -> Option<Command> {
    let script = format!("echo {setting} && exec \"$@\"");
    let is_possible =
        Command::new("unshare").args(["-U", "-r", "sh", "-c", &script, "sh", "true"]).output().is_ok_and(|output| output.status.success());
    if !is_possible {
        println!("skipped: no user namespaces here, so limits of inotify cannot be set for one program");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_tailwater-agent")]);
    Some(command)
}

/// 58. inotify without enough watches, without any instance; and with its queue overflown.
#[tokio::test(flavor = "multi_thread")]
async fn case_58_without_watches_scans_take_over_and_say_so() {
    for setting in ["100 > /proc/sys/user/max_inotify_watches", "0 > /proc/sys/user/max_inotify_instances"] {
        let Some(command) = in_namespace(setting) else { break };
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut writers: Vec<Sequence> = (0..150).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
        writers.iter_mut().for_each(|writer| writer.lines(5));
        let program = Program::start_by(command, &node, &recorder.url(), &[]);
        recorder.wait_for(150 * 5).await;
        program.wait_for_metric("tailwater_agent_watch_degraded", |value| value == 1.0).await;
        for writer in &mut writers {
            writer.lines(5);
            writer.container.rotate();
            writer.lines(5);
        }
        writers.push(Sequence::new(node.container("new")));
        writers[150].lines(15);
        recorder.wait_for(151 * 15).await;
        assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
        assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
    }
}

/// 58, the queue.
#[tokio::test(flavor = "multi_thread")]
async fn case_58_an_overflown_queue_of_events_is_followed_by_a_scan() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(10);
    let program = Program::start(&node, &recorder.url());
    recorder.wait_for(10).await;
    program.signal(Signal::SIGSTOP);
    // More than the kernel keeps, at three events a file. Names of two kinds in turn, since it counts equal events in a row once.
    let kept = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse::<usize>().unwrap();
    let path = |number: usize| writer.container.directory.join(format!("junk-{}", number % 2));
    for number in 0..kept / 2 + 10_000 {
        std::fs::write(path(number), b"").unwrap();
        std::fs::remove_file(path(number)).unwrap();
    }
    writer.lines(10);
    writer.container.rotate();
    writer.lines(10);
    let mut other = Sequence::new(node.container("unseen"));
    other.lines(10);
    program.signal(Signal::SIGCONT);
    recorder.wait_for(40).await;
    assert_exact(&recorder, &[&writer, &other]);
    program.wait_for_metric("tailwater_agent_inotify_overflow_total", |count| count >= 1.0).await;
}

/// 59. 2,000 files and 256 descriptors, 50 of the files busy.
#[tokio::test(flavor = "multi_thread")]
async fn case_59_more_files_than_descriptors() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers: Vec<Sequence> = (0..2000).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
    // The test needs descriptors itself.
    for writer in &mut writers {
        writer.lines(3);
        writer.container.file = None;
    }
    let program = Program::start_limited(&node, &recorder.url(), "ulimit -n 256", &[]);
    recorder.wait_for(6000).await;
    let mut total = 6000;
    for round in 0..10 {
        for writer in writers.iter_mut().take(50) {
            writer.container.reopen();
            writer.lines(20);
            if round % 4 == 3 {
                writer.container.rotate();
            }
            writer.container.file = None;
            total += 20;
        }
        // And some that were quiet.
        for writer in writers.iter_mut().skip(50 + round * 100).take(100) {
            writer.container.reopen();
            writer.lines(2);
            writer.container.file = None;
            total += 2;
        }
        pause(50).await;
        assert!(program.open_descriptors() < 256);
    }
    recorder.wait_for(total).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    assert_eq!(metrics["tailwater_agent_possible_loss_total{reason=\"rotated_away\"}"], 0.0);
    assert_eq!(metrics["tailwater_agent_read_errors_total"], 0.0, "no descriptor errors");
}

/// 61. 10,000 quiet files.
#[tokio::test(flavor = "multi_thread")]
async fn case_61_ten_thousand_quiet_files_take_little_memory_and_each_is_heard() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers: Vec<Sequence> = (0..10_000).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
    for writer in &mut writers {
        writer.lines(1);
        writer.container.file = None;
    }
    let program = Program::start(&node, &recorder.url());
    recorder.wait_for(10_000).await;
    for number in [0, 17, 4999, 9999] {
        let writer = &mut writers[number];
        writer.container.reopen();
        writer.lines(1);
        writer.container.file = None;
    }
    recorder.wait_for(10_004).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    let (ticks, peak) = (program.processor_ticks(), program.peak());
    pause(3000).await;
    println!("peak {} MiB; idle for 3 s: {} ticks of 10 ms", peak >> 20, program.processor_ticks() - ticks);
    // Of the program's own file an unoptimized build has three times as much in memory as a released one, whose 12 MiB are taken instead.
    let own = program.peak() - program.of_files();
    println!("{} MiB of memory of its own, {} MiB of its file", own >> 20, program.of_files() >> 20);
    assert!(own + (12 << 20) <= 64 << 20, "{} MiB of memory of its own", own >> 20);
}

/// 61. 1,000 quiet files: whichever is written to is heard in the round of looks in which that happens, or in the next.
#[tokio::test(flavor = "multi_thread")]
async fn case_61_a_line_in_any_of_a_thousand_quiet_files_is_sent_within_two_rounds() {
    const FILES: usize = 1000;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writers: Vec<Sequence> = (0..FILES).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
    for writer in &mut writers {
        writer.lines(1);
        writer.container.file = None;
    }
    let mut config = node.config(&recorder.url());
    // All are quiet soon, and then looked at at the pace that is for quiet files: how long a round takes. Here it takes longer, so that little is looked at
    // on a busy machine while the line is on its way.
    config.timing.quiet_after = Duration::from_millis(500);
    assert!(config.timing.poll_quiet <= Duration::from_secs(1));
    config.timing.poll_quiet = Duration::from_secs(4);
    let agent = Agent::start(config).await;
    recorder.wait_for(FILES).await;
    let looks = || agent.metric("looks_total");
    let mut most = 0.0_f64;
    for (round, number) in [0, 17, 512, 999].into_iter().enumerate() {
        // The files that were busy a moment ago are quiet again.
        pause(700).await;
        let before = looks();
        // It stays open, so that no watch tells.
        writers[number].container.reopen();
        writers[number].lines(1);
        recorder.wait_for(FILES + round + 1).await;
        most = most.max(looks() - before);
        writers[number].container.file = None;
    }
    println!("{most} looks at most until a line was there");
    // What is looked at until the line has arrived and the count is read is of a third round.
    assert!(most < 3.0 * FILES as f64, "{most} looks until a line was there");
    // All of them at once.
    for writer in &mut writers {
        writer.container.reopen();
        writer.lines(1);
        writer.container.file = None;
    }
    recorder.wait_for(2 * FILES + 4).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    agent.assert_balanced();
    agent.stop().await;
}

/// 62. Memory for 32 MiB, 20 MB/s, a slow receiver.
#[tokio::test(flavor = "multi_thread")]
async fn case_62_a_slow_receiver_does_not_fill_the_memory() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::Delay(Duration::from_millis(200)));
    let mut writers: Vec<Sequence> = (0..20).map(|number| Sequence::new(node.container(&format!("c{number}")))).collect();
    let group = Group::with(Limit::Memory { bytes: 32 << 20 });
    let program = match &group {
        Some(group) => Program::start_by(group.command(), &node, &recorder.url(), &[]),
        None => Program::start(&node, &recorder.url()),
    };
    for _ in 0..20 {
        for writer in &mut writers {
            writer.payload = 1000;
            writer.lines(100);
        }
        pause(100).await;
    }
    let total = writers.iter().map(Sequence::total).sum();
    recorder.wait_for(total).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    let anonymous = program.anonymous();
    assert!(anonymous <= 32 << 20, "{} MiB of memory of its own", anonymous >> 20);
    if let Some(group) = &group {
        let kills = group.number(["memory.oom_control", "memory.events"], "oom_kill ");
        assert_eq!(kills, 0, "processes ended for want of memory");
        println!("{} MiB of memory of its own within 32 MiB", anonymous >> 20);
    }
}

/// 63. A hundredth of a processor while lines come.
#[tokio::test(flavor = "multi_thread")]
async fn case_63_with_little_processor_time_it_falls_behind_and_recovers() {
    const LINES_A_ROUND: usize = 4000;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let group = Group::with(Limit::Processor { thousandths: 50 });
    let program = match &group {
        Some(group) => Program::start_by(group.command(), &node, &recorder.url(), &[]),
        None => Program::start(&node, &recorder.url()),
    };
    writer.lines(100);
    recorder.wait_for(100).await;
    // From now on so little that no build of it keeps up.
    group.iter().for_each(|group| assert!(group.limit(Limit::Processor { thousandths: 10 })));
    let mut most_behind = 0;
    for round in 0..30 {
        // Without a limit it is stopped for most of the time instead.
        group.is_none().then(|| program.signal(Signal::SIGSTOP));
        writer.lines(LINES_A_ROUND);
        if round % 5 == 4 {
            writer.container.rotate();
        }
        pause(95).await;
        group.is_none().then(|| program.signal(Signal::SIGCONT));
        pause(5).await;
        most_behind = most_behind.max(writer.total() - recorder.count());
        if round % 10 == 9 {
            assert_eq!(program.status_of("/live").await, Some(200), "liveness does not end it");
        }
    }
    group.iter().for_each(|group| assert!(group.limit(Limit::Processor { thousandths: 1000 })));
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(program.status_of("/live").await, Some(200));
    if let Some(group) = &group {
        let throttled = group.number(["cpu.stat", "cpu.stat"], "nr_throttled ");
        println!("{most_behind} lines behind at most, held back {throttled} times");
        // It was not ready with one round when the next came.
        assert!(most_behind > LINES_A_ROUND && throttled > 10, "{most_behind} lines behind at most, held back {throttled} times");
    }
}

/// 64. A file and a directory that may not be read for a while; root without capabilities, as the contract has it.
#[tokio::test(flavor = "multi_thread")]
async fn case_64_an_unreadable_file_delays_only_itself() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", env!("CARGO_BIN_EXE_tailwater-agent")]);
    let is_possible = Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_possible {
        println!("skipped: capabilities cannot be dropped here");
        return;
    }
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut closed = Sequence::new(node.container("closed"));
    let mut hidden = Sequence::new(node.container("hidden"));
    let mut open = Sequence::new(node.container("open"));
    let allow = |path: &std::path::Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for writer in [&mut closed, &mut hidden, &mut open] {
        writer.lines(50);
    }
    allow(&closed.container.live(), 0o000);
    allow(&hidden.container.directory, 0o000);
    let program = Program::start_by(command, &node, &recorder.url(), &[]);
    open.lines(50);
    recorder.wait_for(100).await;
    assert_exact(&recorder, &[&open]);
    program.wait_for_metric("tailwater_agent_read_errors_total", |count| count >= 2.0).await;
    allow(&closed.container.live(), 0o640);
    allow(&hidden.container.directory, 0o755);
    recorder.wait_for(200).await;
    assert_exact(&recorder, &[&open, &closed, &hidden]);
}

/// 64. A disk that fails, and a network file system that forgot the file: told so by every read of one file for a while.
#[tokio::test(flavor = "multi_thread")]
async fn case_64_errors_of_one_files_disk_delay_only_that_file() {
    for (error, times) in [("EIO", 2), ("ESTALE", 1)] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut failing = Sequence::new(node.container("failing"));
        let mut sound = Sequence::new(node.container("sound"));
        failing.lines(50);
        sound.lines(50);
        let injected = format!("inject=pread64:error={error}:when=1..{times}");
        let live = failing.container.live();
        // The program is the child, the tracer its grandchild.
        let traced = |program: &str| {
            let mut strace = Command::new("strace");
            strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64", "-e", &injected, "-P"]).arg(&live).arg(program);
            strace
        };
        if !traced("true").output().is_ok_and(|output| output.status.success()) {
            println!("skipped: there is no strace here that makes system calls fail");
            return;
        }
        let program = Program::start_by(traced(env!("CARGO_BIN_EXE_tailwater-agent")), &node, &recorder.url(), &[]);
        recorder.wait_for(50).await;
        sound.lines(50);
        recorder.wait_for(100).await;
        program.wait_for_metric("tailwater_agent_read_errors_total", |count| count >= f64::from(times)).await;
        recorder.wait_for(150).await;
        failing.lines(10);
        recorder.wait_for(160).await;
        assert_exact(&recorder, &[&failing, &sound]);
        program.wait_for_metric("tailwater_agent_balance_errors_total", |count| count == 0.0).await;
    }
}

/// 65. Names that lead elsewhere, and things that are no files.
#[tokio::test(flavor = "multi_thread")]
async fn case_65_links_pipes_devices_and_directories_are_neither_read_nor_block() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let path = |name: &str| container.directory.join(name);
    symlink("/etc/shadow", path("1.log")).unwrap();
    mkfifo(&path("2.log"), Mode::S_IRWXU).unwrap();
    std::fs::create_dir(path("3.log")).unwrap();
    symlink("/dev/zero", path("4.log")).unwrap();
    let device = nix::sys::stat::mknod(&path("5.log"), nix::sys::stat::SFlag::S_IFCHR, Mode::S_IRWXU, nix::sys::stat::makedev(1, 5));
    symlink(&container.directory, container.directory.with_file_name("loop")).unwrap();
    symlink("loop-b", container.directory.with_file_name("loop-a")).unwrap();
    symlink("loop-a", container.directory.with_file_name("loop-b")).unwrap();
    symlink("6.log", path("6.log")).unwrap();
    mkfifo(&path("0.log.20261121-000000.gz"), Mode::S_IRWXU).unwrap();
    // What only looks compressed.
    std::fs::write(path("0.log.20261121-000001.gz"), b"\x1f\x8bno gzip").unwrap();
    let other = node.container("as-directory");
    std::fs::remove_file(other.live()).unwrap();
    std::fs::create_dir(other.live()).unwrap();
    container.line("good");
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(1).await;
    container.line("still good");
    recorder.wait_for(2).await;
    assert_eq!(recorder.lines()["app/stdout"], ["good", "still good"]);
    let not_regular = if device.is_ok() { 5.0 } else { 4.0 };
    let ignored = || ["symlink", "not_regular"].map(|reason| agent.metric(&format!("ignored_files{{reason=\"{reason}\"}}")));
    wait_until("what is left out counted", || ignored() == [6.0, not_regular], || format!("{:?}", ignored())).await;
    wait_until(
        "the damaged copy counted",
        || agent.metric("possible_loss_total{reason=\"compressed\"}") == 1.0,
        || agent.handle.render_metrics(),
    )
    .await;
    assert_eq!(agent.metric("balance_errors_total"), 0.0);
    agent.stop().await;
}

/// 66. A tree that is away for a while, as when it is mounted anew: whoever has his file open goes on writing, and nothing begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn case_66_a_tree_that_is_away_for_a_while_goes_on_where_it_was() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let away = node.pods().with_file_name("away");
    let mut writers = ["first", "second"].map(|name| Sequence::new(node.container(name)));
    writers.iter_mut().for_each(|writer| writer.lines(10));
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(20).await;
    for round in 1..=3 {
        std::fs::rename(node.pods(), &away).unwrap();
        writers.iter_mut().for_each(|writer| writer.lines(5));
        // Lines in pieces, and quiet for longer than a rotation may take.
        let (record, line) = writers[0].next(0);
        let (stamp, _) = record.split_once(' ').unwrap();
        writers[0].container.raw(format!("{stamp} stdout P {}\n", &line[..20]).as_bytes());
        recorder.wait_for(round * 21 + 20 - 11).await;
        pause(1500).await;
        std::fs::rename(&away, node.pods()).unwrap();
        writers[0].container.raw(format!("{stamp} stdout F {}\n", &line[20..]).as_bytes());
        writers.iter_mut().for_each(|writer| writer.lines(5));
        recorder.wait_for(round * 21 + 20).await;
    }
    assert_exact(&recorder, &writers.each_ref());
    assert_eq!(recorder.all().len(), recorder.count(), "nothing was sent twice");
    assert_eq!(agent.metric("late_growth_total"), 0.0);
    agent.assert_balanced();
    agent.stop().await;
}

/// 66. The tree is a link, or another directory mounted there; it is deleted and made again.
#[tokio::test(flavor = "multi_thread")]
async fn case_66_a_tree_that_is_a_link_or_a_mount_and_comes_again_is_watched_again() {
    for is_link in [true, false] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let real = node.pods().with_file_name("real");
        std::fs::rename(node.pods(), &real).unwrap();
        let mut mounted = None;
        if is_link {
            symlink(&real, node.pods()).unwrap();
        } else {
            std::fs::create_dir(node.pods()).unwrap();
            mounted = Mounted::bound(&real, &node.pods());
            if mounted.is_none() {
                return;
            }
        }
        let mut config = node.config(&recorder.url());
        // Scans far apart: what is seen is seen by watches. A mount that is another one no watch tells.
        config.timing.scan_interval = Duration::from_secs(if is_link { 3600 } else { 1 });
        let mut first = Sequence::new(node.container("first"));
        first.lines(10);
        let agent = Agent::start(config).await;
        recorder.wait_for(10).await;
        first.lines(10);
        recorder.wait_for(20).await;
        first.container.file = None;
        drop(mounted.take());
        std::fs::remove_dir_all(&real).unwrap();
        std::fs::create_dir(&real).unwrap();
        if !is_link {
            mounted = Mounted::bound(&real, &node.pods());
        }
        pause(300).await;
        let mut second = Sequence::new(node.container("second"));
        second.lines(10);
        recorder.wait_for(30).await;
        let mut third = Sequence::new(node.container("third"));
        third.lines(10);
        third.container.rotate();
        third.lines(10);
        recorder.wait_for(50).await;
        assert_exact(&recorder, &[&first, &second, &third]);
        assert_eq!(recorder.all().len(), 50, "nothing was sent twice");
        assert_eq!(agent.metric("balance_errors_total"), 0.0);
        agent.stop().await;
        drop(mounted);
    }
}
