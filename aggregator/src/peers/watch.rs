//! Asks the configured addresses who is ready, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Certificate, Client, Url};
use tokio::net::lookup_host;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::peers::{Peers, REPLICA_HEADER};
use crate::tls::install_provider;

const INTERVAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(1);

/// Where replicas are, this one may be among them.
#[derive(Debug, Clone)]
pub struct PeerAddresses {
    /// URLs. A name that has several addresses, as a headless Service has, stands for all of them.
    urls: Vec<String>,
    /// PEM file of authorities of their certificates; `None`: those that every machine knows.
    authority: Option<PathBuf>,
    /// The address of this replica, which need not be asked; `None`: it is asked like any other, and known by its answer.
    own: Option<IpAddr>,
}

impl PeerAddresses {
    /// Those of the configuration; a pod knows its own address by `POD_IP`.
    pub fn of(config: &Config) -> Self {
        let own = std::env::var("POD_IP").ok().and_then(|address| address.parse().ok());
        Self { urls: config.peers.clone(), authority: config.tls.peer_authorities().map(Path::to_owned), own }
    }
}

/// Keeps `peers` up to date until it is stopped.
pub async fn keep_watching(peers: Peers, addresses: PeerAddresses, stopping: CancellationToken) {
    if addresses.urls.is_empty() {
        return;
    }
    install_provider();
    let mut clients = Clients { authority: addresses.authority, trusted: Vec::new(), by_place: BTreeMap::new() };
    loop {
        let mut places = join_all(addresses.urls.iter().map(|url| resolved(url))).await.concat();
        places.retain(|place| place.ip().is_none_or(|ip| Some(ip) != addresses.own));
        clients.renew(&places);
        let answers = join_all(places.iter().filter_map(|place| Some(replica_at(clients.of(place)?, place.url.clone())))).await;
        peers.seen(answers.into_iter().flatten().collect::<BTreeSet<String>>());
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// A replica to be asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    url: Url,
    /// Which of the addresses of its name, where its certificate has to have the name.
    at: Option<SocketAddr>,
}

impl Place {
    fn ip(&self) -> Option<IpAddr> {
        let written = || self.url.host_str()?.trim_matches(['[', ']']).parse().ok();
        self.at.map(|at| at.ip()).or_else(written)
    }
}

/// One client for each place, as long as it is there and the authority is the same.
struct Clients {
    authority: Option<PathBuf>,
    /// The authority's file when it was read last.
    trusted: Vec<u8>,
    by_place: BTreeMap<Place, Client>,
}

impl Clients {
    fn renew(&mut self, places: &[Place]) {
        let read = self.authority.as_ref().map(std::fs::read);
        let trusted = match read {
            None => Vec::new(),
            Some(Ok(trusted)) => trusted,
            Some(Err(error)) => {
                tracing::warn!(%error, "the authority of the other replicas cannot be read");
                return;
            }
        };
        if trusted != self.trusted {
            self.by_place.clear();
            self.trusted = trusted;
        }
        self.by_place.retain(|place, _| places.contains(place));
        for place in places.iter().filter(|place| !self.by_place.contains_key(place)).cloned().collect::<Vec<_>>() {
            match self.client(&place) {
                Ok(client) => drop(self.by_place.insert(place, client)),
                Err(error) => tracing::warn!(%error, url = %place.url, "a replica cannot be asked"),
            }
        }
    }

    fn client(&self, place: &Place) -> Result<Client, reqwest::Error> {
        let mut client = Client::builder().tls_certs_merge(Certificate::from_pem_bundle(&self.trusted)?);
        if let (Some(name), Some(at)) = (place.url.domain(), place.at) {
            client = client.resolve(name, at);
        }
        client.build()
    }

    fn of(&self, place: &Place) -> Option<&Client> {
        self.by_place.get(place)
    }
}

/// The address itself, or one for each address of its name; none while the name has none.
async fn resolved(address: &str) -> Vec<Place> {
    let Ok(url) = Url::parse(address) else { return Vec::new() };
    let (Some(name), Some(port)) = (url.domain(), url.port_or_known_default()) else { return vec![Place { url, at: None }] };
    let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, lookup_host((name, port))).await else { return Vec::new() };
    let at = |found: SocketAddr| {
        let mut url = url.clone();
        if url.scheme() == "https" {
            return Some(Place { url, at: Some(found) });
        }
        url.set_ip_host(found.ip()).is_ok().then_some(Place { url, at: None })
    };
    found.filter_map(at).collect()
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
        assert!(at_home.iter().any(|place| place.url.as_str() == "http://127.0.0.1:3100/" && place.at.is_none()), "{at_home:?}");
        assert_eq!(resolved("http://10.0.0.7:3100").await.len(), 1);
        let named = resolved("https://localhost:3100").await;
        let home: SocketAddr = "127.0.0.1:3100".parse().expect("an address");
        assert!(
            named.iter().any(|place| place.url.domain() == Some("localhost") && place.at == Some(home)),
            "its certificate has the name"
        );
        assert_eq!(resolved("http://no-such-name.invalid:3100").await, []);
    }

    #[test]
    fn the_address_of_a_place_is_known() {
        let place =
            |url: &str, at: Option<&str>| Place { url: Url::parse(url).expect("a URL"), at: at.map(|at| at.parse().expect("an address")) };
        for (place, expected) in [
            (place("http://10.0.0.7:3100", None), Some("10.0.0.7")),
            (place("http://[fd00::7]:3100", None), Some("fd00::7")),
            (place("https://peers:3100", Some("10.0.0.8:3100")), Some("10.0.0.8")),
            (place("http://peers:3100", None), None),
        ] {
            assert_eq!(place.ip(), expected.map(|ip| ip.parse().expect("an address")), "{place:?}");
        }
    }
}
