//! A recording receiver, a writer that behaves like a runtime under a kubelet, and waiting with a deadline.

pub(crate) mod cgroup;
pub(crate) mod fake_api;
pub(crate) mod fronts;
pub(crate) mod mounts;
pub(crate) mod program;
pub(crate) mod sequence;
pub(crate) mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use tailwater_agent::config::Timing;
use tailwater_agent::{AgentHandle, Config, start};
use tailwater_proto::{read, snappy};
use tally::Tally;
use tokio_util::sync::CancellationToken;

/// One stored line with all that makes its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) labels: String,
    pub(crate) timestamp: i64,
    pub(crate) line: String,
    pub(crate) metadata: Vec<(String, String)>,
}

/// What the receiver does with the next pushes.
pub(crate) type Behaviour = Box<dyn FnMut(u64) -> Reaction + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    Store,
    /// Stores after a wait.
    Delay(Duration),
    /// Stores and closes the connection without an answer.
    LoseAnswer,
    /// Stores, and answers only after a wait.
    StoreAndHang(Duration),
    /// Stores requests of at most so many bytes, and tells that limit to others.
    StoreUpTo(usize),
    /// Stores what does not hold the text, and answers 400 with the number of the rest.
    StoreAllBut(&'static str),
    /// Stores what is stamped so or earlier, and answers 400 with the number of the rest.
    StoreUntil(i64),
    /// Stores, and closes the connection after its answer.
    StoreAndClose,
    /// Stores twice, as when somebody on the way repeats the request.
    StoreTwice,
    /// Stores nothing and answers with this status.
    Refuse(u16),
    /// Stores nothing, answers 429, and asks for a wait of so many seconds.
    Limit(u64),
}

#[derive(Default)]
struct Recorded {
    entries: Vec<Entry>,
    distinct: BTreeSet<Entry>,
    behaviour: Option<Behaviour>,
    pushes: u64,
    answered: u64,
    headers: Vec<HeaderMap>,
    refused_lines: Option<String>,
    limited_tenant: Option<(String, u64)>,
}

#[derive(Clone)]
pub(crate) struct Recorder {
    recorded: Arc<Mutex<Recorded>>,
    tally: Option<Arc<Mutex<Tally>>>,
    is_tailwater: bool,
    pub(crate) address: SocketAddr,
}

impl Recorder {
    pub(crate) async fn start(is_tailwater: bool) -> Self {
        Self::start_with(is_tailwater, None).await
    }

    /// One for more numbered lines than can be kept; with it goes what stores or refuses whole requests.
    pub(crate) async fn start_tallying(is_tailwater: bool) -> Self {
        Self::start_with(is_tailwater, Some(Arc::default())).await
    }

    async fn start_with(is_tailwater: bool, tally: Option<Arc<Mutex<Tally>>>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let recorder = Self { recorded: Arc::default(), tally, is_tailwater, address: listener.local_addr().unwrap() };
        let router = Router::new().route("/ready", get(ready)).route("/loki/api/v1/push", post(push)).with_state(recorder.clone());
        tokio::spawn(async move { axum::serve(listener, router.layer(axum::extract::DefaultBodyLimit::disable())).await.unwrap() });
        recorder
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.address)
    }

    pub(crate) fn behave(&self, behaviour: impl FnMut(u64) -> Reaction + Send + 'static) {
        self.recorded.lock().behaviour = Some(Box::new(behaviour));
    }

    /// Answers 400 to every request that holds a line with `text`, storing nothing of it.
    pub(crate) fn refuse_lines_with(&self, text: &str) {
        self.recorded.lock().refused_lines = Some(text.to_owned());
    }

    /// Answers 429 to requests of a tenant, with a wait of so many seconds; `None`: to none any more.
    pub(crate) fn limit_tenant(&self, limited: Option<(&str, u64)>) {
        self.recorded.lock().limited_tenant = limited.map(|(tenant, seconds)| (tenant.to_owned(), seconds));
    }

    /// Everything stored, in order of arrival, repeated pushes included.
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.recorded.lock().entries.clone()
    }

    /// How many there are of [`Self::all`].
    pub(crate) fn arrived(&self) -> usize {
        self.recorded.lock().entries.len()
    }

    /// One of identical entries.
    pub(crate) fn stored(&self) -> BTreeSet<Entry> {
        self.recorded.lock().distinct.clone()
    }

    /// As a receiver that is set back to a state before everything.
    pub(crate) fn forget(&self) {
        self.keep(|_| false);
    }

    /// As a receiver that is set back to a state with these entries.
    pub(crate) fn keep(&self, is_kept: impl Fn(&Entry) -> bool) {
        let mut recorded = self.recorded.lock();
        recorded.entries.retain(&is_kept);
        recorded.distinct.retain(&is_kept);
    }

    pub(crate) fn pushes(&self) -> u64 {
        self.recorded.lock().pushes
    }

    /// Pushes received of which the sender has no answer yet.
    pub(crate) fn unanswered(&self) -> u64 {
        let recorded = self.recorded.lock();
        recorded.pushes - recorded.answered
    }

    /// Of every push.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.recorded.lock().headers.clone()
    }

    pub(crate) fn last_headers(&self) -> HeaderMap {
        self.headers().pop().unwrap_or_default()
    }

    /// Lines by stream in the order of their stamps, one of identical entries.
    pub(crate) fn lines(&self) -> BTreeMap<String, Vec<String>> {
        let mut streams: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        for entry in self.stored() {
            streams
                .entry(label(&entry.labels, "container") + "/" + &label(&entry.labels, "stream"))
                .or_default()
                .push((entry.timestamp, entry.line));
        }
        streams
            .into_iter()
            .map(|(stream, mut lines)| {
                lines.sort_by_key(|(timestamp, _)| *timestamp);
                (stream, lines.into_iter().map(|(_, line)| line).collect())
            })
            .collect()
    }

    /// Of what is tallied only.
    pub(crate) fn tally<T>(&self, look: impl FnOnce(&Tally) -> T) -> Option<T> {
        self.tally.as_ref().map(|tally| look(&tally.lock()))
    }

    pub(crate) fn count(&self) -> usize {
        self.tally(|tally| tally.distinct).unwrap_or_else(|| self.recorded.lock().distinct.len())
    }

    /// Distinct entries whose line begins so.
    pub(crate) fn count_of(&self, first: char) -> usize {
        if let Some(count) = self.tally(|tally| tally.distinct_of(first)) {
            return count;
        }
        self.recorded.lock().distinct.iter().filter(|entry| entry.line.starts_with(first)).count()
    }

    /// Waits until `count` distinct entries are stored.
    pub(crate) async fn wait_for(&self, count: usize) {
        wait_until(&format!("{count} entries"), || self.count() >= count, || format!("{} entries", self.count())).await;
    }
}

pub(crate) fn label(labels: &str, name: &str) -> String {
    let marker = format!("{name}=\"");
    let rest = labels.split(&marker).nth(1).unwrap_or_else(|| panic!("no label {name} in {labels}"));
    rest.split('"').next().unwrap().to_owned()
}

/// How many descriptors of this process lead to what has that name now.
pub(crate) fn descriptors_of(path: &Path) -> usize {
    open_paths().filter(|open| open == path).count()
}

/// The same of a file that was deleted under this name.
pub(crate) fn deleted_descriptors_of(path: &Path) -> usize {
    descriptors_of(Path::new(&format!("{} (deleted)", path.display())))
}

/// What the descriptors of this process lead to.
pub(crate) fn open_paths() -> impl Iterator<Item = PathBuf> {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
}

/// How long is waited for what should be. Only a failure waits for so long: machines are slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool, state: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still waiting for {what}; there is: {}", state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ready(State(recorder): State<Recorder>) -> Response {
    if recorder.is_tailwater { ([("x-tailwater-version", "1")], "ready\n").into_response() } else { "ready\n".into_response() }
}

/// Counts a push as answered, however its handling ends.
struct Answered(Recorder);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.recorded.lock().answered += 1;
    }
}

async fn push(State(recorder): State<Recorder>, headers: HeaderMap, body: Bytes) -> Response {
    let _answered = Answered(recorder.clone());
    let reaction = {
        let mut recorded = recorder.recorded.lock();
        recorded.pushes += 1;
        let number = recorded.pushes;
        let tenant = headers.get("x-scope-orgid").and_then(|tenant| tenant.to_str().ok());
        let limited = recorded.limited_tenant.as_ref().filter(|(limited, _)| tenant == Some(limited.as_str()));
        let limited = limited.map(|(_, seconds)| Reaction::Limit(*seconds));
        recorded.headers.push(headers);
        limited.unwrap_or_else(|| recorded.behaviour.as_mut().map_or(Reaction::Store, |behave| behave(number)))
    };
    let entries = if recorder.tally.is_some() { Vec::new() } else { decode(&body) };
    match reaction {
        Reaction::Refuse(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Reaction::Limit(seconds) => {
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], "slow down").into_response();
        }
        Reaction::Delay(wait) => tokio::time::sleep(wait).await,
        Reaction::Store
        | Reaction::LoseAnswer
        | Reaction::StoreAndHang(_)
        | Reaction::StoreAndClose
        | Reaction::StoreTwice
        | Reaction::StoreAllBut(_)
        | Reaction::StoreUntil(_)
        | Reaction::StoreUpTo(_) => {}
    }
    if let Reaction::StoreUpTo(limit) = reaction
        && body.len() > limit
    {
        let text = format!("request body too large: more than {limit} bytes received, send smaller batches");
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    if let Some(tally) = &recorder.tally {
        let mut tally = tally.lock();
        tally.store(&body);
        if reaction == Reaction::StoreTwice {
            tally.store(&body);
        }
    }
    {
        let mut recorded = recorder.recorded.lock();
        if let Some(text) = &recorded.refused_lines
            && entries.iter().any(|entry| entry.line.contains(text))
        {
            return (StatusCode::BAD_REQUEST, "couldn't parse labels").into_response();
        }
        let is_refused = |entry: &Entry| match reaction {
            Reaction::StoreAllBut(text) => entry.line.contains(text),
            Reaction::StoreUntil(latest) => entry.timestamp > latest,
            _ => false,
        };
        if matches!(reaction, Reaction::StoreAllBut(_) | Reaction::StoreUntil(_)) {
            let all = entries.len();
            let good: Vec<Entry> = entries.into_iter().filter(|entry| !is_refused(entry)).collect();
            let bad = all - good.len();
            recorded.distinct.extend(good.iter().cloned());
            recorded.entries.extend(good);
            if bad == 0 {
                return StatusCode::NO_CONTENT.into_response();
            }
            let answer = format!(
                "entry with timestamp 1 ignored, reason: 'entry too far behind',\nuser 'x', total ignored: {bad} out of {all} for stream: {{}}"
            );
            return (StatusCode::BAD_REQUEST, answer).into_response();
        }
        if reaction == Reaction::StoreTwice {
            recorded.entries.extend(entries.iter().cloned());
        }
        recorded.distinct.extend(entries.iter().cloned());
        recorded.entries.extend(entries);
    }
    if let Reaction::StoreAndHang(wait) = reaction {
        tokio::time::sleep(wait).await;
    }
    if reaction == Reaction::StoreAndClose {
        return (StatusCode::NO_CONTENT, [("connection", "close")]).into_response();
    }
    if reaction == Reaction::LoseAnswer {
        // The handler's panic closes the connection without an answer.
        std::panic::resume_unwind(Box::new("answer lost on purpose"));
    }
    StatusCode::NO_CONTENT.into_response()
}

/// The entries of a push, shared metadata added to each.
fn decode(body: &[u8]) -> Vec<Entry> {
    let mut request = Vec::new();
    snappy::decompress(body, 64 << 20, &mut request).expect("a snappy block");
    assert!(request.len() <= 3 << 20, "a request of {} bytes", request.len());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("valid UTF-8");
    let mut entries = Vec::new();
    for stream in read::streams(&request) {
        let stream = stream.unwrap();
        let labels = text(stream.labels().unwrap());
        let shared: Vec<_> = stream.shared_metadata().map(|pair| pair.map(|(n, v)| (text(n), text(v))).unwrap()).collect();
        for entry in stream.entries() {
            let entry = entry.unwrap();
            let mut metadata: Vec<_> = entry.metadata().map(|pair| pair.map(|(n, v)| (text(n), text(v))).unwrap()).collect();
            metadata.extend(shared.iter().cloned());
            metadata.sort();
            entries.push(Entry { labels: labels.clone(), timestamp: entry.timestamp().unwrap(), line: text(entry.line), metadata });
        }
    }
    entries
}

/// A tree of pod logs and a data directory.
pub(crate) struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        let node = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(node.pods()).unwrap();
        node
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.directory.path().join("pods")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where programs write their own log.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    pub(crate) fn container(&self, name: &str) -> Container {
        Container::new(self.pods().join(format!("shop_web-1_uid-1/{name}")))
    }

    /// A configuration with a short grace, so that tests need not wait for it.
    pub(crate) fn config(&self, url: &str) -> Config {
        let mut config = Config {
            pods_dir: self.pods(),
            data_dir: self.data(),
            listen: None,
            node_name: "node-a".to_owned(),
            readers: 2,
            timing: Timing {
                rotate_grace: Duration::from_millis(500),
                scan_interval: Duration::from_millis(500),
                watch_spread: Duration::from_millis(200),
                ..Timing::default()
            },
            ..Config::default()
        };
        config.client.url = url.to_owned();
        config.client.backoff.min_period = Duration::from_millis(10);
        config.client.backoff.max_period = Duration::from_millis(100);
        config
    }
}

pub(crate) struct Agent {
    pub(crate) handle: AgentHandle,
    stop: CancellationToken,
}

impl Agent {
    pub(crate) async fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let handle = start(config, stop.clone()).await.expect("the agent starts");
        Self { handle, stop }
    }

    /// A sample of its metrics, without the prefix; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        samples(&self.handle.render_metrics()).get(&format!("tailwater_agent_{name}")).copied().unwrap_or_default()
    }

    /// Nothing is lost, and every finished file is in balance.
    pub(crate) fn assert_balanced(&self) {
        assert_eq!(self.handle.metrics().possible_losses, 0, "possible losses");
        assert_eq!(self.metric("balance_errors_total"), 0.0, "balance errors");
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.handle.join().await.expect("the agent ends cleanly");
    }
}

/// Samples of a text of metrics, by name with labels.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// A generator that gives the same numbers for the same seed.
pub(crate) struct Numbers(pub u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

static CLOCK: AtomicU64 = AtomicU64::new(0);

/// A container's log as containerd writes and the kubelet rotates it.
pub(crate) struct Container {
    pub(crate) directory: PathBuf,
    pub(crate) file: Option<File>,
    pub(crate) instance: u32,
    rotations: u32,
    pub(crate) nanos: u64,
}

impl Container {
    pub(crate) fn new(directory: PathBuf) -> Self {
        std::fs::create_dir_all(&directory).unwrap();
        let mut container = Self { directory, file: None, instance: 0, rotations: 0, nanos: CLOCK.fetch_add(1, Ordering::Relaxed) };
        container.reopen();
        container
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.instance))
    }

    pub(crate) fn stamp(&mut self) -> String {
        self.nanos += 1_000;
        format!(
            "2026-11-21T09:{:02}:{:02}.{:09}Z",
            self.nanos / 60_000_000_000 % 60,
            self.nanos / 1_000_000_000 % 60,
            self.nanos % 1_000_000_000
        )
    }

    pub(crate) fn write(&mut self, stream: &str, tag: &str, text: &str) {
        let record = format!("{} {stream} {tag} {text}\n", self.stamp());
        self.raw(record.as_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.file.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.write("stdout", "F", text);
    }

    pub(crate) fn lines(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.line(&format!("line {number}"));
        }
    }

    /// Renames the live file; the writer goes on into it.
    pub(crate) fn rename(&mut self) -> PathBuf {
        self.rotations += 1;
        let rotated = self.directory.join(format!("{}.log.20261121-{:06}", self.instance, self.rotations));
        std::fs::rename(self.live(), &rotated).unwrap();
        rotated
    }

    /// Opens the live name; the file before is closed after that.
    pub(crate) fn reopen(&mut self) {
        let file = OpenOptions::new().create(true).append(true).open(self.live()).unwrap();
        self.file = Some(file);
    }

    pub(crate) fn rotate(&mut self) -> PathBuf {
        let rotated = self.rename();
        self.reopen();
        rotated
    }

    pub(crate) fn restart(&mut self) {
        self.instance += 1;
        self.rotations = 0;
        self.reopen();
    }
}

pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("line {number}")).collect()
}

pub(crate) fn gzip(path: &Path) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&std::fs::read(path).unwrap()).unwrap();
    let named = |suffix: &str| PathBuf::from(format!("{}.{suffix}", path.display()));
    std::fs::write(named("tmp"), encoder.finish().unwrap()).unwrap();
    std::fs::rename(named("tmp"), named("gz")).unwrap();
    std::fs::remove_file(path).unwrap();
}

/// A kubeconfig of an API server at `address`.
pub(crate) fn kubeconfig(node: &Node, address: SocketAddr) -> PathBuf {
    let path = node.data().with_file_name("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {{server: 'http://{address}'}}\n\
         users:\n- name: u\n  user: {{}}\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}
