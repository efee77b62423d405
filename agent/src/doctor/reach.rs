//! Whether a name can be looked up and takes connections. The aggregator's doctor asks the same.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use tokio::net::{TcpStream, lookup_host};

use super::finding::Finding;

/// What any one step may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What to do when a step fails, in the words of whom it concerns.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    pub name: &'static str,
    pub connection: &'static str,
}

/// Looks a name up and connects.
pub async fn reach(url: &Url, advice: Advice) -> Result<Finding, Finding> {
    let host = host_of(url);
    let addresses = match addresses(url).await {
        Ok(addresses) => addresses,
        Err(reason) => return Err(Finding::problem("dns", format!("the name `{host}` cannot be looked up: {reason}"), advice.name)),
    };
    let (address, port) = (addresses[0].ip(), addresses[0].port());
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&*addresses)).await {
        Ok(Ok(_)) => Ok(Finding::fine("connection", format!("`{host}` is {address} and takes connections on port {port}"))),
        Ok(Err(error)) => {
            let evidence = format!("cannot connect to `{host}` ({address}, port {port}): {error}");
            Err(Finding::problem("connection", evidence, advice.connection))
        }
        Err(_) => {
            let evidence = format!("no answer from `{host}` ({address}, port {port}) to a connection");
            Err(Finding::problem("connection", evidence, advice.connection))
        }
    }
}

/// At least one; else why there is none.
pub async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = (host_of(url), url.port_or_known_default().unwrap_or(80));
    match tokio::time::timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Without the brackets of IPv6.
pub fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
}
