//! Copies that a store makes by itself, from one prefix of it to another: no byte of them passes through this process.
//!
//! There is no conditional copy that all servers know, so this is for names that are nobody else's, as it is with objects that are written in parts.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::error::ReadError;
use crate::store::{Store, retry};

/// How long a copy is tried; a server that copies gigabytes answers after minutes.
const COPY_PATIENCE: Duration = Duration::from_secs(1200);

/// What servers copy in one request.
const MOST: u64 = 5 << 30;

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopiedWithin {
    Whole,
    /// The source does not have it, or not with this size.
    Gone,
    /// These are different stores, or the store cannot: the bytes have to be read and written.
    Unable,
}

impl Store {
    /// Another prefix of the same store.
    #[must_use]
    pub fn elsewhere(&self, prefix: &str) -> Self {
        Self { prefix: Path::from(prefix), disk_cache: None, ..self.clone() }
    }

    /// Has an object of `size` bytes copied from another prefix of this store, under the same key.
    pub(crate) async fn copy_within(&self, from: &Store, key: &str, size: u64) -> Result<CopiedWithin, ReadError> {
        if !Arc::ptr_eq(&self.objects, &from.objects) || size > MOST {
            return Ok(CopiedWithin::Unable);
        }
        if from.size(key).await? != Some(size) {
            return Ok(CopiedWithin::Gone);
        }
        let (source, target) = (from.path(key), self.path(key));
        match retry::again(COPY_PATIENCE, || self.objects.copy(&source, &target)).await {
            Ok(()) => {}
            Err(object_store::Error::NotFound { .. }) => return Ok(CopiedWithin::Gone),
            Err(error) => {
                tracing::debug!(%error, key, "the store does not copy by itself");
                return Ok(CopiedWithin::Unable);
            }
        }
        Ok(if self.size(key).await? == Some(size) { CopiedWithin::Whole } else { CopiedWithin::Unable })
    }
}
