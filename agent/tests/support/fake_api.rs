//! A fake of the Kubernetes API server: lists and watches of pods and namespaces, as far as the agent asks for them.
//!
//! It is no Kubernetes: nothing is admitted, authorized or defaulted, objects are what a test puts in. Resource versions count its changes; a watch sends
//! what changed after the version it names, without bookmarks, or says 410 if that was forgotten. Faults are switched on and off.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
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
    namespaces: Kind,
    version: u64,
    /// Answered to everything while it is set.
    fault: Option<u16>,
    queries: Vec<Parameters>,
    lists: usize,
}

#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<Cluster>>);

impl FakeApi {
    pub async fn start(&self) -> SocketAddr {
        self.namespace("shop", "ns-uid-1", json!({}));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/api/v1/pods", get(pods)).route("/api/v1/namespaces", get(namespaces)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    /// Creates a pod, or changes the one with its uid.
    pub fn put(&self, pod: Value) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        change(&mut cluster.pods, pod, version, "ADDED");
    }

    pub fn delete(&self, uid: &str) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        if let Some(pod) = cluster.pods.objects.remove(uid) {
            tell(&mut cluster.pods, pod, version, "DELETED");
        }
    }

    pub fn namespace(&self, name: &str, uid: &str, annotations: Value) {
        let mut cluster = self.0.lock();
        cluster.version += 1;
        let version = cluster.version;
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": name, "uid": uid, "annotations": annotations}});
        change(&mut cluster.namespaces, object, version, "ADDED");
    }

    /// Answers `status` to everything and ends all watches; `None`: works again.
    pub fn fault(&self, status: Option<u16>) {
        self.0.lock().fault = status;
        self.drop_watches();
    }

    pub fn drop_watches(&self) {
        let mut cluster = self.0.lock();
        cluster.pods.watchers.clear();
        cluster.namespaces.watchers.clear();
    }

    /// Ends all watches and forgets what changed before: they must list anew.
    pub fn compact(&self) {
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
        }
        self.drop_watches();
    }

    /// Both kinds are being watched.
    pub fn is_watched(&self) -> bool {
        let cluster = self.0.lock();
        !cluster.pods.watchers.is_empty() && !cluster.namespaces.watchers.is_empty()
    }

    pub fn lists(&self) -> usize {
        self.0.lock().lists
    }

    pub fn queries(&self) -> Vec<HashMap<String, String>> {
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
        let api_version = if list == "PodList" { "v1" } else { "meta.k8s.io/v1" };
        let body = json!({"kind": list, "apiVersion": api_version, "metadata": {"resourceVersion": version.to_string()}, "items": items});
        return ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    }
    let since: u64 = asked.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let kind = kind(&mut cluster);
    let (sender, receiver) = channel(EVENTS);
    if since < kind.oldest {
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

async fn namespaces(State(api): State<FakeApi>, Query(query): Query<Parameters>) -> Response {
    answer(&api, query, "PartialObjectMetadataList", |cluster| &mut cluster.namespaces)
}
