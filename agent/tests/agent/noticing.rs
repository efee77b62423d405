//! What the agent must notice by itself, as nothing tells it: content that was replaced by as much, a machine that slept, a file that can be read again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::options::configured;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Node, Recorder, numbered};

/// Case 12: copytruncate, and filled again to exactly the old size before the next look.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_was_replaced_by_as_much_is_read() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(10..15);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(5).await;
    let size = std::fs::metadata(container.live()).unwrap().len();
    container.file.as_ref().unwrap().set_len(0).unwrap();
    container.lines(15..20);
    assert_eq!(std::fs::metadata(container.live()).unwrap().len(), size, "nothing but its content and its time is new");
    recorder.wait_for(10).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(10..20));
    assert_eq!((agent.metric("truncated_total"), agent.handle.metrics().possible_losses), (1.0, 1));
    assert_eq!(agent.metric("balance_errors_total"), 0.0);
    agent.stop().await;
}

/// A file that is only touched is what it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_time_of_change_alone_is_no_new_content() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..5);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(5).await;
    container.file.as_ref().unwrap().set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    container.lines(5..6);
    recorder.wait_for(6).await;
    assert_eq!((recorder.all().len(), agent.metric("truncated_total")), (6, 0.0));
    agent.assert_balanced();
    agent.stop().await;
}

/// By how many seconds the wall clock of the agents in [`after_a_suspend_files_are_looked_for_at_once`] is ahead.
static AHEAD: AtomicU64 = AtomicU64::new(0);

/// Nobody watches directories, and the next scan is hours away: as after a suspend, when events are missing and waits go on where they stopped.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_suspend_files_are_looked_for_at_once() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let logs = node.data().with_file_name("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("a.log"), "line a\n").unwrap();
    let jobs = format!(
        "scrape_configs:\n- job_name: node\n  static_configs:\n  - targets: [localhost]\n    labels: {{job: node, __path__: '{}/*.log'}}\n",
        logs.display()
    );
    let mut config = configured(&node, &recorder, &jobs);
    config.timing.watch_directories = false;
    (config.timing.scan_interval, config.timing.degraded_scan_interval) = (Duration::from_secs(36_000), Duration::from_secs(36_000));
    config.timing.wall_clock = || SystemTime::now() + Duration::from_secs(AHEAD.load(Ordering::Relaxed));
    node.container("app").lines(0..3);
    let agent = Agent::start(config).await;
    recorder.wait_for(4).await;
    node.container("new").lines(3..6);
    std::fs::write(logs.join("b.log"), "line b\n").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(recorder.count(), 4, "nothing tells of the new files");
    AHEAD.store(3600, Ordering::Relaxed);
    recorder.wait_for(8).await;
    agent.assert_balanced();
    agent.stop().await;
}

/// A counter that is asked for after a reload goes on from where it was.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_were_read_are_counted_on_over_a_reload() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..5);
    let file = node.data().with_file_name("agent.yaml");
    std::fs::write(&file, "clients: [{batchwait: 20ms}]\n").unwrap();
    let program = Program::start_with(&node, &recorder.url(), &["--config", &file.display().to_string()]);
    let lines = format!("promtail_read_lines_total{{path=\"{}\"}}", container.live().canonicalize().unwrap().display());
    program.wait_for_metric(&lines, |count| count == 5.0).await;
    program.signal(Signal::SIGHUP);
    program.wait_for_metric("promtail_config_reload_success_total", |count| count >= 1.0).await;
    container.lines(5..6);
    program.wait_for_metric(&lines, |count| count == 6.0).await;
    recorder.wait_for(6).await;
}

/// Case 64: a file that can be opened again is, though nothing in its directory is new and the next scan is far away.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_be_opened_again_does_not_wait_for_a_scan() {
    let without_rights = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--", program]);
        command
    };
    if !without_rights("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: capabilities cannot be dropped here");
        return;
    }
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut closed = Sequence::new(node.container("closed"));
    closed.lines(50);
    let allow = |mode| std::fs::set_permissions(closed.container.live(), Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    let program = Program::start_by(without_rights(env!("CARGO_BIN_EXE_tailwater-agent")), &node, &recorder.url(), &[]);
    program.wait_for_metric("tailwater_agent_read_errors_total", |count| count >= 1.0).await;
    let allowed = Instant::now();
    allow(0o640);
    recorder.wait_for(50).await;
    assert!(allowed.elapsed() < Duration::from_secs(8), "waited {:?}, as for the scan ten seconds after the first", allowed.elapsed());
    assert_exact(&recorder, &[&closed]);
}

/// The same of a file that a job names, whose next scan would be in an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_can_be_opened_again_does_not_wait_for_a_scan() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", env!("CARGO_BIN_EXE_tailwater-agent")]);
    let mut probe = Command::new("setpriv");
    if !probe.args(["--bounding-set=-all", "--inh-caps=-all", "--", "true"]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: capabilities cannot be dropped here");
        return;
    }
    let (directory, recorder) = (tempfile::tempdir().unwrap(), Recorder::start(false).await);
    let (log, file) = (directory.path().join("a.log"), directory.path().join("promtail.yaml"));
    std::fs::write(&log, "line 1\nline 2\n").unwrap();
    std::fs::set_permissions(&log, Permissions::from_mode(0o000)).unwrap();
    let text = format!(
        "server: {{disable: true}}\nclients: [{{url: '{}', batchwait: 20ms}}]\npositions: {{filename: {}/positions.yaml}}\n\
         target_config: {{sync_period: 1h}}\nscrape_configs:\n- job_name: a\n  static_configs:\n  - targets: [localhost]\n    \
         labels: {{container: a, stream: s, __path__: {}}}\n",
        recorder.url(),
        directory.path().display(),
        log.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut program = command.arg("--promtail-config").arg(&file).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(recorder.count(), 0, "it cannot be read");
    std::fs::set_permissions(&log, Permissions::from_mode(0o640)).unwrap();
    recorder.wait_for(2).await;
    program.kill().unwrap();
    program.wait().unwrap();
}
