//! The aggregated API behind a Kubernetes API server (its aggregation layer, RBAC and reviews), in front of a running aggregator.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use futures::StreamExt;
use reqwest::{Client, Response, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tailwater_aggregator::access::expiring::Lifetimes;
use tailwater_aggregator::apiserver::{Apiserver, ApiserverOptions};
use tailwater_aggregator::cli::ConfigSource;
use tailwater_aggregator::config::{AuthMode, Config, Tls};
use tailwater_aggregator::logging::LogLevelControl;
use tailwater_aggregator::server::{Grace, Server};
use tailwater_fakekube::{Certificate, FakeKube, Options, Signer, TokenUser};
use tempfile::TempDir;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

const ROOT: &str = "/apis/logs.tailwater.io/v1";
const OWN_ACCOUNT: &str = "system:serviceaccount:monitoring:tailwater-apiserver";

/// Rights as the chart installs them, and two namespaces that ann and root may read.
const RIGHTS: &str = r#"
{kind: Namespace, apiVersion: v1, metadata: {name: monitoring}}
---
{kind: Namespace, apiVersion: v1, metadata: {name: a}}
---
{kind: Namespace, apiVersion: v1, metadata: {name: b}}
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: "tailwater:namespaces"}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [get, list, watch]}]
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: "tailwater:namespaces"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "tailwater:namespaces"}
subjects: [{kind: ServiceAccount, name: tailwater-apiserver, namespace: monitoring}]
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: "tailwater:auth-delegator"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: tailwater-apiserver, namespace: monitoring}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: "tailwater:authentication-reader", namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, name: tailwater-apiserver, namespace: monitoring}]
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: "tailwater:api-access"}
rules:
- {apiGroups: [logs.tailwater.io], resources: [pods, pods/log, loki/v1], verbs: [get, list, watch, create]}
- {apiGroups: [logs.tailwater.io], resources: [events], verbs: [list]}
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: "tailwater:api-access"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "tailwater:api-access"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: ann-reads, namespace: a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: root-reads}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: root}]
"#;

struct World {
    kube: FakeKube,
    aggregator: String,
    apiserver: String,
    /// Trusts the API server and the apiserver.
    client: Client,
    authority: String,
    stop: CancellationToken,
    _folders: [TempDir; 2],
}

fn user(name: &str) -> TokenUser {
    TokenUser { token: format!("{name}-token"), user: name.to_owned(), uid: String::new(), groups: Vec::new(), extra: Default::default() }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

impl World {
    /// A cluster, an aggregator with some lines, and the apiserver registered.
    async fn new(lifetimes: Lifetimes) -> Self {
        let (store, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let users = ["ann", "bob", "root", OWN_ACCOUNT].map(user).to_vec();
        let kube = FakeKube::start(Options { users, ..Options::default() }).await.expect("a cluster");
        kube.apply(RIGHTS).expect("rights");
        let mut config = Config { listen: "127.0.0.1:0".parse().expect("an address"), ..Config::default() };
        config.storage.filesystem.path = store.path().to_owned();
        let stop = CancellationToken::new();
        let server = Server::start(config.clone(), LogLevelControl::new(config.log_level, |_| {})).await.expect("an aggregator");
        let aggregator = format!("http://{}", server.address());
        tokio::spawn(server.run(stop.clone(), Grace::ALONE));
        let (certificate, authority) = kube
            .issue(Signer::Cluster, "tailwater-apiserver", &["tailwater-apiserver.monitoring.svc", "127.0.0.1"])
            .expect("a certificate");
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("tls.crt"), &certificate.certificate).expect("written");
        std::fs::write(path("tls.key"), &certificate.key).expect("written");
        std::fs::write(path("kubeconfig"), kube.kubeconfig(OWN_ACCOUNT)).expect("written");
        config.auth.mode = AuthMode::Kubernetes;
        config.auth.kubeconfig = path("kubeconfig");
        config.tls = Tls { certificate: path("tls.crt"), key: path("tls.key"), ..Tls::default() };
        let options = ApiserverOptions {
            source: ConfigSource::default(),
            address: "127.0.0.1:0".parse().expect("an address"),
            aggregator: aggregator.clone(),
            is_audited: true,
            lifetimes,
        };
        let apiserver = Apiserver::start(&options, &config).await.expect("an apiserver");
        let address = apiserver.address();
        tokio::spawn(apiserver.run(stop.clone()));
        let bundle = base64::engine::general_purpose::STANDARD.encode(&authority);
        let registration = format!(
            "{{kind: Service, apiVersion: v1, metadata: {{name: tailwater-apiserver, namespace: monitoring}}, spec: {{type: ExternalName, externalName: 127.0.0.1}}}}\n---\n\
             {{kind: APIService, apiVersion: apiregistration.k8s.io/v1, metadata: {{name: v1.logs.tailwater.io}}, spec: {{group: logs.tailwater.io, version: v1, caBundle: {bundle},\
             service: {{namespace: monitoring, name: tailwater-apiserver, port: {}}}}}}}",
            address.port()
        );
        kube.apply(&registration).expect("registered");
        let trusted = [kube.authority(), &authority].map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate"));
        let client = Client::builder().tls_certs_merge(trusted).build().expect("a client");
        let apiserver = format!("https://{address}");
        let world = Self { kube, aggregator, apiserver, client, authority, stop, _folders: [store, files] };
        world.push().await;
        world.ready().await;
        world
    }

    /// Lines of `a`, of a former `a`, and of `b`.
    async fn push(&self) {
        let mut streams = Vec::new();
        for (number, (namespace, uid, line)) in [
            ("a", self.uid("a").await, "n=1 of a"),
            ("a", self.uid("a").await, "n=2 of a"),
            ("a", "former".to_owned(), "n=3 of the former a"),
            ("b", self.uid("b").await, "n=4 of b"),
        ]
        .into_iter()
        .enumerate()
        {
            let stamp = (now() - 10_000_000_000 + number as i64).to_string();
            let labels = json!({"namespace": namespace, "app": "x", "pod": format!("p-{namespace}")});
            streams.push(json!({"stream": labels, "values": [[stamp, line, {"namespace_uid": uid}]]}));
        }
        self.push_streams(&json!({"streams": streams})).await;
    }

    async fn push_streams(&self, streams: &Value) {
        let pushed = self.client.post(format!("{}/loki/api/v1/push", self.aggregator)).header("content-type", "application/json");
        let pushed = pushed.body(streams.to_string()).send().await.expect("an answer");
        assert_eq!(pushed.status(), StatusCode::NO_CONTENT);
    }

    /// A line of a container of a pod in namespace `a`.
    async fn push_line(&self, pod: &str, pod_uid: &str, stamp: i64, line: &str) {
        let labels = json!({"namespace": "a", "app": "y", "pod": pod, "container": "web", "node_name": "n1"});
        let metadata = json!({"namespace_uid": self.uid("a").await, "pod_uid": pod_uid});
        self.push_streams(&json!({"streams": [{"stream": labels, "values": [[stamp.to_string(), line, metadata]]}]})).await;
    }

    async fn uid(&self, namespace: &str) -> String {
        let answer = self.through("admin", &format!("/api/v1/namespaces/{namespace}")).await;
        json_of(answer).await["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }

    /// Waits until the front proxy and the store's key are known.
    async fn ready(&self) {
        for _ in 0..600 {
            let ready = self.client.get(format!("{}/readyz", self.apiserver)).send().await.is_ok_and(|answer| answer.status().is_success());
            let path = format!("{ROOT}/loki/api/v1/labels");
            if ready && self.through("root", &path).await.status() == StatusCode::OK {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the apiserver is not ready");
    }

    /// What the API server answers to a user.
    async fn through(&self, user: &str, path: &str) -> Response {
        let token = format!("{user}-token");
        self.client.get(format!("{}{path}", self.kube.url())).bearer_auth(token).send().await.expect("an answer")
    }

    async fn query(&self, user: &str, place: &str, query: &str) -> (u16, String) {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let answer = self.through(user, &format!("{ROOT}{place}/loki/api/v1/query_range?{query}")).await;
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn json_of(answer: Response) -> Value {
    let text = answer.text().await.expect("a body");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} is no JSON"))
}

/// Which of the four lines a text holds.
fn seen(text: &str) -> Vec<usize> {
    (1..=4).filter(|number| text.contains(&format!("n={number} of"))).collect()
}

#[tokio::test]
async fn users_of_the_cluster_read_what_kubernetes_lets_them_read() {
    let world = World::new(Lifetimes::default()).await;
    let query = r#"{app="x"}"#;
    for (user, place, expected) in [
        ("ann", "/namespaces/a", &[1, 2][..]),
        ("ann", "", &[1, 2]),
        ("root", "/namespaces/a", &[1, 2, 3]),
        ("root", "/namespaces/b", &[4]),
        ("root", "", &[1, 2, 3, 4]),
    ] {
        let (status, text) = world.query(user, place, query).await;
        assert_eq!((status, seen(&text)), (200, expected.to_vec()), "{user} {place}: {text}");
    }
    for (user, place, namespace) in [
        ("ann", "/namespaces/b", "in the namespace \"b\""),
        ("bob", "/namespaces/a", "in the namespace \"a\""),
        ("bob", "", "in any namespace"),
    ] {
        let (status, text) = world.query(user, place, query).await;
        let refusal: Value = serde_json::from_str(&text).expect("a Status");
        assert_eq!((status, &refusal["kind"], &refusal["reason"]), (403, &json!("Status"), &json!("Forbidden")), "{text}");
        let message = refusal["message"].as_str().expect("a message");
        assert!(message.contains(&format!("user \"{user}\" cannot get resource \"pods/log\" in API group \"\" {namespace}")), "{message}");
    }
    // A matcher for another namespace finds nothing in this one, whoever asks.
    let (status, text) = world.query("root", "/namespaces/a", r#"{namespace="b"}"#).await;
    assert_eq!((status, seen(&text)), (200, vec![]), "{text}");
    let answers = async |user: &str, path: &str| json_of(world.through(user, &format!("{ROOT}{path}")).await).await;
    assert_eq!(answers("ann", "/loki/api/v1/label/namespace/values").await["data"], json!(["a"]));
    assert_eq!(answers("root", "/namespaces/b/loki/api/v1/label/pod/values").await["data"], json!(["p-b"]));
    assert_eq!(answers("ann", "/namespaces/a/loki/api/v1/index/stats?query=%7Bapp%3D%22x%22%7D").await["entries"], json!(2));
    let posted = world.client.post(format!("{}{ROOT}/namespaces/a/loki/api/v1/query", world.kube.url())).bearer_auth("ann-token");
    let posted =
        posted.header("content-type", "application/x-www-form-urlencoded").body("query=sum(count_over_time(%7Bapp%3D%22x%22%7D%5B1h%5D))");
    let counted = json_of(posted.send().await.expect("an answer")).await;
    assert_eq!(counted["data"]["result"][0]["value"][1], json!("2"));
}

#[tokio::test]
async fn a_pod_s_log_is_text_also_when_the_pod_is_gone() {
    let world = World::new(Lifetimes::default()).await;
    let log = async |user: &str, path: &str| {
        let answer = world.through(user, &format!("{ROOT}/namespaces/{path}")).await;
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    for (user, path, expected) in [
        ("ann", "a/pods/p-a/log", "n=1 of a\nn=2 of a\n"),
        ("root", "a/pods/p-a/log", "n=1 of a\nn=2 of a\nn=3 of the former a\n"),
        ("ann", "a/pods/p-a/log?tailLines=1", "n=2 of a\n"),
        ("ann", "a/pods/p-a/log?limitBytes=5", "n=1 o"),
        ("ann", "a/pods/p-a/log?query=%7C%3D+%22n%3D2%22", "n=2 of a\n"),
        ("ann", "a/pods/p-a/log?sinceSeconds=1", ""),
        ("ann", "a/pods/nobody/log", ""),
    ] {
        assert_eq!(log(user, path).await, (200, expected.to_owned()), "{user} {path}");
    }
    let (status, text) = log("ann", "a/pods/p-a/log?timestamps=true").await;
    assert!(status == 200 && text.lines().count() == 2 && text.lines().all(|line| line.contains("Z n=") && line.len() > 30), "{text}");
    assert_eq!(log("ann", "b/pods/p-b/log").await.0, 403);
    assert_eq!(log("ann", "a/pods/p-a/log?previous=true").await.0, 400);
    assert_eq!(log("ann", "a/pods/p-a/log?follow=true&untilTime=2026-01-01T00:00:00Z").await.0, 400);
}

#[tokio::test]
async fn pods_are_told_by_what_they_have_logged() {
    let world = World::new(Lifetimes::default()).await;
    let second = 1_000_000_000;
    let begin = now() / second * second - 600 * second;
    for (uid, after, line) in [("u1", 0, "one"), ("u1", 10, "three"), ("u2", 20, "four"), ("u3", 30, "five!"), ("u3", 40, "sixth")] {
        world.push_line("web-0", uid, begin + after * second, line).await;
    }
    let list = async |user: &str, path: &str| json_of(world.through(user, &format!("{ROOT}/namespaces/a/pods{path}")).await).await;
    let told = |pod: &Value| {
        let status = &pod["status"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&pod["metadata"]["name"]),
            text(&pod["metadata"]["uid"]),
            status["lines"].as_u64().expect("lines"),
            status["bytes"].as_u64().expect("bytes"),
        )
    };
    let all = |list: &Value| list["items"].as_array().expect("a list").iter().map(told).collect::<Vec<_>>();
    let of = |name: &str, uid: &str, lines, bytes| (name.to_owned(), uid.to_owned(), lines, bytes);
    let web = [of("web-0", "u3", 2, 10), of("web-0", "u2", 1, 4), of("web-0", "u1", 2, 8)];
    let for_ann = list("ann", "").await;
    assert_eq!(for_ann["kind"], "PodList");
    assert_eq!(all(&for_ann), [&[of("p-a", "", 2, 16)][..], &web].concat());
    // What a former namespace of the name wrote is not ann's.
    assert_eq!(all(&list("root", "").await)[0], of("p-a", "", 3, 35));
    let newest = list("ann", "/web-0").await;
    assert_eq!((&newest["kind"], told(&newest)), (&json!("Pod"), web[0].clone()));
    assert_eq!(newest["status"]["containers"], json!(["web"]));
    assert_eq!(newest["status"]["nodeName"], "n1");
    let stamp = |seconds: i64| jiff::Timestamp::from_second(seconds).expect("a time").to_string();
    assert_eq!(newest["status"]["firstLine"], stamp(begin / second + 30));
    assert_eq!(newest["status"]["lastLine"], stamp(begin / second + 40));
    let first_page = list("ann", "?limit=1").await;
    assert_eq!((all(&first_page).len(), &first_page["metadata"]["continue"]), (1, &json!("a/p-a")));
    assert_eq!(all(&list("ann", "?limit=1&continue=a%2Fp-a").await), web);
    for (selected, expected) in [
        ("labelSelector=app%3Dy", &web[..]),
        ("labelSelector=app%20notin%20(x),app", &web),
        ("fieldSelector=metadata.name%3Dweb-0,spec.nodeName%3Dn1", &web),
        ("fieldSelector=spec.nodeName!%3Dn1", &[of("p-a", "", 2, 16)]),
        ("labelSelector=app%3Dz", &[]),
    ] {
        assert_eq!(all(&list("ann", &format!("?{selected}")).await), expected, "{selected}");
    }
    assert_eq!(newest["metadata"]["labels"], json!({"app": "y", "service_name": "y"}));
    let everywhere = async |user: &str| json_of(world.through(user, &format!("{ROOT}/pods?sinceSeconds=3600")).await).await;
    assert_eq!(all(&everywhere("ann").await), [&[of("p-a", "", 2, 16)][..], &web].concat());
    let of_root = everywhere("root").await;
    let namespaces: Vec<&str> =
        of_root["items"].as_array().expect("a list").iter().filter_map(|pod| pod["metadata"]["namespace"].as_str()).collect();
    assert_eq!((all(&of_root).len(), namespaces), (5, vec!["a", "a", "a", "a", "b"]));
    assert_eq!(world.through("bob", &format!("{ROOT}/pods")).await.status(), StatusCode::FORBIDDEN);
    for (user, path, status) in [
        ("ann", "/gone", 404),
        ("bob", "", 403),
        ("ann", "?labelSelector=app%3E5", 400),
        ("ann", "?watch=true&resourceVersion=x", 400),
        ("ann", "?watch=true&resourceVersion=1", 410),
        ("ann", "?resourceVersion=5&resourceVersionMatch=Exact", 410),
    ] {
        let answer = world.through(user, &format!("{ROOT}/namespaces/a/pods{path}")).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(json_of(answer).await["kind"], "Status", "{path}");
    }
}

/// Events of a watch as they come.
struct Watch {
    answer: Response,
    text: String,
}

impl Watch {
    async fn open(world: &World, user: &str, parameters: &str) -> Self {
        let answer = world.through(user, &format!("{ROOT}/namespaces/a/pods?watch=true&{parameters}")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{parameters}");
        Self { answer, text: String::new() }
    }

    /// Type and object.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let event: Value = serde_json::from_str(line).expect("an event");
                self.text = rest.to_owned();
                return Some((event["type"].as_str().expect("a type").to_owned(), event["object"].clone()));
            }
            let piece = tokio::time::timeout(Duration::from_secs(60), self.answer.chunk()).await.expect("an event").expect("no failure")?;
            self.text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    /// Type, name and lines.
    async fn told(&mut self) -> (String, String, u64) {
        let (kind, object) = self.next().await.expect("an event");
        (kind, object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), object["status"]["lines"].as_u64().unwrap_or_default())
    }
}

#[tokio::test]
async fn what_becomes_of_pods_is_watched() {
    let world = World::new(Lifetimes { allowed: Duration::from_millis(900), denied: Duration::from_millis(300) }).await;
    let long_ago = now() - 600_000_000_000;
    world.push_line("old", "u1", long_ago, "one").await;
    let told = |kind: &str, name: &str, lines| (kind.to_owned(), name.to_owned(), lines);
    let list = json_of(world.through("ann", &format!("{ROOT}/namespaces/a/pods?labelSelector=app%3Dy")).await).await;
    let version = list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let mut after = Watch::open(&world, "ann", &format!("labelSelector=app%3Dy&resourceVersion={version}")).await;
    let mut whole = Watch::open(&world, "ann", "labelSelector=app%3Dy&allowWatchBookmarks=true&sendInitialEvents=true").await;
    assert_eq!(whole.told().await, told("ADDED", "old", 1));
    let (kind, bookmark) = whole.next().await.expect("a bookmark");
    assert_eq!((kind.as_str(), &bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"]), ("BOOKMARK", &json!("true")));
    // A pod that is new, then a line of the other one, to everybody who watches.
    world.push_line("new", "u2", now(), "one").await;
    for watch in [&mut after, &mut whole] {
        assert_eq!(watch.told().await, told("ADDED", "new", 1));
    }
    world.push_line("old", "u1", now(), "two").await;
    assert_eq!(whole.told().await, told("MODIFIED", "old", 2));
    let (kind, object) = after.next().await.expect("an event");
    assert_eq!((kind.as_str(), &object["status"]["lines"]), ("MODIFIED", &json!(2)));
    // From where one watch was, another goes on; from before a pod that is there already it does, too, as it is known since when it is.
    let later = object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    assert!(later.parse::<u64>().expect("a number") > version.parse::<u64>().expect("a number"));
    let mut again = Watch::open(&world, "ann", &format!("labelSelector=app%3Dy&resourceVersion={version}")).await;
    let mut seen = [again.told().await, again.told().await];
    seen.sort();
    assert_eq!(seen, [told("ADDED", "new", 1), told("MODIFIED", "old", 2)]);
    // Pods that the version does not know, and that began before it: too old.
    world.push_line("hidden", "u3", long_ago, "late").await;
    let path = format!("{ROOT}/namespaces/a/pods?watch=true&labelSelector=app%3Dy&resourceVersion={later}");
    let expired = world.through("ann", &path).await;
    assert_eq!((expired.status(), json_of(expired).await["reason"].clone()), (StatusCode::GONE, json!("Expired")));
    world.kube.delete("rolebindings", "a", "ann-reads").expect("deleted");
    let mut last = (String::new(), Value::Null);
    while let Some(event) = whole.next().await {
        last = event;
    }
    assert_eq!((last.0.as_str(), &last.1["code"]), ("ERROR", &json!(403)));
}

#[tokio::test]
async fn a_watch_ends_after_its_time() {
    let world = World::new(Lifetimes::default()).await;
    let mut watch = Watch::open(&world, "ann", "timeoutSeconds=1&resourceVersion=0").await;
    assert_eq!(watch.told().await.0, "ADDED");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn events_that_are_stored_are_listed() {
    let world = World::new(Lifetimes::default()).await;
    let begin = now() - 60_000_000_000;
    let mut streams = Vec::new();
    for (number, namespace, line, kind) in [
        (1, "a", "kind=Pod name=web-0 reason=Pulled type=Normal count=1 event=web-0.1 component=kubelet msg=\"image pulled\"", "Pod"),
        (2, "b", "kind=Pod name=till reason=BackOff type=Warning count=4 event=till.1 msg=again", "Pod"),
        (3, "a", "kind=Node name=n1 reason=Ready type=Normal count=2 event=n1.1 msg=ready", "Node"),
    ] {
        let labels = json!({"namespace": namespace, "job": "loki.source.kubernetes_events"});
        let metadata = json!({"kind": kind, "namespace_uid": world.uid(namespace).await});
        streams.push(json!({"stream": labels, "values": [[(begin + number).to_string(), line, metadata]]}));
    }
    world.push_streams(&json!({"streams": streams})).await;
    let list = async |user: &str, path: &str| json_of(world.through(user, &format!("{ROOT}{path}")).await).await;
    let messages = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
        items.iter().map(|event| event["message"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(messages(&list("ann", "/events").await), ["ready", "image pulled"]);
    assert_eq!(messages(&list("ann", "/namespaces/a/events").await), ["ready", "image pulled"]);
    assert_eq!(messages(&list("root", "/events").await), ["ready", "again", "image pulled"]);
    assert_eq!(messages(&list("root", "/events?fieldSelector=involvedObject.kind%3DPod&limit=1").await), ["again"]);
    let event = list("root", "/namespaces/b/events").await["items"][0].clone();
    assert_eq!((&event["kind"], &event["count"], &event["reason"]), (&json!("Event"), &json!(4), &json!("BackOff")));
    for (user, path, status) in
        [("ann", "/namespaces/b/events", 403), ("bob", "/events", 403), ("ann", "/namespaces/a/events?watch=true", 403)]
    {
        assert_eq!(world.through(user, &format!("{ROOT}{path}")).await.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_pod_s_log_is_followed_until_its_right_is_gone() {
    let world = World::new(Lifetimes { allowed: Duration::from_millis(900), denied: Duration::from_millis(300) }).await;
    let begin = now() - 600_000_000_000;
    for number in 1..=3 {
        world.push_line("web-0", "u", begin + number, &format!("old {number}")).await;
    }
    let path = |more: &str| format!("{ROOT}/namespaces/a/pods/web-0/log?follow=true{more}");
    let mut whole = world.through("ann", &path("")).await;
    let mut newest = world.through("ann", &path("&tailLines=1&timestamps=true")).await;
    let mut short = world.through("ann", &path("&limitBytes=14")).await;
    let read = async |answer: &mut Response, text: &mut String, until: &str| {
        while !text.contains(until) {
            let piece = tokio::time::timeout(Duration::from_secs(60), answer.chunk()).await.expect("a line").expect("no failure");
            let Some(piece) = piece else { return };
            text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    };
    let (mut of_whole, mut of_newest, mut of_short) = (String::new(), String::new(), String::new());
    read(&mut whole, &mut of_whole, "old 3\n").await;
    read(&mut newest, &mut of_newest, "old 3\n").await;
    for number in 1..=3 {
        world.push_line("web-0", "u", now(), &format!("new {number}")).await;
        read(&mut whole, &mut of_whole, &format!("new {number}\n")).await;
        read(&mut newest, &mut of_newest, &format!("new {number}\n")).await;
    }
    assert_eq!(of_whole, "old 1\nold 2\nold 3\nnew 1\nnew 2\nnew 3\n");
    let shown: Vec<&str> = of_newest.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!(shown, ["old 3", "new 1", "new 2", "new 3"]);
    read(&mut short, &mut of_short, "it ends by itself").await;
    assert_eq!(of_short, "old 1\nold 2\nol");
    world.kube.delete("rolebindings", "a", "ann-reads").expect("deleted");
    read(&mut whole, &mut of_whole, "it ends by itself").await;
    assert!(of_whole.ends_with("new 3\n"), "{of_whole}");
}

#[tokio::test]
async fn what_it_does_is_counted() {
    let world = World::new(Lifetimes::default()).await;
    assert_eq!(world.query("ann", "/namespaces/a", r#"{app="x"}"#).await.0, 200);
    let metrics = world.client.get(format!("{}/metrics", world.apiserver)).send().await.expect("an answer").text().await.expect("text");
    let figure = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is missing in {metrics}"));
        line.rsplit(' ').next().and_then(|figure| figure.parse::<f64>().ok()).expect("a figure")
    };
    assert!(figure("tailwater_request_duration_seconds_count{route=\"loki\",method=\"GET\",status_code=\"200\"}") >= 1.0);
    assert!(figure("tailwater_access_reviews_total{outcome=\"allowed\"}") >= 1.0);
    assert!(figure("tailwater_tls_certificate_not_after_seconds") > now() as f64 / 1e9);
}

#[tokio::test]
async fn nothing_but_reading_is_passed_on() {
    let world = World::new(Lifetimes::default()).await;
    for path in [
        "/loki/api/v1/push",
        "/loki/api/v1/delete",
        "/namespaces/a/loki/api/v1/delete",
        "/config",
        "/namespaces/a/loki/api/v1/..%2f..%2f..%2fconfig",
        "/namespaces/a%2f..%2fb/loki/api/v1/query",
    ] {
        let direct =
            world.client.get(format!("{}{ROOT}{path}", world.apiserver)).bearer_auth("root-token").send().await.expect("an answer");
        assert_eq!(direct.status(), StatusCode::NOT_FOUND, "{path}");
        let through = world.through("root", &format!("{ROOT}{path}")).await;
        assert!(through.status().is_client_error(), "{path}: {}", through.status());
    }
    let (status, text) = world.query("ann", "/namespaces/a", "{app=").await;
    assert!(status == 400 && text.starts_with("parse error"), "{text}");
}

/// A client of the apiserver itself, with a certificate or without one.
fn direct(world: &World, certificate: Option<&Certificate>) -> Client {
    let trusted = reqwest::Certificate::from_pem(world.authority.as_bytes()).expect("a certificate");
    let builder = Client::builder().tls_certs_merge([trusted]);
    let identity =
        |pair: &Certificate| reqwest::Identity::from_pem(format!("{}{}", pair.certificate, pair.key).as_bytes()).expect("an identity");
    certificate.map(identity).into_iter().fold(builder, |builder, identity| builder.identity(identity)).build().expect("a client")
}

#[tokio::test]
async fn headers_are_believed_of_the_front_proxy_alone() {
    let world = World::new(Lifetimes::default()).await;
    let url = format!("{}{ROOT}/namespaces/b/loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D", world.apiserver);
    let claim = async |client: Client| {
        let asked = client.get(&url).header("x-remote-user", "root").header("x-remote-group", "system:masters").send().await;
        asked.map(|answer| answer.status().as_u16())
    };
    let issued = |signer, name: &str| world.kube.issue(signer, name, &[]).expect("a certificate").0;
    assert_eq!(claim(direct(&world, Some(&issued(Signer::FrontProxy, "front-proxy-client")))).await.expect("an answer"), 200);
    assert_eq!(claim(direct(&world, None)).await.expect("an answer"), 401);
    assert_eq!(claim(direct(&world, Some(&issued(Signer::FrontProxy, "somebody-else")))).await.expect("an answer"), 401);
    for signer in [Signer::Stranger, Signer::Cluster] {
        assert!(claim(direct(&world, Some(&issued(signer, "front-proxy-client")))).await.is_err(), "{signer:?}");
    }
    let with_token = |token: &str| direct(&world, None).get(&url).header("x-remote-user", "root").bearer_auth(token);
    assert_eq!(with_token("root-token").send().await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(with_token("ann-token").send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    assert_eq!(with_token("nobodys").send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    let signed = direct(&world, None).get(&url).header("x-tailwater-access", "x").send().await.expect("an answer");
    assert_eq!(signed.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn another_front_proxy_certificate_is_known_without_a_restart() {
    let world = World::new(Lifetimes::default()).await;
    world.kube.rotate_front_proxy().expect("rotated");
    for _ in 0..600 {
        if world.query("ann", "/namespaces/a", r#"{app="x"}"#).await.0 == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new certificate is not known");
}

#[tokio::test]
async fn discovery_needs_neither_aggregator_nor_store() {
    let (empty, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let kube = FakeKube::start(Options { users: vec![user("root"), user(OWN_ACCOUNT)], ..Options::default() }).await.expect("a cluster");
    kube.apply(RIGHTS).expect("rights");
    let (certificate, authority) = kube.issue(Signer::Cluster, "x", &["127.0.0.1"]).expect("a certificate");
    let path = |name: &str| files.path().join(name);
    std::fs::write(path("tls.crt"), &certificate.certificate).expect("written");
    std::fs::write(path("tls.key"), &certificate.key).expect("written");
    std::fs::write(path("kubeconfig"), kube.kubeconfig(OWN_ACCOUNT)).expect("written");
    let mut config = Config::default();
    config.storage.filesystem.path = empty.path().join("nothing");
    config.auth.kubeconfig = path("kubeconfig");
    config.tls = Tls { certificate: path("tls.crt"), key: path("tls.key"), ..Tls::default() };
    let options = ApiserverOptions {
        source: ConfigSource::default(),
        address: "127.0.0.1:0".parse().expect("an address"),
        aggregator: "http://127.0.0.1:1".to_owned(),
        is_audited: false,
        lifetimes: Lifetimes::default(),
    };
    let apiserver = Apiserver::start(&options, &config).await.expect("an apiserver");
    let url = format!("https://{}", apiserver.address());
    let stop = CancellationToken::new();
    let running = tokio::spawn(apiserver.run(stop.clone()));
    let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    let client = Client::builder().tls_certs_merge([trusted]).build().expect("a client");
    for path in [
        "/apis",
        "/apis/logs.tailwater.io",
        ROOT,
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/logs.tailwater.io/v1",
        "/version",
        "/livez",
    ] {
        let answer = client.get(format!("{url}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let resources = json_of(client.get(format!("{url}{ROOT}")).send().await.expect("an answer")).await;
    assert_eq!((&resources["kind"], &resources["groupVersion"]), (&json!("APIResourceList"), &json!("logs.tailwater.io/v1")));
    let read = client.get(format!("{url}{ROOT}/loki/api/v1/labels")).bearer_auth("root-token").send().await.expect("an answer");
    assert_eq!((read.status(), json_of(read).await["reason"].clone()), (StatusCode::SERVICE_UNAVAILABLE, json!("ServiceUnavailable")));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends").expect("no panic").expect("in order");
}

#[tokio::test]
async fn a_tail_goes_through_and_ends_when_its_right_is_gone() {
    let world = World::new(Lifetimes { allowed: Duration::from_millis(900), denied: Duration::from_millis(300) }).await;
    let address = world.kube.url().trim_start_matches("https://").to_owned();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.kube.authority().as_bytes()).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = tokio::net::TcpStream::connect(&address).await.expect("listens");
    let stream = connector.connect(ServerName::try_from("127.0.0.1").expect("a name"), stream).await.expect("TLS");
    let path = format!("{ROOT}/namespaces/a/loki/api/v1/tail?query=%7Bapp%3D%22x%22%7D&start=0");
    let mut request = format!("wss://{address}{path}").into_client_request().expect("a request");
    request.headers_mut().insert("authorization", "Bearer ann-token".parse().expect("a value"));
    let (mut socket, _) = client_async(request, stream).await.expect("upgraded");
    // Longer than answers are remembered: it lives on because they are asked for again.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    world.kube.delete("rolebindings", "a", "ann-reads").expect("deleted");
    let (mut sent, mut reason) = (String::new(), String::new());
    while let Some(Ok(message)) = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.expect("an end") {
        match message {
            Message::Text(text) => sent.push_str(&text),
            Message::Close(Some(frame)) => reason = frame.reason.to_string(),
            _ => {}
        }
    }
    assert_eq!((seen(&sent), reason.as_str()), (vec![1, 2], "the right to read these logs was withdrawn"), "{sent}");
}
