//! Asks the configured addresses who is ready, again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Client, Url};
use tokio::net::lookup_host;
use tokio_util::sync::CancellationToken;

use crate::peers::{Peers, REPLICA_HEADER};

const INTERVAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(1);

/// Keeps `peers` up to date until it is stopped. `addresses`: URLs of replicas, this one's may be among them; a name that has several
/// addresses, as a headless Service has, stands for all of them.
pub async fn keep_watching(peers: Peers, addresses: Vec<String>, stopping: CancellationToken) {
    if addresses.is_empty() {
        return;
    }
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::new();
    loop {
        let urls = join_all(addresses.iter().map(|address| resolved(address))).await.concat();
        let answers = join_all(urls.into_iter().map(|url| replica_at(&client, url))).await;
        peers.seen(answers.into_iter().flatten().collect::<BTreeSet<String>>());
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// The address itself, or one for each address of its name; none while the name has none. A name that a certificate has to match stays.
async fn resolved(address: &str) -> Vec<Url> {
    let Ok(url) = Url::parse(address) else { return Vec::new() };
    let (Some(name), Some(port), "http") = (url.domain(), url.port_or_known_default(), url.scheme()) else { return vec![url] };
    let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, lookup_host((name, port))).await else { return Vec::new() };
    let at = |ip| {
        let mut url = url.clone();
        url.set_ip_host(ip).is_ok().then_some(url)
    };
    found.filter_map(|found| at(found.ip())).collect()
}

/// The id of the replica at an address, if it is ready.
async fn replica_at(client: &Client, mut url: Url) -> Option<String> {
    url.set_path("/ready");
    let answer = client.get(url).timeout(PATIENCE).send().await.ok()?;
    let id = answer.headers().get(REPLICA_HEADER)?.to_str().ok()?;
    answer.status().is_success().then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_stands_for_all_its_addresses() {
        let at_home = resolved("http://localhost:3100").await;
        assert!(at_home.iter().any(|url| url.as_str() == "http://127.0.0.1:3100/"), "{at_home:?}");
        assert_eq!(resolved("http://10.0.0.7:3100").await.len(), 1);
        assert_eq!(resolved("https://replica.test").await.len(), 1, "its certificate has the name");
        assert_eq!(resolved("http://no-such-name.invalid:3100").await.len(), 0);
    }
}
