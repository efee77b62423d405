//! Labels and metadata from the Kubernetes API: a fake API server, watched through a kubeconfig.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Agent, Node, Recorder, kubeconfig, label};

#[derive(Clone, Default)]
struct FakeApi {
    pods: Arc<Mutex<Vec<Value>>>,
    queries: Arc<Mutex<Vec<HashMap<String, String>>>>,
    is_down: Arc<Mutex<bool>>,
}

impl FakeApi {
    async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/api/v1/pods", get(pods)).route("/api/v1/namespaces", get(namespaces)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }
}

/// A list, or a watch in which nothing happens.
fn answer(api: &FakeApi, query: HashMap<String, String>, list: Value) -> Response {
    if *api.is_down.lock() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let is_watch = query.contains_key("watch");
    api.queries.lock().push(query);
    if is_watch {
        return Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()).into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], list.to_string()).into_response()
}

async fn pods(State(api): State<FakeApi>, Query(query): Query<HashMap<String, String>>) -> Response {
    let items = api.pods.lock().clone();
    answer(&api, query, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}

async fn namespaces(State(api): State<FakeApi>, Query(query): Query<HashMap<String, String>>) -> Response {
    let item = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "shop", "uid": "ns-uid-1"}});
    answer(
        &api,
        query,
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"}, "items": [item]}),
    )
}

fn pod() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "uid-1", "labels": {"app": "storefront", "component": "front"}},
        "status": {"containerStatuses": [
            {"name": "app", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://abc"}
        ]}
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_metadata_come_from_the_api_by_a_watch_of_this_node() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    api.pods.lock().push(pod());
    let mut config = node.config(&recorder.url());
    config.kubeconfig = Some(kubeconfig(&node, api.start().await));
    node.container("app").line("hello");
    let agent = Agent::start(config).await;
    recorder.wait_for(1).await;
    let entry = recorder.all().remove(0);
    assert_eq!(label(&entry.labels, "app"), "storefront");
    assert_eq!(label(&entry.labels, "component"), "front");
    assert_eq!(label(&entry.labels, "job"), "shop/storefront");
    let metadata: Vec<_> = entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(metadata, ["container_id=containerd://abc", "namespace_uid=ns-uid-1", "pod_uid=uid-1", "restart=0"]);
    assert!(api.queries.lock().iter().any(|query| query.get("fieldSelector").is_some_and(|selector| selector == "spec.nodeName=node-a")));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_delays_lines_and_loses_none_and_labels_stay_as_decided() {
    let (node, recorder, api) = (Node::new(), Recorder::start(true).await, FakeApi::default());
    *api.is_down.lock() = true;
    let mut config = node.config(&recorder.url());
    config.kubeconfig = Some(kubeconfig(&node, api.start().await));
    config.metadata_wait = Duration::from_millis(300);
    let mut container = node.container("app");
    container.lines(0..10);
    let agent = Agent::start(config.clone()).await;
    recorder.wait_for(10).await;
    assert!(recorder.all().iter().all(|entry| label(&entry.labels, "app") == "web"));
    let metrics = agent.handle.render_metrics();
    assert!(metrics.contains("tailwater_agent_metadata_missing_total 1"), "{metrics}");
    agent.stop().await;
    // Known now, but the lines may be stored: the instance keeps what was decided.
    *api.is_down.lock() = false;
    api.pods.lock().push(pod());
    let agent = Agent::start(config).await;
    container.lines(10..20);
    recorder.wait_for(20).await;
    assert!(recorder.all().iter().all(|entry| label(&entry.labels, "app") == "web"));
    agent.stop().await;
}
