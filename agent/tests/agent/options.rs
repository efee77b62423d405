//! Options of the native configuration, each with the whole agent: what the first start reads, limits of labels and streams, metadata by name, and pods as the
//! node's own kubelet lists them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::fake_api::FakeApi;
use crate::support::{Agent, Container, Node, Reaction, Recorder, gzip, kubeconfig, label, numbered, wait_until};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tailwater_agent::Config;
use tailwater_agent::config::{KubeletAccess, load};

/// A configuration as it is written in a file, with the paces of tests.
pub(crate) fn configured(node: &Node, recorder: &Recorder, text: &str) -> Config {
    let file = node.data().with_file_name("agent.yaml");
    let base = node.config(&recorder.url());
    let (pods, data) = (node.pods(), node.data());
    let whole = format!(
        "pods_dir: {}\ndata_dir: {}\nlisten: none\nnode_name: node-a\nclients:\n- url: {}\n{text}",
        pods.display(),
        data.display(),
        recorder.url()
    );
    std::fs::write(&file, whole).unwrap();
    let loaded = load::load(&load::Sources { file: Some(file), ..load::Sources::default() }).unwrap();
    Config { timing: base.timing, readers: base.readers, client: base.client, ..loaded }
}

/// A record stamped so long ago.
fn stamped(ago: Duration, text: &str) -> String {
    let then = SystemTime::now() - ago;
    let time = jiff::Timestamp::try_from(then).unwrap();
    format!("{time} stdout F {text}\n")
}

const HOUR: Duration = Duration::from_secs(3600);

/// A rotated file, a compressed one, and a live one: each with lines of three hours ago; the live one also with lines of half an hour ago.
fn history(node: &Node) -> Container {
    let mut container = node.container("app");
    for rotated in ["compressed", "rotated"] {
        container.raw(stamped(3 * HOUR, rotated).as_bytes());
        let path = container.rotate();
        if rotated == "compressed" {
            gzip(&path);
        }
    }
    container.raw(stamped(3 * HOUR, "old").as_bytes());
    container.raw(stamped(HOUR / 2, "young").as_bytes());
    container
}

fn lines(recorder: &Recorder) -> Vec<String> {
    let mut lines: Vec<String> = recorder.all().into_iter().map(|entry| entry.line).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_reads_what_it_is_told_and_no_restart_reads_less_or_more() {
    for (lookback, expected) in [
        ("all", vec!["compressed", "new", "old", "rotated", "while down", "young"]),
        ("1h", vec!["new", "while down", "young"]),
        ("end", vec!["new", "while down"]),
    ] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let config = configured(&node, &recorder, &format!("initial_lookback: {lookback}"));
        let mut container = history(&node);
        let agent = Agent::start(config.clone()).await;
        wait_until("the first scan", || agent.metric("open_files") >= 1.0, String::new).await;
        container.raw(stamped(Duration::ZERO, "new").as_bytes());
        recorder.wait_for(expected.len() - 1).await;
        agent.assert_balanced();
        agent.stop().await;
        // What is written while no agent runs is read, and what was left out stays so, whatever the configuration says now.
        container.raw(stamped(Duration::ZERO, "while down").as_bytes());
        let other = configured(&node, &recorder, if lookback == "all" { "initial_lookback: end" } else { "initial_lookback: all" });
        let agent = Agent::start(other.clone()).await;
        recorder.wait_for(expected.len()).await;
        agent.assert_balanced();
        agent.stop().await;
        assert_eq!(lines(&recorder), expected, "{lookback}");
        // With the positions lost the files are read again, and not beyond.
        for name in ["positions.json", "positions.json.1"] {
            drop(std::fs::remove_file(node.data().join(name)));
        }
        recorder.forget();
        let agent = Agent::start(other).await;
        recorder.wait_for(expected.len()).await;
        agent.stop().await;
        assert_eq!(lines(&recorder), expected, "{lookback}, positions lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_come_after_the_first_start_are_read_whole() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let agent = Agent::start(configured(&node, &recorder, "initial_lookback: end")).await;
    let mut container = node.container("app");
    (0..100).for_each(|number| container.raw(stamped(Duration::ZERO, &format!("line {number}")).as_bytes()));
    recorder.wait_for(100).await;
    assert_eq!(recorder.lines()["app/stdout"], numbered(0..100));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_are_dropped_and_counted_until_others_end() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = configured(&node, &recorder, "limits: {max_streams: 2}");
    // A container that is quiet for a while keeps what it has.
    (config.timing.quiet_after, config.timing.poll_quiet) = (Duration::from_millis(20), Duration::from_millis(20));
    let agent = Agent::start(config).await;
    let mut first = node.container("first");
    first.line("out");
    first.write("stderr", "F", "err");
    recorder.wait_for(2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut second = node.container("second");
    second.lines(0..10);
    let dropped = || agent.metric("dropped_lines_total{reason=\"stream_limited\"}");
    wait_until("lines dropped", || dropped() == 10.0, || dropped().to_string()).await;
    first.line("goes on");
    recorder.wait_for(3).await;
    std::fs::remove_dir_all(&first.directory).unwrap();
    drop(first.file.take());
    // Until the agent has seen that the others are over, lines are still dropped.
    let mut written = 0;
    let more = || {
        second.line(&format!("later {written}"));
        written += 1;
        recorder.count_of('l') > 0
    };
    wait_until("a stream given back", more, || dropped().to_string()).await;
    let is_settled = || agent.metric("lines_read_total") == agent.metric("lines_acknowledged_total") + dropped();
    wait_until("all lines told", is_settled, || dropped().to_string()).await;
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_beyond_the_limits_become_metadata_and_are_counted() {
    for takes_metadata in [true, false] {
        let (node, recorder) = (Node::new(), Recorder::start(takes_metadata).await);
        let config = configured(
            &node,
            &recorder,
            "limits: {max_label_names_per_series: 7, max_label_value_length: 20}\n\
             labels: {external: {cluster: c, description: twenty-one characters, zone: z}}",
        );
        node.container("app").line("hello");
        let agent = Agent::start(config).await;
        recorder.wait_for(1).await;
        let entry = recorder.all().remove(0);
        let expected =
            r#"{app="web", container="app", job="shop/web", namespace="shop", node_name="node-a", pod="web-1", stream="stdout"}"#;
        assert_eq!(entry.labels, expected);
        let metadata: Vec<&str> = entry.metadata.iter().map(|(name, _)| name.as_str()).collect();
        let of_labels = if takes_metadata { vec!["cluster", "description", "pod_uid", "restart", "zone"] } else { vec![] };
        assert_eq!(metadata, of_labels);
        assert_eq!(agent.metric("labels_limited_total"), 3.0);
        agent.stop().await;
    }
}

/// A running pod with all that may be asked for.
pub(crate) fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "namespace": "shop", "name": "web-1", "uid": "uid-1", "labels": {"app": "storefront", "app.kubernetes.io/part-of": "shop", "other": "x"},
            "annotations": {"example.com/team": "blue", "example.com/other": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db8", "uid": "r", "controller": true}]
        },
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "shop/web:1"}]},
        "status": {"hostIP": "10.0.0.1", "podIP": "10.1.0.1", "qosClass": "Burstable", "containerStatuses": [
            {"name": "app", "image": "shop/web:1", "imageID": "shop/web@sha256:abc", "ready": true, "restartCount": 0, "containerID": "containerd://1"}
        ]}
    })
}

const ALL_METADATA: &str = "metadata: [standard, image, image_digest, node_ip, pod_ip, owner_kind, owner_name, qos, filename]\n\
    labels: {pod_annotations: [example.com/team, example.com/none], pod_labels: [app, app.kubernetes.io/part-of, none]}\nmetadata_wait: 60s\n";

/// With that, and an API to ask.
async fn with_all_metadata(node: &Node, recorder: &Recorder, api: &FakeApi, more: &str) -> Config {
    let path = kubeconfig(node, api.start().await);
    configured(node, recorder, &format!("{ALL_METADATA}kubeconfig: {}\n{more}", path.display()))
}

fn assert_has_all_metadata(recorder: &Recorder, node: &Node) {
    let entry = recorder.all().remove(0);
    let filename = node.pods().join("shop_web-1_uid-1/app/0.log").display().to_string();
    let expected = [
        ("container_id", "containerd://1"),
        ("filename", filename.as_str()),
        ("image", "shop/web:1"),
        ("image_digest", "sha256:abc"),
        ("k8s_annotation_example_com_team", "blue"),
        ("k8s_label_app", "storefront"),
        ("k8s_label_app_kubernetes_io_part_of", "shop"),
        ("namespace_uid", "ns-uid-1"),
        ("node_ip", "10.0.0.1"),
        ("owner_kind", "Deployment"),
        ("owner_name", "web"),
        ("pod_ip", "10.1.0.1"),
        ("pod_uid", "uid-1"),
        ("qos", "Burstable"),
        ("restart", "0"),
    ];
    let metadata: Vec<(&str, &str)> = entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(metadata, expected);
    assert_eq!(label(&entry.labels, "app"), "storefront");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_added_by_name() {
    let (node, recorder, api) = (Node::new(), Recorder::start(false).await, FakeApi::default());
    let config = with_all_metadata(&node, &recorder, &api, "").await;
    api.put(pod());
    node.container("app").line("hello");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    assert_has_all_metadata(&recorder, &node);
    agent.stop().await;
}

/// Of what pods ask for only that is done which the operator lets them ask for.
#[tokio::test(flavor = "multi_thread")]
async fn annotations_that_are_not_allowed_have_no_effect() {
    for (allowed, read, tenant) in [
        ("all", vec!["of a tenant"], Some("team-a")),
        ("none", vec!["excluded", "of a tenant"], None),
        ("[tailwater.io/tenant]", vec!["excluded", "of a tenant"], Some("team-a")),
        ("[tailwater.io/exclude, fluentbit.io/exclude]", vec!["of a tenant"], None),
    ] {
        let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
        let path = kubeconfig(&node, api.start().await);
        let text = format!("annotations: {{allow: {allowed}}}\nkubeconfig: {}\nmetadata_wait: 60s\n", path.display());
        for (name, annotations, line) in [
            ("excluded", json!({"tailwater.io/exclude": "true"}), "excluded"),
            ("tenant", json!({"tailwater.io/tenant": "team-a", "fluentbit.io/exclude-other": "true"}), "of a tenant"),
        ] {
            let mut pod = pod();
            let uid = format!("uid-{name}");
            (pod["metadata"]["name"], pod["metadata"]["uid"], pod["metadata"]["annotations"]) = (json!(name), json!(uid), annotations);
            api.put(pod);
            Container::new(node.pods().join(format!("shop_{name}_{uid}/app"))).line(line);
        }
        let agent = Agent::start(configured(&node, &recorder, &text)).await;
        let excluded = || agent.metric("dropped_lines_total{reason=\"excluded\"}") as usize;
        wait_until("both lines settled", || recorder.count() + excluded() == 2, || agent.handle.render_metrics()).await;
        assert_eq!(lines(&recorder), read, "{allowed}");
        let tenants = recorder.headers().iter().filter_map(|headers| headers.get("x-scope-orgid").cloned()).collect::<Vec<_>>();
        assert_eq!(tenants, tenant.into_iter().collect::<Vec<_>>(), "{allowed}");
        agent.stop().await;
    }
}

/// What a kubelet answers, and what it is asked with.
#[derive(Default)]
struct Kubelet {
    pods: Vec<Value>,
    fault: Option<u16>,
    asked_as: Vec<String>,
}

type SharedKubelet = Arc<Mutex<Kubelet>>;

async fn list(State(kubelet): State<SharedKubelet>, headers: HeaderMap) -> Response {
    let mut kubelet = kubelet.lock();
    let authorization = headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
    kubelet.asked_as.push(authorization);
    match kubelet.fault {
        Some(status) => StatusCode::from_u16(status).unwrap().into_response(),
        None => json!({"kind": "PodList", "apiVersion": "v1", "items": kubelet.pods}).to_string().into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_from_the_nodes_own_kubelet() {
    let (node, recorder, api) = (Node::new(), Recorder::start(false).await, FakeApi::default());
    let kubelet = SharedKubelet::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/pods", get(list)).with_state(Arc::clone(&kubelet));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let token = node.data().with_file_name("token");
    std::fs::write(&token, "first\n").unwrap();
    let mut config = with_all_metadata(&node, &recorder, &api, "metadata_source: kubelet").await;
    config.kubelet = KubeletAccess { url, token_file: Some(token.clone()), ca_file: None };
    config.timing.kubelet_interval = Duration::from_millis(100);
    kubelet.lock().fault = Some(403);
    let mut container = node.container("app");
    container.line("hello");
    let agent = Agent::start(config).await;
    wait_until("failed lists", || agent.metric("kube_watch_errors_total") >= 2.0, String::new).await;
    assert_eq!(recorder.count(), 0, "lines wait for metadata");
    std::fs::write(&token, "second\n").unwrap();
    kubelet.lock().pods = vec![pod()];
    kubelet.lock().fault = None;
    recorder.wait_for(1).await;
    assert_has_all_metadata(&recorder, &node);
    assert!(agent.metric("kube_requests_total{verb=\"list\",code=\"403\"}") >= 2.0);
    let asked_as = kubelet.lock().asked_as.clone();
    assert_eq!((asked_as.first().unwrap().as_str(), asked_as.last().unwrap().as_str()), ("Bearer first", "Bearer second"));
    assert!(!api.queries().iter().any(|query| query.contains_key("fieldSelector")), "no watch of pods");
    // What is known stays in use.
    kubelet.lock().fault = Some(500);
    container.line("later");
    recorder.wait_for(2).await;
    assert!(recorder.all().iter().all(|entry| label(&entry.labels, "app") == "storefront"));
    agent.stop().await;
}

/// Memory is divided: batches are smaller than they may be where they would not fit.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_fitted_to_the_memory_there_is() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = configured(&node, &recorder, "memory_limit: 8MiB");
    (config.readers, config.client.batchsize) = (1, 1 << 20);
    recorder.behave(|_| Reaction::Delay(Duration::from_millis(5)));
    let (mut container, line) = (node.container("app"), "x".repeat(1000));
    (0..8000).for_each(|number| container.line(&format!("{number} {line}")));
    let agent = Agent::start(config).await;
    recorder.wait_for(8000).await;
    // A fifth of a quarter each: four on their way, one being filled.
    let at_least = 8_000_000 / ((8 << 20) / 4 / 5 + 2000);
    assert!(recorder.pushes() >= at_least, "{} pushes", recorder.pushes());
    agent.assert_balanced();
    agent.stop().await;
}
