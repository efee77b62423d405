//! An object that is written in parts, under a name that nobody else uses.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

use crate::store::CreateError;

/// Bytes of a part; S3 takes no less than 5 MiB but for the last.
const PART_BYTES: usize = 8 << 20;

/// An object on its way into the store; it appears when it is finished.
pub struct Upload {
    key: String,
    parts: Box<dyn MultipartUpload>,
    /// Less than a part, in pieces.
    rest: Vec<Bytes>,
    rest_bytes: usize,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) async fn begin(objects: &dyn ObjectStore, path: &Path, key: &str) -> Result<Self, CreateError> {
        let parts = objects.put_multipart(path).await.map_err(|error| failed(key, &error))?;
        Ok(Self { key: key.to_owned(), parts, rest: Vec::new(), rest_bytes: 0 })
    }

    /// Takes the next bytes. Small pieces are best: what has no part of its own yet is held, with all of the buffer that it is a slice of.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), CreateError> {
        while self.rest_bytes + bytes.len() >= PART_BYTES {
            self.rest.push(bytes.split_to(PART_BYTES - self.rest_bytes));
            let part = self.take_rest();
            self.put(part).await?;
        }
        if !bytes.is_empty() {
            self.rest_bytes += bytes.len();
            self.rest.push(bytes);
        }
        Ok(())
    }

    fn take_rest(&mut self) -> PutPayload {
        self.rest_bytes = 0;
        std::mem::take(&mut self.rest).into_iter().collect()
    }

    async fn put(&mut self, part: PutPayload) -> Result<(), CreateError> {
        self.parts.put_part(part).await.map_err(|error| failed(&self.key, &error))
    }

    /// Makes the object visible. If that fails, nothing of it stays.
    pub async fn finish(mut self) -> Result<(), CreateError> {
        let finished = self.complete().await;
        if finished.is_err() {
            self.abort().await;
        }
        finished
    }

    async fn complete(&mut self) -> Result<(), CreateError> {
        if self.rest_bytes > 0 {
            let rest = self.take_rest();
            self.put(rest).await?;
        }
        self.parts.complete().await.map_err(|error| failed(&self.key, &error))?;
        Ok(())
    }

    /// Throws away what was written.
    pub async fn abort(mut self) {
        if let Err(error) = self.parts.abort().await {
            tracing::debug!(key = %self.key, %error, "the parts of an upload that was given up are left to the store");
        }
    }
}

fn failed(key: &str, error: &object_store::Error) -> CreateError {
    CreateError { key: key.to_owned(), reason: error.to_string() }
}
