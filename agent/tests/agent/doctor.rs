//! The doctor names every cause that is planted, with its evidence and what to do.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Node, Recorder};
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};

/// A user that owns nothing.
const NOBODY: u32 = 65534;

struct Patient {
    node: Node,
    url: String,
    more: Vec<String>,
}

impl Patient {
    fn new(url: &str) -> Self {
        let node = Node::new();
        node.container("app").line("text");
        Self { node, url: url.to_owned(), more: Vec::new() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command.arg("doctor").args(["--push-url", &self.url, "--listen", "none"]).env_clear().env("NODE_NAME", "node-a");
        command.arg("--pods-dir").arg(self.node.pods()).arg("--data-dir").arg(self.node.data()).args(&self.more);
        command
    }
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The doctor says `check` with `evidence` and `advice`, and ends with a failure.
fn assert_problem(mut command: Command, check: &str, evidence: &str, advice: &str) {
    let output = command.output().unwrap();
    let text = told(&output);
    let lines: Vec<&str> = text.lines().collect();
    let found = lines.iter().position(|line| line.starts_with("PROBLEM") && line.contains(check) && line.contains(evidence));
    let found =
        found.unwrap_or_else(|| panic!("no problem `{check}` with `{evidence}` in:\n{text}{}", String::from_utf8_lossy(&output.stderr)));
    assert!(lines[found + 1].contains("do: ") && lines[found + 1].contains(advice), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
}

/// The doctor runs in a thread of its own, so that this process can answer it.
async fn assert_problem_of(patient: Patient, check: &'static str, evidence: &'static str, advice: &'static str) {
    tokio::task::spawn_blocking(move || assert_problem(patient.command(), check, evidence, advice)).await.unwrap();
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn receiver_that_answers(status: u16) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    let router = Router::new().route("/ready", get(|| async { "ready" })).route("/loki/api/v1/push", post(move || async move { status }));
    format!("http://{}/loki/api/v1/push", serve(router).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_agent_gets_a_clean_bill() {
    let recorder = Recorder::start(true).await;
    let patient = Patient::new(&recorder.url());
    let output = tokio::task::spawn_blocking(move || patient.command().output().unwrap()).await.unwrap();
    let text = told(&output);
    assert!(output.status.success() && text.ends_with("everything looks right\n"), "{text}");
    for part in ["1 pods, 1 log files", "takes connections", "is ready", "takes pushes", "the limit of open files is"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(recorder.count(), 0, "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_receiver_answers() {
    for (status, advice) in [(401, "basic_auth"), (403, "may not push"), (404, "correct the path"), (500, "own log")] {
        let evidence: &'static str = match status {
            401 => "answers 401",
            403 => "answers 403",
            404 => "answers 404",
            _ => "answers 500",
        };
        assert_problem_of(Patient::new(&receiver_that_answers(status).await), "access", evidence, advice).await;
    }
    let router = Router::new().fallback(any(|| async { StatusCode::SERVICE_UNAVAILABLE }));
    let url = format!("http://{}/loki/api/v1/push", serve(router).await);
    assert_problem_of(Patient::new(&url), "ready", "answers 503 to /ready", "lines wait in their files").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead() {
    let late = || async { ([("date", "Sun, 01 Mar 2020 10:00:00 GMT")], "ready").into_response() };
    let url = format!("http://{}/loki/api/v1/push", serve(Router::new().fallback(any(late))).await);
    assert_problem_of(Patient::new(&url), "clock", "ahead of that of the receiver", "NTP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_receiver() {
    assert_problem(Patient::new("http://no-such-host.invalid:3100/loki/api/v1/push").command(), "dns", "`no-such-host.invalid`", "DNS");
    assert_problem(Patient::new("http://127.0.0.1:9/loki/api/v1/push").command(), "connection", "refused", "check that the receiver runs");
    let recorder = Recorder::start(true).await;
    let url = recorder.url().replace("http://", "https://");
    assert_problem_of(Patient::new(&url), "tls", "no secure connection", "ca_file").await;
}

#[test]
fn paths_and_permissions() {
    let url = "http://127.0.0.1:9/loki/api/v1/push";
    let lost = Patient::new(url);
    std::fs::remove_dir_all(lost.node.pods()).unwrap();
    assert_problem(lost.command(), "log files", "/pods`: No such file", "pods_dir");
    let blocked = Patient::new(url);
    std::fs::write(blocked.node.data(), b"a file").unwrap();
    assert_problem(blocked.command(), "data directory", "is no directory", "data_dir");
}

#[test]
fn files_that_this_user_may_not_read() {
    if !nix::unistd::getuid().is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let patient = Patient::new("http://127.0.0.1:9/loki/api/v1/push");
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(patient.node.pods().parent().unwrap());
    let log = patient.node.pods().join("shop_web-1_uid-1/app/0.log");
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o600)).unwrap();
    let program = patient.node.pods().with_file_name("agent");
    std::fs::copy(env!("CARGO_BIN_EXE_tailwater-agent"), &program).unwrap();
    let original = patient.command();
    let nobody = || {
        let mut command = Command::new(&program);
        command.args(original.get_args()).uid(NOBODY).gid(NOBODY);
        command
    };
    assert_problem(nobody(), "permissions", "0.log` cannot be read", "run as user 0");
    assert_problem(nobody(), "data directory", "cannot be written", "data_dir");
}

#[test]
fn too_few_descriptors() {
    let patient = Patient::new("http://127.0.0.1:9/loki/api/v1/push");
    let original = patient.command();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\""]).arg(original.get_program()).args(original.get_args());
    assert_problem(command, "descriptors", "the limit of open files is 40", "LimitNOFILE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_forbids() {
    let forbidden = || async {
        let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "pods is forbidden: User \"x\" cannot list", "reason": "Forbidden", "code": 403});
        (StatusCode::FORBIDDEN, [("content-type", "application/json")], status.to_string())
    };
    let address = serve(Router::new().fallback(any(forbidden))).await;
    let recorder = Recorder::start(true).await;
    let mut patient = Patient::new(&recorder.url());
    let kubeconfig = crate::support::kubeconfig(&patient.node, address);
    patient.more = vec!["--kubeconfig".to_owned(), kubeconfig.display().to_string()];
    assert_problem_of(patient, "kubernetes api", "listing pods is forbidden (403)", "ClusterRole").await;
    let mut unreachable = Patient::new(&recorder.url());
    let kubeconfig = crate::support::kubeconfig(&unreachable.node, ([127, 0, 0, 1], 9).into());
    unreachable.more = vec!["--kubeconfig".to_owned(), kubeconfig.display().to_string()];
    assert_problem_of(unreachable, "kubernetes api", "cannot list pods", "API server's address").await;
}

#[test]
fn a_job_that_finds_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("promtail.yaml");
    let text = "clients: [{url: 'http://127.0.0.1:9/push'}]\nscrape_configs: [{job_name: web, static_configs: [{labels: {__path__: /nowhere/*.log}}]}]\n";
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
    let output = command.args(["doctor", "--promtail-config"]).arg(&file).arg("--data-dir").arg(directory.path()).output().unwrap();
    let text = told(&output);
    assert!(text.contains("no file matches `/nowhere/*.log` of job `web`"), "{text}");
}
