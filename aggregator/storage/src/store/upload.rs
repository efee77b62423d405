//! An object that is written in parts, under a name that nobody else uses.
//!
//! Where the store numbers parts, each is sent again under its number if it was lost, and the end is asked for again, or found to be reached: the
//! object is there with its length. A folder appends parts, and a disk that failed once is not tried again.

use std::time::Duration;

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, ObjectStoreExt, PutPayload};

use crate::store::counted::CountedParts;
use crate::store::retry::{self, Attempts};
use crate::store::{CreateError, Store};

/// Bytes of a part; S3 takes no less than 5 MiB but for the last.
const PART_BYTES: usize = 8 << 20;

/// How long a part, the beginning or the end of an upload is tried. Half of it is what the slowest link may need for a part.
const PATIENCE: Duration = Duration::from_secs(60);

/// An object on its way into the store; it appears when it is finished.
pub struct Upload {
    key: String,
    parts: Parts,
    /// Less than a part, in pieces.
    rest: Vec<Bytes>,
    rest_bytes: usize,
}

/// What was sent of it.
enum Parts {
    Numbered(Box<NumberedParts>),
    Appended(Box<dyn MultipartUpload>),
}

struct NumberedParts {
    store: Store,
    numbered: CountedParts,
    path: Path,
    id: MultipartId,
    sent: Vec<PartId>,
    bytes: u64,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) async fn begin(store: &Store, path: Path, key: &str) -> Result<Self, CreateError> {
        let parts = match &store.numbered {
            Some(numbered) => NumberedParts::begin(store, numbered.clone(), path).await.map(|parts| Parts::Numbered(Box::new(parts))),
            None => store.objects.put_multipart(&path).await.map(Parts::Appended),
        };
        let parts = parts.map_err(|error| failed(key, &error))?;
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
        let put = match &mut self.parts {
            Parts::Numbered(parts) => parts.put(part).await,
            Parts::Appended(parts) => parts.put_part(part).await,
        };
        put.map_err(|error| failed(&self.key, &error))
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
        let completed = match &mut self.parts {
            Parts::Numbered(parts) => parts.complete().await,
            Parts::Appended(parts) => parts.complete().await.map(drop),
        };
        completed.map_err(|error| failed(&self.key, &error))
    }

    /// Throws away what was written.
    pub async fn abort(mut self) {
        let aborted = match &mut self.parts {
            Parts::Numbered(parts) => parts.numbered.abort_multipart(&parts.path, &parts.id).await,
            Parts::Appended(parts) => parts.abort().await,
        };
        if let Err(error) = aborted {
            tracing::debug!(key = %self.key, %error, "the parts of an upload that was given up are left to the store");
        }
    }
}

impl NumberedParts {
    async fn begin(store: &Store, numbered: CountedParts, path: Path) -> object_store::Result<Self> {
        // One that was begun without our knowing stays with the store, empty.
        let id = retry::again(PATIENCE, || numbered.create_multipart(&path)).await?;
        Ok(Self { store: store.clone(), numbered, path, id, sent: Vec::new(), bytes: 0 })
    }

    async fn put(&mut self, part: PutPayload) -> object_store::Result<()> {
        let number = self.sent.len();
        let sent = retry::again(PATIENCE, || self.numbered.put_part(&self.path, &self.id, number, part.clone())).await?;
        self.bytes += part.content_length() as u64;
        self.sent.push(sent);
        Ok(())
    }

    async fn complete(&mut self) -> object_store::Result<()> {
        let mut attempts = Attempts::twice_until(PATIENCE);
        loop {
            let Err(error) = attempts.run(self.numbered.complete_multipart(&self.path, &self.id, self.sent.clone())).await else {
                return Ok(());
            };
            // An end that was reached unseen is none that can be asked for again: the store does not know the upload any more.
            let head = attempts.run(self.store.objects.head(&self.path)).await;
            if head.is_ok_and(|found| found.size == self.bytes) {
                return Ok(());
            }
            if !retry::may_pass(&error) || !attempts.wait().await {
                return Err(error);
            }
        }
    }
}

fn failed(key: &str, error: &object_store::Error) -> CreateError {
    CreateError { key: key.to_owned(), reason: error.to_string() }
}
