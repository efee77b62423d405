//! A fake of the Kubernetes API server: lists and watches of pods and namespaces, as far as the agent asks for them.
//!
//! It is no Kubernetes: nothing is admitted, authorized or defaulted, objects are what a test puts in. Resource versions count its changes; a watch sends
//! what changed after the version it names, or says 410 if that was forgotten. It streams what is there before, if it is asked for that, unless it is one that
//! does not; other bookmarks it sends none. Faults are switched on and off.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Sender, channel};

/// A watch that is further behind is ended.
const EVENTS: usize = 10_000;

type Parameters = HashMap<String, String>;

#[derive(Default)]
struct Kind {
    objects: BTreeMap<String, Value>,
    /// Changes with their versions.
    log: Vec<(u64, Value)>,
    watchers: Vec<Sender<Vec<u8>>>,
    /// Watches from before it are refused.
    oldest: u64,
}

#[derive(Default)]
struct Cluster {
    pods: Kind,
    nodes: Kind,
    namespaces: Kind,
    events: Kind,
    /// By name.
    leases: BTreeMap<String, Value>,
    /// Whoever renews a lease with this identity is refused.
    refused_holder: Option<String>,
    version: u64,
    /// Answered to everything while it is set.
    fault: Option<u16>,
    queries: Vec<Parameters>,
    /// Whole ones, and those that watches began with.
    lists: usize,
    streamed: usize,
    /// As servers before that was known.
    refuses_to_stream: bool,
}

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<Cluster>>);

impl FakeApi {
    pub(crate) async fn start(&self) -> SocketAddr {
        self.start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at an address that is known before.
    pub(crate) async fn start_at(&self, address: SocketAddr) -> SocketAddr {
        self.namespace("shop", "ns-uid-1", json!({}));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/api/v1/pods", get(pods))
            .route("/api/v1/nodes", get(nodes))
            .route("/api/v1/namespaces", get(namespaces))
            .route("/apis/events.k8s.io/v1/events", get(events))
            .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", post(create_lease))
            .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}", get(lease).put(replace_lease))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    /// Creates a pod, or changes the one with its uid.
    pub(crate) fn put(&self, pod: Value) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        change(&mut cluster.pods, pod, version, "ADDED");
    }

    /// Creates a node, or changes the one with its uid.
    pub(crate) fn node(&self, node: Value) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        change(&mut cluster.nodes, node, version, "ADDED");
    }

    /// Creates an event, or changes the one with its uid.
    pub(crate) fn event(&self, event: Value) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        change(&mut cluster.events, event, version, "ADDED");
    }

    /// Removes an event, as the API does after an hour.
    pub(crate) fn expire_event(&self, uid: &str) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        if let Some(event) = cluster.events.objects.remove(uid) {
            tell(&mut cluster.events, event, version, "DELETED");
        }
    }

    /// Who holds a lease.
    pub(crate) fn holder(&self, lease: &str) -> Option<String> {
        Some(self.0.lock().leases.get(lease)?["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    /// Answers 503 to every change of a lease by this holder: it is cut off.
    pub(crate) fn cut_off(&self, identity: Option<&str>) {
        self.0.lock().refused_holder = identity.map(str::to_owned);
    }

    pub(crate) fn event_watches(&self) -> usize {
        self.0.lock().events.watchers.iter().filter(|watcher| !watcher.is_closed()).count()
    }

    pub(crate) fn delete(&self, uid: &str) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        if let Some(pod) = cluster.pods.objects.remove(uid) {
            tell(&mut cluster.pods, pod, version, "DELETED");
        }
    }

    pub(crate) fn namespace(&self, name: &str, uid: &str, annotations: Value) {
        self.labelled_namespace(name, uid, annotations, json!({}));
    }

    pub(crate) fn labelled_namespace(&self, name: &str, uid: &str, annotations: Value, labels: Value) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": name, "uid": uid, "annotations": annotations, "labels": labels}});
        change(&mut cluster.namespaces, object, version, "ADDED");
    }

    /// Answers `status` to everything and ends all watches; `None`: works again.
    pub(crate) fn fault(&self, status: Option<u16>) {
        self.0.lock().fault = status;
        self.drop_watches();
    }

    pub(crate) fn drop_watches(&self) {
        let mut cluster = self.0.lock();
        cluster.pods.watchers.clear();
        cluster.namespaces.watchers.clear();
        cluster.events.watchers.clear();
    }

    /// Ends all watches and forgets what changed before: they must list anew.
    pub(crate) fn compact(&self) {
        {
            let mut cluster = self.0.lock();
            cluster.version += 1;
            let version = cluster.version;
            let forget = |kind: &mut Kind| {
                kind.log.clear();
                kind.oldest = version;
            };
            forget(&mut cluster.pods);
            forget(&mut cluster.namespaces);
            forget(&mut cluster.events);
        }
        self.drop_watches();
    }

    /// Both kinds are being watched.
    pub(crate) fn is_watched(&self) -> bool {
        let cluster = self.0.lock();
        !cluster.pods.watchers.is_empty() && !cluster.namespaces.watchers.is_empty()
    }

    /// How often everything was asked for, one way or the other.
    pub(crate) fn lists(&self) -> usize {
        self.0.lock().lists
    }

    /// How many of those were streamed.
    pub(crate) fn streamed_lists(&self) -> usize {
        self.0.lock().streamed
    }

    /// Answers 422 to whoever wants a list to be streamed.
    pub(crate) fn refuse_to_stream(&self) {
        self.0.lock().refuses_to_stream = true;
    }

    pub(crate) fn queries(&self) -> Vec<HashMap<String, String>> {
        self.0.lock().queries.clone()
    }
}

fn change(kind: &mut Kind, mut object: Value, version: u64, how: &str) {
    object["metadata"]["resourceVersion"] = version.to_string().into();
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    let before = kind.objects.insert(uid, object.clone());
    tell(kind, object, version, if before.is_some() { "MODIFIED" } else { how });
}

fn tell(kind: &mut Kind, mut object: Value, version: u64, how: &str) {
    object["metadata"]["resourceVersion"] = version.to_string().into();
    let event = json!({"type": how, "object": object});
    let line = format!("{event}\n").into_bytes();
    kind.log.push((version, event));
    kind.watchers.retain(|watcher| watcher.try_send(line.clone()).is_ok());
}

fn answer(api: &FakeApi, query: Parameters, list: &str, kind: fn(&mut Cluster) -> &mut Kind) -> Response {
    let mut cluster = api.0.lock();
    let asked = query.clone();
    cluster.queries.push(query);
    if let Some(status) = cluster.fault {
        let body =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "on purpose", "code": status});
        return (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    }
    let version = cluster.version;
    if !asked.contains_key("watch") {
        cluster.lists += 1;
        let items: Vec<Value> = kind(&mut cluster).objects.values().cloned().collect();
        let api_version = match list {
            "PodList" | "NodeList" => "v1",
            "EventList" => "events.k8s.io/v1",
            _ => "meta.k8s.io/v1",
        };
        let body = json!({"kind": list, "apiVersion": api_version, "metadata": {"resourceVersion": version.to_string()}, "items": items});
        return ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    }
    let is_streamed = asked.get("sendInitialEvents").is_some_and(|text| text == "true");
    if is_streamed && cluster.refuses_to_stream {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
    }
    if is_streamed {
        let is_right = ["resourceVersionMatch", "allowWatchBookmarks"].map(|name| asked.get(name).map(String::as_str));
        assert_eq!(is_right, [Some("NotOlderThan"), Some("true")], "a real server would refuse it");
        cluster.lists += 1;
        cluster.streamed += 1;
    }
    let since: u64 = asked.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let kind = kind(&mut cluster);
    let (sender, receiver) = channel(EVENTS);
    if is_streamed {
        let added = |object: &Value| json!({"type": "ADDED", "object": object});
        let any = kind.objects.values().next();
        let (api_version, named) = any.map_or((json!("v1"), json!("Pod")), |object| (object["apiVersion"].clone(), object["kind"].clone()));
        let metadata = json!({"resourceVersion": version.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}});
        let end = json!({"type": "BOOKMARK", "object": {"kind": named, "apiVersion": api_version, "metadata": metadata}});
        kind.objects.values().map(added).chain([end]).for_each(|event| sender.try_send(format!("{event}\n").into_bytes()).unwrap());
        kind.watchers.push(sender);
    } else if since < kind.oldest {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "too old", "reason": "Expired", "code": 410});
        sender.try_send(format!("{}\n", json!({"type": "ERROR", "object": status})).into_bytes()).unwrap();
    } else {
        kind.log.iter().filter(|(at, _)| *at > since).for_each(|(_, event)| sender.try_send(format!("{event}\n").into_bytes()).unwrap());
        kind.watchers.push(sender);
    }
    let stream = futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|line| (line, receiver)) });
    Body::from_stream(stream.map(Ok::<_, std::io::Error>)).into_response()
}

async fn pods(State(api): State<FakeApi>, Query(query): Query<Parameters>) -> Response {
    answer(&api, query, "PodList", |cluster| &mut cluster.pods)
}

async fn nodes(State(api): State<FakeApi>, Query(query): Query<Parameters>) -> Response {
    answer(&api, query, "NodeList", |cluster| &mut cluster.nodes)
}

async fn namespaces(State(api): State<FakeApi>, Query(query): Query<Parameters>) -> Response {
    answer(&api, query, "PartialObjectMetadataList", |cluster| &mut cluster.namespaces)
}

async fn events(State(api): State<FakeApi>, Query(query): Query<Parameters>) -> Response {
    answer(&api, query, "EventList", |cluster| &mut cluster.events)
}

fn json_of(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "on purpose", "reason": reason, "code": status.as_u16()});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn lease(State(api): State<FakeApi>, Path((_, name)): Path<(String, String)>) -> Response {
    let lease = api.0.lock().leases.get(&name).cloned();
    lease.map_or_else(|| refusal(StatusCode::NOT_FOUND, "NotFound"), |lease| json_of(&lease))
}

async fn create_lease(State(api): State<FakeApi>, Path(_): Path<String>, body: String) -> Response {
    let lease: Value = serde_json::from_str(&body).unwrap();
    let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
    if api.0.lock().leases.contains_key(&name) {
        return refusal(StatusCode::CONFLICT, "AlreadyExists");
    }
    store_lease(&api, &name, lease)
}

/// Takes a change only of the version that is there.
async fn replace_lease(State(api): State<FakeApi>, Path((_, name)): Path<(String, String)>, body: String) -> Response {
    let lease: Value = serde_json::from_str(&body).unwrap();
    let known = api.0.lock().leases.get(&name).map(|known| known["metadata"]["resourceVersion"].clone());
    if known.as_ref() != Some(&lease["metadata"]["resourceVersion"]) {
        return refusal(StatusCode::CONFLICT, "Conflict");
    }
    store_lease(&api, &name, lease)
}

fn store_lease(api: &FakeApi, name: &str, mut lease: Value) -> Response {
    let mut cluster = api.0.lock();
    if cluster.refused_holder.is_some() && cluster.refused_holder.as_deref() == lease["spec"]["holderIdentity"].as_str() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    }
    cluster.version += 1;
    lease["metadata"]["resourceVersion"] = cluster.version.to_string().into();
    lease["kind"] = "Lease".into();
    lease["apiVersion"] = "coordination.k8s.io/v1".into();
    cluster.leases.insert(name.to_owned(), lease.clone());
    json_of(&lease)
}
