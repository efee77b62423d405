//! What the agent tells of itself while it runs: pages, metrics, a new configuration taken, runs that send nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::Program;
use crate::support::{Agent, Node, PATIENCE, Reaction, Recorder, descriptors_of, label, numbered, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use tailwater_agent::reload;
use tokio_util::sync::CancellationToken;

pub(crate) async fn ask(address: SocketAddr, path: &str, accept: &str) -> (u16, String) {
    if rustls::crypto::CryptoProvider::get_default().is_none() && rustls::crypto::ring::default_provider().install_default().is_err() {
        println!("another test installed it first");
    }
    let answer = reqwest::Client::new().get(format!("http://{address}{path}")).header("accept", accept).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Asks for metrics until they are right.
async fn metrics_until(address: SocketAddr, what: &str, is_right: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = ask(address, "/metrics", "*/*").await.1;
        if is_right(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < deadline, "still waiting for {what} in {metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_tell_how_far_each_file_is_and_a_person_can_read_them() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.lines(0..3);
    let mut config = node.config(&recorder.url());
    config.listen = Some(([127, 0, 0, 1], 0).into());
    config.client.basic_auth = Some(("me".to_owned(), tailwater_agent::config::Secret("hunter2".to_owned())));
    let agent = Agent::start(config).await;
    recorder.wait_for(3).await;
    let address = agent.handle.listen_address().unwrap();
    let size = std::fs::metadata(container.live()).unwrap().len();
    let live = container.live().canonicalize().unwrap().display().to_string();
    let mut file = Value::Null;
    let deadline = Instant::now() + PATIENCE;
    while file["acknowledged_offset"] != size {
        assert!(Instant::now() < deadline, "{file}");
        let answer: Value = serde_json::from_str(&ask(address, "/targets", "*/*").await.1).unwrap();
        file = answer["files"][0].clone();
    }
    assert_eq!((&file["size"], &file["offset"], &file["lag_bytes"]), (&size.into(), &size.into(), &0.into()));
    assert_eq!((&file["state"], &file["last_error"], &file["path"]), (&"idle".into(), &Value::Null, &live.clone().into()));
    assert_eq!(file["labels"]["pod"], "web-1");
    let (status, page) = ask(address, "/targets", "text/html").await;
    assert!(status == 200 && page.starts_with("<!doctype html>") && page.contains(&live) && page.contains("web-1"), "{page}");
    assert!(!page.contains("line 1"), "no log text is shown");
    let metrics = ask(address, "/metrics", "*/*").await.1;
    for line in [
        format!("promtail_read_bytes_total{{path=\"{live}\"}} {size}"),
        format!("promtail_file_bytes_total{{path=\"{live}\"}} {size}"),
        format!("promtail_read_lines_total{{path=\"{live}\"}} 3"),
        format!("promtail_sent_entries_total{{host=\"{}\"}} 3", recorder.address),
        "tailwater_agent_lag_bytes{namespace=\"shop\"} 0".to_owned(),
        "tailwater_agent_unacked_bytes 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
    }
    assert!(metrics.contains("tailwater_agent_delivery_seconds_count ") && metrics.contains("process_resident_memory_bytes "));
    assert_eq!(ask(address, "/live", "*/*").await, (200, "ok\n".to_owned()));
    let shown = ask(address, "/config", "*/*").await.1;
    assert!(shown.contains("username: me") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(reqwest::Client::new().post(format!("http://{address}/reload")).send().await.unwrap().status(), 403);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_receiver_shows_as_lag() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    recorder.behave(|_| Reaction::Refuse(503));
    let mut container = node.container("app");
    container.lines(0..3);
    let mut config = node.config(&recorder.url());
    config.shutdown_timeout = Duration::from_millis(100);
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let agent = Agent::start(config).await;
    let address = agent.handle.listen_address().unwrap();
    wait_until("a push", || recorder.pushes() > 1, || recorder.pushes().to_string()).await;
    container.lines(3..6);
    let size = std::fs::metadata(container.live()).unwrap().len();
    let lag = format!("tailwater_agent_lag_bytes{{namespace=\"shop\"}} {size}\n");
    let metrics = metrics_until(address, "the lag", |metrics| metrics.contains(&lag)).await;
    let retries = metrics.lines().find(|line| line.starts_with("promtail_batch_retries_total{")).unwrap();
    assert!(!retries.ends_with(" 0"), "{retries}");
    assert!(metrics.contains("promtail_request_duration_seconds_count{status_code=\"503\""), "{metrics}");
    agent.stop().await;
}

/// Of a file that may not be read: told once, however often it is tried.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_opened_is_a_failed_target() {
    use std::os::unix::fs::PermissionsExt;
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
    let mut closed = node.container("closed");
    closed.line("one");
    let allow = |mode| std::fs::set_permissions(closed.live(), std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    let program = Program::start_by(without_rights(env!("CARGO_BIN_EXE_tailwater-agent")), &node, &recorder.url(), &[]);
    program.wait_for_metric("tailwater_agent_read_errors_total", |count| count >= 2.0).await;
    assert_eq!(program.metrics().await["promtail_targets_failed_total{reason=\"unreadable\"}"], 1.0);
    allow(0o640);
    recorder.wait_for(1).await;
}

fn promtail_yaml(directory: &Path, url: &str, jobs: &str) -> std::path::PathBuf {
    let path = directory.join("promtail.yaml");
    let head = format!(
        "server: {{http_listen_address: 127.0.0.1, http_listen_port: 0, enable_runtime_reload: true}}\n\
         positions: {{filename: {}/positions.yaml}}\nclients: [{{url: '{url}', batchwait: 50ms}}]\nscrape_configs:\n",
        directory.display()
    );
    std::fs::write(&path, head + jobs).unwrap();
    path
}

fn job(name: &str, path: &Path, stages: &str) -> String {
    format!(
        "- job_name: {name}\n  pipeline_stages: {stages}\n  static_configs: [{{labels: {{container: {name}, stream: s, __path__: '{}'}}}}]\n",
        path.display()
    )
}

pub(crate) fn config_of(path: &Path, data: &Path) -> Result<tailwater_agent::Config, String> {
    let (promtail, report) = tailwater_agent::promtail::load(path, false, |_| None).map_err(|error| error.to_string())?;
    let promtail = promtail.ok_or_else(|| report.to_string())?;
    let flags = [("data-dir".to_owned(), data.display().to_string())].into();
    let sources = tailwater_agent::config::load::Sources { promtail: Some(promtail.into()), flags, ..Default::default() };
    tailwater_agent::config::load::load(&sources).map_err(|error| error.to_string())
}

fn append(path: &Path, lines: std::ops::Range<usize>) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    numbered(lines).iter().for_each(|line| writeln!(file, "{line}").unwrap());
}

/// Case 69: targets removed and added and a pipeline changed while lines are written.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_while_reading_loses_and_doubles_nothing() {
    let (directory, recorder) = (tempfile::tempdir().unwrap(), Recorder::start(false).await);
    let path = |name: &str| directory.path().join(name);
    let jobs = |tag: &str, others: &[&str]| {
        let stages = format!("[{{static_labels: {{tag: {tag}}}}}]");
        let mut text = job("kept", &path("kept.log"), &stages);
        others.iter().for_each(|name| text.push_str(&job(name, &path(&format!("{name}.log")), "[]")));
        text
    };
    let file = promtail_yaml(directory.path(), &recorder.url(), &jobs("old", &["removed"]));
    let data = path("data");
    let read = move || config_of(&file, &data);
    let (requests, incoming) = reload::channel();
    let stop = CancellationToken::new();
    let config = read().unwrap();
    let running = tokio::spawn(reload::run(config, read, (requests.clone(), incoming), stop.clone()));
    let writing = CancellationToken::new();
    let writer = {
        let (writing, kept) = (writing.clone(), path("kept.log"));
        tokio::spawn(async move {
            let mut written = 0;
            while !writing.is_cancelled() {
                append(&kept, written..written + 20);
                written += 20;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            written
        })
    };
    append(&path("removed.log"), 0..5);
    append(&path("added.log"), 0..7);
    wait_until("lines", || recorder.lines().get("removed/s").is_some_and(|lines| lines.len() == 5) && recorder.count() > 200, String::new)
        .await;
    std::fs::write(path("promtail.yaml"), "clients: []\nscrape: 1\n").unwrap();
    let refused = reload::request(&requests).await.unwrap_err();
    assert!(refused.contains("unknown key `scrape`") && refused.contains("no client"), "{refused}");
    promtail_yaml(directory.path(), &recorder.url(), &jobs("new", &["added"]));
    reload::request(&requests).await.unwrap();
    wait_until("the new pipeline", || recorder.all().iter().any(|entry| entry.labels.contains("tag=\"new\"")), String::new).await;
    // Removed, it is not read; added again, it goes on where it was.
    append(&path("removed.log"), 5..6);
    wait_until("the added target", || recorder.lines().get("added/s").is_some_and(|lines| lines.len() == 7), String::new).await;
    assert_eq!(recorder.lines()["removed/s"].len(), 5);
    promtail_yaml(directory.path(), &recorder.url(), &jobs("newest", &["removed"]));
    reload::request(&requests).await.unwrap();
    append(&path("added.log"), 7..9);
    wait_until("the target again", || recorder.lines()["removed/s"].len() == 6, || format!("{:?}", recorder.lines()["removed/s"])).await;
    wait_until("the newest pipeline", || recorder.all().iter().any(|entry| entry.labels.contains("tag=\"newest\"")), String::new).await;
    writing.cancel();
    let written = writer.await.unwrap();
    wait_until("all lines", || recorder.lines().get("kept/s").is_some_and(|lines| lines.len() >= written), || format!("{written}")).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let lines = recorder.lines();
    assert_eq!(lines["kept/s"], numbered(0..written), "each line once, in order");
    assert_eq!((&lines["removed/s"], &lines["added/s"]), (&numbered(0..6), &numbered(0..7)));
    assert_eq!(recorder.all().len(), written + 6 + 7, "nothing was sent twice");
    let mut kept: Vec<_> = recorder.stored().into_iter().filter(|entry| entry.labels.contains("tag=")).collect();
    kept.sort_by_key(|entry| entry.timestamp);
    let mut tags: Vec<String> = kept.iter().map(|entry| label(&entry.labels, "tag")).collect();
    tags.dedup();
    assert_eq!(tags, ["old", "new", "newest"], "each pipeline from one line on");
}

/// What a slow receiver has stored and not answered yet is not sent again with other labels.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_waits_for_what_may_be_stored() {
    let (directory, recorder) = (tempfile::tempdir().unwrap(), Recorder::start(false).await);
    let (log, data) = (directory.path().join("a.log"), directory.path().join("data"));
    let config_with = |tag: &str| {
        let jobs = job("a", &log, &format!("[{{static_labels: {{tag: {tag}}}}}]"));
        let mut config = config_of(&promtail_yaml(directory.path(), &recorder.url(), &jobs), &data).unwrap();
        config.shutdown_timeout = Duration::from_millis(200);
        config
    };
    let (requests, incoming) = reload::channel();
    let (stop, old, new) = (CancellationToken::new(), config_with("old"), config_with("new"));
    append(&log, 0..50);
    recorder.behave(|_| Reaction::StoreAndHang(Duration::from_secs(2)));
    let running = tokio::spawn(reload::run(old, move || Ok(new.clone()), (requests.clone(), incoming), stop.clone()));
    recorder.wait_for(50).await;
    append(&log, 50..60);
    reload::request(&requests).await.unwrap();
    recorder.behave(|_| Reaction::Store);
    append(&log, 60..70);
    recorder.wait_for(70).await;
    assert_eq!(recorder.all().len(), 70, "no line twice");
    let tags: Vec<bool> = recorder.all().iter().map(|entry| entry.labels.contains("tag=\"new\"")).collect();
    assert!(tags.is_sorted() && !tags[0] && tags[69], "{tags:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Files that were deleted before a reload and are not read yet: of a container that is still there, of one that is gone, and of a job's target.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_files_that_are_deleted_and_not_read_yet() {
    for is_promtail in [false, true] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let (mut kept, mut gone) = (node.container("kept"), node.container("gone"));
        let yaml = || {
            let stages = "[{cri: {}}]";
            let jobs = [&kept, &gone].map(|container| {
                let name = container.directory.file_name().unwrap().to_string_lossy().into_owned();
                job(&name, &container.live(), stages).replace("stream: s, ", "")
            });
            config_of(&promtail_yaml(node.data().parent().unwrap(), &recorder.url(), &jobs.concat()), &node.data()).unwrap()
        };
        let mut config = if is_promtail { yaml() } else { node.config(&recorder.url()) };
        config.shutdown_timeout = Duration::from_millis(200);
        config.readers = 1;
        let (requests, incoming) = reload::channel();
        let stop = CancellationToken::new();
        let read = {
            let config = config.clone();
            move || Ok(config.clone())
        };
        for container in [&mut kept, &mut gone] {
            container.lines(0..50);
        }
        let running = tokio::spawn(reload::run(config, read, (requests.clone(), incoming), stop.clone()));
        recorder.wait_for(100).await;
        // Nothing of what follows is taken, so nothing of it is behind the positions; and the receiver says so, so nobody waits for it.
        recorder.behave(|_| Reaction::Refuse(429));
        for container in [&mut kept, &mut gone] {
            container.lines(50..100);
            let rotated = container.rotate();
            container.lines(100..150);
            let live = container.live();
            container.file = None;
            wait_until("open files", || [&rotated, &live].iter().all(|path| descriptors_of(path) > 0), String::new).await;
            std::fs::remove_file(rotated).unwrap();
        }
        std::fs::remove_dir_all(&gone.directory).unwrap();
        for _ in 0..2 {
            reload::request(&requests).await.unwrap();
        }
        kept.reopen();
        kept.lines(150..160);
        recorder.behave(|_| Reaction::Store);
        recorder.wait_for(160 + 150).await;
        let lines = recorder.lines();
        assert_eq!((&lines["kept/stdout"], &lines["gone/stdout"]), (&numbered(0..160), &numbered(0..150)));
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}

/// What the label `team` of the lines is, in their order.
fn teams(recorder: &Recorder) -> Vec<String> {
    let mut teams: Vec<_> = recorder.stored().into_iter().map(|entry| (entry.timestamp, label(&entry.labels, "team"))).collect();
    teams.sort();
    teams.into_iter().map(|(_, team)| team).collect()
}

/// By a signal whether or not it may be asked for; by a request, and because the file is another, if so. A wrong one is taken on neither way.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_takes_a_new_configuration_by_signal_by_request_and_by_itself() {
    const TAKEN: &str = "promtail_config_reload_success_total";
    const REFUSED: &str = "promtail_config_reload_fail_total";
    for is_allowed in [false, true] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let file = node.data().with_file_name("agent.yaml");
        let write = |team: &str| {
            std::fs::write(&file, format!("enable_reload: {is_allowed}\nlabels: {{external: {{team: {team}}}}}\n")).unwrap();
        };
        let mut container = node.container("app");
        // A change takes effect at a line that is written after it, or soon after that.
        let mut written = 0;
        let mut more = async |team: &str| {
            let and_more = || {
                container.lines(written..written + 1);
                written += 1;
                teams(&recorder).last().is_some_and(|last| last == team)
            };
            wait_until(team, and_more, String::new).await;
            recorder.wait_for(written).await;
        };
        write("first");
        let program = Program::start_with(&node, &recorder.url(), &["--config", file.to_str().unwrap()]);
        more("first").await;
        write("second");
        if is_allowed {
            assert_eq!(program.post("/reload").await, (200, "the new configuration is taken\n".to_owned()));
            more("second").await;
            write("third");
            program.wait_for_metric(TAKEN, |count| count >= 2.0).await;
        } else {
            assert_eq!(program.post("/reload").await.0, 403);
            more("first").await;
            program.signal(Signal::SIGHUP);
            program.wait_for_metric(TAKEN, |count| count == 1.0).await;
            more("second").await;
            write("third");
            program.signal(Signal::SIGHUP);
            program.wait_for_metric(TAKEN, |count| count == 2.0).await;
        }
        more("third").await;
        std::fs::write(&file, "labels: {external: {team: wrong}}\nscrape: 1\n").unwrap();
        if is_allowed {
            let (status, text) = program.post("/reload").await;
            assert!(status == 500 && text.contains("the old configuration stays") && text.contains("`scrape`"), "{status}: {text}");
        } else {
            program.signal(Signal::SIGHUP);
        }
        program.wait_for_metric(REFUSED, |count| count >= 1.0).await;
        more("third").await;
        assert_eq!(recorder.lines()["app/stdout"], numbered(0..recorder.count()));
        let teams = teams(&recorder);
        let changes: Vec<_> = teams.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| pair[1].as_str()).collect();
        assert_eq!(changes, ["second", "third"], "each change once");
        assert_eq!(recorder.all().len(), recorder.count(), "nothing was sent twice");
        assert_eq!(program.metrics().await["tailwater_agent_balance_errors_total"], 0.0);
        assert!(program.terminate().await.success());
    }
}

/// Runs the program until its output holds `wanted`.
fn run_until(arguments: &[&str], wanted: &str) -> String {
    use std::io::{BufRead, BufReader};
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_tailwater-agent")).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut seen = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        seen.push_str(&line.unwrap());
        seen.push('\n');
        if seen.contains(wanted) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_and_an_inspection_shows_every_stage_and_neither_sends_nor_moves() {
    let (directory, recorder) = (tempfile::tempdir().unwrap(), Recorder::start(false).await);
    let log = directory.path().join("app.log");
    std::fs::write(&log, "level=warn msg=one\nlevel=debug msg=two\nlevel=info msg=three\n").unwrap();
    let stages = "[{logfmt: {mapping: {level: ''}}}, {labels: {level: ''}}, {drop: {source: level, value: debug}}]";
    let file = promtail_yaml(directory.path(), &recorder.url(), &job("j", &log, stages));
    let data = directory.path().join("data");
    let arguments = |mode| ["--promtail-config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), mode];
    let printed = run_until(&arguments("--dry-run"), "msg=three");
    let first = printed.lines().next().unwrap();
    assert!(first.contains("level=\"warn\"") && first.ends_with("\tlevel=warn msg=one") && !printed.contains("msg=two"), "{printed}");
    let inspected = run_until(&arguments("--inspect"), "\tlevel=info msg=three");
    for part in [
        "[logfmt]\n  + extracted level: warn\n",
        "[labels]\n  + label level: warn\n",
        "[drop] dropped the line\n",
        "[drop] changed nothing\n",
    ] {
        assert!(inspected.contains(part), "{part} in {inspected}");
    }
    assert_eq!(recorder.pushes(), 0);
    assert!(!data.exists(), "nothing is written");
}

/// Every name of the contract's tables of metrics is there, of an agent that reads, pushes and watches.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_contract_is_told() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, crate::support::fake_api::FakeApi::default());
    let mut container = node.container("app");
    container.lines(0..3);
    container.raw(b"no record\n");
    let mut config = node.config(&recorder.url());
    config.listen = Some(([127, 0, 0, 1], 0).into());
    config.kubeconfig = Some(crate::support::kubeconfig(&node, api.start().await));
    config.metadata_wait = Duration::from_millis(100);
    recorder.behave(|number| if number == 1 { Reaction::Refuse(404) } else { Reaction::Store });
    let agent = Agent::start(config).await;
    recorder.wait_for(4).await;
    let promtail = [
        "read_bytes_total",
        "file_bytes_total",
        "read_lines_total",
        "files_active_total",
        "targets_active_total",
        "targets_failed_total",
        "encoded_bytes_total",
        "sent_bytes_total",
        "sent_entries_total",
        "dropped_bytes_total",
        "dropped_entries_total",
        "mutated_entries_total",
        "mutated_bytes_total",
        "batch_retries_total",
        "request_duration_seconds_count",
        "journal_target_lines_total",
        "build_info",
        "config_reload_success_total",
        "config_reload_fail_total",
    ];
    let own = [
        "lag_bytes",
        "lag_seconds_max",
        "unacked_bytes",
        "push_requests_total",
        "lines_total",
        "dropped_lines_total",
        "mutated_lines_total",
        "discarded_bytes_total",
        "possible_loss_total",
        "rotations_total",
        "truncated_total",
        "late_growth_total",
        "partial_idle_total",
        "clock_steps_total",
        "full_reread_total",
        "invalid_utf8_total",
        "metadata_missing_total",
        "parse_errors_total",
        "inotify_overflow_total",
        "watch_degraded",
        "open_files",
        "scan_seconds",
        "buffer_seconds_min",
        "blocked",
        "positions_write_errors_total",
        "kube_requests_total",
        "kube_watch_errors_total",
        "kube_watch_last_event_timestamp_seconds",
        "delivery_seconds_count",
        "read_cpu_seconds_total",
        "build_info",
        "balance_errors_total",
    ];
    let own = own.map(|name| format!("tailwater_agent_{name}")).into_iter().chain(["process_resident_memory_bytes".to_owned()]);
    let names: Vec<String> = promtail.map(|name| format!("promtail_{name}")).into_iter().chain(own).collect();
    let missing = |metrics: &str| {
        let samples: std::collections::BTreeSet<&str> =
            metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
        names.iter().filter(|name| !samples.contains(name.as_str())).cloned().collect::<Vec<_>>()
    };
    // What is told of the API and of answers comes with them.
    let metrics = metrics_until(agent.handle.listen_address().unwrap(), "all names", |metrics| missing(metrics).is_empty()).await;
    assert_eq!(missing(&metrics), Vec::<String>::new());
    agent.stop().await;
}
