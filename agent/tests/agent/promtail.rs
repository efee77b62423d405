//! Recorded cases of a real Promtail 3.6.15, replayed on this agent: configurations and inputs with what was sent.
//!
//! Cases that need nothing of their own run together in one process, each as a scrape job that marks its entries with a label; the others, and those that
//! must be refused, have one each. The score is printed by category and may not fall below [`REACHED`].

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tailwater_proto::{read, snappy};

/// How many cases are as recorded.
const REACHED: usize = 395;
/// By which entries of a shared process find their case.
const MARK: &str = "tw_case";
const SHARED: usize = 100;
/// Processes at a time.
const AT_ONCE: usize = 4;
/// Quiet for so long, nothing more is expected.
const QUIET: Duration = Duration::from_millis(1200);
const DEADLINE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone)]
struct Sent {
    client: String,
    tenant: String,
    labels: BTreeMap<String, String>,
    timestamp: i64,
    line: String,
    metadata: BTreeMap<String, String>,
    headers: HeaderMap,
}

#[derive(Clone, Default)]
struct Sink {
    sent: Arc<Mutex<(Vec<Sent>, Option<Instant>)>>,
}

async fn take(State(sink): State<Sink>, OriginalUri(uri): OriginalUri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let client = uri.path().strip_prefix("/client-").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let tenant = headers.get("x-scope-orgid").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut request = Vec::new();
    snappy::decompress(&body, 64 << 20, &mut request).expect("a snappy block");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("valid text");
    let mut guard = sink.sent.lock();
    for stream in read::streams(&request).map(Result::unwrap) {
        let labels = parse_labels(&text(stream.labels().unwrap()));
        for entry in stream.entries().map(Result::unwrap) {
            let metadata = entry.metadata().map(Result::unwrap).map(|(name, value)| (text(name), text(value))).collect();
            guard.0.push(Sent {
                client: client.to_owned(),
                tenant: tenant.to_owned(),
                labels: labels.clone(),
                timestamp: entry.timestamp().unwrap_or_default(),
                line: text(entry.line),
                metadata,
                headers: headers.clone(),
            });
        }
    }
    guard.1 = Some(Instant::now());
    StatusCode::NO_CONTENT
}

/// `{a="b", c="d"}` with Go's quoting.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_start_matches('{');
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some('r') => value.push('\r'),
                    Some('x') => {
                        let digits: String = characters.by_ref().take(2).map(|(_, digit)| digit).collect();
                        value.push(char::from(u8::from_str_radix(&digits, 16).unwrap()));
                    }
                    Some(same) => value.push(same),
                    None => {}
                },
                other => value.push(other),
            }
        }
        labels.insert(name.trim_matches([',', ' ']).to_owned(), value);
        rest = &after[end..];
    }
    labels
}

/// One process over some cases.
struct Run {
    directory: tempfile::TempDir,
    sink: Sink,
    sink_port: u16,
    port: u16,
    is_alone: bool,
    /// The jobs stand in the native configuration.
    is_native: bool,
}

struct Seen {
    entries: Vec<Sent>,
    /// Of a process that ended by itself.
    exit: Option<i32>,
    output: String,
    metrics: String,
}

fn is_alone(case: &Value) -> bool {
    ["top", "whole", "args", "env", "expect_error", "headers", "solo"].iter().any(|key| case.get(key).is_some())
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A text of YAML by its keys at column 0.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let key: String = line.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        if !key.is_empty() && line[key.len()..].starts_with(':') {
            sections.push((key, format!("{line}\n")));
        } else if let Some((_, body)) = sections.last_mut() {
            body.push_str(&format!("{line}\n"));
        }
    }
    sections
}

impl Run {
    fn path_of(&self, case: &Value) -> String {
        self.directory.path().join(text(case, "id")).display().to_string()
    }

    fn fill(&self, yaml: &str, directory: &str) -> String {
        let push = format!("http://127.0.0.1:{}", self.sink_port);
        yaml.replace("@DIR@", directory).replace("@PORT@", &self.port.to_string()).replace("@PUSH@", &push)
    }

    fn job(&self, case: &Value) -> String {
        let id = text(case, "id");
        let mut parts = sections(text(case, "config"));
        if !parts.iter().any(|(key, _)| key == "static_configs") {
            let target = "static_configs:\n- targets: [localhost]\n  labels:\n    job: t\n    __path__: @DIR@/app.log\n";
            parts.push(("static_configs".to_owned(), target.to_owned()));
        }
        if !self.is_alone {
            let found = parts.iter().position(|(key, _)| key == "pipeline_stages").unwrap_or_else(|| {
                parts.push(("pipeline_stages".to_owned(), "pipeline_stages:\n".to_owned()));
                parts.len() - 1
            });
            let stages = &mut parts[found].1;
            if stages.trim_end().ends_with("[]") {
                *stages = "pipeline_stages:\n".to_owned();
            }
            let indent = stages.lines().find_map(|line| line.find("- ").filter(|at| line[..*at].trim().is_empty())).unwrap_or(0);
            let indent = " ".repeat(indent);
            stages.push_str(&format!("{indent}- static_labels:\n{indent}    {MARK}: '{id}'\n"));
        }
        let body: String = parts.iter().flat_map(|(_, body)| body.lines()).map(|line| format!("  {line}\n")).collect();
        self.fill(&format!("- job_name: '{id}'\n{body}"), &self.path_of(case))
    }

    fn native_config(&self, cases: &[&Value]) -> String {
        let jobs: String = cases.iter().map(|case| self.job(case)).collect();
        let head = "listen: 127.0.0.1:@PORT@\npods_dir: none\nclients:\n- url: @PUSH@/loki/api/v1/push\n";
        format!("{}scrape_configs:\n{jobs}", self.fill(head, ""))
    }

    fn config(&self, cases: &[&Value]) -> String {
        if self.is_native {
            return self.native_config(cases);
        }
        let top = if self.is_alone { text(cases[0], "top") } else { "" };
        if self.is_alone && cases[0].get("whole").is_some() {
            return self.fill(text(cases[0], "whole"), &self.path_of(cases[0]));
        }
        let mut parts = sections(top);
        let has = |parts: &[(String, String)], wanted: &str| parts.iter().any(|(key, _)| key == wanted);
        let defaults = [
            ("server", "server:\n  http_listen_address: 127.0.0.1\n  http_listen_port: @PORT@\n".to_owned()),
            ("positions", format!("positions:\n  filename: {}/positions.yaml\n", self.directory.path().display())),
            ("clients", "clients:\n- url: @PUSH@/loki/api/v1/push\n  batchwait: 100ms\n".to_owned()),
        ];
        for (key, body) in defaults {
            let is_given = has(&parts, key) || (key == "clients" && has(&parts, "client"));
            if !is_given {
                parts.push((key.to_owned(), body));
            }
        }
        let all: String = parts.iter().map(|(_, body)| body.as_str()).collect();
        let directory = if self.is_alone { self.path_of(cases[0]) } else { self.directory.path().display().to_string() };
        let jobs: String = cases.iter().map(|case| self.job(case)).collect();
        format!("{}scrape_configs:\n{jobs}", self.fill(&all, &directory))
    }

    fn write_inputs(&self, case: &Value) {
        let directory = self.path_of(case);
        std::fs::create_dir_all(&directory).unwrap();
        let write = |name: &str, bytes: Vec<u8>| {
            let path = Path::new(&directory).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let lines_of =
            |lines: &Value| -> String { lines.as_array().unwrap().iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect() };
        for (name, lines) in case.get("files").and_then(Value::as_object).into_iter().flatten() {
            let body = lines_of(lines);
            let is_config = name.ends_with(".yaml") || name.ends_with(".json");
            write(name, if is_config { body.replace("@DIR@", &directory) } else { body }.into_bytes());
        }
        if let Some(lines) = case.get("input") {
            write("app.log", lines_of(lines).into_bytes());
        }
        for (name, encoded) in case.get("raw_b64").and_then(Value::as_object).into_iter().flatten() {
            use base64::Engine;
            write(name, base64::engine::general_purpose::STANDARD.decode(encoded.as_str().unwrap()).unwrap());
        }
    }

    fn spawn(&self, cases: &[&Value]) -> Child {
        let config = self.directory.path().join("promtail.yaml");
        std::fs::write(&config, self.config(cases)).unwrap();
        let output = std::fs::File::create(self.directory.path().join("agent.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command
            .arg(if self.is_native { "--config" } else { "--promtail-config" })
            .arg(&config)
            .arg("--data-dir")
            .arg(self.directory.path().join("data"));
        command.current_dir(self.directory.path()).env("HOSTNAME", "tw-node-1").env("NODE_NAME", "tw-node-1").env("TZ", "UTC");
        if self.is_alone {
            let case = cases[0];
            command.args(case.get("args").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str));
            for (name, value) in case.get("env").and_then(Value::as_object).into_iter().flatten() {
                command.env(name, value.as_str().unwrap());
            }
        }
        command.stdout(Stdio::null()).stderr(output).spawn().unwrap()
    }

    /// Runs until as much came as is expected and then nothing more, or until the process ends by itself.
    async fn execute(&self, cases: &[&Value]) -> Seen {
        cases.iter().for_each(|case| self.write_inputs(case));
        let expected: usize = cases.iter().map(|case| case["expect"].as_array().map_or(0, Vec::len)).sum();
        let began = Instant::now();
        let mut child = self.spawn(cases);
        let exit = loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status.code().unwrap_or(-1));
            }
            let (count, last) = {
                let sent = self.sink.sent.lock();
                (sent.0.len(), sent.1)
            };
            let quiet = last.map_or(began.elapsed(), |last| last.elapsed());
            let is_to_end = cases[0].get("expect_error").is_some();
            if (count >= expected && quiet >= QUIET && !is_to_end) || began.elapsed() > DEADLINE {
                break None;
            }
        };
        let mut metrics = String::new();
        if exit.is_none() {
            let prefix = text(cases[0], "path_prefix");
            let is_wanted = cases[0].get("expect_metrics").is_some();
            loop {
                if let Ok(answer) = reqwest::get(format!("http://127.0.0.1:{}{prefix}/metrics", self.port)).await {
                    metrics = answer.text().await.unwrap_or_default();
                }
                // A slow start has not opened its port yet.
                if !metrics.is_empty() || !is_wanted || began.elapsed() > DEADLINE {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let output = std::fs::read_to_string(self.directory.path().join("agent.log")).unwrap();
        Seen { entries: self.sink.sent.lock().0.clone(), exit, output, metrics }
    }
}

async fn start(is_alone: bool, is_native: bool) -> Run {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink_port = listener.local_addr().unwrap().port();
    let sink = Sink::default();
    let router = Router::new()
        .route("/ready", get(|| async { StatusCode::NOT_FOUND }))
        .fallback(take)
        .with_state(sink.clone())
        .layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let port = crate::support::program::free_address().port();
    Run { directory: tempfile::tempdir().unwrap(), sink, sink_port, port, is_alone, is_native }
}

/// What differs from the record, if anything.
fn difference(run: &Run, case: &Value, seen: &Seen) -> Option<String> {
    if let Some(expected) = case.get("expect_error") {
        let output = seen.output.to_lowercase();
        let missing: Vec<&str> = expected["contains"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .filter(|word| !output.contains(&word.to_lowercase()))
            .collect();
        let is_refused = seen.exit.is_some_and(|code| code > 0);
        return (!is_refused || !missing.is_empty()).then(|| format!("exit {:?}, without {missing:?}: {}", seen.exit, seen.output));
    }
    if let Some(code) = seen.exit {
        return Some(format!("ended with {code}: {}", seen.output));
    }
    let directory = run.path_of(case);
    let streams = |entries: Vec<Value>| {
        let mut streams: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for entry in entries {
            let key = json!([entry["client"], entry["tenant"], entry["labels"]]).to_string();
            streams.entry(key).or_default().push(entry);
        }
        if case.get("unordered").is_some() {
            streams.values_mut().for_each(|entries| entries.sort_by_key(|entry| entry["line"].to_string()));
        }
        streams
    };
    let recorded = case["expect"].as_array().cloned().unwrap_or_default();
    let wanted = streams(recorded.iter().map(|entry| normal(entry.clone())).collect());
    let header_names: Vec<&str> = case.get("headers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let ours = seen.entries.iter().filter(|sent| run.is_alone || sent.labels.get(MARK).map(String::as_str) == Some(text(case, "id")));
    let got = streams(ours.map(|sent| of_sent(sent, &directory, &header_names)).collect());
    if wanted.keys().ne(got.keys()) {
        return Some(format!("streams {:?}, wanted {:?}", got.keys(), wanted.keys()));
    }
    for (wanted, got) in wanted.values().zip(got.values()) {
        if wanted.len() != got.len() {
            return Some(format!("{got:?}, wanted {wanted:?}"));
        }
        for (wanted, got) in wanted.iter().zip(got) {
            let is_same = ["line", "structured_metadata", "headers"].iter().all(|key| wanted[key] == got[key]);
            if !is_same || !is_stamp(case, &recorded, &wanted["timestamp"], got["timestamp"].as_i64().unwrap()) {
                return Some(format!("{got}, wanted {wanted}"));
            }
        }
    }
    metrics_difference(case, &directory, &seen.metrics)
}

/// An entry of the record with every key.
fn normal(mut entry: Value) -> Value {
    for (key, default) in [("client", json!("")), ("tenant", json!("")), ("structured_metadata", json!({})), ("headers", json!({}))] {
        if entry.get(key).is_none() {
            entry[key] = default;
        }
    }
    entry
}

fn of_sent(sent: &Sent, directory: &str, header_names: &[&str]) -> Value {
    let labels: BTreeMap<&String, String> =
        sent.labels.iter().filter(|(name, _)| *name != MARK).map(|(name, value)| (name, value.replace(directory, "@DIR@"))).collect();
    let headers: BTreeMap<&&str, &str> =
        header_names.iter().filter_map(|name| Some((name, sent.headers.get(*name)?.to_str().ok()?))).collect();
    json!({"client": sent.client, "tenant": sent.tenant, "labels": labels, "line": sent.line.replace(directory, "@DIR@"),
        "timestamp": sent.timestamp, "structured_metadata": sent.metadata, "headers": headers})
}

fn is_stamp(case: &Value, recorded: &[Value], wanted: &Value, got: i64) -> bool {
    const SECOND: i64 = 1_000_000_000;
    let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let Some(stamp) = wanted.as_str() else { return true };
    if stamp == "read" {
        return (got - now).abs() < 300 * SECOND;
    }
    let mut stamp: i64 = stamp.parse().unwrap();
    if case.get("yearless").is_some() {
        let year_of = |nanos: i64| jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let moved = year_of(stamp).with().year(year_of(now).year()).build().unwrap();
        stamp = i64::try_from(moved.timestamp().as_nanosecond()).unwrap();
    }
    // Equal stamps of one file may be parted by nanoseconds.
    let same = recorded.iter().filter(|entry| entry["timestamp"] == *wanted).count();
    (stamp..stamp + i64::try_from(same).unwrap().max(1)).contains(&got)
}

fn metrics_difference(case: &Value, directory: &str, text: &str) -> Option<String> {
    let wanted = case.get("expect_metrics")?.as_array()?;
    let mut samples: Vec<(String, BTreeMap<String, String>, f64)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        samples.push((name.to_owned(), parse_labels(&labels.replace(directory, "@DIR@")), value.parse().ok()?));
    }
    for metric in wanted {
        let labels: BTreeMap<String, String> = serde_json::from_value(metric["labels"].clone()).unwrap();
        let left_out: Vec<&str> = case["metrics"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|m| m["without"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        let is_it = |(name, seen, value): &(String, BTreeMap<String, String>, f64)| {
            let rest: BTreeMap<String, String> =
                seen.iter().filter(|(label, _)| !left_out.contains(&label.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect();
            *name == metric["name"] && rest == labels && (value - metric["value"].as_f64().unwrap()).abs() < 1e-9
        };
        if !samples.iter().any(is_it) {
            return Some(format!("metric {metric} is not in\n{text}"));
        }
    }
    None
}

fn cases() -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtail/cases");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let lines = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    lines.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()).collect()
}

/// Cases of one process, each with what differs.
async fn replay(cases: Vec<&Value>, is_native: bool) -> Vec<(&Value, Option<String>)> {
    let run = start(is_alone(cases[0]), is_native).await;
    let seen = run.execute(&cases).await;
    cases.into_iter().map(|case| (case, difference(&run, case, &seen))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cases_of_promtail_give_what_promtail_gave() {
    // Only the first of a process takes.
    rustls::crypto::ring::default_provider().install_default().ok();
    let cases = cases();
    // A configuration that must be refused has a process of its own; so has one that is said to be refused by what it expects.
    let (alone, together): (Vec<&Value>, Vec<&Value>) = cases.iter().partition(|case| is_alone(case));
    let groups = together.chunks(SHARED).map(<[&Value]>::to_vec).chain(alone.into_iter().map(|case| vec![case]));
    let mut tally: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut outcomes = futures::stream::iter(groups.map(|cases| replay(cases, false))).buffer_unordered(AT_ONCE);
    while let Some(group) = outcomes.next().await {
        for (case, difference) in group {
            let (passed, all) = tally.entry(text(case, "category").to_owned()).or_default();
            *passed += usize::from(difference.is_none());
            *all += 1;
            failures.extend(difference.map(|what| format!("{}: {what}", text(case, "id"))));
        }
    }
    let passed: usize = tally.values().map(|(passed, _)| passed).sum();
    for (category, (passed, all)) in &tally {
        println!("{category:<24} {passed}/{all}");
    }
    println!("{passed} of {} recorded cases", cases.len());
    assert!(passed >= REACHED, "{passed} passed, {REACHED} were reached before:\n{}", failures.join("\n"));
}

/// The same jobs below `scrape_configs` of the native configuration, with what Promtail gave for them.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_jobs_give_the_same_in_the_native_configuration() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let cases = cases();
    let jobs: Vec<&Value> = cases.iter().filter(|case| !is_alone(case)).collect();
    let mut failures = Vec::new();
    for group in jobs.chunks(SHARED) {
        let different = replay(group.to_vec(), true).await.into_iter();
        failures.extend(different.filter_map(|(case, difference)| Some(format!("{}: {}", text(case, "id"), difference?))));
    }
    assert!(jobs.len() > 200 && failures.is_empty(), "of {} jobs:\n{}", jobs.len(), failures.join("\n"));
}
