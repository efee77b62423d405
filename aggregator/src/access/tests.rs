//! A Kubernetes API server of a few lines: tokens, rights and namespaces as a test sets them, and how often it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// (user, namespace, pod) who may be read by whom; `*` for all.
pub(crate) type Binding = (&'static str, &'static str, &'static str);

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// User by token.
    pub(crate) tokens: BTreeMap<&'static str, &'static str>,
    pub(crate) bindings: BTreeSet<Binding>,
    /// UID and time of making by name.
    pub(crate) namespaces: BTreeMap<String, (String, String)>,
    pub(crate) fault: Option<Fault>,
    /// `namespace/pod` of each review of access, in order.
    pub(crate) reviewed: Vec<String>,
    /// Tokens that were reviewed.
    pub(crate) authenticated: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Refuses,
    NeverAnswers,
}

/// A running API server. It ends with the test.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) cluster: Arc<Mutex<Cluster>>,
    url: String,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let cluster: Arc<Mutex<Cluster>> = Arc::default();
        let router = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(token_review))
            .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(access_review))
            .route("/api/v1/namespaces", get(namespaces))
            .with_state(cluster.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { cluster, url }
    }

    pub(crate) fn token(&self, token: &'static str, user: &'static str) {
        self.cluster.lock().tokens.insert(token, user);
    }

    pub(crate) fn bind(&self, binding: Binding) {
        self.cluster.lock().bindings.insert(binding);
    }

    pub(crate) fn namespace(&self, name: &str, uid: &str, created: &str) {
        self.cluster.lock().namespaces.insert(name.to_owned(), (uid.to_owned(), created.to_owned()));
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.cluster.lock().fault = fault;
    }

    /// What was asked about since the last call, sorted.
    pub(crate) fn reviewed(&self) -> Vec<String> {
        let mut reviewed = std::mem::take(&mut self.cluster.lock().reviewed);
        reviewed.sort();
        reviewed
    }

    pub(crate) fn write_kubeconfig(&self, path: &Path) {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        });
        std::fs::write(path, config.to_string()).expect("a kubeconfig");
    }
}

/// The fault that is set, if any, in place of an answer.
async fn faulty(cluster: &Mutex<Cluster>) -> Option<Response> {
    let fault = cluster.lock().fault;
    match fault? {
        Fault::Refuses => {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "InternalError", "code": 500});
            Some((StatusCode::INTERNAL_SERVER_ERROR, shown(&status)).into_response())
        }
        Fault::NeverAnswers => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            None
        }
    }
}

async fn token_review(State(cluster): State<Arc<Mutex<Cluster>>>, body: Bytes) -> Response {
    if let Some(fault) = faulty(&cluster).await {
        return fault;
    }
    let mut review = parsed(&body);
    let mut cluster = cluster.lock();
    cluster.authenticated += 1;
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    review["status"] = match cluster.tokens.get(token) {
        Some(user) => json!({"authenticated": true, "user": {"username": user, "groups": ["system:authenticated"]}}),
        None => json!({"authenticated": false}),
    };
    shown(&review)
}

async fn access_review(State(cluster): State<Arc<Mutex<Cluster>>>, body: Bytes) -> Response {
    if let Some(fault) = faulty(&cluster).await {
        return fault;
    }
    let mut review = parsed(&body);
    let mut cluster = cluster.lock();
    let asked = review["spec"]["resourceAttributes"].clone();
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let user = review["spec"]["user"].as_str().unwrap_or_default().to_owned();
    let (namespace, pod): (String, String) = (text("namespace"), text("name"));
    cluster.reviewed.push(format!("{namespace}/{pod}"));
    let is_about_logs = (text("verb"), text("resource"), text("subresource")) == ("get".into(), "pods".into(), "log".into());
    let covers = |granted: &str, asked: &str| granted == "*" || granted == asked;
    let is_bound =
        cluster.bindings.iter().any(|(who, where_, what)| *who == user.as_str() && covers(where_, &namespace) && covers(what, &pod));
    review["status"] = json!({"allowed": is_about_logs && is_bound});
    shown(&review)
}

async fn namespaces(State(cluster): State<Arc<Mutex<Cluster>>>) -> Response {
    if let Some(fault) = faulty(&cluster).await {
        return fault;
    }
    let item = |(name, (uid, created)): (&String, &(String, String))| json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "uid": uid, "creationTimestamp": created}});
    let items: Vec<Value> = cluster.lock().namespaces.iter().map(item).collect();
    shown(
        &json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "1"}, "items": items}),
    )
}

fn parsed(body: &Bytes) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

fn shown(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
