//! `v1/cluster.json`: the store's format version, its identity and the key its replicas know each other by. Created once.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::ReadError;
use crate::store::{CreateError, Store, paths};

/// The newest layout of a store that this program reads and writes.
pub const NEWEST_FORMAT: u32 = 1;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub format_version: u32,
    pub cluster_id: String,
    peer_key: PeerKey,
}

/// What the replicas of a store sign with for each other: 32 random bytes in hexadecimal digits. It is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerKey(String);

impl PeerKey {
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKey")
    }
}

/// Digits of a peer key.
const KEY_DIGITS: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("the store has format version {found}, this program knows {NEWEST_FORMAT} at most: start a newer one")]
    FromTheFuture { found: u32 },
    #[error("object `{}` is damaged: {reason}", paths::CLUSTER)]
    Damaged { reason: String },
    #[error("cannot draw random bytes for the peer key: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl Cluster {
    /// Reads the store's, or creates it with a layout; of several replicas that start at once one creates it and all read the same.
    pub async fn open(store: &Store, format_version: u32) -> Result<Self, ClusterError> {
        if let Some(bytes) = store.get(paths::CLUSTER).await? {
            return Self::parse(&bytes);
        }
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(ClusterError::Random)?;
        let peer_key = PeerKey(key.iter().map(|byte| format!("{byte:02x}")).collect());
        let new = Self { format_version, cluster_id: Ulid::new().to_string(), peer_key };
        let bytes = serde_json::to_vec_pretty(&new).map_err(|error| ClusterError::Damaged { reason: error.to_string() })?;
        store.create(paths::CLUSTER, bytes, PATIENCE).await?;
        match store.get(paths::CLUSTER).await? {
            Some(bytes) => Self::parse(&bytes),
            None => Err(ClusterError::Damaged { reason: "it vanished after it was created".to_owned() }),
        }
    }

    /// Reads the store's, if an aggregator has begun it.
    pub async fn read(store: &Store) -> Result<Option<Self>, ClusterError> {
        store.get(paths::CLUSTER).await?.map(|bytes| Self::parse(&bytes)).transpose()
    }

    pub fn peer_key(&self) -> &PeerKey {
        &self.peer_key
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ClusterError> {
        let cluster: Self = serde_json::from_slice(bytes).map_err(|error| ClusterError::Damaged { reason: error.to_string() })?;
        if cluster.format_version > NEWEST_FORMAT {
            return Err(ClusterError::FromTheFuture { found: cluster.format_version });
        }
        // Whoever knows the key may read everything: a short one would be no key.
        if cluster.peer_key.0.len() != KEY_DIGITS {
            return Err(ClusterError::Damaged { reason: format!("its peer key has not {KEY_DIGITS} digits") });
        }
        Ok(cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    #[tokio::test]
    async fn replicas_that_start_together_agree() {
        let store = Store::new(Arc::new(InMemory::new()), "p");
        let (first, second) = tokio::join!(Cluster::open(&store, NEWEST_FORMAT), Cluster::open(&store, NEWEST_FORMAT));
        let first = first.expect("opens");
        assert_eq!(first, second.expect("opens"));
        assert_eq!((first.peer_key.as_bytes().len(), format!("{:?}", first.peer_key)), (KEY_DIGITS, "PeerKey".to_owned()));
        assert_eq!(Cluster::open(&store, NEWEST_FORMAT).await.expect("opens"), first);
    }

    #[tokio::test]
    async fn a_store_without_a_key_is_refused() {
        let store = Store::new(Arc::new(InMemory::new()), "");
        let text = br#"{"format_version":1,"cluster_id":"x","peer_key":""}"#;
        store.create(paths::CLUSTER, text.as_slice().to_vec(), PATIENCE).await.expect("stores");
        assert!(matches!(Cluster::open(&store, NEWEST_FORMAT).await, Err(ClusterError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_store_from_the_future_is_refused() {
        let store = Store::new(Arc::new(InMemory::new()), "");
        let text = br#"{"format_version":2,"cluster_id":"x","peer_key":""}"#;
        store.create(paths::CLUSTER, text.as_slice().to_vec(), PATIENCE).await.expect("stores");
        assert!(matches!(Cluster::open(&store, NEWEST_FORMAT).await, Err(ClusterError::FromTheFuture { found: 2 })));
    }
}
