//! The parts of a Kubernetes API server that tests need: objects with lists and watches, RBAC with its reviews, the aggregation layer, the pod log,
//! `services/proxy`, and faults on demand. The README says what is fake.
//!
//! ```text
//! TLS → user (token) → fault? → RBAC → discovery | list, watch, write | review | pod log | services/proxy | aggregated backend
//! ```
//! Everything is in memory and ends with the [`FakeKube`].

mod admin;
mod aggregation;
mod certificates;
mod discovery;
mod fault;
mod identity;
mod list;
mod listener;
mod namespace;
mod objects;
mod openapi;
mod pod_log;
mod protobuf;
mod proxy;
mod rbac;
mod record;
mod representation;
mod request;
mod resource;
mod review;
mod selector;
mod server;
mod service;
mod status;
mod store;
mod watch;
mod write;

pub use admin::Signer;
pub use certificates::{Authority, Certificate};
pub use fault::Fault;
pub use identity::TokenUser;
pub use record::Record;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::Router;
use base64::Engine as _;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use aggregation::FrontProxy;
use identity::{MASTERS, Users};
use resource::Resource;
use server::{Server, Shared};
use status::Failure;
use store::Store;

/// What every cluster has.
const BOOTSTRAP: &str = include_str!("bootstrap.yaml");

/// Token of the user `admin`, who is always there and may do everything.
pub const ADMIN_TOKEN: &str = "admin-token";

/// What a server starts with.
#[derive(Debug, Clone)]
pub struct Options {
    /// With port 0 a free one.
    pub listen: SocketAddr,
    /// Those of kinds that are not served are left out.
    pub objects: Vec<Value>,
    pub users: Vec<TokenUser>,
    /// A folder like `/var/log/pods`.
    pub pod_logs: Option<PathBuf>,
    pub bookmark_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, objects: Vec::new(), users: Vec::new(), pod_logs: None, bookmark_interval: Duration::from_secs(5) }
    }
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct FakeKube {
    server: Server,
    address: SocketAddr,
    left_out: Vec<String>,
    _running: DropGuard,
}

impl FakeKube {
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let authority = Authority::new("kubernetes")?;
        let front_proxy = FrontProxy::new()?;
        let names = ["localhost", "127.0.0.1", "kubernetes.default.svc"].map(str::to_owned);
        let certificate = authority.issue("kube-apiserver", &names)?;
        let (store, left_out) = filled(options.objects, front_proxy.config_map(authority.pem()))?;
        let admin = TokenUser {
            token: ADMIN_TOKEN.to_owned(),
            user: "admin".to_owned(),
            uid: String::new(),
            groups: vec![MASTERS.to_owned()],
            extra: Default::default(),
        };
        let server = Arc::new(Shared {
            store: Mutex::new(store),
            pages: Mutex::default(),
            users: RwLock::new(Users::new(options.users.into_iter().chain([admin]).collect())),
            faults: Mutex::default(),
            records: Mutex::default(),
            signal: tokio::sync::watch::Sender::default(),
            bookmark_interval: options.bookmark_interval,
            pod_logs: options.pod_logs,
            authority,
            stranger: Authority::new("stranger")?,
            front_proxy: Mutex::new(front_proxy),
        });
        let listener = listener::TlsListener::bind(options.listen, certificate.server_config()?).await;
        let listener = listener.with_context(|| format!("cannot listen at {}", options.listen))?;
        let address = axum::serve::Listener::local_addr(&listener)?;
        let routes: Router = admin::routes().fallback(server::serve).with_state(server.clone());
        let running = CancellationToken::new();
        tokio::spawn(running.clone().run_until_cancelled_owned(axum::serve(listener, routes).into_future()));
        Ok(Self { server, address, left_out, _running: running.drop_guard() })
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Kind and name of objects that were given and are not served.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The authority of this server's certificate, PEM.
    pub fn authority(&self) -> &str {
        self.server.authority.pem()
    }

    /// Creates objects or replaces them (YAML), with their namespaces.
    pub fn apply(&self, objects: &str) -> anyhow::Result<()> {
        let objects = objects::documents(objects)?;
        self.server.change(|store| objects.into_iter().try_for_each(|object| store.apply(object).map(drop))).map_err(unmade)
    }

    /// `plural`: `pods`, `rolebindings`, …; `namespace` is empty for what has none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> anyhow::Result<()> {
        let resource = resource::RESOURCES.iter().find(|one| one.plural == plural).ok_or_else(|| anyhow!("`{plural}` is not served"))?;
        self.server.change(|store| store.delete(resource, namespace, name)).map(drop).map_err(unmade)
    }

    /// Replaces everybody but nobody else: also `admin` goes, unless among them.
    pub fn set_users(&self, users: Vec<TokenUser>) {
        *self.server.users.write() = Users::new(users);
    }

    pub fn add_fault(&self, fault: Fault) {
        self.server.faults.lock().add(fault);
    }

    pub fn clear_faults(&self) {
        self.server.faults.lock().clear();
    }

    /// Cuts the connection of every watch.
    pub fn cut_watches(&self) {
        self.server.cut_watches();
    }

    /// Watches and lists that are under way, and those from an earlier version, are told 410.
    pub fn forget_history(&self) {
        self.server.forget_history();
    }

    /// What was asked, the oldest first.
    pub fn requests(&self) -> Vec<Record> {
        self.server.records.lock().all()
    }

    pub fn forget_requests(&self) {
        self.server.records.lock().clear();
    }

    /// Another front-proxy authority and certificate, told in `kube-system/extension-apiserver-authentication`.
    pub fn rotate_front_proxy(&self) -> anyhow::Result<()> {
        self.server.rotate_front_proxy()
    }

    /// A certificate and its key, and the authority (PEM) that signed it.
    pub fn issue(&self, signer: Signer, common_name: &str, names: &[&str]) -> anyhow::Result<(Certificate, String)> {
        self.server.issue(signer, common_name, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    /// A kubeconfig with a context for every user, named like the user; `current` is the one in use.
    pub fn kubeconfig(&self, current: &str) -> String {
        let users = self.server.users.read();
        let each = |entry: fn(&TokenUser) -> Value| users.all().iter().map(entry).collect::<Vec<_>>();
        let authority = base64::engine::general_purpose::STANDARD.encode(self.authority());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "clusters": [{"name": "fakekube", "cluster": {"server": self.url(), "certificate-authority-data": authority}}],
            "users": each(|one| json!({"name": one.user, "user": {"token": one.token}})),
            "contexts": each(context),
        });
        format!("{config:#}\n")
    }

    /// Writes into a folder: `kubeconfig` (of `admin`, with a context for every user), `kubeconfigs/USER` with other characters than letters, digits, `-` and `.`
    /// as `_`, `ca.crt`, `url`.
    pub fn write_state(&self, folder: &Path) -> anyhow::Result<()> {
        let each = folder.join("kubeconfigs");
        std::fs::create_dir_all(&each).with_context(|| format!("cannot make `{}`", each.display()))?;
        let names: Vec<String> = self.server.users.read().all().iter().map(|one| one.user.clone()).collect();
        let mut files: Vec<_> = names.iter().map(|name| (each.join(file_name(name)), self.kubeconfig(name))).collect();
        files.push((folder.join("kubeconfig"), self.kubeconfig("admin")));
        files.push((folder.join("ca.crt"), self.authority().to_owned()));
        files.push((folder.join("url"), self.url()));
        files.iter().try_for_each(|(path, text)| std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display())))
    }
}

/// A service account works in its own namespace.
fn context(known: &TokenUser) -> Value {
    let namespace = known
        .user
        .strip_prefix(identity::SERVICE_ACCOUNT)
        .and_then(|rest| rest.split_once(':'))
        .map_or("default", |(namespace, _)| namespace);
    json!({"name": known.user, "context": {"cluster": "fakekube", "user": known.user, "namespace": namespace}})
}

fn file_name(user: &str) -> String {
    user.chars().map(|letter| if letter.is_ascii_alphanumeric() || "-.".contains(letter) { letter } else { '_' }).collect()
}

fn unmade(failure: Failure) -> anyhow::Error {
    anyhow!("{}", failure.to_object()["message"])
}

/// The bootstrap objects, then those that are given. Who is left out is told.
fn filled(objects: Vec<Value>, authentication: Value) -> anyhow::Result<(Store, Vec<String>)> {
    let (mut store, mut left_out) = (Store::default(), Vec::new());
    for object in objects::documents(BOOTSTRAP)?.into_iter().chain([authentication]).chain(objects) {
        if Resource::of_object(&object).is_none() {
            left_out.push(format!("{} {}", object["kind"].as_str().unwrap_or("?"), object["metadata"]["name"].as_str().unwrap_or("?")));
            continue;
        }
        store.apply(object).map_err(unmade)?;
    }
    Ok((store, left_out))
}

/// Objects of every YAML and JSON file in a folder, or of one file.
pub fn objects_at(path: &Path) -> anyhow::Result<Vec<Value>> {
    objects::documents_at(path)
}
