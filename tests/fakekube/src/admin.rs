//! What tests order and look at, under `/fakekube`. Nobody has to be anybody for it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use serde::Deserialize;

use crate::aggregation::FrontProxy;
use crate::fault::Fault;
use crate::identity::Users;
use crate::objects::documents;
use crate::resource::Resource;
use crate::server::{Server, Shared};
use crate::status::{Failure, json_response};

pub(crate) fn routes() -> Router<Server> {
    Router::new()
        .route("/fakekube/requests", get(requests).delete(async |State(server): State<Server>| server.records.lock().clear()))
        .route("/fakekube/faults", post(fault).delete(async |State(server): State<Server>| server.faults.lock().clear()))
        .route("/fakekube/watches/cut", post(async |State(server): State<Server>| server.cut_watches()))
        .route("/fakekube/history/forget", post(async |State(server): State<Server>| server.forget_history()))
        .route("/fakekube/objects", post(apply).delete(delete))
        .route("/fakekube/users", put(users))
        .route("/fakekube/front-proxy/rotate", post(rotate))
        .route("/fakekube/certificates", post(certificate))
}

/// Which authority signs a certificate that a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// The cluster's own, which signs this server's certificate.
    Cluster,
    /// The one that backends of the aggregation layer believe.
    FrontProxy,
    /// One that nobody trusts.
    Stranger,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedCertificate {
    signer: Signer,
    common_name: String,
    #[serde(default)]
    names: Vec<String>,
}

impl Shared {
    pub(crate) fn cut_watches(&self) {
        self.signal.send_modify(|signal| signal.cuts += 1);
    }

    /// Watches and lists that are under way are told 410.
    pub(crate) fn forget_history(&self) {
        self.pages.lock().forget();
        self.change(crate::store::Store::forget);
    }

    /// Another authority and another certificate, told in the ConfigMap.
    pub(crate) fn rotate_front_proxy(&self) -> anyhow::Result<()> {
        let renewed = FrontProxy::new()?;
        let told = renewed.config_map(self.authority.pem());
        *self.front_proxy.lock() = renewed;
        self.change(|store| store.apply(told)).map(drop).map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }

    /// A certificate and its key, and the authority that signed it.
    pub(crate) fn issue(&self, signer: Signer, common_name: &str, names: &[String]) -> anyhow::Result<(crate::Certificate, String)> {
        let front_proxy = self.front_proxy.lock();
        let authority = match signer {
            Signer::Cluster => &self.authority,
            Signer::FrontProxy => &front_proxy.authority,
            Signer::Stranger => &self.stranger,
        };
        Ok((authority.issue(common_name, names)?, authority.pem().to_owned()))
    }
}

async fn requests(State(server): State<Server>) -> Response {
    json_response(StatusCode::OK, &serde_json::json!(server.records.lock().all()))
}

async fn fault(State(server): State<Server>, body: String) -> Result<(), Failure> {
    let fault: Fault = serde_json::from_str(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    server.faults.lock().add(fault);
    Ok(())
}

async fn apply(State(server): State<Server>, body: String) -> Result<(), Failure> {
    let objects = documents(&body).map_err(|error| Failure::bad_request(format!("{error:#}")))?;
    server.change(|store| objects.into_iter().try_for_each(|object| store.apply(object).map(drop)))
}

async fn delete(State(server): State<Server>, body: String) -> Result<(), Failure> {
    let objects = documents(&body).map_err(|error| Failure::bad_request(format!("{error:#}")))?;
    server.change(|store| {
        objects.iter().try_for_each(|object| {
            let resource = Resource::of_object(object).ok_or_else(Failure::no_such_path)?;
            let text = |field: &str, otherwise: &'static str| object["metadata"][field].as_str().unwrap_or(otherwise).to_owned();
            let namespace = if resource.is_namespaced { text("namespace", "default") } else { String::new() };
            store.delete(resource, &namespace, &text("name", "")).map(drop)
        })
    })
}

async fn users(State(server): State<Server>, body: String) -> Result<(), Failure> {
    let users = serde_yaml_ng::from_str(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    *server.users.write() = Users::new(users);
    Ok(())
}

async fn rotate(State(server): State<Server>) -> Result<(), Failure> {
    server.rotate_front_proxy().map_err(|error| Failure::unavailable(format!("{error:#}")))
}

async fn certificate(State(server): State<Server>, body: String) -> Result<Response, Failure> {
    let wanted: WantedCertificate = serde_json::from_str(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    let issued = server.issue(wanted.signer, &wanted.common_name, &wanted.names);
    let (issued, authority) = issued.map_err(|error| Failure::bad_request(format!("{error:#}")))?;
    let told = serde_json::json!({"certificate": issued.certificate, "key": issued.key, "authority": authority});
    Ok(json_response(StatusCode::CREATED, &told))
}
