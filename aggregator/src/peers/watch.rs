//! Asks the configured addresses who is ready, again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Client;
use tokio_util::sync::CancellationToken;

use crate::peers::{Peers, REPLICA_HEADER};

const INTERVAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(1);

/// Keeps `peers` up to date until it is stopped. `addresses`: URLs of replicas, this one's may be among them.
pub async fn keep_watching(peers: Peers, addresses: Vec<String>, stopping: CancellationToken) {
    if addresses.is_empty() {
        return;
    }
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::new();
    loop {
        let answers = join_all(addresses.iter().map(|address| replica_at(&client, address))).await;
        peers.seen(answers.into_iter().flatten().collect::<BTreeSet<String>>());
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// The id of the replica at an address, if it is ready.
async fn replica_at(client: &Client, address: &str) -> Option<String> {
    let answer = client.get(format!("{}/ready", address.trim_end_matches('/'))).timeout(PATIENCE).send().await.ok()?;
    let id = answer.headers().get(REPLICA_HEADER)?.to_str().ok()?;
    answer.status().is_success().then(|| id.to_owned())
}
