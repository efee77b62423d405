//! What a store lets us do, asked of it one by one: for diagnosis, so nothing is tried again and each refusal keeps its reason.
//!
//! An object under `v1/probe/` is created, read and removed; nothing else is touched.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use ulid::Ulid;

use crate::store::probe::{ProbeError, probe, reason};
use crate::store::{Store, paths};

/// Each is the reason of a refusal, in one line: the code and message of an S3 answer, or the innermost cause.
#[derive(Debug)]
pub struct Rights {
    pub list: Result<(), String>,
    /// Of creates that race, one alone wins.
    pub create: Result<(), ProbeError>,
    /// `None`: nothing was there to be read.
    pub read: Option<Result<(), String>>,
    pub delete: Option<Result<(), String>>,
}

const CONTENT: &[u8] = b"what a diagnosis wrote";

impl Store {
    /// Lists, creates, reads and removes.
    pub async fn examine(&self) -> Rights {
        let folder = self.path(paths::PROBES);
        // One page is enough, and no more may be there than was left behind.
        let list = self.objects.list(Some(&folder)).try_next().await.map(drop).map_err(|error| reason(&error));
        let create = probe(self).await;
        let path = self.path(&format!("{}/{}", paths::PROBES, Ulid::new()));
        let content = PutPayload::from(Bytes::from_static(CONTENT));
        if self.objects.put_opts(&path, content, PutOptions::from(PutMode::Create)).await.is_err() {
            return Rights { list, create, read: None, delete: None };
        }
        let found = async { self.objects.get_opts(&path, GetOptions::default()).await?.bytes().await };
        let read = match found.await {
            Ok(bytes) if bytes == CONTENT => Ok(()),
            Ok(bytes) => Err(format!("{} bytes were written, and {} others are read", CONTENT.len(), bytes.len())),
            Err(error) => Err(reason(&error)),
        };
        let delete = self.objects.delete(&path).await.map_err(|error| reason(&error));
        Rights { list, create, read: Some(read), delete: Some(delete) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn an_honest_store_lets_us_do_all_and_keeps_nothing() {
        let store = Store::new(Arc::new(InMemory::new()), "some/prefix");
        let rights = store.examine().await;
        assert!(rights.list.is_ok() && rights.create.is_ok(), "{rights:?}");
        assert!(matches!((&rights.read, &rights.delete), (Some(Ok(())), Some(Ok(())))), "{rights:?}");
        assert_eq!(store.list_after("v1", None).await.expect("no fault"), []);
    }
}
