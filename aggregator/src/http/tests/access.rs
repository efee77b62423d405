//! Who may read what, over the whole surface: rights of a Kubernetes API, signed headers, label policies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request};
use futures::StreamExt;
use serde_json::{Value, json};
use tailwater_engine::access::AllowedNamespaces;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{NOW, Reply, Surface, nanoseconds};
use crate::access::allowed::AllowedClaim;
use crate::access::authorizer::Authorizer;
use crate::access::expiring::Lifetimes;
use crate::access::metrics::{ReviewMetrics, ReviewOutcome};
use crate::access::review::Reviewer;
use crate::access::routes::RouteNeeds;
use crate::access::signature::Claim;
use crate::access::tests::{Api, Fault};

const RANGE: [(&str, &str); 2] = [("start", "1768896000"), ("end", "1768903300")];
/// Before all lines, and between them.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
const AMID: &str = "2026-01-20T09:59:30Z";

struct Cluster {
    surface: Surface,
    api: Api,
    _kubeconfig: tempfile::TempDir,
}

impl Cluster {
    /// Namespaces `a`, `b`; ann may read `a`, bob nothing, carl the pod `p` of `b`, root everything.
    async fn new() -> Self {
        Self::with(Lifetimes::default()).await
    }

    async fn with(lifetimes: Lifetimes) -> Self {
        let (api, kubeconfig) = (Api::start().await, tempfile::tempdir().expect("a folder"));
        let path = kubeconfig.path().join("config");
        api.write_kubeconfig(&path);
        for (token, user) in [("ann-1", "ann"), ("bob-1", "bob"), ("carl-1", "carl"), ("root-1", "root")] {
            api.token(token, user);
        }
        api.bind(("ann", "a", "*"));
        api.bind(("carl", "b", "p"));
        api.bind(("root", "*", "*"));
        api.namespace("a", "uid-a", AMID);
        api.namespace("b", "uid-b", LONG_AGO);
        let yaml = format!("{{auth: {{mode: kubernetes, kubeconfig: {}}}}}", path.display());
        let client = crate::access::client::connect(&path).await.expect("a client");
        let adjust = |parts: &mut crate::wiring::Parts| {
            let reviewer = Reviewer::new(client, parts.access.metrics.clone());
            parts.access.authorizer = Some(Authorizer::new(reviewer, lifetimes));
        };
        let surface = Surface::adjusted(Arc::new(tempfile::tempdir().expect("a folder")), &yaml, adjust).await;
        Self { surface, api, _kubeconfig: kubeconfig }
    }

    async fn ask(&self, user: &str, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let parameters: Vec<(&str, &str)> = RANGE.into_iter().chain(parameters.iter().copied()).collect();
        self.surface.get_as(path, &parameters, &[("authorization", &format!("Bearer {user}-1"))]).await
    }

    async fn query(&self, user: &str, query: &str) -> Reply {
        self.ask(user, "/loki/api/v1/query_range", &[("query", query)]).await
    }

    fn reviews(&self, outcome: ReviewOutcome) -> u64 {
        self.metrics().of(outcome)
    }

    fn metrics(&self) -> &ReviewMetrics {
        &self.surface.parts.access.metrics
    }
}

/// (namespace, pod, uid, seconds before now, line); ann may read those that say so.
type Line = (Option<&'static str>, &'static str, Option<&'static str>, i64, &'static str);

const LINES: [Line; 10] = [
    (Some("a"), "p", Some("uid-a"), 50, r#"{"level":"info","seen":1} ann"#),
    (Some("a"), "p", Some("uid-a"), 20, "n=1 seen by ann"),
    (Some("a"), "q", Some("uid-a"), 19, "n=2 seen by ann"),
    (Some("a"), "p", Some("uid-former"), 18, "n=3 of the former namespace"),
    (Some("a"), "old", Some("uid-former"), 17, "n=4 of a pod of the former namespace"),
    (Some("a"), "q", None, 40, "n=5 older than the namespace"),
    (Some("a"), "q", None, 16, "n=6 without a uid, seen by ann"),
    (Some("b"), "p", Some("uid-b"), 15, "n=7 of b, foreign=yes"),
    (Some("b"), "q", Some("uid-b"), 14, "n=8 of b, foreign=yes"),
    (None, "p", None, 13, "n=9 of no namespace"),
];

fn streams(is_wanted: impl Fn(&str) -> bool) -> Value {
    let stream = |(namespace, pod, uid, ago, line): &Line| {
        let mut labels = json!({"app": "x", "pod": pod});
        if let Some(namespace) = namespace {
            labels["namespace"] = json!(namespace);
        }
        let metadata = uid.map_or_else(|| json!({}), |uid| json!({"namespace_uid": uid}));
        json!({"stream": labels, "values": [[nanoseconds(-ago), line, metadata]]})
    };
    LINES.iter().filter(|line| is_wanted(line.4)).map(stream).collect()
}

/// An answer without what tells how it came about.
fn told(mut answer: Value) -> Value {
    fn strip(value: &mut Value) {
        if let Value::Object(map) = value {
            ["stats", "statistics", "summary"].iter().for_each(|name| drop(map.remove(*name)));
        }
        match value {
            Value::Object(map) => map.values_mut().for_each(strip),
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut answer);
    answer
}

/// Every reading endpoint, with questions that touch everything.
const QUESTIONS: [(&str, &[(&str, &str)]); 29] = [
    ("/loki/api/v1/query_range", &[("query", r#"{app="x"}"#)]),
    ("/loki/api/v1/query_range", &[("query", r#"{app="x"}"#), ("limit", "2"), ("direction", "forward")]),
    ("/loki/api/v1/query_range", &[("query", r#"{namespace=~".+"} |= "n=""#)]),
    ("/loki/api/v1/query_range", &[("query", r#"{namespace!="b", app=~".+"} | logfmt | n > 1"#)]),
    ("/loki/api/v1/query_range", &[("query", r#"sum by (namespace, pod) (count_over_time({app="x"}[1m]))"#), ("step", "30")]),
    ("/loki/api/v1/query", &[("query", r#"sum by (namespace) (bytes_over_time({app="x"}[1h]))"#), ("time", "1768903200")]),
    (
        "/loki/api/v1/query",
        &[("query", r#"sum(count_over_time({namespace="a"}[1h])) + sum(count_over_time({app="x"}[1h]))"#), ("time", "1768903200")],
    ),
    (
        "/loki/api/v1/query",
        &[
            ("query", r#"sum by (namespace) (count_over_time({app="x"}[1h])) or count_over_time({namespace="b"}[1h])"#),
            ("time", "1768903200"),
        ],
    ),
    ("/loki/api/v1/query", &[("query", r#"sum by (pod) (sum_over_time({app="x"} | logfmt | unwrap n [1h]))"#), ("time", "1768903200")]),
    ("/loki/api/v1/query", &[("query", r#"absent_over_time({namespace="b"}[1h])"#), ("time", "1768903200")]),
    ("/loki/api/v1/query", &[("query", r#"count(count_over_time({app="x"}[1h]))"#), ("time", "1768903200")]),
    (
        "/loki/api/v1/query",
        &[
            ("query", r#"variants(count_over_time({app="x"}[1h]), bytes_over_time({app="x"}[1h])) of ({app="x"}[1h])"#),
            ("time", "1768903200"),
        ],
    ),
    ("/api/prom/query", &[("query", r#"{app="x"}"#)]),
    ("/loki/api/v1/labels", &[]),
    ("/loki/api/v1/labels", &[("query", r#"{namespace="b"}"#)]),
    ("/api/prom/label", &[]),
    ("/loki/api/v1/label/namespace/values", &[]),
    ("/loki/api/v1/label/pod/values", &[("query", r#"{app="x"}"#)]),
    ("/api/prom/label/pod/values", &[]),
    ("/loki/api/v1/series", &[]),
    ("/loki/api/v1/series", &[("match[]", r#"{namespace="b"}"#), ("match[]", r#"{pod="p"}"#)]),
    ("/loki/api/v1/index/stats", &[("query", r#"{app="x"}"#)]),
    ("/loki/api/v1/index/shards", &[("query", r#"{app="x"}"#), ("targetBytesPerShard", "1MB")]),
    ("/loki/api/v1/index/volume", &[("query", r#"{namespace=~".+"}"#)]),
    ("/loki/api/v1/index/volume", &[("query", "{}"), ("targetLabels", "pod"), ("aggregateBy", "labels")]),
    ("/loki/api/v1/index/volume_range", &[("query", r#"{app="x"}"#), ("step", "7200")]),
    ("/loki/api/v1/patterns", &[("query", r#"{app="x"}"#), ("step", "60")]),
    ("/loki/api/v1/detected_fields", &[("query", r#"{app="x"}"#)]),
    ("/loki/api/v1/detected_labels", &[]),
];

#[tokio::test]
async fn a_restricted_answer_is_that_over_what_may_be_seen_at_every_endpoint() {
    let (cluster, alone) = (Cluster::new().await, Surface::new("{}").await);
    assert_eq!(cluster.surface.push(streams(|_| true)).await.status, 204);
    assert_eq!(alone.push(streams(|line| line.contains("ann"))).await.status, 204);
    let mut asked: Vec<(&str, &[(&str, &str)])> = QUESTIONS.to_vec();
    asked.push(("/loki/api/v1/detected_field/foreign/values", &[("query", r#"{app="x"}"#)]));
    asked.push(("/loki/api/v1/detected_field/n/values", &[("query", r#"{app="x"}"#)]));
    for (path, parameters) in asked {
        let everything = cluster.ask("root", path, parameters).await;
        assert_eq!(everything.status, 200, "{path} {parameters:?}: {}", everything.text);
        let seen = cluster.ask("ann", path, parameters).await;
        // Naming only what is foreign is refused, elsewhere nothing is found.
        let with_range: Vec<(&str, &str)> = RANGE.into_iter().chain(parameters.iter().copied()).collect();
        let truth = alone.get(path, &with_range).await;
        if seen.status == 403 {
            assert!(
                parameters.iter().any(|(_, value)| *value == r#"{namespace="b"}"# || value.starts_with("absent")),
                "{path} {parameters:?}: {}",
                seen.text
            );
            continue;
        }
        assert_eq!((seen.status, told(seen.json())), (200, told(truth.json())), "{path} {parameters:?}");
        assert!(!seen.text.contains("foreign=yes") && !seen.text.contains("former"), "{path} {parameters:?}: {}", seen.text);
    }
}

#[tokio::test]
async fn single_pods_may_be_read_by_their_name() {
    let cluster = Cluster::new().await;
    cluster.surface.push(streams(|_| true)).await;
    let seen = cluster.query("carl", r#"{namespace="b", pod="p"}"#).await;
    assert!(seen.status == 200 && seen.text.contains("n=7") && !seen.text.contains("n=8"), "{}", seen.text);
    let both = r#"sum(count_over_time({namespace="b"}[1h])) + sum(count_over_time({namespace="b", pod="p"}[1h]))"#;
    for query in [r#"{namespace="b"}"#, r#"{namespace="b", pod="q"}"#, r#"{namespace="b", pod=~"p"}"#, both] {
        assert_eq!(cluster.query("carl", query).await.status, 403, "{query}");
    }
}

#[tokio::test]
async fn refusals_say_what_is_missing_and_not_what_is_there() {
    let cluster = Cluster::new().await;
    cluster.surface.push(streams(|_| true)).await;
    let start = r#"cannot get resource "pods/log" in API group """#;
    for (user, query, text) in [
        ("bob", r#"{app="x"}"#, format!(r#"user "bob" {start} in any namespace that the query can touch"#)),
        ("bob", r#"{namespace="a"}"#, format!(r#"user "bob" {start} in the namespace "a""#)),
        ("ann", r#"{namespace="b"}"#, format!(r#"user "ann" {start} in the namespace "b""#)),
        ("ann", r#"{namespace="nowhere"}"#, format!(r#"user "ann" {start} in the namespace "nowhere""#)),
        ("bob", r#"{namespace="b", pod="p"}"#, format!(r#"user "bob" {start} of the pod "p" in the namespace "b""#)),
    ] {
        assert_eq!(cluster.query(user, query).await.seen(), (403, text.as_str()), "{query}");
    }
    // What makes no sense is refused in the words of the endpoint, whoever asks.
    let nonsense = cluster.query("bob", "{app=").await;
    assert!(nonsense.status == 400 && nonsense.text.starts_with("parse error"), "{}", nonsense.text);
    assert_eq!(cluster.query("ann", r#"{app="nothing"}"#).await.status, 200);
    assert_eq!(cluster.query("bob", r#"{app="nothing"}"#).await.status, 403);
}

#[tokio::test]
async fn the_kubernetes_api_is_asked_about_what_a_query_touches_and_once() {
    let cluster = Cluster::new().await;
    for number in 0..30 {
        cluster.api.namespace(&format!("other-{number}"), "uid", LONG_AGO);
    }
    cluster.surface.push(streams(|_| true)).await;
    for (user, query, reviewed) in [
        ("ann", r#"{namespace="a"}"#, &["/", "a/"][..]),
        ("ann", r#"{namespace="a"} |= "x""#, &[]),
        // Of many namespaces those are asked about that have such streams.
        ("ann", r#"{app="x"}"#, &["b/"]),
        ("root", r#"{app="x"}"#, &["/"]),
        ("carl", r#"{namespace="b", pod="p"}"#, &["/", "b/", "b/p"]),
    ] {
        assert_eq!(cluster.query(user, query).await.status, 200, "{query}");
        assert_eq!(cluster.api.reviewed(), reviewed, "{user} {query}");
    }
    assert_eq!(cluster.api.cluster.lock().authenticated, 3);
    // Three tokens, and of the reviews three denied.
    assert_eq!((cluster.reviews(ReviewOutcome::Allowed), cluster.reviews(ReviewOutcome::Denied)), (3 + 3, 4));
    let metrics = cluster.surface.get("/metrics", &[]).await.text;
    assert!(metrics.contains(r#"tailwater_access_reviews_total{outcome="error"} 0"#), "{metrics}");
}

#[tokio::test]
async fn more_namespaces_than_can_be_asked_about_are_refused() {
    let cluster = Cluster::new().await;
    for number in 0..1100 {
        cluster.api.namespace(&format!("n-{number}"), "uid", LONG_AGO);
    }
    let refused = cluster.query("bob", r#"{app="x"}"#).await;
    assert_eq!(refused.seen(), (400, "the query can touch more than 1000 namespaces, name some of them by the label `namespace`"));
}

#[tokio::test]
async fn without_an_answer_there_is_no_access() {
    let cluster = Cluster::with(Lifetimes { allowed: Duration::ZERO, denied: Duration::ZERO }).await;
    cluster.surface.push(streams(|_| true)).await;
    assert_eq!(cluster.query("ann", r#"{namespace="a"}"#).await.status, 200);
    for fault in [Fault::Refuses, Fault::NeverAnswers] {
        cluster.api.fail(Some(fault));
        let refused = cluster.query("ann", r#"{namespace="a"}"#).await;
        assert_eq!(refused.status, 401, "{}", refused.text);
        let signed = cluster.surface.parts.access.signer.sign(person("ann"), NOW);
        let signed = signed.to_str().expect("text");
        let parameters = [("query", r#"{namespace="a"}"#)];
        let refused = cluster.surface.get_as("/loki/api/v1/query_range", &parameters, &[("x-tailwater-access", signed)]).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert_eq!(cluster.surface.push(streams(|_| true)).await.status, 204, "pushes go on");
        cluster.api.fail(None);
    }
    assert!(cluster.reviews(ReviewOutcome::Error) >= 4);
    assert_eq!(cluster.query("ann", r#"{namespace="a"}"#).await.status, 200);
}

fn person(user: &str) -> Claim {
    Claim::Person(crate::access::identity::Identity::new(
        user.to_owned(),
        String::new(),
        vec!["system:authenticated".to_owned()],
        Default::default(),
    ))
}

/// The routes of a router, as its own description names them.
fn routes(router: &Router) -> BTreeSet<String> {
    let described = format!("{router:?}");
    // Two of them stand for what no route has.
    let is_route = |text: &&str| text.starts_with('/') && *text != "/" && !text.contains("fallback");
    described.split('"').filter(is_route).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_route_reads_without_a_token() {
    let cluster = Cluster::new().await;
    cluster.surface.push(streams(|_| true)).await;
    let routes = routes(&cluster.surface.router);
    assert!(routes.len() > 40 && routes.contains("/loki/api/v1/query_range"), "{routes:?}");
    let other = Surface::new("{}").await;
    let forged = other.parts.access.signer.sign(Claim::Allowed(AllowedClaim::All), NOW);
    let expired = cluster.surface.parts.access.signer.sign(Claim::Allowed(AllowedClaim::All), NOW - 60_000_000_000);
    let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    let credentials: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![("authorization", "Bearer nobodys".to_owned())],
        vec![("authorization", "Basic cm9vdDpyb290".to_owned())],
        vec![("authorization", "Bearer root-1".to_owned()), ("authorization", "Bearer root-1".to_owned())],
        vec![("x-remote-user", "root".to_owned()), ("x-remote-group", "system:masters".to_owned())],
        vec![("x-tailwater-access", "all".to_owned())],
        vec![("x-tailwater-access", text(&forged))],
        vec![("x-tailwater-access", text(&expired)), ("authorization", "Bearer root-1".to_owned())],
    ];
    for route in &routes {
        let path = route.replace("{name}", "app").replace("{namespace}", "a").replace("{group}", "g");
        for method in [Method::GET, Method::POST, Method::DELETE] {
            for headers in &credentials {
                let uri = format!("{path}?query=%7Bapp%3D%22x%22%7D");
                let request =
                    headers.iter().fold(Request::builder().method(&method).uri(uri), |request, (name, value)| request.header(*name, value));
                let answer = cluster.surface.send(request.body(Body::empty()).expect("a request")).await;
                if RouteNeeds::of(route) == RouteNeeds::Nothing {
                    assert!(!answer.text.contains("seen by ann"), "{route}");
                    continue;
                }
                assert_eq!(answer.status, 401, "{method} {route} {headers:?}: {}", answer.text);
                assert_eq!(answer.headers["www-authenticate"], "Bearer");
            }
        }
    }
    for path in ["/loki/api/v1/../v1/query_range", "/loki%2fapi/v1/query_range", "/loki/api/v1/query_range/"] {
        let answer = cluster.surface.get(path, &[("query", r#"{app="x"}"#)]).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_of_everybody_takes_the_right_to_everything() {
    let cluster = Cluster::new().await;
    for path in ["/loki/api/v1/delete", "/config", "/log_level"] {
        let refused = cluster.ask("ann", path, &[]).await;
        assert!(refused.status == 403 && refused.text.contains("at the cluster scope"), "{path}: {}", refused.text);
        assert_eq!(cluster.ask("root", path, &[]).await.status, 200, "{path}");
    }
    assert_eq!(cluster.ask("bob", "/loki/api/v1/drilldown-limits", &[]).await.status, 200, "it is the same for everybody");
}

#[tokio::test]
async fn a_gateway_is_given_a_header_in_place_of_the_token() {
    let cluster = Cluster::new().await;
    cluster.surface.push(streams(|_| true)).await;
    let authz = async |headers: &[(&str, &str)]| cluster.surface.get_as("/internal/authz", &[], headers).await;
    let given = authz(&[("authorization", "Bearer ann-1"), ("x-tailwater-access", "forged")]).await;
    let header = given.headers["x-tailwater-access"].to_str().expect("text").to_owned();
    assert_eq!(given.seen(), (200, ""));
    for refused in [&[][..], &[("authorization", "Bearer nobodys")], &[("x-tailwater-access", header.as_str())]] {
        let answer = authz(refused).await;
        assert!(answer.status == 401 && !answer.headers.contains_key("x-tailwater-access"), "{refused:?}");
    }
    let ask = async |query: &str| {
        let parameters: Vec<(&str, &str)> = RANGE.into_iter().chain([("query", query)]).collect();
        cluster.surface.get_as("/loki/api/v1/query_range", &parameters, &[("x-tailwater-access", &header)]).await
    };
    let seen = ask(r#"{app="x"}"#).await;
    assert!(seen.status == 200 && seen.text.contains("seen by ann") && !seen.text.contains("foreign"), "{}", seen.text);
    assert_eq!(ask(r#"{namespace="b"}"#).await.status, 403);
    // Nobody else's answer, however warm it is.
    let count = r#"sum(count_over_time({app="x"}[1h]))"#;
    let value = |reply: &Reply| reply.json()["data"]["result"][0]["value"][1].clone();
    let root = cluster.ask("root", "/loki/api/v1/query", &[("query", count), ("time", "1768903200")]).await;
    let ann = cluster.ask("ann", "/loki/api/v1/query", &[("query", count), ("time", "1768903200")]).await;
    assert_eq!((value(&root), value(&ann)), (json!("10"), json!("4")));
    cluster.surface.clock.set(NOW + 31_000_000_000);
    assert_eq!(ask(r#"{app="x"}"#).await.status, 401, "the header is past its time");
}

#[tokio::test]
async fn a_signed_header_restricts_also_where_nobody_is_told_apart() {
    let surface = Surface::new("{}").await;
    surface.push(streams(|_| true)).await;
    let ask = async |headers: &[(&str, &str)]| {
        let parameters: Vec<(&str, &str)> = RANGE.into_iter().chain([("query", r#"{app="x"}"#)]).collect();
        surface.get_as("/loki/api/v1/query_range", &parameters, headers).await
    };
    assert!(ask(&[]).await.text.contains("foreign=yes"));
    let grants = [("b".to_owned(), tailwater_engine::access::Grant::whole())].into();
    let claim = Claim::Allowed(AllowedClaim::from(&AllowedNamespaces::Only(grants)));
    let signed = surface.parts.access.signer.sign(claim, NOW);
    let seen = ask(&[("x-tailwater-access", signed.to_str().expect("text"))]).await;
    assert!(seen.status == 200 && seen.text.contains("foreign=yes") && !seen.text.contains("seen by ann"), "{}", seen.text);
    assert_eq!(ask(&[("x-tailwater-access", "x")]).await.status, 401);
    let named = surface.parts.access.signer.sign(person("root"), NOW);
    assert_eq!(
        ask(&[("x-tailwater-access", named.to_str().expect("text"))]).await.status,
        401,
        "nobody can be asked for this person's rights"
    );
    assert_eq!(surface.get("/internal/authz", &[]).await.status, 401);
}

#[tokio::test]
async fn label_policies_hold_at_every_endpoint() {
    let (surface, alone) = (Surface::new("{}").await, Surface::new("{}").await);
    surface.push(streams(|_| true)).await;
    alone.push(streams(|line| line.contains("of b"))).await;
    for (path, parameters) in QUESTIONS {
        let parameters: Vec<(&str, &str)> = RANGE.into_iter().chain(parameters.iter().copied()).collect();
        let policy = [("x-prom-label-policy", "fake:%7Bnamespace%3D%22b%22%7D, other:%7Bapp%3D%22x%22%7D")];
        let (seen, truth) = (surface.get_as(path, &parameters, &policy).await, alone.get(path, &parameters).await);
        assert_eq!((seen.status, told(seen.json())), (truth.status, told(truth.json())), "{path} {parameters:?}");
    }
    let refused = surface.get_as("/loki/api/v1/labels", &[], &[("x-prom-label-policy", "fake:{")]).await;
    assert!(refused.status == 400 && refused.text.contains("X-Prom-Label-Policy"), "{}", refused.text);
    assert_eq!(surface.get_as("/loki/api/v1/delete", &[], &[("x-prom-label-policy", "{a=\"b\"}")]).await.status, 403);
}

/// Follows logs with a token, until the server closes; gives its reason, and what was sent until then.
async fn followed(cluster: &Cluster, query: &str, meanwhile: impl AsyncFnOnce()) -> Result<(String, String), u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(axum::serve(listener, cluster.surface.router.clone()).into_future());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    let mut request = format!("ws://{address}/loki/api/v1/tail?{query}").into_client_request().expect("a request");
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer ann-1"));
    let stream = tokio::net::TcpStream::connect(address).await.expect("listens");
    let mut socket = match client_async(request, stream).await {
        Ok((socket, _)) => socket,
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => return Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    meanwhile().await;
    let (mut reason, mut sent) = (String::new(), String::new());
    while let Some(Ok(message)) = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.expect("an end") {
        match message {
            Message::Text(text) => sent.push_str(&text),
            Message::Close(Some(frame)) => reason = frame.reason.to_string(),
            _ => {}
        }
    }
    serving.abort();
    Ok((reason, sent))
}

#[tokio::test]
async fn a_tail_ends_soon_after_its_right_is_gone() {
    let cluster = Cluster::with(Lifetimes { allowed: Duration::from_millis(900), denied: Duration::from_millis(300) }).await;
    assert_eq!(followed(&cluster, r#"{namespace="b"}"#, async || {}).await, Err(403));
    let outcome = followed(&cluster, r#"{app="x"}"#, async || {
        assert_eq!(cluster.surface.push(streams(|_| true)).await.status, 204);
        // Longer than any answer is remembered: it lives on because it is asked about again.
        tokio::time::sleep(Duration::from_millis(2200)).await;
        cluster.api.cluster.lock().bindings.remove(&("ann", "a", "*"));
    });
    let (reason, sent) = outcome.await.expect("upgraded");
    assert_eq!(reason, "the right to read these logs was withdrawn");
    assert!(sent.contains("seen by ann") && !sent.contains("foreign") && !sent.contains("former"), "{sent}");
}

#[tokio::test]
async fn a_namespace_that_was_made_again_shows_nothing_of_the_former() {
    let cluster = Cluster::with(Lifetimes { allowed: Duration::ZERO, denied: Duration::ZERO }).await;
    cluster.surface.push(streams(|_| true)).await;
    let query = r#"{namespace="a"}"#;
    assert!(cluster.query("ann", query).await.text.contains("seen by ann"));
    cluster.api.namespace("a", "uid-next", "2026-01-20T10:00:00Z");
    let seen = cluster.query("ann", query).await;
    assert_eq!((seen.status, seen.json()["data"]["result"].clone()), (200, json!([])));
    cluster.api.cluster.lock().namespaces.remove("a");
    assert_eq!(cluster.query("ann", query).await.status, 403, "a right without a namespace is none");
    assert!(cluster.query("root", query).await.text.contains("former"));
}
