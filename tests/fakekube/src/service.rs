//! Where a Service leads, and the `services/proxy` route, which hands on no identity.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::proxy;
use crate::request::{Attributes, escaped};
use crate::resource::{ENDPOINT_SLICES, SERVICES};
use crate::server::Server;
use crate::status::Failure;
use crate::store::Store;

/// Characters that Go leaves alone in a path.
const PATH: &str = "$&+,/:;=@";

/// An address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    port: u16,
}

impl Target {
    pub(crate) async fn connect(&self) -> Result<TcpStream, Failure> {
        let failed = |error| Failure::unavailable(format!("error trying to reach service: dial tcp {}:{}: {error}", self.host, self.port));
        TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)
    }
}

/// One of the ready endpoints of a Service's port, taken in turn. `port`: its name or number; empty: its only one.
pub(crate) fn resolve(store: &Store, namespace: &str, name: &str, port: &str) -> Result<Target, Failure> {
    let service = store.get(SERVICES, namespace, name).ok_or_else(|| Failure::not_found(SERVICES, name))?;
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        let host = spec["externalName"].as_str().unwrap_or_default().to_owned();
        let port = port.parse().map_err(|_| Failure::unavailable(format!("port {port} of an ExternalName service is no number")))?;
        return Ok(Target { host, port });
    }
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let is_meant = |one: &&Value| {
        if port.is_empty() {
            ports.len() == 1
        } else {
            one["name"] == port || port.parse::<u64>().is_ok_and(|number| one["port"] == number)
        }
    };
    let Some(meant) = ports.iter().find(is_meant) else {
        return Err(Failure::unavailable(format!("no service port \"{port}\" found for service \"{name}\"")));
    };
    let slices =
        store.all(ENDPOINT_SLICES, Some(namespace)).filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
    let mut targets: Vec<_> = slices.flat_map(|slice| endpoints(slice, &meant["name"])).collect();
    if targets.is_empty() {
        return Err(Failure::unavailable(format!("no endpoints available for service \"{name}\"")));
    }
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed) % targets.len();
    Ok(targets.swap_remove(turn))
}

fn endpoints(slice: &Value, port_name: &Value) -> Vec<Target> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let port = each(&slice["ports"])
        .iter()
        .find(|one| text(&one["name"]) == text(port_name))
        .and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
    let Some(port) = port else { return Vec::new() };
    let ready = each(&slice["endpoints"]).into_iter().filter(|endpoint| endpoint["conditions"]["ready"] != false);
    ready.flat_map(|endpoint| each(&endpoint["addresses"])).map(|address| Target { host: text(&address), port }).collect()
}

/// `/api/v1/namespaces/NS/services/[SCHEME:]NAME[:PORT]/proxy/…`. The service sees the rest of the path, and no `Authorization`.
pub(crate) async fn proxied(server: &Server, asked: &Attributes, mut request: Request) -> Result<Response, Failure> {
    let parts: Vec<&str> = asked.name.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return Err(Failure::bad_request(format!("invalid service request \"{}\"", asked.name))),
    };
    if !matches!(scheme, "" | "http") {
        return Err(Failure::bad_request("only services without TLS are proxied here"));
    }
    let target = resolve(&server.store.lock(), &asked.namespace, name, port)?;
    request.headers_mut().remove(AUTHORIZATION);
    let path = asked.path.split_once("/proxy").map_or("/", |(_, rest)| if rest.is_empty() { "/" } else { rest });
    readdress(&mut request, path, None, &format!("{}:{}", target.host, target.port))?;
    proxy::forward(target.connect().await?, request).await
}

/// Path and host as the other server shall see them. `path` is decoded; without `query` the request's own stays.
pub(crate) fn readdress(request: &mut Request, path: &str, query: Option<&str>, host: &str) -> Result<(), Failure> {
    let failed = |_| Failure::bad_request("a path that cannot be handed on");
    let query = query.or(request.uri().query()).filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
    let uri = format!("{}{query}", escaped(path, PATH)).parse::<Uri>().map_err(failed)?;
    *request.uri_mut() = uri;
    let host = HeaderValue::from_str(host).map_err(|_| Failure::bad_request("a host that cannot be named"))?;
    request.headers_mut().insert(HOST, host);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_leads_to_its_ready_endpoints() {
        let objects = r"
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 80}, {name: admin, port: 81}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: out}, spec: {type: ExternalName, externalName: localhost}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}, {addresses: [10.0.0.3], conditions: {ready: true}}]
";
        let mut store = Store::default();
        for object in crate::objects::documents(objects).expect("objects") {
            store.apply(object).expect("applied");
        }
        let hosts: std::collections::BTreeSet<_> =
            (0..4).map(|_| resolve(&store, "default", "web", "80").expect("a target").host).collect();
        assert_eq!(hosts, ["10.0.0.1".to_owned(), "10.0.0.3".to_owned()].into());
        assert_eq!(resolve(&store, "default", "web", "http").expect("a target").port, 8080);
        assert_eq!(resolve(&store, "default", "out", "443").expect("a target"), Target { host: "localhost".to_owned(), port: 443 });
        for (name, port) in [("web", "admin"), ("web", ""), ("web", "82"), ("gone", "80"), ("out", "http")] {
            assert!(resolve(&store, "default", name, port).is_err(), "{name} {port}");
        }
    }
}
