//! The other replicas, which share the background work: whether their names can be looked up and they take connections.

use reqwest::Url;
use tailwater_agent::doctor::Finding;
use tailwater_agent::doctor::reach::{PATIENCE, addresses, host_of};
use tokio::net::TcpStream;

use crate::config::Config;

const CHECK: &str = "peers";

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for peer in &config.peers {
        findings.push(match Url::parse(peer) {
            Ok(url) => of_name(&url).await,
            Err(error) => Finding::problem(CHECK, format!("`{peer}` is no URL: {error}"), "write `peers` as in http://10.0.0.7:3100"),
        });
    }
    findings
}

async fn of_name(url: &Url) -> Finding {
    let host = host_of(url);
    let found = match addresses(url).await {
        Ok(found) => found,
        Err(reason) => {
            let advice = "correct `peers`: the name of a headless Service, which has an address for each replica that is ready";
            return Finding::problem(CHECK, format!("the name `{host}` cannot be looked up: {reason}"), advice);
        }
    };
    let mut silent = Vec::new();
    for address in &found {
        if !matches!(tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await, Ok(Ok(_))) {
            silent.push(address.to_string());
        }
    }
    if silent.is_empty() {
        return Finding::fine(CHECK, format!("`{host}` has {} addresses, and all take connections", found.len()));
    }
    let evidence = format!("{} of the {} addresses of `{host}` take no connection: {}", silent.len(), found.len(), silent.join(", "));
    let advice = "start those replicas, or look at the network policy between aggregators (port 3100); until then each does all background work itself";
    Finding::problem(CHECK, evidence, advice)
}
