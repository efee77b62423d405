//! What a wrong start says: one clear line, what is wrong and what to do, and a code that is not zero.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Agent, Node, Recorder};
use tailwater_agent::{StartError, start};
use tokio_util::sync::CancellationToken;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tailwater-agent")).args(arguments).env_clear().output().unwrap()
}

fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap().replace("tailwater-agent: ", "")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const URL: &str = "http://127.0.0.1:9/loki/api/v1/push";

#[test]
fn configuration_errors_are_listed_all_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    std::fs::write(&file, "pod_dir: /x\nmetadata_wait: soon\n").unwrap();
    let told = refusal(&["--config", text(&file), "--unparsed", "maybe"]);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].ends_with("unknown key `pod_dir`; did you mean `pods_dir`?"));
    assert!(lines[1].ends_with("`metadata_wait`: expected a duration like `500ms` or `10s`, found `soon`"));
    assert_eq!(lines[2], "flag `--unparsed`: expected one of `keep`, `drop`, found `maybe`");
    assert!(lines[3].starts_with("no receiver: "));
}

#[test]
fn check_and_print_do_not_start_anything() {
    let output = run(&["--check-config", "--push-url", URL, "--pods-dir", "/nowhere"]);
    assert!(output.status.success());
    let output = run(&["--print-config", "--push-url", URL]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("listen: 0.0.0.0:3101") && printed.contains(&format!("- url: {URL}")), "{printed}");
}

#[test]
fn a_missing_tree_an_unusable_data_directory_and_a_wrong_url() {
    let directory = tempfile::tempdir().unwrap();
    let pods = text(directory.path());
    assert_eq!(
        refusal(&["--push-url", URL, "--pods-dir", "/nowhere", "--listen", "none"]),
        "no directory `/nowhere` to tail; create it, or set `pods_dir`\n"
    );
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let told = refusal(&["--push-url", URL, "--pods-dir", pods, "--listen", "none", "--data-dir", text(&file)]);
    assert!(
        told.starts_with("cannot use data directory `") && told.contains("make it writable for this user, or set `data_dir`"),
        "{told}"
    );
    let told = refusal(&["--push-url", "tailwater:3100", "--pods-dir", pods, "--listen", "none"]);
    assert!(told.contains("`clients[0].url` is `tailwater:3100`, which is no http(s) URL"), "{told}");
}

#[test]
fn a_data_directory_without_write_permission() {
    let directory = tempfile::tempdir().unwrap();
    if std::fs::metadata(directory.path()).unwrap().uid() == 0 {
        println!("skipped: permissions do not bind root");
        return;
    }
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
    let told = refusal(&["--push-url", URL, "--pods-dir", text(directory.path()), "--listen", "none", "--data-dir", text(&data)]);
    assert!(told.starts_with("cannot use data directory `"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_an_end_while_waiting_for_the_data_directory() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = node.config(&recorder.url());
    config.listen = Some(recorder.address);
    let error = start(config.clone(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().starts_with(&format!("cannot listen on `{}`; free the port, or set `listen`", recorder.address)));
    config.listen = None;
    let agent = Agent::start(config.clone()).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    let error = start(config.clone(), stopped).await.unwrap_err();
    assert!(matches!(error, StartError::Locked { .. }), "{error}");
    agent.stop().await;
    Agent::start(config).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_metrics_and_targets_are_served_without_log_text() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    node.container("app").line("private text");
    let mut config = node.config(&recorder.url());
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    let address = agent.handle.listen_address().unwrap();
    let get = |path: &'static str| async move {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(get("/live").await.0, 200);
    assert!(get("/metrics").await.1.contains("tailwater_agent_lines_read_total 1"));
    let (status, targets) = get("/targets").await;
    assert_eq!(status, 200);
    assert!(targets.contains("shop_web-1_uid-1/app") && !targets.contains("private text"), "{targets}");
    agent.stop().await;
}
