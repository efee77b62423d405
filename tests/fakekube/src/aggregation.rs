//! The aggregation layer: groups that APIServices register are asked of their Services, under a front-proxy certificate and with the user in headers.
//!
//! The backend sees the path decoded and written again, the query sorted and written again, `X-Remote-User`, `-Group`, `-Uid` and `-Extra-*` of who was
//! authenticated here, no `Authorization`, and none of such headers that the client sent itself.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

use crate::certificates::{Authority, Certificate};
use crate::identity::User;
use crate::proxy;
use crate::request::{Attributes, Parameters, escaped};
use crate::resource::API_SERVICES;
use crate::server::Server;
use crate::service::{readdress, resolve};
use crate::status::Failure;
use crate::store::Store;

/// The name that backends have to let in.
const ALLOWED_NAME: &str = "front-proxy-client";

/// The authority that backends trust, and the certificate that is shown to them.
#[derive(Debug)]
pub(crate) struct FrontProxy {
    pub(crate) authority: Authority,
    certificate: Certificate,
}

impl FrontProxy {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let authority = Authority::new("front-proxy-ca")?;
        let certificate = authority.issue(ALLOWED_NAME, &[])?;
        Ok(Self { authority, certificate })
    }

    /// What backends read to know whom to believe.
    pub(crate) fn config_map(&self, client_authority: &str) -> Value {
        let list = |name: &str| json!([name]).to_string();
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "client-ca-file": client_authority,
                "requestheader-client-ca-file": self.authority.pem(),
                "requestheader-allowed-names": list(ALLOWED_NAME),
                "requestheader-username-headers": list("X-Remote-User"),
                "requestheader-uid-headers": list("X-Remote-Uid"),
                "requestheader-group-headers": list("X-Remote-Group"),
                "requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
            }
        })
    }
}

/// Where an aggregated group version is served.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    namespace: String,
    name: String,
    port: String,
    /// PEM.
    trusted: Vec<u8>,
}

/// The backend of a path, if an APIService registers its group and version.
pub(crate) fn backend_of(store: &Store, path: &str) -> Option<Backend> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if parts.next()? != "apis" {
        return None;
    }
    let (group, version) = (parts.next()?, parts.next()?);
    let api_service = store.get(API_SERVICES, "", &format!("{version}.{group}"))?;
    let service = &api_service["spec"]["service"];
    let text = |field: &str| service[field].as_str().map(str::to_owned);
    let port = service["port"].as_u64().unwrap_or(443).to_string();
    let bundle = api_service["spec"]["caBundle"].as_str().unwrap_or_default();
    let trusted = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap_or_default();
    Some(Backend { namespace: text("namespace")?, name: text("name")?, port, trusted })
}

/// Group and version of every APIService with a backend.
pub(crate) fn registered(store: &Store) -> Vec<(String, String)> {
    let backed = store.all(API_SERVICES, None).filter(|one| one["spec"]["service"].is_object());
    backed.filter_map(|one| Some((one["spec"]["group"].as_str()?.to_owned(), one["spec"]["version"].as_str()?.to_owned()))).collect()
}

pub(crate) async fn proxied(
    server: &Server,
    backend: &Backend,
    user: &User,
    asked: &Attributes,
    mut request: Request,
) -> Result<Response, Failure> {
    let target = resolve(&server.store.lock(), &backend.namespace, &backend.name, &backend.port)?;
    let host = format!("{}.{}.svc", backend.name, backend.namespace);
    let config = server.front_proxy.lock().certificate.client_config(&backend.trusted);
    let failed = |error: anyhow::Error| Failure::unavailable(format!("error trying to reach service: {error:#}"));
    let tls = TlsConnector::from(Arc::new(config.map_err(failed)?));
    let name = ServerName::try_from(host.clone()).context("a host that is no name").map_err(failed)?;
    let original = request.uri().path().to_owned();
    name_user(request.headers_mut(), user).map_err(failed)?;
    request.headers_mut().insert("x-forwarded-uri", HeaderValue::from_str(&original).context("a path that is no header").map_err(failed)?);
    let query = request.uri().query().map(|query| Parameters::parse(query).encoded()).unwrap_or_default();
    readdress(&mut request, &asked.path, Some(&query), &format!("{host}:{}", backend.port))?;
    let stream = tls.connect(name, target.connect().await?).await.map_err(|error| failed(error.into()))?;
    proxy::forward(stream, request).await
}

/// Takes away what the client says of itself, and says who it is.
fn name_user(headers: &mut HeaderMap, user: &User) -> anyhow::Result<()> {
    let own: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    own.iter().for_each(|name| drop(headers.remove(name)));
    headers.remove(AUTHORIZATION);
    headers.insert("x-remote-user", HeaderValue::from_str(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert("x-remote-uid", HeaderValue::from_str(&user.uid)?);
    }
    for group in &user.groups {
        headers.append("x-remote-group", HeaderValue::from_str(group)?);
    }
    for (key, values) in &user.extra {
        // A key may have characters that no header has.
        let name = format!("x-remote-extra-{}", escaped(&key.to_lowercase(), ""));
        for value in values {
            headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_itself_is_taken_away() {
        let sent = [
            ("authorization", "Bearer t"),
            ("x-remote-user", "root"),
            ("x-remote-group", "system:masters"),
            ("x-remote-extra-scopes", "all"),
            ("accept", "*/*"),
        ];
        let mut headers: HeaderMap =
            sent.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let extra = [("example.org/Team".to_owned(), vec!["blue".to_owned()])].into();
        let user = User { name: "ann".to_owned(), uid: "u1".to_owned(), groups: vec!["a".to_owned(), "b".to_owned()], extra };
        name_user(&mut headers, &user).expect("headers");
        let mut told: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().expect("text"))).collect();
        told.sort();
        let expected = [
            "accept=*/*",
            "x-remote-extra-example.org%2fteam=blue",
            "x-remote-group=a",
            "x-remote-group=b",
            "x-remote-uid=u1",
            "x-remote-user=ann",
        ];
        assert_eq!(told, expected);
    }
}
