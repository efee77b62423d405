//! Cases 17 to 19 and 23 to 26: restart and crash; what positions have to do with it is in [`super::positions`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{is_full, pause};
use crate::support::mounts::Mounted;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, gzip, wait_until};

/// How often the program is killed.
pub(super) fn kills() -> u64 {
    let asked = std::env::var("TAILWATER_TORTURE_KILLS").ok().and_then(|count| count.parse().ok());
    asked.unwrap_or(if is_full() { 200 } else { 20 })
}

/// Writes 10 MB/s until `stop`, rotated at 10 MiB and compressed but for the newest, as by a kubelet. An unoptimized build does not keep up with that, and
/// gets a tenth.
fn write_and_rotate(mut writer: Sequence, stop: &AtomicBool) -> Sequence {
    const BYTES_A_SECOND: f64 = if cfg!(debug_assertions) { 1e6 } else { 10e6 };
    const ROTATED_AT: u64 = if cfg!(debug_assertions) { 1 << 20 } else { 10 << 20 };
    writer.payload = 1000;
    let (start, mut bytes) = (Instant::now(), 0_u64);
    let (mut in_file, mut compressing): (u64, Option<JoinHandle<()>>) = (0, None);
    let mut rotated: Option<PathBuf> = None;
    while !stop.load(Ordering::Acquire) {
        while bytes as f64 > start.elapsed().as_secs_f64() * BYTES_A_SECOND {
            std::thread::sleep(Duration::from_millis(2));
        }
        writer.lines(20);
        bytes += 20 * 1060;
        in_file += 20 * 1060;
        let is_idle = compressing.as_ref().is_none_or(JoinHandle::is_finished);
        if in_file >= ROTATED_AT && is_idle {
            compressing.into_iter().for_each(|before| before.join().unwrap());
            let older = rotated.replace(writer.container.rotate());
            compressing = older.map(|path| std::thread::spawn(move || gzip(&path)));
            in_file = 0;
        }
    }
    compressing.into_iter().for_each(|before| before.join().unwrap());
    writer
}

/// 17. Killed again and again under 20 MB/s with rotations and compression, as tailwater.
#[tokio::test(flavor = "multi_thread")]
async fn case_17_killed_at_random_under_load_with_rotations() {
    killed_under_load(true).await;
}

/// 17, as a plain Loki.
#[tokio::test(flavor = "multi_thread")]
async fn case_17_killed_at_random_with_a_plain_loki() {
    killed_under_load(false).await;
}

async fn killed_under_load(is_tailwater: bool) {
    let (node, recorder) = (Node::new(), Recorder::start_tallying(is_tailwater).await);
    let mut reactions = Numbers(17);
    recorder.behave(move |_| match reactions.below(8) {
        0 => Reaction::LoseAnswer,
        1 => Reaction::Refuse(503),
        2 => Reaction::Delay(Duration::from_millis(reactions.below(60))),
        3 => Reaction::StoreAndHang(Duration::from_millis(reactions.below(60))),
        _ => Reaction::Store,
    });
    let file = node.data().with_file_name("agent.yaml");
    std::fs::write(&file, "clients: [{backoff_config: {min_period: 10ms, max_period: 100ms}}]\n").unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let (writer, stop) = (Sequence::new(node.container(&format!("c{number}"))), Arc::clone(&stop));
            std::thread::spawn(move || write_and_rotate(writer, &stop))
        })
        .collect();
    let mut moments = Numbers(99);
    let mut hits = 0;
    for _ in 0..kills() {
        let before = recorder.pushes();
        let mut program = Program::start_with(&node, &recorder.url(), &flags);
        if is_full() {
            pause(100 + moments.below(2900)).await;
        } else {
            // Of fewer and shorter lives none ends before it has sent anything.
            wait_until("a push", || recorder.pushes() > before, String::new).await;
            pause(moments.below(300)).await;
        }
        hits += u64::from(recorder.unanswered() > 0);
        program.kill();
    }
    stop.store(true, Ordering::Release);
    let writers: Vec<Sequence> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    let total: usize = writers.iter().map(Sequence::total).sum();
    let (seconds, behind) = (start.elapsed().as_secs_f64(), total - recorder.count());
    // What is left may be gigabytes.
    recorder.behave(|_| Reaction::Store);
    let program = Program::start_with(&node, &recorder.url(), &flags);
    recorder.wait_for(total).await;
    // Nothing more comes: a different repetition would be one more entry.
    pause(1000).await;
    assert_exact(&recorder, &writers.iter().collect::<Vec<_>>());
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_possible_loss_total{reason=\"rotated_away\"}"], 0.0);
    assert_eq!(metrics["tailwater_agent_balance_errors_total"], 0.0);
    let sent = recorder.tally(|tally| tally.entries).unwrap();
    let rate = total as f64 * 1060.0 / seconds / 1e6;
    println!(
        "{total} lines at {rate:.1} MB/s, {behind} of them to be sent after the last kill; {sent} sent in all, {} kills, {hits} with an unanswered push",
        kills()
    );
    assert!(sent > total, "lines were sent again");
}

/// 18. Killed between the receiver's commit and its answer.
#[tokio::test(flavor = "multi_thread")]
async fn case_18_killed_between_commit_and_answer() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    for _ in 0..8 {
        recorder.behave(|_| Reaction::StoreAndHang(Duration::from_secs(2)));
        writer.lines(100);
        let mut program = Program::start(&node, &recorder.url());
        // Stored and not answered: the rest of the case waits for this moment.
        recorder.wait_for(writer.total()).await;
        assert!(recorder.unanswered() > 0);
        program.kill();
        if writer.total().is_multiple_of(300) {
            writer.container.rotate();
        }
    }
    recorder.behave(|_| Reaction::Store);
    writer.lines(100);
    let _program = Program::start(&node, &recorder.url());
    recorder.wait_for(writer.total()).await;
    pause(500).await;
    assert!(recorder.all().len() > recorder.count(), "lines were sent again");
    assert_exact(&recorder, &[&writer]);
}

/// 19. The answer is lost, and the proxy in between repeats the request itself.
#[tokio::test(flavor = "multi_thread")]
async fn case_19_lost_answers_and_requests_that_a_proxy_repeats() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|number| match number % 3 {
        0 => Reaction::StoreTwice,
        1 => Reaction::LoseAnswer,
        _ => Reaction::Store,
    });
    let agent = Agent::start(node.config(&recorder.url())).await;
    let mut writer = Sequence::new(node.container("app"));
    for round in 0..20 {
        writer.lines(50);
        if round % 6 == 5 {
            writer.container.rotate();
        }
        pause(40).await;
    }
    recorder.wait_for(1000).await;
    assert_exact(&recorder, &[&writer]);
    assert!(recorder.all().len() > 1000, "lines came more than once");
    agent.assert_balanced();
    agent.stop().await;
}

/// 23. SIGTERM under load while the receiver takes half as long for an answer as the end may take: what it takes until then is acknowledged, and the rest,
/// many times as much, is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_slow_receiver_does_not_hold_up_the_end() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let file = node.data().with_file_name("agent.yaml");
    std::fs::write(&file, "clients: [{batchsize: 10KiB}]\n").unwrap();
    let start = || Program::start_with(&node, &recorder.url(), &["--config", file.to_str().unwrap()]);
    recorder.behave(|_| Reaction::Delay(Duration::from_secs(5)));
    let program = start();
    writer.lines(10_000);
    wait_until("a push", || recorder.pushes() > 0, || "none".to_owned()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                writer.lines(20);
                std::thread::sleep(Duration::from_millis(20));
            }
            writer
        })
    };
    let before = recorder.pushes();
    let status = program.terminate().await;
    assert!(status.success(), "{status}");
    // Two at a time, each half of the ten seconds there are, and those that were begun last.
    let pushes = recorder.pushes() - before;
    assert!(pushes <= 6, "{pushes} pushes after it was told to end");
    stop.store(true, Ordering::Release);
    let mut writer = writing.join().unwrap();
    let taken = recorder.all().len();
    assert!(taken > 0 && taken < writer.total() / 2, "{taken} lines of {} were sent before the end", writer.total());
    recorder.behave(|_| Reaction::Store);
    writer.lines(100);
    let program = start();
    recorder.wait_for(writer.total()).await;
    assert_exact(&recorder, &[&writer]);
    let again = recorder.all().len() - writer.total();
    assert!(again <= taken, "{again} lines were sent twice");
    println!("{pushes} pushes and {taken} lines until the end, {again} of {} lines sent again", writer.total());
    assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
    assert!(program.terminate().await.success());
}

/// 24. Killed while a line of 40 pieces is half read and the other stream flows.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_killed_while_a_line_of_forty_pieces_is_half_read() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let mut long = node.container("long");
    let mut expected = Vec::new();
    for round in 0..4 {
        let mut line = String::new();
        let mut program = Program::start(&node, &recorder.url());
        for piece in 0..20 {
            let text = format!("{round}.{piece} {} ", "p".repeat(1000));
            long.write("stdout", "P", &text);
            long.write("stderr", "F", &format!("line {}", round * 40 + piece));
            line.push_str(&text);
        }
        writer.lines(20);
        recorder.wait_for(writer.total() + (round * 41) + 20).await;
        program.kill();
        let mut program = Program::start(&node, &recorder.url());
        for piece in 20..40 {
            let text = format!("{round}.{piece} {} ", "p".repeat(1000));
            long.write("stdout", "P", &text);
            long.write("stderr", "F", &format!("line {}", round * 40 + piece));
            line.push_str(&text);
            if piece == 30 {
                long.rotate();
            }
        }
        long.write("stdout", "F", "end");
        expected.push(line + "end");
        recorder.wait_for(writer.total() + (round + 1) * 41).await;
        program.kill();
    }
    assert_eq!(recorder.lines()["long/stdout"], expected);
    assert_eq!(recorder.lines()["long/stderr"], crate::support::numbered(0..160));
    assert_eq!(recorder.count(), writer.total() + 4 + 160);
    assert!(recorder.all().len() > recorder.count(), "lines of the other stream were sent again");
}

/// 25. A reboot: the same files under other inode and device numbers.
#[tokio::test(flavor = "multi_thread")]
async fn case_25_the_same_files_with_other_numbers_go_on_where_they_were() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    writer.container.rotate();
    writer.lines(100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(200).await;
    agent.stop().await;
    writer.lines(100);
    let directory = writer.container.directory.clone();
    let copy = directory.with_file_name("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&directory).unwrap().flatten() {
        let target = copy.join(entry.file_name());
        std::fs::copy(entry.path(), &target).unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        std::fs::File::options().append(true).open(target).unwrap().set_modified(modified).unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::rename(copy, directory).unwrap();
    writer.container.reopen();
    writer.lines(100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(400).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), 400, "nothing was sent again");
    agent.assert_balanced();
    agent.stop().await;
}

/// 25 with another device: the tree is copied to a file system that is mounted in its place.
#[tokio::test(flavor = "multi_thread")]
async fn case_25_the_same_files_on_another_device_go_on_where_they_were() {
    use std::os::unix::fs::MetadataExt;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    writer.container.rotate();
    writer.lines(100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(200).await;
    agent.stop().await;
    writer.lines(100);
    let copy = node.data().with_file_name("copy");
    let is_copied = |from: &Path, to: &Path| Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success();
    std::fs::create_dir(&copy).unwrap();
    assert!(is_copied(&node.pods(), &copy));
    let before = std::fs::metadata(writer.container.live()).unwrap().dev();
    let Some(_disk) = Mounted::at(&node.pods(), "size=1m") else { return };
    assert!(is_copied(&copy, &node.pods()));
    assert_ne!(std::fs::metadata(writer.container.live()).unwrap().dev(), before);
    writer.container.reopen();
    writer.lines(100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(400).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), 400, "nothing was sent again");
    agent.assert_balanced();
    agent.stop().await;
}

/// 26. Two agents on one data directory.
#[tokio::test(flavor = "multi_thread")]
async fn case_26_a_second_agent_waits_for_the_first() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    let first = Program::start(&node, &recorder.url());
    writer.lines(200);
    recorder.wait_for(200).await;
    let mut second = Program::start(&node, &recorder.url());
    writer.lines(200);
    recorder.wait_for(400).await;
    let log = || std::fs::read_to_string(node.log()).unwrap();
    wait_until("the second waiting", || log().contains("waiting for its end"), log).await;
    pause(700).await;
    assert!(!second.has_ended(), "it waits");
    assert_eq!(second.status_of("/metrics").await, None, "it does nothing meanwhile");
    assert!(first.terminate().await.success());
    writer.lines(200);
    recorder.wait_for(600).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(recorder.all().len(), 600);
    // One that is told to stop while it waits ends at once, as it should.
    let third = Program::start(&node, &recorder.url());
    let waits = || std::fs::read_to_string(node.log()).unwrap().matches("waiting for its end").count();
    wait_until("two that waited", || waits() == 2, || waits().to_string()).await;
    assert!(third.terminate().await.success());
    assert!(second.terminate().await.success());
}
