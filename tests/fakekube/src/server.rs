//! A request's way: who asks, what for, may it be asked, then the part that answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::aggregation::{self, FrontProxy};
use crate::certificates::Authority;
use crate::fault::Faults;
use crate::identity::{User, Users};
use crate::list::Pages;
use crate::record::{Record, Records};
use crate::representation::Representation;
use crate::request::{Attributes, Parameters, decoded};
use crate::resource::{NAMESPACES, Resource};
use crate::status::{Failure, json_response};
use crate::store::Store;
use crate::{discovery, namespace, openapi, pod_log, rbac, review, service, write};

/// The largest body of a request.
const BODY: usize = 4 << 20;

/// Wakes watches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signal {
    pub(crate) version: u64,
    /// How often all watches were cut.
    pub(crate) cuts: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Mutex<Store>,
    pub(crate) pages: Mutex<Pages>,
    pub(crate) users: RwLock<Users>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) records: Mutex<Records>,
    pub(crate) signal: watch::Sender<Signal>,
    pub(crate) bookmark_interval: Duration,
    pub(crate) pod_logs: Option<PathBuf>,
    /// Signs this server's certificate.
    pub(crate) authority: Authority,
    /// Trusted by nobody.
    pub(crate) stranger: Authority,
    pub(crate) front_proxy: Mutex<FrontProxy>,
}

pub(crate) type Server = Arc<Shared>;

impl Shared {
    /// Changes objects, and tells watches of it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store.lock();
        let outcome = change(&mut store);
        let version = store.newest();
        drop(store);
        self.signal.send_modify(|signal| signal.version = version);
        outcome
    }
}

pub(crate) async fn serve(State(server): State<Server>, request: Request) -> Response {
    let Some(path) = decoded(request.uri().path(), false) else {
        return Failure::bad_request("a path that cannot be decoded").into_response();
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameters = Parameters::parse(&query);
    let asked = Attributes::parse(request.method(), &path, &parameters);
    let user = server.users.read().of_request(request.headers());
    let name = user.as_ref().map_or("", |user| &user.name);
    let number = server.records.lock().begin(Record::new(name, &asked, &query, request.headers()));
    let answered = match user {
        Ok(user) => answer(&server, &user, &asked, &parameters, request).await,
        Err(failure) => Err(failure),
    };
    let response = answered.unwrap_or_else(IntoResponse::into_response);
    server.records.lock().answered(number, response.status());
    response
}

async fn answer(server: &Server, user: &User, asked: &Attributes, parameters: &Parameters, request: Request) -> Result<Response, Failure> {
    let (delay, failure) = server.faults.lock().of(asked);
    tokio::time::sleep(delay).await;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let backend = {
        let store = server.store.lock();
        if rbac::allows(&store, user, asked).is_none() {
            return Err(Failure::forbidden(rbac::refusal(user, asked)));
        }
        aggregation::backend_of(&store, &asked.path)
    };
    if let Some(backend) = backend {
        return aggregation::proxied(server, &backend, user, asked, request).await;
    }
    if asked.path.starts_with(openapi::ROOT) {
        return openapi::answer(server, user, &asked.path).await;
    }
    if !asked.is_resource {
        return discovery::answer(server, request.method(), &asked.path);
    }
    let resource = Resource::by_plural(&asked.group, &asked.version, &asked.resource).ok_or_else(Failure::no_such_path)?;
    match (resource.plural, asked.subresource.as_str()) {
        ("pods", "log") if asked.verb == "get" => pod_log::answer(server, asked, parameters),
        ("services", "proxy") => service::proxied(server, asked, request).await,
        (_, "") if resource.is_kept => kept(server, resource, asked, parameters, request).await,
        (_, "") if asked.verb == "create" => {
            let sent = body_of(request).await?;
            let answered = review::answer(resource.kind, &server.store.lock(), &server.users.read(), user, sent)?;
            Ok(json_response(StatusCode::CREATED, &answered))
        }
        (_, "") => Err(Failure::method_not_allowed()),
        _ => Err(Failure::no_such_path()),
    }
}

async fn kept(
    server: &Server,
    resource: &'static Resource,
    asked: &Attributes,
    parameters: &Parameters,
    request: Request,
) -> Result<Response, Failure> {
    match asked.verb.as_str() {
        "watch" => crate::watch::answer(server, resource, asked, parameters, Representation::of_request(request.headers())?),
        "list" => {
            let shown = Representation::of_request(request.headers())?;
            let list = server.pages.lock().list(&server.store.lock(), resource, asked, parameters, shown)?;
            Ok(json_response(StatusCode::OK, &list))
        }
        "get" => {
            let shown = Representation::of_request(request.headers())?;
            let namespace = if resource.is_namespaced { asked.namespace.as_str() } else { "" };
            let object = server.store.lock().get(resource, namespace, &asked.name).cloned();
            let object = object.ok_or_else(|| Failure::not_found(resource, &asked.name))?;
            Ok(json_response(StatusCode::OK, &shown.object(resource, &object)))
        }
        "delete" if resource == NAMESPACES => namespace::delete(server, &asked.name).await,
        verb => {
            let sent = if verb == "delete" { serde_json::Value::Null } else { body_of(request).await? };
            server.change(|store| write::answer(store, resource, asked, sent))
        }
    }
}

async fn body_of(request: Request) -> Result<serde_json::Value, Failure> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY).await.map_err(|error| Failure::bad_request(error.to_string()))?;
    write::body(&parts.headers, &bytes)
}
