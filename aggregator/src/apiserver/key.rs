//! The key that rights are signed with: the store's, looked for until it is there. Discovery does not wait for it.

use std::time::Duration;

use tailwater_storage::cluster::Cluster;
use tailwater_storage::store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::signature::AccessSigner;

const INTERVAL: Duration = Duration::from_secs(2);

/// Looks until the key is found or it is stopped. The key of a store never changes.
pub(super) async fn keep_looking(store: Store, out: watch::Sender<Option<AccessSigner>>, stopping: CancellationToken) {
    loop {
        match Cluster::read(&store).await {
            Ok(Some(cluster)) => {
                tracing::info!(cluster = %cluster.cluster_id, "the store's key is known");
                out.send_replace(Some(AccessSigner::new(cluster.peer_key())));
                return;
            }
            Ok(None) => tracing::info!("no aggregator has begun the store yet"),
            Err(error) => tracing::warn!(%error, "the store's key cannot be read"),
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
